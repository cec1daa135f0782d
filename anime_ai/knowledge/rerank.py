"""An optional second look: a cross-encoder reads the question beside each passage. Knows no index."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from anime_ai.errors import KnowledgeError


class Reranker:
    """A sentence-transformers cross-encoder by name or folder, as `BAAI/bge-reranker-base`; loaded at first use."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._model: Any = None
        self._loading = threading.Lock()

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers. Raises KnowledgeError where the model cannot be used."""
        if not texts:
            return []
        return [float(score) for score in self._loaded().predict([(question, text) for text in texts])]

    def _loaded(self) -> Any:
        from sentence_transformers import CrossEncoder

        with self._loading:
            if self._model is None:
                try:
                    self._model = CrossEncoder(self.name, trust_remote_code=False)
                except (OSError, ValueError, RuntimeError) as error:
                    why = str(error).split("\n")[0]
                    raise KnowledgeError("knowledge.reranker", name=self.name, why=why) from error
            return self._model
