"""Rows of a dataset as a page shows them: filtered, sorted, a page at a time. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, or_, select
from sqlalchemy.orm import Session

from anime_ai.dataset.records import COLUMNS, StoredRow, stored
from anime_ai.storage import RowRecord

MOST_ON_A_PAGE = 200
SORTS: Mapping[str, Sequence[Any]] = {
    "order": (RowRecord.position,),
    "changed": (RowRecord.updated.desc(), RowRecord.position),
    "longest": (func.length(RowRecord.output).desc(), RowRecord.position),
    "shortest": (func.length(RowRecord.output), RowRecord.position),
}
"""By their names; text keys under "sort."."""
STATUSES = ("", "accepted", "draft", "bin")


@dataclass(frozen=True)
class Filter:
    """Which rows are wanted, and in which order; "" takes all. `search` is plain text that stands anywhere in a row:
    % and _ stand for themselves. `status`: one of STATUSES, "" is what is not in the bin."""

    search: str = ""
    persona: str = ""
    tag: str = ""
    status: str = ""
    source: str = ""
    sort: str = "order"


@dataclass(frozen=True)
class Page:
    """Page `number` (from 1) of `pages`, out of `total` rows that were found."""

    rows: tuple[StoredRow, ...]
    total: int
    number: int
    pages: int


@dataclass(frozen=True)
class Choices:
    """What can be filtered by: the tags and the sources of a dataset's rows, most used first, and how many rows are
    drafts and in the bin."""

    tags: tuple[str, ...]
    sources: tuple[str, ...]
    drafts: int
    binned: int


def page_of(session: Session, dataset_id: str, number: int, size: int, wanted: Filter, any_case: bool) -> Page:
    """A number beyond the last page gives the last one. `any_case`: the database's LIKE tells cases apart."""
    conditions = conditions_of(dataset_id, wanted, any_case)
    order = SORTS.get(wanted.sort, SORTS["order"])
    size = min(max(size, 1), MOST_ON_A_PAGE)
    number = max(number, 1)
    if wanted.search.strip() and number == 1:  # a search reads every row, so it counts what it finds on its way
        chosen = select(RowRecord.id, func.count().over()).where(*conditions).order_by(*order).limit(size)
        ids = session.execute(chosen).all()
        total = ids[0][1] if ids else 0
        conditions, skipped = [RowRecord.id.in_([id for id, _ in ids])], 0
    else:
        total = session.scalar(select(func.count()).select_from(RowRecord).where(*conditions)) or 0
        number = min(number, max(1, -(-total // size)))
        skipped = (number - 1) * size
    found = session.execute(select(*COLUMNS).where(*conditions).order_by(*order).limit(size).offset(skipped))
    return Page(tuple(stored(record) for record in found), total, number, max(1, -(-total // size)))


def ids_of(session: Session, dataset_id: str, wanted: Filter, any_case: bool) -> list[str]:
    """The ids of all rows that are wanted, in the dataset's order."""
    conditions = conditions_of(dataset_id, wanted, any_case)
    return list(session.scalars(select(RowRecord.id).where(*conditions).order_by(RowRecord.position)))


def choices_of(session: Session, dataset_id: str) -> Choices:
    mine = RowRecord.dataset_id == dataset_id
    there = (mine, RowRecord.deleted.is_(False))
    count = func.count()
    tags: dict[str, int] = {}
    written = cast(RowRecord.tags, Text)
    for told, rows in session.execute(select(written, count).where(*there, written != "[]").group_by(written)):
        for tag in json.loads(told):
            tags[tag] = tags.get(tag, 0) + rows
    sources = session.execute(
        select(RowRecord.source).where(*there, RowRecord.source != "").group_by(RowRecord.source).order_by(count.desc())
    )
    drafts = session.scalar(select(count).where(*there, RowRecord.draft.is_(True))) or 0
    binned = session.scalar(select(count).where(mine, RowRecord.deleted.is_(True))) or 0
    return Choices(tuple(sorted(tags, key=lambda tag: (-tags[tag], tag))), tuple(sources.scalars()), drafts, binned)


def conditions_of(dataset_id: str, wanted: Filter, any_case: bool) -> list[ColumnElement[bool]]:
    conditions = [RowRecord.dataset_id == dataset_id, RowRecord.deleted.is_(wanted.status == "bin")]
    if wanted.status in ("draft", "accepted"):
        conditions.append(RowRecord.draft.is_(wanted.status == "draft"))
    if wanted.persona:
        conditions.append(RowRecord.persona == wanted.persona)
    if wanted.source:
        conditions.append(RowRecord.source == wanted.source)
    if wanted.tag:  # as it stands in the list's JSON, quotes and all
        quoted = json.dumps(wanted.tag, ensure_ascii=False)
        conditions.append(cast(RowRecord.tags, Text).contains(quoted, autoescape=True))
    if wanted.search.strip():
        conditions.append(_anywhere(wanted.search.strip(), any_case))
    return conditions


def _anywhere(search: str, any_case: bool) -> ColumnElement[bool]:
    listed = (cast(RowRecord.history, Text), cast(RowRecord.tags, Text))
    columns = (RowRecord.input, RowRecord.output, RowRecord.inner, RowRecord.persona, RowRecord.system)
    cells = (*columns, RowRecord.rejected, *listed)
    if any_case:
        return or_(*(cell.icontains(search, autoescape=True) for cell in cells))
    # SQLite's LIKE ignores case by itself; told to, it takes twice as long
    return or_(*(cell.contains(search, autoescape=True) for cell in cells))
