"""The starter language model's architecture and its training on conversations. Knows no grammar.

A plain loop: batches of like length within a token budget, loss on the answers, on where one head looks for them, on
what they are about, and a little on what is read; weights in the precision in which the machine is quick, fp32 masters,
cosine schedule. A few tokens of what is read are replaced by any others, because a small corpus leaves most characters
unseen and people will type them. The number of steps is given, so that the same seed sees the same batches.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from anime_ai.models.device import cpu_device
from anime_ai.prompting import MASKED, Layout
from anime_ai.starter.corpus import Asked, Talk
from anime_ai.starter.heads import EMBEDDING, POINTING_LAYER, QUIET, write_copying
from anime_ai.starter.pointing import Looks, Pointer, pointers
from anime_ai.starter.schedule import cosine, optimisers
from anime_ai.starter.topics import Named, Topics


@dataclass(frozen=True)
class Shape:
    """The size of the model: 5.7 M parameters with a vocabulary of 6,000."""

    width: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    inner: int = 640
    positions: int = 2048
    rope_theta: float = 1e6


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train; `tokens` a batch, padding included.

    `pointing`, `topics`: weights of the losses on where one head looks (`anime_ai.starter.pointing`) and on what
    somebody speaks of (`anime_ai.starter.topics`), beside that on the replies. `noise`: share of the read tokens that
    are replaced where nothing has to be copied. `foreseen`: share of the read text that is to be foreseen too, whose
    loss weighs `weight` beside the replies': what people type holds far more words than what they are answered.
    """

    steps: int = 900
    tokens: int = 4096
    peak: float = 2e-3
    floor: float = 2e-5
    warmup: int = 40
    decay: float = 0.05
    noise: float = 0.04
    foreseen: float = 0.3
    weight: float = 0.2
    pointing: float = 0.3
    topics: float = 0.3
    seed: int = 0

    def rate(self, step: int) -> float:
        return cosine(step, self.steps, self.warmup, self.peak, self.floor)


@dataclass(frozen=True)
class Sequence:
    """A conversation in tokens, with a label at every token of every reply.

    `exact`: something of what is read has to be copied, so that none of it may be replaced. `pointed`: places of the
    sequence, each with those that a head should look at from there. `about`: the last place of a prompt, with the name
    of what was said. A reply that is "" is none, and the sequence ends before it.
    """

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    exact: bool = False
    pointed: tuple[Pointer, ...] = ()
    about: tuple[Named, ...] = ()


Lesson = tuple[float, list[Sequence]]
"""The share of the steps that it takes, and its conversations."""


@dataclass(frozen=True)
class Progress:
    """What a step did: mean loss of its trained tokens, and what was read and trained since the start."""

    step: int
    loss: float
    tokens: int
    trained: int
    seconds: float


def fold(layout: Layout, talk: Talk) -> Sequence:
    """One sequence for all turns of a conversation.

    The row of each turn is a prefix of the next one's, as prompts are append-only, so their labels can be laid over
    each other. Raises ValueError where that does not hold.
    """
    ids: tuple[int, ...] = ()
    labels: list[int] = []
    pointed: list[Pointer] = []
    about: list[Named] = []
    passage = range(0)
    for place, (dialogue, answer) in enumerate(talk.dialogues()):
        row = layout.training_row(dialogue, answer)
        if row.ids[: len(ids)] != ids:
            raise ValueError("the prompts of a conversation are not append-only")
        begun = next(at for at in range(len(ids), len(row.ids)) if row.labels[at] != MASKED)
        if dialogue.brought:
            passage = range(len(ids), begun)
        if place in talk.sought:
            value = layout.tokenizer.encode(talk.sought[place], add_special_tokens=False)
            pointed += pointers(row.ids, passage, begun, value)
        turn = talk.turns[place]
        if isinstance(turn, Asked) and turn.about:
            about.append((begun - 1, turn.about))
        whole = len(row.ids) if answer else begun
        labels += row.labels[len(ids) : whole]
        ids = row.ids[:whole]
    exact = talk.exact or bool(talk.card or talk.facts) or any(turn.brought for turn in talk.turns)
    return Sequence(ids, tuple(labels), exact, tuple(pointed), tuple(about))


def batches(sequences: list[Sequence], tokens: int, chance: random.Random) -> Iterator[list[Sequence]]:
    """Batches without end, each of like lengths and at most `tokens` with padding; a pass sees every sequence once."""
    while True:
        order = sorted(range(len(sequences)), key=lambda place: (len(sequences[place].ids), chance.random()))
        found: list[list[Sequence]] = [[]]
        for place in order:
            one = sequences[place]
            if found[-1] and len(one.ids) * (len(found[-1]) + 1) > tokens:
                found.append([])
            found[-1].append(one)
        chance.shuffle(found)
        yield from found


def build(tokenizer: Any, shape: Shape, seed: int) -> Any:
    """A fresh Qwen2 model in fp32 whose ends are the tokenizer's and which can copy already."""
    from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.positions,
        tie_word_embeddings=True,
        use_sliding_window=False,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=EMBEDDING,
    )
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        for layer in model.model.layers:  # what is added to the stream starts small beside it
            layer.self_attn.o_proj.weight.mul_(QUIET)
            layer.mlp.down_proj.weight.mul_(QUIET)
    if shape.layers > POINTING_LAYER:
        write_copying(model, seed)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=True,
        temperature=0.6,
        top_p=0.95,
    )
    return model


