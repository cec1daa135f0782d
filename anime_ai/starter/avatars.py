"""The four characters as the project draws them: one portrait for each expression. Knows no model.

Each look follows the description in her card (`data/personas/`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from anime_ai.config import AVATARS
from anime_ai.files import write_bytes
from anime_ai.starter.portraits.looks import EXPRESSIONS, Look
from anime_ai.starter.portraits.portrait import draw

SIDE = 256
QUALITY = 88
DRAWN: Mapping[str, Look] = {
    "tsundere": Look(
        *("brown_hair", "ponytail", "red_eyes", "embarrassed", "serafuku"),
        *(frozenset({"hair_ribbon"}), "cherry_blossoms", "thin_lines", 880, 139),
    ),
    "genki": Look(
        *("orange_hair", "short_hair", "yellow_eyes", "laughing", "jacket"),
        *(frozenset({"hairclip"}), "sky", "thin_lines", 34, 17),
    ),
    "gentle": Look(
        *("blonde_hair", "single_braid", "green_eyes", "smile", "sweater"),
        *(frozenset({"hair_flower"}), "library", "thin_lines", 191, 8),
    ),
    "kuudere": Look(
        *("black_hair", "short_hair", "blue_eyes", "expressionless", "blazer"),
        *(frozenset({"scarf"}), "night_sky", "thin_lines", 28, 172),
    ),
}
"""By the persona's id; the expression is the one that she is known by."""


def make(say: Callable[[str], None], folder: Path = AVATARS) -> None:
    """Draw every character with every expression, and her avatar."""
    for persona, look in DRAWN.items():
        for expression in EXPRESSIONS:
            _write(replace(look, expression=expression), folder / persona / f"{expression}.webp")
        _write(look, folder / f"{persona}.webp")
        say(f"{persona}: {len(EXPRESSIONS)} portraits")


def _write(look: Look, path: Path) -> None:
    content = BytesIO()
    draw(look, SIDE).save(content, "WEBP", quality=QUALITY, method=6)
    write_bytes(path, content.getvalue())
