"""A training step that keeps less for its way back, on processors: norms, attention, adapters, gated blocks.

What a block of a Qwen keeps by itself is mostly copies: a norm's input in fp32, a softmax in fp32 and in 16 bits, four
tensors of the MLP's width. Here the inputs are kept and the rest is computed again, element by element; no product with
a weight is done twice. (Chen et al. 2016, "Training Deep Nets with
Sublinear Memory Cost", with the choice of what is cheap.) The gradients are plain transformers'. Knows no trainer.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MethodType
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from anime_ai.training.packing import Piece

ATTENTION = "anime_ai_lean"


def make_lean(model: Any) -> None:
    """Change a model with its adapter in place. What it does without gradients stays as it was."""
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
            _patch(module, _norm)
        elif all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn")):
            if isinstance(module.act_fn, torch.nn.SiLU) or type(module.act_fn).__name__ == "SiLUActivation":
                _patch(module, _gated)
        elif hasattr(module, "lora_A") and hasattr(module, "base_layer"):
            _patch(module, _adapted, module.forward)
    AttentionInterface.register(ATTENTION, lean_attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    model.set_attn_implementation(ATTENTION)


def _patch(module: Any, lean: Any, *more: Any) -> None:
    plain = module.forward

    def forward(self: Any, states: torch.Tensor) -> torch.Tensor:
        return lean(self, states, *more) if torch.is_grad_enabled() else plain(states)

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
    if lora is None or down.base_layer.bias is not None:
        return down(_Gate.apply(gate, up))
    return _Down.apply(gate, up, down.base_layer.weight, *lora)


def _adapted(self: Any, states: torch.Tensor, plain: Any) -> torch.Tensor:
    lora = _plain_lora(self)
    if lora is None:
        return plain(states)
    return _Linear.apply(states, self.base_layer.weight, self.base_layer.bias, *lora)


def _plain_lora(layer: Any) -> tuple[Any, Any, float] | None:
    """A and B and the scale of a linear layer's one adapter; None for any other kind of layer."""
    active = getattr(layer, "active_adapters", [])
    if len(active) != 1 or layer.disable_adapters or layer.merged or active[0] not in layer.lora_A:
        return None
    name = active[0]
    plain = type(layer.base_layer) is torch.nn.Linear and not layer.base_layer.weight.requires_grad
    bare = isinstance(layer.lora_dropout[name], torch.nn.Identity) and name not in layer.lora_variant
    down, up = layer.lora_A[name], layer.lora_B[name]
    if not (plain and bare and down.weight.dtype == layer.base_layer.weight.dtype and up.bias is None):
        return None
    return down.weight, up.weight, layer.scaling[name]


class _Linear(torch.autograd.Function):
    """W·x + b + s·B·A·x, and its slopes, without a pass of their own for what the adapter adds."""

    @staticmethod
    def forward(ctx: Any, states: Any, weight: Any, bias: Any, down: Any, across: Any, scale: float) -> torch.Tensor:
        flat = states.flatten(0, -2)
        narrow = flat @ down.T
        ctx.save_for_backward(flat, weight, down, across, narrow)
        ctx.scale = scale
        found = torch.nn.functional.linear(flat, weight, bias).addmm_(narrow, across.T, alpha=scale)
        return found.view(*states.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *given: torch.Tensor) -> tuple[Any, ...]:
        flat, weight, down, across, narrow = ctx.saved_tensors
        back = given[0].flatten(0, -2)
        of_narrow = (back @ across) * ctx.scale
        of_states = None
        if ctx.needs_input_grad[0]:
            of_states = (back @ weight).addmm_(of_narrow, down).view(*given[0].shape[:-1], -1)
        return of_states, None, None, of_narrow.T @ flat, (back.T @ narrow) * ctx.scale, None


CHUNK = 64
"""Tokens whose gated part is computed at once on the way back: what it takes in between stays in the cache."""


