"""What the characters know: documents in, passages out. The page, the command line and the chat call this.

Opening it loads no model and no index: a base's index is made at its first question.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from anime_ai.config import Settings
from anime_ai.errors import AnimeAIError, KnowledgeError
from anime_ai.files import read_json, write_json
from anime_ai.knowledge import parsing
from anime_ai.knowledge.embedding import HASHED, find_embedding
from anime_ai.knowledge.index import Dense, Index
from anime_ai.knowledge.passages import Citation, Passage, Rarity, cited, narrowed, of_chunk
from anime_ai.knowledge.rerank import Reranker
from anime_ai.knowledge.store import Library
from anime_ai.knowledge.talk import asks, features
from anime_ai.knowledge.uploads import unpacked
from anime_ai.knowledge.vectors import VectorStore
from anime_ai.storage import Database

BEHIND = 0.6
"""A passage whose score is below this share of the best one's stays outside."""
MOST_PASSAGES = 3
RERANKED = 20
"""Passages that a reranker looks at."""
NARROW = 120
"""Characters of a passage that a small model is given."""


@dataclass(frozen=True)
class Added:
    """What became of one file: the document's id, or why there is none. `unchanged`: it was there already."""

    name: str
    document_id: str = ""
    unchanged: bool = False
    error: AnimeAIError | None = None


@dataclass(frozen=True)
class Retrieval:
    """What was looked for and what was found, best first; what is `used` enters the prompt, in this order."""

    question: str
    passages: tuple[Passage, ...] = ()
    why: str = ""

    @property
    def used(self) -> tuple[Passage, ...]:
        return tuple(passage for passage in self.passages if passage.used)


