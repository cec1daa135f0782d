"""Where a model has to look to answer out of a passage, and how far from there it looks. Knows no corpus.

That the words which answer a question stand where one could look is known when the conversation is made, and said to
one attention head: its weights are compared with those places, beside the loss on the answers (Liu et al. 2016, "Neural
Machine Translation with Supervised Attention").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from anime_ai.starter.heads import POINTING_LAYER

NOWHERE = 5
"""Places at the head of a reply that says "not there" from which nothing is looked at."""
FIRST = (0,)
"""The sequence's first token, where attention goes that has nothing to look for."""

Pointer = tuple[int, tuple[int, ...]]
"""A place of a sequence, and those that are to be looked at from there."""


def pointers(ids: Sequence[int], passage: range, begun: int, value: Sequence[int]) -> Iterator[Pointer]:
    """Where to look while a reply that begins at `begun` is foreseen: at the `value` in the passage until it is told,
    at each token of it while it is told. Without a value, at nothing. None where its tokens stand there otherwise cut.
    """
    if not value:
        yield from ((at, FIRST) for at in range(begun - 1, min(begun - 1 + NOWHERE, len(ids) - 1)))
        return
    stands = _found(ids, passage, value)
    told = next(iter(_found(ids, range(begun, len(ids)), value)), None)
    if not stands or told is None:
        return
    yield from ((at, tuple(stands)) for at in range(begun - 1, told - 1))
    yield from ((told - 1 + place, tuple(at + place for at in stands)) for place in range(len(value)))


def _found(ids: Sequence[int], places: range, value: Sequence[int]) -> list[int]:
    """Where in `places` the value begins."""
    wanted = tuple(value)
    return [at for at in places if tuple(ids[at : at + len(wanted)]) == wanted]


class Looks:
    """What the pointing head of a Qwen2 model with eager attention looks at, from one forward pass to the next."""

    def __init__(self, model: Any) -> None:
        self._seen: list[torch.Tensor] = []
        layers = model.model.layers
        looking = layers[min(POINTING_LAYER, len(layers) - 1)].self_attn
        self._hook = looking.register_forward_hook(self._look)

    def _look(self, _module: Any, _given: Any, made: tuple[torch.Tensor, torch.Tensor]) -> None:
        self._seen.append(made[1][:, 0])

    def loss(self, pointed: Iterable[Sequence[Pointer]]) -> torch.Tensor:
        """Mean negative log of the share of attention that went where it should, in the last pass; 0 where nowhere.

        `pointed`: the pointers of each of its rows.
        """
        attention = self._seen.pop()
        wanted = [(row, at, places) for row, pointers in enumerate(pointed) for at, places in pointers]
        if not wanted:
            return attention.new_zeros(())
        rows, queries, _ = zip(*wanted, strict=True)
        there = torch.zeros(len(wanted), attention.shape[-1])
        for number, (_, _, places) in enumerate(wanted):
            there[number, list(places)] = 1
        looked = attention[list(rows), list(queries)].float()
        return -(looked * there.to(looked.device)).sum(-1).clamp_min(1e-9).log().mean()

    def close(self) -> None:
        """The model is as it was."""
        self._hook.remove()
