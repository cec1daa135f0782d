"""The starter language model's folder, from the corpus to the weights. Knows no figures and no adapters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anime_ai.config import STARTER_LM
from anime_ai.files import replaced_folder, write_json
from anime_ai.prompting import Layout
from anime_ai.starter import corpus, measures, pretrain, tokenizer

TALKS = 160_000
STEPS = 7_500
HELD = 300
VOCABULARY_TALKS = 20_000
SHARD = "8MB"
MADE = "made.json"
"""How the weights were made, for their card."""


@dataclass(frozen=True)
class Asked:
    """What the command line says."""

    out: Path = STARTER_LM
    seed: int = 0
    steps: int = STEPS
    minutes: float | None = None
    talks: int = TALKS
    compiled: bool = False

    def command(self, steps: int) -> str:
        """The command that makes the same again."""
        named = f"python -m anime_ai.starter --seed {self.seed} --steps {steps} --talks {self.talks}"
        return named + " --compile" * self.compiled


def make(asked: Asked, say: Callable[[str], None]) -> None:
    """Corpus, tokenizer, training; the old folder is replaced when all is there."""
    from transformers import AutoTokenizer

    held_out = measures.questions()
    lessons = [(share, corpus.without(talks, held_out)) for share, talks in corpus.lessons(asked.talks, asked.seed)]
    talks = [talk for _, lesson in lessons for talk in lesson]
    say(f"{len(talks):,} conversations")
    with replaced_folder(asked.out) as folder:
        every = max(1, len(talks) // VOCABULARY_TALKS)
        tokenizer.save(tokenizer.train(corpus.texts(talks[::every])), folder)
        own = AutoTokenizer.from_pretrained(folder)
        layout = Layout(own, "deepseek-r1", "silent")
        folded = [(share, [pretrain.fold(layout, talk) for talk in lesson]) for share, lesson in lessons]
        held = folded[-1][1][:HELD]
        del folded[-1][1][:HELD]
        tokens = sum(len(one.ids) for _, lesson in folded for one in lesson)
        say(f"{tokens:,} tokens to read, {len(own):,} in the vocabulary")
        model, made = _trained(asked, own, folded, say)
        model.save_pretrained(folder, max_shard_size=SHARD)
        told = {"format": layout.format, "think": layout.think, "fingerprint": layout.fingerprint()}
        write_json(folder / "prompt.json", told)
        made |= {"talks": len(talks), "held": pretrain.held_loss(model, held), "vocabulary": len(own)}
        write_json(folder / MADE, made)
    say(f"loss on held-out conversations {made['held']:.3f}")


def _trained(
    asked: Asked, own: Any, lessons: list[pretrain.Lesson], say: Callable[[str], None]
) -> tuple[Any, dict[str, Any]]:
    """The model, on the CPU, and how it was trained."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    plain = len(own) - len(tokenizer.MARKS)
    model = pretrain.build(own, pretrain.Shape(), asked.seed)
    steps = _steps_in(asked.minutes * 60, own, lessons, device) if asked.minutes else asked.steps
    schedule = pretrain.Schedule(steps=steps, seed=asked.seed)
    for done in pretrain.train(model, lessons, schedule, plain, device, asked.compiled):
        if done.step % 100 == 0 or done.step == steps:
            say(f"step {done.step}/{steps}  loss {done.loss:.3f}  {done.tokens / done.seconds:,.0f} tokens/s")
    return model.to("cpu"), {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "command": asked.command(steps),
        "seed": asked.seed,
        "steps": steps,
        "tokens": done.tokens,
        "trained": done.trained,
        "seconds": round(done.seconds),
        "device": "a GPU" if device == "cuda" else f"{torch.get_num_threads()} CPU cores",
    }


def _steps_in(seconds: float, own: Any, lessons: list[pretrain.Lesson], device: str) -> int:
    """How many steps fit, by the clock of twenty of them on a model that is thrown away."""
    probe = pretrain.build(own, pretrain.Shape(), 0)
    *_, last = pretrain.train(probe, lessons, pretrain.Schedule(steps=20), len(own), device)
    return max(20, int(seconds / last.seconds * last.step))
