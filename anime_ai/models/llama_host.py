"""One base in llama.cpp with the adapters that were asked for: converted, loaded, started again when one comes in or
the child has died. Knows neither slots nor answers.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from anime_ai.errors import ModelError
from anime_ai.models.adapters import check_adapter
from anime_ai.models.bases import Base
from anime_ai.models.engine import Adapter
from anime_ai.models.ggufs import Fitted, Ggufs
from anime_ai.models.llama_server import LlamaServer, Loaded
from anime_ai.processes import free_memory

KEPT_ADAPTERS = 8
FIXED = 256 * 2**20
"""Bytes of a child that neither weights nor context explain."""


@dataclass(frozen=True)
class Live:
    """A child that runs, its number among all that this host has started, and the adapters' scales for an answer."""

    server: LlamaServer
    number: int
    scales: list[float]


class Host:
    """`before_end` is called with a child that is about to be ended for another adapter's sake."""

    def __init__(
        self, base: Base, kind: str, ggufs: Ggufs, folder: Path, shape: Loaded, before_end: Callable[[Live], None]
    ) -> None:
        self.base, self.kind, self.ggufs, self.folder = base, kind, ggufs, folder
        self._shape, self._before_end = shape, before_end
        self._server: LlamaServer | None = None
        self._number = 0
        self._adapters: OrderedDict[str, Fitted] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def running(self) -> bool:
        return self._server is not None and self._server.alive

    def known(self, adapter: Adapter | None) -> str:
        """The adapter's name here, "" for the base alone; it is converted at its first time. Raises ModelError."""
        if adapter is None:
            return ""
        name = hashlib.sha256(adapter.key.encode()).hexdigest()[:16]
        with self._lock:
            if name not in self._adapters:
                check_adapter(adapter.path, self.base)
                self._adapters[name] = self.ggufs.fit(self.base, adapter, self.kind)
            self._adapters.move_to_end(name)
        return name

    def ready(self, name: str) -> Live:
        """A child that can answer under the adapter `name`. Nobody else may be answering under another one: it may have
        to be ended for this. Raises ModelError."""
        with self._lock:
            wanted = self._adapters[name] if name else None
            if name:  # others may have been asked for meanwhile
                self._adapters.move_to_end(name)
            server = self._server
            if server is None or not server.alive or not _holds(server.loaded, self._model(wanted), wanted):
                server = self._restart(wanted)
            return Live(server, self._number, _scales(server.loaded, wanted))

    @contextmanager
    def as_it_is(self) -> Iterator[Live | None]:
        """The child that runs, if one does; it is not ended meanwhile."""
        with self._lock:
            server = self._server
            there = server is not None and server.alive
            yield Live(server, self._number, _scales(server.loaded, None)) if server is not None and there else None

    def close(self) -> None:
        with self._lock:
            if self._server is not None:
                self._server.close()
            self._server = None

    def _model(self, wanted: Fitted | None) -> Path:
        return wanted.file if wanted and wanted.merged else self.ggufs.file(self.base, self.kind)

    def _restart(self, wanted: Fitted | None) -> LlamaServer:
        if self._server is not None:
            if self._server.alive:
                self._before_end(Live(self._server, self._number, _scales(self._server.loaded, None)))
            self._server.close()
            self._server = None
        if not self.ggufs.file(self.base, self.kind).is_file():  # one that was cut takes its time: by a click
            self.ggufs.make(self.base, self.kind)
        model = self._model(wanted)
        recent = list(self._adapters.values())[-KEPT_ADAPTERS:]
        loras = () if wanted and wanted.merged else tuple(one.file for one in recent if not one.merged)
        shape = self._shape
        loaded = Loaded(model, loras, shape.cells, shape.slots, shape.gpu_layers)
        needed, free = needed_memory(self.base, loaded), free_memory()
        if needed > free:
            raise ModelError("model.llama_memory", name=self.base.id, needed=needed // 2**20, free=free // 2**20)
        server = LlamaServer(loaded, self.folder)
        server.start()
        self._server = server
        self._number += 1
        return server


def needed_memory(base: Base, loaded: Loaded) -> int:
    """Bytes that a child takes: the weights, keys and values in 16 bits, and what it computes in."""
    config = base.config()
    heads = int(config.get("num_attention_heads", 1))
    width = int(config.get("head_dim") or int(config.get("hidden_size", 0)) // heads)
    pairs = int(config.get("num_hidden_layers", 0)) * int(config.get("num_key_value_heads", heads))
    return loaded.model.stat().st_size + 4 * loaded.cells * pairs * width + FIXED


def _holds(loaded: Loaded, model: Path, wanted: Fitted | None) -> bool:
    return loaded.model == model and (wanted is None or wanted.merged or wanted.file in loaded.adapters)


def _scales(loaded: Loaded, wanted: Fitted | None) -> list[float]:
    return [float(wanted is not None and file == wanted.file) for file in loaded.adapters]
