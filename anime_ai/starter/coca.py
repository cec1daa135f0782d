"""The starter's small CoCa: trained on the project's drawings to tell texts apart and to write them. Knows no app.

CoCa (Yu et al. 2022): one loss pulls a picture and its text together, another one has the text written out of the
picture. The architecture is open_clip's, so that its loaders and those of the app read the folder. A third loss, whose
heads are thrown away, names the tags directly, which teaches the tower shapes long before the decoder could; and the
pictures are clean at first, as what a camera does to them hides what is small.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from anime_ai.files import write_json
from anime_ai.models.device import cpu_device
from anime_ai.starter.captioned import LABELS, corpus, seen, written
from anime_ai.starter.drawings import Pixels, photographs
from anime_ai.starter.mimetic import write_mimetic
from anime_ai.starter.portraits.looks import Look
from anime_ai.starter.schedule import cosine, optimisers
from anime_ai.vision.clip import CONFIG, WEIGHTS
from anime_ai.vision.looking import LABELS_FILE

BEGIN, END = "<begin>", "<end>"
VOCABULARY, TEXTS = 900, 20_000
SEVERAL, RARE = "accessories", 4.0
"""The group of which a portrait shows any number, and the weight of naming it: most are absent most of the time."""
LENGTH = 11.0
"""About that of a vector whose values vary by one, as the tower's tokens do."""
OUTSIDE = ("embed", "projection", "heads")
"""Matrices that are tables, or lie at an end."""
MEAN, DEVIATION = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


@dataclass(frozen=True)
class Shape:
    """4.4 M parameters. `context`: tokens of a text; the tower sees `side` / `patch` squared patches."""

    side: int = 128
    patch: int = 16
    width: int = 192
    layers: int = 6
    embed: int = 128
    text_layers: int = 2
    decoder_layers: int = 2
    context: int = 72

    def config(self, vocabulary: int) -> dict[str, Any]:
        """As open_clip has it; its decoder is as wide as what the picture's tower hands on."""
        text = {"context_length": self.context, "vocab_size": vocabulary, "width": self.embed, "heads": 4}
        tower: dict[str, Any] = {
            "image_size": self.side,
            "patch_size": self.patch,
            "width": self.width,
            "head_width": 32,
        }
        tower["pos_embed_type"] = "sin_cos_2d"
        pooled = {"attentional_pool": True, "attn_pooler_heads": 4, "attn_pooler_queries": 48, "output_tokens": True}
        return {
            "embed_dim": self.embed,
            "custom_text": True,
            "vision_cfg": {**tower, "layers": self.layers, **pooled},
            "text_cfg": {**text, "layers": self.text_layers, "embed_cls": True, "output_tokens": True},
            "multimodal_cfg": {**text, "layers": self.decoder_layers, "attn_pooler_heads": 4},
        }


@dataclass(frozen=True)
class Schedule:
    """`together`, `naming`: weights of the losses that pull pictures and texts together and that name the tags, beside
    that of writing. `clean`: shares of the steps before which no camera, and after which a camera has taken every
    picture."""

    steps: int
    batch: int = 64
    peak: float = 2e-3
    floor: float = 1e-5
    warmup: int = 60
    decay: float = 0.05
    together: float = 0.3
    naming: float = 1.0
    clean: tuple[float, float] = (0.3, 0.6)
    seed: int = 0

    def rate(self, step: int) -> float:
        return cosine(step, self.steps, self.warmup, self.peak, self.floor)

    def taken(self, step: int) -> float:
        """The share of a step's pictures that a camera has taken."""
        first, last = self.clean
        return min(1.0, max(0.0, (step / self.steps - first) / (last - first)))


@dataclass(frozen=True)
class Progress:
    """The losses of a step, and the seconds since the start."""

    step: int
    writing: float
    together: float
    naming: float
    seconds: float


def build_tokenizer(seed: int) -> Any:
    """Byte-level BPE over the texts under drawings, punctuation as it stands."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[END, BEGIN], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(corpus(TEXTS, seed), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token=BEGIN, eos_token=END, pad_token=END)


def build(shape: Shape, vocabulary: int, seed: int) -> Any:
    """A fresh model in fp32."""
    import open_clip

    torch.manual_seed(seed)
    config = {name: value for name, value in shape.config(vocabulary).items() if name != "custom_text"}
    model = open_clip.CoCa(**config)
    # open_clip leaves these two as they lie in memory.
    torch.nn.init.normal_(model.text_decoder.text_projection, std=shape.embed**-0.5)
    torch.nn.init.normal_(model.text.text_projection, std=shape.embed**-0.5)
    write_mimetic(model.visual.transformer.resblocks, seed)
    return model


class Naming(torch.nn.Module):
    """Linear heads that name the tags out of what the tower hands on: of each group one, of accessories any number."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.groups = {group: list(names) for group, names in LABELS.items() if len(names) > 1}
        self.heads = torch.nn.ModuleDict({group: torch.nn.Linear(width, len(of)) for group, of in self.groups.items()})

    def forward(self, features: torch.Tensor, shown: Sequence[Look]) -> torch.Tensor:
        """The mean loss of the groups, for features (pictures, width)."""
        grouped = [seen(look).grouped() for look in shown]
        losses = []
        for group, names in self.groups.items():
            told = self.heads[group](features)
            tags = [{tag.name for tag in one.get(group, ())} for one in grouped]
            if group == SEVERAL:
                wanted = torch.tensor([[float(name in worn) for name in names] for worn in tags])
                losses.append(RARE * binary_cross_entropy_with_logits(told, wanted))
            else:  # the colour of closed eyes is not asked for
                own = torch.tensor([names.index(next(iter(one))) if one else -100 for one in tags])
                if (own >= 0).any():
                    losses.append(cross_entropy(told, own))
        return torch.stack(losses).mean()


