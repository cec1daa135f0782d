"""The checkpoints of a run folder: which are whole, which can be gone on from, which one is the adapter.

Every evaluation leaves one. All keep their adapter, so that any of them can become the run's; the newest keep the
optimiser's state as well, which is several times as large. Knows no torch.

<run>/checkpoints/checkpoint-<step>/  whole.json is written last    <run>/tokenizer/  what every adapter comes with
<run>/card.json                       what is said of the adapter, but for its step
<run>/compared/<step>/                a checkpoint that was asked something, as an adapter
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anime_ai.errors import TrainingError
from anime_ai.files import read_json, replaced_folder, write_json
from anime_ai.models.adapters import CARD
from anime_ai.training import runs
from anime_ai.training.card import model_card
from anime_ai.training.recipe import Recipe

ADAPTER = ("adapter_model.safetensors", "adapter_config.json")
NOTES, TOKENIZER, COMPARED = "card.json", "tokenizer", "compared"
RESUMABLE = 2
"""Checkpoints that keep what is needed to go on: the newest, and one before it should that be broken."""


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint and what was measured at its step."""

    step: int
    folder: Path
    resumable: bool
    eval_loss: float | None = None
    style: float | None = None


def of_run(folder: Path) -> list[Checkpoint]:
    """The whole checkpoints, by their steps."""
    told: dict[int, dict[str, float]] = {}
    for line in runs.metrics(folder):
        for name in ("eval_loss", "style"):
            if isinstance(line.get(name), (int, float)):
                told.setdefault(int(line["step"]), {})[name] = float(line[name])
    found = []
    for path in (folder / runs.CHECKPOINTS).glob("checkpoint-*"):
        whole = read_json(path / runs.WHOLE)
        if isinstance(whole, dict) and (path / ADAPTER[0]).is_file():
            step = int(path.name.rpartition("-")[2])
            found.append(Checkpoint(step, path, bool(whole.get("resumable", True)), **told.get(step, {})))
    return sorted(found, key=lambda one: one.step)


def best(folder: Path, by: str) -> Checkpoint | None:
    """The checkpoint with the lowest held-out loss or the highest style score, else the last one ("last", or where
    nothing was measured)."""
    there = of_run(folder)
    measured = [one for one in there if by != "last" and getattr(one, by) is not None]
    if not measured:
        return there[-1] if there else None
    sign = -1 if by == "eval_loss" else 1
    return max(measured, key=lambda one: (sign * getattr(one, by), one.step))


def seal(folder: Path, step: int) -> None:
    """Say that a checkpoint is whole, and take from the older ones what only going on needs."""
    path = folder / runs.CHECKPOINTS / f"checkpoint-{step}"
    write_json(path / runs.WHOLE, {"step": step, "files": _sizes(path), "resumable": True})
    for older in [one for one in of_run(folder) if one.resumable][:-RESUMABLE]:
        # Marked first: should it end here, nobody goes on from what is half gone.
        write_json(older.folder / runs.WHOLE, {"step": older.step, "files": {}, "resumable": False})
        for file in older.folder.iterdir():
            if file.name not in (*ADAPTER, runs.WHOLE):
                shutil.rmtree(file) if file.is_dir() else file.unlink()
        write_json(older.folder / runs.WHOLE, {"step": older.step, "files": _sizes(older.folder), "resumable": False})


def _sizes(folder: Path) -> dict[str, int]:
    return {
        str(file.relative_to(folder)): file.stat().st_size
        for file in folder.rglob("*")
        if file.is_file() and file.name != runs.WHOLE
    }


def promote(folder: Path, step: int) -> None:
    """Make a checkpoint the run's adapter, in place of an older one at once. Raises TrainingError where it is gone."""
    chosen = next((one for one in of_run(folder) if one.step == step), None)
    notes, config = read_json(folder / NOTES), read_json(folder / runs.CONFIG)
    if chosen is None or not isinstance(notes, dict) or not isinstance(config, dict):
        raise TrainingError("training.no_checkpoint", step=step)
    notes = {**notes, "steps": step, **_measured(chosen)}
    with replaced_folder(folder / runs.FINAL) as final:
        shutil.copytree(folder / TOKENIZER, final, dirs_exist_ok=True)
        _dress(chosen, final, notes)
        (final / "README.md").write_text(model_card(notes, Recipe(**config["recipe"])), encoding="utf-8")
    runs.write_status(folder, checkpoint=step)


def as_adapter(folder: Path, step: int) -> Path:
    """The folder of a checkpoint as an adapter that can answer, beside the run's own; made at the first call.

    Raises TrainingError where the checkpoint is gone.
    """
    chosen = next((one for one in of_run(folder) if one.step == step), None)
    notes = read_json(folder / NOTES)
    if chosen is None or not isinstance(notes, dict):
        raise TrainingError("training.no_checkpoint", step=step)
    target = folder / COMPARED / str(step)
    if not (target / CARD).is_file():
        target.parent.mkdir(exist_ok=True)
        with replaced_folder(target) as made:
            _dress(chosen, made, {**notes, "steps": step, **_measured(chosen)})
    return target


def _dress(chosen: Checkpoint, target: Path, notes: dict[str, Any]) -> None:
    """A checkpoint's adapter with its card."""
    target.mkdir(exist_ok=True)
    for name in ADAPTER:
        shutil.copy2(chosen.folder / name, target / name)
    # PEFT writes the local path of the base, which is nobody's business and nowhere else true.
    told = {**read_json(target / ADAPTER[1]), "base_model_name_or_path": notes["base"]}
    if isinstance(names := told.get("target_modules"), list):  # a set, in another order each time: the same bytes again
        told["target_modules"] = sorted(names)
    write_json(target / ADAPTER[1], told)
    write_json(target / CARD, notes)


def _measured(one: Checkpoint) -> dict[str, Any]:
    return {name: value for name in ("eval_loss", "style") if (value := getattr(one, name)) is not None}
