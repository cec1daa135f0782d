"""Tags by likeness: a CLIP model compares a picture with words for it (Radford et al. 2021). Knows no files.

Each word is told in several sentences, whose vectors are averaged; what a picture shows one of, such as a colour of
hair, is decided between the words of its group, and what it may show several of, word by word against its absence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anime_ai.vision.clip import Clip, Vectors, unit
from anime_ai.vision.observation import Observation, Tag
from anime_ai.vision.tags import word

if TYPE_CHECKING:
    from PIL import Image

ONE: Mapping[str, tuple[str, ...]] = {
    "people": ("1girl", "1boy", "2girls", "2boys", "multiple_girls", "multiple_boys", "no_humans"),
    "hair_colour": (
        *("black_hair", "brown_hair", "blonde_hair", "grey_hair", "white_hair", "red_hair", "orange_hair"),
        *("pink_hair", "purple_hair", "blue_hair", "aqua_hair", "green_hair", "multicolored_hair"),
    ),
    "hair_style": (
        *("long_hair", "short_hair", "twintails", "ponytail", "bob_cut", "twin_braids", "single_braid"),
        *("double_bun", "wavy_hair", "hime_cut", "side_ponytail", "messy_hair", "bald"),
    ),
    "eyes": (
        *("brown_eyes", "blue_eyes", "red_eyes", "green_eyes", "purple_eyes", "yellow_eyes", "pink_eyes"),
        *("aqua_eyes", "black_eyes", "grey_eyes", "heterochromia", "closed_eyes"),
    ),
    "expression": (
        *("smile", "laughing", "expressionless", "angry", "sad", "crying", "surprised", "embarrassed"),
        *("smug", "sleepy", "pout", "scared"),
    ),
    "pose": ("standing", "sitting", "lying", "running", "jumping", "waving", "reading", "eating", "sleeping"),
    "scene": (
        *("simple_background", "sky", "night_sky", "classroom", "library", "ocean", "beach", "sunset", "forest"),
        *("city", "street", "bedroom", "kitchen", "flower_field", "snow", "rain"),
    ),
    "style": ("sketch", "monochrome", "watercolor_(medium)", "chibi", "realistic", "pixel_art", "comic"),
}
"""Groups of which a picture shows one tag."""
SEVERAL: Mapping[str, tuple[str, ...]] = {
    "clothes": (
        *("serafuku", "school_uniform", "kimono", "yukata", "hoodie", "maid_dress", "shirt", "sweater", "dress"),
        *("jacket", "coat", "armor", "suit", "swimsuit", "cape"),
    ),
    "accessories": (
        *("glasses", "sunglasses", "hair_ribbon", "hairclip", "headphones", "beret", "hat", "hair_flower"),
        *("choker", "scarf", "earrings", "necklace", "mask", "crown"),
    ),
    "body": ("cat_ears", "rabbit_ears", "fox_ears", "horns", "wings", "tail"),
}
"""Groups of which it shows any number."""
NOBODY = "no_humans"
TOLD = ("一张动漫插画，{}", "动漫角色，{}", "二次元图片：{}")
ABSENT = ("一张动漫插画", "动漫角色", "二次元图片")
LEAST = 0.3
"""Confidence below which nothing is said."""


class ZeroShot:
    """A CLIP model's tags. The vectors of the words are made at the first picture."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip

    def look(self, pictures: Sequence[Image.Image]) -> list[Observation]:
        return [self._told(vector) for vector in self.clip.embed(pictures)]

    def _told(self, picture: Vectors) -> Observation:
        tags = []
        for group, names in ONE.items():
            likely = _softmax(self.clip.sharpness * self._vectors[group] @ picture)
            best = int(likely.argmax())
            tags.append(Tag(names[best], group, float(likely[best])))
        if tags[0].name == NOBODY:  # what only somebody has
            tags = [tag for tag in tags if tag.group in ("people", "scene", "style")]
        else:
            tags += self._several(picture)
        return Observation(tags=tuple(tag for tag in tags if tag.confidence >= LEAST), models=(self.clip.id,))

    def _several(self, picture: Vectors) -> list[Tag]:
        against = float(self._absent @ picture)
        return [
            Tag(name, group, float(1 / (1 + np.exp(-self.clip.sharpness * (float(alike) - against)))))
            for group, names in SEVERAL.items()
            for name, alike in zip(names, self._vectors[group] @ picture, strict=True)
        ]

    @cached_property
    def _vectors(self) -> Mapping[str, Vectors]:
        return {
            group: np.stack([self._averaged(TOLD, word(name, "zh")) for name in names])
            for group, names in (*ONE.items(), *SEVERAL.items())
        }

    @cached_property
    def _absent(self) -> Vectors:
        return self._averaged(ABSENT, "")

    def _averaged(self, sentences: Sequence[str], said: str) -> Vectors:
        return unit(self.clip.embed_texts([one.format(said) for one in sentences]).mean(axis=0))


def _softmax(values: NDArray[Any]) -> Vectors:
    grown = np.exp(values - values.max())
    return np.asarray(grown / grown.sum(), np.float32)
