"""What was changed in a dataset, step by step, so that it can be undone and done again. Knows no files and no page.

An edit holds the changed columns of every row that it touched, before and after. A row that was added was there before,
deleted; so an edit never makes nor destroys a row, and undoing one is another change of columns. All of it is in the
database: after a restart the steps are still there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.orm import Session

from anime_ai.dataset.records import AT_ONCE, held
from anime_ai.errors import DatasetError
from anime_ai.storage import EditRecord, RevisionRecord, RowRecord, new_id

KEPT = 200
"""Steps that a dataset remembers."""
CHANGING = (*("persona", "input", "output", "inner", "history", "system", "rejected", "tags", "draft", "deleted"),)
"""Columns of a row that an edit may change. Its position is none: a row that is put between others moves them all, and
their order stays."""


@dataclass(frozen=True)
class Edit:
    """A step: what it did (`kind`, a text key under "edit."), to how many rows, when (seconds since 1970), and whether
    it is undone."""

    id: str
    kind: str
    rows: int
    created: float
    undone: bool


def change(
    session: Session,
    dataset_id: str,
    kind: str,
    wanted: Mapping[str, Mapping[str, Any]],
    added: Sequence[str] = (),
) -> int:
    """Set columns of some rows of a dataset that is held, by the rows' ids, as one step; how many changed.

    `added`: rows that were inserted just now and belong to the step. What was undone before can no longer be done
    again.
    """
    changed: list[dict[str, Any]] = []
    for record in _states(session, list(wanted)):
        before = {name: getattr(record, name) for name in wanted[record.id]}
        after = dict(wanted[record.id])
        if before != after:
            changed.append({"row_id": record.id, "version": record.version, "before": before, "after": after})
    _write(session, [(one["row_id"], one["version"], one["after"]) for one in changed])
    gone, there = {"deleted": True}, {"deleted": False}
    changed += [{"row_id": id, "before": gone, "after": there} for id in added]
    if changed:
        _record(session, dataset_id, kind, changed)
    return len(changed)


def undo(session: Session, dataset_id: str) -> Edit:
    """Take the last step back. Raises DatasetError where there is none."""
    held(session, dataset_id)
    last = (
        select(EditRecord)
        .where(EditRecord.dataset_id == dataset_id, EditRecord.undone.is_(False))
        .order_by(EditRecord.number.desc())
    )
    return _moved(session, last, undone=True)


def redo(session: Session, dataset_id: str) -> Edit:
    """Do the step again that was taken back last. Raises DatasetError where there is none."""
    held(session, dataset_id)
    first = (
        select(EditRecord)
        .where(EditRecord.dataset_id == dataset_id, EditRecord.undone.is_(True))
        .order_by(EditRecord.number)
    )
    return _moved(session, first, undone=False)


def steps(session: Session, dataset_id: str, count: int = 30) -> list[Edit]:
    """The last steps of a dataset, the newest first."""
    wanted = select(EditRecord).where(EditRecord.dataset_id == dataset_id).order_by(EditRecord.number.desc())
    return [_edit(record) for record in session.scalars(wanted.limit(count))]


def _moved(session: Session, wanted: Any, undone: bool) -> Edit:
    record = session.scalars(wanted.limit(1)).first()
    if record is None:
        raise DatasetError("dataset.nothing_to_undo" if undone else "dataset.nothing_to_redo")
    found = session.execute(
        select(RevisionRecord.row_id, RevisionRecord.before, RevisionRecord.after, RowRecord.version)
        .join(RowRecord, RowRecord.id == RevisionRecord.row_id)
        .where(RevisionRecord.edit_id == record.id)
    )
    _write(session, [(one.row_id, one.version, one.before if undone else one.after) for one in found])
    record.undone = undone
    return _edit(record)


def _states(session: Session, row_ids: Sequence[str]) -> Iterator[Any]:
    columns = [getattr(RowRecord, name) for name in ("id", "version", *CHANGING)]
    for start in range(0, len(row_ids), AT_ONCE):
        yield from session.execute(select(*columns).where(RowRecord.id.in_(row_ids[start : start + AT_ONCE]))).all()


def _write(session: Session, changes: Sequence[tuple[str, int, Mapping[str, Any]]]) -> None:
    """Each row's new columns; its version grows, so that a page which shows the old one cannot save over it."""
    now = time.time()
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for id, version, columns in changes:
        values = {"row": id, "new_version": version + 1, "now": now}
        values |= {f"new_{name}": value for name, value in columns.items()}
        alike.setdefault(tuple(columns), []).append(values)
    for names, several in alike.items():  # one statement for many rows
        told: dict[str, Any] = {name: bindparam(f"new_{name}") for name in (*names, "version")}
        step = update(RowRecord).where(RowRecord.id == bindparam("row")).values(updated=bindparam("now"), **told)
        session.connection().execute(step, several)


def _record(session: Session, dataset_id: str, kind: str, changed: Sequence[Mapping[str, Any]]) -> None:
    undone = select(EditRecord.id).where(EditRecord.dataset_id == dataset_id, EditRecord.undone.is_(True))
    last = session.scalar(
        select(func.max(EditRecord.number)).where(EditRecord.dataset_id == dataset_id, EditRecord.undone.is_(False))
    )
    number = 1 if last is None else last + 1
    old = select(EditRecord.id).where(EditRecord.dataset_id == dataset_id, EditRecord.number <= number - KEPT)
    for unwanted in (undone, old):
        session.execute(delete(EditRecord).where(EditRecord.id.in_(unwanted)))
    edit = new_id()
    session.add(EditRecord(id=edit, dataset_id=dataset_id, number=number, kind=kind, rows=len(changed)))
    session.flush()
    values = [{"edit_id": edit, **{name: one[name] for name in ("row_id", "before", "after")}} for one in changed]
    session.connection().execute(insert(RevisionRecord), values)


def _edit(record: EditRecord) -> Edit:
    return Edit(record.id, record.kind, record.rows, record.created, record.undone)
