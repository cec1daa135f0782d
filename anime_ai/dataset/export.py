"""Rows as the bytes of a file, in our own forms and those of other projects. Knows neither the database nor the page.

Every format says which fields it holds; what rows have beyond them is counted in a note, never lost in silence. What is
written is read back by `intake.read` with exactly these fields.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from anime_ai.dataset.formats import BETWEEN, Note
from anime_ai.dataset.rows import Problem, Row, check_row
from anime_ai.errors import DatasetError

FIELDS = tuple(field.name for field in fields(Row))
_TALK = ("input", "output", "history", "system")
_FORMULA = re.compile(r"'*[=+\-@＝＋－＠\t\r]")
"""How a cell begins that a spreadsheet would take for a formula, and one that only lacks its apostrophes to be one
(https://owasp.org/www-community/attacks/CSV_Injection)."""
_SEPARATORS = re.compile(r"[,，、;；\[]")


@dataclass(frozen=True)
class Format:
    """How rows are written: the end of a file's name, the fields that are held, and whether only pairs are written.

    A pair is a row with a `rejected` answer, for training by preference.
    """

    suffix: str
    holds: tuple[str, ...]
    write: Callable[[Sequence[Row]], bytes]
    pairs: bool = False


@dataclass(frozen=True)
class Exported:
    """The bytes of a file, the end of its name, how many rows are in it, and notes on what is not."""

    content: bytes
    suffix: str
    rows: int
    notes: tuple[Note, ...] = ()


def export(rows: Iterable[Row], key: str) -> Exported:
    """Write rows as `FORMATS[key]`.

    Raises DatasetError for a format that is none, no row (or no pair where only pairs are written), and the first row
    that no file could hold.
    """
    if key not in FORMATS:
        raise DatasetError("dataset.unknown_export", named=key, known=", ".join(FORMATS))
    format, given = FORMATS[key], list(rows)
    written = [row for row in given if row.rejected or not format.pairs]
    if not written:
        raise DatasetError("dataset.no_pairs" if given else "dataset.nothing_to_export")
    for number, row in enumerate(written, 1):
        checked = check_row(row.as_json(), number)
        if isinstance(checked, Problem):
            raise DatasetError("dataset.bad_row", problem=checked)
    notes = []
    if len(written) < len(given):
        notes.append(Note("rows_left_out", (("count", len(given) - len(written)),)))
    counts = {name: sum(bool(getattr(row, name)) for row in written) for name in FIELDS if name not in format.holds}
    if lost := [f"{name} ({count})" for name, count in counts.items() if count]:
        notes.append(Note("fields_left_out", (("fields", ", ".join(lost)),)))
    return Exported(format.write(written), format.suffix, len(written), tuple(notes))


# Our own form


def _json(values: Iterable[Any]) -> bytes:
    lines = ",\n".join("  " + json.dumps(value, ensure_ascii=False) for value in values)
    return f"[\n{lines}\n]\n".encode()


def _lines(values: Iterable[Any]) -> bytes:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values).encode()


def _original(rows: Sequence[Row]) -> bytes:
    return _json(row.as_json() for row in rows)


def _original_lines(rows: Sequence[Row]) -> bytes:
    return _lines(row.as_json() for row in rows)


# Other projects' forms


def _alpaca_row(row: Row, pair: bool) -> dict[str, Any]:
    """`input` up to its first empty line is the instruction: so it was put together where it was read from Alpaca."""
    instruction, _, more = row.input.partition(BETWEEN)
    value: dict[str, Any] = {"instruction": instruction, "input": more}
    value |= {"chosen": row.output, "rejected": row.rejected} if pair else {"output": row.output}
    if row.system:
        value["system"] = row.system
    if row.history:
        value["history"] = [list(pair) for pair in row.history]
    return value


def _turns(row: Row, names: tuple[str, str, str, str, str]) -> tuple[list[dict[str, str]], dict[str, str]]:
    """The turns up to the question, and the answer. `names`: of the two keys, of system, user and her."""
    who, what, system, user, her = names
    turns = [{who: system, what: row.system}] if row.system else []
    for said, answered in row.history:
        turns += [{who: user, what: said}, {who: her, what: answered}]
    return [*turns, {who: user, what: row.input}], {who: her, what: row.output}


