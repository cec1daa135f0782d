"""The slots of an engine and who has them: one conversation under one adapter each. Knows no model.

A slot that is needed by somebody else goes to them once its own answer has ended, the longest unused first.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass

from anime_ai.models.turns import LOOK


@dataclass
class Seat:
    """A slot: whose it is (None: nobody's), which of the engine's servers filled it, and with which tokens."""

    slot: int
    owner: tuple[str, str] | None = None
    server: int = 0
    ids: tuple[int, ...] = ()
    used: int = 0
    busy: bool = False


class Seats:
    """As many as the server has slots."""

    def __init__(self, count: int) -> None:
        self.all = [Seat(slot) for slot in range(count)]
        self._changed = threading.Condition()
        self._clock = 0

    def take(self, owner: tuple[str, str], stop: threading.Event | None = None) -> Seat | None:
        """The owner's seat, else the longest unused free one, still with its former owner's name; None when `stop`
        came first. An owner's second answer waits for the first."""
        with self._changed:
            while True:
                seat = self._free(owner)
                if seat is not None:
                    self._clock += 1
                    seat.busy, seat.used = True, self._clock
                    return seat
                if stop is not None and stop.is_set():
                    return None
                self._changed.wait(LOOK)

    def promote(self, owner: tuple[str, str], ahead: tuple[str, str], ids: tuple[int, ...]) -> None:
        """Give the owner the seat of `ahead`, which has read for them, if it holds more of `ids` than their own."""
        with self._changed:
            mine, theirs = (next((seat for seat in self.all if seat.owner == one), None) for one in (owner, ahead))
            if theirs is None or theirs.busy or (mine is not None and mine.busy):
                return
            if mine is None or common(theirs.ids, ids) > common(mine.ids, ids):
                theirs.owner = owner
                if mine is not None:
                    mine.owner, mine.ids = None, ()

    def owners(self, cache_keys: Collection[str]) -> list[tuple[str, str]]:
        """Who has a seat under some keys, whatever the adapter."""
        with self._changed:
            return [seat.owner for seat in self.all if seat.owner is not None and seat.owner[1] in cache_keys]

    def give(self, seat: Seat) -> None:
        """Free a seat; its owner may find it again."""
        with self._changed:
            seat.busy = False
            self._changed.notify_all()

    def _free(self, owner: tuple[str, str]) -> Seat | None:
        for seat in self.all:
            if seat.owner == owner:
                return None if seat.busy else seat
        free = [seat for seat in self.all if not seat.busy]
        return min(free, key=lambda seat: (seat.owner is not None, seat.used), default=None)


def common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Tokens that two lines begin with alike."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))
