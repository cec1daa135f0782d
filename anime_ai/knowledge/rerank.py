"""An optional second look: a cross-encoder reads the question beside each passage. Knows no index."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anime_ai.errors import AnimeAIError, KnowledgeError, ModelError
from anime_ai.models.bases import check_folder
from anime_ai.models.catalogue import BASE_FILES
from anime_ai.models.fetching import fetch
from anime_ai.models.hub import cached, is_hub_id
from anime_ai.models.imports import one_at_a_time


class Reranker:
    """A sentence-transformers cross-encoder by name or folder, as `BAAI/bge-reranker-base`; found or fetched, and
    loaded, at first use. `timeout`: seconds until a hub that is silent counts as out of reach."""

    def __init__(self, name: str, timeout: float = 8.0) -> None:
        self.name, self.timeout = name, timeout
        self._model: Any = None
        self._loading = threading.Lock()

    @property
    def folder(self) -> Path | None:
        """Where it lies on this disk, whole; None where it does not."""
        folder = os.path.expanduser(self.name)
        if os.path.isdir(folder):
            return Path(folder)
        found = cached(self.name, "config.json") if is_hub_id(self.name) else None
        try:
            if found is not None:
                check_folder(found.parent, self.name)
        except ModelError:
            return None
        return found.parent if found else None

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers; none while the model is on its way here already. Raises KnowledgeError where it
        cannot be used, ModelError where it cannot be fetched."""
        try:
            asked = [(question, text) for text in texts]
            return [float(score) for score in self._loaded().predict(asked)] if asked else []
        except AnimeAIError as error:
            if error.key == "model.arriving_elsewhere":
                return []
            raise
        except Exception as error:  # the libraries' own errors share no base
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise KnowledgeError("knowledge.reranker", name=self.name, why=why) from error

    def _loaded(self) -> Any:
        with self._loading:
            if self._model is None:
                folder = self.folder or self._fetched()
                with one_at_a_time:
                    from sentence_transformers import CrossEncoder

                    how = {"use_safetensors": True}
                    self._model = CrossEncoder(str(folder), trust_remote_code=False, model_kwargs=how)
            return self._model

    def _fetched(self) -> Path:
        if not is_hub_id(self.name):
            raise ValueError(self.name[:200])
        return fetch(self.name, BASE_FILES, self.timeout)
