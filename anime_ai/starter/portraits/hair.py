"""The hair in front: cap, fringe, the locks beside the face, the band of shine, loose strands.

Drawn over the face, in the face's coordinates. What hangs behind the head or over the shoulders is in `tresses`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import skia

from anime_ai.starter.portraits.canvas import WHITE, Brush, Colour, Point, joined, mirrored, mix, ribbon
from anime_ai.starter.portraits.looks import Look
from anime_ai.starter.portraits.palette import HAIR, Tones, jittered, tones

OUTER: tuple[Point, ...] = ((112, -10), (119, -62), (106, -123), (63, -171), (0, -190))
"""The right half of the outline, from the temple to the crown."""
TEMPLE: Point = (102, 44)
CROWN = -170.0
TURNED = 8.0
"""How far a fully turned head moves the middle of its fringe; the outline stays."""
Fringe = tuple[tuple[Point, ...], float]
"""The lower edge from left to right: notch, tip, notch, tip ... notch; and where the hair parts."""

FRINGES: tuple[Fringe, ...] = (
    # Loose, with a gap over the left eye.
    (
        ((-92, -20), (-90, 26), (-76, -30), (-60, -10), (-38, -70), (-22, -18), (-3, -44), (17, -8), (33, -66),
         (48, -22), (60, -44), (76, -4), (84, -30), (92, 26), (92, -14)), -18,
    ),
    # Swept to the left from a parting on the right.
    (
        ((-92, -14), (-92, 34), (-78, -20), (-72, 4), (-50, -34), (-40, -10), (-16, -46), (-4, -22), (24, -68),
         (34, -44), (46, -112), (70, -24), (80, -42), (92, 22), (92, -16)), 44,
    ),
    # Blunt.
    (
        ((-90, -18), (-84, -20), (-68, -29), (-59, -16), (-45, -26), (-35, -15), (-18, -28), (-6, -15), (10, -38),
         (20, -15), (36, -26), (48, -16), (61, -28), (76, -18), (90, -18)), 4,
    ),
    # Parted in the middle.
    (
        ((-94, -4), (-97, 38), (-84, -12), (-80, 8), (-62, -42), (-52, -28), (-2, -124), (42, -36), (60, -44),
         (79, 6), (86, -14), (97, 36), (94, -4)), -2,
    ),
    # Choppy.
    (
        ((-92, -10), (-93, 30), (-82, -22), (-72, 2), (-60, -42), (-44, -14), (-32, -50), (-16, -4), (-6, -56),
         (10, -22), (22, -48), (36, -8), (48, -52), (60, -20), (70, -34), (84, 6), (88, -20), (97, 28), (92, -10)), 8,
    ),
    # One lock between the eyes.
    (
        ((-92, -12), (-92, 30), (-80, -30), (-68, -6), (-48, -64), (-32, -30), (-18, -84), (4, 24), (20, -82),
         (36, -34), (50, -62), (70, -4), (80, -30), (92, 28), (92, -12)), 0,
    ),
)  # fmt: skip
BLUNT = 2
SWAY = 0.085
STIFF = frozenset({"bob_cut", "hime_cut"})
"""Styles whose outline is their point: wind hardly moves them."""
SIDES = {
    "short_hair": 62.0,
    "twintails": 96.0,
    "ponytail": 86.0,
    "twin_braids": 76.0,
    "single_braid": 84.0,
    "double_bun": 112.0,
}
"""How far down the locks beside the face hang, for the styles that have plain ones."""


@dataclass(frozen=True)
class Front:
    """The cap and fringe as one shape, and the parts of its lower edge."""

    shape: skia.Path
    notches: tuple[Point, ...]
    tips: tuple[Point, ...]
    part: float


def hair_tones(look: Look) -> Tones:
    """The tones of this person's hair."""
    person = look.person
    return tones(jittered(HAIR[look.hair_colour][person.hair_shade], random.Random(person.bright)))


