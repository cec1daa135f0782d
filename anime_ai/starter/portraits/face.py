"""The head without its hair: skin, ears, nose, mouth, cheeks, tears and the small marks of a mood.

The origin is the middle between the eyes. Knows a Look; does not know hair or what is worn.
"""

from __future__ import annotations

import skia

from anime_ai.starter.portraits.canvas import (
    NIGHT,
    WHITE,
    Brush,
    Colour,
    Point,
    ellipse,
    joined,
    mirrored,
    mix,
    ribbon,
    shifted,
    smooth,
)
from anime_ai.starter.portraits.looks import Look
from anime_ai.starter.portraits.moods import MOODS
from anime_ai.starter.portraits.palette import BLUSH, SKINS

MOUTH_AT = (0.0, 72.0)
MOUTH_SIZE = 1.16
TURNED = 12.0
CHIN_TURNED = 8.0
"""How far a fully turned head moves its features, and its chin, to that side."""
TEAR: Colour = (176, 222, 255)
TONGUE: Colour = (240, 128, 132)
GUMS: Colour = (128, 34, 48)


def skin_shade(look: Look) -> Colour:
    """Skin in shade: redder, never grey."""
    skin = SKINS[look.person.skin]
    return mix(shifted(skin, light=0.86, strength=0.9), (226, 108, 116), 0.2)


def skin_line(look: Look) -> Colour:
    """Lines in the face are dark red-brown, softer than those of hair."""
    return mix(mix(SKINS[look.person.skin], (120, 30, 40), 0.6), NIGHT, 0.32)


def _jaw(look: Look) -> list[Point]:
    """The outline of the face from the right temple over the chin to the left one."""
    half = [(90, -96), (100, -40), (101, 4), (97, 30), (86, 56), (64, 80), (36, 99), (12, 107.5)]
    right: list[Point] = [(x * look.person.wide, y) for x, y in half]
    points = [*right, (0.0, 109.0), *reversed(mirrored(right))]
    return [(x + CHIN_TURNED * look.scene.turn * max(0.0, y) / 109, y) for x, y in points]


def face_shape(look: Look) -> skia.Path:
    """The skin of the head, from the crown to the chin."""
    return smooth([(0.0, -150.0), *_jaw(look)])


def draw_head(brush: Brush, look: Look, fringe: skia.Path | None) -> None:
    """Ears and skin, with the shadow that the fringe throws on it."""
    skin, shade = SKINS[look.person.skin], skin_shade(look)
    for side in (-1, 1):
        x = side * 101.0 * look.person.wide
        ear = smooth(
            [(x - side * 8, -12), (x + side * 5, -14), (x + side * 10, 4), (x + side * 3, 30), (x - side * 8, 34)]
        )
        brush.fill(ear, skin)
        brush.edge(ear, skin)
        brush.stroke([(x + side * 5, -4), (x + side * 1, 8), (x + side * 2, 20)], skin_line(look), 2.6, alpha=0.6)
    shape = face_shape(look)
    warm = mix(skin, BLUSH[look.person.skin], 0.16)
    brush.grade(shape, [mix(skin, WHITE, 0.12), skin, warm], (-30, -60), (20, 112))
    with brush.within(shape):
        if fringe is not None:
            with brush.moved(3, 11):
                brush.fill(fringe, shade)
        side_shade = [(104.0, -20.0), (90.0, 30.0), (66.0, 72.0), (16.0, 106.0), (60.0, 126.0), (130.0, 60.0)]
        brush.fill(smooth(side_shade), shade, 0.85)
        if brush.manner.rough:
            brush.hatch(smooth(side_shade))
    brush.edge(shape, skin, 1.05)
    if brush.manner.line:
        # The jaw's line swells, as a pen's does that is pressed.
        brush.stroke(_jaw(look)[4:-4], brush.ink(skin), brush.manner.line * 1.7, alpha=0.8)


def draw_features(brush: Brush, look: Look) -> None:
    """Cheeks, nose and mouth, and the tears that run below the eyes."""
    mood, line = MOODS[look.expression], skin_line(look)
    _blush(brush, look, mood.blush)
    brush.stroke([(2.5, 43), (4.0, 48), (0.5, 51)], line, 3.4, (0.2, 1.0, 0.4), alpha=0.8)
    brush.fill(ellipse(-2.5, 41, 2.6, 4.2), WHITE, 0.5)
    with brush.moved(*MOUTH_AT, size=MOUTH_SIZE):
        MOUTHS[mood.mouth](brush, look)
    if mood.wet == 2:
        _tears(brush)


def _blush(brush: Brush, look: Look, much: float) -> None:
    if not much:
        return
    colour = BLUSH[look.person.skin]
    for side in (-1, 1):
        x = side * 66.0
        brush.canvas.save()
        brush.canvas.translate(x, 48)
        brush.canvas.scale(1, 0.55)
        brush.glow((0, 0), 32, colour, 0.25 + 0.6 * much)
        brush.canvas.restore()
        if much > 0.45:
            lines: list[list[Point]] = [[(x - 9 + i * 9, 55), (x - 5 + i * 9, 43)] for i in range(3)]
            brush.strokes(lines, mix(colour, (190, 40, 60), 0.45), 3.2, alpha=0.4 + 0.4 * much)
    if much >= 1:
        brush.fill(ellipse(0, 42, 62, 12), colour, 0.5, blur=7)