def train(
    model: Any, lessons: list[Lesson], schedule: Schedule, plain: int, device: str = "cpu", compiled: bool = False
) -> Iterator[Progress]:
    """Train `model` in place on one lesson after the other; it ends in bf16. Yields after every step.

    Ids below `plain` are text, the others are marks, which are never replaced nor foreseen where they are only read.
    """
    chance = random.Random(schedule.seed)
    quick = device != "cpu" or cpu_device().bf16  # a CPU without the instructions would emulate them
    model.to(device=device, dtype=torch.bfloat16 if quick else torch.float32).train()
    # Only so does it tell its weights; and a CPU goes back through fused attention in bf16 at less than half the pace.
    model.set_attn_implementation("eager")
    looks = Looks(model)
    topics = Topics(model, {name for _, lesson in lessons for one in lesson for _, name in one.about})
    masters, stepping = _optimisers([*model.named_parameters(), ("embed.topics", topics.weight)], schedule)
    forward = torch.compile(model.model, dynamic=True) if compiled else model.model
    began, read, trained = time.perf_counter(), 0, 0
    for step, batch in enumerate(_planned(lessons, schedule, chance)):
        ids, labels = _tensors(batch, device, model.config.pad_token_id)
        seen = _noisy(ids, labels, [one.exact for one in batch], schedule.noise, plain)
        read_too = (labels == MASKED) & (ids < plain) & (torch.rand(ids.shape) < schedule.foreseen).to(device)
        for group in (group for optimiser in stepping for group in optimiser.param_groups):
            group["lr"] = schedule.rate(step)
        states = forward(input_ids=seen, use_cache=False).last_hidden_state
        loss = _loss(model, states, labels)
        foreseen = _loss(model, states, ids.masked_fill(~read_too, MASKED))
        pointed = looks.loss(one.pointed for one in batch)
        named = topics.loss(one.about for one in batch)
        (loss + schedule.weight * foreseen + schedule.pointing * pointed + schedule.topics * named).backward()
        for master, weight in masters:
            master.grad = None if weight.grad is None else weight.grad.float()
            weight.grad = None
        torch.nn.utils.clip_grad_norm_([master for master, _ in masters], 1.0)
        for optimiser in stepping:
            optimiser.step()
        with torch.no_grad():
            for master, weight in masters:
                weight.copy_(master)
        read += sum(len(one.ids) for one in batch)
        trained += int((labels != MASKED).sum())
        yield Progress(step + 1, loss.item(), read, trained, time.perf_counter() - began)
    looks.close()
    topics.close()
    model.to(torch.bfloat16).eval().set_attn_implementation("sdpa")


def _planned(lessons: list[Lesson], schedule: Schedule, chance: random.Random) -> Iterator[list[Sequence]]:
    """A batch for every step."""
    begun = 0
    for place, (_, sequences) in enumerate(lessons):
        done = sum(share for share, _ in lessons[: place + 1])
        end = schedule.steps if place == len(lessons) - 1 else round(schedule.steps * done)
        yield from islice(batches(sequences, schedule.tokens, chance), end - begun)
        begun = end


def _optimisers(
    named: list[tuple[str, torch.Tensor]], schedule: Schedule
) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], list[torch.optim.Optimizer]]:
    """fp32 copies of the weights, each beside its weight, and what steps the copies."""
    masters = [(weight.detach().float().clone().requires_grad_(), weight) for _, weight in named]
    names = (name for name, _ in named)
    copies = zip(names, (master for master, _ in masters), strict=True)
    return masters, optimisers(copies, ("embed",), schedule.peak, schedule.decay, (0.9, 0.95))


def _tensors(batch: list[Sequence], device: str, padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and labels, (rows, longest); padding stands on the right, where causal attention never looks at it."""
    longest = max(len(one.ids) for one in batch)
    ids = torch.full((len(batch), longest), padding, dtype=torch.long)
    labels = torch.full((len(batch), longest), MASKED, dtype=torch.long)
    for place, one in enumerate(batch):
        ids[place, : len(one.ids)] = torch.tensor(one.ids)
        labels[place, : len(one.labels)] = torch.tensor(one.labels)
    return ids.to(device), labels.to(device)


def _noisy(ids: torch.Tensor, labels: torch.Tensor, exact: list[bool], share: float, plain: int) -> torch.Tensor:
    """`ids` with a share of the text that is only read replaced by any other tokens, in half of the inexact rows."""
    hit = (torch.rand(ids.shape) < 2 * share) & (torch.rand(len(ids), 1) < 0.5) & ~torch.tensor(exact)[:, None]
    hit = hit.to(ids.device) & (labels == MASKED) & (ids < plain)
    return torch.where(hit, torch.randint(plain, ids.shape).to(ids.device), ids)


def _loss(model: Any, states: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of the labelled tokens; the head is computed for those alone."""
    wanted = labels[:, 1:]
    kept = wanted != MASKED
    logits = model.lm_head(states[:, :-1][kept])
    return torch.nn.functional.cross_entropy(logits.float(), wanted[kept], reduction="sum") / max(1, len(logits))


def held_loss(model: Any, sequences: Iterable[Sequence]) -> float:
    """Mean cross entropy over sequences that were not trained on."""
    total, count = 0.0, 0
    with torch.no_grad():
        for one in sequences:
            ids, labels = _tensors([one], "cpu", model.config.pad_token_id)
            trained = int((labels[:, 1:] != MASKED).sum())
            states = model.model(input_ids=ids, use_cache=False).last_hidden_state
            total += _loss(model, states, labels).item() * trained
            count += trained
    return total / max(1, count)
