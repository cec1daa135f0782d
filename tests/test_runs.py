"""Run folders and their queue, with trainers that are real but fail before they load anything."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from anime_ai.config import Settings
from anime_ai.dataset.rows import Row
from anime_ai.errors import DatasetError, StorageError, TrainingError
from anime_ai.files import read_json, write_json
from anime_ai.processes import Lock, current
from anime_ai.training import runs
from anime_ai.training.queue import RunQueue, accelerator_lock, wait
from anime_ai.training.recipe import Recipe
from anime_ai.training.runs import Run

ROWS = [Row(f"第{number}句？", f"第{number}答。", "傲娇") for number in range(6)]
NOWHERE = Recipe(base="no-such-model")
"""A trainer that is told this fails within a second or two."""


def until(condition: Callable[[], Any]) -> Any:
    """The first true value of `condition`; the suite's own timeout ends what never comes."""
    while not (value := condition()):
        time.sleep(0.02)
    return value


@pytest.fixture
def queue(settings: Settings) -> Iterator[RunQueue]:
    """A queue that nobody has started yet."""
    queue = RunQueue(settings)
    yield queue
    queue.close()


def test_a_run_folder_says_what_was_asked(tmp_path: Path) -> None:
    folder = tmp_path / "一 run"
    runs.create(folder, Recipe(persona="三无"), run_id="x" * 32, name="名字", dataset="data.json", rows=ROWS)
    run = runs.read_run(folder)
    assert (run.id, run.name, run.persona, run.dataset, run.base) == ("x" * 32, "名字", "三无", "data.json", "auto")
    assert (run.state, run.waiting, run.active, run.adapter, run.error) == ("queued", True, True, None, None)
    assert json.loads((folder / "processed_data" / "rows.json").read_text(encoding="utf-8"))[0]["input"] == "第0句？"
    assert runs.metrics(folder) == runs.samples(folder) == []


def test_what_an_earlier_run_left_is_set_aside_and_its_adapter_stays(tmp_path: Path) -> None:
    for name in ("first", "second", "third"):
        runs.create(tmp_path, Recipe(), run_id="cli", name=name, dataset="", rows=ROWS)
        runs.append_line(tmp_path / runs.METRICS, {"step": 1, "loss": 2.0})
        (tmp_path / runs.CHECKPOINTS / "checkpoint-5").mkdir(parents=True)
        (tmp_path / runs.FINAL).mkdir(exist_ok=True)
        runs.request_stop(tmp_path)
        runs.write_status(tmp_path, state="finished")
    assert runs.read_run(tmp_path).name == "third"
    assert read_json(tmp_path / runs.PREVIOUS / runs.CONFIG)["name"] == "second"
    assert (tmp_path / runs.PREVIOUS / runs.CHECKPOINTS / "checkpoint-5").is_dir()
    assert (tmp_path / runs.FINAL).is_dir()
    runs.create(tmp_path, Recipe(), run_id="cli", name="fourth", dataset="", rows=ROWS)
    assert runs.metrics(tmp_path) == []
    assert runs.last_checkpoint(tmp_path) is None
    assert not (tmp_path / runs.STOP).exists()


def test_a_run_that_goes_on_is_not_overwritten(tmp_path: Path) -> None:
    runs.create(tmp_path, Recipe(), run_id="cli", name="first", dataset="", rows=None)
    with pytest.raises(TrainingError) as caught:
        runs.create(tmp_path, Recipe(), run_id="cli", name="second", dataset="", rows=None)
    assert caught.value.key == "training.busy"
    assert runs.read_run(tmp_path).name == "first"
    runs.write_status(tmp_path, started=1.0)  # whoever made it is gone
    assert runs.read_run(tmp_path).state == "interrupted"
    runs.create(tmp_path, Recipe(), run_id="cli", name="second", dataset="", rows=None)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StorageError) as caught:
        runs.create(tmp_path / "file" / "run", Recipe(), run_id="x", name="", dataset="", rows=ROWS)
    assert str(tmp_path / "file") in caught.value.say("zh")
    with pytest.raises(StorageError):
        runs.append_line(tmp_path / "file" / "metrics.jsonl", {})


@pytest.mark.parametrize("status", [None, "", "[]", '{"state": "runn'])
def test_a_folder_without_a_whole_status_is_no_run(tmp_path: Path, status: str | None) -> None:
    runs.create(tmp_path, Recipe(), run_id="x", name="", dataset="", rows=ROWS)
    (tmp_path / runs.STATUS).unlink()
    if status is not None:
        (tmp_path / runs.STATUS).write_text(status, encoding="utf-8")
    with pytest.raises(TrainingError) as caught:
        runs.read_run(tmp_path)
    assert caught.value.key == "training.no_run"


