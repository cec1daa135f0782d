"""Which conversations are being answered, and what has to wait for that. Knows no engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from anime_ai.errors import AnimeAIError

Act = Callable[[list[str]], None]


class Busy:
    """One conversation answers one message at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answered: set[tuple[str, str]] = set()
        self._then: dict[str, Act] = {}

    @contextmanager
    def alone(self, person: str, conversation_id: str) -> Iterator[None]:
        """While a conversation is being answered. Raises AnimeAIError where it is already."""
        key = (person, conversation_id)
        with self._lock:
            if key in self._answered:
                raise AnimeAIError("chat.busy")
            self._answered.add(key)
        try:
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
