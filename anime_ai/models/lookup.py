"""Prompt look-up: what follows may stand there already. Guesses tokens for one forward pass to check. Knows no model.

Method: A. Saxena, Prompt Lookup Decoding, 2023, https://github.com/apoorvumang/prompt-lookup-decoding
"""

from __future__ import annotations

from collections.abc import Iterable

RUN = 3
"""Tokens that must have stood together before."""
MOST = 8
PAUSE = 16
"""Tokens without a guess after one that was wrong from its first token on."""


class LookUp:
    """Guesses from the tokens so far. A guess that held makes the next one longer, one that failed makes it shorter."""

    def __init__(self, ids: Iterable[int]) -> None:
        self._ids: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        self._length = 2
        self._wait = 0
        for token in ids:
            self.add(token)

    def add(self, token: int) -> None:
        """One more token stands there."""
        if len(self._ids) >= RUN:
            self._after[tuple(self._ids[-RUN:])] = len(self._ids)
        self._ids.append(token)
        self._wait = max(0, self._wait - 1)

    def guess(self) -> tuple[int, ...]:
        """What stood behind the same last tokens the last time, or nothing."""
        place = self._after.get(tuple(self._ids[-RUN:])) if not self._wait else None
        return () if place is None else tuple(self._ids[place : place + self._length])

    def held(self, count: int, guessed: int) -> None:
        """The first `count` tokens of a guess were right."""
        if count == guessed:
            self._length = min(MOST, self._length * 2)
        elif count == 0:
            self._length, self._wait = max(1, self._length // 2), PAUSE
