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
    """Our packs and the original's padding, alternating, on the same model, rows and optimiser."""
    import datasets
    import torch

    from anime_ai.training.packing import Encoded, Packer, flat, tensors

    run("preprocess", "--model", "starter", "--output-dir", str(tmp_path))
    parts = datasets.load_from_disk(str(tmp_path / "processed_data"))
    rows = [Encoded(tuple(row["input_ids"]), tuple(row["labels"])) for row in parts["train"]]
    model, optimiser = _model()

    def ours(chosen: list[Encoded]) -> None:
        from anime_ai.training.loop import token_loss

        count = sum(row.trained for row in chosen)
        for pack in Packer(1024)([(row,) for row in chosen]):
            (token_loss(model, tensors(flat(pack)), flat(pack)) / count).backward()

    def padded(chosen: list[Encoded]) -> None:
        ids = torch.tensor([list(row.ids) + [0] * (PADDED - len(row.ids)) for row in chosen])
        labels = torch.tensor([list(row.labels) + [MASKED] * (PADDED - len(row.labels)) for row in chosen])
        model(input_ids=ids, labels=labels).loss.backward()

    ways: dict[str, Callable[[list[Encoded]], None]] = {"ours": ours, "padded to 512": padded}
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(4):  # the first warms up
        for name, way in ways.items():
            began = time.perf_counter()
            for place in range(10):
                first = 2 * (10 * turn + place)
                way(rows[first : first + 2])
                optimiser.step()
                optimiser.zero_grad()
            speeds[name].append(20 / (time.perf_counter() - began))
    medians = {name: statistics.median(values[1:]) for name, values in speeds.items()}
    for name, value in medians.items():
        print(f"{name:14s} {value:7.1f} rows/s")
    print(f"ratio          {medians['ours'] / medians['padded to 512']:7.2f}   threads {torch.get_num_threads()}")
    assert medians["ours"] > 1.5 * medians["padded to 512"]


def _model() -> tuple[Any, Any]:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from anime_ai.training.objective import give_objective

    model = AutoModelForCausalLM.from_pretrained(STARTER_LM, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"))
    give_objective(model.get_base_model())
    return model, torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-4)
