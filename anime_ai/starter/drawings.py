"""The project's portraits by the thousand, drawn on all cores and kept as pixels. Knows no model."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anime_ai.processes import usable_cpus
from anime_ai.starter.portraits.looks import Look, draw_look

SIDE = 144
"""Pixels that are kept; what a camera does to them comes before they are made smaller."""
CHUNK = 250
Pixels = NDArray[np.uint8]
"""(pictures, SIDE, SIDE, 3)."""


def looks(count: int, seed: int) -> list[Look]:
    """Any looks, the same for the same seed."""
    chance = random.Random(f"looks {seed}")
    return [draw_look(chance) for _ in range(count)]


def drawn(wanted: Sequence[Look]) -> Pixels:
    """The looks as pictures, on all cores that this process may use."""
    chunks = [wanted[start : start + CHUNK] for start in range(0, len(wanted), CHUNK)]
    pixels = np.empty((len(wanted), SIDE, SIDE, 3), np.uint8)
    # Spawned: skia and a forked lock do not go together.
    with ProcessPoolExecutor(usable_cpus(), mp_context=get_context("spawn")) as pool:
        for place, done in enumerate(pool.map(_chunk, chunks)):
            pixels[place * CHUNK : place * CHUNK + len(done)] = done
    return pixels


def photographs(
    pixels: Pixels, places: Sequence[int], side: int, chance: random.Random, taken: float = 1.0
) -> Iterator[Image.Image]:
    """The pictures at some places, `side` pixels wide, a share of them as somebody's camera hands them on."""
    from anime_ai.starter.portraits.camera import photographed

    for place in places:
        picture = Image.fromarray(pixels[place])
        if taken >= 1 or chance.random() < taken:
            picture = photographed(picture, chance)
        yield picture.resize((side, side), Image.Resampling.BICUBIC)


def _chunk(wanted: Sequence[Look]) -> Pixels:
    from anime_ai.starter.portraits.portrait import draw

    return np.stack([np.asarray(draw(look, SIDE)) for look in wanted])
