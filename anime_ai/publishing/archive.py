"""Zips of strangers and of one's own: only named files, each in its bounds, each with its hash. Knows no meaning.

Nothing is unpacked before the whole listing has been looked at, and no name in a zip becomes a path.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anime_ai.errors import PublishError, StorageError

RATIO = 200
SMALL = 2**20
"""Bytes unpacked up to which no ratio is a bomb."""
PIECE = 2**20
_EPOCH = (1980, 1, 1, 0, 0, 0)
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError)
Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Form:
    """What a kind of file may hold: `manifest` names its listing, `kind` is what that says it is; the patterns of all
    other names, each with the bytes that one such file may have."""

    kind: str
    manifest: str
    names: Mapping[str, int]
    most_files: int
    most_bytes: int

    def most(self, name: str) -> int | None:
        """Bytes that a file of this name may have; None where there must be none of this name."""
        if name == self.manifest:
            return 64 * PIECE
        return next((most for pattern, most in self.names.items() if re.fullmatch(pattern, name)), None)


class Archive:
    """An opened file of one form, looked over. Use `opened`."""

    def __init__(self, zipped: zipfile.ZipFile, form: Form, packed: int) -> None:
        self._zip, self.form = zipped, form
        self._entries = _checked(zipped.infolist(), form, packed)
        self.manifest = self._manifest()

    @property
    def names(self) -> list[str]:
        return [name for name in self._entries if name != self.form.manifest]

    def told(self, name: str) -> tuple[int, str]:
        """A file's bytes and hash as the listing tells them; 0 and "" where there is none of this name."""
        entry, told = self._entries.get(name), self.manifest["files"].get(name)
        return (entry.file_size, str(told.get("sha256"))) if entry and isinstance(told, dict) else (0, "")

    def read(self, name: str) -> bytes:
        """A whole small file."""
        return b"".join(self._pieces(name))

    def copy(self, name: str, target: Path) -> None:
        """A file of any size to a path that is ours. Raises StorageError where it cannot be written."""
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "wb") as file:
                for piece in self._pieces(name):
                    file.write(piece)
        except OSError as error:
            raise StorageError("storage.write", path=target, why=error.strerror or error) from error

    def _pieces(self, name: str) -> Iterator[bytes]:
        """The content, held against its size and its hash."""
        told = self.manifest["files"].get(name)
        entry = self._entries.get(name)
        if entry is None or not isinstance(told, dict):
            raise PublishError("publishing.lacks", name=name[:80])
        digest, size = hashlib.sha256(), 0
        with _plainly():
            opened = self._zip.open(entry)
        with opened:
            while piece := self._piece(opened):
                size += len(piece)
                if size > entry.file_size:
                    raise PublishError("publishing.unpacks", name=name[:80])
                digest.update(piece)
                yield piece
        if digest.hexdigest() != told.get("sha256"):
            raise PublishError("publishing.changed", name=name[:80])

    @staticmethod
    def _piece(opened: Any) -> bytes:
        with _plainly():
            return bytes(opened.read(PIECE))

    def _manifest(self) -> dict[str, Any]:
        with self._zip.open(self._entries[self.form.manifest]) as opened:
            content = opened.read(64 * PIECE)
        try:
            told = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise PublishError("publishing.manifest", name=self.form.manifest) from error
        if not isinstance(told, dict) or told.get("kind") != self.form.kind or not isinstance(told.get("files"), dict):
            raise PublishError("publishing.manifest", name=self.form.manifest)
        if told.get("version") != 1:
            raise PublishError("publishing.newer", name=self.form.manifest)
        if set(told["files"]) != set(self.names):
            odd = sorted(set(told["files"]) ^ set(self.names))[0]
            raise PublishError("publishing.lacks", name=odd[:80])
        return told


def is_archive(file: Path, form: Form) -> bool:
    """Whether a file says that it is of this form."""
    try:
        with zipfile.ZipFile(file) as zipped:
            return form.manifest in zipped.NameToInfo
    except (*_BROKEN, OSError, ValueError):
        return False


