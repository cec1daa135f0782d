"""The hair behind the head and over the shoulders, for each style: lengths, tails, buns and braids.

In the face's coordinates; drawn before the face. The cap and fringe that cover its roots are in `hair`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import skia

from anime_ai.starter.portraits.canvas import Brush, Point, ellipse, joined, mirrored, mix, ribbon
from anime_ai.starter.portraits.hair import hair_tones, line_colour, lock, sway
from anime_ai.starter.portraits.looks import Look
from anime_ai.starter.portraits.palette import Tones

TIED, LOOSE, BRAIDED = -150.0, -40.0, 70.0
"""Heights at which tails, free hair and braids are held."""


def draw_behind(brush: Brush, look: Look) -> None:
    """What the head and the body hide in part."""
    pivot = TIED if look.hair_style in ("twintails", "ponytail") else LOOSE
    with brush.swayed(sway(look), pivot):
        BEHIND[look.hair_style](brush, look, hair_tones(look))


def draw_over_shoulders(brush: Brush, look: Look) -> None:
    """What hangs in front of the clothes from behind the ears."""
    with brush.swayed(sway(look), BRAIDED):
        _braids(brush, look)


def _braids(brush: Brush, look: Look) -> None:
    hue, long = hair_tones(look), look.person.hair_long
    if look.hair_style == "twin_braids":
        for side in (-1, 1):
            with brush.moved(flip=side < 0):
                _braid(brush, hue, [(92, 66), (112, 110), (112, 160), (106, 206 * min(1.0, long))], 40)
    elif look.hair_style == "single_braid":
        with brush.moved(flip=look.person.part < 0):
            _braid(brush, hue, [(78, 78), (104, 122), (96, 170), (80, 216 * min(1.0, long))], 54)


def _mass(brush: Brush, hue: Tones, half: Sequence[Point], lines: Sequence[Sequence[Point]]) -> None:
    """A symmetrical mass of hair from the right half of its outline (top to bottom), dark where the head shades it."""
    path = joined([*mirrored(half)][::-1] + list(half))
    brush.grade(path, [hue.deep, hue.shade, mix(hue.base, hue.shade, 0.35)], (0, 0), (0, 240))
    for rim in (half, mirrored(half)):
        inward = [(x * 0.93, y) for x, y in rim]
        brush.stroke(inward, mix(hue.base, hue.shade, 0.2), 24, [0.2, *[1.0] * (len(rim) - 2), 0.3])
    brush.edge(path, hue.base, 1.1)
    both = [list(line) for line in lines] + [mirrored(line) for line in lines]
    brush.strokes(both, line_colour(brush, hue), 2.8, 0.8)


def _long(brush: Brush, look: Look, hue: Tones) -> None:
    end = 290 * look.person.hair_long
    half: list[Point] = [(60, -150), (112, -90), (127, 0), (136, 90), (146, 180), (134, end)]
    _mass(brush, hue, half, [[(124, end * 0.9), (120, 120), (112, 30)]])


def _wavy(brush: Brush, look: Look, hue: Tones) -> None:
    end = 300 * look.person.hair_long
    half: list[Point] = [
        (60, -150), (114, -96), (130, -30), (122, 20), (148, 66), (134, 116), (166, 166), (148, 216), (172, 262),
        (150, end),
    ]  # fmt: skip
    _mass(brush, hue, half, [[(140, 250), (148, 190), (128, 130), (132, 70), (112, 10)]])


def _nape(brush: Brush, hue: Tones, wide: float = 76, low: float = 74) -> None:
    """The back of a head whose hair is gathered up or short."""
    path = joined(
        [(-108, -60), (-wide - 16, 20), (-wide + 14, low)],
        [(-wide + 14, low), (0, low - 20), (wide - 14, low)],
        [(wide - 14, low), (wide + 16, 20), (108, -60)],
    )
    brush.grade(path, [hue.shade, hue.deep], (0, 0), (0, low))
    brush.edge(path, hue.base)


def _short(brush: Brush, look: Look, hue: Tones) -> None:
    low = 84 * (0.5 + 0.5 * look.person.hair_long)
    _nape(brush, hue, 92, low)
    for side in (-1, 1):
        with brush.moved(flip=side < 0):
            lock(brush, [(100, 0), (112, 40), (106, 70), (116, low + 14)], (30, 34, 24, 0), hue, side < 0)
            lock(brush, [(86, 20), (92, 60), (84, 84), (90, low + 24)], (30, 32, 20, 0), hue, side < 0)
            lock(brush, [(66, 40), (66, 70), (56, low + 20)], (24, 24, 0), hue, side < 0)


def _bob(brush: Brush, look: Look, hue: Tones) -> None:
    end = 90 * look.person.hair_long
    right: list[Point] = [(96, end), (124, end * 0.7), (126, 10), (110, -80)]
    path = joined(mirrored(right)[::-1], [(-96, end), (0, end + 10), (96, end)], right)
    brush.grade(path, [hue.shade, hue.deep], (0, 0), (0, end))
    brush.edge(path, hue.base)
    lines: list[list[Point]] = [
        [(x, end + 6), (x * 1.05, end - 26), (x, end - 46)] for x in (-66, -40, -12, 20, 46, 70)
    ]
    brush.strokes(lines, line_colour(brush, hue), 2.6, 0.6)


def _tail(brush: Brush, hue: Tones, spine: Sequence[Point], widths: Sequence[float], flip: bool) -> None:
    """A gathered tail: one big lock, smaller ones that leave it, and strands along it."""
    (ax, ay), (bx, by) = spine[-2], spine[-1]
    (cx, cy) = spine[-3]
    lock(brush, [(cx, cy), (ax + 22, ay), (bx + 30, by - 26)], (widths[-3] * 0.8, widths[-2] * 0.7, 0), hue, flip)
    lock(brush, [(cx, cy), (ax - 20, ay - 4), (bx - 32, by - 44)], (widths[-3] * 0.8, widths[-2] * 0.7, 0), hue, flip)
    lock(brush, spine, widths, hue, flip)
    light = [
        (x - (-1 if flip else 1) * width * 0.2, y) for (x, y), width in zip(spine[1:-2], widths[1:-2], strict=True)
    ]
    brush.stroke(light, hue.light, 11, alpha=0.75)
    lines = []
    for off in (-0.16, 0.1):
        lines.append(
            [(x + off * width, y + 10 * off) for (x, y), width in reversed(list(zip(spine, widths, strict=True)))][:-1]
        )
    brush.strokes(lines, line_colour(brush, hue), 2.8, 0.8)


def _twintails(brush: Brush, look: Look, hue: Tones) -> None:
    _nape(brush, hue)
    end = 246 * look.person.hair_long
    for side in (-1, 1):
        with brush.moved(flip=side < 0):
            spine: list[Point] = [(92, -112), (142, -136), (178, -70), (180, 30), (166, 130), (182, end)]
            _tail(brush, hue, spine, (22, 46, 64, 66, 50, 0), side < 0)


def _ponytail(brush: Brush, look: Look, hue: Tones) -> None:
    _nape(brush, hue)
    end = 206 * look.person.hair_long
    with brush.moved(flip=look.person.part < 0):
        spine: list[Point] = [(34, -160), (96, -196), (156, -150), (176, -50), (156, 60), (178, end)]
        _tail(brush, hue, spine, (30, 56, 74, 78, 56, 0), look.person.part < 0)


def _gathered(brush: Brush, look: Look, hue: Tones) -> None:
    _nape(brush, hue, 84, 84)


def _buns(brush: Brush, look: Look, hue: Tones) -> None:
    _nape(brush, hue)
    for side in (-1, 1):
        with brush.moved(side * 84, -160, flip=side < 0):
            bun = ellipse(0, 0, 46, 44)
            brush.grade(bun, [hue.light, hue.base, hue.shade], (-side * 40, -50), (side * 26, 44))
            with brush.within(bun):
                brush.fill(joined([(-46, 30), (0, 34), (46, -8)], [(46, -8), (60, 60), (-46, 60)]), hue.shade)
            brush.edge(bun, hue.base, 1.1)
            lines: list[list[Point]] = [
                [(-38, 20), (-22, -18), (10, -26), (28, -6), (16, 14)],
                [(-22, 34), (-8, 4), (12, -4)],
                [(-43, 0), (-26, -32), (6, -41)],
                [(38, 22), (42, 0), (30, -28)],
            ]
            brush.strokes(lines, line_colour(brush, hue), 3.0)


def _braid(brush: Brush, hue: Tones, spine: Sequence[Point], width: float) -> None:
    """A plait along the spine: lobes that cross in turn, and the tuft below them; its tie is an accessory."""
    places = _along(spine, 6)
    (ex, ey) = places[-1]
    lock(brush, [(ex + 2, ey - 12), (ex - 9, ey + 20), (ex - 15, ey + 50)], (16, 26, 0), hue)
    lock(brush, [(ex, ey - 12), (ex + 9, ey + 20), (ex + 5, ey + 58)], (16, 26, 0), hue)
    for side in (1, -1):
        lobes, shades, lights = skia.Path(), skia.Path(), skia.Path()
        for i in reversed(range(len(places) - 1)):
            (x, y), (nx, ny) = places[i], places[i + 1]
            wide = width * 0.5 * (1.06 - 0.07 * i)
            tall = ny - y
            if side > 0:
                x, y, nx, ny = (x + nx) / 2, y - tall / 2, nx, ny - tall / 2
            _lobe(lobes, x, y, nx, side, wide, tall)
            ribbon(
                [(nx - side * wide * 0.1, ny + tall * 0.1), (x + side * wide * 0.55, y + tall * 0.74)],
                (1, wide * 0.5),
                shades,
            )
            ribbon(
                [(x + side * wide * 0.28, y - tall * 0.02), (x + side * wide * 0.74, y + tall * 0.24)],
                (1, wide * 0.3),
                lights,
            )
        brush.fill(lobes, hue.base)
        with brush.within(lobes):
            brush.fill(shades, hue.shade)
            brush.fill(lights, hue.light, 0.75)
        brush.trace(lobes, line_colour(brush, hue), max(1.8, brush.manner.line))


def _lobe(path: skia.Path, x: float, y: float, nx: float, side: int, wide: float, tall: float) -> None:
    """One strand of a plait where it comes out: from the middle out and down to the middle again."""
    path.moveTo(x - side * wide * 0.34, y - tall * 0.16)
    path.cubicTo(
        x + side * wide * 0.5, y - tall * 0.42, x + side * wide * 1.2, y - tall * 0.05, x + side * wide, y + tall * 0.5
    )
    path.cubicTo(
        x + side * wide * 0.85,
        y + tall * 0.85,
        nx + side * wide * 0.2,
        y + tall * 1.0,
        nx - side * wide * 0.34,
        y + tall * 1.28,
    )
    path.cubicTo(
        nx - side * wide * 0.2,
        y + tall * 0.8,
        x - side * wide * 0.2,
        y + tall * 0.3,
        x - side * wide * 0.34,
        y - tall * 0.16,
    )
    path.close()


def _along(spine: Sequence[Point], count: int) -> list[Point]:
    """`count` points at even steps of the polyline's parameter."""
    places = []
    for i in range(count):
        at = i / (count - 1) * (len(spine) - 1)
        k = min(int(at), len(spine) - 2)
        (ax, ay), (bx, by) = spine[k], spine[k + 1]
        places.append((ax + (bx - ax) * (at - k), ay + (by - ay) * (at - k)))
    return places


BEHIND: dict[str, Callable[[Brush, Look, Tones], None]] = {
    "long_hair": _long,
    "short_hair": _short,
    "twintails": _twintails,
    "ponytail": _ponytail,
    "bob_cut": _bob,
    "twin_braids": _gathered,
    "single_braid": _gathered,
    "double_bun": _buns,
    "wavy_hair": _wavy,
    "hime_cut": _long,
}
