"""The datasets in the database: what they are called, their pages, and every change of their rows as a step.

What is stored has passed `check_row`, whoever hands it in. A dataset's name is data; only its id leads to it.
"""

from __future__ import annotations

import builtins
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import ColumnElement, Select, delete, func, or_, select, update
from sqlalchemy.orm import Session

from anime_ai.dataset import revisions
from anime_ai.dataset.files import good_rows, read_rows
from anime_ai.dataset.pages import Choices, Filter, Page, choices_of, ids_of, page_of
from anime_ai.dataset.records import (
    StoredRow,
    all_standing,
    cells_of,
    checked,
    dataset_of,
    held,
    held_by_row,
    home_of,
    insert_rows,
    row_of,
    rows_of,
    standing,
    stored,
)
from anime_ai.dataset.revisions import Edit
from anime_ai.dataset.rows import Row
from anime_ai.dataset.snapshots import without
from anime_ai.errors import DatasetError
from anime_ai.storage import (
    Database,
    DatasetRecord,
    EditRecord,
    RevisionRecord,
    RowRecord,
    SnapshotRecord,
    is_name,
    new_id,
    shown_name,
)

SHIPPED_NAME = "内置对话"
MAX_NAME = 500
_SHIPPED = "shipped"


@dataclass(frozen=True)
class DatasetInfo:
    """A dataset, the number of its rows and its personas, most rows first. `updated`: seconds since 1970."""

    id: str
    name: str
    rows: int
    personas: tuple[str, ...]
    updated: float


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
        self._counted: dict[str, tuple[float, dict[str, int]]] = {}

    def list(self) -> builtins.list[DatasetInfo]:
        """Every dataset, the one that was changed last first."""
        with self._database.reading() as session:
            return self._infos(session)

    def find(self, name_or_id: str) -> DatasetInfo:
        """The dataset with this id, else the one with this name that was changed last."""
        with self._database.reading() as session:
            infos = self._infos(
                session, or_(DatasetRecord.id == name_or_id, DatasetRecord.name == shown_name(name_or_id))
            )
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
            return next(iter(self._infos(session, DatasetRecord.sha256 == sha256)), None)

    def rename(self, dataset_id: str, name: str) -> None:
        """Raises DatasetError when another dataset has this name."""
        name = _checked_name(name)
        with self._database.session() as session:
            dataset = dataset_of(session, dataset_id)
            if dataset.name != name and _free_name(session, name) != name:
                raise DatasetError("dataset.name_taken", name=name)
            dataset.name, dataset.updated = name, time.time()

    def remove(self, dataset_id: str) -> None:
        """Delete a dataset, its rows, steps and snapshots for good."""
        with self._database.session() as session:
            dataset = held(session, dataset_id)
            for owned in (EditRecord, SnapshotRecord, RowRecord):
                session.execute(delete(owned).where(owned.dataset_id == dataset_id))
            # The mark stays, so that the shipped dataset does not come back at the next start.
            dataset.removed, dataset.name, dataset.updated = True, "", time.time()

    # Rows

    def rows(self, dataset_id: str) -> builtins.list[Row]:
        """All rows in order, drafts among them, without what is in the bin."""
        with self._database.reading() as session:
            dataset_of(session, dataset_id)
            found = session.execute(rows_of(dataset_id).order_by(RowRecord.position))
            return [row_of(record) for record in found]

    def all(self, dataset_id: str) -> builtins.list[StoredRow]:
        """All rows as they stand, in order."""
        with self._database.reading() as session:
            dataset_of(session, dataset_id)
            return [stored(record) for record in session.execute(rows_of(dataset_id).order_by(RowRecord.position))]

    def page(self, dataset_id: str, number: int = 1, size: int = 25, wanted: Filter | None = None) -> Page:
        """One page of the rows that are wanted. A number beyond the last page gives the last one."""
        with self._database.reading() as session:
            dataset_of(session, dataset_id)
            return page_of(session, dataset_id, number, size, wanted or Filter(), self._any_case)

    def ids(self, dataset_id: str, wanted: Filter) -> builtins.list[str]:
        """The ids of all rows that are wanted, in order."""
        with self._database.reading() as session:
            dataset_of(session, dataset_id)
            return ids_of(session, dataset_id, wanted, self._any_case)

    def choices(self, dataset_id: str) -> Choices:
        """What the rows of a dataset can be filtered by."""
        with self._database.reading() as session:
            return choices_of(session, dataset_id)

    def row(self, row_id: str) -> StoredRow:
        """One row that is not deleted."""
        with self._database.reading() as session:
            return standing(session, row_id)

    def home(self, row_id: str) -> str:
        """The id of the dataset that a row is in."""
        with self._database.reading() as session:
            return home_of(session, row_id)

    def some(self, dataset_id: str, row_ids: Sequence[str]) -> builtins.list[StoredRow]:
        """Some rows in order. Raises DatasetError where one is gone."""
        with self._database.reading() as session:
            return all_standing(session, dataset_id, row_ids)

    # Changes, each a step

    def save(self, row_id: str, version: int, row: Row, kind: str = "save") -> StoredRow:
        """Put `row` in the place of `version`. Raises ConflictError when that is no longer what stands there."""
        row = checked(row.as_json(), 1)
        with self._database.session() as session:
            dataset_id = self._expected(session, row_id, version, row)
            revisions.change(session, dataset_id, kind, {row_id: cells_of(row)})
            return standing(session, row_id)

    def save_all(
        self,
        dataset_id: str,
        kind: str,
        wanted: Mapping[str, Row | None],
        versions: Mapping[str, int] | None = None,
    ) -> int:
        """Put many rows, by their ids, in the place of what stands there, as one step; how many changed. None puts a
        row into the bin.

        Raises DatasetError where one is gone, and ConflictError where one is no longer the version that is named.
        """
        rows = {
            id: None if row is None else checked(row.as_json(), number)
            for number, (id, row) in enumerate(wanted.items(), 1)
        }
        with self._database.session() as session:
            held(session, dataset_id)
            for one in all_standing(session, dataset_id, list(rows)):
                if versions is not None and versions.get(one.id, one.version) != one.version:
                    raise ConflictError(rows[one.id], one)
            changes = {id: {"deleted": True} if row is None else cells_of(row) for id, row in rows.items()}
            return revisions.change(session, dataset_id, kind, changes)

    def add(self, dataset_id: str, row: Row, after: str = "", source: str = "") -> StoredRow:
        """A new row behind all others, or behind one of them."""
        with self._database.session() as session:
            (id,) = self._added(session, dataset_id, "add", [row], after, source)
            return standing(session, id)

    def extend(
        self, dataset_id: str, rows: Iterable[Row], kind: str = "import", source: str = "", after: str = ""
    ) -> builtins.list[str]:
        """Many new rows behind all others, or behind one of them, as one step; their ids. Raises DatasetError for the
        first that cannot be stored."""
        with self._database.session() as session:
            return self._added(session, dataset_id, kind, rows, after, source)

    def duplicate(self, dataset_id: str, row_ids: Sequence[str]) -> builtins.list[str]:
        """A copy of each row behind it, all as one step; the copies' ids in the rows' order."""
        with self._database.session() as session:
            held(session, dataset_id)
            there = all_standing(session, dataset_id, row_ids)
            copies = [id for one in there for id in self._placed(session, dataset_id, [one.row], one.id, one.source)]
            revisions.change(session, dataset_id, "duplicate", {}, copies)
            return copies

    def delete(self, row_id: str, version: int) -> None:
        """Put a row into the bin. Raises ConflictError when `version` is not what stands there."""
        with self._database.session() as session:
            dataset_id = self._expected(session, row_id, version, None)
            revisions.change(session, dataset_id, "delete", {row_id: {"deleted": True}})

    def delete_all(self, dataset_id: str, row_ids: Sequence[str]) -> int:
        """Put many rows into the bin as one step; how many."""
        with self._database.session() as session:
            held(session, dataset_id)
            there = all_standing(session, dataset_id, row_ids)
            return revisions.change(session, dataset_id, "delete", {one.id: {"deleted": True} for one in there})

    def restore(self, row_id: str) -> StoredRow:
        """Bring a row back out of the bin to its place; a row that stands there is returned as it is."""
        with self._database.session() as session:
            dataset_id = held_by_row(session, row_id)
            revisions.change(session, dataset_id, "restore", {row_id: {"deleted": False}})
            return standing(session, row_id)

    def restore_all(self, dataset_id: str, row_ids: Sequence[str]) -> int:
        """Bring many rows of a dataset back out of the bin as one step; how many."""
        with self._database.session() as session:
            held(session, dataset_id)
            binned = set(session.scalars(_binned(dataset_id)))
            wanted = {id: {"deleted": False} for id in row_ids if id in binned}
            return revisions.change(session, dataset_id, "restore", wanted)

    def split(self, row_id: str, version: int, turn: int) -> StoredRow:
        """Make two rows of one with several turns: the first `turn` turns stay one dialogue, the others become another,
        behind it. Raises DatasetError where there is nothing to split there, and ConflictError."""
        with self._database.session() as session:
            dataset_id = self._expected(session, row_id, version, None)
            row = standing(session, row_id).row
            turns = (*row.history, (row.input, row.output))
            if not 0 < turn < len(turns):
                raise DatasetError("dataset.nothing_to_split")
            asked, answer = turns[turn - 1]
            # What belongs to the last answer goes with it.
            first = replace(row, history=turns[: turn - 1], input=asked, output=answer, inner="", rejected="")
            second = replace(row, history=turns[turn:-1])
            (made,) = self._placed(session, dataset_id, [second], row_id, "")
            revisions.change(session, dataset_id, "split", {row_id: cells_of(first)}, added=[made])
            return standing(session, row_id)

    def merge(self, dataset_id: str, row_ids: Sequence[str]) -> StoredRow:
        """Make one dialogue of some rows in their order, where the first of them stands; the others go into the bin.

        Raises DatasetError for fewer than two, or where they are not one persona's.
        """
        with self._database.session() as session:
            held(session, dataset_id)
            found = all_standing(session, dataset_id, row_ids)
            if len(found) < 2:
                raise DatasetError("dataset.nothing_to_merge")
            if len({one.row.persona for one in found}) > 1:
                raise DatasetError("dataset.merge_personas")
            turns = [turn for one in found for turn in (*one.row.history, (one.row.input, one.row.output))]
            last = found[-1].row
            tags = tuple(dict.fromkeys(tag for one in found for tag in one.row.tags))
            merged = replace(last, history=tuple(turns[:-1]), tags=tags, system=found[0].row.system or last.system)
            merged = checked(merged.as_json(), 1)
            wanted = {one.id: {"deleted": True} for one in found[1:]}
            revisions.change(session, dataset_id, "merge", {found[0].id: cells_of(merged), **wanted})
            return standing(session, found[0].id)

    # Steps, the bin

    def undo(self, dataset_id: str) -> Edit:
        """Take the last step back. Raises DatasetError where there is none."""
        with self._database.session() as session:
            return revisions.undo(session, dataset_id)

    def redo(self, dataset_id: str) -> Edit:
        """Do again what was taken back last. Raises DatasetError where there is nothing."""
        with self._database.session() as session:
            return revisions.redo(session, dataset_id)

    def steps(self, dataset_id: str, count: int = 30) -> builtins.list[Edit]:
        """The last steps, the newest first."""
        with self._database.reading() as session:
            return revisions.steps(session, dataset_id, count)

    def empty_bin(self, dataset_id: str) -> int:
        """Destroy what is in the bin, in the steps and the snapshots as well; how many rows."""
        with self._database.session() as session:
            held(session, dataset_id)
            binned = _binned(dataset_id)
            ids = set(session.scalars(binned))
            without(session, dataset_id, ids)
            session.execute(delete(RevisionRecord).where(RevisionRecord.row_id.in_(binned)))
            session.execute(delete(RowRecord).where(RowRecord.dataset_id == dataset_id, RowRecord.deleted.is_(True)))
            steps = select(RevisionRecord.edit_id)
            idle = (EditRecord.dataset_id == dataset_id, EditRecord.id.not_in(steps))
            session.execute(delete(EditRecord).where(*idle))
            return len(ids)

    def _infos(self, session: Session, *wanted: ColumnElement[bool]) -> builtins.list[DatasetInfo]:
        """Rows are counted again only where a dataset has changed: every page of the grid asks for this."""
        found = []
        for dataset in session.execute(
            select(DatasetRecord.id, DatasetRecord.name, DatasetRecord.updated)
            .where(DatasetRecord.removed.is_(False), *wanted)
            .order_by(DatasetRecord.updated.desc(), DatasetRecord.id)
        ):
            updated, counts = self._counted.get(dataset.id, (None, {}))
            if updated != dataset.updated:
                counts = _personas(session, dataset.id)
                self._counted[dataset.id] = dataset.updated, counts
            names = tuple(name for name in counts if name)
            found.append(DatasetInfo(dataset.id, dataset.name, sum(counts.values()), names, dataset.updated))
        return found

    @property
    def _any_case(self) -> bool:
        return self._database.file is None

    @staticmethod
    def _expected(session: Session, row_id: str, version: int, mine: Row | None) -> str:
        """The id of the row's dataset, held. Raises ConflictError where another version stands there."""
        dataset_id = held_by_row(session, row_id)
        theirs = standing(session, row_id)
        if theirs.version != version:
            raise ConflictError(mine, theirs)
        return dataset_id

    def _added(
        self, session: Session, dataset_id: str, kind: str, rows: Iterable[Row], after: str, source: str
    ) -> builtins.list[str]:
        held(session, dataset_id)
        ids = self._placed(session, dataset_id, rows, after, source)
        if not ids:
            raise DatasetError("dataset.no_rows", name=source or dataset_id)
        revisions.change(session, dataset_id, kind, {}, ids)
        return ids

    @staticmethod
    def _placed(session: Session, dataset_id: str, rows: Iterable[Row], after: str, source: str) -> builtins.list[str]:
        """New rows' ids. Room is made behind the row that they follow."""
        here = RowRecord.dataset_id == dataset_id
        if not after:
            last = session.scalar(select(func.max(RowRecord.position)).where(here))
            return insert_rows(session, dataset_id, rows, 0 if last is None else last + 1, source)
        rows = list(rows)
        place = standing(session, after).position
        session.execute(
            update(RowRecord)
            .where(here, RowRecord.position > place)
            .values(position=RowRecord.position + len(rows))
            .execution_options(synchronize_session=False)
        )
        return insert_rows(session, dataset_id, rows, place + 1, source)


