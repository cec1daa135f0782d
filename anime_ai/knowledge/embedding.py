"""Texts to vectors: a hashed embedding that needs no download, and sentence-transformers models by name.

Knows no database.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from anime_ai.errors import AnimeAIError, KnowledgeError
from anime_ai.knowledge import tokens
from anime_ai.models.catalogue import entry
from anime_ai.models.fetching import fetch
from anime_ai.models.hub import cached, is_hub_id
from anime_ai.models.imports import one_at_a_time
from anime_ai.texts import text

Vectors = NDArray[np.float32]
HASHED = "hashed"
PREFIXES = {
    "BAAI/bge-small-zh-v1.5": "为这个句子生成表示以用于检索相关文章：",
    "BAAI/bge-base-zh-v1.5": "为这个句子生成表示以用于检索相关文章：",
    "BAAI/bge-large-zh-v1.5": "为这个句子生成表示以用于检索相关文章：",
}
"""What stands before a question, as each model's card asks."""
OFFERED = (HASHED, "BAAI/bge-small-zh-v1.5", "BAAI/bge-m3")


class Embedding(Protocol):
    """Unit vectors, (texts, dimensions). `name` tells one embedding from another."""

    @property
    def name(self) -> str: ...

    def documents(self, texts: Sequence[str]) -> Vectors: ...

    def question(self, text: str) -> Vectors:
        """One vector, (dimensions,)."""
        ...


@dataclass(frozen=True)
class Hashed:
    """Feature hashing with signs (Weinberger et al. 2009) of characters and pairs, each by the root of its count."""

    dimensions: int = 256
    name: str = HASHED

    def documents(self, texts: Sequence[str]) -> Vectors:
        found, counts = np.unique(tokens.keys(texts), return_counts=True)
        rows = (found & np.uint64(tokens.MOST_TEXTS - 1)).astype(np.int64)
        mixed = (found >> np.uint64(tokens.TEXT_BITS)) * np.uint64(0x9E3779B97F4A7C15)
        columns = ((mixed >> np.uint64(32)) % np.uint64(self.dimensions)).astype(np.int64)
        signs = np.where(mixed >> np.uint64(63), -1.0, 1.0)
        flat = np.bincount(
            rows * self.dimensions + columns, signs * np.sqrt(counts), minlength=len(texts) * self.dimensions
        )
        return _unit(flat.reshape(len(texts), self.dimensions))

    def question(self, text: str) -> Vectors:
        return self.documents([text])[0]


@dataclass(frozen=True)
class Transformer:
    """A sentence-transformers model, found or fetched, and loaded, at the first text. `name`: a folder or a Hub id."""

    name: str
    timeout: float = 8.0
    # Python has given `cached_property` no lock of its own since 3.12.
    _loading: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def documents(self, texts: Sequence[str]) -> Vectors:
        return self._read(texts)

    def question(self, text: str) -> Vectors:
        return self._read([PREFIXES.get(self.name, "") + text])[0]

    def _read(self, texts: Sequence[str]) -> Vectors:
        try:
            return _unit(self._model.encode(list(texts), batch_size=32, show_progress_bar=False))
        except AnimeAIError:
            raise
        except Exception as error:  # the libraries' own errors share no base
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise KnowledgeError("knowledge.embedding", name=self.name, why=why) from error

    @property
    def _model(self) -> Any:
        with self._loading:
            return self._loaded

    @cached_property
    def _loaded(self) -> Any:
        folder = folder_of(self.name)
        if folder is None:
            one = entry(self.name, "embedding")
            folder = fetch(one.id, one.files, self.timeout, needed=one.needed)
        with one_at_a_time:
            from sentence_transformers import SentenceTransformer

            how = {"use_safetensors": True}
            return SentenceTransformer(str(folder), trust_remote_code=False, model_kwargs=how)


def find_embedding(name: str, timeout: float = 8.0) -> Embedding:
    """The embedding of this name: `hashed`, a folder, or a sentence-transformers model of the Hub. Loads nothing.

    `timeout`: seconds until a Hub that is silent counts as out of reach.
    """
    return Hashed() if name in ("", HASHED) else Transformer(name, timeout)


def folder_of(name: str) -> Path | None:
    """Where a model lies on this disk, all of it; None where it has to be fetched.

    Raises KnowledgeError for what is neither a folder nor a Hub id.
    """
    folder = os.path.expanduser(name)
    if os.path.isdir(folder):
        return Path(folder)
    if not is_hub_id(name):
        raise KnowledgeError("knowledge.embedding", name=name[:200], why=text("knowledge.no_model"))
    there = [cached(name, file) for file in entry(name, "embedding").needed or ("modules.json", "model.safetensors")]
    return there[0].parent if there[0] and all(there) else None


def _unit(vectors: Any) -> Vectors:
    made = np.asarray(vectors, np.float32)
    return made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9)
