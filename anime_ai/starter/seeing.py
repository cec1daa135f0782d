"""What is seen in a picture, told in one sentence, and questions about it. Knows no pictures and no tokens.

`phrases/seeing/attributes.txt` holds attributes; a line's first sign says what it is:

    # 发色                         an attribute
    ~ 粉色 蓝色                    its words
    = {}的头发                     a way to tell one of them
    ? 头发是什么颜色               a way to ask for it; {} is any of its words (她的头发是{}吗)
    ! 她的头发是{}的。             an answer; `!tsundere` begins one in a persona's voice

The last two are no attributes: 全图 asks for the whole picture, 没有 answers what the sentence does not tell.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from anime_ai.config import PHRASES
from anime_ai.starter.grammar import ASKS, choose

ATTRIBUTES = PHRASES / "seeing" / "attributes.txt"
WHOLE, UNSEEN = "全图", "没有"
TOLD = 0.68
"""How often a sentence tells an attribute."""
WHOLES, UNTOLD = 0.08, 0.08
"""Shares of the questions that ask for the whole picture, and for what the sentence does not tell."""
RIGHT = 0.4
"""How often a question that guesses guesses right."""


@dataclass
class Attribute:
    """Something that a picture may show. `answers`: by the persona's id, "" for the neutral ones."""

    words: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    answers: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """A sentence, and what is asked about it, each question with its answer."""

    sentence: str
    asked: tuple[tuple[str, str], ...]


def read(text: str) -> dict[str, Attribute]:
    """The attributes of a text, in order.

    Raises ValueError that cites a line it cannot read, or the name of an attribute that lacks a part.
    """
    found: dict[str, Attribute] = {}
    last: Attribute | None = None
    for line in text.splitlines():
        sign, rest = line[:1], line[1:].strip()
        if not line.strip() or line.startswith("//"):
            continue
        if not rest:
            raise ValueError(line)
        if sign == "#":
            last = found[rest] = Attribute()
        elif last is None or sign not in "~=?!":
            raise ValueError(line)
        elif sign == "!":
            voice, _, answer = line[1:].partition(" ")
            if not answer:
                raise ValueError(line)
            last.answers.setdefault(voice, []).append(answer)
        else:
            kept = {"~": last.words, "=": last.told, "?": last.asked}[sign]
            kept.extend(rest.split() if sign == "~" else [rest])
    for name, one in found.items():
        whole = one.answers.get("") and (name == UNSEEN or one.asked)
        if not whole or not (name in (WHOLE, UNSEEN) or (one.words and one.told)):
            raise ValueError(name)
    return found


@cache
def shipped() -> Mapping[str, Attribute]:
    """All attributes that ship, the last two among them."""
    return read(ATTRIBUTES.read_text(encoding="utf-8"))


def look(chance: random.Random, voice: str = "") -> Look:
    """A sentence and two to seven questions about it; some of them ask for what is not told."""
    shown = _shown(chance)
    asked = [_question(shown, chance, voice) for _ in range(chance.randint(2, 7))]
    return Look(_told(shown, chance), tuple(asked))


def showing(name: str, chance: random.Random) -> tuple[str, str]:
    """A sentence that shows the attribute `name`, and the word that it shows of it."""
    shown = _shown(chance, name)
    return _told(shown, chance), shown[name]


def _names() -> list[str]:
    return [name for name in shipped() if name not in (WHOLE, UNSEEN)]


def _shown(chance: random.Random, always: str = "") -> dict[str, str]:
    names = [name for name in _names() if name in ("人数", always) or chance.random() < TOLD]
    return {name: chance.choice(shipped()[name].words) for name in names}


def _told(shown: Mapping[str, str], chance: random.Random) -> str:
    names = list(shown)
    parts = [chance.choice(shipped()[name].told).format(word) for name, word in shown.items()]
    if "发色" in shown and "发型" in shown and chance.random() < 0.4:
        place = names.index("发色")
        parts[place : place + 2] = [f"{shown['发色']}的{shown['发型']}"]
    return "，".join(parts) + "。"


def _question(shown: Mapping[str, str], chance: random.Random, voice: str) -> tuple[str, str]:
    missing = [name for name in _names() if name not in shown]
    kind = chance.random()
    if kind < WHOLES:
        colour = shown.get("发色")
        whole = f"{shown['人数']}，{colour}的头发" if colour else shown["人数"]
        return _said(WHOLE, chance), chance.choice(shipped()[WHOLE].answers[voice]).format(whole)
    if kind < WHOLES + UNTOLD and missing:
        return _said(chance.choice(missing), chance), chance.choice(shipped()[UNSEEN].answers[voice])
    name = chance.choice(list(shown))
    return _said(name, chance, shown[name]), chance.choice(shipped()[name].answers[voice]).format(shown[name])


def _said(name: str, chance: random.Random, word: str = "") -> str:
    """A question for an attribute as somebody may end it; the words that it guesses are now and then the right one."""
    text = choose(chance.choice(shipped()[name].asked), chance)
    guesses = chance.sample(shipped()[name].words, text.count("{}"))
    if guesses and word not in guesses and chance.random() < RIGHT:
        guesses[chance.randrange(len(guesses))] = word or guesses[0]
    text = text.format(*guesses)
    if not ASKS.search(text):
        return text + chance.choice(("？", "。", ""))
    return text + chance.choice(("？", "？", "", "?", "呀？" if text[-1] not in "呢吗呀" else "？"))