def front(look: Look) -> Front:
    """The shape of cap and fringe."""
    person, style = look.person, look.hair_style
    choice = BLUNT if style == "hime_cut" else person.bangs
    if style == "bob_cut" and choice == 3:
        choice = BLUNT
    edge, part = FRINGES[choice]
    jitter = random.Random(person.seed)
    points = [(x + jitter.uniform(-2, 2), y + jitter.uniform(-3, 3) * (choice != BLUNT)) for x, y in edge]
    if person.part > 0 and choice != BLUNT:
        points, part = [(-x, y) for x, y in reversed(points)], -part
    turned = TURNED * look.scene.turn
    points = [(x + turned * (1 - abs(x) / 110), y) for x, y in points]
    part += turned
    path = joined([TEMPLE, *OUTER, *reversed(mirrored(OUTER[:-1])), (-TEMPLE[0], TEMPLE[1])], closed=False)
    at = (-TEMPLE[0], TEMPLE[1])
    for i, point in enumerate([*points, TEMPLE]):
        _bowed(path, at, point, part, outer=(i % 2 == 1) == (point[0] < part))
        at = point
    path.close()
    return Front(path, tuple(points[::2]), tuple(points[1::2]), part)


def _bowed(path: skia.Path, start: Point, end: Point, part: float, outer: bool) -> None:
    """One edge of a lock: bowed away from the parting, the outer edge more than the inner, which makes locks curl."""
    side = -1 if (start[0] + end[0]) / 2 < part else 1
    tall = abs(end[1] - start[1])
    bow = tall * (0.17 if outer else 0.05)
    path.quadTo((start[0] + end[0]) / 2 + side * bow, (start[1] + end[1]) / 2, *end)


def draw_front(brush: Brush, look: Look, shape: Front) -> None:
    """Everything in front of the face, from the locks at its sides to the strand that stands up."""
    hue = hair_tones(look)
    with brush.swayed(sway(look), -40):
        _sides(brush, look, hue)
    if look.person.ahoge:
        _ahoge(brush, look, hue)
    _clumps(brush, look, hue)
    tip = mix(hue.base, hue.light, 0.42)
    brush.grade(shape.shape, [mix(hue.base, hue.shade, 0.5), hue.base, hue.base, tip], (0, CROWN), (0, 20))
    with brush.within(shape.shape):
        _shade(brush, shape, hue)
        brush.hatch(_left_of_part(shape), 0.28)
        _shine(brush, look, shape, hue)
    brush.edge(shape.shape, hue.base, 1.1)
    _strands(brush, shape, hue)
    if look.hair_style == "hime_cut":
        for side in (-1, 1):
            with brush.moved(flip=side < 0):
                _blunt_lock(brush, hue, side)
    _loose(brush, look, hue)


def _clumps(brush: Brush, look: Look, hue: Tones) -> None:
    """Locks along the outline whose tips leave it: without them a head of hair is a helmet."""
    chance = random.Random(look.person.seed + 4)
    for side in (-1, 1):
        with brush.moved(flip=side < 0):
            low = chance.uniform(-8, 10)
            lock(brush, [(96, -120), (118, -70), (121, -20), (135, 20 + low)], (20, 28, 20, 0), hue, side < 0)
            high = chance.uniform(-8, 8)
            lock(brush, [(54, -150), (92, -126), (112, -90), (134, -48 + high)], (12, 28, 20, 0), hue, side < 0)


def _shade(brush: Brush, shape: Front, hue: Tones) -> None:
    """The side away from the light, and under every lock the side that the next one covers."""
    away: list[Point] = [(20, -186), (74, -150), (96, -90), (97, -30), (86, 44), (130, 40), (130, -120), (70, -190)]
    path = joined(away)
    brush.fill(path, hue.shade, 0.8)
    brush.hatch(path, 0.35)
    rim: list[Point] = [(84, -146), (103, -110), (113, -62), (108, -12)]
    brush.stroke(rim, hue.light, 6.5, (0.1, 1, 0.9, 0.1), alpha=0.6)
    under = skia.Path()
    notches = shape.notches
    for i, (x, y) in enumerate(shape.tips):
        nx, ny = notches[i + 1]
        px, py = notches[i]
        up = (nx + (shape.part - nx) * 0.16, ny + (CROWN - ny) * 0.34)
        under.moveTo(x, y)
        under.lineTo(nx + 1, ny)
        under.lineTo(*up)
        under.quadTo((nx * 0.72 + px * 0.28), ny, x, y)
        under.close()
    brush.fill(under, hue.shade)


