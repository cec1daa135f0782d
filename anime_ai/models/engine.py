"""The protocol between the chat and whatever runs a model: a prompt goes in, pieces of text come out."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Collection, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from anime_ai.errors import SettingsError
from anime_ai.models.bases import Base
from anime_ai.models.device import Device
from anime_ai.prompting import Layout, Prompt

BREAKERS = (*("\n", ":", '"', "*"), *"，。！？：；、…—～“”‘’「」『』（）《》【】")
"""Where a repetition begins anew: those that the method's author takes, and the punctuation of Chinese and Japanese."""
BOUNDS: dict[str, tuple[float, float]] = {
    "temperature": (0, 100),
    "top_p": (0, 1),
    "top_k": (0, 10**6),
    "min_p": (0, 1),
    "repetition_penalty": (0.01, 10**6),
    "dry_multiplier": (0, 100),
    "dry_base": (1, 4),
    "dry_allowed_length": (1, 10**4),
    "max_new_tokens": (1, 2**20),
    "seed": (0, 2**63 - 1),
    "logprobs": (0, 64),
}
"""What an engine can compute with; a page may offer less."""
_WHOLE = ("top_k", "dry_allowed_length", "max_new_tokens", "seed", "logprobs")


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn. Temperature 0 is greedy; the other filters are off at 0 (top-p and penalty at 1).

    The repetition penalty (Keskar et al. 2019, CTRL) looks at the answer alone, not at the prompt, so that a character
    may use the words that she is asked with. DRY (https://github.com/oobabooga/text-generation-webui/pull/5677) looks
    at both: a token that followed a run of `n` tokens, at least `dry_allowed_length`, which stands at the end once more
    loses `dry_multiplier * dry_base ** (n - dry_allowed_length)` of its logit; no run goes over one of `dry_breakers`
    or a control token. `logprobs` asks for the likelihood of every token and for so many of its likeliest rivals.
    Raises SettingsError for what lies outside of BOUNDS.
    """

    temperature: float = 0.6
    top_p: float = 0.95
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.05
    max_new_tokens: int = 256
    seed: int | None = None
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_breakers: tuple[str, ...] = BREAKERS
    logprobs: int | None = None

    def __post_init__(self) -> None:
        for name, (least, most) in BOUNDS.items():
            value = getattr(self, name)
            if value is None and name in ("seed", "logprobs"):
                continue
            kinds = int if name in _WHOLE else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
                raise SettingsError("settings.bounds", name=name, value=value, least=least, most=most)


GREEDY = Sampling(temperature=0.0, top_p=1.0, repetition_penalty=1.0)


@dataclass(frozen=True)
class Likelihood:
    """A token's natural log-probability as the model itself has it, before any penalty, temperature or filter, and the
    `best` tokens of its place, likeliest first. `id` is None where a server tells none."""

    id: int | None
    text: str
    logprob: float
    best: tuple[Likelihood, ...] = ()


@dataclass(frozen=True)
class Piece:
    """New text and the token ids behind it; `ended` on the last piece when the model itself ended its answer.

    `likelihoods` where they were asked for, one a token. `untold`: tokens that a server counted without their ids.
    """

    text: str
    ids: tuple[int, ...] = ()
    ended: bool = False
    likelihoods: tuple[Likelihood, ...] = ()
    untold: int = 0

    @property
    def tokens(self) -> int:
        return len(self.ids) + self.untold


def gathered(pieces: Iterable[Piece], within: float = 1 / 60) -> Iterator[Piece]:
    """The same text in fewer pieces: what comes less than `within` seconds behind the last piece goes with the next.

    What is done with a piece costs as much for one token as for ten, and small models make a token a millisecond on the
    cores that it is done on, while a screen shows sixty pictures a second. Where the pieces end in an error, what was
    held comes before it.
    """
    held: list[Piece] = []
    told = -math.inf
    try:
        for piece in pieces:
            held.append(piece)
            if piece.ended or time.monotonic() - told >= within:
                yield _together(held)
                held, told = [], time.monotonic()
    except Exception:
        if held:
            yield _together(held)
        raise
    if held:
        yield _together(held)


def _together(pieces: list[Piece]) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    return Piece(
        "".join(piece.text for piece in pieces),
        tuple(id for piece in pieces for id in piece.ids),
        pieces[-1].ended,
        tuple(one for piece in pieces for one in piece.likelihoods),
        sum(piece.untold for piece in pieces),
    )


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

    name: str
    """What people call it."""
    base: Base
    device: Device | None
    """What it computes with; None before it is loaded, and where another machine computes."""
    reading_pace: float | None
    """Prompt tokens a second, as last measured; None where that is not known or does not matter."""

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

    def forget(self, cache_keys: Collection[str]) -> None:
        """Lose what is kept under some keys, in memory and on the disk. Nobody is being answered under them."""
        ...

    def prepare(
        self, prompt: Prompt, adapter: Adapter | None = None, cache_key: str = "", stop: threading.Event | None = None
    ) -> None:
        """Read ahead, where that helps: with a key what a later answer of that conversation will stand behind, else the
        part that all conversations behind this prompt's card share."""
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
