"""Texts to vectors: a hashed embedding that needs no download, and sentence-transformers models by name.

Knows no database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from anime_ai.errors import KnowledgeError
from anime_ai.knowledge import tokens

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
    """A sentence-transformers model, loaded at the first text."""

    name: str
    path: str

    def documents(self, texts: Sequence[str]) -> Vectors:
        return _unit(self._model.encode(list(texts), batch_size=32, show_progress_bar=False))

    def question(self, text: str) -> Vectors:
        said = PREFIXES.get(self.name, "") + text
        return _unit(self._model.encode([said], show_progress_bar=False))[0]

    @cached_property
    def _model(self) -> Any:
        from sentence_transformers import SentenceTransformer

        try:
            return SentenceTransformer(self.path, trust_remote_code=False, model_kwargs={"use_safetensors": True})
        except (OSError, ValueError, RuntimeError) as error:
            raise KnowledgeError("knowledge.embedding", name=self.name, why=str(error).split("\n")[0]) from error


def find_embedding(name: str) -> Embedding:
    """The embedding of this name: `hashed`, a folder, or a sentence-transformers model of the hub."""
    return Hashed() if name in ("", HASHED) else Transformer(name, name)


def _unit(vectors: Any) -> Vectors:
    made = np.asarray(vectors, np.float32)
    return made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9)
