"""How much somebody may ask for: looked at before an answer, counted behind it. Knows no limits of its own."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol


class Allowance(Protocol):
    """Who keeps the counts."""

    def message(self, person: str) -> None:
        """Raise AnimeAIError where an answer would be one too many."""
        ...

    def spend(self, person: str, tokens: int) -> None:
        """Count tokens that were read and written."""
        ...


class Everything:
    """No limit for anybody."""

    def message(self, person: str) -> None:
        return

    def spend(self, person: str, tokens: int) -> None:
        return


def counted(allowance: Allowance, person: str, pieces: Any) -> Generator[Any, None, None]:
    """`pieces`, the totals of an answer; what it took is counted, however it ends."""
    total = None
    try:
        for total in pieces:
            yield total
    finally:
        pieces.close()
        if total is not None:
            allowance.spend(person, total.read + total.tokens)
