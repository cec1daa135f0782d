"""The protocol between the chat and whatever runs a model: a prompt goes in, pieces of text come out."""

from __future__ import annotations

import threading
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from anime_ai.models.bases import Base
from anime_ai.models.device import Device
from anime_ai.prompting import Layout, Prompt


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn. Temperature 0 is greedy; the other filters are off at 0 (top-p and penalty at 1).

    The repetition penalty (Keskar et al. 2019, CTRL) looks at the answer alone, not at the prompt, so that a character
    may use the words that she is asked with.
    """

    temperature: float = 0.6
    top_p: float = 0.95
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.05
    max_new_tokens: int = 256
    seed: int | None = None


GREEDY = Sampling(temperature=0.0, top_p=1.0, repetition_penalty=1.0)


@dataclass(frozen=True)
class Piece:
    """New text and the token ids behind it; `ended` on the last piece when the model itself ended its answer."""

    text: str
    ids: tuple[int, ...] = ()
    ended: bool = False


@dataclass(frozen=True)
class Adapter:
    """A LoRA folder. Its `key` changes when it is trained again in the same place."""

    path: Path

    @property
    def key(self) -> str:
        weights = self.path / "adapter_model.safetensors"
        try:
            stamp = weights.stat()
        except OSError:
            return str(self.path)
        return f"{self.path}:{stamp.st_mtime_ns}:{stamp.st_size}"


class Engine(Protocol):
    """Runs one base model. Loading happens at the first use, never at construction."""

    base: Base
    device: Device | None
    """What it computes with; None before it is loaded, and where another machine computes."""

    @property
    def loaded(self) -> bool: ...

    def layout(self, format: str, think: str) -> Layout:
        """The prompt layout on this model's tokenizer."""
        ...

    def context_length(self) -> int:
        """Tokens that prompt and answer may have together."""
        ...

    def close(self) -> None:
        """Free the model once no generation runs any more; the next use loads it again."""
        ...

    def stream(
        self,
        prompt: Prompt,
        adapter: Adapter | None = None,
        cache_key: str = "",
        sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
        stop: threading.Event | None = None,
    ) -> Generator[Piece, None, None]:
        """Pieces of the answer as they come. `stop` is looked at on every token and while the prompt is read; closing
        the iterator frees everything. Raises ModelError when the model or the adapter cannot be used."""
        ...
