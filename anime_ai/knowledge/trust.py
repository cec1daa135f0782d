"""How much an embedding helps the search by words, measured on the questions that ship. Knows no database.

An embedding may find what no word finds, or bury what words find: an English one on Chinese texts does the latter. So
none is believed before it was tried: the documents of `data/knowledge/series/` are searched by words, by vectors and by
both, for the questions in `data/knowledge/held_out_questions.json`. It has to help on both halves of them, because what
helps on eighty questions harms on the next eighty.
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
from anime_ai.knowledge.lexical import Lexical, Text
from anime_ai.knowledge.semantic import DEPTH, fused
from anime_ai.knowledge.talk import everyday

WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0)
"""What is tried."""
GAIN = 0.005
"""A weight counts as a help from here on."""
SERIES = DATA / "knowledge" / "series"
QUESTIONS = DATA / "knowledge" / "held_out_questions.json"


@dataclass(frozen=True)
class Trial:
    """Mean reciprocal rank of the first chunk that answers, on both halves of the questions, by each of `WEIGHTS`."""

    halves: tuple[Mapping[float, float], ...]

    def gain(self, weight: float) -> float:
        """What a weight gains over the words alone, on the half where it gains less."""
        return min(half[weight] - half[0.0] for half in self.halves)

    @property
    def trust(self) -> float:
        """The best weight, 0 where none is a help."""
        best = max(WEIGHTS, key=self.gain)
        return best if self.gain(best) >= GAIN else 0.0


def measure(embedding: Embedding) -> Trial:
    """Try an embedding. Raises KnowledgeError where it cannot be used."""
    asked: Sequence[Mapping[str, Any]] = read_json(QUESTIONS) or []
    texts = series_chunks(SERIES)
    ids = list(texts)
    words = Lexical()
    words.add(texts)
    read = embedding.documents([text for text, _ in texts.values()])
    found: list[dict[float, float]] = []
    for one in asked:
        right = {id for id, (text, name) in texts.items() if name == one["document"] and one["answer"] in text}
        lexical = [hit.id for hit in words.search(one["question"], DEPTH, everyday)]
        dense = [ids[place] for place in np.argsort(-(read @ embedding.question(one["question"])))[:DEPTH]]
        found.append({weight: _reciprocal(fused(lexical, dense, weight), right) for weight in WEIGHTS})
    halves = (found[half::2] for half in (0, 1))
    return Trial(tuple({weight: sum(one[weight] for one in half) / len(half) for weight in WEIGHTS} for half in halves))


def _reciprocal(ranked: Sequence[str], right: set[str]) -> float:
    return next((1 / place for place, id in enumerate(ranked, 1) if id in right), 0.0)


def series_chunks(folder: Path) -> dict[str, Text]:
    """The chunks of a folder of Markdown by id, as they are indexed, each with its file's name."""
    found: dict[str, Text] = {}
    for file in sorted(folder.glob("*.md")):
        blocks = parsing.read(file.read_bytes(), file.name)
        whole = joined(blocks)
        for number, one in enumerate(chunked(blocks)):
            found[f"{file.name}#{number}"] = (f"{one.heading}\n{whole[one.start : one.end]}", file.name)
    return found
