"""What llama.cpp's slots held, on the disk: a persona's shared part for all her conversations, a conversation while
others have the slots. Knows no engine beyond saving and restoring.

A file says neither which model made it nor whether it is whole, and llama.cpp ends its process over a broken one: its
name is a hash of all that it depends on, its length and SHA-256 stand beside it and are checked before a restore.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from anime_ai.errors import ModelError
from anime_ai.files import read_json, write_json
from anime_ai.models.llama_server import LlamaServer

_CHUNK = 2**20


class States:
    """The states in one folder, of no more than `most` bytes in all; the longest unused goes first."""

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most

    def save(self, server: LlamaServer, slot: int, kind: str, *parts: Any) -> None:
        """Keep a slot under `kind` and what `parts` say. What cannot be written is not kept: it is computed again."""
        file = self._file(kind, parts)
        aside = file.with_suffix(f".{secrets.token_hex(4)}.partial")
        try:
            if server.save(slot, aside.name) == 0:
                return
            written = {"bytes": aside.stat().st_size, "sha256": _digest(aside)}
            os.replace(aside, file)
            write_json(file.with_suffix(".json"), written)
            self._bound(file)
        except (OSError, ModelError):
            if not server.alive:
                raise
        finally:
            aside.unlink(missing_ok=True)

    def has(self, kind: str, *parts: Any) -> bool:
        """Whether there is something to restore."""
        return self._file(kind, parts).is_file()

    def restore(self, server: LlamaServer, slot: int, kind: str, *parts: Any) -> bool:
        """Whether a slot now holds what was kept under `kind` and `parts`. A file that is not whole is removed."""
        file = self._file(kind, parts)
        told = read_json(file.with_suffix(".json"))
        if not file.is_file():
            return False
        if told != {"bytes": file.stat().st_size, "sha256": _digest(file)}:
            self._forget(file)
            return False
        with suppress(OSError):
            os.utime(file)
        return server.restore(slot, file.name) > 0

    def clear(self, kind: str) -> None:
        """Remove all of a kind."""
        for file in self.folder.glob(f"{kind}-*"):
            file.unlink(missing_ok=True)

    def _file(self, kind: str, parts: tuple[Any, ...]) -> Path:
        digest = hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()
        return self.folder / f"{kind}-{digest[:32]}.bin"

    def _bound(self, newest: Path) -> None:
        files = sorted(self.folder.glob("*.bin"), key=lambda file: file.stat().st_mtime)
        total = sum(file.stat().st_size for file in files)
        for file in files:
            if total <= self.most:
                return
            if file != newest:
                total -= file.stat().st_size
                self._forget(file)

    def _forget(self, file: Path) -> None:
        file.with_suffix(".json").unlink(missing_ok=True)
        file.unlink(missing_ok=True)


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
