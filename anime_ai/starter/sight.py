"""The starter's image model: drawn, trained, measured on portraits that it never saw. Knows no language model."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anime_ai.config import STARTER_COCA
from anime_ai.files import read_json, replaced_folder, write_bytes, write_json
from anime_ai.starter import captioned, drawings
from anime_ai.starter.coca import Progress, Schedule, Shape, build, build_tokenizer, save, train
from anime_ai.starter.portraits.looks import Look
from anime_ai.vision.clip import Clip
from anime_ai.vision.describing import read
from anime_ai.vision.looking import LABELS_FILE
from anime_ai.vision.observation import Tag

PICTURES, STEPS = 40_000, 2_700
UNSEEN, UNSEEN_SEED = 1_000, 10**9
"""Portraits to measure on; their seed is none that a training is given."""
MADE = "made.json"
EXCLUSIVE = ("hair_colour", "hair_style", "eyes", "expression", "clothes", "scene", "style")
"""Groups of which a portrait shows one tag."""


@dataclass(frozen=True)
class Figures:
    """Shares of the unseen portraits: the right tag of each group; accessories by F1 over all; `hair_and_expression`:
    hair colour, hair style and expression all right in one list. Seconds for one portrait alone, on `cores`."""

    portraits: int
    right: dict[str, float]
    accessories_f1: float
    hair_and_expression: float
    seconds: float
    cores: int


def make(
    say: Callable[[str], None], folder: Path = STARTER_COCA, pictures: int = PICTURES, steps: int = STEPS, seed: int = 0
) -> None:
    """Draw, train and measure; the old folder is replaced when all is there."""
    shown = drawings.looks(pictures, seed)
    pixels = drawings.drawn(shown)
    say(f"{pictures:,} portraits drawn")
    shape, tokenizer = Shape(), build_tokenizer(seed)
    model = build(shape, len(tokenizer), seed)
    last = Progress(0, 0.0, 0.0, 0.0, 0.0)
    for last in train(model, tokenizer, shown, pixels, Schedule(steps, seed=seed), shape):
        if last.step % 100 == 0 or last.step == steps:
            told = f"writing {last.writing:.3f}  together {last.together:.3f}  naming {last.naming:.3f}"
            say(f"step {last.step}/{steps}  {told}  {last.step * Schedule(steps).batch / last.seconds:,.0f} pictures/s")
    with replaced_folder(folder) as fresh:
        save(model, tokenizer, shape, fresh)
        found = measured(fresh)
        made = {
            "command": "python -m anime_ai.starter --only coca",
            "seed": seed,
            "pictures": pictures,
            "steps": steps,
            "seconds": round(last.seconds),
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "figures": asdict(found),
        }
        write_json(fresh / MADE, made)
        write_bytes(fresh / "README.md", _card(made).encode())
    say(f"right: {found.right}, accessories {found.accessories_f1:.3f}, {found.seconds * 1000:.0f} ms a portrait")


def learn_characters(say: Callable[[str], None], folder: Path = STARTER_COCA) -> None:
    """Learn to tell characters apart over the weights in the folder, which is replaced when all is there."""
    from anime_ai.errors import ModelError
    from anime_ai.starter import identity

    made = read_json(folder / MADE)
    if not isinstance(made, dict):
        raise ModelError("model.unknown", name=folder)
    with replaced_folder(folder) as fresh:
        shutil.copytree(folder, fresh, dirs_exist_ok=True)
        made["recognition"] = asdict(identity.make(say, fresh))
        write_json(fresh / MADE, made)
        write_bytes(fresh / "README.md", _card(made).encode())


def measured(folder: Path, count: int = UNSEEN) -> Figures:
    """What the model of a folder tells of portraits that nobody trained on, as a camera hands them on."""
    from anime_ai.processes import usable_cpus

    looks = drawings.looks(count, UNSEEN_SEED)
    chance = random.Random(UNSEEN_SEED)
    photographs = list(drawings.photographs(drawings.drawn(looks), range(count), drawings.SIDE, chance))
    clip, labels = Clip(folder, "starter"), read_json(folder / LABELS_FILE)
    told = [read(caption, clip.tokenizer, labels) for caption in clip.caption(photographs)]
    began = time.perf_counter()
    for photograph in photographs[:50]:
        clip.caption([photograph])
    seconds = (time.perf_counter() - began) / 50
    return Figures(count, *_counted(looks, told), seconds, usable_cpus())


def _counted(looks: Sequence[Look], told: Sequence[Sequence[Tag]]) -> tuple[dict[str, float], float, float]:
    """Shares right by group, F1 of the accessories, and the share with hair and expression right."""
    wanted = [_grouped(captioned.seen(look).tags) for look in looks]
    found = [_grouped(tags) for tags in told]
    pairs = list(zip(wanted, found, strict=True))
    right = {}
    for group in EXCLUSIVE:
        asked = [(one[group], other.get(group, set())) for one, other in pairs if group in one]
        right[group] = sum(one == other for one, other in asked) / len(asked)
    worn = [(one.get("accessories", set()), other.get("accessories", set())) for one, other in pairs]
    hits, claims, truths = (
        sum(len(part) for part in parts)
        for parts in ([one & other for one, other in worn], [other for _, other in worn], [one for one, _ in worn])
    )
    named = ("hair_colour", "hair_style", "expression")
    whole = sum(all(one[group] == other.get(group) for group in named) for one, other in pairs) / len(pairs)
    return right, 2 * hits / max(1, claims + truths), whole


def _grouped(tags: Sequence[Tag]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for tag in tags:
        found.setdefault(tag.group, set()).add(tag.name)
    return found


def _card(made: Mapping[str, Any]) -> str:
    figures = made["figures"]
    rows = "\n".join(f"| {group.replace('_', ' ')} | {share:.1%} |" for group, share in figures["right"].items())
    values = {key: value for key, value in figures.items() if key not in ("right", "seconds")}
    recognition = RECOGNITION.format(**made["recognition"]) if "recognition" in made else ""
    known = {**made, "recognition": recognition}
    return CARD.format(**known, **values, rows=rows, seconds_each=1000 * figures["seconds"])


RECOGNITION = """
`identity.safetensors` tells characters apart (`anime_ai/starter/identity.py`). It was measured in {galleries} galleries
of {characters} characters whom nobody learned from, each known by {enrolled} pictures. Of new pictures of them, with
another expression, other clothes and another background, {right:.1%} are called by the right name; of pictures of
strangers, {false:.1%} are taken for somebody.
"""

CARD = """---
license: apache-2.0
language: [zh, en]
library_name: open_clip
pipeline_tag: image-to-text
tags: [anime-ai-studio, starter]
---

# Anime AI Studio starter: a very small CoCa for drawn portraits

{parameters:,} parameters, open_clip's CoCa architecture. It lets the app look at pictures on a machine without
internet. It saw nothing but portraits that this project draws itself (`anime_ai/starter/portraits/`), with the lists of
their tags. The app says so whenever it looks.

## How it was made

    {command}

seed {seed}; {pictures:,} portraits, {steps:,} steps, {seconds:,} seconds of training.

## What it does

On {portraits:,} portraits of other seeds, compressed, blurred, cropped and turned as cameras do:

| | right |
|---|---|
{rows}
| accessories (F1) | {accessories_f1:.1%} |
| hair colour, hair style and expression in one list | {hair_and_expression:.1%} |

{seconds_each:.0f} ms a portrait on {cores} CPU cores.
{recognition}
## What it cannot do

It knows frontal portraits of one drawn girl in this project's manner. Of other drawings it often tells something that
is not there, of photographs nothing that is true; a real tagger or CLIP is one click away in the app.

Licence: Apache-2.0, weights and drawings.
"""
