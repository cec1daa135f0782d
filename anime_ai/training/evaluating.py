"""An evaluation in a process of its own: a run folder's adapter, measured, and `evaluation.json`. Knows no page.

python -m anime_ai.training.evaluating RUN_FOLDER ACCELERATOR_LOCK
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anime_ai.config import Settings
from anime_ai.errors import AnimeAIError, TrainingError
from anime_ai.files import read_json, write_json
from anime_ai.models.device import let_threads_sleep
from anime_ai.processes import Lock, Process, current, is_alive, lower_priority, start_module
from anime_ai.training import runs

FILE, LOG = "evaluation.json", "evaluation.log"


@dataclass(frozen=True)
class Evaluation:
    """What `evaluation.json` says: `state` is running, done, failed or "" (there is none). `checkpoint`: the step of
    the adapter that was measured."""

    state: str = ""
    checkpoint: int = 0
    figures: dict[str, dict[str, float]] | None = None
    error: dict[str, Any] | None = None


def read_evaluation(folder: Path) -> Evaluation:
    """A process that is gone without a last word makes it failed."""
    told = read_json(folder / FILE)
    if not isinstance(told, dict):
        return Evaluation()
    state = str(told.get("state", ""))
    error = told.get("error")
    if state == "running" and not is_alive(Process(int(told.get("pid") or 0), float(told.get("started") or 0))):
        state, error = "failed", {"key": "training.crashed", "values": {"why": LOG}}
    return Evaluation(state, int(told.get("checkpoint") or 0), told.get("figures"), error)


def start_evaluation(run: runs.Run, lock: Path) -> None:
    """Measure a run's adapter. Raises TrainingError where there is none, or it is being measured."""
    if run.adapter is None:
        raise TrainingError("training.no_adapter", path=run.folder / runs.FINAL)
    if read_evaluation(run.folder).state == "running":
        raise TrainingError("training.evaluating")
    child = start_module(
        "anime_ai.training.evaluating", [str(run.folder.resolve()), str(lock.resolve())], run.folder / LOG
    )
    _write(run.folder, state="running", pid=child.pid, started=child.started, checkpoint=run.checkpoint)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("lock", type=Path)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    lower_priority()
    let_threads_sleep()
    me = current()
    lock = Lock(args.lock)
    while not lock.try_acquire():
        time.sleep(0.5)
    step = runs.read_run(args.folder).checkpoint
    _write(args.folder, state="running", pid=me.pid, started=me.started, checkpoint=step)
    from anime_ai.training.evaluation import evaluate_run

    try:
        report = evaluate_run(args.folder, Settings.load(), logging.info)
    except AnimeAIError as error:
        values = {name: str(value) for name, value in error.values.items()}
        _write(args.folder, state="failed", error={"key": error.key, "values": values})
        return 1
    except Exception as error:
        logging.exception("the evaluation failed")
        _write(args.folder, state="failed", error={"key": "training.crashed", "values": {"why": str(error)[:200]}})
        return 1
    _write(args.folder, state="done", checkpoint=step, figures={name: asdict(one) for name, one in report.items()})
    return 0


def _write(folder: Path, **told: Any) -> None:
    write_json(folder / FILE, told)


if __name__ == "__main__":
    sys.exit(main())
