"""Files, folders and zips as a flat list of files. Knows nothing of what stands in them."""

from __future__ import annotations

import lzma
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from anime_ai.encodings import zipped_name
from anime_ai.errors import KnowledgeError

MOST_FILES = 5_000
MOST_BYTES = 2 * 2**30
RATIO = 200
"""Of a zip: files in it, bytes when all are unpacked, and how many times smaller the zip may be."""


Entry = tuple[str, "Path | KnowledgeError"]
"""A file's name and where it lies, or why it cannot be had."""


@contextmanager
def unpacked(files: Sequence[Path], beside: Path) -> Iterator[tuple[Path, Iterator[Entry]]]:
    """A scratch folder in `beside`, gone afterwards, and the files: those given, those in folders, those in zips, which
    are unpacked one at a time. What lies in a folder or a zip is named with it, so that two may hold the same name."""
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=beside, ignore_cleanup_errors=True) as scratch:
        yield Path(scratch), _all(files, Path(scratch))


def _all(files: Sequence[Path], scratch: Path) -> Iterator[Entry]:
    for file in files:
        if file.is_dir():
            inside = (one for one in sorted(file.rglob("*")) if one.is_file() and not _hidden(one.relative_to(file)))
            yield from ((f"{file.resolve().name}/{one.relative_to(file).as_posix()}", one) for one in inside)
        elif file.suffix.lower() == ".zip":
            try:
                yield from _zipped(file, scratch)
            except KnowledgeError as error:
                yield file.name, error
            except _BROKEN as error:
                yield file.name, KnowledgeError("knowledge.broken", why=error)
        else:
            yield file.name, file


_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError, OSError)
"""What a damaged or locked archive raises."""


def _zipped(file: Path, scratch: Path) -> Iterator[Entry]:
    """The files of a zip under their names in it; where those lie is ours to say, so no name leads out."""
    with zipfile.ZipFile(file) as archive:
        entries = [one for one in archive.infolist() if _is_file(one)]
        size = sum(one.file_size for one in entries)
        if len(entries) > MOST_FILES or size > MOST_BYTES or size > RATIO * max(2**20, file.stat().st_size):
            raise KnowledgeError("knowledge.bomb", entries=len(entries), megabytes=size // 2**20)
        for number, entry in enumerate(entries):
            name, place = f"{file.stem}/{zipped_name(entry)}", scratch / str(number)
            try:
                with archive.open(entry) as source, open(place, "wb") as target:
                    shutil.copyfileobj(source, target)
            except _BROKEN as error:
                yield name, KnowledgeError("knowledge.broken", why=error)
            else:
                yield name, place
            place.unlink(missing_ok=True)


def _is_file(entry: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(entry.filename)
    return not entry.is_dir() and not stat.S_ISLNK(entry.external_attr >> 16) and not _hidden(path)


def _hidden(path: PurePosixPath | Path) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)
