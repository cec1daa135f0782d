"""What can answer: adapters of runs and folders, and the checkpoints of a run. Knows no engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anime_ai.models.adapters import base_of, fingerprint, read_card
from anime_ai.training import checkpoints
from anime_ai.training.runs import FINAL, Run


@dataclass(frozen=True)
class AdapterChoice:
    """An adapter that can answer. `id` "" is the base model alone. `base` is a model name as in the settings."""

    id: str
    label: str
    persona: str
    base: str
    path: Path | None = None

    def fingerprint(self) -> str:
        """The SHA-256 of the adapter's weights, "" for the base alone."""
        return fingerprint(self.path) if self.path else ""


def checkpoints_of(runs: Sequence[Run], persona: str) -> list[AdapterChoice]:
    """The checkpoints of a persona's runs; none is opened yet."""
    return [
        AdapterChoice(f"run:{run.id}@{one.step}", f"{run.name or run.id[:8]} @ {one.step}", run.persona, run.base)
        for run in runs
        if run.persona == persona
        for one in checkpoints.of_run(run.folder)
    ]


def checkpoint_named(runs: Sequence[Run], adapter_id: str) -> AdapterChoice | None:
    """The checkpoint with this id, as an adapter that can answer. Raises TrainingError where it is gone."""
    run_id, _, step = adapter_id.removeprefix("run:").partition("@")
    for run in runs:
        if run.id == run_id and step.isascii() and step.isdigit():
            path = checkpoints.as_adapter(run.folder, int(step))
            base = base_of(run.folder / FINAL) or run.base
            return AdapterChoice(adapter_id, f"{run.name or run.id[:8]} @ {step}", run.persona, base, path)
    return None


def of_folder(id: str, folder: Path, label: str) -> AdapterChoice:
    return AdapterChoice(id, label, str(read_card(folder).get("persona", "")), base_of(folder), folder)
