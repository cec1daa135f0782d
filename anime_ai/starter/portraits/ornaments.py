"""Bows and blossoms: what clothes, hair and places share. Knows colours; does not know who wears them."""

from __future__ import annotations

import math

import skia

from anime_ai.starter.portraits.canvas import Brush, Colour, Point, ellipse, joined, smooth
from anime_ai.starter.portraits.palette import tones


def bow(brush: Brush, at: Point, size: float, colour: Colour, tails: bool = True, turn: float = 0.0) -> None:
    """A tied bow about a point, `size` from its knot to the end of a loop."""
    hue = tones(colour)
    with brush.moved(*at, turn=turn, size=size / 40):
        for side in (-1, 1):
            if tails:
                tail = joined(
                    [(side * 2, 2), (side * 12, 26), (side * 16, 54)],
                    [(side * 16, 54), (side * 24, 44)],
                    [(side * 24, 44), (side * 34, 46)],
                    [(side * 34, 46), (side * 24, 20), (side * 8, 2)],
                )
                brush.grade(tail, [hue.shade, hue.base], (0, 4), (0, 40))
                brush.edge(tail, colour)
        for side in (-1, 1):
            loop = smooth(
                [
                    (side * 3, -5),
                    (side * 22, -22),
                    (side * 41, -20),
                    (side * 42, 2),
                    (side * 38, 17),
                    (side * 20, 12),
                    (side * 3, 6),
                ]
            )
            brush.fill(loop, hue.base)
            inner = smooth([(side * 6, 2), (side * 22, -2), (side * 40, 6), (side * 36, 16), (side * 20, 11)])
            brush.fill(inner, hue.shade)
            brush.edge(loop, colour)
            brush.stroke([(side * 5, -1), (side * 15, -7), (side * 24, -9)], hue.deep, 3)
        knot = smooth([(-8, -9), (8, -9), (10, 0), (8, 10), (-8, 10), (-10, 0)])
        brush.grade(knot, [hue.light, hue.base, hue.shade], (-6, -10), (6, 10))
        brush.edge(knot, colour)


def blossom(brush: Brush, at: Point, size: float, colour: Colour, heart: Colour, petals: int = 5) -> None:
    """A flower of round petals."""
    path = skia.Path()
    for i in range(petals):
        angle = i * 2 * math.pi / petals - math.pi / 2
        x, y = at[0] + math.cos(angle) * size * 0.58, at[1] + math.sin(angle) * size * 0.58
        path.addCircle(x, y, size * 0.47)
    brush.fill(path, colour)
    brush.fill(ellipse(*at, size * 0.3, size * 0.3), heart)
