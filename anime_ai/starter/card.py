"""What is known of a starter model: its answers to held-out prompts, and its model card. Knows no training.

The 60 prompts in `held_out.json` are not in the corpus; each has words of which one must stand in an
answer on its topic.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from anime_ai.prompting import Dialogue, Layout

HELD_OUT = Path(__file__).parent / "held_out.json"
LONGEST_REPLY = 80


@dataclass(frozen=True)
class Probe:
    """A prompt, and the words of which one stands in any answer that is on its topic."""

    dialogue: Dialogue
    words: tuple[str, ...]


@dataclass(frozen=True)
class Reply:
    """An answer to a probe: whether it ended by itself, turned in circles, or was on the topic."""

    question: str
    text: str
    ended: bool
    looped: bool
    on_topic: bool


@dataclass(frozen=True)
class Figures:
    """Shares of replies. `shuffled`: on topic when every reply is judged by another prompt's words."""

    prompts: int
    ended: float
    looped: float
    on_topic: float
    shuffled: float


def probes(path: Path = HELD_OUT) -> list[Probe]:
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [
        Probe(Dialogue(row.get("card", ""), facts=row.get("facts", ""), question=row["input"]), tuple(row["words"]))
        for row in rows
    ]


def answer(model: Any, layout: Layout, dialogue: Dialogue, longest: int = LONGEST_REPLY) -> tuple[str, bool]:
    """The most likely answer, and whether it ended by itself within `longest` tokens."""
    ids = torch.tensor([layout.prompt(dialogue).ids])
    stops = sorted(layout.stop_ids)
    with torch.no_grad():
        made = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=longest,
            do_sample=False,
            temperature=None,
            top_p=None,
            eos_token_id=stops,
        )
    said = made[0, ids.shape[1] :].tolist()
    ended = said[-1] in stops
    return layout.decode(said[:-1] if ended else said), ended


def loops(text: str, size: int = 4, times: int = 3) -> bool:
    """Whether a run of `size` characters stands in `text` at least `times` times."""
    runs = [text[place : place + size] for place in range(len(text) - size + 1)]
    return any(runs.count(run) >= times for run in set(runs))


def replies(model: Any, layout: Layout, asked: Sequence[Probe]) -> Iterator[Reply]:
    for probe in asked:
        text, ended = answer(model, layout, probe.dialogue)
        yield Reply(probe.dialogue.question, text, ended, loops(text), _named(text, probe))


def figures(given: Sequence[Reply], asked: Sequence[Probe]) -> Figures:
    """Shares over all replies; the shuffled pairing gives every reply the prompts 7, 19 and 31 places on."""
    number = len(given)
    crossed = [
        _named(reply.text, asked[(place + step) % number]) for place, reply in enumerate(given) for step in (7, 19, 31)
    ]
    return Figures(
        number,
        sum(reply.ended for reply in given) / number,
        sum(reply.looped for reply in given) / number,
        sum(reply.on_topic for reply in given) / number,
        sum(crossed) / len(crossed),
    )


def _named(text: str, probe: Probe) -> bool:
    return any(word in text for word in probe.words)


def write(folder: Path, made: dict[str, Any], measured: Figures, given: Sequence[Reply]) -> None:
    """The model card. `made` holds how the model was made, as `__main__` counts it."""
    samples = "\n".join(f"| {reply.question} | {reply.text} |" for reply in given[:: max(1, len(given) // 12)])
    text = CARD.format(
        **made,
        prompts=measured.prompts,
        ended=f"{measured.ended:.0%}",
        looped=f"{measured.looped:.0%}",
        on_topic=f"{measured.on_topic:.0%}",
        shuffled=f"{measured.shuffled:.0%}",
        samples=samples,
    )
    (folder / "README.md").write_text(text, encoding="utf-8", newline="\n")


CARD = """---
license: apache-2.0
language: [zh]
library_name: transformers
pipeline_tag: text-generation
tags: [anime-ai-studio, starter]
prompt_layout: {fingerprint}
---

# Anime AI Studio starter: a very small Chinese chat model

{parameters:,} parameters, Qwen2 architecture, DeepSeek-R1's chat layout. It lets the whole app run on a machine without
internet. Everything it knows it learned from text that this project wrote itself. The app says so whenever it answers.

## How it was made

    {command}

| | |
|---|---|
| seed | {seed} |
| conversations in the corpus | {talks:,} |
| steps | {steps:,} |
| tokens read, answers among them | {tokens:,}, {trained:,} |
| seconds of training | {seconds:,.0f} on {device} |
| loss on held-out conversations of the same grammar | {held:.3f} |
| prompt layout | `{format}`, `{think}`, fingerprint `{fingerprint}` |

The corpus comes from `anime_ai/starter/phrases/` and `data/neutral.json`, and is made anew from the seed, byte for
byte. The tokenizer is a byte-level BPE with {vocabulary:,} entries in which every common Chinese character is whole.

## What it does

On {prompts} prompts that are not in its corpus (`anime_ai/starter/held_out.json`), greedy, at most 80 tokens: {ended}
of the answers end by themselves, {looped} turn in circles, {on_topic} name a word of the prompt's topic ({shuffled} do
when answers and prompts are paired at random).

| prompt | answer |
|---|---|
{samples}

## What it cannot do

It knows small talk about everyday life, food, school, games, anime and feelings, a few facts, and sums of small
numbers. It has no knowledge beyond that, does not reason, does not write code, essays or English, and often answers
something that sounds fitting but is wrong, above all when a question is worded unlike the corpus. It forgets what was
said a few turns ago. It does not read passages or descriptions of pictures yet. It is a starting point for persona
adapters and for trying the app, not a source of information, and no substitute for a doctor or a counsellor.

Licence: Apache-2.0, weights and corpus.
"""
