"""A finished adapter and everything that is known of how it came to be: notes, rows, curves, samples, scores.

Reads a run folder, or a single adapter of which less is known. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anime_ai.config import Settings
from anime_ai.dataset.preprocess import stored_rows
from anime_ai.dataset.rows import Row
from anime_ai.dataset.split import split_rows
from anime_ai.errors import AnimeAIError, PublishError
from anime_ai.files import read_json
from anime_ai.models.adapters import base_of, check_adapter, read_card
from anime_ai.models.bases import STARTER, Base, find_base
from anime_ai.models.catalogue import CATALOGUE
from anime_ai.models.hub import is_hub_id
from anime_ai.training import runs
from anime_ai.training.evaluating import read_evaluation
from anime_ai.training.probing import PROBES

MOST_PROBES = 8
NOTED = {
    **dict.fromkeys(("base", "base_fingerprint", "persona", "prompt_format", "think", "layout"), str),
    **dict.fromkeys(("system_line", "version", "precision", "dataset_sha256"), str),
    **dict.fromkeys(("rows", "of_steps", "steps"), int),
    **dict.fromkeys(("learning_rate", "eval_loss", "style"), (int, float)),
}
"""What an adapter's own notes may say, and of which kind each is; nothing else leaves with it or comes in."""


@dataclass(frozen=True)
class Trained:
    """`notes`: what stands beside the adapter; `run`: the run folder around it, None for an adapter alone."""

    adapter: Path
    base: Base
    notes: Mapping[str, Any]
    run: Path | None = None

    @classmethod
    def open(cls, adapter: Path, settings: Settings) -> Trained:
        """Raises ModelError where the adapter cannot be used, or its base is not on this disk."""
        base = find_base(base_of(adapter) or settings.model_name, settings)
        check_adapter(adapter, base)
        around = adapter.parent
        is_run = adapter.name == runs.FINAL and isinstance(read_json(around / runs.CONFIG), dict)
        return cls(adapter, base, noted(read_card(adapter)), around if is_run else None)

    @property
    def persona(self) -> str:
        return str(self.notes.get("persona") or "")

    @property
    def layout(self) -> tuple[str, str]:
        """Prompt format and think policy."""
        return str(self.notes.get("prompt_format") or "auto"), str(self.notes.get("think") or "silent")

    @property
    def card(self) -> str:
        """What stood at the head of its prompts."""
        return str(self.notes.get("system_line") or "")

    @property
    def recipe(self) -> Mapping[str, Any]:
        config = read_json(self.run / runs.CONFIG) if self.run else None
        found = config.get("recipe") if isinstance(config, dict) else None
        return found if isinstance(found, dict) else {}

    def rows(self) -> Sequence[Row]:
        """The persona's rows, none where they are not there any more."""
        if self.run is None:
            return ()
        with suppress(AnimeAIError, OSError):
            return [row for row in stored_rows(self.run / runs.DATA) if row.persona == self.persona]
        return ()

    def curves(self) -> dict[str, list[tuple[float, float]]]:
        """(step, value) of `loss` and `eval_loss`."""
        lines = runs.metrics(self.run) if self.run else []
        found: dict[str, list[tuple[float, float]]] = {}
        for name in ("loss", "eval_loss"):
            points: list[tuple[Any, Any]] = [(line.get("step"), line.get(name)) for line in lines]
            numbers = [(float(x), float(y)) for x, y in points if _is_number(x) and _is_number(y)]
            if numbers:
                found[name] = numbers
        return found

    def samples(self) -> list[tuple[str, str, str]]:
        """Question, answer before training, answer at the last step at which it was asked."""
        first: dict[str, str] = {}
        last: dict[str, str] = {}
        for line in runs.samples(self.run) if self.run else []:
            asked, said = str(line.get("prompt", "")), str(line.get("reply", ""))
            (last if line.get("step") else first)[asked] = said
        return [(asked, first.get(asked, ""), said) for asked, said in last.items()]

    def scores(self) -> dict[str, dict[str, float]]:
        """The figures of its evaluation, none where this adapter was not measured."""
        if self.run is None:
            return {}
        told = read_evaluation(self.run)
        measured = told.state == "done" and told.checkpoint == runs.read_run(self.run).checkpoint
        return dict(told.figures or {}) if measured else {}

    def probes(self) -> list[str]:
        """What is asked before it is published: the fixed questions, and some that were held out."""
        rows: Sequence[Row] = ()
        if self.run is not None:
            with suppress(AnimeAIError, OSError):
                rows = stored_rows(self.run / runs.DATA)
        held = split_rows(rows, int(self.recipe.get("seed") or 0)).held_out if rows else ()
        own = [rows[place].input for place in held if rows[place].persona == self.persona]
        return list(dict.fromkeys([*PROBES, *own]))[:MOST_PROBES]


def noted(card: Mapping[str, Any]) -> dict[str, Any]:
    """An adapter's notes without what they must not say."""
    return {
        name: value
        for name, value in card.items()
        if name in NOTED and isinstance(value, NOTED[name]) and not isinstance(value, bool)  # type: ignore[arg-type]
    }


def hub_id(base: Base) -> str:
    """The id by which the world can find a base; "" for the starter and for a folder of one's own."""
    return base.id if base.id != STARTER and is_hub_id(base.id) else ""


def licence_of(base: Base) -> str:
    """The licence of a base as the Hub writes it; "other" where nothing here tells it."""
    known = next((one.licence for one in CATALOGUE if one.id == base.id), "")
    if known:
        return known.lower()
    return front_matter(base.path / "README.md").get("license", "other")


def front_matter(readme: Path) -> dict[str, str]:
    """The plain lines `name: value` of a README's front matter."""
    try:
        head, matter, _ = readme.read_text(encoding="utf-8").split("---\n", 2)
    except (OSError, ValueError):
        return {}
    pairs = (line.partition(":") for line in matter.splitlines() if line[:1].isalpha())
    return {} if head.strip() else {name.strip(): value.strip() for name, _, value in pairs if value.strip()}


def adapter_of(settings: Settings, named: Path | None) -> Path:
    """The adapter folder that was named, else the default run's. Raises PublishError where there is none."""
    folder = named or settings.output_dir / runs.FINAL
    if (folder / runs.FINAL / "adapter_config.json").is_file():
        folder = folder / runs.FINAL
    if not (folder / "adapter_config.json").is_file():
        raise PublishError("publishing.no_adapter", path=folder)
    return folder


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value and abs(value) < 1e30
