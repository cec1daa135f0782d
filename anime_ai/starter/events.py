"""Events of an invented world: sentences with several words in them, each of which can be asked for. Knows no tokens.

`phrases/events/*.txt` holds events; a line's first sign says what it is:

    # 捡到                                an event
    ~物件 旧车票 铜铃                       words of its own for a slot
    = {人}在{地名}捡到了{物件}。              a way to tell it, with every slot of the event once
    ?物件 {人}在{地名}捡到了什么             a question for the slot that it names

A slot is a kind of subject or value of `anime_ai.starter.invented`, with a number behind it where there are two
({人名2}), a number before a unit ({数:岁}), or has words of its own. The first slot that is a subject is whom it is
about.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from anime_ai.starter.grammar import PHRASES, choose
from anime_ai.starter.invented import SUBJECTS, VALUES, amount

EVENTS = PHRASES / "events"
NUMBER, THING = "数", "道具"
_SLOT = re.compile(r"\{([^{}:]+?)(\d*)(?::([^{}]+))?\}")
_KINDS = {**{kind: kind for kind in SUBJECTS if kind != "物"}, THING: "物"}
"""Slots whose words are subjects: the slot, and the kind of subject."""


@dataclass
class Event:
    """`questions`: the slot asked for, and the question."""

    name: str
    own: dict[str, list[str]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    questions: list[tuple[str, str]] = field(default_factory=list)

    @property
    def about(self) -> str:
        """The slot of its subject."""
        return next(name for name in slots(self.told[0]) if self.kind(name))

    def kind(self, slot: str) -> str:
        """The kind of subject that a slot holds, or nothing."""
        return "" if slot in self.own else _KINDS.get(slot, "")

    def bind(self, chance: random.Random, subject: str = "") -> dict[str, str]:
        """A word for every slot, no word twice; `subject` is whom it is about."""
        bound = {self.about: subject} if subject else {}
        for found in _SLOT.finditer(self.told[0]):
            slot = found[1] + found[2]
            while slot not in bound or list(bound.values()).count(bound[slot]) > 1:
                bound[slot] = self._word(found[1], found[3] or "", chance)
                if self.told[0][: found.start()].endswith("第"):  # 两集, but 第二集
                    bound[slot] = bound[slot].replace("两", "二")
        return bound

    def _word(self, name: str, unit: str, chance: random.Random) -> str:
        if name in self.own:
            return chance.choice(self.own[name])
        if name == NUMBER:
            return amount(unit, chance)
        return (VALUES[name] if name in VALUES else SUBJECTS[_KINDS[name]])(chance)


def read(text: str) -> list[Event]:
    """The events of a text.

    Raises ValueError that cites a line it cannot read, or the name of an event that lacks a part, whose sentences do
    not have the same slots, or a question of which asks for what it says or is about nothing.
    """
    found: list[Event] = []
    for line in text.splitlines():
        sign, rest = line[:1], line[1:].strip()
        if not line.strip() or line.startswith("//"):
            continue
        if sign == "#":
            found.append(Event(rest))
            continue
        slot, _, words = line[1:].partition(" ")
        if not found or sign not in "~=?" or not rest or (sign != "=" and not (slot and words.strip())):
            raise ValueError(line)
        if sign == "=":
            found[-1].told.append(rest)
        elif sign == "~":
            found[-1].own.setdefault(slot, []).extend(words.split())
        else:
            found[-1].questions.append((slot.partition(":")[0], words.strip()))
    for event in found:
        if fault := _fault(event):
            raise ValueError(f"{event.name}: {fault}")
    return found


def _fault(event: Event) -> str:
    """What is wrong with an event."""
    if not event.told or not event.questions:
        return "nothing told or nothing asked"
    there = sorted(slots(event.told[0]))
    for sentence in event.told:
        if sorted(slots(sentence)) != there or len(set(there)) != len(there):
            return sentence
    for name, _, unit in _SLOT.findall(event.told[0]):
        if name not in event.own and (not unit if name == NUMBER else name not in VALUES and name not in _KINDS):
            return name
    if not any(event.kind(slot) for slot in there):
        return "about nobody"
    for slot, question in event.questions:
        named = slots(question)
        if slot not in there or slot in named or not named or not set(named) <= set(there):
            return question
    return ""


def slots(template: str) -> list[str]:
    """The names of a template's slots, in order."""
    return [name + number for name, number, _ in _SLOT.findall(template)]


def fill(template: str, bound: Mapping[str, str], chance: random.Random) -> str:
    """`template` with one of its alternatives and its words."""
    return _SLOT.sub(lambda found: bound[found[1] + found[2]], choose(template, chance))


@cache
def shipped() -> Mapping[str, tuple[Event, ...]]:
    """The events under `phrases/events/`, by the kind of their subject."""
    events = [one for file in sorted(EVENTS.glob("*.txt")) for one in read(file.read_text(encoding="utf-8"))]
    return {kind: tuple(one for one in events if one.kind(one.about) == kind) for kind in SUBJECTS}