def _binned(dataset_id: str) -> Select[str]:
    """The question for the ids of what is in a dataset's bin."""
    return select(RowRecord.id).where(RowRecord.dataset_id == dataset_id, RowRecord.deleted.is_(True))


def _brief(row: Row) -> str:
    """A row as a message can show it; the whole texts are in the error's attributes."""
    return " → ".join(cell if len(cell) <= 80 else cell[:79] + "…" for cell in (row.input, row.output))


def _create(session: Session, name: str, rows: Iterable[Row], source: str, sha256: str) -> str:
    name = _checked_name(name)
    dataset = DatasetRecord(id=new_id(), name=_free_name(session, name), source=source, sha256=sha256)
    session.add(dataset)
    session.flush()
    if not insert_rows(session, dataset.id, rows, 0, "" if source == _SHIPPED else source):
        raise DatasetError("dataset.no_rows", name=name)
    return dataset.id


def _personas(session: Session, dataset_id: str) -> dict[str, int]:
    """How many rows each persona has, those without one under ""; most first."""
    count = func.count()
    found = session.execute(
        select(RowRecord.persona, count)
        .where(RowRecord.dataset_id == dataset_id, RowRecord.deleted.is_(False))
        .group_by(RowRecord.persona)
        .order_by(count.desc(), RowRecord.persona)
    )
    return {persona: number for persona, number in found}


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
