"""What a starter model can do, measured on prompts that are not in its corpus. Knows no training.

`held_out/` was written apart from the corpus: small talk with the words of which one stands in any answer on its topic,
passages with a question each, questions about pictures, and conversations of six turns.
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
from anime_ai.training.evaluation import loops

HELD_OUT = Path(__file__).parent / "held_out"
LONGEST_REPLY = 80
SHIFTS = (7, 19, 31, 53)
"""Places by which replies and prompts are moved against each other for the shuffled pairing."""
MISSING = ("没有写", "没有提", "没写", "没有记载", "没提")
"""One of these stands in an answer that says: not in the passages."""

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
    """Shares of replies. `shuffled`: on topic when every reply is judged by another prompt's words."""

    prompts: int
    ended: float
    looped: float
    on_topic: float
    shuffled: float
    spans: float
    refusals: float
    attributes: float


@cache
def held_out(name: str) -> list[Any]:
    """The rows of `held_out/<name>.json`."""
    return json.loads((HELD_OUT / f"{name}.json").read_text(encoding="utf-8"))


def questions() -> list[str]:
    """What is asked, to keep it out of the corpus; the conversations open with what everybody says ("你好")."""
    return [row.get("input") or row["question"] for name in _TABLES for row in held_out(name)]


_TABLES = ("small_talk", "passages", "unanswerable", "looking")


def small_talk(ask: Ask) -> Iterator[Reply]:
    for row in held_out("small_talk"):
        text, ended = ask(Dialogue(question=row["input"]))
        yield Reply(row["input"], text, ended, _names(text, row["words"]), " ".join(row["words"]))


def spans(ask: Ask) -> Iterator[Reply]:
    """Passages that answer: right is a reply with the span in it."""
    for row in held_out("passages"):
        text, ended = ask(Dialogue(question=row["question"], brought=prompting.passages([row["passage"]])))
        yield Reply(row["question"], text, ended, row["span"] in text, row["span"])


def refusals(ask: Ask) -> Iterator[Reply]:
    """Passages that do not answer: right is a reply that says so."""
    for row in held_out("unanswerable"):
        text, ended = ask(Dialogue(question=row["question"], brought=prompting.passages([row["passage"]])))
        yield Reply(row["question"], text, ended, _names(text, MISSING))


def attributes(ask: Ask, seed: int = 1) -> Iterator[Reply]:
    """Observations that show what is asked for: right is a reply that names it."""
    from anime_ai.starter import seeing

    chance = random.Random(f"held out/{seed}")
    for row in held_out("looking"):
        sentence, word = seeing.showing(row["attribute"], chance)
        text, ended = ask(Dialogue(question=row["question"], brought=prompting.observation(sentence)))
        yield Reply(f"{sentence} {row['question']}", text, ended, word in text, word)


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
    return (
        Figures(
            len(talk),
            sum(reply.ended for reply in talk) / len(talk),
            sum(loops(reply.text) for reply in talk) / len(talk),
            rights["small talk"],
            shuffled(talk),
            rights["passages"],
            rights["unanswerable"],
            rights["pictures"],
        ),
        given,
    )


def _names(text: str, words: Sequence[str]) -> bool:
    return any(word in text for word in words)
