"""What the characters know: documents in, passages out. The page, the command line and the chat call this.

Opening it loads no model and no index: a base's index is made at its first question.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import threading
import time
from collections.abc import Container, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from anime_ai.config import Settings
from anime_ai.errors import AnimeAIError, KnowledgeError
from anime_ai.files import read_json
from anime_ai.knowledge import parsing
from anime_ai.knowledge.index import Index
from anime_ai.knowledge.lexical import Hit
from anime_ai.knowledge.passages import Citation, Passage, Rarity, cited, narrowed, of_chunk
from anime_ai.knowledge.rerank import Reranker
from anime_ai.knowledge.semantic import DEPTH, PAUSE, Semantic, fused
from anime_ai.knowledge.store import Library, StoredChunk
from anime_ai.knowledge.talk import asks, features
from anime_ai.knowledge.uploads import Entry, unpacked
from anime_ai.storage import Database

BEHIND = 0.6
"""A passage whose score is below this share of the best one's stays outside."""
MOST_PASSAGES = 3
RERANKED = 20
"""Passages that a reranker looks at."""
NARROW, WIDE = 120, 800
"""Characters of a passage that a small model is given, and any other."""
log = logging.getLogger("anime_ai.knowledge")


@dataclass(frozen=True)
class Added:
    """What became of one file: the document's id, or why there is none. `unchanged`: it was there already."""

    name: str
    document_id: str = ""
    unchanged: bool = False
    error: AnimeAIError | None = None


@dataclass(frozen=True)
class Retrieval:
    """What was looked for and what was found, best first; what is `used` enters the prompt, in this order.

    `why`: the key of the reason where nothing enters, "" where nobody looked. `cut`: the score that a passage needs.
    """

    question: str
    passages: tuple[Passage, ...] = ()
    why: str = ""
    cut: float = 0.0

    @property
    def used(self) -> tuple[Passage, ...]:
        return tuple(passage for passage in self.passages if passage.used)


