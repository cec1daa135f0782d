"""`python -m anime_ai.starter`: make the starter language model again, from its corpus to its card."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anime_ai.config import STARTER_LM
from anime_ai.files import replaced_folder, write_json

TALKS = 120_000
STEPS = 2_600
HELD = 300
VOCABULARY_TALKS = 20_000
SHARD = "8MB"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m anime_ai.starter", description=__doc__)
    parser.add_argument("--out", type=Path, default=STARTER_LM, help="where the model goes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS, help="optimiser steps (default: %(default)s)")
    parser.add_argument("--minutes", type=float, help="choose the steps so that training takes about this long here")
    parser.add_argument("--talks", type=int, default=TALKS, help="conversations in the corpus (default: %(default)s)")
    parser.add_argument("--compile", action="store_true", help="compile the model: a minute more, then a third faster")
    parser.add_argument("--adapters", action="store_true", help="make only the persona adapters, on the base as it is")
    asked = parser.parse_args()
    if asked.adapters:
        from anime_ai.starter import adapters

        adapters.make(_clock())
    else:
        make(asked)


def make(asked: argparse.Namespace) -> None:
    """Corpus, tokenizer, training, measurement and card; the old folder is replaced when all is there."""
    from transformers import AutoTokenizer

    from anime_ai.prompting import Layout
    from anime_ai.starter import card, corpus, pretrain, tokenizer

    say = _clock()
    probes = card.probes()
    talks = corpus.without(corpus.talks(asked.talks, asked.seed), [probe.dialogue.question for probe in probes])
    say(f"{len(talks):,} conversations")
    with replaced_folder(asked.out) as folder:
        tokenizer.save(tokenizer.train(corpus.texts(talks[:VOCABULARY_TALKS])), folder)
        own = AutoTokenizer.from_pretrained(folder)
        layout = Layout(own, "deepseek-r1", "silent")
        sequences = [pretrain.fold(layout, talk) for talk in talks]
        held, sequences = sequences[:HELD], sequences[HELD:]
        say(f"{sum(len(one.ids) for one in sequences):,} tokens to read, {len(own):,} in the vocabulary")
        model, made = _trained(asked, own, sequences, say)
        model.save_pretrained(folder, max_shard_size=SHARD)
        told = {"format": layout.format, "think": layout.think, "fingerprint": layout.fingerprint()}
        write_json(folder / "prompt.json", told)
        given = list(card.replies(model, layout, probes))
        measured = card.figures(given, probes)
        made |= {"talks": len(talks), "held": pretrain.held_loss(model, held), "vocabulary": len(own), **told}
        card.write(folder, made, measured, given)
    for reply in given:
        print(f"{'+' if reply.on_topic else '-'} {reply.question} → {reply.text}{'' if reply.ended else ' …'}")
    say(str(asdict(measured)))


def _trained(
    asked: argparse.Namespace, tokenizer: Any, sequences: list[Any], say: Callable[[str], None]
) -> tuple[Any, dict[str, Any]]:
    """The model, on the CPU, and what its card tells of the training."""
    import torch

    from anime_ai.starter import pretrain
    from anime_ai.starter.tokenizer import MARKS

    device = "cuda" if torch.cuda.is_available() else "cpu"
    plain = len(tokenizer) - len(MARKS)
    model = pretrain.build(tokenizer, pretrain.Shape(), asked.seed)
    steps = _steps_in(asked.minutes * 60, tokenizer, sequences, device) if asked.minutes else asked.steps
    schedule = pretrain.Schedule(steps=steps, seed=asked.seed)
    for done in pretrain.train(model, sequences, schedule, plain, device, asked.compile):
        if done.step % 100 == 0 or done.step == steps:
            say(f"step {done.step}/{steps}  loss {done.loss:.3f}  {done.tokens / done.seconds:,.0f} tokens/s")
    command = f"python -m anime_ai.starter --seed {asked.seed} --steps {steps} --talks {asked.talks}"
    return model.to("cpu"), {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "command": command + " --compile" * asked.compile,
        "seed": asked.seed,
        "steps": steps,
        "tokens": done.tokens,
        "trained": done.trained,
        "seconds": done.seconds,
        "device": "a GPU" if device == "cuda" else f"{torch.get_num_threads()} CPU cores",
    }


def _clock() -> Callable[[str], None]:
    began = time.perf_counter()
    return lambda line: print(f"{time.perf_counter() - began:7.1f} s  {line}", flush=True)


def _steps_in(seconds: float, tokenizer: Any, sequences: list[Any], device: str) -> int:
    """How many steps fit, by the clock of twenty of them on a model that is thrown away."""
    from anime_ai.starter import pretrain

    probe = pretrain.build(tokenizer, pretrain.Shape(), 0)
    *_, last = pretrain.train(probe, sequences, pretrain.Schedule(steps=20), len(tokenizer), device)
    return max(20, int(seconds / last.seconds * last.step))


if __name__ == "__main__":
    main()
