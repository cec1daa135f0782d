"""A base's tokenizer and the prompt layouts on it, each made at its first use. Knows no engine."""

from __future__ import annotations

import threading
from typing import Any

from anime_ai.models.bases import Base
from anime_ai.prompting import Layout


class Layouts:
    """What every engine has of its base without its weights."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self._tokenizer: Any = None
        self._made: dict[tuple[str, str], Layout] = {}
        self._lock = threading.Lock()

    def tokenizer(self) -> Any:
        """Raises ModelError where it cannot be read."""
        from anime_ai.models.transformers_engine import load_tokenizer

        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = load_tokenizer(self.base)
            return self._tokenizer

    def layout(self, format: str, think: str) -> Layout:
        if (format, think) not in self._made:
            self._made[format, think] = Layout(self.tokenizer(), format, think)
        return self._made[format, think]
