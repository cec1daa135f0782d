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
from anime_ai.training.estimate import SLICES


def give_objective(causal: Any) -> None:
    """Make a causal language model answer with losses where it is told `targets`, as labels (1, T): a vector of `rows`
    sums, one for every row of the pack, by `owners` (1, T).

    It stays a model like any other where it is not. The forward pass is the model's own, so that whatever wraps it (an
    adapter, data parallelism) sees it.
    """
    plain = causal.forward

    def forward(
        self: Any, *args: Any, targets: torch.Tensor | None = None, owners: Any = None, rows: int = 1, **kwargs: Any
    ) -> Any:
        if targets is None:
            return plain(*args, **kwargs)
        states = self.model(*args, use_cache=False, **kwargs).last_hidden_state
        return summed_losses(self.get_output_embeddings(), states, targets, owners, rows)

    causal.forward = MethodType(forward, causal)


def summed_losses(
    head: Any, states: torch.Tensor, labels: torch.Tensor, owners: torch.Tensor, rows: int
) -> torch.Tensor:
    """Cross entropy of every labelled token given the state before it, in fp32, summed by row (Σ, not the mean)."""
    wanted = labels[:, 1:]
    kept = wanted != MASKED
    seen, targets, owner = states[:, :-1][kept], wanted[kept], owners[:, 1:][kept]
    if not len(targets):  # still a function of the weights: every process of several has to have something to go back
        return (states.float().sum() * 0.0).expand(rows)

    def losses(part: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(head(part).float(), answers, reduction="none")

    size = SLICES[states.device.type if states.device.type in SLICES else "cpu"]
    if type(head) is torch.nn.Linear and head.bias is None and not head.weight.requires_grad:
        each = _FrozenHead.apply(seen, targets, head.weight, size)
    elif len(targets) <= size:
        each = losses(seen, targets)
    else:
        parts = zip(seen.split(size), targets.split(size), strict=True)
        each = torch.cat([checkpoint(losses, *part, use_reentrant=False) for part in parts])
    return torch.zeros(rows, device=each.device).index_add(0, owner, each)


class _FrozenHead(torch.autograd.Function):
    """Cross entropies (N,) of states (N, hidden) under a head that is not trained.

    Their slopes by the states are taken along while the logits of a slice are there: no logits are kept, no product is
    done twice. (As in Hsu et al. 2024, Liger Kernel, and Wijmans et al. 2024.)
    """

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor, size: int) -> torch.Tensor:
        wanted = ctx.needs_input_grad[0]
        each = torch.empty(len(targets), device=states.device)
        slopes = torch.empty_like(states) if wanted else states
        for first in range(0, len(targets), size):
            part = slice(first, first + size)
            answers = targets[part, None]
            chances = (states[part] @ weight.T).float()
            most = chances.amax(-1, keepdim=True)
            told = chances.gather(-1, answers) - most
            total = chances.sub_(most).exp_().sum(-1, keepdim=True)
            each[part] = (total.log() - told)[:, 0]
            if wanted:
                chances.div_(total).scatter_add_(-1, answers, -torch.ones_like(total))
                slopes[part] = chances.to(states.dtype) @ weight
        ctx.save_for_backward(slopes)
        return each

    @staticmethod
    def backward(ctx: Any, *given: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return (slopes * given[0][:, None]).to(slopes.dtype), None, None, None
