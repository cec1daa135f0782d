"""Which models are on this disk, which can be had, and what a person added: folders, GGUF files, models by their id.

Knows no network.
"""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anime_ai.config import STARTER_LM, Settings
from anime_ai.errors import ModelError
from anime_ai.files import read_json, write_json
from anime_ai.models.bases import check_folder, check_gguf, on_disk, read_header
from anime_ai.models.catalogue import CATALOGUE, STARTER, Entry, entry
from anime_ai.models.fetching import Order, home, remove, remove_file
from anime_ai.models.gguf_heads import read_head
from anime_ai.models.hub import cached


@dataclass(frozen=True)
class Held:
    """A model of the shelf. `path` None: it is not on this disk; `own`: a person's own folder or file, which is never
    deleted; `bytes`: what it takes on the disk, or will."""

    entry: Entry
    path: Path | None
    bytes: int
    own: bool = False

    @property
    def present(self) -> bool:
        return self.path is not None


class Shelf:
    """The models of one output folder. `follow` tells what else a model in a folder wants before it can be used."""

    def __init__(self, settings: Settings, follow: Callable[[Path], Sequence[Order]] = lambda folder: ()) -> None:
        self._file = settings.studio_dir / "models.json"
        self._follow = follow
        self._changing = threading.Lock()

    def list(self) -> tuple[Held, ...]:
        """The starter, the catalogue, what was fetched beside it, a person's own; each in its order."""
        starter = Held(Entry(STARTER, "base", "Apache-2.0", good="model.good.starter"), STARTER_LM, _weigh(STARTER_LM))
        more = [entry(str(one["id"]), one.get("kind") or "base") for one in self._told("more")]
        fetched = [self._held(one) for one in (*CATALOGUE, *more)]
        return starter, *fetched, *(self._own(str(one["path"])) for one in self._told("own"))

    def find(self, id: str) -> Held:
        """The model with this id; a person's own have their path for one. Raises ModelError."""
        for one in self.list():
            if one.entry.id == id:
                return one
        raise ModelError("model.unknown", name=id[:100])

    def present(self, one: Entry) -> Path | None:
        """Where a model of the hub lies whole on this disk, with all that it wants."""
        if one.needed:
            there = [cached(one.repository, file) for file in one.needed]
            folder = there[0].parent if all(there) and there[0] else None
        elif one.kind == "embedding":
            config = cached(one.id, "config.json")
            folder = config.parent if config and _has_weights(config.parent) else None
        else:
            config = cached(one.id, "config.json") if on_disk(one.id) else None
            folder = config.parent if config else None
        if folder is None or not all(cached(more.id, file) for more in self._follow(folder) for file in more.needed):
            return None
        return folder / one.files[0] if one.kind == "gguf" else folder

    def remember(self, one: Entry) -> None:
        """List a model that the catalogue does not know, because it was fetched."""
        if one.id in {known.id for known in CATALOGUE}:
            return
        with self._changing:
            told = self._all()
            more = [old for old in told["more"] if old["id"] != one.id]
            self._write({**told, "more": [*more, {"id": one.id, "kind": one.kind}]})

    def add(self, path: str) -> Held:
        """List a person's own model: a folder of safetensors, or a GGUF file. It stays where it is.

        Raises ModelError for what is neither, is not whole, or wants to run code of its own.
        """
        place = _place(path)
        if place.is_dir():
            check_folder(place, place.name)
        elif place.suffix.lower() == ".gguf" and place.is_file():
            read_head(place)
        else:
            raise ModelError("model.not_a_model", path=str(place)[:300])
        with self._changing:
            told = self._all()
            own = [old for old in told["own"] if old["path"] != str(place)]
            self._write({**told, "own": [*own, {"path": str(place)}]})
        return self._own(str(place))

    def take_away(self, id: str) -> None:
        """Delete a model from the disk; one of a person's own is only listed no more. Raises ModelError for the starter
        and for what is not here, StorageError where it cannot be deleted."""
        held = self.find(id)
        if id == STARTER:
            raise ModelError("model.ships", name=id)
        if held.entry.kind == "gguf" and not held.own:
            remove_file(held.path)
        elif not held.own:
            remove(held.entry.repository)
        with self._changing:
            told = self._all()
            own = [old for old in told["own"] if old["path"] != id]
            more = [old for old in told["more"] if old["id"] != id]
            base = "" if told["base"] == id else told["base"]
            self._write({"base": base, "own": own, "more": more})

    @property
    def changed(self) -> int:
        """Another number after every change by a person."""
        try:
            return self._file.stat().st_mtime_ns
        except OSError:
            return 0

    @property
    def base(self) -> str:
        """The base that a person chose for chat and training (a GGUF: for chat alone), "" where none was."""
        return str(self._all()["base"])

    def choose_base(self, id: str) -> str:
        """Make a base the one for chat and training, a GGUF file the one for chat: its name as the settings know it.
        Raises ModelError for what is not on this disk, no base, or a GGUF that cannot be used."""
        if id != "auto":
            held = self.find(id)
            if held.entry.kind not in ("base", "gguf"):
                raise ModelError("model.no_base", name=id[:100])
            if held.path is None:
                raise ModelError("model.not_on_disk", name=id[:100])
            if held.entry.kind == "gguf":
                check_gguf(held.path)
        with self._changing:
            self._write({**self._all(), "base": id})
        return id

    def _held(self, one: Entry) -> Held:
        path = self.present(one)
        return Held(one, path, (_weigh(home(one.repository)) if path else 0) or one.size)

    def _own(self, path: str) -> Held:
        place = Path(path)
        one = Entry(path, "gguf" if place.suffix.lower() == ".gguf" else "base")
        return Held(one, place if place.exists() else None, _weigh(place), own=True)

    def _told(self, name: str) -> builtins.list[dict[str, Any]]:
        return self._all()[name]

    def _all(self) -> dict[str, Any]:
        told = read_json(self._file)
        told = told if isinstance(told, dict) else {}
        own, more = ([one for one in _listed(told.get(name)) if isinstance(one.get(key), str)] for name, key in _LISTS)
        return {"base": str(told.get("base") or ""), "own": own, "more": more}

    def _write(self, told: dict[str, Any]) -> None:
        write_json(self._file, told)


_LISTS = (("own", "path"), ("more", "id"))


def _listed(told: object) -> list[dict[str, Any]]:
    return [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []


def _has_weights(folder: Path) -> bool:
    """Whether a folder holds whole safetensors, and all that an index tells of."""
    files = sorted(folder.glob("*.safetensors"))
    try:
        for file in files:
            read_header(file)
    except ModelError:
        return False
    index = read_json(folder / "model.safetensors.index.json")
    wanted = set(index.get("weight_map", {}).values()) if isinstance(index, dict) else set()
    return bool(files) and wanted <= {file.name for file in files}


def _place(path: str) -> Path:
    try:
        return Path(path.strip()).expanduser().resolve() if path.strip() else Path("-")
    except (OSError, ValueError, RuntimeError):
        return Path("-")


def _weigh(place: Path) -> int:
    """Bytes that a file or a folder takes; what several names lead to counts once."""
    if place.is_file():
        return place.stat().st_size
    try:
        return sum(file.stat().st_size for file in place.rglob("*") if file.is_file() and not file.is_symlink())
    except OSError:
        return 0
