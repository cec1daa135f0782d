"""Attention heads that can copy from the first step on: the starter's weights before training. Knows no data.

A transformer finds out late how to copy: one head has to look at the token before, and another one, a layer above, has
to look for the token that stands behind an earlier copy of the present one (the induction head of Olsson et al. 2022,
"In-context Learning and Induction Heads"). Both are written into the weights here, in the spirit of Trockman and Kolter
2023, "Mimetic Initialization of Self-Attention Layers"; training is free to change them.

Rotary positions turn each pair of a head's dimensions by its own frequency. The fast pairs tell positions apart and
find "one token before"; the slow ones hardly turn within a conversation, so what they hold is compared by content.

A third kind of head is prepared to say what it looks at. Where to look it learns from the training, which tells it.
"""

from __future__ import annotations

import math
from typing import Any

import torch

FAST = 8
"""Pairs of dimensions that tell positions apart."""
SLOW = 13
"""The first pair whose frequency is low enough to compare contents some hundred tokens apart."""
SHARPNESS = 5.0
"""Length of a fast pair in queries and keys. A hit scores its square, times the pairs, over the root of the width."""
MATCH = 1.0
"""Scale of content in queries (twice) and keys: the stream holds the token that it looks for beside much else."""
WRITTEN = 0.12
"""How strongly the token before is written into the stream, beside embeddings of deviation `EMBEDDING`."""
COPIED = 0.5
EMBEDDING = 0.06
"""The deviation of fresh weights: one over the root of the model's width."""
QUIET = 0.03
"""What fresh blocks write into the stream, against that deviation; louder ones drown the heads that copy."""
INDUCTION_LAYERS = (1, 2)
POINTING_LAYER = 4
"""Its first head looks at what answers a question."""


def write_copying(model: Any, seed: int) -> None:
    """Write five heads into a fresh Qwen2 model in fp32, in place, whose weights have the deviation `EMBEDDING`.

    The first two heads of layer 0 look one and two tokens back and write what they find; the first heads of the next
    two layers look for the token that they wrote; that of `POINTING_LAYER` looks anywhere and writes what it finds.
    """
    config = model.config
    width, group = config.hidden_size, config.num_attention_heads // config.num_key_value_heads
    size = width // config.num_attention_heads
    half = size // 2
    content = [*range(SLOW, half), *range(SLOW + half, size)]
    chance = torch.Generator().manual_seed(seed)
    theta = config.rope_parameters["rope_theta"]
    with torch.no_grad():
        token = _orthonormal(len(content), width, chance)
        first = model.model.layers[0].self_attn
        first.k_proj.weight[:size] = 0
        first.k_proj.bias[:FAST] = SHARPNESS
        first.v_proj.weight[:size] = _placed(token, content, size)
        before = []
        for head in range(group):
            rows = slice(head * size, (head + 1) * size)
            first.q_proj.weight[rows] = 0
            for pair in range(FAST):
                # A query turned back by `head + 1` positions meets the key that stands so far before it.
                turn = -(head + 1) * theta ** (-pair / half)
                first.q_proj.bias[head * size + pair] = SHARPNESS * math.cos(turn)
                first.q_proj.bias[head * size + pair + half] = SHARPNESS * math.sin(turn)
            before.append(_orthonormal(len(content), width, chance))
            first.o_proj.weight[:, rows] = _placed(before[-1], content, size).T * WRITTEN
        for layer in (*INDUCTION_LAYERS, POINTING_LAYER):
            attention = model.model.layers[layer].self_attn
            carried = _orthonormal(size, width, chance)
            if layer in INDUCTION_LAYERS:
                attention.q_proj.weight[:size] = _placed(token, content, size) * 2 * MATCH
                attention.k_proj.weight[:size] = _placed(before[0], content, size) * MATCH
            attention.v_proj.weight[:size] = carried
            attention.o_proj.weight[:, :size] = carried.T * COPIED


def _orthonormal(rows: int, columns: int, chance: torch.Generator) -> torch.Tensor:
    found, _ = torch.linalg.qr(torch.randn(columns, rows, generator=chance))
    return found.T


def _placed(rows: torch.Tensor, places: list[int], size: int) -> torch.Tensor:
    """`rows` at some of a head's dimensions, nothing at the others."""
    whole = torch.zeros(size, rows.shape[1])
    whole[places] = rows
    return whole
