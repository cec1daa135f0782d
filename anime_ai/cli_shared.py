"""What the commands share: options, what they print, how they find a dataset and a base model. Knows no command."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anime_ai.config import Settings
from anime_ai.errors import DatasetError, ModelError
from anime_ai.texts import text

if TYPE_CHECKING:
    from anime_ai.dataset.rows import Row
    from anime_ai.models.bases import Base
    from anime_ai.models.catalogue import Entry
    from anime_ai.models.fetching import Fetch
    from anime_ai.persona.cards import Personas

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
    from anime_ai.models.bases import find_base, on_disk
    from anime_ai.models.catalogue import entry
    from anime_ai.models.hub import is_hub_id

    if is_hub_id(name) and not on_disk(name):
        fetch(entry(name), settings)
    return find_base(name, settings)


def fetch(one: Entry, settings: Settings, where: str = "", quiet: bool = False) -> Path:
    """Fetch a model and what it wants beside it, with a bar on a terminal. Ctrl-C leaves what has arrived, to go on
    with.

    `where`: a source by its name, "" for that of the settings.
    """
    from anime_ai.models.bases import check_folder
    from anime_ai.models.fetching import Fetch, Order
    from anime_ai.models.sources import source
    from anime_ai.vision.models import wanted

    taken = source(settings, where)
    told = not quiet and (lambda: say(text("cli.downloading", name=one.id)))
    first = Fetch(Order.of(one), taken, settings.hub_timeout, started=told or (lambda: None))
    place = _shown(first, quiet)
    for more in wanted(place):
        _shown(Fetch(more, taken, settings.hub_timeout), quiet=True)
    if one.kind == "base":
        check_folder(place, one.id)
    return place / one.files[0] if one.kind == "gguf" else place


def _shown(fetch: Fetch, quiet: bool) -> Path:
    """Run a fetch in a thread of its own and show how far it is; Ctrl-C ends both and says how to go on."""
    from concurrent.futures import ThreadPoolExecutor, wait

    from tqdm import tqdm

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(fetch.run)
        bar, tenth = None, 0
        try:
            while not wait([running], 0.2).done:
                if quiet or not fetch.total:
                    continue
                if sys.stderr.isatty():
                    bar = bar or tqdm(total=fetch.total, initial=fetch.done, file=sys.stderr, unit="B", unit_scale=True)
                    bar.update(fetch.done - bar.n)
                elif fetch.done * 10 // fetch.total > tenth:
                    tenth = fetch.done * 10 // fetch.total
                    say(f"{fetch.done / 1e6:.0f}/{fetch.total / 1e6:.0f} MB")
            if bar is not None:
                bar.update(fetch.done - bar.n)
            return running.result()
        except KeyboardInterrupt:
            fetch.stop.set()
            raise ModelError("model.download_stopped", name=fetch.order.name or fetch.order.id) from None
        finally:
            if bar is not None:
                bar.close()


def stored_dataset(name: str, settings: Settings) -> list[Row] | None:
    """Rows of a dataset of the app by name; None where the name is that of a file, or might be one's and no dataset has
    it, or the app was never started."""
    if os.path.exists(name) or not has_database(settings):
        return None
    from anime_ai.dataset.store import Datasets
    from anime_ai.storage import Database

    with Database.open(settings) as database:
        datasets = Datasets(database)
        try:
            return datasets.rows(datasets.find(name).id)
        except DatasetError:
            if Path(name).suffix or os.path.dirname(name):
                return None
            raise


def has_database(settings: Settings) -> bool:
    """Whether the app was started before."""
    return bool(settings.database_url) or (settings.studio_dir / "studio.db").exists()


def personas_of(settings: Settings) -> Personas:
    """Those that ship, and those of the app where it was started before."""
    from anime_ai.persona.cards import Personas
    from anime_ai.persona.library import PersonaLibrary
    from anime_ai.storage import Database

    if not has_database(settings):
        return Personas()
    with Database.open(settings) as database:
        known = PersonaLibrary(database, settings.studio_dir / "personas").list()
    return Personas(others=[one for one in known if not one.shipped])


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
