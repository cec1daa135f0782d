"""A GPU that is lent for one call (ZeroGPU Spaces): answers run where it is, for as long as their tokens take.

`spaces` is there on such a Space and nowhere else. Knows no page and no training. Source:
https://huggingface.co/docs/hub/spaces-zerogpu
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Generator
from contextlib import closing
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from anime_ai.models.device import Device
from anime_ai.models.engine import Adapter, Piece, Sampling
from anime_ai.prompting import Layout, Prompt

if TYPE_CHECKING:
    from anime_ai.models.transformers_engine import TransformersEngine

START_S, READ_PACE, WRITE_PACE = 12.0, 800.0, 20.0
"""Seconds until a worker has the weights; tokens a second that it reads and writes at the least. Guessed low: what
takes longer than it was asked for is cut off."""
LEAST_S, MOST_S = 15, 60
"""A chat that asks for more waits behind all others."""
TRAINING_S = 120

Call = Callable[..., Any]
Lend = Callable[[Call], Call]
"""Makes a function run where the GPU is."""


def lender(duration: int | Callable[..., int]) -> Lend | None:
    """`spaces.GPU` for calls of `duration` seconds, or of as many as it says to their arguments; None without it."""
    if find_spec("spaces") is None:
        return None
    spaces: Any = import_module("spaces")  # a Space's own, which nobody installs

    def lend(call: Call) -> Call:
        return spaces.GPU(duration=duration)(call)

    return lend


def seconds(prompt: Prompt, adapter: Adapter | None, cache_key: str, sampling: Sampling) -> int:
    """How long an answer may take: the prompt is read whole, as a worker keeps nothing, and all that may be written."""
    needed = START_S + len(prompt.ids) / READ_PACE + sampling.max_new_tokens / WRITE_PACE
    return min(max(math.ceil(needed), LEAST_S), MOST_S)


class LentEngine:
    """An engine whose answers are lent calls, one at a time. The weights are loaded here, before the first of them.

    The worker is another process: what it is given and what it answers with has to go there and back, so `stop` is
    looked at here, between two pieces."""

    def __init__(self, engine: TransformersEngine, lend: Lend) -> None:
        self._engine, self._one = engine, threading.Lock()
        self.name, self.base = engine.name, engine.base
        self.device: Device | None = None
        self.reading_pace: float | None = None

        def answer(prompt: Prompt, adapter: Adapter | None, cache_key: str, sampling: Sampling) -> Any:
            yield from engine.stream(prompt, adapter, cache_key, sampling)

        self._answer = lend(answer)

    @property
    def loaded(self) -> bool:
        return self._engine.loaded

    def layout(self, format: str, think: str) -> Layout:
        return self._engine.layout(format, think)

    def context_length(self) -> int:
        return self._engine.context_length()

    def close(self) -> None:
        with self._one:
            self._engine.close()

    def forget(self, cache_keys: Collection[str]) -> None:
        """Nothing: a worker keeps nothing."""

    def prepare(
        self, prompt: Prompt, adapter: Adapter | None = None, cache_key: str = "", stop: threading.Event | None = None
    ) -> None:
        """Nothing: a worker keeps nothing."""

    def stream(
        self,
        prompt: Prompt,
        adapter: Adapter | None = None,
        cache_key: str = "",
        sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
        stop: threading.Event | None = None,
    ) -> Generator[Piece, None, None]:
        while not self._one.acquire(timeout=0.05):
            if stop is not None and stop.is_set():
                return
        try:
            self._engine.load()
            self.device = self._engine.device
            with closing(self._answer(prompt, adapter, "", sampling)) as pieces:
                for piece in pieces:
                    if stop is not None and stop.is_set():
                        return
                    yield piece
        finally:
            self._one.release()
