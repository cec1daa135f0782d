"""Which engine runs a base model: the one that the settings name, or by `auto` the one that suits this machine.

Knows the engines by name and imports none of them before it is opened.
"""

from __future__ import annotations

from anime_ai.config import Settings
from anime_ai.models.bases import Base
from anime_ai.models.device import Device
from anime_ai.models.engine import Engine


def engine_name(settings: Settings, base: Base) -> str:
    """The engine that `open_engine` would open for `base`."""
    return "transformers" if settings.engine == "auto" else settings.engine


def open_engine(settings: Settings, base: Base, device: Device | None = None) -> Engine:
    """An engine for `base`; `device` where it is not to choose its own. Nothing is loaded yet."""
    from anime_ai.models.transformers_engine import TransformersEngine

    return TransformersEngine(base, settings.fp16, device)
