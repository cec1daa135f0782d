"""A dataset as it stood once: kept whole under a name, compared with another or with what stands now, brought back.

A snapshot is compressed JSON Lines, [row id, row] each, in order. Drafts are kept too.
"""

from __future__ import annotations

import builtins
import json
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from anime_ai.dataset import revisions
from anime_ai.dataset.records import cells_of, checked, dataset_of, held, insert_rows, row_of, rows_of
from anime_ai.dataset.rows import Row
from anime_ai.errors import DatasetError
from anime_ai.storage import Database, RowRecord, SnapshotRecord, is_name, new_id, shown_name

MAX_NAME = 200
Held = dict[str, Row]
"""Rows by their ids, in order."""


@dataclass(frozen=True)
class Snapshot:
    """What a snapshot is called, how many rows it holds, their hash, and when it was made (seconds since 1970)."""

    id: str
    dataset_id: str
    name: str
    rows: int
    sha256: str
    created: float


@dataclass(frozen=True)
class Diff:
    """What is different in the newer of two: rows that only it has, that only the older has, and that changed."""

    added: tuple[Row, ...]
    removed: tuple[Row, ...]
    changed: tuple[tuple[Row, Row], ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


class Snapshots:
    """All datasets' snapshots. Every call is one transaction; unknown ids raise DatasetError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def make(self, dataset_id: str, name: str) -> Snapshot:
        """Keep a dataset as it stands now. Raises DatasetError for a name that is none."""
        name = shown_name(name)
        if not is_name(name, MAX_NAME):
            raise DatasetError("dataset.name", most=MAX_NAME)
        with self._database.session() as session:
            return _made(session, dataset_id, name, _standing(session, dataset_id))

    def of_now(self, dataset_id: str, name: str) -> Snapshot:
        """The newest snapshot of the dataset as it stands, a new one where there is none: what a run is trained on."""
        with self._database.session() as session:
            now = _standing(session, dataset_id)
            wanted = _of(dataset_id).where(SnapshotRecord.sha256 == _hash(now))
            same = session.execute(wanted.limit(1)).first()
            return _told(same) if same else _made(session, dataset_id, shown_name(name)[:MAX_NAME], now)

    def list(self, dataset_id: str) -> builtins.list[Snapshot]:
        """The newest first."""
        with self._database.reading() as session:
            return [_told(record) for record in session.execute(_of(dataset_id))]

    def find(self, snapshot_id: str) -> Snapshot | None:
        """None where it is gone."""
        with self._database.reading() as session:
            found = session.execute(_all().where(SnapshotRecord.id == snapshot_id)).first()
            return _told(found) if found else None

    def rows(self, snapshot_id: str) -> builtins.list[Row]:
        """The rows as they stood."""
        return list(self.held(snapshot_id).values())

    def held(self, snapshot_id: str) -> Held:
        """The rows as they stood, by their ids, in order."""
        with self._database.reading() as session:
            return _content(_record(session, snapshot_id))

    def diff(self, older_id: str, newer_id: str = "") -> Diff:
        """What changed between two snapshots of a dataset, or since one of them where `newer_id` is "".

        Raises DatasetError where they are not of one dataset.
        """
        with self._database.reading() as session:
            older = _record(session, older_id)
            if newer_id:
                newer = _record(session, newer_id)
                if newer.dataset_id != older.dataset_id:
                    raise DatasetError("dataset.two_datasets")
                return _diff(_content(older), _content(newer))
            return _diff(_content(older), _standing(session, older.dataset_id))

    def restore(self, snapshot_id: str) -> int:
        """Bring a dataset back to what it was, as one step that can be undone; how many rows changed."""
        with self._database.session() as session:
            record = _record(session, snapshot_id)
            held(session, record.dataset_id)
            then, now = _content(record), _standing(session, record.dataset_id)
            here = RowRecord.dataset_id == record.dataset_id
            known = set(session.scalars(select(RowRecord.id).where(here)))
            wanted: dict[str, dict[str, Any]] = {id: {"deleted": True} for id in now if id not in then}
            wanted |= {id: {"deleted": False, **cells_of(row)} for id, row in then.items() if id in known}
            lost = [row for id, row in then.items() if id not in known]  # emptied out of the bin since
            fresh = insert_rows(session, record.dataset_id, lost, len(known), record.name) if lost else []
            return revisions.change(session, record.dataset_id, "snapshot", wanted, fresh)

    def remove(self, snapshot_id: str) -> None:
        with self._database.session() as session:
            session.delete(_record(session, snapshot_id))


def without(session: Session, dataset_id: str, row_ids: Collection[str]) -> None:
    """Take rows that are destroyed out of all snapshots of their dataset."""
    if not row_ids:
        return
    for record in session.scalars(select(SnapshotRecord).where(SnapshotRecord.dataset_id == dataset_id)):
        content = _content(record)
        if kept := {id: row for id, row in content.items() if id not in row_ids}:
            if len(kept) < len(content):
                record.content, record.rows, record.sha256 = _packed(kept), len(kept), _hash(kept)
        else:
            session.delete(record)


def _made(session: Session, dataset_id: str, name: str, rows: Held) -> Snapshot:
    dataset_of(session, dataset_id)
    if not rows:
        raise DatasetError("dataset.no_rows", name=name)
    record = SnapshotRecord(
        id=new_id(), dataset_id=dataset_id, name=name, rows=len(rows), sha256=_hash(rows), content=_packed(rows)
    )
    session.add(record)
    session.flush()
    return _told(record)


def _standing(session: Session, dataset_id: str) -> Held:
    dataset_of(session, dataset_id)
    found = session.execute(rows_of(dataset_id).order_by(RowRecord.position))
    return {record.id: row_of(record) for record in found}


def _record(session: Session, snapshot_id: str) -> SnapshotRecord:
    found = session.get(SnapshotRecord, snapshot_id)
    if found is None:
        raise DatasetError("dataset.no_snapshot")
    return found


def _all() -> Any:
    """The question for snapshots without their content."""
    names = ("id", "dataset_id", "name", "rows", "sha256", "created")
    return select(*(getattr(SnapshotRecord, name) for name in names))


def _of(dataset_id: str) -> Any:
    """The question for a dataset's snapshots, the newest first."""
    return _all().where(SnapshotRecord.dataset_id == dataset_id).order_by(SnapshotRecord.created.desc())


def _told(record: Any) -> Snapshot:
    return Snapshot(record.id, record.dataset_id, record.name, record.rows, record.sha256, record.created)


def _lines(rows: Held) -> Sequence[str]:
    return [json.dumps([id, row.as_json()], ensure_ascii=False, sort_keys=True) for id, row in rows.items()]


def _packed(rows: Held) -> bytes:
    return zlib.compress("\n".join(_lines(rows)).encode(), 6)


def _content(record: SnapshotRecord) -> Held:
    lines = zlib.decompress(record.content).decode().split("\n")
    told = [json.loads(line) for line in lines]
    return {id: checked(value, number) for number, (id, value) in enumerate(told, 1)}


def _hash(rows: Held) -> str:
    return sha256("\n".join(_lines(rows)).encode()).hexdigest()


def _diff(older: Held, newer: Held) -> Diff:
    return Diff(
        tuple(row for id, row in newer.items() if id not in older),
        tuple(row for id, row in older.items() if id not in newer),
        tuple((row, newer[id]) for id, row in older.items() if id in newer and newer[id] != row),
    )
