"""Writing files so that a reader sees the old content or the new, never half of it. Knows nothing of their meaning."""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from anime_ai.errors import StorageError

SETTLED = 3.0
"""Seconds after its last change from which on a file's times and size tell whether it was changed again: those of some
file systems have a step of two."""


def _replace(source: Path, target: Path) -> None:
    """`os.replace`, tried again for a second: on Windows a reader that has the target open makes it fail."""
    for attempt in range(20):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if os.name != "nt" or attempt == 19:
                raise
            time.sleep(0.05)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content` at once. Raises StorageError that names the path."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _replace(beside, path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise StorageError("storage.write", path=path, why=error.strerror or error) from error


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as UTF-8 JSON, keys in the order given, two spaces of indentation."""
    write_bytes(path, (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode())


def files_of(source: Path) -> tuple[Path, list[Path]]:
    """A file and the folder that it lies in, or a folder and every file in it; (folder, files)."""
    if source.is_file():
        return source.parent, [source]
    return source, sorted(file for file in source.rglob("*") if file.is_file())


def read_json(path: Path) -> Any:
    """The JSON value of `path`, None where there is no such file or it is not whole."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def read_json_again(path: Path) -> Any:
    """`read_json` of a file that is read over and over: parsed anew only where the file has changed since. The value is
    everybody's and must not be changed."""
    try:
        stamp = path.stat()
    except (OSError, ValueError):
        return None
    if abs(time.time() - stamp.st_mtime) < SETTLED:
        return read_json(path)
    return _settled(path, stamp.st_ino, stamp.st_mtime_ns, stamp.st_ctime_ns, stamp.st_size)


@lru_cache(maxsize=256)
def _settled(path: Path, *stamp: int) -> Any:
    return read_json(path)


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """A fresh folder beside `target` that takes its place when the block ends well, and is removed when it does not.

    The old content stays until the new one is whole. Raises StorageError that names the path.
    """
    restore_folder(target)
    mark = uuid.uuid4().hex[:8]
    beside = target.with_name(f".{target.name}.{mark}.partial")
    old = target.with_name(f".{target.name}.{mark}.old.partial")
    try:
        beside.mkdir(parents=True)
        yield beside
        if target.exists():
            _replace(target, old)
        try:
            _replace(beside, target)
        except OSError:
            if old.exists():
                _replace(old, target)
            raise
    except OSError as error:
        raise StorageError("storage.write", path=target, why=error.strerror or error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def restore_folder(target: Path) -> None:
    """Put back what a process that died between the two renames of `replaced_folder` had set aside."""
    if target.exists():
        return
    for old in sorted(target.parent.glob(f".{target.name}.*.old.partial")):
        with suppress(OSError):
            _replace(old, target)
            return


def check_writable(folder: Path) -> None:
    """Raise StorageError unless `folder` exists or can be made and takes a file."""
    probe = folder / f".{uuid.uuid4().hex[:8]}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StorageError("storage.write", path=folder, why=error.strerror or error) from error
