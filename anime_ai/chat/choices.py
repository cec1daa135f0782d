"""What can answer: adapters of runs and folders, and the checkpoints of a run. Knows no engine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from anime_ai.config import Settings
from anime_ai.errors import ModelError
from anime_ai.models.adapters import base_of, fingerprint, read_card
from anime_ai.models.bases import DEFAULT, STARTER, Base, find_base, names_gguf, on_disk
from anime_ai.persona.cards import Personas
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


def offered(
    settings: Settings, personas: Personas, runs: Sequence[Run], shipped: Path, persona: str = ""
) -> list[AdapterChoice]:
    """What can answer: this persona's adapters first, newest first, then the others, and the base model last; where a
    server answers, it is first. `shipped`: the folder of the starter's adapters."""
    found: list[AdapterChoice] = []
    for run in runs:
        if run.adapter is not None:
            label = run.name or run.id[:8]
            found.append(AdapterChoice(f"run:{run.id}", label, run.persona, base_of(run.adapter), run.adapter))
    final = settings.output_dir / FINAL
    if (final / "adapter_config.json").is_file():
        found.append(of_folder("final", final, FINAL))
    # Beside a real model, or a server's, nobody looks for the starter's adapters.
    if is_starter(settings, base_name(settings)) and settings.engine != "remote":
        for file in sorted(shipped.glob("*/adapter_config.json")):
            id = file.parent.name
            found.append(of_folder(f"shipped:{id}", file.parent, personas.find(id).character))
    found = on_lone(settings, found)
    found.sort(key=lambda choice: choice.persona != persona)
    base = AdapterChoice("", base_name(settings), "", settings.model_name)
    if settings.engine != "remote":
        return [*found, base]
    # A server need not have loaded what was trained here: its own model comes first.
    return [replace(base, label=settings.remote_model or "remote"), *found]


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


def base_name(settings: Settings) -> str:
    """The base that the settings mean, by its name."""
    if settings.model_name != "auto":
        return settings.model_name
    return DEFAULT if on_disk(DEFAULT) else STARTER


def is_starter(settings: Settings, name: str) -> bool:
    """Whether this base is the starter, be it as a lone GGUF."""
    lone = _lone(settings) if name == settings.model_name else None
    return name == STARTER or (lone is not None and lone.starter)


def on_lone(settings: Settings, found: Sequence[AdapterChoice]) -> list[AdapterChoice]:
    """Where the settings name a lone GGUF: what was trained on the model that it was made of goes on it."""
    lone = _lone(settings)
    if lone is None:
        return list(found)
    return [replace(one, base=settings.model_name) if lone.known_as(one.base) else one for one in found]


def _lone(settings: Settings) -> Base | None:
    with suppress(ModelError):
        return find_base(settings.model_name, settings) if names_gguf(settings.model_name) else None
    return None