@contextmanager
def opened(file: Path, form: Form) -> Iterator[Archive]:
    """An archive that was looked over. Raises PublishError that says what is wrong with it."""
    with _plainly():
        zipped = zipfile.ZipFile(file)
    with zipped:
        with _plainly():
            archive = Archive(zipped, form, file.stat().st_size)
        yield archive


@contextmanager
def _plainly() -> Iterator[None]:
    """What a broken zip makes of itself, as PublishError."""
    try:
        yield
    except _BROKEN as error:
        raise PublishError("publishing.broken", why=str(error)[:120] or type(error).__name__) from error
    except OSError as error:
        raise PublishError("publishing.broken", why=error.strerror or str(error)[:120]) from error


def pack(
    target: Path, form: Form, told: Mapping[str, Any], files: Mapping[str, Path | bytes], tell: Tell | None = None
) -> Path:
    """Write an archive beside `target`, then in its place: `files` by their names in it, `told` into its manifest.

    Raises StorageError. The manifest is written last: an archive that has one is whole.
    """
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    listed: dict[str, dict[str, Any]] = {}
    total = sum(one.stat().st_size if isinstance(one, Path) else len(one) for one in files.values())
    done = 0
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as raw:
            with zipfile.ZipFile(raw, "w", allowZip64=True) as zipped:
                for name, source in files.items():
                    assert form.most(name) is not None, name
                    entry = zipfile.ZipInfo(name, _EPOCH)
                    # Weights and pictures are packed already.
                    text = name.endswith((".json", ".jsonl", ".md", ".db", ".log", ".txt"))
                    entry.compress_type = zipfile.ZIP_DEFLATED if text else zipfile.ZIP_STORED
                    digest, size = hashlib.sha256(), 0
                    with zipped.open(entry, "w", force_zip64=True) as to:
                        for piece in _pieces_of(source):
                            digest.update(piece)
                            to.write(piece)
                            size += len(piece)
                            done += len(piece)
                            if tell is not None:
                                tell(done, total)
                    listed[name] = {"bytes": size, "sha256": digest.hexdigest()}
                manifest = {"kind": form.kind, "version": 1, **told, "files": listed}
                entry = zipfile.ZipInfo(form.manifest, _EPOCH)
                zipped.writestr(entry, json.dumps(manifest, ensure_ascii=False, indent=1), zipfile.ZIP_DEFLATED)
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(beside, target)
    except OSError as error:
        raise StorageError("storage.write", path=target, why=error.strerror or error) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    return target


def sha256_of(file: Path) -> str:
    """The hash of a file. Raises PublishError where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(file, "rb") as opened:
            while piece := opened.read(PIECE):
                digest.update(piece)
    except OSError as error:
        raise PublishError("publishing.broken", why=f"{file}: {error.strerror or error}") from error
    return digest.hexdigest()


def _pieces_of(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with open(source, "rb") as opened:
        while piece := opened.read(PIECE):
            yield piece


def _checked(entries: list[zipfile.ZipInfo], form: Form, packed: int) -> dict[str, zipfile.ZipInfo]:
    """The entries by name, after all that their listing tells was looked at."""
    if len(entries) > form.most_files:
        raise PublishError("publishing.too_many", count=len(entries), most=form.most_files)
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        name = entry.filename
        most = form.most(name)
        odd = entry.is_dir() or stat.S_ISLNK(entry.external_attr >> 16) or entry.flag_bits & 1
        if most is None or odd or name in found:
            raise PublishError("publishing.foreign", name=name[:80])
        bomb = entry.file_size > SMALL and entry.file_size > RATIO * max(entry.compress_size, 1)
        if entry.file_size > most or bomb:
            raise PublishError("publishing.unpacks", name=name[:80])
        found[name] = entry
    if form.manifest not in found:
        raise PublishError("publishing.manifest", name=form.manifest)
    size = sum(entry.file_size for entry in entries)
    if size > form.most_bytes or size > RATIO * max(packed, SMALL):
        raise PublishError("publishing.too_large", most=form.most_bytes // 2**20)
    return found
