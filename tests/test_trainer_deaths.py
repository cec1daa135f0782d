"""Deaths of the app and of the trainer, with real processes: nothing that was whole is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from test_trainer import ordered, steps_of

from anime_ai.config import ROOT, Settings
from anime_ai.files import read_json
from anime_ai.models.bases import Base, read_header
from anime_ai.models.engine import GREEDY, Adapter
from anime_ai.training import runs
from anime_ai.training.queue import RunQueue, wait
from anime_ai.training.runs import Run

APP = """
import sys, time
from anime_ai.config import Settings
from anime_ai.dataset.rows import Row
from anime_ai.training.queue import RunQueue
from anime_ai.training.recipe import Recipe
settings = Settings.load(output_dir=sys.argv[1])
queue = RunQueue(settings)
queue.start()
rows = [Row(f"第{number}句？", f"这是第{number}答。", "傲娇") for number in range(8)]
for epochs in (1000, 100):
    recipe = Recipe.from_values({"base": sys.argv[2], "epochs": epochs, "learning_rate": 0.005}, settings)
    print(queue.submit(rows, recipe, str(epochs), "test").id, flush=True)
time.sleep(600)
"""


def until(condition: Callable[[], Any]) -> Any:
    """The first true value of `condition`; the suite's own timeout ends what never comes."""
    while not (value := condition()):
        time.sleep(0.02)
    return value


@pytest.fixture
def orphans(settings: Settings, base: Base) -> Iterator[tuple[Run, Run]]:
    """Two runs of an app that was killed while the first one trained and the second one waited."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    app = subprocess.Popen(
        [sys.executable, "-c", APP, str(settings.output_dir), str(base.path)],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert app.stdout is not None
    folders = [settings.runs_dir / app.stdout.readline().strip() for _ in range(2)]
    try:
        until(lambda: steps_of(folders[0]) or not runs.read_run(folders[0]).active)
    finally:
        app.kill()
        app.wait()
        app.stdout.close()
    yield runs.read_run(folders[0]), runs.read_run(folders[1])
    for folder in folders:
        pid = (read_json(folder / runs.STATUS) or {}).get("pid")
        if pid and runs.read_run(folder).active:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_runs_survive_the_death_of_the_app_and_of_the_trainer(
    settings: Settings, base: Base, orphans: tuple[Run, Run]
) -> None:
    from anime_ai.models.transformers_engine import TransformersEngine
    from anime_ai.prompting import Dialogue

    first, second = orphans
    assert first.state == "running", (first.error, (first.folder / runs.LOG).read_text(encoding="utf-8"))
    assert second.waiting
    queue = RunQueue(settings)
    queue.start()
    try:
        # The trainer went on without the app, and a new one sees all of it; the second run still waits for the first.
        seen = queue.get(first.id)
        until(lambda: queue.get(first.id).step > seen.step)
        assert steps_of(first.folder)
        assert queue.get(second.id).waiting
        assert [run.id for run in queue.list()] == [second.id, first.id]

        # Stopping saves: the adapter of a stopped run answers.
        queue.stop(first.id)
        assert queue.get(first.id).state in ("stopping", "stopped")
        ended = wait(first.folder)
        assert (ended.state, ended.error) == ("stopped", None)
        assert 3 <= ended.step < ended.total
        assert runs.last_checkpoint(first.folder) is not None
        engine = TransformersEngine(base)
        prompt = engine.layout("auto", "silent").prompt(Dialogue(question="第1句？"))
        assert ended.adapter is not None
        assert list(engine.stream(prompt, Adapter(ended.adapter), sampling=GREEDY))

        # The second one starts by itself. Its trainer is killed behind a whole checkpoint and beside half a one.
        until(lambda: runs.last_checkpoint(second.folder) or not queue.get(second.id).active)
        whole = runs.last_checkpoint(second.folder)
        assert whole is not None, queue.get(second.id).error
        until(lambda: (steps_of(second.folder) or [0])[-1] > int(whole.name.rpartition("-")[2]))
        os.kill(read_json(second.folder / runs.STATUS)["pid"], signal.SIGKILL)
        killed = wait(second.folder)
        assert (killed.state, killed.adapter) == ("interrupted", None)
        last = runs.last_checkpoint(second.folder)
        assert last is not None
        at = int(last.name.rpartition("-")[2])
        half = last.with_name(f"checkpoint-{at + 1}")
        half.mkdir()
        (half / "adapter_model.safetensors").write_bytes((last / "adapter_model.safetensors").read_bytes()[:100])

        before = [line for line in runs.metrics(second.folder) if line["step"] <= at]
        assert queue.resume(second.id).resumes
        done = wait(second.folder)
        assert (done.state, done.step) == ("finished", done.total)
        assert not half.exists()
        assert runs.metrics(second.folder)[: len(before)] == before
        steps = steps_of(second.folder)
        assert ordered(steps)
        assert ordered(steps_of(second.folder, "eval_loss"))
        assert at < steps[-1] <= done.total
        assert done.adapter is not None
        assert read_header(done.adapter / "adapter_model.safetensors")
    finally:
        queue.close()
