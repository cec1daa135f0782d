"""The whole studio as one file, and back on another machine: the database, pictures, personas, runs. Knows no hub.

<studio>.zip  studio.json   studio.db   pictures/…  personas/…   runs/<id>/…   run/… (the command line's run)

What can be made again stays outside (vectors, GGUF files, saved prefixes, optimisers' states), and so does the key that
signs visitors' cookies.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from anime_ai import __version__
from anime_ai.config import Settings
from anime_ai.errors import PublishError, StorageError
from anime_ai.files import read_json, write_json
from anime_ai.models.adapters import WEIGHTS
from anime_ai.publishing.archive import Form, Tell, opened, pack
from anime_ai.storage import Database, copy_database
from anime_ai.training import runs

DATABASE = "studio.db"
CHOICES = ("vision.json", "embedding.json", "models.json")
"""What was chosen beside the database."""
_FILE = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,80}\.(json|jsonl|safetensors|md|txt|jinja|model|arrow|png)"
_RUN = (
    rf"([a-z_]{{1,40}}\.(json|jsonl)|train\.log|(tokenizer|final_model|processed_data)/((train|test)/)?{_FILE}"
    rf"|checkpoints/checkpoint-\d{{1,9}}/(adapter_model\.safetensors|adapter_config\.json|whole\.json))"
)
FORM = Form(
    kind="anime-ai-studio",
    manifest="studio.json",
    names={
        r"studio\.db": 64 * 2**30,
        r"(vision|embedding|models)\.json": 2**20,
        r"pictures/[0-9a-f]{32}\.webp": 64 * 2**20,
        r"personas/[0-9a-f]{32}\.(webp|png|zip)": 512 * 2**20,
        rf"runs/[0-9a-f]{{32}}/{_RUN}": 8 * 2**30,
        rf"run/{_RUN}": 8 * 2**30,
    },
    most_files=500_000,
    most_bytes=256 * 2**30,
)


@dataclass(frozen=True)
class Restored:
    """What a file brought back."""

    files: int
    bytes: int
    runs: int


def save(settings: Settings, target: Path, tell: Tell | None = None) -> Path:
    """Everything of the studio as one file; the app may be at work meanwhile.

    Raises PublishError where the database is no file or is not there, StorageError where it cannot be written.
    """
    file = settings.studio_dir / DATABASE
    if settings.database_url or not file.is_file():
        raise PublishError("publishing.no_database", path=file)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".studio-", suffix=".partial") as scratch:
        copy = Path(scratch) / DATABASE
        copy_database(file, copy)
        files: dict[str, Path | bytes] = {DATABASE: copy, **dict(_beside(settings, Path(scratch)))}
        return pack(target, FORM, {"made": __version__}, files, tell)


def restore(file: Path, settings: Settings, tell: Tell | None = None) -> Restored:
    """Everything in a file into an output folder that has no studio yet; the database comes last, so that one that is
    there is whole.

    Raises PublishError where there is a studio already or the file is none of ours, StorageError for a database that is
    newer than this program.
    """
    there = settings.studio_dir / DATABASE
    if settings.database_url or there.exists():
        raise PublishError("publishing.occupied", path=there)
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    with opened(file, FORM) as archive:
        scratch = Path(tempfile.mkdtemp(dir=settings.output_dir, prefix=".restore-", suffix=".partial"))
        try:
            names = archive.names
            if DATABASE not in names:
                raise PublishError("publishing.lacks", name=DATABASE)
            for done, name in enumerate(names, 1):
                archive.copy(name, scratch / name)
                if tell is not None:
                    tell(done, len(names))
            _check_database(scratch / DATABASE)
            size = sum((scratch / name).stat().st_size for name in names)
            for name in sorted(names, key=lambda name: name == DATABASE):
                _put(scratch / name, _place(name, settings))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    folders = {name.split("/")[1] for name in names if name.startswith("runs/")}
    return Restored(len(names), size, len(folders))


def _beside(settings: Settings, scratch: Path) -> Iterator[tuple[str, Path | bytes]]:
    """Every other file that goes along, by its name in the archive."""
    studio = settings.studio_dir
    found = [(name, studio / name) for name in CHOICES]
    found += [(f"{kind}/{file.name}", file) for kind in ("pictures", "personas") for file in _files(studio / kind)]
    for folder in sorted(settings.runs_dir.glob("[!.]*/")):
        found += [(f"runs/{folder.name}/{name}", file) for name, file in _of_run(folder, scratch)]
    if (settings.output_dir / runs.CONFIG).is_file():
        found += [(f"run/{name}", file) for name, file in _of_run(settings.output_dir, scratch)]
    for name, file in found:
        if file.is_file() and not file.is_symlink() and FORM.most(name) is not None:
            yield name, file


def _of_run(folder: Path, scratch: Path) -> Iterator[tuple[str, Path]]:
    for file in _files(folder):
        yield file.name, file
    for kind in ("tokenizer", runs.FINAL, runs.DATA):
        for file in sorted((folder / kind).rglob("*")):
            yield f"{kind}/{file.relative_to(folder / kind).as_posix()}", file
    for checkpoint in sorted((folder / runs.CHECKPOINTS).glob("checkpoint-*")):
        told = read_json(checkpoint / runs.WHOLE)
        if not isinstance(told, dict):
            continue
        # Without its optimiser it can be chosen, not gone on from.
        kept = {
            name: size for name, size in (told.get("files") or {}).items() if name in (WEIGHTS, "adapter_config.json")
        }
        whole = scratch / f"{folder.name}-{checkpoint.name}.json"
        write_json(whole, {**told, "files": kept, "resumable": False})
        yield f"{runs.CHECKPOINTS}/{checkpoint.name}/{runs.WHOLE}", whole
        for name in (WEIGHTS, "adapter_config.json"):
            yield f"{runs.CHECKPOINTS}/{checkpoint.name}/{name}", checkpoint / name


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("[!.]*") if file.is_file())


def _place(name: str, settings: Settings) -> Path:
    """Where a file of the archive belongs; its name has been held against the form's patterns."""
    kind, _, rest = name.partition("/")
    if kind == "runs":
        return settings.runs_dir / rest
    return settings.output_dir / rest if kind == "run" else settings.studio_dir / name


def _put(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
    except OSError as error:
        raise StorageError("storage.write", path=target, why=error.strerror or error) from error


def _check_database(file: Path) -> None:
    """Whole, of this program, and brought up to date. Raises StorageError."""
    try:
        with closing(sqlite3.connect(file)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            triggers = connection.execute(
                "SELECT count(*) FROM sqlite_master WHERE type IN ('trigger', 'view')"
            ).fetchone()
    except sqlite3.Error as error:
        raise PublishError("publishing.changed", name=DATABASE) from error
    if found != "ok" or triggers[0]:
        raise PublishError("publishing.changed", name=DATABASE)
    Database.open(file).close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")  # one file, nothing beside it
