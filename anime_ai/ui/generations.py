"""Which generation belongs to which conversation and page load, so that it can be stopped from either."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from anime_ai.errors import AnimeAIError

EVERY = 0.08
"""Seconds between two updates of a page: each costs it some milliseconds, whatever is in it, and a page that is told of
every token of a fast model does nothing else."""
ANSWERS: dict[str, Any] = {"concurrency_limit": 32, "concurrency_id": "answers"}
"""Of handlers that answer: so many are written at once, by all of them together, below the forty threads that Gradio
has; who asks beyond waits for one to end."""
Told = TypeVar("Told")


def paced(told: Iterable[Told], apart: Callable[[Told], Any] = lambda one: None) -> Iterator[Told]:
    """What a page is shown of an answer as it grows: the first, the last, and the newest every so often. What stands
    `apart` from what follows is shown in any case."""
    left: list[Told] = []
    shown = 0.0
    for one in told:
        if left and apart(left[0]) != apart(one):
            yield left.pop()
        left = [one]
        if time.monotonic() - shown >= EVERY:
            yield left.pop()
            shown = time.monotonic()
    yield from left


class Generation(threading.Event):
    """Set to end it. `shown`: whether the page load that asked for it shows what it belongs to."""

    def __init__(self, session: str) -> None:
        super().__init__()
        self.session, self.shown = session, True


class Generations:
    """Those that run now. `seconds` until one that does not end is ended."""

    def __init__(self, seconds: float = 300.0) -> None:
        self.seconds = seconds
        self._running: dict[str, Generation] = {}
        self._lock = threading.Lock()

    @contextmanager
    def one(self, name: str, session: str, answers: int = 1) -> Iterator[Generation]:
        """A new generation, of so many answers. Raises AnimeAIError while `name` has one."""
        stop = Generation(session)
        with self._lock:
            if name in self._running:
                raise AnimeAIError("chat.busy")
            self._running[name] = stop
        deadline = threading.Timer(self.seconds * answers, stop.set)
        deadline.daemon = True
        deadline.start()
        try:
            yield stop
        finally:
            deadline.cancel()
            stop.set()
            with self._lock:
                self._running.pop(name, None)

    def stop(self, name: str) -> None:
        with self._lock:
            found = self._running.get(name)
        if found:
            found.set()

    def leave(self, session: str) -> None:
        """End whatever a closed page has started."""
        with self._lock:
            left = [one for one in self._running.values() if session and one.session == session]
        for one in left:
            one.set()

    def turn(self, session: str, name: str) -> None:
        """A page shows `name` from now on: nobody reads on in what else it has started."""
        with self._lock:
            for other, one in self._running.items():
                if session and one.session == session:
                    one.shown = other == name
                    if not one.shown:
                        one.set()

    def runs(self, session: str, name: str) -> bool:
        """Whether a page has started `name`, and it has not come to its end."""
        with self._lock:
            found = self._running.get(name)
            return found is not None and found.session == session
