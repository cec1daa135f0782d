"""The bytes of a file as records: JSON, JSON Lines, CSV, TSV, Parquet, a zip of these, or a text that is none of them.

What a file is, its content tells; its name is used in messages only. Knows nothing of what a record's columns mean.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from anime_ai.dataset import files
from anime_ai.dataset.formats import Note, propose
from anime_ai.dataset.rows import Problem
from anime_ai.dataset.speakers import is_chat
from anime_ai.encodings import Decoded, decode
from anime_ai.errors import DatasetError

SAMPLE = 50
"""Lines or records by which a format is told."""
MOST_FIELD = 4 * 2**20
"""Characters of a table's cell, which may hold a whole history."""
GUARDED = re.compile(r"'+[=+\-@＝＋－＠\t\r]")
"""How a cell begins that would start a formula and was given an apostrophe (one more where it had some)."""
_PICKLES = (
    b"(lp",
    b"(dp",
    b"]q\x00",
    b"}q\x00",
    b"cos\n",
    b"cposix\n",
    b"ccopy_reg\n",
    b"cbuiltins\n",
    b"c__builtin__\n",
)
"""How pickles of the old protocols begin, which have no mark: lists, dicts, and what calls something."""
_CONTAINERS = {",": "csv", ";": "csv", "\t": "tsv"}
_SUBTITLES = re.compile(
    r"\s*(?:WEBVTT\b|\[Script Info\]|(?:\d+\s*\n)?\s*\d{1,2}:\d\d(?::\d\d)?[,.]\d{1,3}\s*-->)", re.IGNORECASE
)


