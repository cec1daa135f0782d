"""What a persona's books say to a turn, and how much of her card a model has room for. Knows neither engine nor page.

What the books say stands in the turn that called it up, and is not said again while it stands there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from anime_ai.persona.cards import Persona
from anime_ai.persona.lorebook import BUDGET, Lore, book_from, scan
from anime_ai.persona.telling import fitted, macros_of
from anime_ai.persona.world_books import WorldBooks
from anime_ai.prompting import lore, passages

AGAIN = 6
"""Turns after which an entry that still fires is told again: by then its turn may be out of the prompt."""
SMALL_BUDGET = 160
"""Tokens of lore for a small model."""
FURTHEST = 50
"""Messages that any entry may look back."""
CARD_SHARE = 0.5
"""Of what a model can see, the most that a card may fill."""


@dataclass(frozen=True)
class Blank:
    """A conversation in which nothing was said yet."""

    persona: str
    id: str = "preview"
    messages: tuple[Any, ...] = ()


class LoreBooks:
    """The books of personas: that of the card, and the world books that are hers or everybody's."""

    def __init__(self, worlds: WorldBooks) -> None:
        self._worlds = worlds

    def look(
        self, persona: Persona | None, conversation: Any, said: str, count: Callable[[str], int], small: bool = False
    ) -> Lore:
        """What fires on `said` behind a conversation; `small`: for a model that reads one thing at a time."""
        books = [book_from(one.book, one.name) for one in self._worlds.of(conversation.persona)]
        card = persona.card if persona is not None else None
        if card is not None and card.book:
            books.insert(0, book_from(card.book, card.name))
        if not any(book.entries for book in books):
            return Lore()
        line = conversation.messages
        return scan(
            books,
            [*(one.content for one in line[-FURTHEST:]), said],
            count,
            fill=macros_of(card, conversation.id).fill if card is not None else str,
            budget=SMALL_BUDGET if small else BUDGET,
            told=told_lately(line),
            seed=conversation.id,
            turn=sum(one.role == "assistant" for one in line),
        )


def told_lately(line: Sequence[Any]) -> list[str]:
    """The contents that the last turns of a conversation brought along."""
    turns = [one.meta.get("lore") or {} for one in line if one.role == "user"][-AGAIN:]
    return [str(hit["content"]) for found in turns for hit in found.get("hits", ()) if not hit.get("left_out")]


def as_text(found: Lore, small: bool = False) -> str:
    """What a turn brings along of it; a small model is told the first entry, as it was taught to read passages."""
    contents = [hit.content for hit in found.told]
    return passages(contents[:1]) if small else lore(contents)


def as_json(found: Lore) -> dict[str, Any]:
    """What fired, as a message keeps it; empty where nothing did."""
    if not (found.hits or found.slow or found.broken):
        return {}
    hits = [
        {
            "book": hit.book,
            "name": hit.entry.name,
            "content": hit.content,
            "why": hit.why,
            "by": hit.by,
            "through": hit.through,
            "tokens": hit.tokens,
            "left_out": hit.left_out,
        }
        for hit in found.hits
    ]
    return {"hits": hits, "slow": list(found.slow), "broken": list(found.broken)}


def card_text(persona: Persona, seed: str, count: Callable[[str], int], context: int) -> str:
    """What of a persona stands at the head of a conversation's prompt, within what a model can see."""
    parts = persona.parts(seed)
    if len(parts) == 1 and parts[0].field == "system_line":
        return parts[0].text
    return fitted(parts, count, int(context * CARD_SHARE)).text