def _left_of_part(shape: Front) -> skia.Path:
    """Where a pencil hatches the fringe."""
    return joined(
        [(-110, -90), (shape.part, -100)],
        [(shape.part, -100), (shape.part - 6, 10)],
        [(shape.part - 6, 10), (-104, 40), (-110, -90)],
    )


def _shine(brush: Brush, look: Look, shape: Front, hue: Tones) -> None:
    """A band of light that follows the skull; its edges are ragged, as each lock breaks it."""
    chance = random.Random(look.person.seed + 1)
    soft: list[Point] = [(x, -106 + 0.0040 * x * x) for x in (-136, -68, 0, 68, 136)]
    brush.fill(ribbon(soft, (46, 46, 46, 46, 46)), hue.light, 0.42, blur=9)
    path = skia.Path()
    split = chance.uniform(-30, 6)
    _teeth(path, -95, split - 9, 13, chance)
    _teeth(path, split + 5, 66, 11, chance)
    brush.fill(path, hue.light, 0.9)
    glints = ribbon([(-70, -120), (-44, -137), (-14, -144)], (0, 7, 0))
    ribbon([(-2, -146), (8, -146), (18, -144)], (0, 6, 0), glints)
    brush.fill(glints, WHITE, 0.6)


def _teeth(path: skia.Path, start: float, end: float, tall: float, chance: random.Random) -> None:
    """One stretch of the band of shine: smooth tops, pointed teeth below, nothing at its ends."""
    count = max(3, round((end - start) / 13))
    step = (end - start) / count

    def arc(x: float) -> float:
        return -112 + 0.0042 * x * x

    path.moveTo(start, arc(start))
    middle = (start + end) / 2
    path.quadTo(middle, 2 * (arc(middle) - tall) - (arc(start) + arc(end)) / 2, end, arc(end))
    for i in reversed(range(count)):
        x = start + i * step
        much = math.sin(math.pi * (i + 0.5) / count) ** 0.5
        tip = (x + step * 0.5 + x * 0.03, arc(x) + tall * much * chance.uniform(0.9, 2.0))
        low = arc(x) + tall * 0.25 * math.sin(math.pi * i / count)
        path.quadTo(x + step * 0.92, arc(x) + tall * 0.5, *tip)
        path.quadTo(x + step * 0.12, arc(x) + tall * 0.5, x, low)
    path.close()


