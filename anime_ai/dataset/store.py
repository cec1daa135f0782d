"""The datasets in the database: pages of rows, edits with versions. Knows neither files' formats nor training.

What is stored has passed `check_row`, whoever hands it in. A dataset's name is data; only its id leads to it.
"""

from __future__ import annotations

import builtins
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, insert, or_, select, update
from sqlalchemy.orm import Session

from anime_ai.dataset.files import good_rows, read_rows
from anime_ai.dataset.rows import Problem, Row, check_row
from anime_ai.errors import DatasetError
from anime_ai.storage import Database, DatasetRecord, RowRecord, is_name, new_id, shown_name

SHIPPED_NAME = "内置对话"
MAX_NAME = 500
MAX_PAGE = 200
BATCH = 2_000
"""Rows of one INSERT: enough to be fast, few enough that a large dataset is not in memory twice."""


@dataclass(frozen=True)
class DatasetInfo:
    """A dataset, the number of its rows and its personas, most rows first. `updated`: seconds since 1970."""

    id: str
    name: str
    rows: int
    personas: tuple[str, ...]
    updated: float


@dataclass(frozen=True)
class StoredRow:
    """A row as it stands in the database. A save hands `version` back; `position` counts from 0, with gaps."""

    id: str
    version: int
    position: int
    row: Row


@dataclass(frozen=True)
class Page:
    """Page `number` (from 1) of `pages`, out of `total` rows that were found."""

    rows: tuple[StoredRow, ...]
    total: int
    number: int
    pages: int


class ConflictError(DatasetError):
    """Somebody else saved the row first. `mine` was not stored (None: a deletion), `theirs` stands there now."""

    def __init__(self, mine: Row | None, theirs: StoredRow) -> None:
        key = "dataset.conflict_delete" if mine is None else "dataset.conflict"
        said = {"mine": _brief(mine)} if mine else {}
        super().__init__(key, theirs=_brief(theirs.row), **said)
        self.mine, self.theirs = mine, theirs


