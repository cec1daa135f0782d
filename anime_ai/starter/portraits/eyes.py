"""Eyes and brows. Knows lids, irises and lashes; the expression comes as a Mood, the colours as words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import skia

from anime_ai.starter.portraits.canvas import (
    NIGHT,
    WHITE,
    Brush,
    Colour,
    Point,
    ellipse,
    joined,
    mix,
    ribbon,
    shifted,
)
from anime_ai.starter.portraits.looks import Look
from anime_ai.starter.portraits.moods import HAPPY, MOODS, OPEN, Mood
from anime_ai.starter.portraits.palette import BLUSH, EYES, HAIR, SKINS, tones

APART = 50.0
SIZE = 1.12
"""How far the middle of an eye is from the middle of the face."""
FAR = 0.9
"""How wide the eye of the far side looks when the head is turned all the way."""
SCLERA_SHADE: Colour = (214, 216, 236)


@dataclass(frozen=True)
class Lids:
    """The edges of an open eye whose outer corner is at the right: `upper` and `lower` from the inner corner out."""

    upper: tuple[Point, ...]
    lower: tuple[Point, ...]


def lids(mood: Mood, slant: float) -> Lids:
    """The lids of an open eye; `slant`: how far the person's outer corners rise."""
    o, inner = mood.open, mood.slant
    top = -30 * o
    upper = (
        (-31.0, 10.0 + max(0.0, inner * 0.15)),
        (-25.0, top * 0.3 + inner * 0.9),
        (-12.0, top * 0.84 + inner * 0.6),
        (6.0, top * 0.97 + inner * 0.1),
        (23.0, top * 0.66 - inner * 0.3 - slant * 0.5),
        (34.0, -2.0 - slant - inner * 0.2),
    )
    floor = 27.0 - mood.lower
    lower = (upper[0], (-22.0, floor * 0.8), (-3.0, floor), (17.0, floor * 0.83), (28.0, 9.0 - slant * 0.5), upper[-1])
    return Lids(upper, lower)


def draw_eyes(brush: Brush, look: Look) -> None:
    """Both eyes; the origin is the middle between them."""
    _each_eye(brush, look, _eye)


def _each_eye(brush: Brush, look: Look, paint: Callable[[Brush, Look, int], None]) -> None:
    """Paints with the origin in the middle of each eye, mirrored so that the outer corner is at the right."""
    for side in (-1, 1):
        width = 1 - (1 - FAR) * max(0.0, side * look.scene.turn)
        with brush.moved(side * APART * look.person.wide, 7, size=look.person.eye_size * SIZE):
            brush.canvas.scale(side * width, 1)
            paint(brush, look, side)


def _lid(look: Look, side: int) -> str:
    return MOODS[look.expression].lids[0 if side < 0 else 1]


def _eye(brush: Brush, look: Look, side: int) -> None:
    mood, lid = MOODS[look.expression], _lid(look, side)
    # A breath of red around the lids; without it eyes look pasted on.
    brush.fill(ellipse(6, -6 if lid == OPEN else 0, 32, 24), BLUSH[look.person.skin], 0.16, blur=6)
    if lid != OPEN:
        brush.fill(_shut_lashes(lid), lash_colour(look))
        return
    shape = lids(mood, look.person.eye_slant)
    white = joined(shape.upper, tuple(reversed(shape.lower)))
    gaze = (mood.gaze[0] * side - 1.5, 0.5 + mood.gaze[1])
    with brush.within(white):
        brush.grade(white, [SCLERA_SHADE, WHITE], (0, -24), (0, 6))
        _iris(brush, look, mood, gaze)
        # The lid and its lashes throw a shadow on the eye; it also ties the white to the skin.
        shadow = [(x, y + 4) for x, y in shape.upper]
        brush.stroke(shadow, mix(NIGHT, (70, 60, 130), 0.5), 11, (0.8, 1, 1, 1, 1, 0.8), alpha=0.34)
    _lights(brush, mood, gaze, side)
    brush.fill(_lashes(shape), lash_colour(look))
    crease = [(x, y - 9.5) for x, y in shape.upper[2:5]]
    skin = SKINS[look.person.skin]
    brush.stroke(crease, mix(skin, (120, 30, 40), 0.5), 2.4, alpha=0.8)
    if mood.wet:
        brush.stroke([(x, y - 1.5) for x, y in shape.lower[1:5]], (216, 240, 255), 6, alpha=0.95)


def _iris(brush: Brush, look: Look, mood: Mood, gaze: Point) -> None:
    """A rim, a fall from deep to bright, light that gathers below as in glass, and the pupil."""
    base = EYES[look.eye_colour]
    deep = mix(shifted(base, hue=10, light=0.42), NIGHT, 0.3)
    bright = mix(shifted(base, hue=-12, light=1.35, strength=1.15), WHITE, 0.34)
    x, y = gaze
    wide, tall = 23.0 * mood.iris, 29.0 * mood.iris
    brush.fill(ellipse(x, y, wide, tall), deep)
    inner = ellipse(x, y + 0.6, wide - 2.6, tall - 2.8)
    brush.grade(inner, [mix(deep, base, 0.25), base, base, bright], (x, y - tall * 0.75), (x, y + tall * 0.95))
    brush.canvas.save()
    brush.canvas.translate(x, y + tall * 0.62)
    brush.canvas.scale(1.25, 0.8)
    brush.glow((0, 0), wide * 0.66, bright, 0.95)
    brush.canvas.restore()
    pupil = ellipse(x, y - 1.5, 8.8 * mood.iris, 12.6 * mood.iris)
    brush.grade(pupil, [mix(deep, NIGHT, 0.75), mix(deep, base, 0.15)], (x, y - 10), (x, y + 13))
    rays = [
        [(x + dx * wide, y + tall * 0.72), (x + dx * wide * 0.55, y + tall * 0.34)] for dx in (-0.62, -0.32, 0.32, 0.62)
    ]
    brush.strokes(rays, mix(bright, WHITE, 0.4), 3.2, 0.55)