def _strands(brush: Brush, shape: Front, hue: Tones) -> None:
    """From each notch a line runs up towards the crown and thins out."""
    spines: list[list[Point]] = []
    for i, (x, y) in enumerate(shape.notches):
        far = 0.78 if i % 2 else 0.52
        side = -1 if x < shape.part else 1
        end = (x + (shape.part - x) * far * 0.8, y + (CROWN - y) * far)
        middle = ((x + end[0]) / 2 + side * 7, (y + end[1]) / 2)
        spines.append([(x, y), middle, end])
    if abs(shape.part) > 30 or shape.notches[len(shape.notches) // 2][1] < -100:
        spines.append([(shape.part, -112), (shape.part * 0.96, -146), (shape.part * 0.8, -176)])
    width = max(2.6, brush.manner.line * 1.15)
    brush.strokes(spines, line_colour(brush, hue), width)
    top = (shape.part * 0.7, -177.0)
    fine: list[list[Point]] = []
    for x, y in ((-70, -128), (-34, -142), (32, -144), (66, -130), (96, -86)):
        fine.append([(top[0] + x * 0.3, top[1] + 8), (top[0] + x * 0.72, top[1] + 8 + (y + 177) * 0.36), (x, y)])
    brush.strokes(fine, hue.deep, 2.6, 0.6)


def line_colour(brush: Brush, hue: Tones) -> Colour:
    """Lines inside hair: softer than its outline, or where a style has no lines a deep tone of the hair."""
    return mix(brush.ink(hue.base), hue.deep, 0.35) if brush.manner.line else hue.deep


def lock(brush: Brush, spine: Sequence[Point], widths: Sequence[float], hue: Tones, flip: bool = False) -> None:
    """One lock: lit towards the tip, shaded along one side, outlined."""
    path = ribbon(spine, widths)
    brush.grade(path, [mix(hue.base, hue.shade, 0.5), hue.base, mix(hue.base, hue.light, 0.3)], spine[0], spine[-1])
    side = -1 if flip else 1
    shaded = [(x + side * width * 0.3, y) for (x, y), width in zip(spine, widths, strict=True)]
    brush.stroke(shaded, hue.shade, 1.0, [width * 0.36 for width in widths], alpha=0.9)
    if max(widths) > 19:
        lit = [(x - side * width * 0.27, y) for (x, y), width in zip(spine, widths, strict=True)]
        brush.stroke(lit, hue.light, 1.0, [0.0, *[width * 0.13 for width in widths[1:]]], alpha=0.6)
    brush.edge(path, hue.base, 0.8 if brush.manner.line > 4 else 1.0)


def sway(look: Look) -> float:
    """How far the wind moves what hangs free, as a share of how far it hangs."""
    return SWAY * look.scene.wind * (0.4 if look.hair_style in STIFF else 1.0)


def _sides(brush: Brush, look: Look, hue: Tones) -> None:
    style, long = look.hair_style, look.person.hair_long
    for side in (-1, 1):
        with brush.moved(flip=side < 0):
            if style == "bob_cut":
                _bob_side(brush, hue, long, side)
            elif style == "hime_cut":
                _hime_side(brush, hue, side)
            elif style == "wavy_hair":
                _wavy_side(brush, hue, long, side)
            elif style == "long_hair":
                _long_side(brush, hue, long, side)
            else:
                _plain_side(brush, hue, SIDES[style] * (0.6 + 0.4 * long), side, style == "short_hair")


def _plain_side(brush: Brush, hue: Tones, end: float, side: int, short: bool) -> None:
    """Two locks in front of the ear. The light comes from the left, so the shaded side depends on `side`."""
    flip = side < 0
    if short:
        lock(brush, [(104, -50), (116, 0), (117, 38), (128, end + 6)], (20, 32, 22, 0), hue, flip)
    lock(brush, [(100, -50), (110, 6), (106, 50), (98, end)], (20, 24, 17, 0), hue, flip)
    lock(brush, [(96, -50), (99, 0), (97, 32), (88, end * 0.72)], (10, 15, 11, 0), hue, flip)


def _long_side(brush: Brush, hue: Tones, long: float, side: int) -> None:
    flip = side < 0
    lock(brush, [(110, -60), (119, 20), (122, 100), (126, 180), (112, 262 * long)], (20, 36, 42, 36, 0), hue, flip)
    lock(brush, [(102, -60), (109, 10), (104, 80), (100, 150), (108, 228 * long)], (18, 26, 26, 20, 0), hue, flip)
    lock(brush, [(97, -50), (98, 0), (95, 36), (84, 82)], (10, 15, 12, 0), hue, flip)


def _wavy_side(brush: Brush, hue: Tones, long: float, side: int) -> None:
    flip = side < 0
    outer: list[Point] = [(108, -60), (126, 0), (114, 48), (138, 100), (118, 156), (140, 206), (122, 268 * long)]
    lock(brush, outer, (20, 38, 40, 46, 40, 34, 0), hue, flip)
    inner: list[Point] = [(102, -60), (112, 0), (97, 50), (117, 100), (98, 150), (114, 196), (96, 238 * long)]
    lock(brush, inner, (16, 26, 25, 26, 25, 20, 0), hue, flip)
    lock(brush, [(97, -50), (103, 0), (90, 42), (101, 82), (88, 112)], (10, 15, 14, 11, 0), hue, flip)


def _bob_side(brush: Brush, hue: Tones, long: float, side: int) -> None:
    """One side of a bob: round outside, turned in below the cheek."""
    end = 98 * long
    outer: list[Point] = [(100, -90), (121, -40), (132, 16), (133, end * 0.56), (123, end * 0.84), (102, end)]
    inner: list[Point] = [(66, end - 8), (84, end * 0.56), (92, 10), (86, -60)]
    path = joined(outer, [outer[-1], (84, end + 2), inner[0]], inner)
    brush.grade(path, [hue.base, hue.base, mix(hue.base, hue.light, 0.3)], (0, -60), (0, end))
    if side > 0:
        shade = joined(outer[1:], [outer[-1], (112, end * 0.6), (116, 0)])
    else:
        shade = joined(inner, [inner[-1], (98, 0), (90, end * 0.6), inner[0]])
    brush.fill(shade, hue.shade)
    brush.edge(path, hue.base)
    lines: list[list[Point]] = [
        [(86, end), (101, end * 0.66), (106, 4)],
        [(102, end - 2), (116, end * 0.66), (117, 16)],
        [(74, end - 4), (90, end * 0.62), (98, 12)],
    ]
    brush.strokes(lines, line_colour(brush, hue), 2.8)


def _hime_side(brush: Brush, hue: Tones, side: int) -> None:
    """The long hair behind the blunt lock, which `_blunt_lock` lays over the cap."""
    spine: list[Point] = [(104, -60), (122, 20), (126, 110), (128, 210), (124, 330)]
    lock(brush, spine, (20, 42, 46, 48, 46), hue, side < 0)
    brush.strokes(
        [[(112, 330), (116, 200), (114, 90)], [(136, 330), (134, 220), (128, 120)]], line_colour(brush, hue), 2.8
    )


def _blunt_lock(brush: Brush, hue: Tones, side: int) -> None:
    """The lock that a hime cut ends at the cheek."""
    right, bottom, left = (
        [(119, -60), (120, 10), (118, 80)],
        [(118, 80), (100, 84), (80, 79)],
        [(80, 79), (84, 30), (84, -30)],
    )
    brush.grade(
        joined(right, bottom, left),
        [hue.base, hue.base, mix(hue.base, hue.light, 0.42)],
        (0, -60),
        (0, 80),
        (0.0, 1.0, 1.0),
    )
    x = 111 if side > 0 else 87
    brush.stroke([(x, -20), (x, 30), (x - 1, 78)], hue.shade, 13, (0.2, 0.8, 1))
    if brush.manner.line:
        brush.trace(joined(right, bottom, left, closed=False), brush.ink(hue.base), brush.manner.line)
    lines: list[list[Point]] = [[(91, 80), (95, 20), (96, -30)], [(104, 82), (107, 30), (107, -10)]]
    brush.strokes(lines, line_colour(brush, hue), 2.6)


def _ahoge(brush: Brush, look: Look, hue: Tones) -> None:
    side = look.person.part
    lock(brush, [(0, -172), (side * 6, -204), (side * 28, -222), (side * 54, -208)], (13, 14, 9, 0), hue, side < 0)


def _loose(brush: Brush, look: Look, hue: Tones) -> None:
    """A few strands leave the outline, so that it does not look cut out."""
    chance = random.Random(look.person.seed + 2)
    path = skia.Path()
    for side in (-1, 1):
        for x, y in ((113, -40), (110, -88), (86, -138)):
            if chance.random() < 0.7:
                away, down = chance.uniform(9, 17), chance.uniform(26, 42)
                ribbon(
                    [
                        (side * (x - 8), y - 16),
                        (side * (x + away * 0.55), y + down * 0.3),
                        (side * (x + away), y + down),
                    ],
                    (0, 5.5, 0),
                    path,
                )
    brush.fill(path, hue.base)
    if brush.manner.line:
        brush.edge(path, hue.base, 0.6)