@dataclass(frozen=True)
class Part:
    """One file, or one file of a zip.

    `records` are pairs of a number (from 1: of the line in JSON Lines, else of the record) and a value. A `text` is
    what no container holds; it has no records. `encoding` has no text of its own.
    """

    name: str
    container: str
    encoding: Decoded
    records: tuple[tuple[int, Any], ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[Note, ...] = ()
    text: str = ""

    def columns(self) -> tuple[str, ...]:
        """The names that the records' objects have, in the order in which they are first met."""
        names: dict[str, None] = {}
        for _, value in self.records:
            if isinstance(value, dict):
                names.update(dict.fromkeys(value))
        return tuple(names)


def load(content: bytes, name: str, encoding: str | None = None, is_text: bool = False) -> tuple[Part, ...]:
    """The parts of a file: one, or of a zip as many as there are data files in it. With `is_text` what has no other
    mark is a text, whatever it looks like.

    Raises DatasetError for what is too large, empty, damaged, of another kind (a pickle is never opened), or in an
    encoding that is neither named nor found.
    """
    if len(content) > files.MAX_BYTES:
        raise DatasetError("dataset.too_large", path=name, most=files.MAX_BYTES // 2**20)
    kind = files.foreign_kind(content)
    if kind == "ZIP":
        from anime_ai.dataset.archives import entries

        return _unzipped(entries(content, name), name, encoding)
    if kind == "Parquet":
        return (_parquet(content, name),)
    if not kind and content.startswith(_PICKLES) and content.rstrip().endswith(b"."):
        kind = "pickle"
    if kind:
        raise DatasetError("dataset.kind", path=name, kind=kind)
    decoded = _decoded(content, name, encoding)
    if not decoded.text.strip():
        raise DatasetError("dataset.empty", path=name)
    part = Part(name, "text", replace(decoded, text=""))
    part = replace(part, text=_lined(decoded.text)) if is_text else _told(decoded.text, part)
    if not part.text and not part.records and not part.problems:
        raise DatasetError("dataset.empty", path=name)
    return (part,)


def check_count(count: int, name: str) -> None:
    """Raises DatasetError for more rows than a dataset may have."""
    if count > files.MAX_ROWS:
        raise DatasetError("dataset.too_many_rows", path=name, rows=count, most=files.MAX_ROWS)


def _unzipped(entries: Iterator[tuple[str, bytes]], name: str, encoding: str | None) -> tuple[Part, ...]:
    """The data files of a zip; what is none of them is named in a note of the first."""
    parts: list[Part] = []
    notes: list[Note] = []
    why: DatasetError | None = None
    for inside, content in entries:
        try:
            (part,) = load(content, inside, encoding)
        except DatasetError as error:
            why = error
            notes.append(Note("skipped", (("name", inside), ("why", error))))
            continue
        if part.text:
            notes.append(Note("not_data", (("name", inside),)))
        else:
            parts.append(part)
            check_count(sum(len(one.records) for one in parts), name)
    if not parts:
        raise why or DatasetError("dataset.zip_empty", path=name)
    return (replace(parts[0], notes=(*parts[0].notes, *notes)), *parts[1:])


def _decoded(content: bytes, name: str, encoding: str | None) -> Decoded:
    try:
        return decode(content, encoding)
    except UnicodeDecodeError as error:
        key = "dataset.wrong_encoding" if encoding or not error.encoding.startswith("utf-8") else "dataset.not_text"
        raise DatasetError(key, path=name, encoding=error.encoding, position=error.start) from error
    except (LookupError, ValueError) as error:  # also what is a codec, but none of a text
        raise DatasetError("dataset.unknown_encoding", encoding=encoding) from error


def _told(text: str, part: Part) -> Part:
    """The part with what its text holds. Where it looks like JSON and nothing else, JSON's own error is raised."""
    if named := re.match(r"sep=([,;\t])\r?\n", text):  # by which Excel is told the delimiter
        return _table(text[named.end() :], named[1], part)
    start = text.lstrip()[:1]
    if not _SUBTITLES.match(text):
        if _looks_like_lines(text):
            return _lines(text, part)
        if start == "{" or (start == "[" and (text.rstrip()[-1] in "]}" or text.lstrip()[1:].lstrip()[:1] in '{["')):
            return _json(text, part)
        if delimiter := _delimiter(text):
            return _table(text, delimiter, part)
    return replace(part, text=_lined(text))


def _lined(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


# JSON and JSON Lines


def _json(text: str, part: Part) -> Part:
    value = files.parse_json(text, part.name)
    notes: tuple[Note, ...] = ()
    if isinstance(value, dict):  # one record, or the records under a name such as "data"
        lists = [name for name, one in value.items() if isinstance(one, list) and one and _all_objects(one)]
        known = {"messages", "conversations", "chosen", "output"}
        if len(lists) == 1 and not known & value.keys():
            notes = (Note("inside", (("name", lists[0]),)),)
            value = value[lists[0]]
        elif known & value.keys():
            value = [value]
    if not isinstance(value, list):
        raise DatasetError("dataset.not_list", path=part.name)
    check_count(len(value), part.name)
    return replace(part, container="json", records=tuple(enumerate(value, 1)), notes=notes)


def _all_objects(values: Sequence[Any]) -> bool:
    return all(isinstance(one, dict) for one in values)


def _looks_like_lines(text: str) -> bool:
    """Whether at least half of the first lines are an object each: a broken one, even the first, is then a bad line."""
    if text.lstrip()[:1] == "[":
        return False
    first = [line.strip() for line in _first_lines(text) if line.strip()]
    whole = 0
    for line in first:
        if line.startswith("{") and line.endswith("}"):
            with suppress(ValueError, RecursionError):
                whole += isinstance(json.loads(line), dict)
    return len(first) > 1 and whole * 2 >= len(first)


def _first_lines(text: str) -> list[str]:
    start = 0
    lines: list[str] = []
    while len(lines) < SAMPLE and start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        lines.append(text[start:end])
        start = end + 1
    return lines


def _lines(text: str, part: Part) -> Part:
    """A record of every line that is not blank; a line that is no JSON is a problem under its number."""
    check_count(sum(1 for line in io.StringIO(text) if line.strip()), part.name)
    records: list[tuple[int, Any]] = []
    problems: list[Problem] = []
    for number, line in enumerate(io.StringIO(text), 1):
        if not line.strip():
            continue
        try:
            records.append((number, files.parse_json(line, part.name)))
        except DatasetError as error:
            problems.append(Problem(number, "-", "bad_line", {"why": _reason(error)}))
    return replace(part, container="jsonl", records=tuple(records), problems=tuple(problems))


def _reason(error: DatasetError) -> str:
    """In short, without the name of the file and a line number that would be that of the line alone."""
    if error.key == "dataset.not_json":
        return f"{error.values['why']} ({error.values['column']})"
    return f'"{error.values["name"]}" × 2' if error.key == "dataset.duplicate_key" else "[[[…"


# Tables


def _delimiter(text: str) -> str:
    """The delimiter under which the first records have all the same number of cells, more than one; "" for none.

    Where the header names columns that are known, records of other lengths do not matter: they are problems.
    """
    csv.field_size_limit(MOST_FIELD)
    best, most = "", (0, 0)
    for delimiter in _CONTAINERS:
        records: list[list[str]] = []
        broken = False
        try:
            for record in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
                if record and len(records) < SAMPLE:
                    records.append(record)
                elif record:
                    break
        except csv.Error:
            broken = True
        if not records or len(records[0]) < 2:
            continue
        _, mapping = propose(records[0], ())
        known = len(mapping.columns())
        even = not broken and len(records) > 1 and all(len(record) == len(records[0]) for record in records)
        named = all(cell.strip() and len(cell) <= 40 for cell in records[0])
        if (known > 1 or (known and even) or (even and named)) and (known, len(records[0])) > most:
            best, most = delimiter, (known, len(records[0]))
    return "" if best and not most[0] and is_chat(text) else best


def _table(text: str, delimiter: str, part: Part) -> Part:
    """A record of every row under the header. A row with too few or too many cells is a problem."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records: list[tuple[int, Any]] = []
    problems: list[Problem] = []
    number, restored = 0, []
    try:
        first = next((row for row in reader if any(row)), None)
        if first is None:
            raise DatasetError("dataset.empty", path=part.name)
        header = [name.strip() for name in first]
        header = [name or f"#{place}" for place, name in enumerate(header, 1)]
        if len(set(header)) < len(header):
            doubled = next(name for name in header if header.count(name) > 1)
            raise DatasetError("dataset.duplicate_column", path=part.name, name=doubled)
        for row in reader:
            if not any(row):
                continue
            number += 1
            if number > files.MAX_ROWS:
                continue  # only counted
            if len(row) != len(header):
                problems.append(Problem(number, "-", "ragged", {"cells": len(row), "columns": len(header)}))
                continue
            if any(GUARDED.match(cell) for cell in row):
                row = [cell[1:] if GUARDED.match(cell) else cell for cell in row]
                restored.append(number)
            records.append((number, dict(zip(header, row, strict=True))))
    except csv.Error as error:
        raise DatasetError("dataset.bad_table", path=part.name, line=reader.line_num, why=error) from error
    check_count(number, part.name)
    notes = (Note("formulas", rows=tuple(restored)),) if restored else ()
    container = _CONTAINERS[delimiter]
    return replace(part, container=container, records=tuple(records), problems=tuple(problems), notes=notes)


# Parquet


def _parquet(content: bytes, name: str) -> Part:
    """The rows of a Parquet file, whose sizes are checked as declared before and as they are while they are read."""
    import pyarrow
    import pyarrow.parquet

    records: list[Any] = []
    try:
        told = pyarrow.parquet.read_metadata(pyarrow.BufferReader(content))
        check_count(told.num_rows, name)
        groups = [told.row_group(number) for number in range(told.num_row_groups)]
        values = sum(group.column(number).num_values for group in groups for number in range(group.num_columns))
        if max(sum(group.total_byte_size for group in groups), 8 * values) > files.MAX_BYTES:
            raise DatasetError("dataset.unpacks_too_large", path=name, most=files.MAX_BYTES // 2**20)
        # Texts stay one copy and places until their size is known: a text may stand in every row and once in the file.
        leaves = [told.schema.column(number) for number in range(told.num_columns)]
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content), read_dictionary=texts)
        size = 0
        for batch in file.iter_batches(batch_size=1_000):
            size += sum(_unpacked(column) for column in batch.columns)
            if size > files.MAX_BYTES:
                raise DatasetError("dataset.unpacks_too_large", path=name, most=files.MAX_BYTES // 2**20)
            records.extend(batch.to_pylist())
            check_count(len(records), name)
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        why = " ".join(str(error).split())[:200]
        raise DatasetError("dataset.broken_file", path=name, kind="Parquet", why=why) from error
    if not records:
        raise DatasetError("dataset.empty", path=name)
    return Part(name, "parquet", Decoded("", ""), tuple(enumerate(records, 1)))


def _unpacked(array: Any) -> int:
    """Bytes of an array once each text of it is a copy of its own."""
    import pyarrow
    import pyarrow.compute

    if pyarrow.types.is_dictionary(array.type):
        lengths = pyarrow.compute.binary_length(array.dictionary)
        return pyarrow.compute.sum(lengths.take(array.indices).cast("int64")).as_py() or 0
    if pyarrow.types.is_struct(array.type):
        return sum(_unpacked(part) for part in array.flatten())
    if pyarrow.types.is_nested(array.type):
        return _unpacked(array.flatten())
    return int(array.nbytes)