def test_the_state_follows_the_process(tmp_path: Path) -> None:
    runs.create(tmp_path, Recipe(), run_id="x", name="", dataset="", rows=ROWS)
    me = current()
    runs.write_status(tmp_path, state="running", pid=me.pid, started=me.started, step=3, total=60, eta_s=9.0)
    run = runs.read_run(tmp_path)
    assert (run.state, run.step, run.total, run.eta_s, run.waiting) == ("running", 3, 60, 9.0, False)
    runs.request_stop(tmp_path)
    assert runs.read_run(tmp_path).state == "stopping"
    runs.write_status(tmp_path, started=me.started - 1)
    run = runs.read_run(tmp_path)
    assert (run.state, run.eta_s, run.step) == ("interrupted", None, 3)


def test_lines_are_read_from_anywhere_and_a_half_written_one_waits(tmp_path: Path) -> None:
    for step in range(4):
        runs.append_line(tmp_path / runs.METRICS, {"step": step, "loss": 1.0})
    with open(tmp_path / runs.METRICS, "ab") as file:
        file.write(b'{"step": 4, "lo')
    assert [line["step"] for line in runs.metrics(tmp_path)] == [0, 1, 2, 3]
    assert [line["step"] for line in runs.metrics(tmp_path, after=3)] == [3]
    assert runs.metrics(tmp_path, after=99) == []
    runs.forget_after(tmp_path, 1)
    assert [line["step"] for line in runs.metrics(tmp_path)] == [0, 1]
    runs.forget_after(tmp_path, -1)
    assert runs.metrics(tmp_path) == []


def test_only_whole_checkpoints_count(tmp_path: Path) -> None:
    assert runs.last_checkpoint(tmp_path) is None
    for step in (5, 10, 100):
        folder = tmp_path / runs.CHECKPOINTS / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        if step < 100:
            write_json(folder / runs.WHOLE, {"step": step})
    assert runs.last_checkpoint(tmp_path) == tmp_path / runs.CHECKPOINTS / "checkpoint-10"
    runs.drop_unfinished(tmp_path)
    assert sorted(path.name for path in (tmp_path / runs.CHECKPOINTS).iterdir()) == ["checkpoint-10", "checkpoint-5"]


def test_a_persona_without_rows_leaves_no_folder(queue: RunQueue, settings: Settings) -> None:
    with pytest.raises(DatasetError) as caught:
        queue.submit(ROWS, Recipe(persona="温柔"), "", "")
    assert caught.value.key == "dataset.no_persona_rows"
    assert queue.list() == []
    assert not settings.runs_dir.exists() or not list(settings.runs_dir.iterdir())


@pytest.mark.parametrize("run_id", ["", "x", "../" + "a" * 29, "a" * 32, "." * 32, "a/" * 16, "a" * 31 + "\0"])
def test_an_id_that_no_run_has_never_walks_the_disk(queue: RunQueue, run_id: str) -> None:
    for ask in (queue.get, queue.stop, queue.resume, queue.remove):
        with pytest.raises(TrainingError) as caught:
            ask(run_id)
        assert caught.value.key == "training.unknown_run"


def test_a_queued_run_is_cancelled_and_removed(queue: RunQueue) -> None:
    run = queue.submit(ROWS, NOWHERE, " 第一 " + "长" * 100, "data")
    assert len(run.name) == 80
    with pytest.raises(TrainingError) as caught:
        queue.remove(run.id)
    assert caught.value.key == "training.still_running"
    with pytest.raises(TrainingError) as caught:
        queue.resume(run.id)
    assert caught.value.key == "training.busy"
    queue.stop(run.id)
    assert queue.get(run.id).state == "stopped"
    with pytest.raises(TrainingError) as caught:
        queue.stop(run.id)
    assert caught.value.key == "training.not_running"
    with pytest.raises(TrainingError) as caught:
        queue.resume(run.id)
    assert caught.value.key == "training.nothing_to_resume"
    queue.remove(run.id)
    assert queue.list() == []
    assert not run.folder.exists()


def test_a_run_that_is_being_deleted_is_not_listed(queue: RunQueue) -> None:
    first, second = (queue.submit(ROWS, NOWHERE, name, "") for name in ("first", "second"))
    shutil.copytree(first.folder, first.folder.with_name(f".{first.id}.partial"))
    (first.folder.parent / "no run").mkdir()
    assert [run.id for run in queue.list()] == [second.id, first.id]


