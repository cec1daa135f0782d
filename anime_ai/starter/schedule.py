"""How fast the embedded models are trained, step by step. Knows no model."""

from __future__ import annotations

import math


def cosine(step: int, steps: int, warmup: int, peak: float, floor: float) -> float:
    """The learning rate of a step: a linear start, then a cosine down to `floor`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
