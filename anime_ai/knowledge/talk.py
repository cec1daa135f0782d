"""Whether a message asks for something that documents know, or is small talk. Knows no documents.

What people say to a character is mostly made of everyday pairs of characters; a question about documents has pairs that
are rare there and stand in what was found. The everyday pairs are those of the dialogues that ship.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import cache

from anime_ai.config import DATA
from anime_ai.files import read_json
from anime_ai.knowledge.lexical import Lexical
from anime_ai.knowledge.passages import Rarity, pairs

DIALOGUES = (DATA / "dataset.json", DATA / "neutral.json")
SHARED, UNSEEN, BETWEEN_US, BIAS = 8.85, 8.5, -7.0, -9.9
"""A logistic regression, fitted on half of the questions and of the small talk that `tests/benchmarks/
test_small_talk.py` asks, and reported there on the other half."""
_US = re.compile("[你您我咱]")


def asks(question: str, found: Sequence[str], rarity: Rarity) -> bool:
    """Whether `question` is about the texts in `found`, rather than between the two who talk.

    `rarity`: how rare a term is among the documents.
    """
    everyday, said = _everyday(), pairs(question)
    shared = 0.0
    for text in found:
        both = said & pairs(text)
        shared = max(shared, sum(one * other for one, other in zip(everyday.rarity(both), rarity(both), strict=True)))
    unseen = sum(1 for one in everyday.rarity(said) if one > 0.99) / max(1, len(said))
    between_us = bool(_US.search(question))
    return SHARED * math.log1p(shared) + UNSEEN * unseen + BETWEEN_US * between_us + BIAS > 0


@cache
def _everyday() -> Lexical:
    index = Lexical()
    index.add({str(place): line for place, line in enumerate(dict.fromkeys(_lines()))})
    return index


def _lines() -> Iterable[str]:
    for path in DIALOGUES:
        for row in read_json(path) or ():
            yield from (row["input"], row["output"], *(said for turn in row.get("history", ()) for said in turn))
