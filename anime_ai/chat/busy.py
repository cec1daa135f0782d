"""Who is being answered, and what has to wait for that. Knows no engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from anime_ai.errors import AnimeAIError

Act = Callable[[list[str]], None]
LOOK = 0.2
"""Seconds between two looks of who waits for a pause."""


class Busy:
    """One conversation answers one message at a time. What runs in a pause is ended by whoever asks something."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answered: set[tuple[str, str]] = set()
        self._then: dict[str, Act] = {}
        self._count, self._ended = 0, 0.0
        self._in_pause: set[threading.Event] = set()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """While somebody waits for an answer."""
        with self._lock:
            self._count += 1
            for stop in self._in_pause:
                stop.set()
        try:
            yield
        finally:
            with self._lock:
                self._count -= 1
                self._ended = time.monotonic()

    @contextmanager
    def alone(self, person: str, conversation_id: str) -> Iterator[None]:
        """While a conversation is being answered. Raises AnimeAIError where it is already."""
        key = (person, conversation_id)
        with self._lock:
            if key in self._answered:
                raise AnimeAIError("chat.busy")
            self._answered.add(key)
        try:
            with self.answering():
                yield
        finally:
            with self._lock:
                self._answered.discard(key)
                act = self._then.pop(conversation_id, None)
            if act is not None:
                act([conversation_id])

    def once_free(self, conversation_ids: Collection[str], act: Act) -> None:
        """Do something with conversations now, with those that are being answered when that has ended."""
        with self._lock:
            busy = {id for _, id in self._answered}
            self._then |= dict.fromkeys((id for id in conversation_ids if id in busy), act)
        act([id for id in conversation_ids if id not in busy])

    @contextmanager
    def pause(self, seconds: float, closed: threading.Event) -> Iterator[threading.Event]:
        """Wait until nobody has been answered for some seconds. The event is set as soon as somebody is, and from the
        beginning where `closed` came first."""
        stop = threading.Event()
        while not self._enter(seconds, stop):
            if closed.wait(LOOK):
                stop.set()
                break
        try:
            yield stop
        finally:
            with self._lock:
                self._in_pause.discard(stop)

    def _enter(self, seconds: float, stop: threading.Event) -> bool:
        with self._lock:
            if self._count or time.monotonic() - self._ended < seconds:
                return False
            self._in_pause.add(stop)
            return True
