"""What the trainer tells the run folder while it trains: status, metrics, probes, checkpoints that are whole."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from anime_ai.errors import TrainingError
from anime_ai.files import write_json
from anime_ai.training import runs

PROBES = ("你喜欢什么动漫？", "可以帮我写作业吗？", "今天有点累。", "你是谁？")
"""Asked before training and at each checkpoint, so that one sees the character appear."""


class Reporter(TrainerCallback):
    """Writes the run folder's files and obeys its stop file."""

    def __init__(self, folder: Path, probe: Callable[[str], str]) -> None:
        self.folder = folder
        self.probe = probe
        self.stopped = threading.Event()
        self._began = self._told = 0.0
        self._first_step = self._counted = 0
        self._counted_at = 0.0
        self._probed = -1
        self.tokens_seen: Callable[[], int] = lambda: 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._began = self._counted_at = time.monotonic()
        self._first_step, self._counted = state.global_step, self.tokens_seen()
        self._tell(state, force=True)
        if state.global_step == 0:
            self._sample(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.stopped.is_set() or (self.folder / runs.STOP).exists():
            self.stopped.set()
            control.should_training_stop = control.should_save = True
        self._tell(state, force=state.global_step >= state.max_steps)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        logs = logs or {}
        if "train_loss" in logs:  # the sum at the end
            return
        names = ("loss", "eval_loss", "learning_rate", "grad_norm")
        line: dict[str, Any] = {name: float(logs[name]) for name in names if name in logs}
        broken = [name for name in ("loss", "eval_loss", "grad_norm") if not math.isfinite(line.get(name, 0.0))]
        if broken:
            raise TrainingError("training.not_finite", what=broken[0], step=state.global_step)
        if not line:
            return
        if "loss" in line:
            now, tokens = time.monotonic(), self.tokens_seen()
            line["tokens_per_s"] = round((tokens - self._counted) / max(1e-6, now - self._counted_at), 1)
            self._counted, self._counted_at = tokens, now
        line["memory_mb"] = round(_memory() / 2**20)
        runs.append_line(self.folder / runs.METRICS, {"step": state.global_step, **line, "time": time.time()})

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Time spent on held-out rows is no training time.
        self._counted, self._counted_at = self.tokens_seen(), time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        # A loss is told only every few steps: without this look a checkpoint could keep what has gone wrong since.
        if model is not None and not _finite(model):
            raise TrainingError("training.not_finite", what="weights", step=state.global_step)
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        sizes = {str(file.relative_to(folder)): file.stat().st_size for file in folder.rglob("*") if file.is_file()}
        write_json(folder / runs.WHOLE, {"step": state.global_step, "files": sizes})
        self._sample(state.global_step)
        self._counted = self.tokens_seen()

    def _sample(self, step: int) -> None:
        if step == self._probed:
            return
        self._probed = step
        for prompt in PROBES:
            line = {"step": step, "prompt": prompt, "reply": self.probe(prompt)}
            runs.append_line(self.folder / runs.SAMPLES, line)
        # Time spent on probes is no training time.
        self._counted_at = time.monotonic()

    def _tell(self, state: Any, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._told < 0.5:
            return
        self._told = now
        done = state.global_step - self._first_step
        eta = (now - self._began) / done * (state.max_steps - state.global_step) if done else None
        runs.write_status(
            self.folder, state="running", step=state.global_step, total=state.max_steps, eta_s=eta and round(eta, 1)
        )


def _finite(model: Any) -> bool:
    """Whether all that is trained is a number."""
    return all(bool(weight.isfinite().all()) for weight in model.parameters() if weight.requires_grad)


def _memory() -> int:
    """Bytes: the peak on the accelerator, else what this process holds."""
    import psutil
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return psutil.Process().memory_info().rss