def _tears(brush: Brush) -> None:
    for side in (-1, 1):
        x = side * 57.0
        stream = joined(
            [(x - 9, 27), (x - 8, 50), (x - side * 2 - 9, 82), (x - side * 4 - 4, 92)],
            [(x - side * 4 + 5, 88), (x + 8, 58), (x + 10, 25)],
        )
        brush.fill(stream, TEAR, 0.85)
        brush.trace(stream, (110, 170, 230), 1.6, 0.8)
        brush.stroke([(x - 2, 34), (x - 2, 52), (x - side * 2 - 2, 70)], WHITE, 4.5)
    drop = ellipse(78, 88, 5, 7)
    drop.addOval(ellipse(-84, 78, 4, 6).getBounds())
    brush.fill(drop, TEAR)
    brush.trace(drop, (110, 170, 230), 1.4, 0.8)


def _cavity(brush: Brush, look: Look, shape: skia.Path, teeth: bool, tongue: Point) -> None:
    """An open mouth: dark, with a tongue about the point `tongue` and perhaps the upper teeth."""
    brush.fill(shape, GUMS)
    with brush.within(shape):
        brush.fill(ellipse(*tongue, 15, 10), TONGUE)
        if teeth:
            top = shape.getBounds().top()
            brush.fill(ellipse(0, top - 2, 30, 9), WHITE)
    brush.trace(shape, skin_line(look), 2.6)


def _smile(brush: Brush, look: Look) -> None:
    line = skin_line(look)
    if look.scene.variant % 2:
        shape = joined([(-15, -2), (0, 1), (15, -2)], [(15, -2), (9, 10), (0, 13), (-9, 10), (-15, -2)])
        _cavity(brush, look, shape, False, (0, 13))
        brush.stroke([(-20, -4), (-15, -2), (0, 1), (15, -2), (20, -4)], line, 4)
        return
    brush.stroke([(-20, -4), (-10, 3), (0, 5), (10, 3), (20, -4)], line, 5.0, (0.5, 0.9, 1, 0.9, 0.5))
    brush.stroke([(-6, 13), (0, 14), (6, 13)], line, 2.6, alpha=0.5)


def _laugh(brush: Brush, look: Look) -> None:
    shape = joined([(-27, -8), (0, -4), (27, -8)], [(27, -8), (20, 13), (0, 25), (-20, 13), (-27, -8)])
    _cavity(brush, look, shape, True, (0, 22))


def _flat(brush: Brush, look: Look) -> None:
    brush.stroke([(-11, 1), (0, 0), (11, 1)], skin_line(look), 4.4, (0.6, 1, 0.6))


def _snarl(brush: Brush, look: Look) -> None:
    shape = joined(
        [(-20, 10), (-12, -4), (0, -7), (12, -4), (20, 10)], [(20, 10), (10, 12), (0, 9), (-10, 12), (-20, 10)]
    )
    brush.fill(shape, GUMS)
    with brush.within(shape):
        brush.fill(ellipse(0, -6, 22, 8), WHITE)
        brush.fill(ellipse(0, 14, 14, 6), TONGUE)
    brush.trace(shape, skin_line(look), 3.0)
    brush.stroke([(-8, 20), (0, 18), (8, 20)], skin_line(look), 2.6, alpha=0.5)


def _frown(brush: Brush, look: Look) -> None:
    brush.stroke([(-15, 8), (-8, 1), (0, -1), (8, 1), (15, 8)], skin_line(look), 5.0, (0.5, 0.9, 1, 0.9, 0.5))
    brush.stroke([(-5, 13), (0, 12), (5, 13)], skin_line(look), 2.6, alpha=0.5)


def _wail(brush: Brush, look: Look) -> None:
    top: list[Point] = [(-22, 5), (-11, -5), (0, -1), (11, -5), (22, 5)]
    shape = joined(top, [(22, 5), (16, 17), (0, 20), (-16, 17), (-22, 5)])
    _cavity(brush, look, shape, True, (0, 19))


def _oval(brush: Brush, look: Look) -> None:
    shape = smooth([(0, -10), (10, -3), (11, 9), (0, 18), (-11, 9), (-10, -3)])
    _cavity(brush, look, shape, False, (0, 17))


def _wavy(brush: Brush, look: Look) -> None:
    points: list[Point] = [(-21, 3), (-14, -3), (-7, 3), (0, -3), (7, 3), (14, -3), (21, 3)]
    brush.stroke(points, skin_line(look), 4.6, (0.5, 1, 1, 1, 1, 1, 0.5))


