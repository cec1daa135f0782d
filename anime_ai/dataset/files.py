"""Reading and writing a dataset in the original project's format, `[{"input", "output"}]`. Knows nothing of tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anime_ai.dataset.rows import Problem, Row, check_rows
from anime_ai.errors import DatasetError
from anime_ai.files import write_bytes

MAX_BYTES = 200 * 2**20
MAX_ROWS = 200_000
GUESSES = ("gb18030", "big5", "shift_jis")
"""Encodings that are tried strictly, in this order, to tell the user what a file that is not UTF-8 may be."""

_FOREIGN = ((b"PAR1", "Parquet"), (b"PK\x03\x04", "ZIP"), (b"\x80\x04", "pickle"), (b"\x80\x05", "pickle"))


@dataclass(frozen=True)
class Reading:
    """Good rows, the problems of the others, and the SHA-256 of the file's bytes."""

    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]
    sha256: str


def read_rows(path: Path | str, default_persona: str = "", encoding: str | None = None) -> Reading:
    """Read a JSON file. Raises DatasetError for a file that cannot be read as a whole; bad rows are in `problems`."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DatasetError("dataset.too_large", path=path, most=MAX_BYTES // 2**20)
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError("dataset.unreadable", path=path, why=error.strerror or error) from error
    values = _parse(_decode(content, path, encoding), path)
    rows, problems = check_rows(values, default_persona)
    return Reading(tuple(rows), tuple(problems), hashlib.sha256(content).hexdigest())


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


def _decode(content: bytes, path: Path, encoding: str | None) -> str:
    for mark, kind in _FOREIGN:
        if content.startswith(mark):
            raise DatasetError("dataset.foreign", path=path, kind=kind)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = encoding or "utf-16"
    try:
        return content.decode(encoding or "utf-8-sig")
    except LookupError as error:
        raise DatasetError("dataset.unknown_encoding", encoding=encoding) from error
    except UnicodeDecodeError as error:
        if encoding:
            raise DatasetError("dataset.wrong_encoding", path=path, encoding=encoding, position=error.start) from error
        raise DatasetError("dataset.not_utf8", path=path, position=error.start, guess=_guess(content)) from error


def _guess(content: bytes) -> str:
    for name in GUESSES:
        try:
            content.decode(name)
        except UnicodeDecodeError:
            continue
        return name
    return "gb18030"


def _parse(text: str, path: Path) -> list[Any]:
    if not text.strip():
        raise DatasetError("dataset.empty", path=path)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            names = [name for name, _ in pairs]
            doubled = next(name for name in names if names.count(name) > 1)
            raise DatasetError("dataset.duplicate_key", path=path, name=doubled)
        return value

    def no_constant(name: str) -> None:
        raise DatasetError("dataset.not_json", path=path, line="?", column="?", why=name)

    try:
        values = json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        raise DatasetError(
            "dataset.not_json", path=path, line=error.lineno, column=error.colno, why=error.msg
        ) from error
    except (RecursionError, ValueError) as error:
        raise DatasetError("dataset.not_json", path=path, line="?", column="?", why=error) from error
    if not isinstance(values, list):
        raise DatasetError("dataset.not_list", path=path)
    if not values:
        raise DatasetError("dataset.empty", path=path)
    if len(values) > MAX_ROWS:
        raise DatasetError("dataset.too_many_rows", path=path, rows=len(values), most=MAX_ROWS)
    return values
