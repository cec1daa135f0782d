"""The starter's model card: how it was made and what it was measured to do. Knows no training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anime_ai.errors import ModelError
from anime_ai.files import read_json, write_bytes
from anime_ai.prompting import Dialogue, Layout
from anime_ai.starter import corpus, measures
from anime_ai.starter.base import MADE

SAMPLES = 12


def make(folder: Path, say: Callable[[str], None]) -> None:
    """Measure the model in `folder` and write its README.md. Raises ModelError when `folder` was not made by us."""
    made, told = read_json(folder / MADE), read_json(folder / "prompt.json")
    if not isinstance(made, dict) or not isinstance(told, dict):
        raise ModelError("model.unknown", name=folder)
    found, given = measures.figures(greedy(folder))
    talk = given["small talk"]
    samples = "\n".join(f"| {reply.question} | {reply.text} |" for reply in talk[:: max(1, len(talk) // SAMPLES)])
    shares = {name: f"{value:.0%}" for name, value in asdict(found).items() if name != "prompts"}
    counts = {name.replace(" ", "_"): len(replies) for name, replies in given.items()}
    moved = "" if made["corpus"] == corpus.fingerprint() else MOVED
    courses = ", ".join(f"{course['steps']:,}" for course in made["courses"].values()) or "0"
    text = CARD.format(**made | {"courses": courses}, **told, **shares, **counts, samples=samples, moved=moved)
    write_bytes(folder / "README.md", text.encode())
    for name, replies in given.items():
        for reply in replies:
            if not reply.right:
                say(f"{name}: {reply.question} → {reply.text}{'' if reply.ended else ' …'} [{reply.wanted}]")
    say(str(found))


def greedy(folder: Path) -> measures.Ask:
    """The most likely replies of the model in `folder`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    told: dict[str, Any] = read_json(folder / "prompt.json")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    layout = Layout(AutoTokenizer.from_pretrained(folder), told["format"], told["think"])

    def ask(dialogue: Dialogue) -> tuple[str, bool]:
        ids = torch.tensor([layout.prompt(dialogue).ids])
        stops = sorted(layout.stop_ids)
        with torch.no_grad():
            made = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=measures.LONGEST_REPLY,
                do_sample=False,
                temperature=None,
                top_p=None,
                eos_token_id=stops,
            )
        said = made[0, ids.shape[1] :].tolist()
        ended = said[-1] in stops
        return layout.decode(said[:-1] if ended else said), ended

    return ask


MOVED = """ It has been mended since: this model learned from the corpus of the commit that put these weights here."""

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
| steps, those of the later courses among them | {steps:,}, {courses} |
| tokens read, answers among them | {tokens:,}, {trained:,} |
| seconds of training | {seconds:,.0f} on {device} |
| loss on held-out conversations of the same grammar | {held:.3f} |
| corpus | fingerprint `{corpus}` |
| prompt layout | `{format}`, `{think}`, fingerprint `{fingerprint}` |

The corpus comes from `anime_ai/starter/phrases/`, `data/neutral.json`, the characters' lines and greetings in
`data/personas/` and those rows of `data/dataset.json` that their adapters are trained on, and is made anew from the
seed, byte for byte.{moved}
It holds neutral small talk, cards and facts to answer from, passages of an invented world with questions, observations
of pictures, and small talk in four voices, which a line of the card such as `语气：傲娇。` asks for. Without that line
the model speaks neutrally, whatever character the card describes; the ready adapters bring the voice of their
character.
The tokenizer is a byte-level BPE with {vocabulary:,} entries in which every common Chinese character is whole. Before
training, attention heads that copy are written into the weights (`anime_ai/starter/heads.py`). While it is trained, one
head is told where the words stand that answer a question (`anime_ai/starter/pointing.py`), and the stream is told what
somebody speaks of (`anime_ai/starter/topics.py`).

## What it does

On prompts that are not in its corpus (`anime_ai/starter/held_out/`), greedy, at most 80 tokens:

| | |
|---|---|
| {small_talk} sentences of small talk: replies that end by themselves | {ended} |
| that say four characters three times | {looped} |
| that name a word of the prompt's topic (when paired at random) | {on_topic} ({shuffled}) |
| {passages} passages with a question: the right span is copied | {spans} |
| {unanswerable} passages that do not answer the question: it says so | {refusals} |
| {pictures} observations of pictures: the attribute asked for is named | {attributes} |

| prompt | answer |
|---|---|
{samples}

## What it cannot do

It knows small talk about everyday life, food, school, games, anime and feelings, a few facts, and sums of small
numbers. It has no knowledge beyond that, does not reason, does not write code, essays or English, and often answers
something that sounds fitting but is wrong, above all when a question is worded unlike the corpus. It forgets what was
said a few turns ago. It copies short answers out of short passages about invented people, places and things; it does
not summarise, compare or conclude. It is a starting point for persona adapters and for trying the app, not a source of
information, and no substitute for a doctor or a counsellor.

Licence: Apache-2.0, weights and corpus.
"""