def _gentle(brush: Brush, look: Look) -> None:
    brush.stroke([(-14, -2), (-7, 3), (0, 4.5), (7, 3), (14, -2)], skin_line(look), 4.6, (0.5, 0.9, 1, 0.9, 0.5))


def _grin(brush: Brush, look: Look) -> None:
    shape = joined([(-20, -6), (0, -2), (20, -7)], [(20, -7), (15, 9), (2, 15), (-12, 9), (-20, -6)])
    _cavity(brush, look, shape, look.scene.variant % 2 == 0, (2, 14))
    if look.scene.variant % 2:
        brush.fill(joined([(7, -4), (13, -5)], [(13, -5), (11, 2)], [(11, 2), (7, -4)]), WHITE)


def _smirk(brush: Brush, look: Look) -> None:
    with brush.moved(flip=look.person.part < 0):
        shape = joined([(-15, 3), (0, 5), (14, -1), (22, -10)], [(22, -10), (15, 8), (2, 11), (-15, 3)])
        brush.fill(shape, GUMS)
        with brush.within(shape):
            brush.fill(ellipse(6, 1, 20, 6), WHITE)
        line = skin_line(look)
        brush.stroke([(-17, 2), (0, 5), (14, -1), (22, -10), (25, -14)], line, 4.4, (0.4, 0.8, 1, 0.9, 0.2))
        brush.stroke([(-12, 4), (3, 11), (16, 7), (22, -8)], line, 2.8)


def _yawn(brush: Brush, look: Look) -> None:
    shape = smooth([(0, -5), (9, 0), (8, 9), (0, 13), (-8, 9), (-9, 0)])
    _cavity(brush, look, shape, False, (0, 13))
    brush.fill(ellipse(9, 13, 3.2, 4.6), TEAR)


MOUTHS = {
    "smile": _smile,
    "laugh": _laugh,
    "flat": _flat,
    "snarl": _snarl,
    "frown": _frown,
    "wail": _wail,
    "oval": _oval,
    "wavy": _wavy,
    "gentle": _gentle,
    "grin": _grin,
    "smirk": _smirk,
    "yawn": _yawn,
}


def draw_marks(brush: Brush, look: Look) -> None:
    """The small signs beside the face that comics write moods with, drawn over the hair."""
    for mark in MOODS[look.expression].marks:
        MARKS[mark](brush, look)


def _vein(brush: Brush, look: Look) -> None:
    with brush.moved(look.person.part * 97, -74, size=1.15):
        path = ribbon([(-15, -4), (-6, -6), (-4, -15)], (3, 6.5, 3))
        ribbon([(4, -15), (6, -6), (15, -4)], (3, 6.5, 3), path)
        ribbon([(15, 4), (6, 6), (4, 15)], (3, 6.5, 3), path)
        ribbon([(-4, 15), (-6, 6), (-15, 4)], (3, 6.5, 3), path)
        brush.trace(path, WHITE, 4.5)
        brush.fill(path, (222, 30, 52))


def _start(brush: Brush, look: Look) -> None:
    lines: list[list[Point]] = [[(-150, -110), (-134, -96)], [(-160, -78), (-141, -72)], [(-132, -140), (-120, -120)]]
    if look.person.part > 0:
        lines = [mirrored(line) for line in lines]
    path = skia.Path()
    for line in lines:
        ribbon(line, (9, 4), path)
    brush.trace(path, mix(NIGHT, (90, 70, 110), 0.3), 4)
    brush.fill(path, (255, 236, 120))


def _sweat(brush: Brush, look: Look) -> None:
    with brush.moved(look.person.part * 84, -34, size=1.0):
        drop = joined([(0, -19), (9, 0), (7, 9), (0, 13), (-7, 9), (-9, 0), (0, -19)])
        brush.fill(drop, TEAR)
        brush.trace(drop, (96, 150, 214), 2.2)
        brush.stroke([(-4, -2), (-4, 4), (-1, 8)], WHITE, 3.4)


def _spark(brush: Brush, look: Look) -> None:
    with brush.moved(124, 16):
        path = joined(
            [(0, -17), (3, -4), (14, 0)],
            [(14, 0), (3, 4), (0, 17)],
            [(0, 17), (-3, 4), (-14, 0)],
            [(-14, 0), (-3, -4), (0, -17)],
        )
        brush.trace(path, (206, 130, 40), 3)
        brush.fill(path, (255, 230, 110))


def _doze(brush: Brush, look: Look) -> None:
    """Two letters z that rise."""
    for x, y, size in ((128, -112, 1.0), (152, -150, 1.35)):
        with brush.moved(look.person.part * x, y, turn=8, size=size):
            path = joined([(-9, -9), (9, -9)], [(9, -9), (-9, 9)], [(-9, 9), (9, 9)], closed=False)
            brush.trace(path, WHITE, 10)
            brush.trace(path, (84, 96, 168), 5)


MARKS = {"vein": _vein, "start": _start, "sweat": _sweat, "spark": _spark, "doze": _doze}
