"""Base models: which there are, where they lie, and how to get one. Knows no engine.

A base is a folder of safetensors, or a lone GGUF file, which only llama.cpp runs.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from anime_ai.config import STARTER_LM, Settings
from anime_ai.errors import ModelError
from anime_ai.files import read_json_again
from anime_ai.models.catalogue import BASE_FILES, CATALOGUE, DEFAULT, STARTER
from anime_ai.models.gguf_heads import Head, read_head
from anime_ai.models.gguf_tokenizer import check_tokenizer
from anime_ai.models.hub import cached, is_hub_id

__all__ = ["DEFAULT", "KNOWN", "STARTER", "Base", "find_base", "on_disk", "read_header"]
KNOWN = tuple(one.id for one in CATALOGUE if one.kind == "base")
_SAMPLE = 2**16
ARCHITECTURES = {"Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3"}
"""Those that are known as GGUF, by the names of transformers and of llama.cpp."""
MADE_OF = "anime_ai.base_fingerprint"
"""Where a GGUF file that was made here tells the weights that it was made of."""
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")


@dataclass(frozen=True)
class Base:
    """A base model on the disk. `id` is what adapters remember: a Hub id, "starter", or a folder's name; a lone GGUF's
    is its id on the hub or its file's name."""

    id: str
    path: Path
    starter: bool = False

    @property
    def lone(self) -> bool:
        """Whether this is a GGUF file without the weights that it was made of."""
        return names_gguf(self.path.name)

    def config(self) -> dict[str, Any]:
        """Its configuration in the names of transformers; of a lone GGUF, as much as is asked for here."""
        if self.lone:
            return _config_of(read_head(self.path))
        told = read_json_again(self.path / "config.json")
        return dict(told) if isinstance(told, dict) else {}

    def parameters(self) -> int:
        """The number of parameters, by the heads of its files."""
        if self.lone:
            return sum(math.prod(shape) for shape in read_head(self.path).shapes.values())
        return sum(_count(file) for file in self.path.glob("*.safetensors"))

    def context(self) -> int:
        """How many tokens the model can see, by its configuration."""
        most = self.config().get("max_position_embeddings")
        return min(most if isinstance(most, int) and most > 0 else 4096, 8192)

    def fingerprint(self) -> str:
        """Tells these weights from others of the same name and shape, by a sample of each file: whole files of some
        gigabytes would take too long."""
        files = [self.path] if self.lone else sorted(self.path.glob("*.safetensors"))
        stamps = [(file, file.stat()) for file in files]
        return _fingerprint(tuple((file, stamp.st_mtime_ns, stamp.st_size) for file, stamp in stamps))

    def known_as(self, id: str) -> bool:
        """Whether what was trained on `id` was trained on this model: a lone GGUF goes by the name and the sources that
        it tells itself."""
        return id == self.id or (self.lone and _told_as(read_head(self.path), id))

    def made_of(self) -> str:
        """The fingerprint of the safetensors: its own, or what a lone GGUF tells; "" where it tells nothing."""
        return str(read_head(self.path).values.get(MADE_OF) or "") if self.lone else self.fingerprint()

    def need_weights(self) -> None:
        """Raise ModelError for a lone GGUF: it chats, and that is all."""
        if self.lone:
            raise ModelError("model.gguf_only_chats", name=self.id)


