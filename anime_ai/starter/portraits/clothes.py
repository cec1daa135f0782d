"""Neck, shoulders and what is worn on them. The body does not turn with the head.

In the face's coordinates: the chin is at y = 98, the shoulders at about 165, the picture ends at about 250.
Knows a Look; does not know hair.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import skia

from anime_ai.starter.portraits.canvas import (
    WHITE,
    Brush,
    Colour,
    Point,
    ellipse,
    joined,
    mirrored,
    mix,
    polygon,
    ribbon,
    smooth,
    star,
)
from anime_ai.starter.portraits.face import skin_line, skin_shade
from anime_ai.starter.portraits.looks import Look
from anime_ai.starter.portraits.ornaments import blossom, bow
from anime_ai.starter.portraits.palette import CLOTH, SKINS, TRIMS, Tones, apart, jittered, tones

SHOULDER: tuple[Point, ...] = ((60, 147), (100, 159), (128, 184), (143, 236), (150, 330))
"""The right side of a garment, from beside the neck down."""
NAVY: Colour = (52, 66, 118)
CREAM: Colour = (252, 250, 248)
GOLD: Colour = (248, 204, 92)


def cloth(look: Look) -> Colour:
    """The main colour of what is worn."""
    chance = random.Random(look.scene.cloth)
    return jittered(chance.choice(CLOTH), chance)


def trim(look: Look, on: Colour) -> Colour:
    """A colour for bows and ties that shows on the colour `on`."""
    return apart(on, TRIMS, random.Random(look.scene.trim))


def draw_body(brush: Brush, look: Look) -> None:
    """Neck and shoulders with the clothes of the look."""
    _skin(brush, look)
    WORN[look.clothes](brush, look)


def _skin(brush: Brush, look: Look) -> None:
    skin, shade = SKINS[look.person.skin], skin_shade(look)
    half: list[Point] = [(28, 60), (27, 108), (34, 132), (70, 148), (112, 164), (132, 200), (140, 330)]
    path = joined([*mirrored(half)][::-1] + list(half))
    brush.fill(path, skin)
    with brush.within(path):
        # The head throws its shadow on the neck; its edge follows the jaw.
        brush.fill(smooth([(-60, 60), (60, 60), (40, 122), (14, 142), (-8, 135), (-34, 118)]), shade)
    brush.edge(path, skin)
    line = skin_line(look)
    for side in (-1, 1):
        brush.stroke([(side * 14, 170), (side * 40, 162), (side * 74, 158)], line, 2.6, alpha=0.55)
    brush.stroke([(3, 172), (0, 182)], line, 3, (0.3, 1), alpha=0.4)


def torso(neckline: Sequence[Point]) -> skia.Path:
    """A garment with this neckline, given from left to right."""
    left = mirrored(SHOULDER)
    return joined(
        list(neckline), list(SHOULDER), [SHOULDER[-1], left[-1]], list(reversed(left)), [left[0], neckline[0]]
    )


def _garment(brush: Brush, path: skia.Path, hue: Tones, folds: bool = True) -> None:
    """Cloth: lit from the upper left, shaded at the right and under the arms, with folds."""
    brush.grade(path, [mix(hue.base, hue.light, 0.25), hue.base, mix(hue.base, hue.shade, 0.5)], (-80, 130), (90, 270))
    with brush.within(path):
        shade = joined([(150, 150), (120, 190), (112, 260), (108, 330)], [(108, 330), (170, 330), (170, 160)])
        brush.fill(shade, hue.shade, 0.9)
        brush.fill(
            joined([(-104, 224), (-92, 260), (-96, 330)], [(-96, 330), (-112, 330), (-104, 224)]), hue.shade, 0.9
        )
        brush.hatch(shade)
    brush.edge(path, hue.base, 1.1)
    if not folds:
        return
    lines: list[list[Point]] = [[(-101, 330), (-99, 256), (-106, 216)], [(101, 330), (99, 256), (106, 216)]]
    brush.strokes([list(line) for line in lines], line_on(brush, hue), 3.4)
    creases: list[list[Point]] = [
        [(-120, 196), (-104, 214), (-86, 222)],
        [(118, 198), (104, 216), (84, 226)],
        [(106, 214), (92, 236), (90, 252)],
    ]
    brush.strokes(creases, hue.deep, 3.2, 0.7)


def line_on(brush: Brush, hue: Tones) -> Colour:
    """Lines inside a garment."""
    return brush.ink(hue.base) if brush.manner.line else hue.deep


def _panel(brush: Brush, path: skia.Path, colour: Colour, width: float = 1.0) -> None:
    brush.fill(path, colour)
    brush.edge(path, colour, width)


def _collar(brush: Brush, colour: Colour = CREAM, low: float = 176) -> None:
    """The two wings of a shirt's collar, over the neck's sides."""
    for side in (-1, 1):
        wing = joined(
            [(side * 34, 122), (side * 24, 136), (0, low - 14)],
            [(0, low - 14), (side * 22, low + 8)],
            [(side * 22, low + 8), (side * 52, 160), (side * 58, 146)],
            [(side * 58, 146), (side * 46, 128), (side * 34, 122)],
        )
        brush.fill(wing, colour if side < 0 else mix(colour, (170, 170, 206), 0.22))
        brush.edge(wing, colour)


def _serafuku(brush: Brush, look: Look) -> None:
    dark = look.scene.cloth % 3 == 0
    base, sail = (NAVY, (38, 44, 84)) if dark else (CREAM, NAVY)
    _garment(brush, torso([(-60, 147), (0, 214), (60, 147)]), tones(base))
    stripe = CREAM if not dark or look.scene.trim % 2 else (226, 60, 76)
    for side in (-1, 1):
        wing = joined(
            [(side * 36, 126), (side * 62, 138), (side * 106, 166)],
            [(side * 106, 166), (side * 92, 204)],
            [(side * 92, 204), (side * 50, 208), (0, 236)],
            [(0, 236), (side * 18, 196), (side * 36, 126)],
        )
        hue = tones(sail)
        brush.fill(wing, sail if side < 0 else mix(sail, hue.shade, 0.6))
        brush.edge(wing, sail)
        brush.trace(
            joined(
                [(side * 97, 168), (side * 84, 196)],
                [(side * 84, 196), (side * 48, 199), (side * 10, 220)],
                closed=False,
            ),
            stripe,
            3.6,
        )
    brush.fill(polygon([(-20, 196), (20, 196), (0, 224)]), mix(base, WHITE, 0.4))
    brush.strokes([[(-22, 200), (0, 202), (22, 200)]], brush.ink(base), 2.4)
    bow(brush, (0, 232), 46, trim(look, sail))


def _blazer(brush: Brush, look: Look) -> None:
    colours: tuple[Colour, ...] = (NAVY, (112, 74, 62), (88, 92, 104), (150, 56, 68), (66, 100, 92))
    base = colours[look.scene.cloth % len(colours)]
    hue = tones(base)
    _panel(brush, torso([(-44, 140), (0, 150), (44, 140)]), CREAM)
    body = torso([(-58, 147), (-46, 180), (0, 268), (46, 180), (58, 147)])
    _garment(brush, body, hue)
    tie = trim(look, base)
    if look.scene.trim % 2:
        length: list[Point] = [(-8, 170), (-14, 270), (14, 270), (8, 170)]
        _panel(brush, polygon(length), tie)
        brush.strokes([[(-12, 206), (12, 192)], [(-13, 236), (13, 222)]], tones(tie).light, 6)
        _panel(brush, smooth([(-13, 160), (13, 160), (9, 182), (-9, 182)]), tones(tie).base)
        _collar(brush, low=172)
    else:
        _collar(brush, low=172)
        bow(brush, (0, 178), 34, tie)
    for side in (-1, 1):
        lapel = joined(
            [(side * 56, 145), (side * 76, 156), (side * 86, 190)],
            [(side * 86, 190), (side * 66, 196)],
            [(side * 66, 196), (side * 74, 206), (0, 276)],
            [(0, 276), (side * 36, 200), (side * 56, 145)],
        )
        brush.fill(lapel, mix(base, hue.light, 0.12) if side < 0 else hue.shade)
        brush.edge(lapel, base)
    crest = joined([(78, 222), (96, 222)], [(96, 222), (96, 236), (87, 246), (78, 236), (78, 222)])
    _panel(brush, crest, GOLD, 0.7)


def _kimono(brush: Brush, look: Look) -> None:
    base = cloth(look)
    hue = tones(base)
    body = torso([(-58, 146), (0, 232), (58, 146)])
    _garment(brush, body, hue)
    chance = random.Random(look.scene.variant)
    flower = apart(base, ((255, 240, 236), (250, 190, 200), GOLD, (220, 70, 90)), chance)
    with brush.within(body):
        for x, y, size in (
            (-98, 190, 17),
            (-70, 236, 20),
            (-122, 236, 13),
            (96, 186, 18),
            (70, 240, 15),
            (124, 232, 20),
        ):
            blossom(brush, (x + chance.uniform(-4, 4), y), size, flower, GOLD)
    under = trim(look, base)
    bands = ((-1, 0.0, under), (1, 0.0, under), (-1, 8.0, CREAM), (1, 8.0, CREAM))
    for side, inset, colour in sorted(bands, key=lambda band: (band[0] < 0, band[1])):
        wide = 20 if not inset else 9
        top = 46 - inset
        outer: list[Point] = [(side * (top + 16), 134), (side * 52, 160 - inset * 0.4), (side * -26, 262 - inset)]
        brush.fill(ribbon(outer, (wide, wide * 1.1, wide)), colour)
        brush.edge(ribbon(outer, (wide, wide * 1.1, wide)), colour)
    sash = joined([(-160, 262), (0, 256), (160, 262)], [(160, 262), (160, 330)], [(160, 330), (-160, 330)])
    _panel(brush, sash, tones(under).base)


def _hoodie(brush: Brush, look: Look) -> None:
    base = cloth(look)
    hue = tones(base)
    hood = smooth(
        [
            (-48, 112),
            (-96, 128),
            (-112, 158),
            (-70, 184),
            (0, 206),
            (70, 184),
            (112, 158),
            (96, 128),
            (48, 112),
            (34, 140),
            (0, 158),
            (-34, 140),
        ]
    )
    _garment(brush, torso([(-60, 147), (0, 190), (60, 147)]), hue)
    brush.grade(hood, [hue.light, hue.base, hue.shade], (-90, 110), (80, 190))
    brush.edge(hood, base, 1.1)
    inside = smooth(
        [(-46, 122), (-60, 140), (-36, 172), (0, 190), (36, 172), (60, 140), (46, 122), (30, 144), (0, 160), (-30, 144)]
    )
    brush.fill(inside, hue.deep)
    _panel(
        brush, smooth([(-32, 140), (0, 152), (32, 140), (22, 168), (0, 178), (-22, 168)]), mix(CREAM, hue.base, 0.12)
    )
    brush.strokes([[(-64, 182), (-84, 164), (-92, 142)], [(64, 182), (86, 164), (94, 142)]], line_on(brush, hue), 3)
    cord = trim(look, base)
    for side in (-1, 1):
        spine: list[Point] = [(side * 20, 182), (side * 26, 210), (side * 22, 244)]
        brush.stroke(spine, brush.ink(cord), 9, (1, 1, 1))
        brush.stroke(spine, cord, 5.6, (1, 1, 1))
        brush.fill(ellipse(side * 22, 246, 5, 9), cord)


def _maid(brush: Brush, look: Look) -> None:
    base = ((46, 44, 60), (50, 60, 104), (96, 52, 66))[look.scene.cloth % 3]
    hue = tones(base)
    _garment(brush, torso([(-50, 140), (0, 146), (50, 140)]), hue)
    bib = joined(
        [(-58, 204), (0, 198), (58, 204)], [(58, 204), (64, 330)], [(64, 330), (-64, 330)], [(-64, 330), (-58, 204)]
    )
    _panel(brush, bib, CREAM)
    for side in (-1, 1):
        strap = [(side * 72, 154), (side * 82, 200), (side * 66, 260), (side * 60, 330)]
        frill = ribbon(strap, (34, 44, 40, 36))
        _panel(brush, frill, CREAM)
        ruffles = [[(side * (66 + 26), y), (side * 84, y + 4), (side * 72, y + 3)] for y in (172, 188, 204, 220, 238)]
        brush.strokes(ruffles, (176, 180, 206), 3.2)
        _ruffle(brush, [(side * 90, 158), (side * 104, 196), (side * 90, 250)], 9)
    _collar(brush, CREAM, 170)
    bow(brush, (0, 172), 36, trim(look, (250, 250, 250)))


def _ruffle(brush: Brush, spine: Sequence[Point], size: float) -> None:
    """White scallops along a line."""
    path = skia.Path()
    (ax, ay), (bx, by), (cx, cy) = spine
    for i in range(7):
        t = i / 6
        x = ax * (1 - t) ** 2 + 2 * bx * t * (1 - t) + cx * t * t
        y = ay * (1 - t) ** 2 + 2 * by * t * (1 - t) + cy * t * t
        path.addCircle(x, y, size)
    brush.edge(path, CREAM, 1.4)
    brush.fill(path, CREAM)


def _shirt(brush: Brush, look: Look) -> None:
    colours: tuple[Colour, ...] = (CREAM, CREAM, (206, 224, 246), (250, 216, 222), (228, 220, 246))
    base = colours[look.scene.cloth % len(colours)]
    hue = tones(base)
    _garment(brush, torso([(-50, 142), (0, 182), (50, 142)]), hue)
    brush.strokes([[(-9, 330), (-9, 250), (-9, 184)], [(11, 330), (11, 250), (11, 184)]], line_on(brush, hue), 2.8)
    for y in (196, 226, 256):
        button = ellipse(1, y, 4.4, 4.4)
        brush.fill(button, mix(hue.deep, (110, 110, 150), 0.4))
    _collar(brush, base, 178)
    pocket = joined([(46, 222), (84, 222)], [(84, 222), (84, 330)], [(84, 330), (46, 330)], closed=False)
    brush.trace(pocket, hue.deep, 2.4, 0.8)


def _t_shirt(brush: Brush, look: Look) -> None:
    base = cloth(look)
    hue = tones(base)
    skin = SKINS[look.person.skin]
    arms = joined([(-150, 232), (-156, 330)], [(-156, 330), (156, 330)], [(156, 330), (150, 232)])
    _panel(brush, arms, skin)
    body = joined(
        [(-54, 146), (-40, 166), (0, 180), (40, 166), (54, 146)],
        [(54, 146), (102, 158), (134, 188), (158, 236)],
        [(158, 236), (108, 246)],
        [(108, 246), (104, 330)],
        [(104, 330), (-104, 330)],
        [(-104, 330), (-108, 246)],
        [(-108, 246), (-158, 236)],
        [(-158, 236), (-134, 188), (-102, 158), (-54, 146)],
    )
    _garment(brush, body, hue, folds=False)
    brush.strokes(
        [[(108, 246), (104, 224), (108, 206)], [(-108, 246), (-104, 224), (-108, 206)]], line_on(brush, hue), 3
    )
    brush.trace(joined([(-54, 149), (-41, 170), (0, 185), (41, 170), (54, 149)], closed=False), tones(base).shade, 6)
    mark, kind = trim(look, base), look.scene.variant % 3
    if kind == 0:
        heart = joined(
            [(0, 224), (16, 208), (30, 220), (22, 240), (0, 262)],
            [(0, 262), (-22, 240), (-30, 220), (-16, 208), (0, 224)],
        )
        brush.fill(heart, mark)
    elif kind == 1:
        with brush.moved(0, 234):
            brush.fill(star(5, 30, 13), mark)
    else:
        with brush.within(body):
            for y in (206, 234, 262):
                brush.trace(joined([(-180, y - 4), (0, y + 4), (180, y - 4)], closed=False), mark, 11)


def _sweater(brush: Brush, look: Look) -> None:
    base = cloth(look)
    hue = tones(base)
    _garment(brush, torso([(-52, 146), (0, 160), (52, 146)]), hue)
    lines: list[list[Point]] = []
    for x in (-72, -46, 46, 72):
        lines.append([(x, 250), (x * 0.98, 214), (x * 0.95, 176)])
    brush.strokes(lines, hue.shade, 3.4)
    cable: list[list[Point]] = []
    for i in range(5):
        y = 182 + i * 18
        cable += [[(-16, y), (0, y + 9), (16, y + 6)], [(16, y + 8), (4, y + 14), (-12, y + 20)]]
    brush.strokes(cable, hue.deep, 4.0, 0.8)
    roll = smooth(
        [(-38, 112), (0, 128), (38, 112), (52, 126), (54, 148), (28, 164), (0, 168), (-28, 164), (-54, 148), (-52, 126)]
    )
    brush.grade(roll, [mix(hue.base, hue.light, 0.4), hue.base, hue.shade], (-50, 120), (54, 150))
    brush.edge(roll, base, 1.1)
    ribs: list[list[Point]] = [
        [(x * 1.16, 160 - abs(x) * 0.16), (x * 1.1, 146 - abs(x) * 0.2), (x, 134 - abs(x) * 0.3)]
        for x in (-40, -27, -13, 0, 13, 27, 40)
    ]
    brush.strokes(ribs, hue.deep, 3.2, 0.8)


def _dress(brush: Brush, look: Look) -> None:
    base = cloth(look)
    hue = tones(base)
    left = [(-104, 330), (-98, 250), (-86, 206)]
    top: list[Point] = [(-86, 206), (-44, 200), (0, 218), (44, 200), (86, 206)]
    body = joined(left, top, mirrored(left)[::-1])
    for side in (-1, 1):
        strap = ribbon([(side * 58, 143), (side * 66, 176), (side * 66, 210)], (13, 13, 15))
        _panel(brush, strap, base)
    brush.grade(body, [hue.light, hue.base, hue.shade], (-90, 190), (90, 270))
    brush.edge(body, base, 1.1)
    frill = skia.Path()
    for i in range(9):
        x = -86 + i * 21.5
        frill.addCircle(x, 206 + 10 * (1 - abs(x) / 86) * (1 if abs(x) < 40 else 0.2), 12.5)
    pale = mix(base, WHITE, 0.72)
    brush.edge(frill, pale, 1.6)
    brush.fill(frill, pale)
    line = skin_line(look)
    for side in (-1, 1):
        brush.stroke([(side * 112, 330), (side * 106, 262), (side * 112, 222)], line, 3, (1, 0.9, 0.1), alpha=0.8)
    bow(brush, (0, 226), 26, trim(look, base))


def _jacket(brush: Brush, look: Look) -> None:
    base, inner = cloth(look), CREAM if look.scene.trim % 2 else (60, 58, 70)
    if sum(base) > 640:
        base = (74, 110, 168)
    hue = tones(base)
    _panel(brush, torso([(-46, 142), (0, 172), (46, 142)]), inner)
    for side in (-1, 1):
        half = joined(
            [(side * 50, 142), (side * 44, 196), (side * 50, 330)],
            [(side * 50, 330), (side * 156, 330)],
            [(side * 156, 330), (side * 152, 240), (side * 134, 186), (side * 102, 158), (side * 50, 142)],
        )
        brush.grade(half, [mix(hue.base, hue.light, 0.25), hue.base, hue.shade], (-90, 140), (120, 280))
        brush.edge(half, base, 1.1)
        brush.trace(joined([(side * 50, 150), (side * 44, 196), (side * 50, 330)], closed=False), (214, 216, 226), 6)
        sleeve: list[Point] = [(side * 108, 160), (side * 128, 206), (side * 134, 330)]
        brush.trace(joined(sleeve, closed=False), CREAM, 9)
        brush.strokes([[(side * 104, 330), (side * 100, 256), (side * 106, 212)]], line_on(brush, hue), 3.2)
        collar = joined(
            [(side * 36, 118), (side * 66, 124), (side * 88, 152)],
            [(side * 88, 152), (side * 68, 182), (side * 48, 190)],
            [(side * 48, 190), (side * 52, 154), (side * 36, 118)],
        )
        brush.fill(collar, hue.base if side < 0 else mix(hue.base, hue.shade, 0.7))
        brush.edge(collar, base, 1.1)
        ribs: list[list[Point]] = [
            [(side * (80 - i * 9), 152 + i * 11), (side * (68 - i * 6), 140 + i * 8)] for i in range(3)
        ]
        brush.strokes(ribs, line_on(brush, hue), 2.6, 0.8)


WORN: dict[str, Callable[[Brush, Look], None]] = {
    "serafuku": _serafuku,
    "blazer": _blazer,
    "kimono": _kimono,
    "hoodie": _hoodie,
    "maid": _maid,
    "shirt": _shirt,
    "t-shirt": _t_shirt,
    "sweater": _sweater,
    "dress": _dress,
    "jacket": _jacket,
}
