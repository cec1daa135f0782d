"""The run folder: the only tie between the app and a trainer. Disk is the truth. Knows no torch.

config.json    recipe, base, rows' hash, versions; written before the start
status.json    state, step, total, eta_s, updated, error; replaced atomically
metrics.jsonl  one line a log            samples.jsonl  answers to the probe prompts
train.log      the trainer's output      stop           asks the trainer to save and end
processed_data/  checkpoints/  final_model/
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anime_ai import __version__
from anime_ai.config import Settings
from anime_ai.dataset.files import write_rows
from anime_ai.dataset.preprocess import Manifest, rows_sha256
from anime_ai.dataset.rows import Row
from anime_ai.errors import AnimeAIError, StorageError, TrainingError
from anime_ai.files import check_writable, read_json, read_json_again, restore_folder, write_bytes, write_json
from anime_ai.processes import Process, current, is_alive, start_module
from anime_ai.training.recipe import Recipe

CONFIG, STATUS, METRICS, SAMPLES, LOG, STOP = (
    *("config.json", "status.json", "metrics.jsonl", "samples.jsonl", "train.log", "stop"),
)
DATA, CHECKPOINTS, FINAL, WHOLE, PREVIOUS = "processed_data", "checkpoints", "final_model", "whole.json", "previous"
ACTIVE = ("queued", "starting", "running", "stopping")
"""States in which a trainer is at work or about to be."""


@dataclass(frozen=True)
class Run:
    """What the run folder says now. `error` is a text key (under "error.") and its values.

    `waiting`: queued, and no trainer has been started for it yet; it will go on from a checkpoint where `resumes`.
    `snapshot`: the id of the dataset's snapshot that it is trained on, "" where there is none. `checkpoint`: the step
    of the checkpoint that is its adapter, 0 where none was made yet.
    """

    id: str
    folder: Path
    name: str
    persona: str
    dataset: str
    base: str
    state: str
    step: int
    total: int
    eta_s: float | None
    error: dict[str, Any] | None
    notices: tuple[dict[str, Any], ...]
    created: float
    updated: float
    waiting: bool = False
    resumes: bool = False
    snapshot: str = ""
    checkpoint: int = 0

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def adapter(self) -> Path | None:
        """The folder of the finished adapter."""
        folder = self.folder / FINAL
        return folder if (folder / "adapter_config.json").is_file() else None


def create(
    folder: Path,
    recipe: Recipe,
    *,
    run_id: str,
    name: str,
    dataset: str,
    rows: Sequence[Row] | None,
    snapshot: str = "",
) -> None:
    """Lay out a run folder. `rows` are stored for the trainer to encode; None where `processed_data/` is there.

    What an earlier run left in the same folder is moved to `previous/`, except its `final_model`, which stays until the
    new one takes its place.
    """
    check_writable(folder)
    _set_aside(folder)
    if rows is not None:
        (folder / DATA).mkdir(parents=True, exist_ok=True)
        write_rows(folder / DATA / "rows.json", rows)
    manifest = Manifest.read(folder / DATA) if rows is None else None
    sha256 = manifest.dataset_sha256 if manifest else rows_sha256(rows or ())
    me = current()
    config = {"id": run_id, "name": name, "dataset": dataset, "dataset_sha256": sha256, "snapshot": snapshot}
    made = {"created": time.time(), "version": __version__, "recipe": recipe.as_json()}
    write_json(folder / CONFIG, {**config, **made})
    # A run that its creator starts at once is lost when the creator is; a queued one waits for whoever comes.
    owner = {"pid": me.pid, "started": me.started} if rows is None else {}
    write_status(folder, state="queued", step=0, total=0, eta_s=None, error=None, notices=[], **owner)


def surroundings(settings: Settings, hub: str = "") -> dict[str, str]:
    """Variables with which a trainer finds what this process would: other runs, and models where they are fetched from
    (`hub`, as the settings name it)."""
    return {"ANIME_AI_OUTPUT_DIR": str(settings.output_dir.resolve()), "ANIME_AI_HUB": hub or settings.hub}


def launch(folder: Path, lock: Path, resume: bool = False, env: Mapping[str, str] | None = None) -> Process:
    """Start the trainer of a run as a child process that outlives this one.

    `lock` is the file that stands for the accelerator: the trainer waits for it. `env`: its `surroundings`.
    """
    with suppress(OSError):
        (folder / STOP).unlink(missing_ok=True)
    arguments = [str(folder.resolve()), str(lock.resolve()), *(["--resume"] if resume else [])]
    child = start_module("anime_ai.training.trainer", arguments, folder / LOG, env)
    # The trainer writes the same once it is up; until then this is how it is found.
    write_status(folder, state="starting", pid=child.pid, started=child.started, error=None)
    return child


def write_status(folder: Path, **changes: Any) -> None:
    """Replace `status.json` by what it says with `changes`."""
    status = read_json(folder / STATUS) or {}
    write_json(folder / STATUS, {**status, **changes, "updated": time.time()})


def fail(folder: Path, error: AnimeAIError) -> None:
    """Say why a run failed, in its status."""
    # On a full disk there is room for the last word only once the half-written checkpoint is gone.
    drop_unfinished(folder)
    values = {name: value if isinstance(value, (int, float)) else str(value) for name, value in error.values.items()}
    write_status(folder, state="failed", error={"key": error.key, "values": values}, eta_s=None)


def read_status(folder: Path) -> dict[str, Any]:
    """What `status.json` says, empty where there is none."""
    status = read_json(folder / STATUS)
    return status if isinstance(status, dict) else {}


def read_run(folder: Path) -> Run:
    """What a run folder says. A trainer that is gone without a last word makes it "interrupted".

    Raises TrainingError for a folder that holds no run.
    """
    config, status = read_json_again(folder / CONFIG), read_json_again(folder / STATUS)
    recipe = config.get("recipe", {}) if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(status, dict) or not isinstance(recipe, dict):
        raise TrainingError("training.no_run", path=folder)
    state = str(status.get("state", "failed"))
    if state in ACTIVE and status.get("pid") and not _trainer_alive(status):
        state = "interrupted"
    elif state in ("starting", "running") and (folder / STOP).exists():
        state = "stopping"
    if state not in ACTIVE:
        restore_folder(folder / FINAL)
    return Run(
        id=str(config.get("id", folder.name)),
        folder=folder,
        name=str(config.get("name", "")),
        persona=str(recipe.get("persona", "")),
        dataset=str(config.get("dataset", "")),
        base=str(status.get("base") or recipe.get("base", "")),
        state=state,
        step=int(status.get("step") or 0),
        total=int(status.get("total") or 0),
        eta_s=status.get("eta_s") if state == "running" else None,
        error=status.get("error"),
        notices=tuple(status.get("notices") or ()),
        created=float(config.get("created") or 0),
        updated=float(status.get("updated") or 0),
        waiting=state == "queued" and not status.get("pid"),
        resumes=bool(status.get("resume")),
        snapshot=str(config.get("snapshot") or ""),
        checkpoint=int(status.get("checkpoint") or 0),
    )


def request_stop(folder: Path) -> None:
    """Ask the trainer to save and end; it looks every step."""
    write_json(folder / STOP, {"at": time.time()})


def metrics(folder: Path, after: int = 0) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl` from line `after` (from 0) on; a half-written last line waits for its rest."""
    return _lines(folder / METRICS, after)