@lru_cache(maxsize=64)
def _fingerprint(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Of files as they are now, by their times and sizes."""
    digest = hashlib.sha256()
    for file, _, size in files:
        with open(file, "rb") as opened:
            digest.update(size.to_bytes(8, "little"))
            for place in (0, size // 2, max(0, size - _SAMPLE)):
                opened.seek(place)
                digest.update(opened.read(_SAMPLE))
    return digest.hexdigest()[:16]


def find_base(
    name: str, settings: Settings | None = None, download: bool = False, tell: Callable[[], None] = lambda: None
) -> Base:
    """The base model that `name` means: auto, starter, a folder, a GGUF file, a Hub id, or a GGUF file on the hub.

    `auto` is DeepSeek-R1-Distill-Qwen-1.5B where it is on the disk, else the starter. A model that was named is never
    replaced by another. `settings` say where to `download` from, `tell` is called when that begins. Raises ModelError
    when the model is not there and cannot be downloaded.
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
    file = _file(name)
    if file is not None:
        head = check_gguf(file)
        id = name if _on_hub(name) and not Path(name).is_file() else file.name
        starter = head.values.get(MADE_OF) == _starter().fingerprint()
        return Base(id, file, starter)
    if not is_hub_id(name):
        raise ModelError("model.not_on_disk" if _on_hub(name) else "model.unknown", name=name[:100])
    there = _cached(name)
    if there:
        return Base(name, there)
    if not download or settings is None:
        raise ModelError("model.not_on_disk", name=name)
    return Base(name, _download(name, settings, tell))


def on_disk(name: str) -> bool:
    """Whether a base can be used without a download."""
    if name in ("auto", STARTER) or _folder(name) is not None or _file(name) is not None:
        return True
    return is_hub_id(name) and _cached(name) is not None


def names_gguf(name: str) -> bool:
    """Whether a name means a GGUF file, be it there or not."""
    return name.lower().endswith(".gguf")


def _folder(name: str) -> Path | None:
    """The folder that a name means; an empty, overlong or otherwise impossible name means none."""
    try:
        path = os.path.expanduser(name)
        return Path(path).resolve() if name.strip() and os.path.isdir(path) else None
    except (OSError, ValueError, RuntimeError):
        return None


def _file(name: str) -> Path | None:
    """The GGUF file that a name means: one of this disk, or one that was fetched from the hub."""
    try:
        path = Path(name).expanduser()
        if names_gguf(name) and path.is_file():
            return path.resolve()
    except (OSError, ValueError, RuntimeError):
        return None
    owner, _, rest = name.partition("/")
    return cached(f"{owner}/{rest.partition('/')[0]}", rest.partition("/")[2]) if _on_hub(name) else None


def _on_hub(name: str) -> bool:
    """Whether a name means a GGUF file on the hub."""
    return names_gguf(name) and name.count("/") == 2 and is_hub_id(name.rpartition("/")[0])


def check_gguf(file: Path) -> Head:
    """The head of a GGUF file that can be chatted with. Raises ModelError for one that is not whole, or not known."""
    head = read_head(file)
    if head.architecture not in ARCHITECTURES.values():
        known = "、".join(ARCHITECTURES.values())
        raise ModelError("model.gguf_unknown", name=file.name, architecture=head.architecture, known=known)
    if head.values.get("general.type", "model") != "model" or head.values.get("split.count", 1) not in (0, 1):
        raise ModelError("model.gguf_part", name=file.name)
    check_tokenizer(file, head)
    return head


def _config_of(head: Head) -> dict[str, Any]:
    heads, hidden = head.number("attention.head_count", 1), head.number("embedding_length")
    return {
        "max_position_embeddings": head.number("context_length", 4096),
        "hidden_size": hidden,
        "num_hidden_layers": head.number("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": head.number("attention.head_count_kv", heads),
        "head_dim": head.number("attention.key_length", hidden // heads),
    }


def _told_as(head: Head, id: str) -> bool:
    """Whether a GGUF file calls itself `id`. Its name has other marks between the words; what it tells under
    `general.base_model` is its parent, not itself."""
    values = {key: value for key, value in head.values.items() if isinstance(value, str)}
    sources = [values.get(f"general.{key}", "") for key in ("repo_url", "source.url", "source.repo_url")]
    if any(source.rstrip("/").endswith(f"/{id}") for source in sources):
        return True
    return bool(_plain(id)) and _plain(values.get("general.name", "")) == _plain(id)


def _plain(name: str) -> str:
    """A model's name without owner, case and marks."""
    return "".join(letter for letter in name.replace("\\", "/").rpartition("/")[2].casefold() if letter.isalnum())


def _starter() -> Base:
    return _shipped(STARTER_LM)


@cache
def _shipped(folder: Path) -> Base:
    """What ships stays the same while the app runs, and is asked for at every answer."""
    check_folder(folder, STARTER)
    return Base(STARTER, folder, starter=True)


def check_folder(folder: Path, name: str) -> None:
    """Raise ModelError unless a folder holds a whole model in safetensors that runs no code of its own."""
    config = read_json_again(folder / "config.json")
    if not isinstance(config, dict):
        raise ModelError("model.no_config", name=name, path=folder)
    if "auto_map" in config:
        raise ModelError("model.remote_code", name=name)
    if not any(folder.glob("*.safetensors")):
        raise ModelError("model.no_safetensors", name=name, path=folder)
    if not any((folder / file).is_file() for file in _TOKENIZERS):
        # transformers would go on with a vocabulary of one entry.
        raise ModelError("model.incomplete", name=name, path=folder, file=_TOKENIZERS[0])
    index = read_json_again(folder / "model.safetensors.index.json")
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
    """Names and shapes of the tensors in a safetensors file, kept until the file changes. Raises ModelError unless the
    file is whole.

    Format: https://github.com/huggingface/safetensors#format
    """
    try:
        stamp = file.stat()
        return dict(_header(file, stamp.st_mtime_ns, stamp.st_size))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError("model.broken_file", path=file, why=error) from error


@lru_cache(maxsize=256)
def _header(file: Path, changed: int, size: int) -> dict[str, tuple[int, ...]]:
    with open(file, "rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > size - 8:
            raise ValueError("the header is longer than the file")
        header: dict[str, Any] = json.loads(opened.read(length))
    header.pop("__metadata__", None)
    end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if 8 + length + end != size:
        raise ValueError("the file is cut short")
    return {name: tuple(int(size) for size in entry["shape"]) for name, entry in header.items()}
