"""The search by vectors: which embedding, how far it is believed, filled behind the search's back. Knows no words.

The two rankings are fused as 1 / (60 + rank) (Cormack et al. 2009), the vectors' by their trust: how much they were
measured to help, 0 for the hashed embedding, which is measured to harm. What is not believed is not filled.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from anime_ai.config import Settings
from anime_ai.errors import AnimeAIError, KnowledgeError
from anime_ai.files import read_json, write_json
from anime_ai.knowledge.embedding import HASHED, Embedding, find_embedding
from anime_ai.knowledge.store import Library
from anime_ai.knowledge.vectors import VectorStore

DEPTH = 50
"""How far down the ranking by words and the one by vectors are read."""
PAUSE = 60.0
"""Seconds for which a model that could not be asked is left alone: one that is gone costs a wait each time."""
_SMOOTHING = 60
log = logging.getLogger("anime_ai.knowledge")


@dataclass(frozen=True)
class Dense:
    """How the vectors are asked, and how much their ranks count beside those of the words (1: as much)."""

    embedding: Embedding
    trust: float


class Semantic:
    """See the module. Threads may share it. `untried`: the settings name an embedding that `rebuild` has not seen."""

    def __init__(self, settings: Settings, library: Library) -> None:
        self._library = library
        self.vectors = VectorStore.of(settings)
        self._timeout = settings.hub_timeout
        self._chosen = settings.studio_dir / "embedding.json"
        self.dense = self._chosen_before(settings.embedding)
        self._filling = threading.Lock()
        self._filled: dict[tuple[str, str], int] = {}
        self._coming: Dense | None = None
        self._closing = threading.Event()
        self._switching = threading.Lock()
        self._rested = 0.0

    def close(self) -> None:
        """Let go of the vectors; what was being filled goes on at the next start."""
        self._closing.set()
        with self._filling:
            self.vectors.close()

    def nearest(self, base_id: str, question: str, count: int) -> list[tuple[str, float]]:
        """The nearest chunks and their similarities, none where vectors are not believed or cannot be asked."""
        if self.dense.trust <= 0 or time.monotonic() < self._rested:
            return []
        try:
            if self.vectors.available:
                self._keep_up(base_id)
                embedding = self.dense.embedding
                return self.vectors.search(base_id, embedding.name, embedding.question(question).tolist(), count)
        except AnimeAIError as error:  # what can be found by words is found
            log.warning("found by words alone: %s", error)
            self._rested = time.monotonic() + PAUSE
        return []

    def rebuild(self) -> Dense:
        """Try the embedding anew, and make the vectors where they are missing."""
        return self.use(self.dense.embedding.name)

    def switch(self, name: str) -> Future[Dense]:
        """`use` behind the caller's back: nobody has to wait for it, and it ends with the process."""
        done: Future[Dense] = Future()

        def work() -> None:
            try:
                done.set_result(self.use(name))
            except BaseException as error:
                done.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        return done

    def use(self, name: str) -> Dense:
        """Switch to another embedding: tried on the questions that ship, then filled while the old one answers.

        Takes as long as that takes, a download included. Raises KnowledgeError, or ModelError where the model cannot
        be fetched; the old embedding stays then.
        """
        from anime_ai.knowledge.trust import measure

        if not self.vectors.available:
            raise KnowledgeError("knowledge.vectors_held", path=self._chosen.parent / "vectors")
        if not self._switching.acquire(blocking=False):
            raise KnowledgeError("knowledge.switching")
        try:
            embedding = find_embedding(name, self._timeout)
            dense = Dense(embedding, measure(embedding).trust)
            self.vectors.mend()
            self._filled.clear()
            self._coming = dense
            for base_id in self._library.everything():
                self._fill(base_id, dense)
            if self._closing.is_set():
                return self.dense
            self.dense, self.untried, self._rested = dense, False, 0.0
            write_json(self._chosen, {"embedding": embedding.name, "trust": dense.trust})
            self.drop_others()
            return dense
        finally:
            self._coming = None
            self._switching.release()

    def drop_others(self) -> None:
        """Delete the vectors of embeddings that are neither asked nor being switched to, and of bases that are gone."""
        with self._filling:
            if self._closing.is_set():
                return
            names = {one.embedding.name for one in (self.dense, self._coming) if one is not None}
            kept = [(base_id, name) for base_id in self._library.everything() for name in names]
            self._filled = {key: revision for key, revision in self._filled.items() if key in kept}
            self.vectors.keep_only(kept)

    def drop_soon(self) -> None:
        """`drop_others` behind the caller's back: who deletes a base does not wait until another one is filled."""

        def work() -> None:
            with suppress(AnimeAIError):  # a later clean-up finds them
                self.drop_others()

        threading.Thread(target=work, name="knowledge-dropping", daemon=True).start()

    def _chosen_before(self, named: str) -> Dense:
        """The embedding that the settings name, else the one that was switched to; tried is only the latter."""
        told = read_json(self._chosen)
        told = told if isinstance(told, dict) else {}
        name = named or str(told.get("embedding") or HASHED)
        trust = told.get("trust") if told.get("embedding") == name else 0.0
        self.untried = told.get("embedding", HASHED) != name
        return Dense(find_embedding(name, self._timeout), float(trust) if isinstance(trust, (int, float)) else 0.0)

    def _keep_up(self, base_id: str) -> None:
        dense = self.dense
        if self._filling.locked():  # the next search looks again
            return
        if self._filled.get((base_id, dense.embedding.name)) != self._library.revision(base_id):
            threading.Thread(target=self._fill_quietly, args=(base_id, dense), daemon=True).start()

    def _fill_quietly(self, base_id: str, dense: Dense) -> None:
        with suppress(AnimeAIError):  # the next search tries again
            self._fill(base_id, dense, quiet=True)

    def _fill(self, base_id: str, dense: Dense, quiet: bool = False) -> None:
        """Make a base's vectors what the database says. `quiet`: for a search, moot after a switch."""
        with self._filling:
            key = base_id, dense.embedding.name
            revision, alive = self._library.alive(base_id)
            over = quiet and dense is not self.dense
            if dense.trust <= 0 or self._closing.is_set() or over or self._filled.get(key) == revision:
                return
            made = partial(self._made, base_id, dense.embedding)
            self.vectors.sync(base_id, dense.embedding.name, alive, made, self._closing)
            self._filled[key] = revision

    def _made(self, base_id: str, embedding: Embedding, ids: set[str]) -> dict[str, list[float]]:
        """The vectors of some chunks that are still there."""
        texts = self._library.texts(base_id, ids)
        vectors = embedding.documents([text for text, _ in texts.values()]).tolist() if texts else []
        return dict(zip(texts, vectors, strict=True))


def fused(lexical: Sequence[str], dense: Sequence[str], trust: float) -> list[str]:
    """Two rankings in one; without trust the first one as it is."""
    scores: dict[str, float] = {}
    for ranking, weight in ((lexical, 1.0), (dense, trust)):
        for rank, id in enumerate(ranking if weight else (), 1):
            scores[id] = scores.get(id, 0.0) + weight / (_SMOOTHING + rank)
    return sorted(scores, key=lambda id: -scores[id])
