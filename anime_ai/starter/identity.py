"""Who a drawn character is, learned from many pictures of each: what stays when all else in a picture changes.

Linear discriminant analysis (Fisher 1936; Rao 1948) on what the small CoCa's tower hands on: directions along which
characters lie far apart and the pictures of one lie close together. Knows no training of the tower.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anime_ai.config import STARTER_COCA
from anime_ai.starter import drawings
from anime_ai.starter.portraits.looks import draw_look, vary
from anime_ai.vision.clip import Clip, Vectors
from anime_ai.vision.gallery import FALSE, calibrated
from anime_ai.vision.identity import Identity

CHARACTERS, PICTURES = 3_000, 4
"""Characters to learn from, and pictures of each."""
JUDGED = 480
"""Characters to set the lines by, and as many to measure on, none of whom was learned from."""
GALLERY, ENROLLED = 20, 3
"""Characters of a gallery that is measured, and pictures by which each is known."""
DIMENSIONS, KEPT, SHRINKAGE = 32, 512, 0.1
LEARNED_SEED, LINES_SEED, UNSEEN_SEED = 2 * 10**9, 2 * 10**9 + 1, 2 * 10**9 + 2
Features = NDArray[np.float32]


@dataclass(frozen=True)
class Recognition:
    """Of pictures of characters whom a gallery knows, the share surely called by their name; of pictures of strangers,
    the share surely called by somebody's."""

    galleries: int
    characters: int
    enrolled: int
    right: float
    false: float


def make(say: Callable[[str], None], folder: Path = STARTER_COCA) -> Recognition:
    """Learn the projection for the model in `folder`, set its lines, write it there, and measure it."""
    clip = Clip(folder, "starter")
    learned = shown(clip, CHARACTERS, PICTURES, LEARNED_SEED)
    say(f"{CHARACTERS:,} characters seen, {PICTURES} pictures of each")
    mean, projection = discriminant(learned)
    one = Identity(mean, projection, (0.0, 0.0))
    lines = lines_of(vectors_of(one, shown(clip, JUDGED, ENROLLED + 1, LINES_SEED)))
    one = Identity(mean, projection, lines)
    one.save(folder)
    found = measured(vectors_of(one, shown(clip, JUDGED, ENROLLED + 1, UNSEEN_SEED)), lines)
    say(f"characters: {found.right:.1%} by their name, {found.false:.1%} of strangers by somebody's")
    return found


def shown(clip: Clip, characters: int, pictures: int, seed: int) -> Features:
    """What the tower hands on of some characters' pictures, (characters, pictures, features), as cameras take them."""
    chance = random.Random(f"characters {seed}")
    first = [draw_look(chance) for _ in range(characters)]
    looks = [vary(look, chance) for look in first for _ in range(pictures)]
    pixels = drawings.drawn(looks)
    places = range(len(looks))
    features = [
        clip.features(list(drawings.photographs(pixels, places[start : start + 250], drawings.SIDE, chance)))
        for start in range(0, len(looks), 250)
    ]
    return np.concatenate(features).reshape(characters, pictures, -1)


def discriminant(features: Features) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean (features,) and projection (features, DIMENSIONS) out of (characters, pictures, features).

    Principal components first: there are more features than pictures to tell how they vary together.
    """
    from scipy.linalg import eigh

    count, each, size = features.shape
    flat = features.reshape(-1, size).astype(np.float64)
    mean = flat.mean(axis=0)
    _, _, components = np.linalg.svd((flat - mean)[:: max(1, len(flat) // 4_000)], full_matrices=False)
    components = components[:KEPT].T
    reduced = ((flat - mean) @ components).reshape(count, each, -1)
    centres = reduced.mean(axis=1)
    apart = (reduced - centres[:, None]).reshape(-1, components.shape[1])
    within = apart.T @ apart / (count * (each - 1))
    within += SHRINKAGE * np.trace(within) / len(within) * np.eye(len(within))
    between = np.cov(centres.T)
    _, directions = eigh(between, within)
    projection = components @ directions[:, ::-1][:, :DIMENSIONS]
    return mean.astype(np.float32), projection.astype(np.float32)


def lines_of(vectors: Vectors) -> tuple[float, float]:
    """The cosines from which a picture is perhaps and surely somebody's, so that of strangers four times FALSE and half
    of FALSE are above them: half, because other galleries are less kind. `vectors`: (characters, pictures, …)."""
    likest = np.concatenate([_strangers(known, others).ravel() for known, others in _galleries(vectors)])
    return float(np.quantile(likest, 1 - 4 * FALSE)), float(np.quantile(likest, 1 - FALSE / 2))


def measured(vectors: Vectors, lines: tuple[float, float]) -> Recognition:
    """Galleries of characters whom nobody learned from, each asked for a new picture of each and for strangers."""
    right, false = [], []
    galleries = list(_galleries(vectors))
    for known, others in galleries:
        enrolled, asked = known[:, :ENROLLED], known[:, ENROLLED]
        owners = [str(place) for place in range(len(known)) for _ in range(ENROLLED)]
        surely = calibrated(enrolled.reshape(-1, enrolled.shape[-1]), owners, lines).surely
        alike = np.einsum("qd,ced->qce", asked, enrolled).max(axis=2)
        right += list((alike.argmax(axis=1) == np.arange(len(known))) & (alike.max(axis=1) >= surely))
        false += list(_strangers(known, others).ravel() >= surely)
    return Recognition(len(galleries), GALLERY, ENROLLED, float(np.mean(right)), float(np.mean(false)))


def _galleries(vectors: Vectors) -> list[tuple[Vectors, Vectors]]:
    """Characters of one gallery, and as many strangers to it."""
    step = 2 * GALLERY
    return [
        (vectors[start : start + GALLERY], vectors[start + GALLERY : start + step])
        for start in range(0, len(vectors) - step + 1, step)
    ]


def _strangers(known: Vectors, others: Vectors) -> Vectors:
    """How like the strangers' pictures are to the likest of those that a gallery holds, (strangers, pictures)."""
    return np.asarray(np.einsum("spd,ced->spce", others, known[:, :ENROLLED]).max(axis=(2, 3)))


def vectors_of(one: Identity, features: Features) -> Vectors:
    """Unit vectors (characters, pictures, DIMENSIONS) out of what `shown` gave."""
    return one(features.reshape(-1, features.shape[-1])).reshape(*features.shape[:2], -1)
