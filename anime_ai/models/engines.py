"""Which engine runs a base model: the one that the settings name, or by `auto` the one that suits this machine.

Knows the engines by name and imports none of them before it is opened.
"""

from __future__ import annotations

import platform
import sys
from importlib.util import find_spec

from anime_ai.config import Settings
from anime_ai.errors import ModelError
from anime_ai.models.bases import Base
from anime_ai.models.device import SMALL, Device, pick_device
from anime_ai.models.engine import Engine
from anime_ai.models.lent import LentEngine, lender, seconds

ALL_LAYERS = 999
"""More than any model has."""


def engine_name(settings: Settings, base: Base, device: Device | None = None) -> str:
    """The engine that `open_engine` would open for `base` on `device`, by default this machine's best.

    `auto` is transformers on a CUDA card; elsewhere llama.cpp where the base's GGUF file is there, or made in a second
    as the starter's is: on processors it was measured to be the faster one, and Apple's GPU computes it too, with
    weights of a quarter of the size. A lone GGUF is for llama.cpp alone: ModelError where that is not here or not
    wanted.
    """
    if base.lone and settings.engine != "remote":
        if settings.engine == "transformers" or find_spec("xllamacpp") is None:
            raise ModelError("model.gguf_needs_llama", name=base.id)
        return "llamacpp"
    if settings.engine != "auto":
        return settings.engine
    if find_spec("xllamacpp") is None or (device or pick_device()).kind == "cuda":
        return "transformers"
    from anime_ai.models.ggufs import Ggufs

    quick = base.starter or Ggufs(settings.gguf_dir).has(base, gguf_type(settings, base))
    return "llamacpp" if quick else "transformers"


def gguf_type(settings: Settings, base: Base) -> str:
    """The type of the GGUF file that llama.cpp runs: 16 bits where the model is small, else the fastest; a lone GGUF is
    what it is."""
    if base.lone:
        return "own"
    if settings.gguf_type != "auto":
        return settings.gguf_type
    return "f16" if base.parameters() < SMALL else "q4_0"


def starter_answers(settings: Settings, base: Base) -> bool:
    """Whether it is the starter that answers, and not a server's model that borrows its tokenizer."""
    return base.starter and settings.engine != "remote"


def server_name(settings: Settings) -> str:
    """Host and port of the server that answers; "" where this machine does. Raises ModelError for no address."""
    if settings.engine != "remote":
        return ""
    from anime_ai.models.remote_server import Server

    return Server(settings).name


def open_engine(settings: Settings, base: Base, device: Device | None = None) -> Engine:
    """An engine for `base`; `device` where it is not to choose its own. Nothing is loaded yet.

    Raises ModelError where the settings of a server make no sense."""
    named = engine_name(settings, base, device)
    if named == "remote":
        from anime_ai.models.remote_engine import RemoteEngine

        return RemoteEngine(base, settings)
    if named == "llamacpp":
        from anime_ai.models.ggufs import Ggufs
        from anime_ai.models.llamacpp_engine import Bounds, LlamaCppEngine

        bounds = Bounds(settings.context_length, settings.states_mb * 2**20, _gpu_layers(device))
        folder = settings.studio_dir / "llama"
        return LlamaCppEngine(base, Ggufs(settings.gguf_dir), folder, gguf_type(settings, base), bounds)
    from anime_ai.models.transformers_engine import TransformersEngine

    engine = TransformersEngine(base, settings.fp16, device)
    lend = lender(seconds)
    return LentEngine(engine, lend) if lend and device is None else engine


def _gpu_layers(device: Device | None) -> int:
    """The wheel of xllamacpp for Apple's processors computes on their GPU, the others on processors alone."""
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    return ALL_LAYERS if (device.kind == "mps" if device else apple) else 0
