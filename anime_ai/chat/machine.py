"""What the machine that answers allows: how much is read while somebody waits, what would make it answer better."""

from __future__ import annotations

from anime_ai.models.device import SMALL
from anime_ai.models.engine import Engine
from anime_ai.processes import usable_memory

READ_WITHIN = 2.5
"""Seconds that the passages of a turn may take to be read."""
CHARACTERS = 1.3
"""Characters of a Chinese text in a token, at least, in the vocabularies of the bases that are offered."""
MIDDLE = 800_000_000
"""Parameters from which on a model is more than a machine of 4 GB runs well."""


def legible(engine: Engine | None) -> int | None:
    """Characters of passages that the engine reads in time, None where its pace has not been measured."""
    pace = engine.reading_pace if engine is not None else None
    return int(READ_WITHIN * pace * CHARACTERS) if pace else None


def offers(engine: Engine | None) -> list[str]:
    """Text keys of what would make a loaded model answer better on this machine."""
    device = engine.device if engine is not None else None
    if engine is None or device is None or device.kind != "cpu" or engine.base.parameters() < SMALL:
        return []
    tight = engine.base.parameters() > MIDDLE and usable_memory() < 4e9
    return ["chat.convert_offer", *["chat.smaller_offer"] * tight]
