"""Files, folders and zips as a flat list of files. Knows nothing of what stands in them."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from anime_ai.errors import KnowledgeError

MOST_FILES = 5_000
MOST_BYTES = 2 * 2**30
RATIO = 200
"""Of a zip: files in it, bytes when all are unpacked, and how many times smaller the zip may be."""


@contextmanager
def unpacked(files: Sequence[Path], beside: Path) -> Iterator[Iterator[tuple[str, Path | KnowledgeError]]]:
    """Names and places of the files: those given, those in folders, those in zips, which are unpacked one at a time
    into a folder of `beside` that is gone afterwards. In the place of a zip that is none or is a bomb stands why."""
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=beside, ignore_cleanup_errors=True) as scratch:
        yield _all(files, Path(scratch))


def _all(files: Sequence[Path], scratch: Path) -> Iterator[tuple[str, Path | KnowledgeError]]:
    for file in files:
        if file.is_dir():
            inside = (one for one in sorted(file.rglob("*")) if one.is_file() and not _hidden(one.relative_to(file)))
            yield from ((one.relative_to(file).as_posix(), one) for one in inside)
        elif file.suffix.lower() == ".zip":
            try:
                yield from _zipped(file, scratch)
            except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError) as error:
                yield file.name, KnowledgeError("knowledge.broken", why=error)
            except KnowledgeError as error:
                yield file.name, error
        else:
            yield file.name, file


def _zipped(file: Path, scratch: Path) -> Iterator[tuple[str, Path]]:
    """The files of a zip under their names in it; where those lie is ours to say, so no name leads out."""
    with zipfile.ZipFile(file) as archive:
        entries = [one for one in archive.infolist() if _is_file(one)]
        size = sum(one.file_size for one in entries)
        if len(entries) > MOST_FILES or size > MOST_BYTES or size > RATIO * max(2**20, file.stat().st_size):
            raise KnowledgeError("knowledge.bomb", entries=len(entries), megabytes=size // 2**20)
        for number, entry in enumerate(entries):
            place = scratch / f"{number}{Path(entry.filename).suffix[:12]}"
            with archive.open(entry) as source, open(place, "wb") as target:
                shutil.copyfileobj(source, target)
            yield _name(entry), place
            place.unlink(missing_ok=True)


def _is_file(entry: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(entry.filename)
    return not entry.is_dir() and not stat.S_ISLNK(entry.external_attr >> 16) and not _hidden(path)


def _hidden(path: PurePosixPath | Path) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def _name(entry: zipfile.ZipInfo) -> str:
    """A zip that Windows wrote in Chinese has its names in GBK, which Python reads as code page 437."""
    if entry.flag_bits & 0x800:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode("gb18030")
    except UnicodeError:
        return entry.filename
