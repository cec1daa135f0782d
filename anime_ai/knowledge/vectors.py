"""Vectors in Chroma, embedded or on a server. They can all be made again from the database.

A collection belongs to one owner, such as a knowledge base, and one model, so that a switch of the model fills a new
one while the old one answers.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from anime_ai.config import Settings
from anime_ai.errors import AnimeAIError, KnowledgeError
from anime_ai.processes import Lock

BATCH = 500
MADE = 64
"""Vectors that are made between two looks at whether to stop: a model may take a second for as many."""
GALLERY = "gallery"
"""The owner of the vectors of pictures, which no change of the documents touches."""
Made = Callable[[set[str]], Mapping[str, Sequence[float]]]
"""The vectors of some ids, none for those that are gone meanwhile."""


class VectorStore:
    """Chroma at `where`: a folder, which one process holds at a time, or the URL of a server.

    `available` is False in a process that came second to a folder: what it finds, it finds by words alone.
    """

    def __init__(self, where: Path | str) -> None:
        self._where = where
        self._opening = threading.Lock()
        self._opened: Any = None
        self._lock = Lock(where / "writer.lock") if isinstance(where, Path) else None

    @classmethod
    def of(cls, settings: Settings) -> VectorStore:
        """The one of an output folder, or of the server that the settings name."""
        return cls(settings.chroma_url or settings.studio_dir / "vectors")

    @property
    def available(self) -> bool:
        return self._lock is None or self._lock.try_acquire()

    def close(self) -> None:
        """Let go of the folder."""
        with self._opening:
            if self._opened is not None:
                self._opened.close()
            self._opened = None
            if self._lock is not None:
                self._lock.release()

    def mend(self) -> None:
        """Delete a folder that cannot be read: all that is in it can be made again. Raises KnowledgeError."""
        try:
            with self._said():
                for collection in self._client().list_collections():
                    collection.get(limit=1, include=["embeddings"])
        except KnowledgeError:
            if not isinstance(self._where, Path) or not self.available:
                raise
            self.close()
            shutil.rmtree(self._where)

    def sync(self, owner: str, model: str, alive: set[str], made: Made, stop: threading.Event | None = None) -> None:
        """Make the collection hold the ids `alive` and no other. What is done stays done when it is stopped.

        Raises KnowledgeError.
        """
        with self._said():
            collection = self._collection(owner, model)
            held = set(collection.get(include=[])["ids"])
            gone, missing = sorted(held - alive), sorted(alive - held)
            for first in range(0, len(gone), BATCH):
                collection.delete(ids=gone[first : first + BATCH])
            for first in range(0, len(missing), MADE):
                if stop is not None and stop.is_set():
                    return
                found = made(set(missing[first : first + MADE]))
                if found:
                    collection.upsert(ids=list(found), embeddings=[list(map(float, one)) for one in found.values()])

    def search(self, owner: str, model: str, vector: Sequence[float], count: int) -> list[tuple[str, float]]:
        """The nearest ids and their cosine similarities, best first. Raises KnowledgeError."""
        with self._said():
            collection = self._collection(owner, model)
            most = min(count, collection.count())
            if most < 1:
                return []
            asked = [list(map(float, vector))]
            found = collection.query(query_embeddings=asked, n_results=most, include=["distances"])
            return [(id, 1.0 - distance) for id, distance in zip(found["ids"][0], found["distances"][0], strict=True)]

    def held(self, owner: str, model: str) -> dict[str, list[float]]:
        """Every id of a collection with its vector. Raises KnowledgeError."""
        with self._said():
            found = self._collection(owner, model).get(include=["embeddings"])
            return {
                id: [float(value) for value in one] for id, one in zip(found["ids"], found["embeddings"], strict=True)
            }

    def keep_only(self, kept: Sequence[tuple[str, str]]) -> None:
        """Delete all collections of documents but those of some owners and models."""
        names = {_name(owner, model) for owner, model in kept}
        with self._said():
            for collection in self._client().list_collections():
                if collection.name not in names and not collection.name.startswith(f"{GALLERY}-"):
                    self._client().delete_collection(collection.name)

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Chroma's own errors, which share no base, as KnowledgeError."""
        try:
            yield
        except AnimeAIError:
            raise
        except Exception as error:
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise KnowledgeError("knowledge.vectors", place=self._where, why=why) from error

    def _collection(self, owner: str, model: str) -> Any:
        return self._client().get_or_create_collection(
            _name(owner, model),
            embedding_function=None,
            metadata={"embedding": model},
            configuration={"hnsw": {"space": "cosine"}},
        )

    def _client(self) -> Any:
        import chromadb
        from chromadb.api.shared_system_client import SharedSystemClient
        from chromadb.config import Settings as ChromaSettings

        with self._opening:
            if self._opened is None:
                quiet = ChromaSettings(anonymized_telemetry=False)
                if isinstance(self._where, Path):
                    if not self.available:
                        raise KnowledgeError("knowledge.vectors_held", path=self._where)
                    try:
                        self._opened = chromadb.PersistentClient(str(self._where), settings=quiet)
                    except Exception:
                        # Chroma keeps by its path what it could not open, and would hand it out again.
                        SharedSystemClient._identifier_to_system.pop(str(self._where), None)
                        raise
                else:
                    url = urlsplit(self._where)
                    secure = url.scheme == "https"
                    port = url.port or (443 if secure else 8000)
                    self._opened = chromadb.HttpClient(url.hostname or "", port, secure, settings=quiet)
            return self._opened


def _name(owner: str, model: str) -> str:
    """Collections' names are ASCII: a model's name may be anything, a path for one."""
    return f"{owner}-{hashlib.sha256(model.encode()).hexdigest()[:12]}"
