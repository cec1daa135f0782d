"""The loss of a pack, computed by the model itself: the head runs on the trained tokens only, a slice at a time.

The logits of 4,096 tokens of a vocabulary of 150,000 take several GB; most of a row is read, not learned. Knows no
trainer.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from anime_ai.prompting import MASKED

SLICE = 512
"""Trained tokens whose logits are held at once. More than one slice is computed again on the way back."""


def give_objective(causal: Any) -> None:
    """Make a causal language model answer with a summed loss (a scalar) where it is told `targets`, as labels (1, T).

    It stays a model like any other where it is not. The forward pass is the model's own, so that whatever wraps it (an
    adapter, data parallelism) sees it.
    """
    plain = causal.forward

    def forward(self: Any, *args: Any, targets: torch.Tensor | None = None, **kwargs: Any) -> Any:
        if targets is None:
            return plain(*args, **kwargs)
        states = self.model(*args, use_cache=False, **kwargs).last_hidden_state
        return summed_loss(self.get_output_embeddings(), states, targets)

    causal.forward = MethodType(forward, causal)


def summed_loss(head: Any, states: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy of every labelled token (Σ, not the mean) given the state before it, in fp32."""
    wanted = labels[:, 1:]
    kept = wanted != MASKED
    seen, targets = states[:, :-1][kept], wanted[kept]
    if not len(targets):  # still a function of the weights: every process of several has to have something to go back
        return states.float().sum() * 0.0

    def loss(part: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(head(part).float(), answers, reduction="sum")

    if len(targets) <= SLICE:
        return loss(seen, targets)
    parts = zip(seen.split(SLICE), targets.split(SLICE), strict=True)
    return torch.stack([checkpoint(loss, *part, use_reentrant=False) for part in parts]).sum()
