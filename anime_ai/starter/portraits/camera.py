"""What pictures go through before somebody looks at them. Knows pixels alone, not what the picture shows.

Nothing here is so strong that a person could no longer tell the colours or the face.
"""

from __future__ import annotations

import random
from io import BytesIO

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

QUALITY = (25, 95)
TURN = 5.0
"""Degrees either way; a head may already be tilted by 8."""
ZOOM = (1.0, 1.14)
SHIFT = 0.03
"""Of the width; with the zoom this keeps the whole face inside."""
CAST = 0.07
"""How far a channel may leave the others."""


def photographed(picture: Image.Image, chance: random.Random) -> Image.Image:
    """The picture as a phone, a screenshot or a careless export would hand it on; its size stays."""
    size = picture.size
    if chance.random() < 0.5:
        picture = ImageOps.mirror(picture)
    if chance.random() < 0.7:
        picture = _moved(picture, chance)
    picture = _lit(picture, chance)
    if chance.random() < 0.25:
        picture = picture.filter(ImageFilter.GaussianBlur(chance.uniform(0.2, 0.65) * size[0] / 128))
    elif chance.random() < 0.25:
        small = chance.uniform(0.6, 0.9)
        picture = picture.resize((round(size[0] * small), round(size[1] * small))).resize(size)
    if chance.random() < 0.1:
        picture = _bordered(picture, chance)
    if chance.random() < 0.3:
        picture = _noisy(picture, chance)
    if chance.random() < 0.6:
        picture = _compressed(picture, chance.randint(*QUALITY))
    return picture


def _moved(picture: Image.Image, chance: random.Random) -> Image.Image:
    """Turned, zoomed and shifted about its middle; corners repeat the nearest colour rather than turn black."""
    width, height = picture.size
    turn, zoom = chance.uniform(-TURN, TURN), chance.uniform(*ZOOM)
    dx, dy = (round(chance.uniform(-SHIFT, SHIFT) * width) for _ in range(2))
    pad = round(width * 0.16)
    wide = Image.fromarray(np.pad(np.asarray(picture), ((pad, pad), (pad, pad), (0, 0)), mode="edge"))
    wide = wide.rotate(turn, resample=Image.Resampling.BILINEAR, translate=(dx, dy))
    half = (width / 2 / zoom, height / 2 / zoom)
    x, y = wide.width / 2, wide.height / 2
    crop = (x - half[0], y - half[1], x + half[0], y + half[1])
    return wide.resize((width, height), Image.Resampling.BILINEAR, box=crop)


def _lit(picture: Image.Image, chance: random.Random) -> Image.Image:
    picture = ImageEnhance.Brightness(picture).enhance(chance.uniform(0.86, 1.12))
    picture = ImageEnhance.Contrast(picture).enhance(chance.uniform(0.85, 1.15))
    picture = ImageEnhance.Color(picture).enhance(chance.uniform(0.85, 1.15))
    if chance.random() < 0.4:
        gains = [chance.uniform(1 - CAST, 1 + CAST) for _ in range(3)]
        picture = picture.point([min(255, round(i * gain)) for gain in gains for i in range(256)])
    return picture


def _bordered(picture: Image.Image, chance: random.Random) -> Image.Image:
    """Shrunk a little onto a grey, white or black sheet."""
    width, height = picture.size
    grey = chance.choice((0, 40, 128, 200, 235, 255))
    sheet = Image.new("RGB", picture.size, (grey, grey, grey))
    share = chance.uniform(0.02, 0.06)
    across, down = round(width * share), round(height * share * chance.choice((0, 1)))
    sheet.paste(picture.resize((width - 2 * across, height - 2 * down)), (across, down))
    return sheet


def _noisy(picture: Image.Image, chance: random.Random) -> Image.Image:
    pixels = np.asarray(picture).astype(np.float32)
    noise = np.random.default_rng(chance.getrandbits(32)).normal(0, chance.uniform(2, 9), pixels.shape)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


def _compressed(picture: Image.Image, quality: int) -> Image.Image:
    kept = BytesIO()
    picture.save(kept, "JPEG", quality=quality)
    kept.seek(0)
    return Image.open(kept).convert("RGB")
