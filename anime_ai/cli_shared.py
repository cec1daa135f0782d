"""What the commands share: options, what they print, how they find a dataset and a base model. Knows no command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anime_ai.config import Settings
from anime_ai.texts import text

if TYPE_CHECKING:
    from anime_ai.dataset.rows import Row
    from anime_ai.models.bases import Base

OutputDir = Annotated[Path | None, typer.Option("--output-dir", help=text("cli.output_dir"))]
Json = Annotated[bool, typer.Option("--json", help=text("cli.json"))]


def say(line: str) -> None:
    """One line for a person, on stderr."""
    print(" ".join(line.split()), file=sys.stderr, flush=True)


def give(value: Any) -> None:
    """The one value that a command gives with `--json`."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def find(name: str, settings: Settings) -> Base:
    """Fetch the base before the trainer starts, so that a wrong name or a silent hub is told at once."""
    from anime_ai.models.bases import find_base

    return find_base(name, settings, download=True, tell=lambda: say(text("cli.downloading", name=name)))


def stored_dataset(name: str, settings: Settings) -> list[Row] | None:
    """Rows of a dataset of the app by name; None where the name is that of a file, or the app was never started."""
    path = Path(name)
    if path.exists() or path.suffix or not (settings.studio_dir / "studio.db").exists():
        return None
    from anime_ai.dataset.store import Datasets
    from anime_ai.storage import Database

    with Database.open(settings) as database:
        datasets = Datasets(database)
        return datasets.rows(datasets.find(name).id)


def read_dataset(settings: Settings, encoding: str | None, skip_bad: bool) -> list[Row]:
    """Rows of `--dataset`: a file, or else a dataset of the app by name."""
    from anime_ai.dataset.files import good_rows, read_rows

    stored = stored_dataset(settings.dataset, settings)
    if stored is not None:
        return stored
    path = Path(settings.dataset)
    reading = read_rows(path, settings.persona, encoding)
    rows = good_rows(reading, path, skip_bad)
    for problem in reading.problems:
        say(text("cli.skipped", problem=problem.say()))
    return list(rows)
