"""A row as it stands in the database, and back. Knows no file, no page and no edit."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from anime_ai.dataset.rows import Problem, Row, check_row
from anime_ai.errors import DatasetError
from anime_ai.storage import DatasetRecord, RowRecord, new_id

BATCH = 2_000
"""Rows of one INSERT: enough to be fast, few enough that a large dataset is not in memory twice."""
AT_ONCE = 500
"""Ids of one question; SQLite takes no more than some thousand."""
MAX_SOURCE = 300


@dataclass(frozen=True)
class StoredRow:
    """A row as it stands in the database. A save hands `version` back; `position` counts from 0, with gaps.

    `source`: the file that it came from, or what made it.
    """

    id: str
    version: int
    position: int
    row: Row
    source: str = ""


COLUMNS = (
    *(RowRecord.id, RowRecord.version, RowRecord.position, RowRecord.source),
    *(RowRecord.persona, RowRecord.input, RowRecord.output, RowRecord.inner, RowRecord.history),
    *(RowRecord.system, RowRecord.rejected, RowRecord.tags, RowRecord.draft),
)


def row_of(record: Any) -> Row:
    history = tuple((said, answered) for said, answered in record.history)
    cells = {name: getattr(record, name) for name in ("input", "output", "persona", "inner", "system", "rejected")}
    return Row(history=history, tags=tuple(record.tags), draft=record.draft, **cells)


def stored(record: Any) -> StoredRow:
    return StoredRow(record.id, record.version, record.position, row_of(record), record.source)


def cells_of(row: Row) -> dict[str, Any]:
    """The columns that hold a row's words."""
    return {
        **{name: getattr(row, name) for name in ("input", "output", "persona", "inner", "system", "rejected", "draft")},
        "history": [list(pair) for pair in row.history],
        "tags": list(row.tags),
    }


def checked(value: Any, number: int) -> Row:
    """A row that may be stored. Raises DatasetError for the first problem it has."""
    result = check_row(value, number)
    if isinstance(result, Problem):
        raise DatasetError("dataset.bad_row", problem=result)
    return result


def rows_of(dataset_id: str) -> Any:
    """The question for all rows of a dataset that are not deleted."""
    return select(*COLUMNS).where(RowRecord.dataset_id == dataset_id, RowRecord.deleted.is_(False))


def standing(session: Session, row_id: str) -> StoredRow:
    """One row that is not deleted. Raises DatasetError."""
    found = session.execute(select(*COLUMNS).where(RowRecord.id == row_id, RowRecord.deleted.is_(False))).first()
    if found is None:
        raise DatasetError("dataset.row_gone")
    return stored(found)


def all_standing(session: Session, dataset_id: str, row_ids: Sequence[str]) -> list[StoredRow]:
    """Some rows of a dataset in their order there. Raises DatasetError where one of them is gone or another's."""
    wanted = list(dict.fromkeys(row_ids))
    found = [
        stored(record)
        for start in range(0, len(wanted), AT_ONCE)
        for record in session.execute(rows_of(dataset_id).where(RowRecord.id.in_(wanted[start : start + AT_ONCE])))
    ]
    if len(found) < len(wanted):
        raise DatasetError("dataset.row_gone")
    return sorted(found, key=lambda one: one.position)


def dataset_of(session: Session, dataset_id: str) -> DatasetRecord:
    """Raises DatasetError for one that is unknown or removed."""
    found = session.get(DatasetRecord, dataset_id)
    if found is None or found.removed:
        raise DatasetError("dataset.unknown", name=dataset_id)
    return found


def held(session: Session, dataset_id: str) -> DatasetRecord:
    """A dataset that nobody else changes until the transaction ends: whoever changes a row takes this first, so what
    is read behind it is still true when it is written."""
    session.execute(select(DatasetRecord.id).where(DatasetRecord.id == dataset_id).with_for_update())
    found = dataset_of(session, dataset_id)
    found.updated = time.time()
    return found


def held_by_row(session: Session, row_id: str) -> str:
    """The id of the dataset that a row is in, held. Raises DatasetError for an unknown row."""
    return held(session, home_of(session, row_id)).id


def home_of(session: Session, row_id: str) -> str:
    """The id of the dataset that a row is in. Raises DatasetError for an unknown row."""
    dataset_id = session.scalar(select(RowRecord.dataset_id).where(RowRecord.id == row_id))
    if dataset_id is None:
        raise DatasetError("dataset.row_gone")
    return dataset_id


def insert_rows(session: Session, dataset_id: str, rows: Iterable[Row], position: int, source: str = "") -> list[str]:
    """Store `rows` from `position` on, and return their ids."""
    now = time.time()
    ids: list[str] = []
    good: Iterator[Row] = (checked(row.as_json(), number) for number, row in enumerate(rows, 1))
    while batch := list(islice(good, BATCH)):
        fresh = [new_id() for _ in batch]
        session.connection().execute(
            insert(RowRecord),
            [
                {
                    "id": id,
                    "dataset_id": dataset_id,
                    "position": position + len(ids) + offset,
                    "version": 1,
                    "created": now,
                    "updated": now,
                    "deleted": False,
                    "source": source[:MAX_SOURCE],
                    **cells_of(row),
                }
                for offset, (id, row) in enumerate(zip(fresh, batch, strict=True))
            ],
        )
        ids += fresh
    return ids