class Datasets:
    """All datasets. Every call is one transaction; unknown ids raise DatasetError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self) -> builtins.list[DatasetInfo]:
        """Every dataset, the one that was changed last first."""
        with self._database.reading() as session:
            return _infos(session)

    def find(self, name_or_id: str) -> DatasetInfo:
        """The dataset with this id, else the one with this name that was changed last."""
        with self._database.reading() as session:
            infos = _infos(session, or_(DatasetRecord.id == name_or_id, DatasetRecord.name == shown_name(name_or_id)))
        if not infos:
            raise DatasetError("dataset.unknown", name=name_or_id)
        return next((info for info in infos if info.id == name_or_id), infos[0])

    def create(self, name: str, rows: Iterable[Row], source: str = "", sha256: str = "") -> str:
        """Store a new dataset whole or not at all, and return its id.

        A name that is taken gets a number: "对话 (2)". Raises DatasetError for the first row that cannot be
        stored, or when there is no row.
        """
        with self._database.session() as session:
            return _create(session, name, rows, source, sha256)

    def import_shipped(self, path: Path) -> str | None:
        """Import the dataset that comes with the program, at the first start only, and return its id.

        None when one was imported before, even if it was removed or the file has changed since: what the user made of
        it stays as it is, and `shipped_changed` tells. Raises DatasetError for a file that cannot be used.
        """
        with (
            self._database.session() as session
        ):  # checked and stored under one lock: two starts at once import it once
            if session.scalar(select(func.count()).where(DatasetRecord.source == _SHIPPED)):
                return None
            reading = read_rows(path)
            return _create(session, SHIPPED_NAME, good_rows(reading, path), _SHIPPED, reading.sha256)

    def shipped_changed(self, path: Path) -> bool:
        """Whether the file that comes with the program is another one than all that were imported: worth an offer."""
        return self.by_sha256(read_rows(path).sha256) is None

    def by_sha256(self, sha256: str) -> DatasetInfo | None:
        """The dataset that was made of a file with this hash, None when there is none: a second upload is noticed."""
        with self._database.reading() as session:
            return next(iter(_infos(session, DatasetRecord.sha256 == sha256)), None)

    def rename(self, dataset_id: str, name: str) -> None:
        """Raises DatasetError when another dataset has this name."""
        name = _checked_name(name)
        with self._database.session() as session:
            dataset = _dataset(session, dataset_id)
            if dataset.name != name and _free_name(session, name) != name:
                raise DatasetError("dataset.name_taken", name=name)
            dataset.name, dataset.updated = name, time.time()

    def remove(self, dataset_id: str) -> None:
        """Delete a dataset and all its rows for good."""
        with self._database.session() as session:
            dataset = _dataset(session, dataset_id)
            session.execute(RowRecord.__table__.delete().where(RowRecord.dataset_id == dataset_id))  # type: ignore[attr-defined]
            # The mark stays, so that the shipped dataset does not come back at the next start.
            dataset.removed, dataset.name, dataset.updated = True, "", time.time()

    def rows(self, dataset_id: str) -> builtins.list[Row]:
        """All rows in order, without the deleted ones."""
        with self._database.reading() as session:
            _dataset(session, dataset_id)
            found = session.execute(_rows_of(dataset_id).order_by(RowRecord.position))
            return [_row(record) for record in found]

    def page(self, dataset_id: str, number: int = 1, size: int = 25, search: str = "", persona: str = "") -> Page:
        """One page of the rows that contain `search` anywhere and have this persona ("" takes all).

        A number beyond the last page gives the last one. `search` is plain text: % and _ stand for themselves.
        """
        size = min(max(size, 1), MAX_PAGE)
        wanted: builtins.list[ColumnElement[bool]] = [RowRecord.dataset_id == dataset_id, RowRecord.deleted.is_(False)]
        if persona:
            wanted.append(RowRecord.persona == persona)
        if search.strip():
            wanted.append(self._anywhere(search.strip()))
        with self._database.reading() as session:
            _dataset(session, dataset_id)
            total = session.scalar(select(func.count()).select_from(RowRecord).where(*wanted)) or 0
            pages = max(1, -(-total // size))
            number = min(max(number, 1), pages)
            found = session.execute(
                select(*_COLUMNS).where(*wanted).order_by(RowRecord.position).limit(size).offset((number - 1) * size)
            )
            return Page(tuple(_stored(record) for record in found), total, number, pages)

    def row(self, row_id: str) -> StoredRow:
        """One row that is not deleted."""
        with self._database.reading() as session:
            return _standing(session, row_id)

    def save(self, row_id: str, version: int, row: Row) -> StoredRow:
        """Put `row` in the place of `version`. Raises ConflictError when that is no longer what stands there."""
        row = _checked(row.as_json(), 1)
        with self._database.session() as session:
            self._replace(session, row_id, version, row, _cells(row))
            return _standing(session, row_id)

    def add(self, dataset_id: str, row: Row) -> StoredRow:
        """A new row behind all others."""
        with self._database.session() as session:
            _dataset(session, dataset_id).updated = time.time()
            last = session.scalar(select(func.max(RowRecord.position)).where(RowRecord.dataset_id == dataset_id))
            _insert(session, dataset_id, [row], 0 if last is None else last + 1)
            found = _rows_of(dataset_id).order_by(RowRecord.position.desc()).limit(1)
            return _stored(session.execute(found).one())

    def delete(self, row_id: str, version: int) -> None:
        """Take a row out; `restore` brings it back. Raises ConflictError when `version` is not what stands there."""
        with self._database.session() as session:
            self._replace(session, row_id, version, None, {"deleted": True})

    def restore(self, row_id: str) -> StoredRow:
        """Bring a deleted row back to its place; a row that stands there is returned as it is."""
        with self._database.session() as session:
            session.execute(
                update(RowRecord)
                .where(RowRecord.id == row_id, RowRecord.deleted.is_(True))
                .values(deleted=False, version=RowRecord.version + 1, updated=time.time())
            )
            stored = _standing(session, row_id)
            _touch(session, row_id)
            return stored

    def _anywhere(self, search: str) -> ColumnElement[bool]:
        history = cast(RowRecord.history, Text)
        cells = (RowRecord.input, RowRecord.output, RowRecord.inner, RowRecord.persona, history)
        if self._database.file:  # SQLite's LIKE ignores case by itself; told to, it takes twice as long
            return or_(*(cell.contains(search, autoescape=True) for cell in cells))
        return or_(*(cell.icontains(search, autoescape=True) for cell in cells))

    @staticmethod
    def _replace(session: Session, row_id: str, version: int, mine: Row | None, values: dict[str, Any]) -> None:
        """Compare and swap in one statement, so that of two savers exactly one wins on any database."""
        done = session.execute(
            update(RowRecord)
            .where(RowRecord.id == row_id, RowRecord.version == version, RowRecord.deleted.is_(False))
            .values(version=version + 1, updated=time.time(), **values)
        )
        if done.rowcount == 0:  # type: ignore[attr-defined]
            raise ConflictError(mine, _standing(session, row_id))
        _touch(session, row_id)


_SHIPPED = "shipped"
_COLUMNS = (
    RowRecord.id,
    RowRecord.version,
    RowRecord.position,
    RowRecord.persona,
    RowRecord.input,
    RowRecord.output,
    RowRecord.inner,
    RowRecord.history,
    RowRecord.system,
    RowRecord.rejected,
    RowRecord.tags,
    RowRecord.draft,
)


def _rows_of(dataset_id: str) -> Any:
    return select(*_COLUMNS).where(RowRecord.dataset_id == dataset_id, RowRecord.deleted.is_(False))


def _row(record: Any) -> Row:
    history = tuple((said, answered) for said, answered in record.history)
    return Row(
        record.input,
        record.output,
        record.persona,
        history,
        record.inner,
        record.system,
        record.rejected,
        tuple(record.tags),
        record.draft,
    )


def _stored(record: Any) -> StoredRow:
    return StoredRow(record.id, record.version, record.position, _row(record))


def _brief(row: Row) -> str:
    """A row as a message can show it; the whole texts are in the error's attributes."""
    return " → ".join(cell if len(cell) <= 80 else cell[:79] + "…" for cell in (row.input, row.output))


