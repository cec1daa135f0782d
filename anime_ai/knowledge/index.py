"""What can be found in one base: words and vectors, kept up with the database, their ranks fused. Knows no documents.

A word of a question counts by its rarity among the chunks and by its rarity in everyday talk: 哪天 is rare in
documents, and says nothing of what is asked.

The two ranks are fused as 1 / (60 + rank) (Cormack et al. 2009), the vectors' by their trust: how much they were
measured to help, 0 for the hashed embedding, which is measured to harm.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from anime_ai.errors import KnowledgeError
from anime_ai.knowledge.embedding import Embedding
from anime_ai.knowledge.lexical import Lexical
from anime_ai.knowledge.store import Library
from anime_ai.knowledge.talk import everyday
from anime_ai.knowledge.vectors import VectorStore

DEPTH = 50
"""How far down each of the two lists is read."""
_SMOOTHING = 60


@dataclass(frozen=True)
class Found:
    """A chunk with its ranks (from 1; None: not in that list).

    `lexical`: its BM25 score. `coverage`: which share of the question's weight its words hold. `similarity`: cosine.
    """

    id: str
    lexical_rank: int | None = None
    dense_rank: int | None = None
    lexical: float = 0.0
    coverage: float = 0.0
    similarity: float = 0.0


@dataclass(frozen=True)
class Dense:
    """How the vectors are asked, and how much their ranks count beside those of the words (1: as much)."""

    embedding: Embedding
    trust: float


class Index:
    """The index of one base. Threads may share it; a search first catches up with the database."""

    def __init__(self, library: Library, base_id: str) -> None:
        self._library = library
        self.base_id = base_id
        self._lexical = Lexical()
        self._revision = -2
        self._catching_up = threading.Lock()

    def __len__(self) -> int:
        return len(self._lexical)

    def rarity(self, terms: set[int]) -> list[float]:
        """How rare each term is in this base, 1 where a single chunk holds it."""
        return self._lexical.rarity(terms)

    def catch_up(self) -> None:
        """Take in what changed since, whoever changed it. One look at a number where nothing did."""
        if self._library.revision(self.base_id) == self._revision:
            return
        with self._catching_up:
            revision, alive = self._library.alive(self.base_id)
            known = self._lexical.ids()
            self._lexical.remove(known - alive)
            missing = alive - known
            if missing:
                self._lexical.add(self._library.texts(self.base_id, missing))
            self._revision = revision

    def search(
        self, question: str, count: int, vectors: VectorStore | None = None, dense: Dense | None = None
    ) -> list[Found]:
        """The best chunks, best first; by words alone without `vectors`, or where those cannot be asked."""
        self.catch_up()
        deep = max(DEPTH, count)
        words = {hit.id: hit for hit in self._lexical.search(question, deep, everyday)}
        near: dict[str, float] = {}
        if vectors is not None and dense is not None and dense.trust > 0 and vectors.available:
            with suppress(KnowledgeError):  # what can be found by words is found
                near = dict(vectors.search(self.base_id, dense.embedding, question, deep))
        near = {id: similarity for id, similarity in near.items() if id in self._lexical}
        lexical, nearest = list(words), list(near)
        ranked = fused(lexical, nearest, dense.trust if dense else 0.0)[:count]
        ranks = {id: rank for rank, id in enumerate(lexical, 1)}, {id: rank for rank, id in enumerate(nearest, 1)}
        return [
            Found(
                id,
                ranks[0].get(id),
                ranks[1].get(id),
                words[id].score if id in words else 0.0,
                words[id].coverage if id in words else 0.0,
                near.get(id, 0.0),
            )
            for id in ranked
        ]


def fused(lexical: Sequence[str], dense: Sequence[str], trust: float) -> list[str]:
    """Two rankings in one; without trust the first one as it is."""
    scores: dict[str, float] = {}
    for ranking, weight in ((lexical, 1.0), (dense, trust)):
        for rank, id in enumerate(ranking if weight else (), 1):
            scores[id] = scores.get(id, 0.0) + weight / (_SMOOTHING + rank)
    return sorted(scores, key=lambda id: -scores[id])
