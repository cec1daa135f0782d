"""The files of a zip that somebody uploads, in memory and within limits. Knows nothing of what stands in them."""

from __future__ import annotations

import io
import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath

from anime_ai.dataset import files
from anime_ai.encodings import zipped_name
from anime_ai.errors import DatasetError
from anime_ai.knowledge.uploads import RATIO

MOST_FILES = 1_000
SMALL = 8 * 2**20
"""Bytes unpacked up to which no ratio is a bomb: a small file of little content packs well."""
_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, OSError, NotImplementedError)


def entries(content: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every file in the zip `name`, without what systems leave in one (`__MACOSX`, `.DS_Store`).

    Raises DatasetError before anything is unpacked where it holds too many files, would unpack to more than
    `files.MAX_BYTES` or `RATIO` times its size, a name that leads out, a link, a zip, or a file with a password; and
    while it is unpacked where a file is larger than it says.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check(found, len(content), name)
            size = 0
            for entry in found:
                inside = zipped_name(entry)
                if _left_behind(inside):
                    continue
                with archive.open(entry) as file:
                    data = file.read(files.MAX_BYTES - size + 1)
                size += len(data)
                if size > files.MAX_BYTES:
                    raise DatasetError("dataset.unpacks_too_large", path=name, most=files.MAX_BYTES // 2**20)
                if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
                    raise DatasetError("dataset.zip_nested", path=name, name=inside)
                yield inside, data
    except _BROKEN as error:
        raise DatasetError("dataset.broken_file", path=name, kind="ZIP", why=str(error)[:200]) from error
    except RuntimeError as error:  # what zipfile raises without a password
        raise DatasetError("dataset.zip_locked", path=name, name=inside) from error


def _check(found: list[zipfile.ZipInfo], packed: int, name: str) -> None:
    names = {entry.filename for entry in found}
    if "[Content_Types].xml" in names:
        raise DatasetError("dataset.kind", path=name, kind="Office (xlsx, docx)")
    size = sum(entry.file_size for entry in found)
    if len(found) > MOST_FILES:
        raise DatasetError("dataset.zip_many", path=name, count=len(found), most=MOST_FILES)
    if size > files.MAX_BYTES:
        raise DatasetError("dataset.unpacks_too_large", path=name, most=files.MAX_BYTES // 2**20)
    if size > RATIO * packed and size > SMALL:
        raise DatasetError("dataset.zip_ratio", path=name, ratio=size // max(1, packed), most=RATIO)
    for entry in found:
        inside = zipped_name(entry)
        path = PurePosixPath(inside.replace("\\", "/"))
        if ".." in path.parts or path.is_absolute() or path.parts[:1] and path.parts[0].endswith(":"):
            raise DatasetError("dataset.zip_path", path=name, name=inside[:200])
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise DatasetError("dataset.zip_link", path=name, name=inside[:200])
        if entry.flag_bits & 1:
            raise DatasetError("dataset.zip_locked", path=name, name=inside[:200])


def _left_behind(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)
