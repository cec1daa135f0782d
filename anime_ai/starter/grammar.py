"""Hand-written phrases to dialogues: word tables and topics, read from `phrases/*.txt`. Knows no tokens and no model.

A line's first sign says what it is:

    @食物 口味 做法      a table: its name and columns; the rows follow, a row a line, cells apart by blanks
    # 下雨没带伞         a topic; a number behind the name is its weight ("# 问名字 3")
    & 你是{名字}。       the card that the topic needs (optional)
    * 用户叫{人名}       a fact about the user that it needs (optional)
    ^ card facts         what must not stand before the topic: a card, facts, earlier turns ("before") (optional)
    ? 有(没有|没)伞      something the user asks; a full-width question mark is put behind it where it ends bare
    - 我没带伞           something the user says; a full stop is put behind it
    ! 可以先避雨。       an answer to what stands above it, up to the answers before
    +                    one of the turns that may follow the first one; its ?, - and ! lines come next
    // …                 a remark

`near/*.txt` holds words and pieces of sentences by which a topic is told, apart by blanks, behind lines `# topic`.
`said/*.txt` adds ways to say a turn and `voices/<persona>.txt` a persona's answers to it. There `#` names a turn:
`# 下雨` is the topic's first one, `# 下雨.2` its second set of openings, `# 下雨+1` its first follow-up.

(a|b|) stands for one of the alternatives; {食物} for a word of a table, the same within one dialogue, {食物.口味} for
another cell of its row and {食物2} for another row where there is one.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

from anime_ai.config import PHRASES

Table = tuple[dict[str, str], ...]
Bound = dict[str, dict[str, str]]

_CHOICE = re.compile(r"\(([^()]*)\)")
_SLOT = re.compile(r"\{([^\d.{}]+)(\d?)(?:\.([^{}]+))?\}")
ASKS = re.compile("还是|是不是|有没有|没有?$|吗|呢|什么|怎|谁|哪|几|多少|能|可以|何|啥|[^吧]不[^了]|几|=|嘛")
_STOPS = "。！？…～~!?；：，、"


@dataclass
class Turn:
    """Templates of what the user says, each with its stop, and of what is answered; any goes with any.

    `voices`: what each persona answers, by her id. `name`: as `said/*.txt` names it.
    """

    name: str = ""
    says: list[tuple[str, str]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    voices: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Topic:
    """Ways to begin, and turns of which one may follow."""

    name: str
    weight: float
    openings: list[Turn] = field(default_factory=lambda: [Turn()])
    follow_ups: list[list[Turn]] = field(default_factory=list)
    card: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    apart: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Grammar:
    """Word tables and topics."""

    tables: Mapping[str, Table]
    topics: tuple[Topic, ...]

    def expand(self, template: str, chance: random.Random, bound: Bound) -> str:
        """One text of `template`. Words are drawn once and kept in `bound`. Raises KeyError for an unknown table."""
        template = choose(template, chance)
        return _SLOT.sub(lambda found: self._word(found, chance, bound), template)

    def say(self, turns: list[Turn], chance: random.Random, bound: Bound, voice: str = "") -> tuple[str, str, str]:
        """What the user says, what is answered, and the name of the turn, out of one of `turns`.

        In a persona's voice where one is named.
        """
        turn = chance.choices(turns, [len(turn.says) for turn in turns])[0]
        template, stop = chance.choices(turn.says, [variants(template) ** 0.5 for template, _ in turn.says])[0]
        said = self.expand(template, chance, bound)
        if said[-1] not in _STOPS:
            said += stop if stop != "？" or ASKS.search(said) else "。"
        return said, self.expand(chance.choice(turn.voices[voice] if voice else turn.answers), chance, bound), turn.name

    def _word(self, found: re.Match[str], chance: random.Random, bound: Bound) -> str:
        name, number, column = found.groups()
        place = name + number
        if place not in bound:
            taken = [row for key, row in bound.items() if key.rstrip("0123456789") == name]
            rows = self.tables[name]
            bound[place] = chance.choice(rows)
            while bound[place] in taken and len(taken) < len(rows):
                bound[place] = chance.choice(rows)
        return bound[place][column or ""]


def read(texts: Iterable[str], tables: Mapping[str, Table] | None = None) -> Grammar:
    """The grammar of some texts, beside `tables` that were computed.

    Raises ValueError that cites a line it cannot read, or a topic that lacks a question or an answer.
    """
    known: dict[str, Table] = dict(tables or {})
    topics: list[Topic] = []
    for text in texts:
        columns: list[str] = []
        table = ""
        for line in text.splitlines():
            sign, rest = line[:1], line[1:].strip()
            if not line.strip() or line.startswith("//"):
                continue
            if sign == "@":
                table, *columns = rest.split()
                known.setdefault(table, ())
            elif sign == "#":
                table = ""
                name, _, weight = rest.partition(" ")
                topics.append(Topic(name, float(weight or 0)))
            elif table:
                known[table] += (_row(line, columns),)
            elif not topics:
                raise ValueError(line)
            else:
                _add(topics[-1], sign, rest, line)
    for topic in topics:
        if not all(turn.says and turn.answers for turns in (topic.openings, *topic.follow_ups) for turn in turns):
            raise ValueError(topic.name)
        topic.weight = topic.weight or _weight(topic)
    for name, turn in _turns_by_name(topics).items():
        turn.name = name
    return Grammar(known, tuple(topics))


@cache
def shipped() -> Grammar:
    """The grammar under `phrases/` with the computed tables."""
    from anime_ai.starter.words import computed

    grammar = read((file.read_text(encoding="utf-8") for file in sorted(PHRASES.glob("*.txt"))), computed())
    for file in sorted(PHRASES.glob("said/*.txt")):
        extend(grammar, file.read_text(encoding="utf-8"))
    for file in sorted(PHRASES.glob("voices/*.txt")):
        extend(grammar, file.read_text(encoding="utf-8"), file.stem)
    return grammar


def extend(grammar: Grammar, text: str, voice: str = "") -> None:
    """Add to the turns that `text` names: ways to say them, or answers in a voice.

    Raises ValueError that cites a line it cannot read or that names no turn.
    """
    turns = _turns_by_name(grammar.topics)
    turn: Turn | None = None
    for line in text.splitlines():
        sign, rest = line[:1], line[1:].strip()
        if not line.strip() or line.startswith("//"):
            continue
        if sign == "#":
            turn = turns.get(rest)
        if turn is None:
            raise ValueError(line)
        if sign == "!" and voice:
            turn.voices.setdefault(voice, []).append(rest)
        elif sign in "?-" and not voice:
            turn.says.append((rest, "？" if sign == "?" else "。"))
        elif sign != "#":
            raise ValueError(line)


def near(grammar: Grammar, texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The words near each topic, by its name. Raises ValueError that cites a line which belongs to no topic."""
    known = {topic.name for topic in grammar.topics}
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name = ""
        for line in text.splitlines():
            if line.startswith("#"):
                name = line[1:].strip()
            if not line.strip() or line.startswith(("//", "#")) and name in known:
                continue
            if name not in known:
                raise ValueError(line)
            found[name] = (*found.get(name, ()), *line.split())
    return found


