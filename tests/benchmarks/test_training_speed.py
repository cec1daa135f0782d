"""Training the 1.5B on this machine, against the original recipe and LLaMA-Factory: rows a second and memory.

ANIME_AI_TEST_DATA=… pytest -m benchmark -s tests/benchmarks/test_training_speed.py

Three sets made of LLaMA-Factory's `identity.json`: its 91 short rows; the same behind a persona's card of 350 tokens;
rows of 300 tokens. All run end to end without evaluation, on the full-size stand-in; sixteen rows a step, as
LLaMA-Factory's page has it (2 × 8). The reference of the same run is the original project's recipe: rows padded to 512,
two at a time, fp32, gradient checkpointing, plain Trainer; on one step, as it takes minutes. LLaMA-Factory 0.9.5 runs
where LLAMAFACTORY names its command line (in an environment of its own); elsewhere its recorded figures stand there,
marked so. They were measured on 2 cores of an AMD EPYC with AVX512-BF16.

What no exact training can beat is measured along: the products with the base's weights that a step has, forward and
back, each alone. `test_training_memory.py` has the memory.

Beside three busy programs (load 4.1 to 4.8) parts of the short set gave, in pairs, 1.08 and 1.05 rows/s against
LLaMA-Factory's 0.52 and 0.46 (2.1 and 2.3 times; 3.1 and 3.7 with its threads spinning), and the products alone 1.35.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import standin

from anime_ai.config import ROOT

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(5400)]
CARD_TOKENS, LONG_TOKENS = 350, 300
LLAMAFACTORY_RECORDED = {"short": 0.50, "persona": 0.077}
BARS = {"short": 2.3, "persona": 7.0}
ORIGINAL_BAR = 30.0

OURS = """
import json, sys, time
from pathlib import Path
from anime_ai.dataset.files import read_rows
from anime_ai.training import callbacks, fitting, runs, trainer
from anime_ai.training.packing import Packer, computed, flat, orders, shared
from anime_ai.training.recipe import Recipe
folder, rows, base = (Path(word) for word in sys.argv[1:4])
given = read_rows(rows).rows
fitting.prober_of = lambda *told: None
told = {"base": str(base), "persona": "x", "batch_size": 2, "accumulation": 8, "max_length": 2048, "evaluations": 1}
told["steps"] = -(-len(given) // 16) * int(sys.argv[4])
told |= json.loads(sys.argv[5]) if len(sys.argv) > 5 else {}
runs.create(folder, Recipe.from_values(told), run_id="x", name="", dataset="", rows=given)
class AllTrained:
    train, held_out = tuple(range(len(given))), ()
from anime_ai.dataset import preprocess
preprocess.split_rows = lambda *told: AllTrained
tell, began = callbacks.Reporter._tell, callbacks.Reporter.on_train_begin
callbacks.foreseen = callbacks.ended = 0.0
def begin(self, args, state, control, **given):
    began(self, args, state, control, **given)
    callbacks.began = time.monotonic()
def watch(self, state, force=False):
    tell(self, state, force=True)
    callbacks.ended = time.monotonic()
    if state.global_step == 5:
        callbacks.foreseen = callbacks.ended - callbacks.began + (runs.read_status(folder)["eta_s"] or 0.0)
callbacks.Reporter._tell, callbacks.Reporter.on_train_begin = watch, begin
data_of = fitting.data_of
def counted(job, layout):
    data = data_of(job, layout)
    told = [row for item in data.train for row in item]
    callbacks.lengths, callbacks.common = [len(row.ids) for row in told], shared(told)
    order = orders(len(data.train), 16, -(-len(data.train) // 16), job.recipe.seed)
    packs = [pack for step in order for pack in Packer(1024)([data.train[one] for one in step])]
    callbacks.tokens = sum(computed(flat(pack)) for pack in packs) / len(told)
    callbacks.trained = sum(row.trained for row in told) / len(told)
    return data
fitting.data_of = counted
trainer.train(folder, resume=False)
lines = [line for line in runs.metrics(folder) if "loss" in line]
seconds = lines[-1]["time"] - lines[0]["time"]
from anime_ai.models.device import pick_device
from anime_ai.training.estimate import estimate
job = trainer.job_of(folder)
found = estimate(job.recipe, job.base, callbacks.lengths, pick_device(), common=callbacks.common)
told = {"rows": len(given) * int(sys.argv[4]) - 16, "seconds": seconds, "peak": callbacks.memory_peak()}
told |= {"tokens": callbacks.tokens, "trained": callbacks.trained}
more = {"estimated": found.memory, "foreseen": callbacks.foreseen, "took": callbacks.ended - callbacks.began}
print("RESULT", json.dumps({**told, **more}))
"""

ORIGINAL = """
import json, sys, time
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments
from anime_ai.training.callbacks import memory_peak
rows, base, out = json.load(open(sys.argv[1], encoding="utf-8"))[:4], sys.argv[2], sys.argv[3]
torch.set_num_threads(len(__import__("os").sched_getaffinity(0)))
tokenizer = AutoTokenizer.from_pretrained(base)
tokenizer.pad_token = tokenizer.eos_token
def encoded(row):
    text = f"<think>user\\n{row['input']}</tool_call>\\nassistant\\n{row['output']}</tool_response>"
    told = tokenizer(text, truncation=True, max_length=512, padding="max_length")
    return {**told, "labels": list(told["input_ids"])}
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
lora = LoraConfig(r=8, lora_alpha=32, lora_dropout=0.1, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
model = get_peft_model(model, lora)
model.enable_input_require_grads()
args = TrainingArguments(output_dir=out, per_device_train_batch_size=2, max_steps=2, gradient_checkpointing=True,
                         use_cpu=True, report_to=[], save_strategy="no", logging_steps=1, disable_tqdm=True)
done = Trainer(model=model, args=args, train_dataset=[encoded(row) for row in rows]).train()
print("RESULT", json.dumps({"rows": 4, "seconds": done.metrics["train_runtime"], "peak": memory_peak()}))
"""

PRODUCTS = """
import json, os, sys, time
import torch
torch.set_num_threads(len(os.sched_getaffinity(0)))
tokens, trained = int(sys.argv[1]), int(sys.argv[2])
def least(rows, into, out):
    states, back, weight = (torch.randn(size).bfloat16() for size in ((rows, into), (rows, out), (out, into)))
    found = []
    for product in (lambda: states @ weight.T, lambda: back @ weight):
        taken = []
        for _ in range(5):
            began = time.perf_counter()
            product()
            taken.append(time.perf_counter() - began)
        found.append(min(taken))
    return sum(found)
block = 2 * least(tokens, 1536, 8960) + least(tokens, 8960, 1536)
block += 2 * least(tokens, 1536, 1536) + 2 * least(tokens, 1536, 256)
seconds = 28 * block + least(128, 1536, 151_936) * trained / 128
print("RESULT", json.dumps({"rows": 16, "seconds": seconds, "peak": 0.0}))
"""


@dataclass(frozen=True)
class Measured:
    """`estimated`: bytes that were told before the start. `foreseen`: seconds of the whole that were told after five
    steps, against what it took. `tokens`: computed for a row, `trained` of them learned."""

    rows: int
    seconds: float
    peak: float
    estimated: float = 0.0
    foreseen: float = 0.0
    took: float = 0.0
    tokens: float = 0.0
    trained: float = 0.0

    @property
    def pace(self) -> float:
        return self.rows / self.seconds


def run(code: str, *words: object) -> Measured:
    """What a Python of its own measured."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, encoding="utf-8", env=env
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert done.returncode == 0, done.stderr[-3000:]
    assert lines, done.stdout[-3000:]
    return Measured(**json.loads(lines[-1].removeprefix("RESULT ")))


def sets(test_data: Path, folder: Path) -> dict[str, Path]:
    """The three sets as files of our format."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(test_data / "tokenizer")
    told = json.loads((test_data / "datasets" / "identity.json").read_text(encoding="utf-8"))

    def tokens(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    rows = [
        {"input": one["instruction"] + one.get("input", ""), "output": one["output"], "persona": "x"} for one in told
    ]
    card = "你是纪棠，一个嘴硬心软的高中女生，说话总要先哼一声，却会把雨伞留给别人。"
    while tokens(card) < CARD_TOKENS:
        card += "她不承认自己担心谁，只说是顺路；别人道谢时她会转过脸去，耳朵却红了。"
    while tokens(card) > CARD_TOKENS:
        card = card[:-1]
    long = []
    for row in rows[:32]:
        answer = row["output"]
        while tokens(row["input"] + answer) < LONG_TOKENS:
            answer += row["output"]
        long.append({**row, "output": answer})
    made = {"short": rows, "persona": [{**row, "system": card} for row in rows[:48]], "long": long}
    files = {}
    for name, value in made.items():
        files[name] = folder / f"{name}.json"
        files[name].write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return files


def llamafactory(base: Path, rows: Path, folder: Path, most: int) -> Measured:
    """LLaMA-Factory at its page's defaults (LoRA rank 8 on all linear layers, 2 × 8 rows, cut-off 2048, bf16)."""
    data = folder / "data"
    data.mkdir(parents=True)
    told = [
        {"instruction": row["input"], "input": "", "output": row["output"], "system": row.get("system", "")}
        for row in json.loads(rows.read_text(encoding="utf-8"))[:most]
    ]
    (data / "rows.json").write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
    columns = {"prompt": "instruction", "query": "input", "response": "output", "system": "system"}
    info = {"rows": {"file_name": "rows.json", "columns": columns}}
    (data / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    model = folder / "model"
    model.mkdir()
    for file in base.iterdir():
        (model / file.name).symlink_to(file)
    # With the published tokenizer class its transformers drops every Chinese character, without an error.
    config = json.loads((base / "tokenizer_config.json").read_text(encoding="utf-8"))
    (model / "tokenizer_config.json").unlink()
    (model / "tokenizer_config.json").write_text(json.dumps({**config, "tokenizer_class": "PreTrainedTokenizerFast"}))
    options = {
        **{"stage": "sft", "do_train": True, "finetuning_type": "lora", "lora_rank": 8, "lora_target": "all"},
        **{"model_name_or_path": str(model), "template": "deepseekr1", "dataset": "rows", "dataset_dir": str(data)},
        **{"cutoff_len": 2048, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 8, "bf16": True},
        **{"num_train_epochs": 1.0, "learning_rate": 5e-5, "lr_scheduler_type": "cosine", "use_cpu": True},
        **{"output_dir": str(folder / "out"), "report_to": "none", "save_strategy": "no", "logging_steps": 5},
    }
    file = folder / "run.yaml"  # which any JSON is
    file.write_text(json.dumps(options), encoding="utf-8")
    # As ours: threads that spin while others compute would make the reference slower than it has to be.
    env = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run([os.environ["LLAMAFACTORY"], "train", str(file)], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    seconds = json.loads((folder / "out" / "train_results.json").read_text())["train_runtime"]
    return Measured(len(told), seconds, 0.0)


def test_rows_a_second_and_memory(test_data: Path, tmp_path: Path) -> None:
    base = standin.make(Path(os.environ.get("STANDIN", tmp_path / "standin")), test_data / "tokenizer")
    files = sets(test_data, tmp_path)
    began = time.perf_counter()
    told: dict[str, Any] = {"original recipe (short)": run(ORIGINAL, files["short"], base, tmp_path / "original")}
    for name, file in files.items():
        told[f"ours ({name})"] = run(OURS, tmp_path / name, file, base, 2 if name == "short" else 1)
    if os.environ.get("LLAMAFACTORY"):
        for name, most in (("short", 91), ("persona", 16)):
            told[f"LLaMA-Factory ({name})"] = llamafactory(base, files[name], tmp_path / f"lf-{name}", most)
    print(f"\n{'':28}{'rows/s':>9}{'GB':>7}   in {time.perf_counter() - began:.0f} s")
    for name, one in told.items():
        print(f"{name:28}{one.pace:9.3f}{one.peak / 1e9:7.1f}")
    for name, recorded in LLAMAFACTORY_RECORDED.items():
        there = told.get(f"LLaMA-Factory ({name})")
        pace, how = (there.pace, "measured") if there else (recorded, "recorded")
        ratio = told[f"ours ({name})"].pace / pace
        print(f"ours to LLaMA-Factory, {name}: {ratio:.1f} times ({pace:.3f} rows/s {how}; bar {BARS[name]})")
    original = told["ours (short)"].pace / told["original recipe (short)"].pace
    print(f"ours to the original recipe, short: {original:.0f} times (bar {ORIGINAL_BAR:.0f})")
    for name in files:
        one = told[f"ours ({name})"]
        print(
            f"{name}: estimated {one.estimated / 1e9:.1f} GB, {one.estimated / one.peak - 1:+.0%} of the peak", end=""
        )
        print(f"; {one.foreseen:.0f} s foreseen after five steps, {one.took:.0f} s taken" if one.foreseen else "")
    for name in ("short", "persona"):
        one = told[f"ours ({name})"]
        possible = run(PRODUCTS, round(16 * one.tokens), round(16 * one.trained))
        share = one.pace / possible.pace
        print(f"{name}: {possible.pace:.2f} rows/s by the products with the weights alone, {share:.0%} of it reached")