def samples(folder: Path) -> list[dict[str, Any]]:
    """Probe answers: step (0: before training), prompt, reply."""
    return _lines(folder / SAMPLES, 0)


def append_line(path: Path, value: dict[str, Any]) -> None:
    """Add one line of JSON in a single write. Raises StorageError."""
    try:
        with open(path, "ab") as file:
            file.write((json.dumps(value, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise StorageError("storage.write", path=path, why=error.strerror or error) from error


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written whole and can be gone on from."""
    whole = [
        path
        for path in (folder / CHECKPOINTS).glob("checkpoint-*")
        if (told := read_json(path / WHOLE)) is not None and told.get("resumable", True)
    ]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def drop_unfinished(folder: Path) -> None:
    """Remove checkpoints that were not written whole."""
    for path in (folder / CHECKPOINTS).glob("checkpoint-*"):
        if not (path / WHOLE).is_file():
            shutil.rmtree(path, ignore_errors=True)


def forget_after(folder: Path, step: int) -> None:
    """Drop what was recorded behind `step` (-1: all of it), so that a resumed curve stays ordered."""
    for name in (METRICS, SAMPLES):
        kept = [line for line in _lines(folder / name, 0) if int(line.get("step", 0)) <= step]
        content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept)
        write_bytes(folder / name, content.encode())


def _lines(path: Path, after: int) -> list[dict[str, Any]]:
    try:
        content = path.read_bytes()
    except OSError:
        return []
    found = []
    for line in content[: content.rfind(b"\n") + 1].splitlines()[after:]:
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


def _trainer_alive(status: dict[str, Any]) -> bool:
    return is_alive(Process(int(status["pid"]), float(status.get("started") or 0)))


def _set_aside(folder: Path) -> None:
    names = [name for name in (STATUS, METRICS, SAMPLES, LOG, CHECKPOINTS, CONFIG) if (folder / name).exists()]
    with suppress(OSError):
        (folder / STOP).unlink(missing_ok=True)
    if STATUS not in names:
        return
    if read_run(folder).active:
        raise TrainingError("training.busy", path=folder)
    aside = folder / PREVIOUS
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    for name in names:
        os.replace(folder / name, aside / name)
