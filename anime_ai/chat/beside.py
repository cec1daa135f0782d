"""The same chat on another engine, for as long as it takes to compare the two. Knows no page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec

from anime_ai.chat.service import Chat
from anime_ai.errors import ModelError
from anime_ai.models.bases import find_base
from anime_ai.models.engines import engine_name
from anime_ai.processes import free_memory
from anime_ai.training.memory import weight_bytes

FIXED = 512 * 2**20
"""Bytes of an engine that its weights do not explain: what it computes in, the keys and values of an answer."""


class Beside:
    """`chat` tells who answers. One other engine is open at a time: each holds a model."""

    def __init__(self, chat: Callable[[], Chat]) -> None:
        self._chat = chat
        self._one = threading.Lock()

    def names(self) -> list[str]:
        """The engines that can be compared on this machine."""
        settings = self._chat().settings
        found = ["transformers", *["llamacpp"] * (find_spec("xllamacpp") is not None)]
        return [*found, *["remote"] * bool(settings.remote_url)]

    def current(self, adapter_id: str) -> str:
        """The engine that answers in the chat. Raises ModelError where the model is not there."""
        chat = self._chat()
        return engine_name(chat.settings, find_base(chat.choice(adapter_id).base, chat.settings))

    @contextmanager
    def on(self, engine: str, adapter_id: str) -> Iterator[Chat]:
        """The chat on `engine`, one of `names`; "" for the one that it has. What was opened for this is let go of at
        the end. Raises ModelError for another name, and where there is no memory for a second model."""
        chat = self._chat()
        if not engine or engine == self.current(adapter_id):
            yield chat
            return
        if engine not in self.names():
            raise ModelError("compare.no_engine", engine=engine[:40])
        with self._one:
            settings = chat.settings.model_copy(update={"engine": engine})
            if engine != "remote":
                base = find_base(chat.choice(adapter_id).base, settings)
                needed, free = int(weight_bytes(base.parameters(), False) + FIXED), free_memory()
                if needed > free:
                    raise ModelError("compare.no_memory", needed=needed // 2**20, free=free // 2**20)
            other = type(chat)(settings, chat.conversations, chat.personas, chat.knowledge, chat.runs, chat.books)
            other.allowance, other.busy = chat.allowance, chat.busy
            with closing(other):
                yield other
