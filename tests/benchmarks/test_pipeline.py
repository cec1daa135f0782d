"""The newcomer's three commands on the starter, and its training against the original recipe's way of batching.

pytest -m benchmark -s tests/benchmarks/test_pipeline.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anime_ai.config import STARTER_LM
from anime_ai.prompting import MASKED

ROOT = Path(__file__).parents[2]
ORIGINAL = """\
用户：你喜欢什么动漫？
AI：哼，才不会随便告诉你呢！不过《EVA》还算不错吧。
==============================
用户：可以帮我写作业吗？
AI：想让我帮你？哼，自己努力一点啦，我可不是你的保姆！
==============================
"""
PADDED = 512
"""The original recipe pads every row to this length."""


def run(*words: str) -> tuple[float, str]:
    """Seconds and stdout of one command."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "anime_ai", *words], cwd=ROOT, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - began, done.stdout


@pytest.mark.benchmark
@pytest.mark.timeout(1200)
def test_the_three_commands(tmp_path: Path) -> None:
    """At most four minutes in all on two free cores; `infer` prints the original answers in the original layout."""
    where = ("--output-dir", str(tmp_path))
    seconds: dict[str, float] = {}
    seconds["preprocess"], _ = run("preprocess", "--model", "starter", *where)
    seconds["train"], _ = run("train", "--model", "starter", *where)
    seconds["infer"], told = run("infer", *where)
    for name, took in {**seconds, "in all": sum(seconds.values())}.items():
        print(f"{name:12s} {took:7.1f} s")
    assert told == ORIGINAL


@pytest.mark.benchmark
@pytest.mark.timeout(600)
def test_rows_per_second_against_padding_to_512(tmp_path: Path) -> None:
    """Our batches (padded to their longest row) and the original's, alternating, on the same model and step."""
    import datasets
    import torch

    from anime_ai.training.trainer import Collator

    run("preprocess", "--model", "starter", "--output-dir", str(tmp_path))
    rows = list(datasets.load_from_disk(str(tmp_path / "processed_data"))["train"])
    collate = Collator(0)

    def padded(batch: list[Any]) -> Any:
        filled = []
        for row in batch:
            missing = PADDED - len(row["input_ids"])
            filled.append({"input_ids": row["input_ids"] + [0] * missing, "labels": row["labels"] + [MASKED] * missing})
        return collate(filled)

    step = _stepper()
    step(collate(rows[:2]))
    speeds: dict[str, list[float]] = {"ours": [], "padded to 512": []}
    ways: dict[str, Callable[[list[Any]], Any]] = {"ours": collate, "padded to 512": padded}
    for turn in range(3):
        for name, way in ways.items():
            began = time.perf_counter()
            for place in range(10):
                first = 2 * (10 * turn + place)
                step(way(rows[first : first + 2]))
            speeds[name].append(20 / (time.perf_counter() - began))
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    for name, value in medians.items():
        print(f"{name:14s} {value:7.1f} rows/s")
    print(f"ratio          {medians['ours'] / medians['padded to 512']:7.2f}   threads {torch.get_num_threads()}")
    assert medians["ours"] > 1.5 * medians["padded to 512"]


def _stepper() -> Callable[[Any], None]:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(STARTER_LM, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"))
    optimiser = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-4)

    def step(batch: Any) -> None:
        model(**batch).loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    return step
