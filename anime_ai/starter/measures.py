"""What a starter model can do, measured on prompts that are not in its corpus. Knows no training.

`held_out/` was written apart from the corpus: small talk with the words of which one stands in any answer on its topic,
passages with a question each, questions about pictures (whose observations are drawn by the corpus's own generator),
and conversations of six turns.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from anime_ai import prompting
from anime_ai.prompting import Dialogue
from anime_ai.starter import seeing
from anime_ai.training.evaluation import loops

HELD_OUT = Path(__file__).parent / "held_out"
LONGEST_REPLY = 80
SHIFTS = (7, 19, 31, 53)
"""Places by which replies and prompts are moved against each other for the shuffled pairing."""
NOT_TOLD = ("没有写", "没有提", "没写", "没有记载", "没提")
"""One of these stands in an answer that says: not in the passages."""

BESIDE = 12
"""Characters that a right answer may have beside the word or span that was asked for."""

Ask = Callable[[Dialogue], tuple[str, bool]]
"""A reply to a prompt, and whether it ended by itself within `LONGEST_REPLY` tokens."""


@dataclass(frozen=True)
class Reply:
    """A reply to a held-out prompt, and whether it is what was wanted."""

    question: str
    text: str
    ended: bool
    right: bool
    wanted: str = ""


@dataclass(frozen=True)
class Figures:
    """Shares of replies; the first four are those to small talk.

    `shuffled`: on topic when every reply is judged by another prompt's words.
    """

    prompts: int
    ended: float
    looped: float
    on_topic: float
    shuffled: float
    spans: float
    refusals: float
    attributes: float


_TABLES = ("small_talk", "passages", "unanswerable", "looking")


@cache
def held_out(name: str) -> list[Any]:
    """The rows of `held_out/<name>.json`."""
    return json.loads((HELD_OUT / f"{name}.json").read_text(encoding="utf-8"))


def questions() -> list[str]:
    """What is asked, to keep it out of the corpus; the conversations open with what everybody says ("你好")."""
    return [row.get("input") or row["question"] for name in _TABLES for row in held_out(name)]


def small_talk(ask: Ask) -> Iterator[Reply]:
    for row in held_out("small_talk"):
        text, ended = ask(Dialogue(question=row["input"]))
        yield Reply(row["input"], text, ended, _names(text, row["words"]), " ".join(row["words"]))


def spans(ask: Ask) -> Iterator[Reply]:
    """Passages that answer: right is a reply with the span in it and little else."""
    for row in held_out("passages"):
        text, ended = ask(Dialogue(question=row["question"], brought=prompting.passages([row["passage"]])))
        yield Reply(row["question"], text, ended, _tells(text, row["span"]), row["span"])


def refusals(ask: Ask) -> Iterator[Reply]:
    """Passages that do not answer: right is a reply that says so."""
    for row in held_out("unanswerable"):
        text, ended = ask(Dialogue(question=row["question"], brought=prompting.passages([row["passage"]])))
        yield Reply(row["question"], text, ended, _names(text, NOT_TOLD))


def attributes(ask: Ask) -> Iterator[Reply]:
    """Observations that show what is asked for: right is a reply that names it and little else."""
    chance = random.Random("held out")
    for row in held_out("looking"):
        sentence, word = seeing.showing(row["attribute"], chance)
        text, ended = ask(Dialogue(question=row["question"], brought=prompting.observation(sentence)))
        yield Reply(f"{sentence} {row['question']}", text, ended, _tells(text, word), word)


def shuffled(replies: Sequence[Reply]) -> float:
    """Share on topic where every reply is judged by the words of other prompts."""
    rows = held_out("small_talk")
    crossed = [
        _names(reply.text, rows[(place + shift) % len(rows)]["words"])
        for place, reply in enumerate(replies)
        for shift in SHIFTS
    ]
    return sum(crossed) / len(crossed)


def figures(ask: Ask) -> tuple[Figures, dict[str, list[Reply]]]:
    """All figures, and the replies that they were counted from."""
    given = {
        "small talk": list(small_talk(ask)),
        "passages": list(spans(ask)),
        "unanswerable": list(refusals(ask)),
        "pictures": list(attributes(ask)),
    }
    talk = given["small talk"]
    rights = {name: sum(reply.right for reply in replies) / len(replies) for name, replies in given.items()}
    found = Figures(
        prompts=len(talk),
        ended=sum(reply.ended for reply in talk) / len(talk),
        looped=sum(loops(reply.text) for reply in talk) / len(talk),
        on_topic=rights["small talk"],
        shuffled=shuffled(talk),
        spans=rights["passages"],
        refusals=rights["unanswerable"],
        attributes=rights["pictures"],
    )
    return found, given


def _tells(text: str, word: str) -> bool:
    """Whether `text` names `word` and does not only repeat what it was given."""
    return word in text and len(text) <= len(word) + BESIDE


def _names(text: str, words: Sequence[str]) -> bool:
    return any(word in text for word in words)
