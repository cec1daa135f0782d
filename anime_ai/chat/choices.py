"""What can answer: adapters of runs and folders, and the checkpoints of a run. Knows no engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from anime_ai.config import OWNER, Settings
from anime_ai.errors import ModelError
from anime_ai.models.adapters import base_of, fingerprint, read_card
from anime_ai.models.bases import DEFAULT, STARTER, Base, find_base, names_gguf, on_disk
from anime_ai.persona.cards import Personas
from anime_ai.training import checkpoints
from anime_ai.training.runs import FINAL, Run


@dataclass(frozen=True)
class AdapterChoice:
    """An adapter that can answer. `id` "" is the base model alone. `base` is a model name as in the settings.

    Made for one answer: what it has looked up of its files it does not look up again.
    """

    id: str
    label: str
    persona: str
    base: str
    path: Path | None = None

    @cached_property
    def card(self) -> dict[str, Any]:
        """The adapter's own notes; none for the base alone."""
        return read_card(self.path) if self.path else {}

    @cached_property
    def model(self) -> Base:
        """The base that answers. Raises ModelError where it is not on this disk."""
        return find_base(self.base)

    @cached_property
    def parameters(self) -> int:
        """How large the base is."""
        return self.model.parameters()

    def fingerprint(self) -> str:
        """The SHA-256 of the adapter's weights, "" for the base alone."""
        return fingerprint(self.path) if self.path else ""


def offered(
    settings: Settings, personas: Personas, runs: Sequence[Run], shipped: Path, persona: str = ""
) -> list[AdapterChoice]:
    """What can answer: this persona's adapters first, newest first, then the others, and the base model last; where a
    server answers, it is first. `shipped`: the folder of the starter's adapters."""
    found = on_lone(settings, [read() for _, read in _adapters(settings, personas, runs, shipped)])
    found.sort(key=lambda choice: choice.persona != persona)
    # A server need not have loaded what was trained here: its own model comes first.
    return [_alone(settings), *found] if settings.engine == "remote" else [*found, _alone(settings)]


def is_open(choice: AdapterChoice, personas: Personas, person: str) -> bool:
    """Whether a person may be answered with this: the owner with all, others with those of nobody and of personas whom
    they may talk to."""
    if person == OWNER or not choice.persona:
        return True
    her = personas.named(choice.persona)
    return her is not None and her.published


def chosen(
    settings: Settings, personas: Personas, runs: Callable[[], Sequence[Run]], shipped: Path, adapter_id: str
) -> AdapterChoice:
    """What answers under this id, a checkpoint too; the others' files are not looked into. Raises ModelError for what
    is not there, TrainingError for a checkpoint that is gone."""
    if not adapter_id:
        return _alone(settings)
    known = runs() if adapter_id.startswith("run:") else ()
    if "@" in adapter_id and (checkpoint := checkpoint_named(known, adapter_id)) is not None:
        return on_lone(settings, [checkpoint])[0]
    for id, read in _adapters(settings, personas, known, shipped):
        if id == adapter_id:
            return on_lone(settings, [read()])[0]
    raise ModelError("model.unknown_adapter", adapter=adapter_id)


def _adapters(
    settings: Settings, personas: Personas, runs: Sequence[Run], shipped: Path
) -> Iterator[tuple[str, Callable[[], AdapterChoice]]]:
    """The ids of all adapters, each with what reads its files."""
    for run in runs:
        if run.adapter is not None:
            yield f"run:{run.id}", partial(_of_run, run, run.adapter)
    final = settings.output_dir / FINAL
    if (final / "adapter_config.json").is_file():
        yield "final", partial(of_folder, "final", final, FINAL)
    # Beside a real model, or a server's, nobody looks for the starter's adapters.
    if is_starter(settings, base_name(settings)) and settings.engine != "remote":
        for folder in _shipped_folders(shipped):
            yield f"shipped:{folder.name}", partial(_shipped, personas, folder)


@cache
def _shipped_folders(shipped: Path) -> tuple[Path, ...]:
    """What ships stays the same while the app runs, and is asked for at every answer."""
    return tuple(file.parent for file in sorted(shipped.glob("*/adapter_config.json")))


def _of_run(run: Run, adapter: Path) -> AdapterChoice:
    return AdapterChoice(f"run:{run.id}", run.name or run.id[:8], run.persona, base_of(adapter), adapter)


def _shipped(personas: Personas, folder: Path) -> AdapterChoice:
    return of_folder(f"shipped:{folder.name}", folder, personas.find(folder.name).character)


def _alone(settings: Settings) -> AdapterChoice:
    """The base model, or a server's, without an adapter."""
    label = settings.remote_model or "remote" if settings.engine == "remote" else base_name(settings)
    return AdapterChoice("", label, "", settings.model_name)


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