class Knowledge:
    """See the module."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.library = Library(database)
        where = settings.chroma_url or settings.studio_dir / "vectors"
        self.vectors = VectorStore(where)
        self.reranker = Reranker(settings.reranker) if settings.reranker else None
        self._chosen = settings.studio_dir / "embedding.json"
        self.dense = self._chosen_before()
        self._indexes: dict[str, Index] = {}
        self._opening = threading.Lock()
        self._filling = threading.Lock()
        self._filled: dict[str, int] = {}
        self._closing = threading.Event()

    def close(self) -> None:
        """Let go of the vectors; what was being filled goes on at the next start."""
        self._closing.set()
        with self._filling:
            self.vectors.close()

    def import_shipped(self, folder: Path) -> str | None:
        """Make the base that comes with the program, at the first start only; its id, None where it was made before.

        A start that ended in the middle is finished by the next one.
        """
        told = read_json(folder / "index.json")
        base_id = self.library.begin_shipped(told) if isinstance(told, dict) else None
        if base_id is None:
            return None
        for file in sorted(folder.glob("*.md")):
            content = file.read_bytes()
            blocks = parsing.read(content, file.name)
            self.library.put(base_id, file.name, hashlib.sha256(content).hexdigest(), blocks)
        self.library.end_shipped(base_id)
        return base_id

    def add(
        self, base_id: str, files: Sequence[Path], person: str = "", stop: threading.Event | None = None
    ) -> Iterator[Added]:
        """Read files, folders and zips into a base, one result a file, whatever becomes of the others.

        Setting `stop` ends it: the file at hand is left out, those before it stay. Raises KnowledgeError for a base
        that is not there.
        """
        self.library.documents(base_id, person)
        with unpacked(files, self.settings.studio_dir / "uploads") as found:
            for name, path in found:
                if stop is not None and stop.is_set():
                    return
                if isinstance(path, KnowledgeError):
                    yield Added(name, error=path)
                else:
                    yield self._add(base_id, name, path, person, stop)

    def paste(self, base_id: str, name: str, text: str, person: str = "") -> str:
        """Store a text that somebody typed; the document's id."""
        content = text.encode("utf-8", "replace")
        blocks = parsing.read(content, "text.md")
        return self.library.put(base_id, name, hashlib.sha256(content).hexdigest(), blocks, person)

    def search(self, question: str, base_ids: Sequence[str], count: int = 5) -> list[Passage]:
        """The best passages of some bases, best first, each with its ranks and score."""
        found: list[Passage] = []
        deep = max(count, RERANKED) if self.reranker else count
        for base_id in base_ids:
            self._keep_up(base_id)
            hits = self._index(base_id).search(question, deep, self.vectors, self.dense)
            chunks = self.library.by_id([hit.id for hit in hits])
            for hit in hits:
                if hit.id in chunks:
                    found.append(
                        replace(
                            of_chunk(chunks[hit.id]),
                            score=hit.lexical,
                            lexical_rank=hit.lexical_rank,
                            dense_rank=hit.dense_rank,
                            coverage=hit.coverage,
                        )
                    )
        if len(base_ids) > 1:
            found.sort(key=lambda passage: -passage.score)
        if self.reranker:
            scores = self.reranker.scores(question, [passage.told() for passage in found[:RERANKED]])
            order = sorted(range(len(scores)), key=lambda place: -scores[place])
            found = [found[place] for place in order]
        return found[:count]

    def rebuild(self, base_id: str) -> None:
        """Make the vectors of a base where they are missing, and drop those of other embeddings."""
        self._fill(base_id, self.dense)
        self.vectors.drop(base_id, but=[self.dense.embedding])

    def use(self, name: str) -> Dense:
        """Switch to another embedding: tried on the questions that ship, then filled while the old one answers.

        Takes as long as that takes. Raises KnowledgeError for one that cannot be used; the old one stays.
        """
        from anime_ai.knowledge.trust import measure

        embedding = find_embedding(name)
        dense = Dense(embedding, measure(embedding).trust)
        bases = self.library.everything()
        for base_id in bases:
            if dense.trust > 0:
                self._fill(base_id, dense)
        self.dense = dense
        write_json(self._chosen, {"embedding": embedding.name, "trust": dense.trust})
        for base_id in bases:
            self.vectors.drop(base_id, but=[embedding])
        return dense

    def _chosen_before(self) -> Dense:
        """The embedding that was switched to, unless the settings name another one, which is then to be tried."""
        told = read_json(self._chosen)
        name = self.settings.embedding or HASHED
        if isinstance(told, dict) and name in (HASHED, told.get("embedding")):
            return Dense(find_embedding(str(told["embedding"])), float(told["trust"]))
        return Dense(find_embedding(name), 0.0)

    def _keep_up(self, base_id: str) -> None:
        """Let the vectors catch up behind the search's back, where they are asked at all."""
        if self.dense.trust <= 0 or self._filled.get(base_id) == self.library.revision(base_id):
            return
        if self.vectors.available and self._filling.acquire(blocking=False):
            self._filling.release()
            threading.Thread(target=self._fill_quietly, args=(base_id, self.dense), daemon=True).start()

    def _fill_quietly(self, base_id: str, dense: Dense) -> None:
        with suppress(AnimeAIError):  # the next search tries again, and finds by words meanwhile
            self._fill(base_id, dense)

    def _fill(self, base_id: str, dense: Dense) -> None:
        with self._filling:
            revision, alive = self.library.alive(base_id)
            texts = partial(self.library.texts, base_id)
            self.vectors.sync(base_id, dense.embedding, alive, texts, self._closing)
            self._filled[base_id] = revision

    def retrieve(self, question: str, base_ids: Sequence[str], small: bool = False) -> Retrieval:
        """What a turn of the chat brings along for `question`. `small`: for a model that reads short passages only."""
        found = self.search(question, base_ids, MOST_PASSAGES + 2) if base_ids else []
        if not found:
            return Retrieval(question, (), "knowledge.why.nothing")
        if not asks(self._features(question, found, base_ids)):
            return Retrieval(question, tuple(replace(one, used=False, why="knowledge.why.small_talk") for one in found))
        judged = []
        for place, passage in enumerate(found):
            far = passage.dense_rank is None and passage.score < BEHIND * found[0].score
            why = "knowledge.why.behind" if far else ""
            why = "knowledge.why.enough" if place >= (1 if small else MOST_PASSAGES) else why
            judged.append(replace(narrowed(passage, question, NARROW) if small else passage, used=not why, why=why))
        return Retrieval(question, tuple(judged))

    def features(self, question: str, base_ids: Sequence[str]) -> tuple[float, ...]:
        """What tells a question from small talk, in numbers."""
        return self._features(question, self.search(question, base_ids, MOST_PASSAGES), base_ids)

    def _features(self, question: str, found: Sequence[Passage], base_ids: Sequence[str]) -> tuple[float, ...]:
        return features(question, [passage.text for passage in found[:MOST_PASSAGES]], self._rarity(base_ids))

    def cite(self, answer: str, retrieval: Retrieval, base_ids: Sequence[str]) -> list[Citation]:
        """Which sentences of an answer rest on which of the passages that it was given (from 1)."""
        return cited(answer, retrieval.used, retrieval.question, self._rarity(base_ids))

    def _rarity(self, base_ids: Sequence[str]) -> Rarity:
        """How rare some terms are: in the base where each is least so."""
        indexes = [self._index(base_id) for base_id in base_ids]
        return lambda terms: [min(values) for values in zip(*(one.rarity(terms) for one in indexes), strict=True)]

    def _index(self, base_id: str) -> Index:
        with self._opening:
            if base_id not in self._indexes:
                self._indexes[base_id] = Index(self.library, base_id)
            return self._indexes[base_id]

    def _add(self, base_id: str, name: str, path: Path, person: str, stop: threading.Event | None) -> Added:
        try:
            if path.stat().st_size > self.settings.max_upload_mb * 2**20:
                raise KnowledgeError("knowledge.too_big", most=self.settings.max_upload_mb)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            unchanged = self.library.holds(base_id, name, sha256)
            blocks = [] if unchanged else parsing.parse(path, name, stop)
            return Added(name, self.library.put(base_id, name, sha256, blocks, person), unchanged)
        except AnimeAIError as error:
            return Added(name, error=error)
        except OSError as error:
            return Added(name, error=KnowledgeError("knowledge.unreadable", why=error.strerror or error))