class Knowledge:
    """See the module."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.library = Library(database)
        self.semantic = Semantic(settings, self.library)
        self.reranker = Reranker(settings.reranker, settings.hub_timeout) if settings.reranker else None
        self._indexes: dict[str, Index] = {}
        self._opening = threading.Lock()
        self._rested = 0.0

    def close(self) -> None:
        self.semantic.close()

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
        with unpacked(files, self.settings.studio_dir / "uploads") as (scratch, found):
            for name, path in _apart(found):
                if stop is not None and stop.is_set():
                    return
                if isinstance(path, KnowledgeError):
                    yield Added(name, error=path)
                else:
                    yield self._add(base_id, name, path, scratch, person, stop)

    def paste(self, base_id: str, name: str, text: str, person: str = "") -> str:
        """Store a text that somebody typed; the document's id. A name that is taken gets a number."""
        if len(text) > parsing.MOST_CHARACTERS:  # before it is taken apart
            raise KnowledgeError("knowledge.too_long", most=parsing.MOST_CHARACTERS, blocks=parsing.MOST_BLOCKS)
        content = text.encode("utf-8", "replace")
        blocks = parsing.read(content, "text.md")
        taken = {info.name for info in self.library.documents(base_id, person)}
        return self.library.put(base_id, _free(name, taken), hashlib.sha256(content).hexdigest(), blocks, person)

    def import_book(self, file: Path, name: str, person: str = "", persona: str = "") -> str:
        """A lorebook, or a card that holds one, as a base of its own that is called like it; the base's id.

        Raises KnowledgeError, and leaves no base, where the file holds none.
        """
        with unpacked([], self.settings.studio_dir / "uploads") as (scratch, _):
            blocks = parsing.parse(file, name, scratch)
        if parsing.known(name) != ".json" or blocks[0].kind != "heading":  # of all JSON a lorebook alone has headings
            raise KnowledgeError("knowledge.no_lorebook", name=name)
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        taken = {one.name for one in self.library.bases(person)}
        base_id = self.library.create(_free(Path(name).stem, taken), person, persona)
        self.library.put(base_id, name, sha256, blocks, person)
        return base_id

    def remove_base(self, base_id: str, person: str = "") -> None:
        """Delete a base, its documents and its vectors for good."""
        self.library.remove_base(base_id, person)
        self._indexes.pop(base_id, None)
        self.semantic.drop_soon()

    def search(self, question: str, base_ids: Sequence[str], count: int = 5) -> list[Passage]:
        """The best passages of some bases, best first, each with its ranks and score.

        Raises KnowledgeError or ModelError where the reranker of the settings cannot be used.
        """
        found = self._found(question, base_ids, count)
        return (self._reranked(question, found) or found)[:count]

    def _found(self, question: str, base_ids: Sequence[str], count: int) -> list[Passage]:
        """The best passages by words and vectors, and as many more as a reranker looks at."""
        words: dict[str, Hit] = {}
        near: dict[str, float] = {}
        depth = max(DEPTH, count)
        indexes = {base_id: self._index(base_id) for base_id in dict.fromkeys(base_ids)}
        # A word is as rare as it is in all of them: in a base of three documents none would be.
        held = [index.held(question) for index in indexes.values()]
        totals, counts = [total for total, _ in held], [counts for _, counts in held]
        everywhere = (sum(totals), np.sum(counts, axis=0)) if held else None
        for base_id, index in indexes.items():
            words.update({hit.id: hit for hit in index.search(question, depth, everywhere)})
            near.update({id: alike for id, alike in self.semantic.nearest(base_id, question, depth) if id in index})
        lexical = sorted(words, key=lambda id: (-words[id].score, id))
        dense = sorted(near, key=lambda id: (-near[id], id))
        ranked = fused(lexical, dense, self.semantic.dense.trust)[: max(count, RERANKED if self.reranker else 0)]
        ranks = [{id: rank for rank, id in enumerate(order, 1)} for order in (lexical, dense)]
        chunks: dict[str, StoredChunk] = {}
        for index in indexes.values():
            chunks |= index.chunks([id for id in ranked if id in index])
        return [
            replace(
                of_chunk(chunks[id]),
                score=words[id].score if id in words else 0.0,
                coverage=words[id].coverage if id in words else 0.0,
                lexical_rank=ranks[0].get(id),
                dense_rank=ranks[1].get(id),
            )
            for id in ranked
            if id in chunks
        ]

    def _reranked(self, question: str, found: Sequence[Passage]) -> list[Passage]:
        """What was found in the reranker's order; nothing where there is none, or it is on its way here."""
        scores = self.reranker.scores(question, [passage.told() for passage in found]) if self.reranker else []
        return [found[place] for place in sorted(range(len(scores)), key=lambda place: -scores[place])]

    def _reranked_for_chat(self, question: str, found: Sequence[Passage]) -> list[Passage]:
        """`_reranked`; a reranker that cannot be used stops no answer, and is left alone for a while."""
        if time.monotonic() < self._rested:
            return []
        try:
            return self._reranked(question, found)
        except AnimeAIError as error:
            log.warning("nothing is ranked again: %s", error)
            self._rested = time.monotonic() + PAUSE
            return []

    def retrieve(
        self, question: str, base_ids: Sequence[str], small: bool = False, legible: int | None = None
    ) -> Retrieval:
        """What a turn of the chat brings along for `question`. `small`: for a model that reads short passages only.
        `legible`: characters that are read in the time that somebody waits; the passages share them."""
        if not base_ids:
            return Retrieval(question)
        found = self._found(question, base_ids, MOST_PASSAGES + 2)
        again = self._reranked_for_chat(question, found)
        found = (again or found)[: MOST_PASSAGES + 2]
        if not found:
            return Retrieval(question, (), "knowledge.why.nothing")
        if not asks(self._features(question, found, base_ids)):
            why = "knowledge.why.small_talk"
            return Retrieval(question, tuple(replace(one, used=False, why=why) for one in found), why)
        cut = 0.0 if again else BEHIND * max(passage.score for passage in found)
        whys = []
        for place, passage in enumerate(found):
            near = passage.dense_rank is not None and passage.dense_rank <= MOST_PASSAGES
            why = "knowledge.why.behind" if passage.score < cut and not near else ""
            why = "knowledge.why.enough" if place >= (1 if small else MOST_PASSAGES) else why
            whys.append(why)
        width = NARROW if small else WIDE
        if legible is not None:
            width = min(width, max(NARROW, legible // max(1, whys.count(""))))
        told = [
            replace(narrowed(one, question, width), used=not why, why=why) for one, why in zip(found, whys, strict=True)
        ]
        return Retrieval(question, tuple(told), cut=cut)

    def features(self, question: str, base_ids: Sequence[str]) -> tuple[float, ...]:
        """What tells a question from small talk, in numbers."""
        return self._features(question, self.search(question, base_ids, MOST_PASSAGES), base_ids)

    def _features(self, question: str, found: Sequence[Passage], base_ids: Sequence[str]) -> tuple[float, ...]:
        first = found[:MOST_PASSAGES]
        texts, titles = [passage.text for passage in first], [passage.document for passage in first]
        return features(question, texts, titles, self._rarity(base_ids))

    def cite(self, answer: str, retrieval: Retrieval, base_ids: Sequence[str]) -> list[Citation]:
        """Which sentences of an answer rest on which of the passages that it was given (from 1)."""
        return cited(answer, retrieval.used, retrieval.question, self._rarity(base_ids))

    def _rarity(self, base_ids: Sequence[str]) -> Rarity:
        """How rare some terms are: in the base where each is least so."""
        indexes = [self._index(base_id) for base_id in base_ids]

        def rarity(terms: Set[int]) -> list[float]:
            told = [one.rarity(terms) for one in indexes if len(one)]
            return [min(values) for values in zip(*told, strict=True)] if told else [0.0] * len(terms)

        return rarity

    def _index(self, base_id: str) -> Index:
        with self._opening:
            if base_id not in self._indexes:
                self._indexes[base_id] = Index(self.library, base_id)
            return self._indexes[base_id]

    def _add(
        self, base_id: str, name: str, path: Path, scratch: Path, person: str, stop: threading.Event | None
    ) -> Added:
        try:
            if path.stat().st_size > self.settings.max_upload_mb * 2**20:
                raise KnowledgeError("knowledge.too_big", most=self.settings.max_upload_mb)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            there = self.library.holds(base_id, name, sha256)
            if there:
                return Added(name, there, unchanged=True)
            blocks = parsing.parse(path, name, scratch, stop)
            return Added(name, self.library.put(base_id, name, sha256, blocks, person))
        except AnimeAIError as error:
            return Added(name, error=error)
        except OSError as error:
            return Added(name, error=KnowledgeError("knowledge.unreadable", why=error.strerror or error))


def _apart(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Files of one upload, those of the same name numbered: a browser sends a folder's files without their folders."""
    seen: set[str] = set()
    for name, path in entries:
        stem, dot, kind = name.rpartition(".") if name.rpartition(".")[0] else (name, "", "")
        free = _free(stem, seen, dot + kind)
        seen.add(free)
        yield free, path


def _free(stem: str, taken: Container[str], end: str = "") -> str:
    """The name, or the first numbered one, that is not taken."""
    numbered = (f"{stem} ({number}){end}" for number in itertools.count(2))
    return next(free for free in itertools.chain((stem + end,), numbered) if free not in taken)