def test_runs_are_started_in_order_and_say_why_they_failed(queue: RunQueue) -> None:
    names = [queue.submit(ROWS, NOWHERE, name, "").id for name in ("first", "second")]
    queue.start()
    ended = [wait(queue.get(run_id).folder) for run_id in names]
    assert [run.state for run in ended] == ["failed", "failed"]
    for run in ended:
        assert run.error == {"key": "model.unknown", "values": {"name": "no-such-model"}}
        assert TrainingError(run.error["key"], **run.error["values"]).say("en")
        assert (run.folder / runs.LOG).read_bytes().count(b"ERROR") == 1
    assert ended[0].updated <= ended[1].updated


def test_two_apps_on_one_folder_start_each_run_once(settings: Settings) -> None:
    queues = [RunQueue(settings), RunQueue(settings)]
    for one in queues:
        one.start()
    submitted = [one.submit(ROWS, NOWHERE, "", "") for one in queues]
    for run in submitted:
        wait(run.folder)
        assert (run.folder / runs.LOG).read_bytes().count(b"ERROR") == 1
    for one in queues:
        one.close()


def _waiting_for_the_accelerator(queue: RunQueue) -> Run:
    run = queue.submit(ROWS, NOWHERE, "", "")
    return until(lambda: (now := queue.get(run.id)).state == "queued" and not now.waiting and now)


def test_a_trainer_waits_for_the_accelerator_and_can_be_called_off(queue: RunQueue, settings: Settings) -> None:
    lock = Lock(accelerator_lock(settings))
    assert lock.try_acquire()
    queue.start()
    run = _waiting_for_the_accelerator(queue)
    later = queue.submit(ROWS, NOWHERE, "", "")
    queue.stop(run.id)
    assert wait(run.folder).state == "stopped"
    assert until(lambda: not queue.get(later.id).waiting)
    lock.release()
    assert wait(later.folder).state == "failed"


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_trainer_that_is_killed_is_interrupted_and_the_next_one_starts(queue: RunQueue, settings: Settings) -> None:
    lock = Lock(accelerator_lock(settings))
    assert lock.try_acquire()
    queue.start()
    run = _waiting_for_the_accelerator(queue)
    os.kill(read_json(run.folder / runs.STATUS)["pid"], signal.SIGKILL)
    assert wait(run.folder).state == "interrupted"
    lock.release()
    later = queue.submit(ROWS, NOWHERE, "", "")
    assert wait(later.folder).state == "failed"


def test_a_program_that_cannot_start_fails_the_run_with_a_reason(
    queue: RunQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = queue.submit(ROWS, NOWHERE, "", "")
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    queue.start()
    ended = wait(run.folder)
    assert ended.state == "failed"
    assert ended.error is not None
    assert ended.error["key"] == "process.start"


def test_what_nobody_foresaw_fails_the_run_and_the_queue_goes_on(settings: Settings) -> None:
    told: list[Path] = []

    def broken(folder: Path, lock: Path, resume: bool = False) -> None:
        told.append(folder)
        raise RuntimeError("CUDA error: device-side assert triggered")

    queue = RunQueue(settings, broken)
    first, second = (queue.submit(ROWS, NOWHERE, name, "") for name in "ab")
    (queue._folder / "odd").mkdir()
    write_json(queue._folder / "odd" / runs.CONFIG, {"recipe": None})
    write_json(queue._folder / "odd" / runs.STATUS, {"state": "queued"})
    queue.start()
    ended = [wait(run.folder) for run in (first, second)]
    queue.close()
    assert [run.state for run in ended] == ["failed", "failed"]
    assert all(run.error and "device-side" in run.error["values"]["why"] for run in ended)
    assert told == [first.folder, second.folder]


def test_a_trainer_has_the_folder_and_the_source_of_the_app(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, str] = {}

    def noted(module: str, arguments: list[str], log: Path, env: dict[str, str]) -> Any:
        told.update(env)
        return current()

    monkeypatch.setattr(runs, "start_module", noted)
    runs.create(tmp_path / "run", NOWHERE, run_id="x" * 32, name="", dataset="", rows=ROWS)
    runs.launch(tmp_path / "run", tmp_path / "lock", False, runs.surroundings(settings, "modelscope"))
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    found = Settings.load()
    assert found.runs_dir == settings.runs_dir.resolve()
    assert found.hub == "modelscope"
    assert runs.surroundings(settings)["ANIME_AI_HUB"] == settings.hub
