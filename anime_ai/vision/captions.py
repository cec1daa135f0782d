"""Captions out of a CoCa model (Yu et al. 2022), token by token, on open_clip's modules. Knows no files and no words.

open_clip computes the whole text anew for every token; here the keys and values of what was said, and those of the
picture, are computed once and kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention

Kept = tuple[Tensor, Tensor]
"""Keys and values, each (pictures, heads, tokens, width of a head)."""


@torch.inference_mode()
def captions(
    model: Any,
    seen: Tensor,
    begin: int,
    end: int,
    most: int = 40,
    top_p: float = 0.0,
    temperature: float = 1.0,
    seed: int = 0,
) -> list[tuple[list[int], list[float]]]:
    """Tokens of a caption for each picture, without `begin` and `end`, and how likely each was.

    `seen`: (pictures, patches, width), the second result of the model's `_encode_image`. The likeliest tokens where
    `top_p` is 0, else drawn from the smallest set whose probabilities reach it (Holtzman et al. 2020). Raises
    ValueError for a model whose text tower is not open_clip's own.
    """
    said: list[list[int]] = [[] for _ in range(len(seen))]
    likely: list[list[float]] = [[] for _ in range(len(seen))]
    over = torch.zeros(len(seen), dtype=torch.bool, device=seen.device)
    chance = torch.Generator(seen.device).manual_seed(seed)
    steps = _steps(model, seen)
    next(steps)
    ids = torch.full((len(seen),), begin, device=seen.device)
    for _ in range(min(most, model.text_decoder.context_length - 1)):
        scores = torch.log_softmax(steps.send(ids).float(), dim=-1)
        ids = _drawn(scores / temperature, top_p, chance) if top_p else scores.argmax(-1)
        over |= ids == end
        if bool(over.all()):
            break
        probable = scores.gather(1, ids[:, None])[:, 0].exp()
        for place in (~over).nonzero()[:, 0].tolist():
            said[place].append(int(ids[place]))
            likely[place].append(float(probable[place]))
    return list(zip(said, likely, strict=True))


def _steps(model: Any, seen: Tensor) -> Any:
    """A generator that takes the next tokens, (pictures,), and gives the scores of those after them."""
    text, decoder = model.text, model.text_decoder
    if not hasattr(text, "token_embedding"):
        raise ValueError("the text tower is not open_clip's own")
    pictures = [_of_picture(block, seen) for block in decoder.cross_attn]
    before = list(text.transformer.resblocks)
    kept: list[Kept | None] = [None] * (len(before) + len(decoder.resblocks))
    scores: Tensor | None = None
    place = 0
    while True:
        ids = yield scores
        stream = (text.token_embedding(ids) + text.positional_embedding[place])[:, None]
        for number, block in enumerate(before):
            stream, kept[number] = _said(block, stream, kept[number])
        # With a class token of its own, open_clip hands the tokens on before the last norm.
        stream = stream if text.cls_emb is not None else text.ln_final(stream)
        for number, (block, crossing, picture) in enumerate(
            zip(decoder.resblocks, decoder.cross_attn, pictures, strict=True), len(before)
        ):
            stream, kept[number] = _said(block, stream, kept[number])
            stream = _through(crossing, stream, _attended(crossing.attn, crossing.ln_1(stream), picture))
        scores = decoder.ln_final(stream)[:, 0] @ decoder.text_projection
        place += 1


def _said(block: Any, stream: Tensor, kept: Kept | None) -> tuple[Tensor, Kept]:
    """A block of self-attention for one more token, and what is kept of it."""
    normed = block.ln_1(stream)
    key, value = _projected(block.attn, normed)
    if kept is not None:
        key, value = torch.cat((kept[0], key), 2), torch.cat((kept[1], value), 2)
    return _through(block, stream, _attended(block.attn, normed, (key, value))), (key, value)


def _of_picture(block: Any, seen: Tensor) -> Kept:
    return _projected(block.attn, block.ln_1_kv(seen))


def _through(block: Any, stream: Tensor, attended: Tensor) -> Tensor:
    stream = stream + block.ls_1(attended)
    return stream + block.ls_2(block.mlp(block.ln_2(stream)))


def _projected(attention: Any, normed: Tensor) -> Kept:
    width = attention.embed_dim
    both = linear(normed, attention.in_proj_weight[width:], attention.in_proj_bias[width:])
    key, value = (_heads(part, attention.num_heads) for part in both.chunk(2, dim=-1))
    return key, value


def _attended(attention: Any, normed: Tensor, kept: Kept) -> Tensor:
    width = attention.embed_dim
    query = linear(normed, attention.in_proj_weight[:width], attention.in_proj_bias[:width])
    found = scaled_dot_product_attention(_heads(query, attention.num_heads), *kept)
    return attention.out_proj(found.transpose(1, 2).flatten(2))


def _heads(values: Tensor, heads: int) -> Tensor:
    return values.unflatten(-1, (heads, -1)).transpose(1, 2)


def _drawn(scores: Tensor, top_p: float, chance: torch.Generator) -> Tensor:
    """One token a picture out of the likeliest ones."""
    probable, order = scores.softmax(-1).sort(-1, descending=True)
    # The one that crosses the line stays in.
    probable[probable.cumsum(-1) - probable > top_p] = 0
    drawn = torch.multinomial(probable, 1, generator=chance)
    return order.gather(1, drawn)[:, 0]
