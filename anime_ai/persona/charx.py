"""CHARX: a card and its files in a zip, which may stand behind a JPEG. Knows nothing of what a card says.

Specification: character-card-spec-v3, "CHARX". Nothing is written under a name that stands in the zip: what is in it is
held in memory, or kept as a zip. Knows no disk.
"""

from __future__ import annotations

import io
import lzma
import stat
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from anime_ai.errors import PersonaError

CARD = "card.json"
MOST_FILES = 2_000
MOST_BYTES = 256 * 2**20
RATIO = 200
SMALL = 8 * 2**20
"""Bytes unpacked up to which no ratio is a bomb."""
_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, OSError, NotImplementedError)
_ZIP = b"PK\x03\x04"
_JPEG = b"\xff\xd8\xff"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Archive:
    """A card's JSON, its other files by name, and the picture before the zip where there is one."""

    card: bytes
    files: Mapping[str, bytes] = field(default_factory=dict)
    front: bytes = b""


def is_charx(content: bytes) -> bool:
    """Whether a zip is in it: at its beginning, or behind a JPEG."""
    return content.startswith(_ZIP) or (content.startswith(_JPEG) and zipfile.is_zipfile(io.BytesIO(content)))


def unpack(content: bytes) -> Archive:
    """Everything in a CHARX.

    Raises PersonaError as `unzipped` does, and for a zip that holds no card.
    """
    files, begin = _opened(content)
    card = next((name for name in files if name.lower() == CARD), None)
    if card is None:
        raise PersonaError("persona.no_data")
    front = content[:begin] if content.startswith(_JPEG) else b""
    return Archive(files.pop(card), files, front)


def unzipped(content: bytes) -> dict[str, bytes]:
    """The files of any zip.

    Raises PersonaError before anything is unpacked for too many files, too large ones or too high a ratio, names that
    lead out, links, files with a password; and for a zip that is broken.
    """
    return _opened(content)[0]


def _opened(content: bytes) -> tuple[dict[str, bytes], int]:
    """The files of a zip, and where in the content it begins."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check(found, len(content))
            files: dict[str, bytes] = {}
            left = MOST_BYTES
            for entry in found:
                with archive.open(entry) as file:
                    files[entry.filename] = file.read(left + 1)
                left -= len(files[entry.filename])
                if left < 0:
                    raise PersonaError("persona.unpacks", most=MOST_BYTES // 2**20)
            return files, min((entry.header_offset for entry in found), default=0)
    except _BROKEN as error:
        raise PersonaError("persona.broken_file", why=str(error)[:120] or type(error).__name__) from error
    except RuntimeError as error:  # what zipfile raises without a password
        raise PersonaError("persona.broken_file", why=str(error)[:120]) from error


def pack(card: bytes, files: Mapping[str, bytes]) -> bytes:
    """A CHARX of a card's JSON and its files: the same bytes for the same files."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in ((CARD, card), *sorted(files.items())):
            # Pictures are packed already.
            kind = zipfile.ZIP_DEFLATED if name == CARD else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, kind)
    return made.getvalue()


def _check(found: list[zipfile.ZipInfo], packed: int) -> None:
    size = sum(entry.file_size for entry in found)
    if len(found) > MOST_FILES:
        raise PersonaError("persona.too_many", count=len(found), most=MOST_FILES)
    if size > MOST_BYTES or (size > SMALL and size > RATIO * packed):
        raise PersonaError("persona.unpacks", most=MOST_BYTES // 2**20)
    for entry in found:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        out = ".." in path.parts or path.is_absolute() or ":" in (path.parts[:1] or ("",))[0]
        if out or stat.S_ISLNK(entry.external_attr >> 16):
            raise PersonaError("persona.leads_out", name=entry.filename[:80])
