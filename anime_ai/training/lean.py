"""A training step that keeps less for its way back, on processors: norms, attention and the gated part of a block.

What a block of a Qwen keeps by itself is mostly copies: a norm's input in fp32, a softmax in fp32 and in 16 bits, four
tensors of the MLP's width. Here the inputs are kept and the rest is computed again, element by element; no matrix
product is done twice. (Chen et al. 2016, "Training Deep Nets with
Sublinear Memory Cost", with the choice of what is cheap.) The gradients are plain transformers'. Knows no trainer.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

ATTENTION = "anime_ai_lean"


def make_lean(model: Any) -> None:
    """Change a model with its adapter in place. What it does without gradients stays as it was."""
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
            _patch(module, _norm)
        elif all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn")):
            if isinstance(module.act_fn, torch.nn.SiLU) or type(module.act_fn).__name__ == "SiLUActivation":
                _patch(module, _gated)
    AttentionInterface.register(ATTENTION, lean_attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    model.set_attn_implementation(ATTENTION)


def _patch(module: Any, lean: Any) -> None:
    plain = module.forward

    def forward(self: Any, states: torch.Tensor) -> torch.Tensor:
        return lean(self, states) if torch.is_grad_enabled() else plain(states)

    module.forward = MethodType(forward, module)


def _norm(self: Any, states: torch.Tensor) -> torch.Tensor:
    return _Norm.apply(states, self.weight, self.variance_epsilon)


class _Norm(torch.autograd.Function):
    """RMS norm (Zhang & Sennrich 2019) in fp32, with a weight that is not trained."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        wide = states.float()
        root = torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(states, weight, root)
        return weight * (wide * root).to(states.dtype)

    @staticmethod
    def backward(ctx: Any, *given: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        states, weight, root = ctx.saved_tensors
        wide, back = states.float() * root, (given[0] * weight).float()
        back = root * (back - wide * (back * wide).mean(-1, keepdim=True))
        return back.to(states.dtype), None, None


def _gated(self: Any, states: torch.Tensor) -> torch.Tensor:
    gate, up = self.gate_proj(states), self.up_proj(states)
    down = self.down_proj
    lora = _plain_lora(down)
    if lora is None:
        return down(_Gate.apply(gate, up))
    return _Down.apply(gate, up, down.base_layer.weight, *lora)


def _plain_lora(layer: Any) -> tuple[Any, Any, float] | None:
    """A and B and the scale of a linear layer's one adapter; None for any other kind of layer."""
    active = getattr(layer, "active_adapters", [])
    if len(active) != 1 or getattr(layer, "disable_adapters", False) or active[0] not in layer.lora_A:
        return None
    name = active[0]
    plain = type(layer.base_layer) is torch.nn.Linear and layer.base_layer.bias is None
    bare = isinstance(layer.lora_dropout[name], torch.nn.Identity) and name not in layer.lora_variant
    down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
    if not (plain and bare and down.dtype == layer.base_layer.weight.dtype):
        return None
    return down, up, layer.scaling[name]


def _slopes(gate: torch.Tensor, up: torch.Tensor, back: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of silu(gate) · up by gate and by up, times `back`."""
    share = torch.sigmoid(gate)
    silu = gate * share
    return back * up * (share + silu * (1 - share)), back * silu


class _Gate(torch.autograd.Function):
    """silu(gate) · up (Shazeer 2020)."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        return torch.nn.functional.silu(gate) * up

    @staticmethod
    def backward(ctx: Any, *given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gate, up = ctx.saved_tensors
        return _slopes(gate, up, given[0])


class _Down(torch.autograd.Function):
    """W·h + s·B·A·h for h = silu(gate) · up, which is computed again rather than kept."""

    @staticmethod
    def forward(
        ctx: Any, gate: torch.Tensor, up: torch.Tensor, weight: Any, down: Any, across: Any, scale: float
    ) -> torch.Tensor:
        hidden = torch.nn.functional.silu(gate) * up
        narrow = hidden @ down.T
        ctx.save_for_backward(gate, up, weight, down, across, narrow)
        ctx.scale = scale
        return hidden @ weight.T + (narrow @ across.T) * scale

    @staticmethod
    def backward(ctx: Any, *given: torch.Tensor) -> tuple[Any, ...]:
        gate, up, weight, down, across, narrow = ctx.saved_tensors
        back = given[0]
        of_narrow = (back @ across) * ctx.scale
        hidden = torch.nn.functional.silu(gate) * up
        flat = of_narrow.flatten(0, -2)
        of_down = flat.T @ hidden.flatten(0, -2)
        of_across = (back.flatten(0, -2).T @ narrow.flatten(0, -2)) * ctx.scale
        of_gate, of_up = _slopes(gate, up, back @ weight + of_narrow @ down)
        return of_gate, of_up, None, of_down, of_across, None


def lean_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Query (1, heads, T, d), key and value (1, kv heads, T, d) to (1, T, heads, d), by a mask of bools. Heads that
    share a key are one product. Without gradients, and without a mask, transformers' own."""
    if not torch.is_grad_enabled() or attention_mask is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    batch, heads, length, width = query.shape
    groups = key.shape[1]
    scale = scaling if scaling is not None else width**-0.5
    grouped = query.reshape(batch, groups, heads // groups * length, width)
    scores = (grouped @ key.transpose(2, 3)).view(batch, groups, heads // groups, length, length)
    chances = _Softmax.apply(scores, attention_mask[:, :, None], scale)
    found = chances.view(batch, groups, heads // groups * length, length) @ value
    return found.view(batch, heads, length, width).transpose(1, 2), None


class _Softmax(torch.autograd.Function):
    """In fp32, kept in the width that it goes on in."""

    @staticmethod
    def forward(ctx: Any, scores: torch.Tensor, mask: torch.Tensor, scale: float) -> torch.Tensor:
        chances = (scores.float() * scale).masked_fill_(~mask, -torch.inf).softmax(-1).to(scores.dtype)
        ctx.save_for_backward(chances)
        ctx.scale = scale
        return chances

    @staticmethod
    def backward(ctx: Any, *given: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (chances,) = ctx.saved_tensors
        back = given[0] * chances
        back = back - chances * back.sum(-1, keepdim=True, dtype=torch.float32).to(back.dtype)
        return back * ctx.scale, None, None
