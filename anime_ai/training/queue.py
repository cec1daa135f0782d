"""The app's runs: `OUTPUT_DIR/runs/<id>/`, one trainer at a time, the others wait. Knows neither torch nor pages.

A background thread starts what is queued. The runs' states are read from their folders, so that what a trainer did
while the app was away is seen as soon as it is back.
"""

from __future__ import annotations

import builtins
import logging
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from anime_ai.config import Settings
from anime_ai.dataset.rows import Row
from anime_ai.errors import AnimeAIError, DatasetError, ModelError, StorageError, TrainingError
from anime_ai.files import read_json, write_json
from anime_ai.models.bases import names_gguf
from anime_ai.persona.cards import Personas
from anime_ai.processes import Lock
from anime_ai.training import runs
from anime_ai.training.recipe import Recipe
from anime_ai.training.runs import Run

log = logging.getLogger(__name__)
LOOK_EVERY = 0.5
"""Seconds between two looks at the queue."""


def accelerator_lock(settings: Settings) -> Path:
    """The file whose lock stands for the accelerator."""
    return settings.studio_dir / "accelerator.lock"


class RunQueue:
    """All runs of one output folder. Several apps on one folder share the queue by an OS lock. `launch` starts one."""

    def __init__(
        self, settings: Settings, launch: Callable[..., Any] = runs.launch, personas: Personas | None = None
    ) -> None:
        self.settings, self._launch, self._personas = settings, launch, personas or Personas()
        self._folder = settings.runs_dir
        self._starter = Lock(settings.studio_dir / "queue.lock")
        self._changing = threading.RLock()
        self._closed = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to start what is queued; adopts what an earlier app left running."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="training-queue", daemon=True)
            self._thread.start()

    def submit(self, rows: Sequence[Row], recipe: Recipe, name: str, dataset: str, snapshot: str = "") -> Run:
        """Queue a run on `rows`, which it keeps; `snapshot` is the id under which the dataset has them.

        Raises DatasetError when the persona has no row among them that is no draft, ModelError for a lone GGUF.
        """
        if names_gguf(recipe.base):
            raise ModelError("model.gguf_only_chats", name=recipe.base)
        personas = list(dict.fromkeys(row.persona for row in rows if not row.draft))
        if recipe.persona not in personas:
            known = "、".join(persona for persona in personas if persona) or "-"
            raise DatasetError("dataset.no_persona_rows", persona=recipe.persona, known=known)
        run_id = uuid.uuid4().hex
        folder = self._folder / run_id
        with self._changing:
            named = {"run_id": run_id, "name": name.strip()[:80], "dataset": dataset, "snapshot": snapshot}
            runs.create(folder, recipe, rows=rows, **named)
            self._personas.keep(folder, personas)
        self._wake.set()
        return runs.read_run(folder)

    def list(self) -> builtins.list[Run]:
        """All runs, newest first. A folder that is none, or is being made, is passed over."""
        found = []
        for folder in self._folder.glob("[!.]*/"):
            with suppress(TrainingError):
                found.append(runs.read_run(folder))
        return sorted(found, key=lambda run: run.created, reverse=True)

    def get(self, run_id: str) -> Run:
        """Raises TrainingError for an id that no run has."""
        # An id is one of ours or nothing: it never walks the disk.
        if len(run_id) != 32 or not run_id.isalnum():
            raise TrainingError("training.unknown_run", run=run_id[:40])
        try:
            return runs.read_run(self._folder / run_id)
        except TrainingError as error:
            raise TrainingError("training.unknown_run", run=run_id) from error

    def stop(self, run_id: str) -> None:
        """Ask a run to save and end; one that still waits is cancelled."""
        with self._changing:
            run = self.get(run_id)
            if not run.active:
                raise TrainingError("training.not_running")
            runs.request_stop(run.folder)
            if run.state == "queued" and run.waiting:
                runs.write_status(run.folder, state="stopped")

    def resume(self, run_id: str) -> Run:
        """Queue a stopped, failed or interrupted run again; it goes on from its last whole checkpoint."""
        with self._changing:
            run = self.get(run_id)
            if run.active:
                raise TrainingError("training.busy", path=run.folder)
            if runs.last_checkpoint(run.folder) is None:
                raise TrainingError("training.nothing_to_resume", path=run.folder)
            with suppress(OSError):
                (run.folder / runs.STOP).unlink(missing_ok=True)
            runs.write_status(run.folder, state="queued", resume=True, pid=None, error=None)
        self._wake.set()
        return self.get(run_id)

    def rename(self, run_id: str, name: str) -> None:
        """Give a run another name, of 80 characters at most. Raises TrainingError for a blank one."""
        shown = " ".join(name.split())[:80]
        if not shown:
            raise TrainingError("training.blank_name")
        with self._changing:
            run = self.get(run_id)
            config = read_json(run.folder / runs.CONFIG) or {}
            write_json(run.folder / runs.CONFIG, {**config, "name": shown})

    def remove(self, run_id: str) -> None:
        """Delete a run and its adapter. Raises TrainingError while it is going on."""
        with self._changing:
            run = self.get(run_id)
            if run.active:
                raise TrainingError("training.still_running")
            aside = run.folder.with_name(f".{run.folder.name}.partial")
            try:
                run.folder.rename(aside)
            except OSError as error:
                raise StorageError("storage.write", path=run.folder, why=error.strerror or error) from error
        shutil.rmtree(aside, ignore_errors=True)

    def close(self) -> None:
        """Let go. A trainer at work goes on; the next app finds it."""
        self._closed.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        self._starter.release()

    def _work(self) -> None:
        said = ""
        while not self._closed.is_set():
            # A look that fails (a full disk, a folder that is being deleted, a broken driver) must not end the queue.
            try:
                if self._starter.try_acquire():
                    self._start_next()
            except Exception as error:
                if repr(error) != said:  # every half a second anew, else
                    log.exception("the queue of trainings could not look")
                said = repr(error)
            self._wake.wait(LOOK_EVERY)
            self._wake.clear()

    def _start_next(self) -> None:
        with self._changing:
            known = self.list()
            if any(run.active and not run.waiting for run in known):
                return
            waiting = [run for run in known if run.waiting]
            if not waiting:
                return
            oldest = min(waiting, key=lambda run: run.created)
            try:
                self._launch(oldest.folder, accelerator_lock(self.settings), resume=oldest.resumes)
            except AnimeAIError as error:
                runs.fail(oldest.folder, error)
            except Exception as error:
                log.exception("the run %s could not be started", oldest.id)
                runs.fail(oldest.folder, TrainingError("training.crashed", why=f"{type(error).__name__}: {error}"))


def wait(folder: Path, every: float = 0.2) -> Run:
    """The run once it has ended (for tests and scripts)."""
    while (run := runs.read_run(folder)).active:
        time.sleep(every)
    return run
