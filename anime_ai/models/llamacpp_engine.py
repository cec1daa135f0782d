"""The engine over llama.cpp: one base as a GGUF file, any of its LoRA adapters, several answers at once.

Conversations have a slot each, as long as there are enough; answers under different adapters take turns of `SLICE`
tokens. What a persona's conversations share is read once and kept on the disk. Knows no prompts' meaning.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Collection, Generator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from anime_ai.errors import ModelError
from anime_ai.models.bases import Base
from anime_ai.models.device import Device
from anime_ai.models.engine import Adapter, Likelihood, Piece, Sampling
from anime_ai.models.ggufs import Ggufs
from anime_ai.models.layouts import Layouts
from anime_ai.models.llama_host import Host, Live
from anime_ai.models.llama_server import Loaded
from anime_ai.models.seats import Seat, Seats, common
from anime_ai.models.states import States
from anime_ai.models.text_stream import TextStream
from anime_ai.models.turns import Turns
from anime_ai.prompting import Layout, Prompt

SLICE = 16
"""Tokens that an answer makes before it pauses for one under another adapter."""
SLOTS = 4
SHARED = 32
"""Tokens from which on a shared part is kept on the disk; fewer are read as fast."""
TIMED = 64
"""Tokens that are read at once from which on the pace is measured."""
LIKELIEST = 1000
"""Tokens that are drawn from where no top-k is asked for; what lies beyond is nothing but noise."""
LONGEST = 2**17
"""Tokens in which DRY looks for repetitions: all, of any context."""
AHEAD = "\0"
"""Marks the key of what is read before it is asked for."""


@dataclass(frozen=True)
class Bounds:
    """`context`: tokens of one conversation; `states`: bytes of saved states on the disk; `gpu_layers`: layers that are
    computed on a GPU where there is one."""

    context: int = 4096
    states: int = 2 * 2**30
    gpu_layers: int = 0


class LlamaCppEngine:
    """See `anime_ai.models.engine.Engine`. Nothing is converted or started before the first answer."""

    name = "llama.cpp"

    def __init__(self, base: Base, ggufs: Ggufs, folder: Path, kind: str, bounds: Bounds = Bounds()) -> None:  # noqa: B008 (frozen)
        self.base, self.bounds = base, bounds
        self.device: Device | None = None
        shape = Loaded(cells=2 * bounds.context, slots=SLOTS, gpu_layers=bounds.gpu_layers)
        self._host = Host(base, kind, ggufs, folder, shape, self._park_all)
        self._seats = Seats(SLOTS)
        self._turns = Turns()
        self._reading: dict[tuple[str, str], threading.Event] = {}
        self.reading_pace: float | None = None
        self._states = States(folder / "states", bounds.states)
        self._states.clear("talk")
        self._layouts = Layouts(base)

    @property
    def loaded(self) -> bool:
        return self._host.running

    def tokenizer(self) -> Any:
        return self._layouts.tokenizer()

    def layout(self, format: str, think: str) -> Layout:
        return self._layouts.layout(format, think)

    def context_length(self) -> int:
        return self._context

    @cached_property
    def _context(self) -> int:
        return min(int(self.base.config().get("max_position_embeddings", self.bounds.context)), self.bounds.context)

    def close(self) -> None:
        """End the child; answers at work end with an error."""
        self._host.close()
        self._states.clear("talk")

    def stream(
        self,
        prompt: Prompt,
        adapter: Adapter | None = None,
        cache_key: str = "",
        sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
        stop: threading.Event | None = None,
    ) -> Generator[Piece, None, None]:
        stop = stop or threading.Event()
        owner = (self._host.known(adapter), cache_key)
        seat = self._seat(owner, prompt, stop)
        if seat is None:
            return
        words = TextStream(self.tokenizer(), prompt.stop_texts)
        answer: list[int] = []
        try:
            while not stop.is_set() and len(answer) < sampling.max_new_tokens:
                with self._turns.turn(owner[0], stop) as mine:
                    if not mine:
                        break
                    paused = yield from self._slice(prompt, seat, owner, answer, words, sampling, stop)
                if not paused:
                    break
        finally:
            self._seats.give(seat)

    def prepare(
        self, prompt: Prompt, adapter: Adapter | None = None, cache_key: str = "", stop: threading.Event | None = None
    ) -> None:
        """Read ahead what a later answer will stand behind: with a key the whole prompt, into a slot beside the
        conversation's own, else what all conversations behind this prompt's card share, to be kept on the disk.

        An answer under the same key ends the reading and goes on from where it was.
        """
        stop = stop or threading.Event()
        owner = (self._host.known(adapter), _ahead(cache_key))
        if not cache_key and (prompt.shared < SHARED or self._states.has("shared", *self._shared(prompt, owner[0]))):
            return
        self._reading[owner] = stop
        seat = self._seats.take(owner, stop)
        if seat is None:
            return
        try:
            with self._turns.turn(owner[0], stop) as mine:
                if not mine:
                    return
                live = self._host.ready(owner[0])
                self._settle(live, seat, owner, prompt, stop)
                if cache_key and not stop.is_set():
                    seat.ids = prompt.ids
                    _read(live, seat, prompt.ids, stop)
        finally:
            self._reading.pop(owner, None)
            self._seats.give(seat)

    def forget(self, cache_keys: Collection[str]) -> None:
        for owner in self._seats.owners({*cache_keys, *map(_ahead, cache_keys)}):
            if (reading := self._reading.get(owner)) is not None:
                reading.set()
            seat = self._seats.take(owner)
            assert seat is not None, "nothing stops this wait"
            try:
                if seat.owner == owner:
                    self._empty(seat)
            finally:
                self._seats.give(seat)
        for key in cache_keys:
            self._states.clear(_talk(key))

    def _empty(self, seat: Seat) -> None:
        """Take out of a slot what it holds."""
        seat.owner, seat.ids = None, ()
        with self._host.as_it_is() as live:
            if live is not None and live.number == seat.server:
                with suppress(ModelError):  # the child has died, and all slots with it
                    live.server.erase(seat.slot)

    def _seat(self, owner: tuple[str, str], prompt: Prompt, stop: threading.Event) -> Seat | None:
        """A seat for an answer: where somebody has read ahead for it, theirs."""
        ahead = (owner[0], _ahead(owner[1]))
        reading = self._reading.get(ahead)
        if reading is not None and owner[1]:
            reading.set()
            taken = self._seats.take(ahead, stop)
            if taken is None:
                return None
            self._seats.give(taken)
        self._seats.promote(owner, ahead, prompt.ids)
        return self._seats.take(owner, stop)

    def _slice(
        self,
        prompt: Prompt,
        seat: Seat,
        owner: tuple[str, str],
        answer: list[int],
        words: TextStream,
        sampling: Sampling,
        stop: threading.Event,
    ) -> Generator[Piece, None, bool]:
        """Pieces of one turn, their tokens added to `answer`; returns whether it only pauses."""
        live = self._host.ready(owner[0])
        self._settle(live, seat, owner, prompt, stop)
        began, ids = len(answer), (*prompt.ids, *answer)
        new, asked = len(ids), time.monotonic()
        try:
            with closing(live.server.complete(seat.slot, ids, live.scales, options(sampling, began))) as events:
                for said in events:
                    if stop.is_set():
                        return False
                    if not said.ids:
                        new = min(new, len(ids) - said.reused)
                    elif len(answer) == began and new >= TIMED:
                        self.reading_pace = new / (time.monotonic() - asked)
                    for place, token in enumerate(said.ids):
                        told = _asked(said.likelihoods[place : place + 1], sampling)
                        if token in prompt.stop_ids:
                            yield Piece(words.close(), (token,), ended=True, likelihoods=told)
                            return False
                        answer.append(token)
                        text = words.feed(token)
                        yield Piece(text, (token,), ended=words.stopped, likelihoods=told)
                        if words.stopped:
                            return False
                    if len(answer) - began >= SLICE and self._turns.wanted():
                        return True
            rest = words.close()
            if rest:
                yield Piece(rest)
            return False
        finally:
            seat.ids = (*prompt.ids, *answer)

    def _settle(self, live: Live, seat: Seat, owner: tuple[str, str], prompt: Prompt, stop: threading.Event) -> None:
        """Make the seat the owner's: keep what was in it, bring back what was theirs, else the shared part, which is
        read and kept where it was not yet."""
        if seat.server != live.number:
            seat.ids = ()
        if seat.owner != owner:
            self._park(live, seat)
            seat.owner, seat.ids = owner, ()
        fresh = seat.server != live.number or not seat.ids
        seat.server = live.number
        if fresh and self._restored(live, seat, prompt, _talk(owner[1]), self._model_key, *owner):
            return
        if prompt.shared < SHARED or common(seat.ids, prompt.ids) >= prompt.shared:
            return
        if self._restored(live, seat, prompt, "shared", *self._shared(prompt, owner[0])):
            return
        seat.ids = prompt.ids[: prompt.shared]
        if _read(live, seat, seat.ids, stop):
            self._states.save(live.server, seat.slot, "shared", *self._shared(prompt, owner[0]))

    def _restored(self, live: Live, seat: Seat, prompt: Prompt, kind: str, *parts: Any) -> bool:
        if not self._states.has(kind, *parts):
            return False
        # llama.cpp drops what was restored unless the slot's last request ran under the same adapters.
        _read(live, seat, prompt.ids[:1], threading.Event())
        return self._states.restore(live.server, seat.slot, kind, *parts)

    def _park(self, live: Live, seat: Seat) -> None:
        if seat.owner and seat.owner[1] and AHEAD not in seat.owner[1] and seat.server == live.number and seat.ids:
            self._states.save(live.server, seat.slot, _talk(seat.owner[1]), self._model_key, *seat.owner)

    def _park_all(self, live: Live) -> None:
        for seat in self._seats.all:
            self._park(live, seat)

    def _shared(self, prompt: Prompt, name: str) -> tuple[Any, ...]:
        """All that the state behind a shared part depends on."""
        return (*self._model_key, name, prompt.ids[: prompt.shared])

    @cached_property
    def _model_key(self) -> tuple[Any, ...]:
        from importlib.metadata import version

        return (version("xllamacpp"), self.base.fingerprint(), self._host.kind, 2 * self.bounds.context, "f16")


def _ahead(cache_key: str) -> str:
    return AHEAD + cache_key


def _talk(cache_key: str) -> str:
    """The kind of a conversation's states: they are found again without the adapters that it was answered under."""
    return f"talk-{hashlib.sha256(cache_key.encode()).hexdigest()[:16]}"


