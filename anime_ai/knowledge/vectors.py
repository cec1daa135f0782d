"""The vectors of chunks in Chroma, embedded or on a server. They can all be made again from the database.

A collection belongs to one base and one embedding, so that a switch of the embedding fills a new one while the old one
answers.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from anime_ai.errors import KnowledgeError
from anime_ai.knowledge.embedding import Embedding
from anime_ai.processes import Lock

BATCH = 500


class VectorStore:
    """Chroma at `where`: a folder, which one process holds at a time, or the URL of a server.

    `available` is False in a process that came second to a folder: what it finds, it finds by words alone.
    """

    def __init__(self, where: Path | str) -> None:
        self._where = where
        self._opening = threading.Lock()
        self._opened: Any = None
        self._lock = Lock(where / "writer.lock") if isinstance(where, Path) else None

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

    def sync(
        self,
        base_id: str,
        embedding: Embedding,
        alive: set[str],
        texts: Callable[[set[str]], Mapping[str, tuple[str, str]]],
        stop: threading.Event | None = None,
    ) -> None:
        """Make the collection hold the chunks `alive` and no other. What is done stays done when it is stopped.

        Raises KnowledgeError.
        """
        with self._said():
            collection = self._collection(base_id, embedding)
            held = set(collection.get(include=[])["ids"])
            gone, missing = sorted(held - alive), sorted(alive - held)
            for first in range(0, len(gone), BATCH):
                collection.delete(ids=gone[first : first + BATCH])
            for first in range(0, len(missing), BATCH):
                if stop is not None and stop.is_set():
                    return
                found = texts(set(missing[first : first + BATCH]))
                if found:
                    made = embedding.documents([text for text, _ in found.values()])
                    collection.upsert(ids=list(found), embeddings=made.tolist())

    def search(self, base_id: str, embedding: Embedding, question: str, count: int) -> list[tuple[str, float]]:
        """The nearest chunks and their cosine similarities, best first. Raises KnowledgeError."""
        with self._said():
            collection = self._collection(base_id, embedding)
            most = min(count, collection.count())
            if most < 1:
                return []
            asked = [embedding.question(question).tolist()]
            found = collection.query(query_embeddings=asked, n_results=most, include=["distances"])
            return [(id, 1.0 - distance) for id, distance in zip(found["ids"][0], found["distances"][0], strict=True)]

    def keep_only(self, kept: Sequence[tuple[str, Embedding]]) -> None:
        """Delete all collections but those of some bases and embeddings."""
        names = {_name(base_id, embedding.name) for base_id, embedding in kept}
        with self._said():
            for collection in self._client().list_collections():
                if collection.name not in names:
                    self._client().delete_collection(collection.name)

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Chroma's and the embedding's own errors, which share no base, as KnowledgeError."""
        try:
            yield
        except KnowledgeError:
            raise
        except Exception as error:
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise KnowledgeError("knowledge.vectors", place=self._where, why=why) from error

    def _collection(self, base_id: str, embedding: Embedding) -> Any:
        return self._client().get_or_create_collection(
            _name(base_id, embedding.name),
            embedding_function=None,
            metadata={"embedding": embedding.name},
            configuration={"hnsw": {"space": "cosine"}},
        )

    def _client(self) -> Any:
        import chromadb
        from chromadb.config import Settings as ChromaSettings

        with self._opening:
            if self._opened is None:
                quiet = ChromaSettings(anonymized_telemetry=False)
                if isinstance(self._where, Path):
                    if not self.available:
                        raise KnowledgeError("knowledge.vectors_held", path=self._where)
                    self._opened = chromadb.PersistentClient(str(self._where), settings=quiet)
                else:
                    url = urlsplit(self._where)
                    secure = url.scheme == "https"
                    port = url.port or (443 if secure else 8000)
                    self._opened = chromadb.HttpClient(url.hostname or "", port, secure, settings=quiet)
            return self._opened


def _name(base_id: str, embedding: str) -> str:
    """Collections' names are ASCII: an embedding's name may be anything, a path for one."""
    return f"{base_id}-{hashlib.sha256(embedding.encode()).hexdigest()[:12]}"
