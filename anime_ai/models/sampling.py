"""Drawing tokens from logits: penalties, filters, DRY, and how likely what was drawn had been. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from anime_ai.models.engine import Likelihood, Sampling
from anime_ai.prompting import Prompt

_DEAR = 1e30
"""The most that a repetition costs: far beyond any logit, and no infinity, which would leave nothing to draw."""
_LONG = 400
"""Tokens of a run beyond which its price grows no more; 4 to that power is still a number."""


class Dry:
    """What each token would repeat. Method and names: see `Sampling`.

    `lengths[n]` is how many tokens up to place n are the same as those at the end, so that one step costs a pass over
    the context.
    """

    def __init__(self, sampling: Sampling, tokenizer: Any, prompt: Prompt) -> None:
        self.sampling = sampling
        self.tokenizer = tokenizer
        self._ends = frozenset(prompt.stop_ids) | set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
        encode = partial(tokenizer.encode, add_special_tokens=False)
        self._last = {encode(mark)[-1] for mark in sampling.dry_breakers if len(encode(mark)) > 1}
        self._known: dict[int, bool] = {}
        self._room = np.zeros(len(prompt.ids) + sampling.max_new_tokens, dtype=np.int64)
        self._lengths = np.zeros_like(self._room)
        self._breaks = np.zeros_like(self._room, dtype=bool)
        self._size = len(prompt.ids)
        self._room[: self._size] = prompt.ids
        self._breaks[: self._size] = [self.breaks(token) for token in prompt.ids]
        # What stands before the last breaker repeats nothing.
        places = np.flatnonzero(self._breaks[: self._size])
        for end in range(int(places[-1]) + 1 if len(places) else 0, self._size):
            self._extend(end)

    def breaks(self, token: int) -> bool:
        """Whether a token is a breaker: a control token, one that holds a breaker's text, or the last of those that a
        breaker is written with."""
        if token not in self._known:
            text = self.tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False)
            marks = any(mark in text for mark in self.sampling.dry_breakers)
            self._known[token] = marks or token in self._ends or token in self._last
        return self._known[token]

    def add(self, token: int) -> None:
        self._room[self._size] = token
        self._breaks[self._size] = self.breaks(token)
        self._size += 1
        self._extend(self._size - 1)

    def prices(self) -> tuple[np.ndarray, np.ndarray]:
        """Token ids, each once, and what their logits lose."""
        lengths = self._lengths[: max(0, self._size - 1)]
        long = np.flatnonzero(lengths >= self.sampling.dry_allowed_length)
        long = long[~self._breaks[long + 1]]
        tokens, place = np.unique(self._room[long + 1], return_inverse=True)
        longest = np.zeros(len(tokens), dtype=np.int64)
        np.maximum.at(longest, place, lengths[long])
        beyond = np.minimum(longest - self.sampling.dry_allowed_length, _LONG).astype(np.float64)
        return tokens, np.minimum(self.sampling.dry_multiplier * self.sampling.dry_base**beyond, _DEAR)

    def _extend(self, end: int) -> None:
        """The runs that go on where the token at `end` is the last one."""
        if self._breaks[end]:
            self._lengths[:end] = 0
            return
        longer = np.concatenate(([1], self._lengths[: max(0, end - 1)] + 1))[:end]
        self._lengths[:end] = np.where(self._room[:end] == self._room[end], longer, 0)


class Sampler:
    """Draws one token id after another from logits (1, vocabulary), with transformers' own filters."""

    def __init__(self, sampling: Sampling, device: Any, tokenizer: Any, prompt: Prompt) -> None:
        import torch

        self.sampling = sampling
        self.tokenizer = tokenizer
        self.greedy = sampling.temperature <= 0
        self.answer: list[int] = []
        self._dry = Dry(sampling, tokenizer, prompt) if sampling.dry_multiplier > 0 else None
        self._penalty, self._filters = _filters(sampling)
        self.generator = torch.Generator(device=device)
        if sampling.seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(sampling.seed)

    def __call__(self, logits: Any) -> tuple[int, tuple[Likelihood, ...]]:
        """The next token, which counts as said from now on, and its likelihood where it was asked for."""
        import torch

        with torch.inference_mode():
            token = self._draw(torch, logits)
            told = () if self.sampling.logprobs is None else (self._likelihood(logits, token, self.sampling.logprobs),)
        self.answer.append(token)
        if self._dry is not None:
            self._dry.add(token)
        return token, told

    def _draw(self, torch: Any, logits: Any) -> int:
        seen = torch.tensor([self.answer], dtype=torch.long, device=logits.device)
        if self._penalty is not None and self.answer:
            logits = self._penalty(seen, logits)
        if self._dry is not None:
            tokens, prices = self._dry.prices()
            if len(tokens):
                logits = logits.clone()
                logits[0, torch.from_numpy(tokens).to(logits.device)] -= torch.from_numpy(prices).to(logits)
        if self.greedy:
            return int(logits.argmax())
        for change in self._filters:
            logits = change(seen, logits)
        return int(torch.multinomial(logits.softmax(-1), 1, generator=self.generator))

    def _likelihood(self, logits: Any, token: int, count: int) -> Likelihood:
        logprobs = logits[0].log_softmax(-1)
        values, tokens = logprobs.topk(min(count, len(logprobs)))
        best = [self._named(*pair) for pair in zip(tokens.tolist(), values.tolist(), strict=True)]
        return Likelihood(token, self._text(token), float(logprobs[token]), tuple(best))

    def _named(self, token: int, logprob: float) -> Likelihood:
        return Likelihood(token, self._text(token), logprob)

    def _text(self, token: int) -> str:
        return self.tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _filters(sampling: Sampling) -> tuple[Any, Sequence[Any]]:
    """The penalty, or None, and the filters of a draw that is not greedy, in their order."""
    from transformers import (
        MinPLogitsWarper,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    penalty = None
    if sampling.repetition_penalty != 1:
        penalty = RepetitionPenaltyLogitsProcessor(float(sampling.repetition_penalty))
    if sampling.temperature <= 0:
        return penalty, ()
    filters: list[Any] = [TemperatureLogitsWarper(float(sampling.temperature))]
    if sampling.top_k > 0:
        filters.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        filters.append(TopPLogitsWarper(float(sampling.top_p)))
    if sampling.min_p > 0:
        filters.append(MinPLogitsWarper(float(sampling.min_p)))
    return penalty, filters