@cache
def shipped_near() -> dict[str, tuple[str, ...]]:
    """The words under `phrases/near/`."""
    return near(shipped(), (file.read_text(encoding="utf-8") for file in sorted(PHRASES.glob("near/*.txt"))))


def _turns_by_name(topics: Iterable[Topic]) -> dict[str, Turn]:
    named: dict[str, Turn] = {}
    for topic in topics:
        for place, turns in enumerate((topic.openings, *topic.follow_ups)):
            name = f"{topic.name}+{place}" if place else topic.name
            for number, turn in enumerate(turns, 1):
                named[f"{name}.{number}" if number > 1 else name] = turn
    return named


def choose(template: str, chance: random.Random) -> str:
    """`template` with one of each of its (a|b) alternatives."""
    while True:
        chosen = _CHOICE.sub(lambda found: chance.choice(found.group(1).split("|")), template)
        if chosen == template:
            return chosen
        template = chosen


def variants(template: str) -> int:
    """How many texts the choices of a template make, words left aside."""
    number = 1
    while found := _CHOICE.search(template):
        number *= found.group(1).count("|") + 1
        template = template[: found.start()] + template[found.end() :]
    return number


def _weight(topic: Topic) -> float:
    """Grows slowly with the ways to begin in the topic's own file, and with the words it speaks of."""
    says = [template for turn in topic.openings for template, _ in turn.says]
    wordy = any(_SLOT.search(template) for template in says)
    return min(sum(map(variants, says)), 64) ** 0.4 * (2.0 if wordy else 1.0) * (1 + 0.25 * len(topic.follow_ups))


def _row(line: str, columns: list[str]) -> dict[str, str]:
    cells = line.split()
    if len(cells) != len(columns) + 1:
        raise ValueError(line)
    return {"": cells[0], **dict(zip(columns, cells[1:], strict=True))}


def _add(topic: Topic, sign: str, rest: str, line: str) -> None:
    turns = topic.follow_ups[-1] if topic.follow_ups else topic.openings
    if sign in "?-":
        if turns[-1].answers:
            turns.append(Turn())
        turns[-1].says.append((rest, "？" if sign == "?" else "。"))
    elif sign == "!":
        turns[-1].answers.append(rest)
    elif sign == "+":
        topic.follow_ups.append([Turn()])
    elif sign == "^":
        topic.apart = frozenset(rest.split())
    elif sign in "&*":
        {"&": topic.card, "*": topic.facts}[sign].append(rest)
    else:
        raise ValueError(line)
