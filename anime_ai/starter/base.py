"""The starter language model's folder, from the corpus to the weights. Knows no figures and no adapters."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anime_ai.config import STARTER_LM
from anime_ai.errors import TrainingError
from anime_ai.files import read_json, replaced_folder, write_json
from anime_ai.prompting import Layout
from anime_ai.starter import corpus, measures, tokenizer
from anime_ai.starter.curriculum import COURSES

if TYPE_CHECKING:
    from anime_ai.starter.pretrain import Lesson, Progress, Schedule

TALKS = 250_000
STEPS = 10_000
COURSE_PEAK = 1e-3
HELD = 300
VOCABULARY_TALKS = 20_000
SHARD = "8MB"
MADE = "made.json"
"""How the weights were made, for their card."""


@dataclass(frozen=True)
class Options:
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


def make(options: Options, say: Callable[[str], None]) -> None:
    """Corpus, tokenizer, training; the old folder is replaced when all is there."""
    from transformers import AutoTokenizer

    from anime_ai.starter import pretrain

    held_out = measures.questions()
    lessons = [(share, corpus.without(talks, held_out)) for share, talks in corpus.lessons(options.talks, options.seed)]
    talks = [talk for _, lesson in lessons for talk in lesson]
    say(f"{len(talks):,} conversations")
    if not all(lesson for _, lesson in lessons) or len(lessons[-1][1]) <= HELD:
        raise TrainingError("training.too_few_talks", talks=options.talks, held=HELD)
    with replaced_folder(options.out) as folder:
        every = max(1, -(-len(talks) // VOCABULARY_TALKS))
        tokenizer.save(tokenizer.train(corpus.texts(talks[::every])), folder)
        own = AutoTokenizer.from_pretrained(folder)
        layout = Layout(own, "deepseek-r1", "silent")
        folded = [(share, [pretrain.fold(layout, talk) for talk in lesson]) for share, lesson in lessons]
        held = folded[-1][1][:HELD]
        del folded[-1][1][:HELD]
        tokens = sum(len(one.ids) for _, lesson in folded for one in lesson)
        say(f"{tokens:,} tokens to read, {len(own):,} in the vocabulary")
        model, made = _trained(options, own, folded, say)
        model.save_pretrained(folder, max_shard_size=SHARD)
        told = {"format": layout.format, "think": layout.think, "fingerprint": layout.fingerprint()}
        write_json(folder / "prompt.json", told)
        made |= {"talks": len(talks), "held": pretrain.held_loss(model, held), "vocabulary": len(own)}
        made |= {"corpus": corpus.fingerprint(), "courses": {}}
        write_json(folder / MADE, made)
    say(f"loss on held-out conversations {made['held']:.3f}")


def go_on(options: Options, say: Callable[[str], None], name: str) -> None:
    """One of COURSES over the weights in the folder, which are replaced when all is there.

    Raises TrainingError where there are none, or it is not the course that they have to have next.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from anime_ai.starter import pretrain

    made = read_json(options.out / MADE)
    had = made["courses"] if isinstance(made, dict) else COURSES
    if next((one for one in COURSES if one not in had), None) != name:
        order = ", ".join(("base", *COURSES))
        raise TrainingError("training.course_order", folder=options.out, course=name, order=order)
    own = AutoTokenizer.from_pretrained(options.out)
    layout = Layout(own, "deepseek-r1", "silent")
    held_out = measures.questions()
    course = COURSES[name]
    talks = corpus.without(corpus.course(name, options.seed), held_out)
    *_, (_, last) = corpus.lessons(options.talks, options.seed)
    held = corpus.without(islice(last, HELD), held_out)
    folded = [pretrain.fold(layout, talk) for talk in talks]
    say(f"{len(talks):,} conversations, {sum(len(one.ids) for one in folded):,} tokens to read")
    model: Any = AutoModelForCausalLM.from_pretrained(options.out, dtype=torch.bfloat16)
    found = {key: weight.detach().clone() for key, weight in model.named_parameters()}
    schedule = pretrain.Schedule(steps=course.steps, peak=COURSE_PEAK, seed=options.seed)
    done = _run(model, [(1.0, folded)], schedule, own, options, say)
    with torch.no_grad():
        for key, weight in model.to("cpu").named_parameters():
            weight.copy_(torch.lerp(found[key].float(), weight.float(), course.share))
    with replaced_folder(options.out) as folder:
        shutil.copytree(options.out, folder, dirs_exist_ok=True)
        model.save_pretrained(folder, max_shard_size=SHARD)
        for key, value in _read(done).items():
            made[key] += value
        made["courses"][name] = {"talks": len(talks), **_read(done)}
        made["held"] = pretrain.held_loss(model, (pretrain.fold(layout, talk) for talk in held))
        write_json(folder / MADE, made)
    say(f"loss on held-out conversations {made['held']:.3f}")


def _trained(
    options: Options, own: Any, lessons: list[Lesson], say: Callable[[str], None]
) -> tuple[Any, dict[str, Any]]:
    """The model, on the CPU, and how it was trained."""
    import torch

    from anime_ai.starter import pretrain

    device = _device()
    # Before the model: what it draws must not depend on how the number of steps was found.
    steps = _steps_in(options, own, lessons, device) if options.minutes else options.steps
    model = pretrain.build(own, pretrain.Shape(), options.seed)
    done = _run(model, lessons, pretrain.Schedule(steps=steps, seed=options.seed), own, options, say)
    return model.to("cpu"), {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "command": options.command(steps),
        "seed": options.seed,
        "device": "a GPU" if device == "cuda" else f"{torch.get_num_threads()} CPU cores",
        **_read(done),
    }


def _run(
    model: Any, lessons: list[Lesson], schedule: Schedule, own: Any, options: Options, say: Callable[[str], None]
) -> Progress:
    """Train the model, and say how it goes; the last step's progress."""
    from anime_ai.starter import pretrain

    plain = len(own) - len(tokenizer.MARKS)
    for done in pretrain.train(model, lessons, schedule, plain, _device(), options.compiled):
        if done.step % 100 == 0 or done.step == schedule.steps:
            say(f"step {done.step}/{schedule.steps}  loss {done.loss:.3f}  {done.tokens / done.seconds:,.0f} tokens/s")
    return done


def _read(done: Progress) -> dict[str, int]:
    """What a training read, and how long it took."""
    return {"steps": done.step, "tokens": done.tokens, "trained": done.trained, "seconds": round(done.seconds)}


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _steps_in(options: Options, own: Any, lessons: list[Lesson], device: str) -> int:
    """How many steps fit into the minutes, by the clock of a few on a model that is thrown away."""
    from anime_ai.starter import pretrain

    probe = pretrain.build(own, pretrain.Shape(), 0)
    first, *_, last = pretrain.train(probe, lessons, pretrain.Schedule(steps=30), len(own), device, options.compiled)
    seconds = (last.seconds - first.seconds) / (last.step - first.step)
    return max(20, int((options.minutes or 0) * 60 / seconds))
