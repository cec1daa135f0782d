"""How the shipped models are stepped: the rate of a step, and what takes it. Knows no model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from anime_ai.models.device import cpu_device

MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.775, 2.0315)
"""Coefficients of the quintic iteration."""
ITERATIONS = 5


def cosine(step: int, steps: int, warmup: int, peak: float, floor: float) -> float:
    """The learning rate of a step: a linear start, then a cosine down to `floor`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def optimisers(
    named: Iterable[tuple[str, torch.Tensor]],
    outside: Sequence[str],
    rate: float,
    decay: float,
    betas: tuple[float, float],
) -> list[torch.optim.Optimizer]:
    """AdamW and Muon, between them every weight of `named`.

    The matrices inside a model, whose names hold none of `outside`, go by Muon (Jordan et al. 2024), which needs fewer
    steps than AdamW; its steps are scaled to AdamW's size (Liu et al. 2025, "Muon is Scalable for LLM Training"), so
    that one rate serves both. `decay` is for matrices alone.
    """
    matrices: list[torch.Tensor] = []
    tables: list[torch.Tensor] = []
    others: list[torch.Tensor] = []
    for name, weight in named:
        at_an_end = weight.ndim != 2 or any(one in name for one in outside)
        (others if weight.ndim <= 1 else tables if at_an_end else matrices).append(weight)
    groups = [{"params": tables, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    # torch's own Muon computes in bf16, which a CPU without the instructions emulates.
    quick = not matrices or matrices[0].device.type != "cpu" or cpu_device().bf16
    muon: torch.optim.Optimizer = (
        torch.optim.Muon(matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        if quick
        else WholeMuon(matrices, rate, decay)
    )
    return [torch.optim.AdamW(groups, lr=rate, betas=betas, fused=True), muon]


class WholeMuon(torch.optim.Optimizer):
    """What `torch.optim.Muon` does with `adjust_lr_fn="match_rms_adamw"`, in the precision of the matrices."""

    def __init__(self, matrices: Iterable[torch.Tensor], lr: float, weight_decay: float) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step along every gradient. `closure` is not called."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                momentum.lerp_(weight.grad, 1 - MOMENTUM)
                update = _orthogonal(weight.grad.lerp(momentum, MOMENTUM))
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(max(weight.shape)))


def _orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """About the nearest matrix with orthogonal rows or columns: the Newton-Schulz iteration of Jordan et al. 2024."""
    tall = matrix.shape[0] > matrix.shape[1]
    found = matrix.T if tall else matrix
    found = found / found.norm().clamp_min(1e-7)
    first, second, third = NEWTON_SCHULZ
    for _ in range(ITERATIONS):
        gram = found @ found.T
        found = torch.addmm(found, torch.addmm(gram, gram, gram, beta=second, alpha=third), found, beta=first)
    return found.T if tall else found