def _cells(row: Row) -> dict[str, Any]:
    return {
        "persona": row.persona,
        "input": row.input,
        "output": row.output,
        "inner": row.inner,
        "history": [list(pair) for pair in row.history],
        "system": row.system,
        "rejected": row.rejected,
        "tags": list(row.tags),
        "draft": row.draft,
    }


def _checked(value: Any, number: int) -> Row:
    result = check_row(value, number)
    if isinstance(result, Problem):
        raise DatasetError("dataset.bad_row", problem=result)
    return result


def _standing(session: Session, row_id: str) -> StoredRow:
    found = session.execute(select(*_COLUMNS).where(RowRecord.id == row_id, RowRecord.deleted.is_(False))).first()
    if found is None:
        raise DatasetError("dataset.row_gone")
    return _stored(found)


def _dataset(session: Session, dataset_id: str) -> DatasetRecord:
    found = session.get(DatasetRecord, dataset_id)
    if found is None or found.removed:
        raise DatasetError("dataset.unknown", name=dataset_id)
    return found


def _touch(session: Session, row_id: str) -> None:
    owner = select(RowRecord.dataset_id).where(RowRecord.id == row_id).scalar_subquery()
    session.execute(update(DatasetRecord).where(DatasetRecord.id == owner).values(updated=time.time()))


def _create(session: Session, name: str, rows: Iterable[Row], source: str, sha256: str) -> str:
    name = _checked_name(name)
    dataset = DatasetRecord(id=new_id(), name=_free_name(session, name), source=source, sha256=sha256)
    session.add(dataset)
    session.flush()
    if not _insert(session, dataset.id, rows, 0):
        raise DatasetError("dataset.no_rows", name=name)
    return dataset.id


def _insert(session: Session, dataset_id: str, rows: Iterable[Row], position: int) -> int:
    """Store `rows` from `position` on, and return how many there were."""
    now, count = time.time(), 0
    checked: Iterator[Row] = (_checked(row.as_json(), number) for number, row in enumerate(rows, 1))
    while batch := list(islice(checked, BATCH)):
        session.connection().execute(
            insert(RowRecord),
            [
                {
                    "id": new_id(),
                    "dataset_id": dataset_id,
                    "position": position + count + offset,
                    "version": 1,
                    "created": now,
                    "updated": now,
                    "deleted": False,
                    **_cells(row),
                }
                for offset, row in enumerate(batch)
            ],
        )
        count += len(batch)
    return count


def _infos(session: Session, *wanted: ColumnElement[bool]) -> list[DatasetInfo]:
    datasets = session.execute(
        select(DatasetRecord.id, DatasetRecord.name, DatasetRecord.updated)
        .where(DatasetRecord.removed.is_(False), *wanted)
        .order_by(DatasetRecord.updated.desc(), DatasetRecord.id)
    ).all()
    counts: dict[str, dict[str, int]] = {dataset.id: {} for dataset in datasets}
    chosen = [RowRecord.dataset_id.in_(list(counts))] if wanted else []
    for dataset_id, persona, number in session.execute(
        select(RowRecord.dataset_id, RowRecord.persona, func.count())
        .where(RowRecord.deleted.is_(False), *chosen)
        .group_by(RowRecord.dataset_id, RowRecord.persona)
    ):
        counts.get(dataset_id, {})[persona] = number
    return [
        DatasetInfo(
            dataset.id,
            dataset.name,
            sum(counts[dataset.id].values()),
            tuple(sorted((name for name in counts[dataset.id] if name), key=lambda name: -counts[dataset.id][name])),
            dataset.updated,
        )
        for dataset in datasets
    ]


def _checked_name(name: str) -> str:
    shown = shown_name(name)
    if not is_name(shown, MAX_NAME):
        raise DatasetError("dataset.name", most=MAX_NAME)
    return shown


def _free_name(session: Session, name: str) -> str:
    """`name`, with the first free number behind it where it is taken."""
    taken = set(
        session.scalars(
            select(DatasetRecord.name).where(
                DatasetRecord.removed.is_(False), DatasetRecord.name.startswith(name, autoescape=True)
            )
        )
    )
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free
