"""What can be found by words in one base, kept up with the database. Knows no vectors and no documents.

A word of a question counts by its rarity among the chunks and by its rarity in everyday talk: 哪天 is rare in
documents, and says nothing of what is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from anime_ai.knowledge.lexical import Held, Hit, Lexical
from anime_ai.knowledge.store import Library, StoredChunk
from anime_ai.knowledge.talk import everyday

KEPT = 200
"""Chunks that were found lately and are not asked for again while nothing changes."""


class Index:
    """The index of one base. Threads may share it; a search first catches up with the database."""

    def __init__(self, library: Library, base_id: str) -> None:
        self._library = library
        self.base_id = base_id
        self._lexical = Lexical()
        self._revision = -2
        self._found: dict[str, StoredChunk] = {}
        self._catching_up = threading.Lock()

    def __len__(self) -> int:
        return len(self._lexical)

    def __contains__(self, id: str) -> bool:
        return id in self._lexical

    def rarity(self, terms: Iterable[int]) -> list[float]:
        """How rare each term is in this base, 1 where a single chunk holds it."""
        return self._lexical.rarity(terms)

    def held(self, question: str) -> Held:
        """How many chunks there are, and how many hold each term of a question."""
        self.catch_up()
        return self._lexical.held(question)

    def search(self, question: str, count: int, everywhere: Held | None = None) -> list[Hit]:
        """The best chunks by words, best first. `everywhere`: what all the bases hold that are asked together, this one
        among them: `held` has caught up then."""
        if everywhere is None:
            self.catch_up()
        return self._lexical.search(question, count, everyday, everywhere)

    def chunks(self, ids: Sequence[str]) -> dict[str, StoredChunk]:
        """Chunks out of what was found just now; those that are gone meanwhile are left out."""
        kept = self._found
        found = {id: kept[id] for id in ids if id in kept}
        if len(found) < len(ids):
            found |= self._library.by_id([id for id in ids if id not in found])
            # Another one's place is taken by a new dictionary, never changed: a catch-up may have emptied it.
            if self._found is kept:
                self._found = {**(kept if len(kept) + len(ids) <= KEPT else {}), **found}
        return found

    def catch_up(self) -> None:
        """Take in what changed since, whoever changed it. One look at a number where nothing did.

        Of a document in which something is new all chunks are indexed again, because they count together.
        """
        if self._library.revision(self.base_id) == self._revision:
            return
        with self._catching_up:
            revision, alive = self._library.alive(self.base_id)
            known = self._lexical.ids()
            fresh = self._library.texts(self.base_id, alive - known) if alive - known else {}
            documents = {document for _, document in fresh.values()}
            beside = {id for id in alive & known if self._lexical.group(id) in documents}
            fresh |= self._library.texts(self.base_id, beside) if beside else {}
            self._lexical.replace(known - alive, fresh)
            self._revision, self._found = revision, {}
