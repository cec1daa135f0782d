"""Whether a message asks for something that documents know, or is small talk. Knows no documents.

What people say to a character is mostly made of everyday pairs of characters; a question about documents has pairs that
are rare there and stand in what was found. The everyday pairs are those of the dialogues that ship, and of what people
say in the starter's corpus.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import cache

from anime_ai.config import DATA, PHRASES
from anime_ai.files import read_json
from anime_ai.knowledge.lexical import Lexical
from anime_ai.knowledge.passages import Rarity, pairs

DIALOGUES = (DATA / "dataset.json", DATA / "neutral.json")
WEIGHTS, BIAS = (6.54, 12.81, -3.66, 4.28, 6.11), -18.06
"""A logistic regression over `features`: `tests/benchmarks/test_retrieval.py` fits it on half of its questions and
small talk and reports on the other half. The bias is half a point above the fitted one: a passage too few loses an
answer, one too many loses her thread."""
_US = re.compile("[你您我咱]")
_ASKING = re.compile("什么|啥|谁|誰|哪|几|多少|怎|何|吗|[?？]")


def asks(told: Sequence[float]) -> bool:
    """Whether a message with these features is about the documents, rather than between the two who talk."""
    return sum(weight * value for weight, value in zip(WEIGHTS, told, strict=True)) + BIAS > 0


def features(question: str, found: Sequence[str], titles: Sequence[str], rarity: Rarity) -> tuple[float, ...]:
    """How much that is rare, here and in everyday talk, a found text shares with the question; how rare the question's
    own terms are in everyday talk, 0 to 1; whether it speaks of the two who talk; whether it asks; whether it names one
    of the `titles` of what was found, which may be everyday words. `rarity`: how rare a term is here."""
    said = pairs(question)
    usual, here = everyday(said), rarity(said)
    weights = {term: one * other for term, one, other in zip(said, usual, here, strict=True)}
    shared = max((sum(weights[term] for term in said & pairs(text)) for text in found), default=0.0)
    rare = sum(usual) / max(1, len(said))
    named = any(len(title) > 1 and not title.isdecimal() and title in question for title in titles)
    about = (_US.search(question), _ASKING.search(question), named)
    return math.log1p(shared), rare, *(float(bool(one)) for one in about)


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
    for path in sorted(PHRASES.glob("said/*.txt")):
        told = path.read_text(encoding="utf-8").splitlines()
        yield from (line[2:] for line in told if line.startswith(("- ", "? ")))
