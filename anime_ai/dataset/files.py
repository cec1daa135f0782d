"""Reading and writing a dataset in the original project's format, `[{"input", "output"}]`. Knows nothing of tokens."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anime_ai.dataset.formats import Note
from anime_ai.dataset.rows import Problem, Row, check_rows
from anime_ai.encodings import guess
from anime_ai.errors import DatasetError
from anime_ai.files import write_bytes

MAX_BYTES = 200 * 2**20
MAX_ROWS = 200_000
_FOREIGN = (
    *((b"PAR1", "Parquet"), (b"ARROW1", "Arrow"), (b"PK\x03\x04", "ZIP"), (b"PK\x05\x06", "ZIP")),
    *((b"\x1f\x8b", "gzip"), (b"SQLite format 3\0", "SQLite"), (b"%PDF-", "PDF"), (b"\x89PNG", "PNG")),
    *((bytes((0x80, version)), "pickle") for version in range(2, 6)),
)
_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|NaN|-?Infinity', re.DOTALL)
"""A string, or one of the numbers that Python writes and JSON does not have."""


@dataclass(frozen=True)
class Reading:
    """Good rows, the problems of the others, and the SHA-256 of the file's bytes.

    `format`, `encoding` and `notes` say what the file was taken for and what was done with it.
    """

    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]
    sha256: str
    format: str = "rows"
    encoding: str = "utf-8"
    notes: tuple[Note, ...] = ()


def read_rows(path: Path | str, default_persona: str = "", encoding: str | None = None) -> Reading:
    """Read a JSON file. Raises DatasetError for a file that cannot be read as a whole; bad rows are in `problems`."""
    path = Path(path)
    content = read_content(path)
    values = _parse(_decode(content, path, encoding), path)
    rows, problems = check_rows(values, default_persona)
    return Reading(tuple(rows), tuple(problems), hashlib.sha256(content).hexdigest())


def read_content(path: Path) -> bytes:
    """The bytes of a file. Raises DatasetError where it cannot be read or is over `MAX_BYTES`, before it is read."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DatasetError("dataset.too_large", path=path, most=MAX_BYTES // 2**20)
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise DatasetError("dataset.unreadable", path=path, why=getattr(error, "strerror", None) or error) from error
    if len(content) > MAX_BYTES:  # what has no size of its own, such as a pipe
        raise DatasetError("dataset.too_large", path=path, most=MAX_BYTES // 2**20)
    return content


def good_rows(reading: Reading, path: Path | str, skip_bad: bool = False) -> tuple[Row, ...]:
    """The rows of a reading. Raises DatasetError that names the first bad row, unless they are to be skipped."""
    if reading.problems and not (skip_bad and reading.rows):
        first = reading.problems[0]
        raise DatasetError("dataset.bad_rows", path=Path(path), count=len(reading.problems), first=first)
    return reading.rows


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as UTF-8 JSON, a row a line."""
    lines = ",\n".join("  " + json.dumps(row.as_json(), ensure_ascii=False) for row in rows)
    write_bytes(path, f"[\n{lines}\n]\n".encode() if lines else b"[]\n")


def foreign_kind(content: bytes) -> str:
    """The kind of file that the first bytes tell, "" where it may be a text."""
    return next((kind for mark, kind in _FOREIGN if content.startswith(mark)), "")


def _decode(content: bytes, path: Path, encoding: str | None) -> str:
    if kind := foreign_kind(content):
        raise DatasetError("dataset.foreign", path=path, kind=kind)
    named = encoding or json.detect_encoding(content)
    try:
        return content.decode(named).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        if encoding or not named.startswith("utf-8"):
            raise DatasetError("dataset.wrong_encoding", path=path, encoding=named, position=error.start) from error
        guessed = guess(content)
        key = "dataset.not_utf8" if guessed else "dataset.not_text"
        raise DatasetError(key, path=path, position=error.start, guess=guessed) from error
    except (LookupError, ValueError) as error:  # also what is a codec, but none of a text
        raise DatasetError("dataset.unknown_encoding", encoding=named) from error


def _parse(text: str, path: Path) -> list[Any]:
    if not text.strip():
        raise DatasetError("dataset.empty", path=path)
    values = parse_json(text, path)
    if not isinstance(values, list):
        raise DatasetError("dataset.not_list", path=path)
    if not values:
        raise DatasetError("dataset.empty", path=path)
    if len(values) > MAX_ROWS:
        raise DatasetError("dataset.too_many_rows", path=path, rows=len(values), most=MAX_ROWS)
    return values


def parse_json(text: str, path: Path | str) -> Any:
    """The value of a JSON text, whose numbers are floats.

    Raises DatasetError that names line and column of what is no JSON, NaN and the like, a field that stands twice in an
    object, or nesting that is too deep.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            names = [name for name, _ in pairs]
            doubled = next(name for name in names if names.count(name) > 1)
            raise DatasetError("dataset.duplicate_key", path=path, name=doubled)
        return value

    def no_constant(name: str) -> None:
        place = next(found.start() for found in _CONSTANT.finditer(text) if found.group() == name)
        raise json.JSONDecodeError(name, text, place)

    try:
        # A number is nowhere allowed in a row: as floats, thousands of digits cost no time.
        return json.loads(text, object_pairs_hook=unique, parse_constant=no_constant, parse_int=float)
    except json.JSONDecodeError as error:
        raise DatasetError(
            "dataset.not_json", path=path, line=error.lineno, column=error.colno, why=error.msg
        ) from error
    except RecursionError as error:
        raise DatasetError("dataset.too_deep", path=path) from error
