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
from anime_ai.training import checkpoints, runs
from anime_ai.training.probing import LONGEST, Prober, affordable


class Reporter(TrainerCallback):
    """Writes the run folder's files and obeys its stop file.

    `patience`: end after so many evaluations without a lower loss, 0 never. `time_is_up` is asked after every step: it
    is a slice that ends then, not the training.
    """

    def __init__(
        self,
        folder: Path,
        prober: Prober | None,
        patience: int = 0,
        time_is_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self.folder, self.prober, self.patience, self.time_is_up = folder, prober, patience, time_is_up
        self.stopped, self.sliced, self.early = threading.Event(), threading.Event(), threading.Event()
        self.tokens_seen: Callable[[], int] = lambda: 0
        self.more: Callable[[], dict[str, float]] = dict
        self._began = self._told = self._probing = 0.0
        self._first_step = self._counted = 0
        self._counted_at = 0.0
        self._probed = -1

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._began = self._counted_at = time.monotonic()
        self._first_step, self._counted = state.global_step, self.tokens_seen()
        self._tell(state, force=True)
        if state.global_step == 0:
            self._sample(state, args)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        asked = self.stopped.is_set() or (self.folder / runs.STOP).exists()
        if agreed(asked or self.early.is_set()):
            (self.early if self.early.is_set() and not asked else self.stopped).set()
        elif state.global_step < state.max_steps and agreed(self.time_is_up()):
            self.sliced.set()
        if self.stopped.is_set() or self.sliced.is_set() or self.early.is_set():
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
            line |= {name: round(value, 4) for name, value in self.more().items()}
        line["memory_mb"] = round(memory_peak() / 2**20)
        runs.append_line(self.folder / runs.METRICS, {"step": state.global_step, **line, "time": time.time()})

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Time spent on held-out rows is no training time.
        self._counted, self._counted_at = self.tokens_seen(), time.monotonic()
        losses = [line["eval_loss"] for line in runs.metrics(self.folder) if "eval_loss" in line]
        if self.patience and len(losses) - 1 - losses.index(min(losses)) >= self.patience:
            self.early.set()  # at the end of the next step, where all processes agree

    def on_save(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        # A loss is told only every few steps: without this look a checkpoint could keep what has gone wrong since.
        if model is not None and not _finite(model):
            raise TrainingError("training.not_finite", what="weights", step=state.global_step)
        checkpoints.seal(self.folder, state.global_step)
        self._sample(state, args)
        self._counted = self.tokens_seen()

    def _sample(self, state: Any, args: Any) -> None:
        """Ask what the time allows. Questions that are new have their answer before the training noted as well."""
        step = state.global_step
        if step == self._probed or self.prober is None:
            return
        self._probed = step
        began = time.monotonic()
        asked, tokens = 1, LONGEST
        if step > self._first_step:
            trained = began - self._began - self._probing
            whole = trained / (step - self._first_step) * (state.max_steps - self._first_step)
            left = 1 + (state.max_steps - step) // max(1, int(args.save_steps))
            allowed = affordable(whole, self._probing, left, self.prober.a_token, len(self.prober.questions))
            asked, tokens = allowed.questions, allowed.tokens
        known = {line["prompt"] for line in runs.samples(self.folder)}
        replies = []
        for prompt in self.prober.questions[:asked]:
            if step and prompt not in known:
                self._note(0, prompt, self.prober.ask(prompt, tokens, before=True))
            replies.append(self.prober.ask(prompt, tokens))
            self._note(step, prompt, replies[-1])
        if (score := self.prober.score(replies)) is not None:
            line = {"step": step, "style": round(score, 4), "replies": len(replies), "time": time.time()}
            runs.append_line(self.folder / runs.METRICS, line)
        self._probing += time.monotonic() - began
        # Time spent on probes is no training time.
        self._counted_at = time.monotonic()

    def _note(self, step: int, prompt: str, reply: str) -> None:
        runs.append_line(self.folder / runs.SAMPLES, {"step": step, "prompt": prompt, "reply": reply})

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


class Follower(TrainerCallback):
    """What a process beside the first one does: it stops when that one does, and writes nothing."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if agreed(False) or (state.global_step < state.max_steps and agreed(False)):
            control.should_training_stop = control.should_save = True


def agreed(mine: bool) -> bool:
    """Whether one of the processes says so: none may stop while the others go on."""
    import torch

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return mine
    said = torch.tensor(int(mine))
    if torch.distributed.get_backend() == "nccl":
        said = said.cuda()
    torch.distributed.all_reduce(said, op=torch.distributed.ReduceOp.MAX)
    return bool(said.item())


def _finite(model: Any) -> bool:
    """Whether all that is trained is a number."""
    return all(bool(weight.isfinite().all()) for weight in model.parameters() if weight.requires_grad)


def memory_peak() -> int:
    """Bytes: the peak of what torch took on the accelerator, else the most that this process has held (resident pages,
    those of the mapped weights among them; see `processes.peak_memory`)."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    from anime_ai.processes import peak_memory

    return peak_memory()
