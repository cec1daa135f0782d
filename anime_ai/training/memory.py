"""Whether a training fits a device's memory, and what to give up so that it does. Knows no torch.

Activations by Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models": about 34 bytes
per token, layer and hidden unit in 16 bits without the attention scores, which sdpa does not keep; all but 2 of them go
with checkpointing.
"""

from __future__ import annotations

from anime_ai.models.device import Device

ROOM = 0.85
"""The share of a device's memory that a run may plan with; the rest is the driver's, the desktop's, fragmentation's."""
FIXED = 1.0e9
"""Bytes of a run that neither the weights nor the batch explain."""

MOST_TOKENS, MOST_TOKENS_CPU = 8192, 1024
"""A pack looks at itself as a whole, at a cost that grows with its square."""


def weight_bytes(parameters: int, quantised: bool) -> float:
    """Bytes of the base's weights; NF4 leaves embeddings and head in 16 bits, about a quarter of a small model."""
    return parameters * (0.25 * 2 + 0.75 * 0.55 if quantised else 2.0)


def activation_bytes(tokens: int, layers: int, hidden: int, checkpointing: bool) -> float:
    """Bytes that one batch of `tokens` keeps for its backward pass."""
    return tokens * layers * hidden * (2.0 if checkpointing else 34.0)


def pack_tokens(device: Device, parameters: int, layers: int, hidden: int, quantised: bool, checkpointing: bool) -> int:
    """Tokens that are computed at once: what the memory has room for, up to where more is no faster."""
    room = ROOM * device.memory - weight_bytes(parameters, quantised) - FIXED
    most = MOST_TOKENS if device.kind == "cuda" else MOST_TOKENS_CPU
    return max(1, min(most, int(room / activation_bytes(1, layers, hidden, checkpointing))))


def wants_four_bit(asked: str, device: Device, parameters: int) -> bool:
    """4-bit where it was asked for, or where 16-bit weights would fill a GPU by more than half its room."""
    if asked != "auto":
        return asked == "on"
    return device.kind == "cuda" and weight_bytes(parameters, False) + FIXED > 0.6 * ROOM * device.memory


def wants_checkpointing(
    asked: str, device: Device, parameters: int, tokens: int, layers: int, hidden: int, quantised: bool
) -> bool:
    """Gradient checkpointing where it was asked for, or where the activations would not fit without it."""
    if asked != "auto":
        return asked == "on"
    needed = weight_bytes(parameters, quantised) + activation_bytes(tokens, layers, hidden, False) + FIXED
    return needed > ROOM * device.memory
