"""The one engine that answers in the chat: which base it holds, and who is being answered by it. Knows no persona.

A second base takes the place of the first when nobody is answered by that any more: two models at once may not fit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from anime_ai.config import Settings
from anime_ai.models.bases import Base
from anime_ai.models.engine import Engine
from anime_ai.models.engines import open_engine

LOOK = 0.1
"""Seconds between two looks whether who waits for the engine still wants it."""


class OneEngine:
    """See the module. `crowded`: whether a training has the GPU for itself, which a base would need; meanwhile it
    answers from the processors (`aside`). `engine`: what is open, None before the first answer."""

    def __init__(self, settings: Settings, crowded: Callable[[Base], bool]) -> None:
        self._settings, self._crowded = settings, crowded
        self.engine: Engine | None = None
        self.aside = self._outdated = False
        self._choosing = threading.Lock()
        self._held: list[Engine] = []  # once for each answer
        self._answered = threading.Condition()

    def of(self, base: Base) -> Engine:
        """The engine of a base, to ask it for tokens and layouts."""
        aside = self._crowded(base)
        engine = self._fitting(base, aside)  # without waiting for those who wait for another base
        if engine is None:
            with self._choosing:
                engine = self._opened(base, aside, threading.Event())
        assert engine is not None, "nothing stops this wait"
        return engine

    @contextmanager
    def held(self, base: Base, stop: threading.Event) -> Iterator[Engine | None]:
        """The engine of a base for one answer, which another base does not end; None where `stop` is set before it is
        free. In the block `of` may be called for no other base."""
        engine = self._taken(base, stop)
        try:
            yield engine
        finally:
            if engine is not None:
                with self._answered:
                    self._held.remove(engine)
                    self._answered.notify_all()

    def _taken(self, base: Base, stop: threading.Event) -> Engine | None:
        while not self._choosing.acquire(timeout=LOOK):  # somebody waits who came before
            if stop.is_set():
                return None
        try:
            engine = self._opened(base, self._crowded(base), stop)
            if engine is not None:
                with self._answered:
                    self._held.append(engine)
            return engine
        finally:
            self._choosing.release()

    def choose_again(self) -> None:
        """Open the next one anew: what there is to choose from has changed. Who is being answered is so to the end."""
        with self._answered:
            self._outdated = self.engine in self._held
        if not self._outdated:
            self.close()

    def close(self) -> None:
        """Let go of the model now, whoever is being answered by it."""
        self._let_go()  # first, so that nobody waits any more for its answers to end
        with self._choosing:
            self._let_go()

    def _let_go(self) -> None:
        engine, self.engine = self.engine, None
        if engine is not None:
            engine.close()

    def _fitting(self, base: Base, aside: bool) -> Engine | None:
        engine = self.engine
        fits = engine is not None and engine.base == base and self.aside == aside and not self._outdated
        return engine if fits else None

    def _opened(self, base: Base, aside: bool, stop: threading.Event) -> Engine | None:
        from anime_ai.models.device import cpu_device

        if (engine := self._fitting(base, aside)) is not None:
            return engine
        with self._answered:
            while self.engine in self._held and not stop.is_set():
                self._answered.wait(LOOK)
        if stop.is_set():
            return None
        self._let_go()
        self.engine = open_engine(self._settings, base, cpu_device() if aside else None)
        self.aside, self._outdated = aside, False
        return self.engine
