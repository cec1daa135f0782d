"""One answer from a transformers model: reading the prompt, token after token, with the cache that stays for the next.

Knows neither adapters nor locks; the engine and the trainer's probes both call it.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from anime_ai.models.engine import Likelihood, Piece, Sampling
from anime_ai.models.lookup import LookUp
from anime_ai.models.sampling import Sampler
from anime_ai.models.text_stream import TextStream
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
        self.shorten(len(self.ids) - common)
        return common

    def shorten(self, count: int) -> None:
        """Forget the last `count` tokens."""
        if count:
            # A negative number removes that many tokens in every release of transformers that we allow.
            self.cache.crop(-count)
            del self.ids[-count:]


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
    guessing: bool = False,
) -> Iterator[Piece]:
    """Pieces of the answer to `prompt`. `kept` is read and extended; without one nothing is kept. `guessing`: several
    tokens at once where they stand in the prompt or the answer already.

    Each step may run in another thread than the one before (a page's server does that), so nothing that belongs to a
    thread, such as torch's inference mode, is held between two pieces.
    """
    kept = kept or new_cache(model)
    words = TextStream(tokenizer, prompt.stop_texts)
    draw = Sampler(sampling, model.device, tokenizer, prompt)
    logits = None
    start, read = kept.rewind(prompt.ids), READ.get(model.device.type, READ_FAST)
    for begin in range(start, len(prompt.ids), read):
        if stop is not None and stop.is_set():
            return
        logits = _forward(model, kept, prompt.ids[begin : begin + read])
    tokens = _drawn(model, kept, logits, draw, LookUp(prompt.ids) if guessing else None)
    while len(draw.answer) < sampling.max_new_tokens and not (stop is not None and stop.is_set()):
        token, told = next(tokens)
        if token in prompt.stop_ids:
            yield Piece(words.close(), (token,), ended=True, likelihoods=told)
            return
        text = words.feed(token)
        yield Piece(text, (token,), ended=words.stopped, likelihoods=told)
        if words.stopped:
            return
    rest = words.close()
    if rest:
        yield Piece(rest)


def _drawn(
    model: Any, kept: KeptCache, logits: Any, draw: Sampler, ahead: LookUp | None
) -> Iterator[tuple[int, tuple[Likelihood, ...]]]:
    """Token after token, without an end. Whatever is guessed, each is drawn from the logits behind those before it."""
    token, told = draw(logits)
    yield token, told
    while True:
        guess: tuple[int, ...] = ()
        if ahead is not None:
            ahead.add(token)
            guess = ahead.guess()
        rows = _rows(model, kept, (token, *guess)) if guess else [_forward(model, kept, (token,))]
        for place, row in enumerate(rows):
            token, told = draw(row)
            right = place < len(guess) and token == guess[place]
            if ahead is not None and guess and not right:
                ahead.held(place, len(guess))
                kept.shorten(len(guess) - place)
            yield token, told
            if not right:
                break
            if ahead is not None:
                ahead.add(token)


def _forward(model: Any, kept: KeptCache, ids: tuple[int, ...]) -> Any:
    """Logits of shape (1, vocabulary) behind the last of `ids`, in fp32."""
    return _rows(model, kept, ids, 1)[0]


def _rows(model: Any, kept: KeptCache, ids: tuple[int, ...], last: int = 0) -> list[Any]:
    """The same behind each of the `last` of them, 0 for all."""
    import torch

    with torch.inference_mode():
        tokens = torch.tensor([ids], device=model.device)
        result = model(input_ids=tokens, use_cache=True, logits_to_keep=last, **{kept.argument: kept.cache})
        kept.ids.extend(ids)
        return list(result.logits.float().unbind(1))


def _inner(model: Any) -> Any:
    """The model itself where PEFT has wrapped it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _cache_name(model: Any) -> str:
    """What the model's forward calls the cache: transformers 5.24 renamed `past_key_values` to `cache`."""
    named = inspect.signature(type(_inner(model)).forward).parameters
    return "cache" if "cache" in named else "past_key_values"
