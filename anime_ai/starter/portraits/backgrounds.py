"""The places behind the figure. Each fills the whole picture, 512 units square; the head hides most of its middle.

Drawn softer and paler than the figure, as if out of focus, so that the figure stands out. Knows a Look's words alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import skia

from anime_ai.starter.portraits.canvas import WHITE, Brush, Colour, Point, box, ellipse, joined, mix, ribbon, shifted
from anime_ai.starter.portraits.looks import Look
from anime_ai.starter.portraits.ornaments import blossom

WIDE = 512.0
UNLIT = frozenset({"simple_background", "night_sky"})
"""Backgrounds without light from the upper left: one is flat, one has a moon."""
BOOKS: tuple[Colour, ...] = (
    (172, 66, 66),
    (62, 100, 146),
    (84, 132, 94),
    (210, 168, 92),
    (124, 86, 132),
    (214, 204, 184),
)
FLOWERS: tuple[Colour, ...] = ((250, 110, 140), (255, 212, 84), (255, 255, 255), (168, 120, 230), (250, 140, 80))
FLAT: tuple[Colour, ...] = (
    (255, 255, 255), (246, 238, 230), (226, 238, 248), (250, 226, 232), (228, 242, 230), (236, 230, 248),
    (252, 242, 206), (216, 220, 228),
)  # fmt: skip
PAIRS: tuple[tuple[Colour, Colour], ...] = (
    ((255, 190, 206), (170, 190, 255)),
    ((140, 214, 236), (240, 244, 255)),
    ((255, 224, 160), (255, 150, 150)),
    ((150, 130, 226), (250, 196, 230)),
    ((176, 236, 190), (90, 160, 210)),
    ((72, 82, 140), (200, 150, 200)),
)


def draw_background(brush: Brush, look: Look) -> None:
    """The place of the look, over the whole picture."""
    PLACES[look.background](brush, random.Random(look.scene.variant))


def draw_foreground(brush: Brush, look: Look) -> None:
    """What floats before the figure, and the light that falls in from the upper left."""
    chance = random.Random(look.scene.variant + 1)
    if look.background not in UNLIT:
        brush.glow((60, 20), 420, (255, 246, 226), 0.16)
    if look.background == "cherry_blossoms":
        for _ in range(5):
            x, y = chance.choice((chance.uniform(10, 120), chance.uniform(392, 502))), chance.uniform(280, 500)
            _petal(brush, (x, y), chance.uniform(0, 180), chance.uniform(1.2, 1.8))


def _petal(brush: Brush, at: Point, turn: float, size: float) -> None:
    with brush.moved(*at, turn=turn, size=size):
        brush.fill(
            joined([(-11, 0), (0, -7), (11, -1)], [(11, -1), (8, 1), (11, 3)], [(11, 3), (0, 6), (-11, 0)]),
            (255, 178, 204),
        )
        brush.fill(joined([(-10, 0), (0, -5), (8, -1)], [(8, -1), (0, 1), (-10, 0)]), (255, 212, 226))


def _all() -> skia.Path:
    return box(0, 0, WIDE, WIDE)


def _simple(brush: Brush, chance: random.Random) -> None:
    brush.fill(_all(), chance.choice(FLAT))


def _gradient(brush: Brush, chance: random.Random) -> None:
    top, bottom = chance.choice(PAIRS)
    if chance.random() < 0.5:
        top, bottom = bottom, top
    brush.grade(
        _all(), [top, mix(top, bottom, 0.5), bottom], (chance.uniform(0, 200), 0), (chance.uniform(300, 512), 512)
    )


def _cloud(brush: Brush, x: float, y: float, size: float, colour: Colour, shade: Colour) -> None:
    path, under = skia.Path(), skia.Path()
    for dx, dy, r in ((-58, 4, 26), (-26, -14, 36), (14, -26, 42), (52, -4, 32), (84, 8, 20)):
        path.addCircle(x + dx * size, y + dy * size, r * size)
        under.addCircle(x + dx * size + 4, y + (dy + 12) * size, r * size * 0.9)
    path.addRoundRect(
        skia.Rect.MakeLTRB(x - 84 * size, y - 6 * size, x + 108 * size, y + 29 * size), 17 * size, 17 * size
    )
    brush.fill(path, colour)
    with brush.within(path):
        brush.fill(under, shade, 0.8)
        light = skia.Path()
        for dx, dy, r in ((-58, 4, 22), (-28, -18, 30), (10, -32, 34), (50, -10, 24)):
            light.addCircle(x + dx * size - 3, y + dy * size - 3, r * size)
        brush.fill(light, colour)


def _sky(brush: Brush, chance: random.Random) -> None:
    turn = chance.uniform(-5, 5)
    brush.grade(_all(), [shifted((56, 136, 230), turn), (128, 194, 248), (222, 242, 255)], (0, 0), (0, 500))
    for x, y in ((60, 120), (440, 90), (420, 290), (70, 330)):
        size = chance.uniform(0.75, 1.25)
        _cloud(brush, x + chance.uniform(-40, 40), y + chance.uniform(-30, 30), size, WHITE, (196, 218, 246))


def _night(brush: Brush, chance: random.Random) -> None:
    brush.grade(_all(), [(14, 18, 58), (34, 40, 104), (84, 76, 150)], (0, 0), (0, 512))
    brush.glow((256, 250), 300, (140, 148, 232), 0.8)
    small, big = skia.Path(), skia.Path()
    for _ in range(46):
        (small if chance.random() < 0.7 else big).addCircle(
            chance.uniform(0, 512), chance.uniform(0, 470), chance.uniform(1.6, 2.8)
        )
    for _ in range(7):
        x, y, r = chance.uniform(0, 512), chance.uniform(0, 400), chance.uniform(9, 15)
        big.addPath(
            joined(
                [(x, y - r), (x + 1.8, y - 1.8), (x + r, y)],
                [(x + r, y), (x + 1.8, y + 1.8), (x, y + r)],
                [(x, y + r), (x - 1.8, y + 1.8), (x - r, y)],
                [(x - r, y), (x - 1.8, y - 1.8), (x, y - r)],
            )
        )
    brush.fill(small, (200, 206, 255), 0.8)
    brush.fill(big, (255, 250, 226))
    if chance.random() < 0.75:
        x, y = chance.choice((70, 438)), chance.uniform(64, 120)
        brush.glow((x, y), 92, (255, 244, 200), 0.4)
        moon = ellipse(x, y, 38, 38)
        if chance.random() < 0.5:
            moon = skia.Op(moon, ellipse(x + 16, y - 8, 34, 34), skia.kDifference_PathOp)
        brush.fill(moon, (255, 246, 210))


def _cherry(brush: Brush, chance: random.Random) -> None:
    brush.grade(_all(), [(176, 216, 248), (232, 236, 250), (255, 230, 238)], (0, 0), (0, 512))
    for side in (0, 1):
        x0, toward = (0, 1) if side == 0 else (512, -1)
        for high, reach, drop in ((60, 210, 10), (190, 130, 60)):
            y0 = high + chance.uniform(-30, 30)
            brush.stroke(
                [(x0 - toward * 20, y0), (x0 + toward * reach * 0.5, y0 - 16), (x0 + toward * reach, y0 + drop)],
                (112, 78, 84),
                13,
                (1, 0.7, 0.2),
            )
    deep, pale, white = skia.Path(), skia.Path(), skia.Path()
    for _ in range(22):
        x = chance.choice((0, 512)) + chance.gauss(0, 92)
        y = chance.uniform(-20, 215) + abs(x - 256) * 0.08
        for _ in range(6):
            dx, dy, r = chance.gauss(0, 17), chance.gauss(0, 12), chance.uniform(9, 17)
            deep.addCircle(x + dx, y + dy + 6, r)
            pale.addCircle(x + dx - 3, y + dy, r * 0.86)
            white.addCircle(x + dx - 6, y + dy - 5, r * 0.36)
    brush.fill(deep, (240, 158, 190))
    brush.fill(pale, (254, 196, 216))
    brush.fill(white, (255, 232, 240), 0.9)
    for _ in range(12):
        x = chance.choice((20, 492)) + chance.gauss(0, 66)
        blossom(brush, (x, chance.uniform(0, 260)), chance.uniform(12, 19), (255, 242, 247), (236, 110, 150))
    for _ in range(14):
        _petal(brush, (chance.uniform(0, 512), chance.uniform(120, 512)), chance.uniform(0, 180), 1.0)


def _classroom(brush: Brush, chance: random.Random) -> None:
    brush.fill(_all(), (240, 230, 208))
    flip = chance.random() < 0.5
    with brush.moved(512 if flip else 0, 0, flip=flip):
        brush.fill(box(-10, 36, 300, 300), (150, 108, 72))
        brush.fill(box(0, 48, 290, 288), (52, 104, 84))
        chalk = (232, 244, 236)
        for y, far in ((84, 120), (112, 90), (142, 136), (172, 70)):
            brush.stroke([(24, y), (24 + far * 0.5, y - 3), (24 + far, y)], chalk, 5, (1, 1, 1), alpha=0.75)
        brush.trace(ellipse(74, 226, 26, 26), chalk, 3.4, 0.7)
        brush.fill(box(-10, 288, 300, 304), (186, 142, 98))
        window = box(340, 20, 530, 300)
        brush.grade(window, [(120, 190, 246), (222, 242, 255)], (0, 20), (0, 300))
        _cloud(brush, 440, 120, 0.8, WHITE, (206, 226, 248))
        brush.trace(window, (250, 250, 246), 14)
        brush.fill(box(428, 20, 440, 300), (250, 250, 246))
        brush.fill(box(330, 158, 530, 168), (250, 250, 246))
        for x in (-40, 130, 350, 480):
            brush.fill(box(x, 396, x + 130, 416, 4), (214, 164, 108))
            brush.fill(box(x + 8, 416, x + 122, 512), (172, 122, 78))
            brush.fill(box(x + 16, 430, x + 114, 512), (126, 88, 62))


def _library(brush: Brush, chance: random.Random) -> None:
    brush.fill(_all(), (96, 62, 44))
    colours = {colour: skia.Path() for colour in BOOKS}
    bands = skia.Path()
    for top in (-30, 98, 226, 354, 482):
        x = -chance.uniform(0, 20)
        while x < WIDE:
            wide, tall = chance.uniform(15, 31), chance.uniform(76, 106)
            colours[chance.choice(BOOKS)].addRect(skia.Rect.MakeLTRB(x, top + 110 - tall, x + wide - 2, top + 110))
            bands.addRect(skia.Rect.MakeLTRB(x + 2, top + 130 - tall, x + wide - 4, top + 138 - tall))
            x += wide + (chance.uniform(8, 30) if chance.random() < 0.06 else 0)
    for colour, path in colours.items():
        brush.fill(path, colour)
    brush.fill(bands, (244, 222, 170), 0.8)
    for top in (-30, 98, 226, 354, 482):
        brush.fill(box(0, top + 110, WIDE, top + 124), (158, 106, 70))
        brush.fill(box(0, top + 124, WIDE, top + 134), (64, 40, 32), 0.7)
    brush.fill(box(-8, 0, 10, WIDE), (158, 106, 70))
    brush.fill(box(502, 0, 520, WIDE), (158, 106, 70))
    brush.glow((chance.choice((60, 450)), 40), 330, (255, 220, 150), 0.45)


def _sea(brush: Brush, chance: random.Random) -> None:
    line = chance.uniform(210, 260)
    brush.grade(box(0, 0, WIDE, line), [(92, 176, 244), (216, 240, 255)], (0, 0), (0, line))
    _cloud(brush, chance.choice((70, 440)), line - 60, 1.15, WHITE, (206, 226, 248))
    brush.grade(box(0, line, WIDE, WIDE), [(24, 104, 190), (30, 150, 208), (120, 220, 224)], (0, line), (0, 440))
    lights = skia.Path()
    for _ in range(34):
        y = line + chance.uniform(4, 170)
        wide = 8 + (y - line) * 0.2
        x = chance.uniform(0, WIDE)
        ribbon([(x - wide, y), (x, y - 1.5), (x + wide, y)], (0, 4.6, 0), lights)
    brush.fill(lights, WHITE, 0.85)
    shore = 436.0
    foam = joined(
        [(-10, shore), (90, shore - 10), (200, shore + 6), (330, shore - 8), (430, shore + 6), (522, shore - 6)],
        [(522, 520), (-10, 520)],
    )
    brush.fill(foam, WHITE)
    with brush.moved(0, 14):
        brush.fill(foam, (246, 226, 182))


def _sunset(brush: Brush, chance: random.Random) -> None:
    brush.grade(_all(), [(96, 62, 140), (226, 88, 118), (255, 150, 84), (255, 214, 120)], (0, 0), (0, 420))
    x, y = chance.choice((84, 428)), chance.uniform(250, 320)
    brush.glow((x, y), 170, (255, 240, 170), 0.8)
    brush.fill(ellipse(x, y, 42, 42), (255, 246, 206))
    streaks = skia.Path()
    for _ in range(9):
        cx, cy, wide = chance.uniform(0, 512), chance.uniform(30, 260), chance.uniform(50, 130)
        ribbon([(cx - wide, cy), (cx, cy - 5), (cx + wide, cy + 2)], (0, chance.uniform(10, 22), 0), streaks)
    brush.fill(streaks, (255, 170, 150), 0.75)
    brush.fill(
        joined([(-10, 400), (80, 366), (180, 392), (300, 360), (420, 390), (522, 352)], [(522, 520), (-10, 520)]),
        (92, 54, 104),
    )
    brush.fill(
        joined([(-10, 450), (120, 420), (260, 444), (400, 418), (522, 446)], [(522, 520), (-10, 520)]), (60, 36, 80)
    )


def _flowers(brush: Brush, chance: random.Random) -> None:
    line = chance.uniform(190, 230)
    brush.grade(box(0, 0, WIDE, line + 4), [(120, 196, 246), (230, 246, 255)], (0, 0), (0, line))
    _cloud(brush, chance.choice((70, 440)), line - 90, 0.9, WHITE, (206, 226, 248))
    brush.fill(
        joined(
            [(-10, line), (120, line - 26), (260, line), (400, line - 22), (522, line + 4)],
            [(522, line + 60), (-10, line + 60)],
        ),
        (124, 184, 128),
    )
    brush.grade(box(0, line, WIDE, WIDE), [(150, 208, 110), (84, 160, 84)], (0, line), (0, 512))
    kinds = chance.sample(FLOWERS, 3)
    far = {colour: skia.Path() for colour in kinds}
    for _ in range(110):
        t = chance.random() ** 0.8
        far[chance.choice(kinds)].addCircle(chance.uniform(0, 512), line + 8 + t * 130, 2.6 + 6 * t)
    for colour, path in far.items():
        brush.fill(path, colour)
    for _ in range(20):
        x = chance.choice((70, 442)) + chance.gauss(0, 70)
        blossom(
            brush, (x, chance.uniform(line + 120, 512)), chance.uniform(15, 26), chance.choice(kinds), (250, 190, 60)
        )


PLACES: dict[str, Callable[[Brush, random.Random], None]] = {
    "simple_background": _simple,
    "gradient_background": _gradient,
    "sky": _sky,
    "night_sky": _night,
    "cherry_blossoms": _cherry,
    "classroom": _classroom,
    "library": _library,
    "sea": _sea,
    "sunset": _sunset,
    "flower_field": _flowers,
}