def _lights(brush: Brush, mood: Mood, gaze: Point, side: int) -> None:
    """The light comes from the upper left in both eyes, so the mirrored one has it on its other side."""
    x, y = gaze
    size = mood.iris * min(1.0, mood.open + 0.12)
    low = y - 10.5 * size * min(1.0, mood.open) + (5 if mood.open < 0.5 else 0)
    path = ellipse(x - side * 8.5 * size, low, 7.0 * size, 8.6 * size)
    path.addOval(ellipse(x + side * 9 * size, y + 12.5 * size, 3.8 * size, 4.4 * size).getBounds())
    if mood.wet:
        path.addOval(ellipse(x - side * 5, y + 15.5, 5.4, 4.2).getBounds())
        path.addOval(ellipse(x + side * 10, y - 3, 3.4, 3.8).getBounds())
    brush.fill(path, WHITE)
    brush.fill(ellipse(x + side * 12 * size, low + 3, 4.6 * size, 7.5 * size), (226, 240, 255), 0.34)


def _lashes_again(brush: Brush, look: Look, side: int) -> None:
    lid = _lid(look, side)
    path = _shut_lashes(lid) if lid != OPEN else _lashes(lids(MOODS[look.expression], look.person.eye_slant))
    brush.fill(path, lash_colour(look), 0.18)


def _lashes(shape: Lids) -> skia.Path:
    """The lashes of an open eye, thickest outside; the wing and two points make it look made up."""
    upper = [(x, y - 2.2) for x, y in shape.upper]
    ex, ey = shape.upper[-1]
    path = ribbon([*upper, (ex + 5, ey - 4)], (1.6, 4.6, 7.4, 9.0, 9.6, 7.0, 0.4))
    sx, sy = shape.upper[4]
    ribbon([(sx + 2, sy - 2), (sx + 9, sy - 7), (sx + 13, sy - 14)], (6, 4, 0), path)
    ribbon([(ex - 3, ey - 4), (ex + 5, ey - 4), (ex + 11, ey - 10)], (6, 4.4, 0), path)
    low = shape.lower
    ribbon([low[5], low[4], low[3], low[2]], (5.0, 4.0, 3.2, 0.6), path)
    ribbon([(low[4][0] - 4, low[4][1] + 5), (low[4][0] + 6, low[4][1] + 10)], (3.4, 0), path)
    return path


def _shut_lashes(lid: str) -> skia.Path:
    if lid == HAPPY:
        path = ribbon([(-28, 11), (-17, -4), (1, -11), (19, -4), (31, 12)], (2.4, 6.4, 8.4, 8.0, 2.0))
        ribbon([(24, 2), (33, 3), (39, -1)], (5.6, 4, 0), path)
        ribbon([(28, 8), (36, 11), (41, 10)], (5, 3.4, 0), path)
        return path
    path = ribbon([(-28, -1), (-15, 11), (3, 15), (20, 10), (32, -2)], (2.4, 6.2, 8.0, 7.6, 2.0))
    ribbon([(14, 12), (19, 19), (21, 24)], (5, 3.4, 0), path)
    ribbon([(22, 8), (30, 14), (34, 19)], (5.4, 3.6, 0), path)
    ribbon([(28, 2), (37, 5), (42, 8)], (5, 3.4, 0), path)
    return path


def draw_through(brush: Brush, look: Look) -> None:
    """Lashes and brows show faintly through the fringe: hair hides them in life but not in this manner."""
    _each_eye(brush, look, _lashes_again)
    draw_brows(brush, look)


def draw_brows(brush: Brush, look: Look) -> None:
    """Both brows. They are drawn over the fringe, which hides brows in life but not in this manner."""
    mood, person = MOODS[look.expression], look.person
    colour = brow_colour(look)
    for side in (-1, 1):
        lift = mood.cocked if side * person.part > 0 else 0.0
        near = (side * 24.0, -44 - mood.brow_in * 0.8 - lift * 0.6)
        middle = (side * 49.0, -45 - mood.arch - (mood.brow_in + mood.brow_out) * 0.42 - lift)
        far = (side * 73.0, -44 - mood.brow_out * 0.8 - person.eye_slant * 0.3 - lift * 0.8)
        brush.stroke([near, middle, far], colour, 7.0, (0.75, 1.0, 0.1), alpha=0.94)


def lash_colour(look: Look) -> Colour:
    """Near-black, with a breath of the hair in it."""
    return mix(NIGHT, HAIR[look.hair_colour][0], 0.12)


def brow_colour(look: Look) -> Colour:
    """The hair's colour, dark enough to be read on skin and on a fringe."""
    return mix(tones(HAIR[look.hair_colour][0]).deep, NIGHT, 0.42)
