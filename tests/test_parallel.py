"""Several processes and slices of time: the same losses as one process that is never interrupted."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from anime_ai.config import Settings
from anime_ai.dataset.preprocess import Manifest
from anime_ai.dataset.rows import Row
from anime_ai.errors import TrainingError
from anime_ai.models.bases import Base
from anime_ai.processes import kill_tree, start
from anime_ai.training import parallel, runs, slices, trainer
from anime_ai.training.queue import RunQueue, wait
from anime_ai.training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_probe")
ROWS = [Row(f"第{number}句？", f"这是第{number}答{'，真的' * (number % 3)}。", "傲娇") for number in range(10)]


def prepared(folder: Path, base: Base, rows: list[Row] = ROWS, **values: object) -> Path:
    recipe = Recipe.from_values({"base": base.path, "steps": 20, "batch_size": 5, "learning_rate": 0.01, **values})
    runs.create(folder, recipe, run_id="x", name="", dataset="test", rows=rows)
    return folder


def losses(folder: Path, key: str = "loss") -> dict[int, float]:
    return {line["step"]: line[key] for line in runs.metrics(folder) if key in line}


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path: Path, base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun over gloo; the worker itself refuses another number of processes than it was asked for."""
    alone, together = prepared(tmp_path / "one", base), prepared(tmp_path / "two", base, processes=2)
    made, encoded = parallel.command, []

    def asked(folder: Path, *args: Any) -> list[str]:
        encoded.append(Manifest.read(folder / runs.DATA))  # the processes would replace the rows under each other
        return made(folder, *args)

    monkeypatch.setattr(parallel, "command", asked)
    for folder in (alone, together):
        trainer.train(folder, resume=False)
        run = runs.read_run(folder)
        assert (run.state, run.error) == ("finished", None)
        assert run.step == run.total == 20
        assert run.adapter is not None
    assert len(encoded) == 1
    assert encoded[0] is not None
    assert losses(together) == pytest.approx(losses(alone), rel=1e-3)
    assert losses(together, "eval_loss") == pytest.approx(losses(alone, "eval_loss"), rel=1e-3)


@pytest.mark.slow
def test_a_launcher_that_starts_one_process_for_two_is_found_out(
    tmp_path: Path, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = prepared(tmp_path / "run", base, processes=2)
    made = parallel.command

    def one(folder: Path, budget: int, processes: int, accelerate_config: str) -> list[str]:
        told = made(folder, budget, processes, accelerate_config)
        told[told.index("--nproc_per_node") + 1] = "1"
        return told

    monkeypatch.setattr(parallel, "command", one)
    with pytest.raises(parallel.TrainingError) as caught:
        trainer.train(folder, resume=False)
    assert caught.value.key == "training.processes"
    assert runs.metrics(folder) == []


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ("distributed_type: FSDP", "training.split_weights"),
        ("distributed_type: DEEPSPEED", "training.split_weights"),
        ("distributed_type: [", "training.accelerate_file"),
        ("nonsense", "training.accelerate_file"),
        ("", "training.accelerate_file"),
        (None, "training.accelerate_file"),
    ],
)
def test_a_file_that_splits_the_weights_or_is_none_is_refused(tmp_path: Path, said: str | None, key: str) -> None:
    file = tmp_path / "accelerate.yaml"
    if said is not None:
        file.write_text(said, encoding="utf-8")
    with pytest.raises(TrainingError) as caught:
        parallel.check_whole(str(file))
    assert caught.value.key == key
    file.write_text("distributed_type: MULTI_GPU\nnum_machines: 2\n", encoding="utf-8")
    parallel.check_whole(str(file))
    parallel.check_whole("")


def test_accelerate_reads_its_own_file() -> None:
    told = parallel.command(Path("run"), 512, 4, "accelerate.yaml")
    assert told[1:3] == ["-m", "accelerate.commands.launch"]
    assert told[told.index("--config_file") + 1] == "accelerate.yaml"
    assert told[-3:] == ["run", "512", "4"]


class Clock:
    """Seconds that go on by `pace` at every look."""

    def __init__(self, pace: float) -> None:
        self.now, self.pace = 0.0, pace

    def __call__(self) -> float:
        self.now += self.pace
        return self.now


def test_a_slice_ends_before_a_step_could_outlast_it() -> None:
    clock = Clock(10.0)
    ending = slices.Slice(110.0, clock)
    answers = [ending() for _ in range(12)]
    assert clock.now > 110
    last = answers.index(True)
    # Begun at 10, so that it ends at 120; a step takes 10, and two of them have to fit in what is left.
    assert 10.0 * (last + 2) <= 100 < 10.0 * (last + 3) + 10
    assert all(answers[last:])


@pytest.mark.slow
def test_slices_give_the_losses_of_a_whole_training(
    tmp_path: Path, base: Base, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepared(tmp_path / "whole", base)
    trainer.train(whole, resume=False)
    lent: list[int] = []
    # Every step takes ten seconds of this clock: a slice of 110 has room for eight.
    made, clock = slices.Slice, Clock(10.0)
    monkeypatch.setattr(slices, "Slice", lambda seconds: made(seconds, clock))

    def lend(call: Any) -> Any:
        def counted(*given: Any) -> bool:
            lent.append(1)
            return bool(call(*given))

        return counted

    queue = RunQueue(settings, slices.launch_in_slices(lend))
    recipe = Recipe.from_values({"base": base.path, "steps": 20, "batch_size": 5, "learning_rate": 0.01})
    run = queue.submit(ROWS, recipe, "slices", "test")
    queue.start()
    try:
        done = wait(run.folder)
    finally:
        queue.close()
        for thread in threading.enumerate():
            if thread.name.startswith("Thread-") and thread.daemon:
                thread.join(timeout=10)
    assert (done.state, done.error) == ("finished", None)
    assert len(lent) >= 3
    assert losses(run.folder) == pytest.approx(losses(whole), rel=1e-5)
    assert list(losses(run.folder)) == sorted(losses(run.folder))


def test_the_processes_end_with_the_trainer_that_started_them(tmp_path: Path) -> None:
    starter = start([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "log")
    script = (
        "import json, sys, time\n"
        "from anime_ai.processes import Process\n"
        "from anime_ai.training.parallel import leave_with\n"
        "leave_with(Process(*json.loads(sys.argv[1])))\n"
        "print('on', flush=True)\n"
        "time.sleep(600)\n"
    )
    told = [sys.executable, "-c", script, json.dumps(astuple(starter))]
    with subprocess.Popen(told, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "on\n"
        assert worker.poll() is None
        kill_tree(starter, grace_s=0.0)
        assert worker.wait(timeout=60) == 1
