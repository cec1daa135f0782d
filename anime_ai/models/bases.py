"""Base models: which there are, where they lie, and how to get one. Knows no engine."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anime_ai.config import STARTER_LM, Settings
from anime_ai.errors import ModelError
from anime_ai.files import read_json
from anime_ai.models.catalogue import BASE_FILES, CATALOGUE, DEFAULT, STARTER
from anime_ai.models.hub import cached, is_hub_id

__all__ = ["DEFAULT", "KNOWN", "STARTER", "Base", "find_base", "on_disk", "read_header"]
KNOWN = tuple(one.id for one in CATALOGUE if one.kind == "base")
_SAMPLE = 2**16
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")


@dataclass(frozen=True)
class Base:
    """A base model on the disk. `id` is what adapters remember: a Hub id, "starter", or a folder's name."""

    id: str
    path: Path
    starter: bool = False

    def parameters(self) -> int:
        """The number of parameters, by the headers of its safetensors files."""
        return sum(_count(file) for file in self.path.glob("*.safetensors"))

    def context(self) -> int:
        """How many tokens the model can see, by its configuration."""
        told = read_json(self.path / "config.json")
        most = told.get("max_position_embeddings") if isinstance(told, dict) else None
        return min(most if isinstance(most, int) else 4096, 8192)

    def fingerprint(self) -> str:
        """Tells these weights from others of the same name and shape, by a sample of each file: whole files of some
        gigabytes would take too long."""
        digest = hashlib.sha256()
        for file in sorted(self.path.glob("*.safetensors")):
            with open(file, "rb") as opened:
                size = opened.seek(0, os.SEEK_END)
                digest.update(size.to_bytes(8, "little"))
                for place in (0, size // 2, max(0, size - _SAMPLE)):
                    opened.seek(place)
                    digest.update(opened.read(_SAMPLE))
        return digest.hexdigest()[:16]


def find_base(name: str, settings: Settings, download: bool = False, tell: Callable[[], None] = lambda: None) -> Base:
    """The base model that `name` means: auto, starter, a folder, or a Hub id.

    `auto` is DeepSeek-R1-Distill-Qwen-1.5B where it is on the disk, else the starter. A model that was named is never
    replaced by another. `tell` is called when a download begins. Raises ModelError when the model is not there and
    cannot be downloaded.
    """
    if name == "auto":
        there = _cached(DEFAULT)
        return Base(DEFAULT, there) if there else _starter()
    if name == STARTER:
        return _starter()
    folder = _folder(name)
    if folder is not None:
        check_folder(folder, name)
        return Base(folder.name, folder)
    if not is_hub_id(name):
        raise ModelError("model.unknown", name=name[:100])
    there = _cached(name)
    if there:
        return Base(name, there)
    if not download:
        raise ModelError("model.not_on_disk", name=name)
    return Base(name, _download(name, settings, tell))


def on_disk(name: str) -> bool:
    """Whether a base can be used without a download."""
    if name in ("auto", STARTER) or _folder(name) is not None:
        return True
    return is_hub_id(name) and _cached(name) is not None


def _folder(name: str) -> Path | None:
    """The folder that a name means; an empty, overlong or otherwise impossible name means none."""
    try:
        path = os.path.expanduser(name)
        return Path(path).resolve() if name.strip() and os.path.isdir(path) else None
    except (OSError, ValueError, RuntimeError):
        return None


def _starter() -> Base:
    check_folder(STARTER_LM, STARTER)
    return Base(STARTER, STARTER_LM, starter=True)


def check_folder(folder: Path, name: str) -> None:
    """Raise ModelError unless a folder holds a whole model in safetensors that runs no code of its own."""
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        raise ModelError("model.no_config", name=name, path=folder)
    if "auto_map" in config:
        raise ModelError("model.remote_code", name=name)
    if not any(folder.glob("*.safetensors")):
        raise ModelError("model.no_safetensors", name=name, path=folder)
    if not any((folder / file).is_file() for file in _TOKENIZERS):
        # transformers would go on with a vocabulary of one entry.
        raise ModelError("model.incomplete", name=name, path=folder, file=_TOKENIZERS[0])
    index = read_json(folder / "model.safetensors.index.json")
    wanted = set(index.get("weight_map", {}).values()) if isinstance(index, dict) else set()
    missing = sorted(file for file in wanted if not (folder / file).is_file())
    if missing:
        raise ModelError("model.incomplete", name=name, path=folder, file=missing[0])
    for file in folder.glob("*.safetensors"):
        _count(file)


def _cached(name: str) -> Path | None:
    """The snapshot folder of a Hub model in the local cache, if it is whole."""
    found = cached(name, "config.json")
    if found is None:
        return None
    try:
        check_folder(found.parent, name)
    except ModelError:
        return None
    return found.parent


def _download(name: str, settings: Settings, tell: Callable[[], None]) -> Path:
    from anime_ai.models.fetching import Fetch, Order
    from anime_ai.models.sources import source

    folder = Fetch(Order(name, BASE_FILES), source(settings), settings.hub_timeout, started=tell).run()
    check_folder(folder, name)
    return folder


def _count(file: Path) -> int:
    """Parameters in one safetensors file."""
    return sum(math.prod(shape) for shape in read_header(file).values())


def read_header(file: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a safetensors file. Raises ModelError unless the file is whole.

    Format: https://github.com/huggingface/safetensors#format
    """
    try:
        with open(file, "rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            size = file.stat().st_size
            if length > size - 8:
                raise ValueError("the header is longer than the file")
            header: dict[str, Any] = json.loads(opened.read(length))
        header.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        if 8 + length + end != size:
            raise ValueError("the file is cut short")
        return {name: tuple(int(size) for size in entry["shape"]) for name, entry in header.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError("model.broken_file", path=file, why=error) from error
