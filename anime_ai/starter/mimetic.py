"""A transformer's attention as it looks in trained ones, written into a fresh one. Knows no training.

"Mimetic initialization" (Trockman and Kolter 2023): what a head asks and what it offers are alike (W_Q W_Kᵀ near the
identity), so that with positions in sines and cosines (`pos_embed_type: sin_cos_2d`) a patch looks at its neighbours
first; what is read and what is written take each other back (W_V W_O near its negative). A small vision transformer
learns shapes from few pictures that way, which it does not from a plain start.
"""

from __future__ import annotations

from typing import Any

import torch

LOOKS = (0.7, 0.7)
"""Shares of chance and of the identity in W_Q W_Kᵀ."""
WRITES = (0.4, 0.4)
"""Shares of chance and of the negative identity in W_V W_O."""


def write_mimetic(blocks: Any, seed: int) -> None:
    """Set the attention weights of some residual blocks in place."""
    drawn = torch.Generator().manual_seed(seed)
    for block in blocks:
        _write(block.attn, drawn)


@torch.no_grad()
def _write(attention: Any, drawn: torch.Generator) -> None:
    width, heads = attention.embed_dim, attention.num_heads
    size = width // heads
    for head in range(heads):
        left, kept, right = _split(width, LOOKS[0], LOOKS[1], drawn)
        # Each head takes other directions.
        chosen = torch.randperm(width, generator=drawn)[:size]
        first = head * size
        attention.in_proj_weight[first : first + size] = (left[:, chosen] * kept[chosen].sqrt()).T
        attention.in_proj_weight[width + first : width + first + size] = right[chosen] * kept[chosen].sqrt()[:, None]
    left, kept, right = _split(width, WRITES[0], -WRITES[1], drawn)
    attention.in_proj_weight[2 * width :] = right * kept.sqrt()[:, None]
    attention.out_proj.weight.copy_(left * kept.sqrt())


def _split(width: int, chance: float, identity: float, drawn: torch.Generator) -> Any:
    """The singular value decomposition of a random matrix near a multiple of the identity."""
    noise = torch.randn(width, width, generator=drawn) / width**0.5
    return torch.linalg.svd(chance * noise + identity * torch.eye(width))