def _read(live: Live, seat: Seat, ids: tuple[int, ...], stop: threading.Event) -> bool:
    """Read tokens into a seat; whether it came to their end."""
    with closing(live.server.read(seat.slot, ids, live.scales)) as events:
        for _ in events:
            if stop.is_set():
                return False
    return True


def options(sampling: Sampling, made: int) -> dict[str, Any]:
    """A sampling in llama.cpp's names, in the order of the filters in which transformers has them. `made` tokens are
    there already: an answer that goes on draws on, not again what it has drawn.

    llama.cpp's repetition penalty looks at the last 64 tokens, be they the answer's or the prompt's. Its filters are
    given the likeliest tokens alone: over a whole vocabulary they cost each token time.
    """
    greedy = sampling.temperature <= 0
    told: dict[str, Any] = {
        "n_predict": sampling.max_new_tokens - made,
        "seed": -1 if sampling.seed is None else (sampling.seed + made) % 2**32,
        "samplers": ["penalties", "dry", "top_k", *([] if greedy else ["temperature", "top_p", "min_p"])],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": 1 if greedy else sampling.top_k or LIKELIEST,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repetition_penalty,
        "dry_multiplier": sampling.dry_multiplier,
        "dry_base": sampling.dry_base,
        "dry_allowed_length": sampling.dry_allowed_length,
        "dry_penalty_last_n": LONGEST,
        "dry_sequence_breakers": list(sampling.dry_breakers),
    }
    if sampling.logprobs is not None:
        # One at least, or there are none at all.
        told["n_probs"] = max(1, sampling.logprobs)
    return told


def _asked(told: tuple[Likelihood, ...], sampling: Sampling) -> tuple[Likelihood, ...]:
    return tuple(replace(one, best=one.best[: sampling.logprobs]) for one in told)