def _slopes(gate: torch.Tensor, up: torch.Tensor, back: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Of h = silu(gate) · up, all (T, width): its slopes by gate and by up times `back`, and h again."""
    found = torch.empty_like(gate), torch.empty_like(gate), torch.empty_like(gate)
    for parts in zip(*(one.split(CHUNK) for one in (gate, up, back, *found)), strict=True):
        gate, up, back, of_gate, of_up, hidden = parts
        share = torch.sigmoid(gate)
        silu = gate * share
        torch.mul(silu, up, out=hidden)
        torch.mul(back, silu, out=of_up)
        torch.mul(back, up, out=of_gate)
        of_gate *= share + silu * (1 - share)
    return found


class _Gate(torch.autograd.Function):
    """silu(gate) · up (Shazeer 2020)."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        return torch.nn.functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gate, up = ctx.saved_tensors
        of_gate, of_up, _ = _slopes(*(one.flatten(0, -2) for one in (gate, up, given[0])))
        return of_gate.view_as(gate), of_up.view_as(up)


class _Down(torch.autograd.Function):
    """W·h + s·B·A·h for h = silu(gate) · up, which is computed again rather than kept."""

    @staticmethod
    def forward(
        ctx: Any, gate: torch.Tensor, up: torch.Tensor, weight: Any, down: Any, across: Any, scale: float
    ) -> torch.Tensor:
        hidden = torch.nn.functional.silu(gate).mul_(up).flatten(0, -2)
        narrow = hidden @ down.T
        ctx.save_for_backward(gate, up, weight, down, across, narrow)
        ctx.scale = scale
        return (hidden @ weight.T).addmm_(narrow, across.T, alpha=scale).view(*gate.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *given: torch.Tensor) -> tuple[Any, ...]:
        gate, up, weight, down, across, narrow = ctx.saved_tensors
        back = given[0].flatten(0, -2)
        of_narrow = (back @ across) * ctx.scale
        of_hidden = (back @ weight).addmm_(of_narrow, down)
        of_gate, of_up, hidden = _slopes(gate.flatten(0, -2), up.flatten(0, -2), of_hidden)
        of_across = (back.T @ narrow) * ctx.scale
        return of_gate.view_as(gate), of_up.view_as(up), None, of_narrow.T @ hidden, of_across, None


def lean_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    pieces: Sequence[Piece] = (),
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Query (1, heads, T, d), key and value (1, kv heads, T, d) to (1, T, heads, d), by a mask of bools (1, 1, T, T).

    `pieces` of the pack say which keys a token may see at all (`packing.pieces_of`); without them all. Without
    gradients, without a mask and for more than one sequence it is transformers' own.
    """
    if not torch.is_grad_enabled() or attention_mask is None or dropout or len(query) > 1:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    length, width = query.shape[2:]
    told = (scaling if scaling is not None else width**-0.5, pieces or ((0, length, 0, 0),))
    return _Attention.apply(query, key, value, attention_mask, *told), None


class _Attention(torch.autograd.Function):
    """Piece by piece, heads that share a key in one product, softmax in fp32. The chances are not kept but computed
    again on the way back, as in Dao et al. 2022 (FlashAttention), which also has the gradients."""

    @staticmethod
    def forward(
        ctx: Any, query: Any, key: Any, value: Any, mask: Any, scale: float, pieces: Sequence[Piece]
    ) -> torch.Tensor:
        ctx.save_for_backward(query, key, value, mask)
        ctx.scale, ctx.pieces = scale, pieces
        _, heads, length, width = query.shape
        found = query.new_empty(1, length, heads, width)
        for piece in pieces:
            asked, keys = _asked(query, piece, key.shape[1]), _seen(key, piece)
            chances = _chances(asked, keys, mask, scale, piece).to(query.dtype)
            told = chances @ _seen(value, piece)
            found[0, piece[0] : piece[1]] = told.view(heads, -1, width).transpose(0, 1)
        return found

    @staticmethod
    def backward(ctx: Any, *given: torch.Tensor) -> tuple[Any, ...]:
        query, key, value, mask = ctx.saved_tensors
        _, heads, length, width = query.shape
        # Laid out as the projections before them gave them.
        of_query = query.new_empty(1, length, heads, width).transpose(1, 2)
        of_key, of_value = (torch.zeros(one.shape, dtype=torch.float32) for one in (key, value))
        for piece in ctx.pieces:
            asked, keys = _asked(query, piece, key.shape[1]), _seen(key, piece)
            back = _asked(given[0].transpose(1, 2), piece, key.shape[1])
            chances = _chances(asked, keys, mask, ctx.scale, piece)
            _add(of_value, chances.to(back.dtype).transpose(1, 2) @ back, piece)
            slopes = (back @ _seen(value, piece).transpose(1, 2)).float()
            slopes = slopes.sub_((slopes * chances).sum(-1, keepdim=True)).mul_(chances.mul_(ctx.scale))
            narrow = slopes.to(query.dtype)
            of_query[0, :, piece[0] : piece[1]] = (narrow @ keys).view(heads, -1, width)
            _add(of_key, narrow.transpose(1, 2) @ asked, piece)
        return of_query, of_key.to(key.dtype), of_value.to(value.dtype), None, None, None


def _asked(states: torch.Tensor, piece: Piece, groups: int) -> torch.Tensor:
    """(groups, heads of a group × tokens of the piece, d)."""
    _, heads, _, width = states.shape
    return states[0, :, piece[0] : piece[1]].reshape(groups, heads // groups * (piece[1] - piece[0]), width)


def _seen(states: torch.Tensor, piece: Piece) -> torch.Tensor:
    """The keys or values (groups, n, d) that a piece looks at."""
    _, last, begin, common = piece
    own = states[0, :, begin:last]
    return torch.cat([states[0, :, :common], own], dim=1) if common else own


def _add(total: torch.Tensor, part: torch.Tensor, piece: Piece) -> None:
    _, last, begin, common = piece
    total[0, :, :common] += part[:, :common]
    total[0, :, begin:last] += part[:, common:]


def _chances(asked: torch.Tensor, keys: torch.Tensor, mask: torch.Tensor, scale: float, piece: Piece) -> torch.Tensor:
    """In fp32 (groups, heads of a group × tokens of the piece, n)."""
    first, last, begin, common = piece
    seen = mask[0, 0, first:last]
    hidden = ~torch.cat([seen[:, :common], seen[:, begin:last]], dim=1)
    scores = (asked @ keys.transpose(1, 2)).float().mul_(scale)
    scores.view(len(asked), -1, *hidden.shape).masked_fill_(hidden, -torch.inf)
    return scores.softmax(-1)
