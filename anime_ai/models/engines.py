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


def starter_answers(settings: Settings, base: Base) -> bool:
    """Whether it is the starter that answers, and not a server's model that borrows its tokenizer."""
    return base.starter and engine_name(settings, base) != "remote"


def server_name(settings: Settings) -> str:
    """Host and port of the server that answers; "" where this machine does. Raises ModelError for no address."""
    if settings.engine != "remote":
        return ""
    from anime_ai.models.remote_server import Server

    return Server(settings).name


def open_engine(settings: Settings, base: Base, device: Device | None = None) -> Engine:
    """An engine for `base`; `device` where it is not to choose its own. Nothing is loaded yet.

    Raises ModelError where the settings of a server make no sense."""
    if engine_name(settings, base) == "remote":
        from anime_ai.models.remote_engine import RemoteEngine

        return RemoteEngine(base, settings)
    from anime_ai.models.transformers_engine import TransformersEngine

    return TransformersEngine(base, settings.fp16, device)
