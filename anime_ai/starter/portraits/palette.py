"""The colours of each colour word, and the tones that one colour is drawn in. Knows the words, not what wears them."""

from __future__ import annotations

import colorsys
import random
from dataclasses import dataclass

from anime_ai.starter.portraits.canvas import NIGHT, WHITE, Colour, mix, shifted

HAIR: dict[str, tuple[Colour, ...]] = {
    "black_hair": ((44, 42, 54), (50, 46, 56), (36, 38, 52)),
    "brown_hair": ((124, 78, 54), (104, 64, 46), (140, 92, 62)),
    "blonde_hair": ((246, 216, 132), (250, 226, 156), (240, 204, 108)),
    "grey_hair": ((200, 204, 216), (212, 214, 222), (186, 190, 202)),
    "red_hair": ((196, 40, 56), (176, 32, 50), (206, 52, 64)),
    "orange_hair": ((242, 140, 62), (236, 124, 50), (246, 148, 70)),
    "pink_hair": ((248, 166, 192), (244, 148, 182), (250, 182, 202)),
    "purple_hair": ((146, 104, 206), (128, 88, 190), (162, 122, 218)),
    "blue_hair": ((66, 112, 214), (52, 92, 190), (84, 130, 222)),
    "aqua_hair": ((104, 214, 216), (84, 202, 210), (128, 224, 222)),
    "green_hair": ((98, 178, 92), (80, 158, 80), (122, 192, 104)),
}
EYES: dict[str, Colour] = {
    "brown_eyes": (140, 84, 48),
    "blue_eyes": (58, 118, 228),
    "red_eyes": (220, 40, 52),
    "green_eyes": (52, 168, 84),
    "purple_eyes": (138, 76, 212),
    "yellow_eyes": (244, 190, 36),
    "pink_eyes": (246, 104, 170),
    "aqua_eyes": (44, 206, 212),
}
SKINS: tuple[Colour, ...] = ((255, 234, 222), (253, 222, 203), (242, 199, 168), (198, 142, 108))
BLUSH: tuple[Colour, ...] = ((255, 138, 138), (255, 128, 122), (238, 112, 98), (200, 84, 78))
CLOTH: tuple[Colour, ...] = (
    (214, 72, 84),
    (242, 150, 170),
    (246, 190, 92),
    (120, 184, 128),
    (96, 154, 216),
    (58, 74, 122),
    (148, 120, 196),
    (236, 232, 226),
    (94, 96, 108),
    (60, 130, 134),
)
GREY_SHADE: Colour = (104, 98, 168)
"""Silver and white are shaded with the sky's colour."""
TRIMS: tuple[Colour, ...] = (
    (222, 52, 70),
    (62, 92, 190),
    (250, 204, 70),
    (255, 255, 255),
    (70, 170, 120),
    (255, 132, 164),
    (44, 40, 52),
)
"""Ribbons, clips, neckerchiefs."""


@dataclass(frozen=True)
class Tones:
    """One colour of hair or cloth as it is drawn: lit, in shade, in deep shade, and where it shines."""

    base: Colour
    shade: Colour
    deep: Colour
    light: Colour


def tones(colour: Colour) -> Tones:
    """The tones of a colour. Shade turns to red or violet, whichever is nearer, as painters do; grey looks dirty."""
    dark = sum(colour) < 200
    if dark:
        tint = NIGHT
    elif max(colour) - min(colour) < 30:
        tint = GREY_SHADE
    else:
        tint = shifted(colour, _towards_violet(colour), 0.5, 0.9 if sum(colour) < 500 else 0.7)
    shade, deep = mix(colour, tint, 0.36), mix(colour, tint, 0.68)
    light = mix(colour, (150, 160, 214), 0.36) if dark else mix(shifted(colour, light=1.12), WHITE, 0.48)
    return Tones(colour, shade, deep, light)


def _towards_violet(colour: Colour) -> float:
    """How far the hue turns in shade, in degrees: warm hues towards red, green and blue ones towards violet."""
    hue = colorsys.rgb_to_hls(*(part / 255 for part in colour))[0] * 360
    return -16 if hue < 70 or hue > 275 else 20


def jittered(colour: Colour, chance: random.Random) -> Colour:
    """The colour a little lighter or darker and its hue a little turned, never so far that its name changes."""
    return shifted(colour, chance.uniform(-3, 3), chance.uniform(0.96, 1.04), chance.uniform(0.94, 1.04))


def shine(colour: Colour) -> Colour:
    """Where a hard, glossy thing of this colour shines."""
    return mix(shifted(colour, light=1.2), WHITE, 0.5)


def apart(from_: Colour, choices: tuple[Colour, ...], chance: random.Random) -> Colour:
    """One of the choices that shows on `from_`."""
    far = [c for c in choices if sum(abs(a - b) for a, b in zip(c, from_, strict=True)) > 190]
    return chance.choice(far or list(choices))
