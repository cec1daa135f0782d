"""What a turn is about, told to the model while it is trained. Knows no corpus.

Which of the grammar's turns somebody says is known when a conversation is made. In the loss on the reply it is hidden
among the words of one answer of many; here it has a loss of its own on what the stream holds where the reply begins (a
second task on shared layers, Caruana 1997, "Multitask Learning"). What reads the stream is thrown away with the
training.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import torch

from anime_ai.starter.heads import EMBEDDING, POINTING_LAYER

Named = tuple[int, str]
"""A place of a sequence, and the name of what was said before it."""


class Topics:
    """What the stream of a Qwen2 model tells of the topic, from one forward pass to the next.

    `weight`: (names, width), to be trained beside the model's.
    """

    def __init__(self, model: Any, names: Collection[str]) -> None:
        self._places = {name: place for place, name in enumerate(sorted(names))}
        self._seen: list[torch.Tensor] = []
        layers = model.model.layers
        like = model.lm_head.weight
        self.weight = torch.nn.Parameter(like.new_empty(len(self._places), like.shape[1]).normal_(0, EMBEDDING))
        self._hook = layers[min(POINTING_LAYER, len(layers)) - 1].register_forward_hook(self._look)

    def _look(self, _module: Any, _given: Any, made: torch.Tensor) -> None:
        self._seen.append(made)

    def loss(self, about: Iterable[Sequence[Named]]) -> torch.Tensor:
        """Mean cross entropy of the names, in the last pass; 0 where there are none. `about`: those of each row."""
        states = self._seen.pop()
        found = [(row, at, self._places[name]) for row, named in enumerate(about) for at, name in named]
        if not found:
            return states.new_zeros(())
        rows, places, wanted = zip(*found, strict=True)
        held = torch.nn.functional.rms_norm(states[list(rows), list(places)], (states.shape[-1],))
        return torch.nn.functional.cross_entropy((held @ self.weight.T).float(), torch.tensor(wanted).to(states.device))

    def close(self) -> None:
        """The model is as it was."""
        self._hook.remove()