_SHAREGPT = ("from", "value", "system", "human", "gpt")
_OPENAI = ("role", "content", "system", "user", "assistant")


def _alpaca(rows: Sequence[Row]) -> bytes:
    return _json(_alpaca_row(row, pair=False) for row in rows)


def _alpaca_pairs(rows: Sequence[Row]) -> bytes:
    return _json(_alpaca_row(row, pair=True) for row in rows)


def _sharegpt(rows: Sequence[Row]) -> bytes:
    talks = (_turns(row, _SHAREGPT) for row in rows)
    return _json({"conversations": [*turns, answer]} for turns, answer in talks)


def _sharegpt_pairs(rows: Sequence[Row]) -> bytes:
    talks = ((row, *_turns(row, _SHAREGPT)) for row in rows)
    return _json(
        {"conversations": turns, "chosen": answer, "rejected": {"from": "gpt", "value": row.rejected}}
        for row, turns, answer in talks
    )


def _messages(rows: Sequence[Row]) -> bytes:
    talks = (_turns(row, _OPENAI) for row in rows)
    return _lines({"messages": [*turns, answer]} for turns, answer in talks)


def _messages_pairs(rows: Sequence[Row]) -> bytes:
    talks = ((row, *_turns(row, _OPENAI)) for row in rows)
    return _lines(
        {"prompt": turns, "chosen": [answer], "rejected": [{"role": "assistant", "content": row.rejected}]}
        for row, turns, answer in talks
    )


# Tables


def _used(rows: Sequence[Row]) -> list[str]:
    return [name for name in FIELDS if name in ("input", "output") or any(getattr(row, name) for row in rows)]


def _cell(row: Row, name: str) -> str:
    value = getattr(row, name)
    if name == "history":
        value = json.dumps([list(pair) for pair in value], ensure_ascii=False) if value else ""
    elif name == "tags":
        plain = not any(_SEPARATORS.search(tag) for tag in value)
        value = "、".join(value) if plain else json.dumps(list(value), ensure_ascii=False)
    elif name == "draft":
        value = "true" if value else ""
    return f"'{value}" if _FORMULA.match(value) else value


def _table(rows: Sequence[Row], delimiter: str) -> bytes:
    """With a mark of UTF-8, without which Excel takes Chinese for something else."""
    target = io.StringIO(newline="")
    writer = csv.writer(target, delimiter=delimiter)
    names = _used(rows)
    writer.writerow(names)
    writer.writerows([_cell(row, name) for name in names] for row in rows)
    return target.getvalue().encode("utf-8-sig")


def _csv(rows: Sequence[Row]) -> bytes:
    return _table(rows, ",")


def _tsv(rows: Sequence[Row]) -> bytes:
    return _table(rows, "\t")


def _parquet(rows: Sequence[Row]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    text, names = pyarrow.string(), _used(rows)
    kinds = {"history": pyarrow.list_(pyarrow.list_(text)), "tags": pyarrow.list_(text), "draft": pyarrow.bool_()}
    schema = pyarrow.schema([(name, kinds.get(name, text)) for name in names])
    target = pyarrow.BufferOutputStream()
    values = [{name: getattr(row, name) for name in names} for row in rows]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(values, schema), target, compression="zstd")
    return target.getvalue().to_pybytes()


FORMATS: dict[str, Format] = {
    "json": Format(".json", FIELDS, _original),
    "jsonl": Format(".jsonl", FIELDS, _original_lines),
    "alpaca": Format(".alpaca.json", _TALK, _alpaca),
    "alpaca_pairs": Format(".alpaca-pairs.json", (*_TALK, "rejected"), _alpaca_pairs, pairs=True),
    "sharegpt": Format(".sharegpt.json", _TALK, _sharegpt),
    "sharegpt_pairs": Format(".sharegpt-pairs.json", (*_TALK, "rejected"), _sharegpt_pairs, pairs=True),
    "messages": Format(".messages.jsonl", _TALK, _messages),
    "messages_pairs": Format(".messages-pairs.jsonl", (*_TALK, "rejected"), _messages_pairs, pairs=True),
    "csv": Format(".csv", FIELDS, _csv),
    "tsv": Format(".tsv", FIELDS, _tsv),
    "parquet": Format(".parquet", FIELDS, _parquet),
}
"""Every format by its key, in the order in which they are offered."""
