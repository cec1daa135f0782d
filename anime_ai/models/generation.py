"""One answer from a transformers model: reading the prompt, drawing tokens, turning them into text.

Knows neither adapters nor locks; the engine and the trainer's probes both call it.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from anime_ai.models.engine import Piece, Sampling
from anime_ai.prompting import Prompt

READ = {"cpu": 64}
"""Prompt tokens that are read between two looks at the stop event: so few that a CPU with a 1.5 B model looks every
second or so."""
READ_FAST = 512


@dataclass
class KeptCache:
    """A key/value cache, what the model's forward calls it, and the tokens that are in it."""

    cache: Any
    argument: str
    ids: list[int] = field(default_factory=list)

    def rewind(self, prompt: tuple[int, ...]) -> int:
        """Keep the longest common prefix with `prompt`, less its last token, which must be read for its logits."""
        common = 0
        for have, want in zip(self.ids, prompt[:-1], strict=False):
            if have != want:
                break
            common += 1
        if len(self.ids) > common:
            # A negative number removes that many tokens in every release of transformers that we allow.
            self.cache.crop(common - len(self.ids))
            del self.ids[common:]
        return common


def new_cache(model: Any) -> KeptCache:
    from transformers import DynamicCache

    return KeptCache(DynamicCache(config=model.config), _cache_name(model))


def generate(
    model: Any,
    tokenizer: Any,
    prompt: Prompt,
    sampling: Sampling,
    stop: threading.Event | None = None,
    kept: KeptCache | None = None,
) -> Iterator[Piece]:
    """Pieces of the answer to `prompt`. `kept` is read and extended; without one nothing is kept.

    Each step may run in another thread than the one before (a page's server does that), so nothing that belongs to a
    thread, such as torch's inference mode, is held between two pieces.
    """
    kept = kept or new_cache(model)
    words = _TextStream(tokenizer, prompt.stop_texts)
    draw = _Sampler(sampling, model.device)
    logits = None
    start, read = kept.rewind(prompt.ids), READ.get(model.device.type, READ_FAST)
    for begin in range(start, len(prompt.ids), read):
        if stop is not None and stop.is_set():
            return
        logits = _forward(model, kept, prompt.ids[begin : begin + read])
    answer: list[int] = []
    for _ in range(sampling.max_new_tokens):
        if stop is not None and stop.is_set():
            break
        if answer:
            logits = _forward(model, kept, (answer[-1],))
        token = draw(logits, answer)
        if token in prompt.stop_ids:
            yield Piece(words.close(), (token,), ended=True)
            return
        answer.append(token)
        text = words.feed(token)
        if words.stopped:
            yield Piece(text, (token,), ended=True)
            return
        yield Piece(text, (token,))
    rest = words.close()
    if rest:
        yield Piece(rest)


def _forward(model: Any, kept: KeptCache, ids: tuple[int, ...]) -> Any:
    """Logits of shape (1, vocabulary) behind the last of `ids`, in fp32."""
    import torch

    with torch.inference_mode():
        tokens = torch.tensor([ids], device=model.device)
        result = model(input_ids=tokens, use_cache=True, logits_to_keep=1, **{kept.argument: kept.cache})
        kept.ids.extend(ids)
        return result.logits[:, -1].float()


def _inner(model: Any) -> Any:
    """The model itself where PEFT has wrapped it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _cache_name(model: Any) -> str:
    """What the model's forward calls the cache: transformers 5.24 renamed `past_key_values` to `cache`."""
    named = inspect.signature(type(_inner(model)).forward).parameters
    return "cache" if "cache" in named else "past_key_values"


class _Sampler:
    """Draws a token id from logits (1, vocabulary) with transformers' own filters."""

    def __init__(self, sampling: Sampling, device: Any) -> None:
        import torch
        from transformers import (
            MinPLogitsWarper,
            RepetitionPenaltyLogitsProcessor,
            TemperatureLogitsWarper,
            TopKLogitsWarper,
            TopPLogitsWarper,
        )

        self.greedy = sampling.temperature <= 0
        self.penalty = None
        if sampling.repetition_penalty != 1:
            self.penalty = RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty)
        self.filters: list[Any] = []
        if not self.greedy:
            self.filters.append(TemperatureLogitsWarper(float(sampling.temperature)))
            if sampling.top_k > 0:
                self.filters.append(TopKLogitsWarper(sampling.top_k))
            if sampling.top_p < 1:
                self.filters.append(TopPLogitsWarper(sampling.top_p))
            if sampling.min_p > 0:
                self.filters.append(MinPLogitsWarper(sampling.min_p))
        self.generator = torch.Generator(device=device)
        if sampling.seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(sampling.seed)

    def __call__(self, logits: Any, answer: list[int]) -> int:
        import torch

        with torch.inference_mode():
            return self._draw(torch, logits, answer)

    def _draw(self, torch: Any, logits: Any, answer: list[int]) -> int:
        seen = torch.tensor([answer], dtype=torch.long, device=logits.device)
        if self.penalty is not None and answer:
            logits = self.penalty(seen, logits)
        if self.greedy:
            return int(logits.argmax())
        for change in self.filters:
            logits = change(seen, logits)
        return int(torch.multinomial(logits.softmax(-1), 1, generator=self.generator))


class _TextStream:
    """Token ids to text as they come. Half a character, or what may become a stop text, is held back."""

    def __init__(self, tokenizer: Any, stop_texts: tuple[str, ...]) -> None:
        self.tokenizer = tokenizer
        self.stop_texts = stop_texts
        self.stopped = False
        self.ids: list[int] = []
        self.given = 0
        self.text = ""

    def feed(self, token: int) -> str:
        self.ids.append(token)
        self.text = self._decode()
        if self.text.endswith("\ufffd"):
            return ""
        for mark in self.stop_texts:
            place = self.text.find(mark, max(0, self.given - len(mark)))
            if place >= 0:
                self.stopped = True
                return self._give(place)
        return self._give(len(self.text) - self._held())

    def close(self) -> str:
        """What is still held back."""
        return self._give(len(self.text.rstrip("\ufffd")))

    def _decode(self) -> str:
        return self.tokenizer.decode(self.ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def _held(self) -> int:
        longest = max((len(mark) for mark in self.stop_texts), default=1) - 1
        for length in range(min(longest, len(self.text)), 0, -1):
            if any(mark.startswith(self.text[-length:]) for mark in self.stop_texts):
                return length
        return 0

    def _give(self, end: int) -> str:
        new = self.text[self.given : end]
        self.given = max(self.given, end)
        return new
