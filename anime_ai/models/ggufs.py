"""The GGUF files that this app made of bases and adapters, in one folder; a lone GGUF is its own. Knows no engine.

A file's name says what it was made of, so that new weights never meet an old file; each is written
beside, then renamed.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from anime_ai.errors import ModelError
from anime_ai.models.bases import Base
from anime_ai.models.engine import Adapter
from anime_ai.models.gguf_files import Tell, convert, convert_adapter, merge_reason
from anime_ai.models.gguf_heads import read_head
from anime_ai.processes import hold

KEPT = 32
"""Files of adapters that are kept, the longest unused goes first."""


@dataclass(frozen=True)
class Fitted:
    """An adapter for llama.cpp: a LoRA file to be put on its base, or, where `merged`, a whole base with it inside."""

    file: Path
    merged: bool = False


class Ggufs:
    """See the module; several processes may share a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, base: Base, kind: str) -> Path:
        """Where the GGUF file of a base is or would be."""
        return base.path if base.lone else self.folder / f"{base.fingerprint()}-{kind}.gguf"

    def has(self, base: Base, kind: str) -> bool:
        """Whether it is there and whole."""
        return _is_whole(self.file(base, kind))

    def make(self, base: Base, kind: str, tell: Tell | None = None) -> Path:
        """The base as GGUF, made now where it is not there whole. Raises ModelError, StorageError, or HeldError while
        another process makes it."""
        file = self.file(base, kind)
        if not _is_whole(file):
            with hold(file.with_suffix(".lock")):
                if not _is_whole(file):
                    convert(base, file, kind, tell=tell)
        return file

    def fit(self, base: Base, adapter: Adapter, kind: str) -> Fitted:
        """An adapter for llama.cpp, converted now where that was not done. Raises as `make` does."""
        made = hashlib.sha256(adapter.key.encode()).hexdigest()[:16]
        merged = bool(merge_reason(base, adapter.path))
        file = self.folder / f"{base.fingerprint()}-{made}{f'-{kind}' if merged else ''}.adapter.gguf"
        if not file.is_file():
            with hold(file.with_suffix(".lock")):
                convert_adapter(base, adapter.path, file, kind)
        with suppress(OSError):
            os.utime(file)
        self._bound(file)
        return Fitted(file, merged)

    def _bound(self, newest: Path) -> None:
        files = sorted(self.folder.glob("*.adapter.gguf"), key=lambda file: file.stat().st_mtime)
        for file in files[:-KEPT]:
            if file != newest:
                file.unlink(missing_ok=True)
                file.with_suffix(".lock").unlink(missing_ok=True)


def _is_whole(file: Path) -> bool:
    try:
        read_head(file)
    except ModelError:
        return False
    return True
