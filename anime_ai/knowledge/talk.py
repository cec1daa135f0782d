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
WEIGHTS, BIAS = (3.63, 9.09, -5.09, 6.11), -10.68
"""A logistic regression over `features`: `tests/benchmarks/test_retrieval.py` fits it on half of its questions and
small talk and reports on the other half. The bias is one point above the fitted one, because a passage too many harms
less than one too few."""
_US = re.compile("[你您我咱]")
_ASKING = re.compile("什么|啥|谁|誰|哪|几|多少|怎|何|吗|[?？]")


def asks(told: Sequence[float]) -> bool:
    """Whether a message with these features is about the documents, rather than between the two who talk."""
    return sum(weight * value for weight, value in zip(WEIGHTS, told, strict=True)) + BIAS > 0


def features(question: str, found: Sequence[str], rarity: Rarity) -> tuple[float, ...]:
    """How much that is rare, here and in everyday talk, a found text shares with the question; how much of the question
    everyday talk does not know; whether it speaks of the two who talk; whether it asks. `rarity`: how rare a term is
    here."""
    said = pairs(question)
    usual, here = everyday(said), rarity(said)
    weights = {term: one * other for term, one, other in zip(said, usual, here, strict=True)}
    shared = max((sum(weights[term] for term in said & pairs(text)) for text in found), default=0.0)
    unseen = sum(1 for one in usual if one > 0.99) / max(1, len(said))
    return math.log1p(shared), unseen, float(bool(_US.search(question))), float(bool(_ASKING.search(question)))


def everyday(terms: Iterable[int]) -> list[float]:
    """How rare each term is in everyday talk: 1 for one that nobody said, or one did once."""
    return _everyday().rarity(terms)


@cache
def _everyday() -> Lexical:
    index = Lexical()
    index.add({str(place): (line, "") for place, line in enumerate(dict.fromkeys(_lines()))})
    return index


def _lines() -> Iterable[str]:
    for path in DIALOGUES:
        for row in read_json(path) or ():
            yield from (row["input"], row["output"], *(said for turn in row.get("history", ()) for said in turn))
