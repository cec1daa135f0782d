"""Who may speak while one model has several adapters: those of one adapter at once, different adapters in turn.

llama.cpp computes slots of one adapter together and lets others wait until they have ended; an answer that somebody
waits for therefore pauses after a few tokens and goes on when its turn comes again. Knows neither slots nor tokens.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

LOOK = 0.05
"""Seconds between two looks at the stop event while waiting."""


class Turns:
    """Turns are given in the order in which they were asked for; who has the adapter that speaks joins in, unless
    another one waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._speaking = ""
        self._count = 0
        self._waiting: deque[tuple[str, object]] = deque()

    @contextmanager
    def turn(self, name: str, stop: threading.Event | None = None) -> Iterator[bool]:
        """A turn under the adapter `name`; False when `stop` came first."""
        entered = self._enter(name, stop)
        try:
            yield entered
        finally:
            if entered:
                with self._changed:
                    self._count -= 1
                    self._changed.notify_all()

    def wanted(self) -> bool:
        """Whether somebody waits for those who speak to pause."""
        with self._changed:
            return any(name != self._speaking for name, _ in self._waiting)

    def _enter(self, name: str, stop: threading.Event | None) -> bool:
        mine = (name, object())
        with self._changed:
            self._waiting.append(mine)
            try:
                while not self._free_for(mine):
                    if stop is not None and stop.is_set():
                        return False
                    self._changed.wait(LOOK)
                self._speaking = name
                self._count += 1
                return True
            finally:
                self._waiting.remove(mine)
                self._changed.notify_all()

    def _free_for(self, mine: tuple[str, object]) -> bool:
        if self._count and self._speaking != mine[0]:
            return False
        before = list(self._waiting)[: self._waiting.index(mine)]
        return all(name == mine[0] for name, _ in before)
