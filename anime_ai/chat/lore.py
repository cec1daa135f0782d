"""What a persona's books say to a turn, and how much of her card a model has room for. Knows neither engine nor page.

What the books say stands in the turn that called it up, and is not said again while it stands there.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from anime_ai.errors import PersonaError
from anime_ai.persona.cards import Persona
from anime_ai.persona.lorebook import Book, Lore, book_from, scan
from anime_ai.persona.placing import place_of
from anime_ai.persona.telling import fitted, macros_of, with_lore
from anime_ai.persona.world_books import WorldBooks
from anime_ai.prompting import lore, passages

_US = re.compile("[你您我咱]")
_ASKING = re.compile("什么|啥|谁|誰|哪|几|多少|怎|何|吗|[?？]")
AGAIN = 6
"""Turns after which an entry that still fires is told again: by then its turn may be out of the prompt."""
LORE_SHARE = 0.125
"""Of what a model can see, the most that a turn's lore may fill."""
FURTHEST = 50
"""Messages that any entry may look back."""
KEPT_BOOKS = 32
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
        self._read: OrderedDict[tuple[str, float], Book] = OrderedDict()

    def look(
        self,
        persona: Persona | None,
        conversation: Any,
        said: str,
        count: Callable[[str], int],
        context: int,
        small: bool = False,
        in_card: bool = False,
    ) -> Lore:
        """What fires on `said` behind a conversation, for a model that can see `context` tokens. `in_card`: what stands
        by a part of the card is told there.

        `small`: it reads one thing at a time, and loses her voice over it: it is told the first entry, where a question
        asks for something other than the two who talk.
        """
        books = self._books(persona, conversation.persona)
        card = persona.card if persona is not None else None
        if in_card and not small:
            books = [replace(book, entries=tuple(one for one in book.entries if not one.stands)) for book in books]
        if not any(book.entries for book in books):
            return Lore()
        line = conversation.messages
        found = scan(
            books,
            [*(one.content for one in line[-FURTHEST:]), said],
            count,
            fill=macros_of(card, conversation.id).fill if card is not None else str,
            budget=int(context * LORE_SHARE),
            told=told_lately(line),
            seed=conversation.id,
            turn=sum(one.role == "assistant" for one in line),
        )
        if not small:
            roles = [*(one.role for one in spoken(line)), "user"]
            return replace(found, hits=tuple(replace(hit, place=place_of(hit.entry, roles)) for hit in found.hits))
        most = int(bool(_ASKING.search(said)) and not _US.search(said))
        spared = tuple(replace(hit, left_out="small") for hit in found.told[most:])
        return replace(found, hits=(*found.told[:most], *spared, *(hit for hit in found.hits if hit.left_out)))

    def standing(self, persona: Persona, seed: str, count: Callable[[str], int], context: int) -> dict[str, str]:
        """What always stands by a part of her card, by its section; what is over the share of lore is left out."""
        fill = macros_of(persona.card, seed).fill if persona.card is not None else str
        room = int(context * LORE_SHARE)
        told: dict[str, list[str]] = {}
        entries = [one for book in self._books(persona, persona.name) for one in book.entries if one.stands]
        for entry in sorted(entries, key=lambda one: one.order):
            said = fill(entry.content).strip()
            room -= count(said)
            if room < 0:
                break
            told.setdefault(entry.section, []).append(said)
        return {section: lore(texts) for section, texts in told.items()}

    def _books(self, persona: Persona | None, name: str) -> list[Book]:
        """The books that a persona's conversations look into, her card's first."""
        books = []
        if persona is not None and persona.card is not None and (own := persona.card.book):
            called = persona.card.name
            books.append(self._book(persona.id, persona.version, lambda: (own, called)))
        for id, updated in self._worlds.states(name):
            with suppress(PersonaError):  # it was removed just now
                books.append(self._book(id, updated, partial(self._world, id)))
        return books

    def _world(self, id: str) -> tuple[Mapping[str, Any], str]:
        found = self._worlds.get(id)
        return found.book, found.name

    def _book(self, id: str, state: float, read: Callable[[], tuple[Mapping[str, Any], str]]) -> Book:
        """A book as it is looked into; a large one takes a while to read and is kept until it changes."""
        found = self._read.get((id, state))
        if found is None:
            found = self._read[id, state] = book_from(*read())
            if len(self._read) > KEPT_BOOKS:
                self._read.popitem(last=False)
        return found


def told_lately(line: Sequence[Any]) -> list[str]:
    """The contents that the last turns of a conversation brought along."""
    turns = [one.meta.get("lore") or {} for one in line if one.role == "user"][-AGAIN:]
    return [str(hit["content"]) for found in turns for hit in found.get("hits", ()) if not hit.get("left_out")]


def spoken(line: Sequence[Any]) -> list[Any]:
    """The messages of a line that stand in a prompt: what places are counted in."""
    return [one for one in line if one.role in ("user", "assistant") and one.content]


def as_text(found: Lore, small: bool = False) -> str:
    """What stands before a turn's question of it; a small model is told it as it was taught to read passages."""
    contents = [hit.content for hit in found.told if hit.place is None]
    return passages(contents) if small else lore(contents)


@dataclass
class Around:
    """What entries put before and after the words of one message."""

    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


def placed(line: Sequence[Any]) -> dict[int, Around]:
    """What the entries that have fired put around the messages of a line, the question the last of them, by their
    places in it. Of a user's message `before` are texts that it brings along."""
    found: dict[int, Around] = {}
    for at, message in enumerate(line):
        hits = (message.meta.get("lore") or {}).get("hits", ()) if message.role == "user" else ()
        for hit in hits:
            place = None if hit.get("left_out") else hit.get("place")
            if not place or not 0 <= at - int(place["back"]) <= at:
                continue
            there = at - int(place["back"])
            if line[there].role != place["role"]:
                continue  # the line was changed since
            said = str(hit["content"]) if place["role"] == "assistant" else lore([str(hit["content"])])
            around = found.setdefault(there, Around())
            (around.before if place["side"] == "before" else around.after).append(said)
    return found


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
            **({"place": asdict(hit.place)} if hit.place else {}),
        }
        for hit in found.hits
    ]
    return {"hits": hits, "slow": list(found.slow), "broken": list(found.broken)}


def card_text(
    persona: Persona,
    seed: str,
    count: Callable[[str], int],
    context: int,
    standing: Mapping[str, str] | None = None,
) -> str:
    """What of a persona stands at the head of a conversation's prompt, within what a model can see."""
    parts = persona.parts(seed)
    if len(parts) == 1 and parts[0].field == "system_line":
        return parts[0].text
    return fitted(with_lore(parts, standing or {}), count, int(context * CARD_SHARE)).text


def tells_card(persona: Persona | None, trained: Mapping[str, Any]) -> bool:
    """Whether a persona's whole card heads her prompts: not her line, nor that which an adapter was trained with."""
    return persona is not None and not persona.system_line and trained.get("persona") != persona.name