def train(
    model: Any, tokenizer: Any, shown: Sequence[Look], pixels: Pixels, schedule: Schedule, shape: Shape
) -> Iterator[Progress]:
    """Train `model` in place; yields after every step. The same seed sees the same pictures and texts."""
    naming = Naming(2 * shape.embed)
    named = [*model.named_parameters(), *naming.named_parameters()]
    learned = [(name, weight) for name, weight in named if weight.requires_grad]
    stepping = optimisers(learned, OUTSIDE, schedule.peak, schedule.decay, (0.9, 0.98))
    towers: list[tuple[torch.Tensor, torch.Tensor]] = []
    watched = model.visual.register_forward_hook(lambda module, given, made: towers.append(made))
    model.train()
    began = time.perf_counter()
    with ThreadPoolExecutor(1) as ahead:  # the next batch is prepared while this one is learned
        batches = _batches(shown, pixels, tokenizer, schedule, shape)
        waiting = ahead.submit(next, batches)
        for step in range(schedule.steps):
            looks, pictures, texts = waiting.result()
            if step + 1 < schedule.steps:
                waiting = ahead.submit(next, batches)
            for group in (group for optimiser in stepping for group in optimiser.param_groups):
                group["lr"] = schedule.rate(step)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=cpu_device().bf16):
                told = model(pictures, texts)
            _, parts = towers.pop()
            features = torch.cat([told["image_features"].float() * LENGTH, parts.float().mean(1)], dim=1)
            writing, together = _losses(told, tokenizer.eos_token_id)
            naming_loss = naming(features, looks)
            for optimiser in stepping:
                optimiser.zero_grad(set_to_none=True)
            (writing + schedule.together * together + schedule.naming * naming_loss).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimiser in stepping:
                optimiser.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, math.log(100))
            seconds = time.perf_counter() - began
            yield Progress(step + 1, writing.item(), together.item(), naming_loss.item(), seconds)
    watched.remove()
    model.eval()


def save(model: Any, tokenizer: Any, shape: Shape, folder: Path) -> None:
    """The published form: the configuration, bf16 weights, the tokenizer, and what the model can name."""
    from safetensors.torch import save_file

    weights = {name: weight.detach().to(torch.bfloat16).contiguous() for name, weight in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
    prepared: dict[str, Any] = {"mean": MEAN, "std": DEVIATION, "interpolation": "bicubic", "resize_mode": "longest"}
    # What is not square stands in the middle of white, as nothing of it may be cut away.
    prepared["fill_color"] = 255
    write_json(folder / CONFIG, {"model_cfg": shape.config(len(tokenizer)), "preprocess_cfg": prepared})
    tokenizer.save_pretrained(folder)
    write_json(folder / LABELS_FILE, {group: list(names) for group, names in LABELS.items()})


def _batches(
    shown: Sequence[Look], pixels: Pixels, tokenizer: Any, schedule: Schedule, shape: Shape
) -> Iterator[tuple[list[Look], torch.Tensor, torch.Tensor]]:
    """Batches without end; a pass sees every drawing once."""
    chance = random.Random(schedule.seed)
    order: list[int] = []
    for step in count():
        while len(order) < schedule.batch:
            order += chance.sample(range(len(shown)), len(shown))
        places, order = order[: schedule.batch], order[schedule.batch :]
        pictures = [_scaled(one) for one in photographs(pixels, places, shape.side, chance, schedule.taken(step))]
        texts = [written(shown[place], chance) for place in places]
        yield [shown[place] for place in places], torch.stack(pictures), _tokens(texts, tokenizer, shape.context)


def _scaled(picture: Image.Image) -> torch.Tensor:
    """(3, side, side)."""
    values = (np.asarray(picture, np.float32) / 255 - MEAN) / DEVIATION
    return torch.from_numpy(values.astype(np.float32)).permute(2, 0, 1)


def _tokens(texts: Sequence[str], tokenizer: Any, context: int) -> torch.Tensor:
    """(texts, longest) of ids between a begin and an end."""
    rows = [tokenizer.encode(text)[: context - 2] for text in texts]
    longest = max(map(len, rows)) + 2
    found = torch.full((len(rows), longest), tokenizer.eos_token_id)
    for place, row in enumerate(rows):
        found[place, : len(row) + 1] = torch.tensor([tokenizer.bos_token_id, *row])
    return found


def _losses(told: dict[str, torch.Tensor], end: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Of writing, over the text and its first end; and of telling the batch's pictures and texts apart."""
    labels, logits = told["labels"], told["logits"].float()
    # Behind its first end a text holds nothing.
    behind = (labels == end).cumsum(1) - (labels == end).long() > 0
    writing = cross_entropy(logits.transpose(1, 2), labels.masked_fill(behind, -100))
    likeness = told["logit_scale"] * told["image_features"].float() @ told["text_features"].float().T
    own = torch.arange(len(likeness))
    return writing, (cross_entropy(likeness, own) + cross_entropy(likeness.T, own)) / 2
