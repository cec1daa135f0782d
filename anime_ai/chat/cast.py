"""A conversation of several: who is asked, who speaks next, and what each of them has heard. Knows no model.

A speaker's own messages are her answers; what the person and the others said between two of them is one question, each
line behind a name, so that the two sides take turns as the layout has it. Nothing of it changes once she has answered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache
from typing import Any

from anime_ai.chat.tree import Message
from anime_ai.errors import AnimeAIError
from anime_ai.knowledge.tokens import folded
from anime_ai.persona.cards import Personas
from anime_ai.persona.telling import USER, macros_of

ORDERS = ("round", "one", "hand")
"""Who answers a message that names nobody: all after each other, the next one, or whoever is asked by hand."""
SILENCE = "（没有人说话，你接着说。）"
"""The question of somebody who speaks again before anybody else has."""
_OWN_SCRIPT = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_THREE_HAN = re.compile("[\u4e00-\u9fff]{3}")
_PARTS = re.compile(r"[\s·・･]+")
_PAUSE = re.compile(r"[\s，,、：:！!。]+")


class Cast:
    """The personas of a conversation, by their names, in their order."""

    def __init__(self, personas: Personas, members: Sequence[str]) -> None:
        self.personas, self.members = personas, tuple(members)

    def speakers(self, said: str, order: str, line: Sequence[Message]) -> list[str]:
        """Who answers what a person says behind a line: those who are named, in that order, else as `order` has it."""
        if named := self.mentioned(said):
            return named
        if order == "hand":
            return []
        if order != "one":
            return list(self.members)
        last = next((one.speaker for one in reversed(line) if one.role == "assistant"), "")
        place = self.members.index(last) + 1 if last in self.members else 0
        return [self.members[place % len(self.members)]]

    def mentioned(self, said: str) -> list[str]:
        """Who is named in a text, in the order in which they are. Width, case and traditional characters make no
        difference. Behind an @ a persona's kind does too (@傲娇), which anybody may say of anything else."""
        return list(dict.fromkeys(persona for _, _, persona in self._named(said)))

    def heard(self, line: Sequence[Message], speaker: str, plain: bool = False) -> tuple[tuple[Message, ...], Message]:
        """What a speaker has before her at the end of a line: questions and her answers, and what she answers now.

        `plain`: without what the others said, for a model that reads a single question at a time.
        """
        you, called = self._person(speaker), cache(self.personas.called)
        told: list[Message] = []
        since: list[tuple[str, Message]] = []
        for one in line:
            if not one.content:
                continue
            if one.role == "assistant" and one.speaker == speaker:
                if told or since:
                    told.append(self._question(since, plain, one.parent, one.meta.get("turn")))
                told.append(one)
                since = []
            else:
                since.append((you if one.role == "user" else called(one.speaker), one))
        if plain and not any(one.role == "user" for _, one in since):  # what was asked last can still be answered
            since = [(you, one) for one in line if one.role == "user" and one.content][-1:] or since
        return tuple(told), self._question(since, plain, line[-1].id if line else "")

    def stop_texts(self, speaker: str) -> tuple[str, ...]:
        """What begins the words of somebody else on a line of its own."""
        names = [self.personas.called(one) for one in self.members if one != speaker]
        return tuple(f"\n{name}{mark}" for name in (*names, self._person(speaker)) for mark in ("：", ":"))

    def hers(self, pieces: Any, speaker: str) -> Iterator[Any]:
        """An answer as it grows without her own name before it. Raises AnimeAIError where it begins as another's,
        before any of it was given."""
        own = [f"{self.personas.called(speaker)}{mark}" for mark in ("：", ":")]
        others = [one.lstrip("\n") for one in self.stop_texts(speaker)]
        unsaid, held = (*own, *others), None  # what may yet become a name is not said yet
        with closing(pieces):
            for total in pieces:
                head = total.text.lstrip()
                if any(head.startswith(one) for one in others):
                    raise AnimeAIError("group.for_another", name=self.personas.called(speaker))
                held = total if head and any(one.startswith(head) for one in unsaid if one != head) else None
                if held is None:
                    label = next((one for one in own if head.startswith(one)), "")
                    yield replace(total, text=head[len(label) :].lstrip()) if label else total
            if held is not None:
                yield held

    def _person(self, speaker: str) -> str:
        """How a speaker calls the person who talks with them."""
        found = self.personas.named(speaker)
        return macros_of(found.card).user if found is not None and found.card is not None else USER["zh"][0]

    def _question(
        self, since: Sequence[tuple[str, Message]], plain: bool, id: str, turn: dict[str, Any] | None = None
    ) -> Message:
        """One question of what was said, by the name of each. `turn`: what its answer brought along."""
        asked = [one for _, one in since if one.role == "user"]
        turn = turn or {}
        brought = [str(meta.get("brought", "")) for meta in (turn, *(one.meta for one in asked))]
        meta = {**turn, "brought": "\n".join(part for part in brought if part)}
        meta["parts"] = tuple(replace(one, meta={**one.meta, "called": name}) for name, one in since)
        if not since:
            said = SILENCE
        elif plain:
            said = self._unaddressed((asked or [since[-1][1]])[-1].content)
        elif len(since) == len(asked) == 1:
            said = asked[0].content
        else:
            said = "\n".join(f"{name}：{one.content}" for name, one in since)
        return Message(id, "user", said, meta=meta)

    def _unaddressed(self, said: str) -> str:
        """A text without the names that it calls somebody by: behind an @, or before everything else."""
        kept, place = "", 0
        for start, end, _ in self._named(said):
            pause = _PAUSE.match(said, end)
            first = not (kept + said[place:start]).strip()
            if start >= place and (said[start] in "@＠" or (first and pause)):
                kept += said[place:start]
                place = pause.end() if first and pause else end
        return (kept + said[place:]).strip() or said

    def _named(self, said: str) -> list[tuple[int, int, str]]:
        """Where somebody is named: beginning, end, and who. 小雪 within 小雪见 is nobody else."""
        text, found = folded(said), set[tuple[int, int, str]]()
        for persona in self.members:
            for name in self._names(persona):
                found |= {(at, at + len(name), persona) for at in _places(folded(name), text)}
        return sorted(one for one in found if not any(_inside(one, other) for other in found))

    def _names(self, persona: str) -> set[str]:
        """What a persona can be called by."""
        found = self.personas.named(persona)
        names = {persona if found is None else found.character}
        if found is not None and found.card is not None:
            names |= {str(found.card.data.get("nickname") or "")} - {""}
        kinds = {persona, *((found.name, found.id) if found is not None else ())}
        short = {part for name in names for part in _PARTS.split(name)}
        short |= {name[1:] for name in names if _THREE_HAN.fullmatch(name)}  # 念禾, of 苏念禾
        usable = {name for name in names | short if len(name) > 1 and (len(name) > 2 or _OWN_SCRIPT.search(name))}
        return usable | {f"@{name}" for name in names | kinds if name}


def _places(name: str, text: str) -> Iterator[int]:
    """Where a name stands in a text; one in Latin letters at the bounds of words."""
    for match in re.finditer(re.escape(name), text):
        before, behind = text[: match.start()][-1:], text[match.end() :][:1]
        if not (_joined(before, name[0]) or _joined(name[-1], behind)):
            yield match.start()


def _joined(sign: str, following: str) -> bool:
    """Whether two neighbours belong to one ASCII word."""
    return all(one.isascii() and (one.isalnum() or one == "_") for one in (sign, following))


def _inside(one: tuple[int, int, str], other: tuple[int, int, str]) -> bool:
    """Whether one name stands within another one that is longer."""
    return other[0] <= one[0] and one[1] <= other[1] and other[1] - other[0] > one[1] - one[0]
