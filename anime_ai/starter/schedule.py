"""How the shipped models are stepped: the rate of a step, and what takes it. Knows no model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch


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
    return [
        torch.optim.AdamW(groups, lr=rate, betas=betas, fused=True),
        torch.optim.Muon(matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
    ]
