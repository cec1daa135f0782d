"""How much an embedding helps the search by words, measured on the questions that ship. Knows no database.

An embedding may find what no word finds, or bury what words find: an English one on Chinese texts does the latter. So
none is believed before it was tried: the documents of `data/knowledge/series/` are searched by words, by vectors and by
both, for half of the questions in `data/knowledge/held_out_questions.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anime_ai.config import DATA
from anime_ai.files import read_json
from anime_ai.knowledge import parsing
from anime_ai.knowledge.chunks import chunked, joined
from anime_ai.knowledge.embedding import Embedding
from anime_ai.knowledge.index import DEPTH, fused
from anime_ai.knowledge.lexical import Lexical, Text
from anime_ai.knowledge.talk import everyday

WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0)
"""What is tried."""
GAIN = 0.01
"""A weight counts as a help from here on: below lies the noise of some eighty questions."""
SERIES = DATA / "knowledge" / "series"
QUESTIONS = DATA / "knowledge" / "held_out_questions.json"


@dataclass(frozen=True)
class Trial:
    """Mean reciprocal rank of the first chunk that answers, by each weight of `WEIGHTS` and by vectors alone."""

    weights: Mapping[float, float]
    vectors_alone: float

    @property
    def trust(self) -> float:
        """The best weight, 0 where none is a help."""
        best = max(self.weights, key=lambda weight: self.weights[weight])
        return best if self.weights[best] >= self.weights[0.0] + GAIN else 0.0


def measure(embedding: Embedding, questions: Sequence[Mapping[str, Any]] | None = None) -> Trial:
    """Try an embedding on the first half of the questions that ship, or on those that are given."""
    asked = (read_json(QUESTIONS) or [])[::2] if questions is None else questions
    texts = _chunks(SERIES)
    ids = list(texts)
    words = Lexical()
    words.add(texts)
    read = embedding.documents([text for text, _ in texts.values()])
    totals = dict.fromkeys(WEIGHTS, 0.0)
    alone = 0.0
    for one in asked:
        right = {id for id, (text, name) in texts.items() if name == one["document"] and one["answer"] in text}
        lexical = [hit.id for hit in words.search(one["question"], DEPTH, everyday)]
        dense = [ids[place] for place in np.argsort(-(read @ embedding.question(one["question"])))[:DEPTH]]
        for weight in WEIGHTS:
            totals[weight] += _reciprocal(fused(lexical, dense, weight), right)
        alone += _reciprocal(dense, right)
    return Trial({weight: total / len(asked) for weight, total in totals.items()}, alone / len(asked))


def _reciprocal(ranked: Sequence[str], right: set[str]) -> float:
    return next((1 / place for place, id in enumerate(ranked, 1) if id in right), 0.0)


def _chunks(folder: Path) -> dict[str, Text]:
    found: dict[str, Text] = {}
    for file in sorted(folder.glob("*.md")):
        blocks = parsing.read(file.read_bytes(), file.name)
        whole = joined(blocks)
        for number, one in enumerate(chunked(blocks)):
            found[f"{file.name}#{number}"] = (f"{one.heading}\n{whole[one.start : one.end]}", file.name)
    return found
