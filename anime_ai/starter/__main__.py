"""`python -m anime_ai.starter`: make the starter language model again, from its corpus to its card."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anime_ai.config import STARTER_LM
from anime_ai.files import replaced_folder, write_json

TALKS = 120_000
STEPS = 900
HELD = 300
SHARD = "8MB"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m anime_ai.starter", description=__doc__)
    parser.add_argument("--out", type=Path, default=STARTER_LM, help="where the model goes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS, help="optimiser steps (default: %(default)s)")
    parser.add_argument("--minutes", type=float, help="choose the steps so that training takes about this long here")
    parser.add_argument("--talks", type=int, default=TALKS, help="conversations in the corpus (default: %(default)s)")
    parser.add_argument("--compile", action="store_true", help="compile the model: a minute more, then a third faster")
    make(parser.parse_args())


def make(asked: argparse.Namespace) -> None:
    """Corpus, tokenizer, training, measurement and card; the old folder is replaced when all is there."""
    import torch
    from transformers import AutoTokenizer

    from anime_ai.prompting import Layout
    from anime_ai.starter import card, corpus, pretrain, tokenizer

    began = time.perf_counter()
    say = lambda line: print(f"{time.perf_counter() - began:7.1f} s  {line}", flush=True)  # noqa: E731
    held_questions = {probe.dialogue.question.rstrip("。？！") for probe in card.probes()}
    talks = [
        talk
        for talk in corpus.talks(asked.talks, asked.seed)
        if not any(turn.user.rstrip("。？！") in held_questions for turn in talk.turns)
    ]
    say(f"{len(talks)} conversations")
    with replaced_folder(asked.out) as folder:
        tokenizer.save(tokenizer.train(corpus.texts(talks[:20_000])), folder)
        own = AutoTokenizer.from_pretrained(folder)
        say(f"{len(own)} tokens in the vocabulary")
        layout = Layout(own, "deepseek-r1", "silent")
        sequences = [pretrain.fold(layout, talk) for talk in talks]
        held, sequences = sequences[:HELD], sequences[HELD:]
        say(f"{sum(len(one.ids) for one in sequences):,} tokens to read")

        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = pretrain.build(own, pretrain.Shape(), asked.seed)
        steps = asked.steps
        if asked.minutes:
            steps = _steps_in(asked.minutes * 60, own, sequences, device)
        schedule = pretrain.Schedule(steps=steps, seed=asked.seed)
        done = None
        for done in pretrain.train(model, sequences, schedule, device, asked.compile):
            if done.step % 100 == 0 or done.step == steps:
                say(f"step {done.step}/{steps}  loss {done.loss:.3f}  {done.tokens / done.seconds:,.0f} tokens/s")
        assert done is not None
        model.to("cpu")
        model.save_pretrained(folder, max_shard_size=SHARD)
        write_json(
            folder / "prompt.json", {"format": layout.format, "think": layout.think, "fingerprint": layout.fingerprint()}
        )
        probes = card.probes()
        given = list(card.replies(model, layout, probes))
        measured = card.figures(given, probes)
        made: dict[str, Any] = {
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "command": f"python -m anime_ai.starter --seed {asked.seed} --steps {steps} --talks {asked.talks}"
            + " --compile" * asked.compile,
            "seed": asked.seed,
            "talks": len(talks),
            "steps": steps,
            "tokens": done.tokens,
            "trained": done.trained,
            "seconds": done.seconds,
            "device": "a GPU" if device == "cuda" else f"{torch.get_num_threads()} CPU cores",
            "held": pretrain.held_loss(model, held),
            "vocabulary": len(own),
            **{"format": layout.format, "think": layout.think, "fingerprint": layout.fingerprint()},
        }
        card.write(folder, made, measured, given)
    for reply in given:
        print(f"{'+' if reply.on_topic else '-'} {reply.question} → {reply.text}{'' if reply.ended else ' …'}")
    say(str(asdict(measured)))


def _steps_in(seconds: float, tokenizer: Any, sequences: list[Any], device: str) -> int:
    """How many steps fit, by the clock of twenty of them on a model that is thrown away."""
    from anime_ai.starter import pretrain

    probe = pretrain.build(tokenizer, pretrain.Shape(), 0)
    *_, last = pretrain.train(probe, sequences, pretrain.Schedule(steps=20), device)
    return max(20, int(seconds / last.seconds * last.step))


if __name__ == "__main__":
    main()
