"""Lorebooks of their own in the database, for one persona or for all. Knows no matching."""

from __future__ import annotations

import builtins
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from anime_ai.config import OWNER
from anime_ai.errors import PersonaError
from anime_ai.persona.card import book_of
from anime_ai.storage import Database, shown_name
from anime_ai.tables import WorldBookRecord, new_id

MOST_NAME = 80

_STATES = (
    select(WorldBookRecord.id, WorldBookRecord.updated)
    .where(
        WorldBookRecord.removed.is_(False),
        WorldBookRecord.enabled.is_(True),
        WorldBookRecord.persona.in_(["", bindparam("persona")]),
    )
    .order_by(WorldBookRecord.name)
)
"""Made once: it is run for every answer."""


@dataclass(frozen=True)
class WorldBook:
    """A lorebook. `persona`: whose it is, "" for every persona's; `book`: its JSON as a V3 card has it."""

    id: str
    name: str
    persona: str
    book: Mapping[str, Any]
    enabled: bool
    updated: float

    @property
    def entries(self) -> int:
        return len(self.book.get("entries") or ())


class WorldBooks:
    """See the module. Every call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self) -> builtins.list[WorldBook]:
        """All books, by name."""
        with self._database.reading() as session:
            wanted = select(WorldBookRecord).where(WorldBookRecord.removed.is_(False))
            return [_world(one) for one in session.scalars(wanted.order_by(WorldBookRecord.name))]

    def of(self, persona: str) -> builtins.list[WorldBook]:
        """Those that a persona's conversations look into."""
        return [one for one in self.list() if one.enabled and one.persona in ("", persona)]

    def states(self, persona: str) -> builtins.list[tuple[str, float]]:
        """The ids of `of`, each with the time of its last change, without what is in them."""
        with self._database.reading() as session:
            return [(id, at) for id, at in session.connection().execute(_STATES, {"persona": persona})]

    def get(self, book_id: str) -> WorldBook:
        with self._database.reading() as session:
            return _world(_standing(session, book_id))

    def add(self, book: Mapping[str, Any], name: str = "", persona: str = "", person: str = OWNER) -> WorldBook:
        """Keep a book under its own name, else under `name`."""
        value, _ = book_of(book)
        shown = shown_name(str(value.get("name") or name))[:MOST_NAME] or "?"
        with self._database.session() as session:
            record = WorldBookRecord(id=new_id(), person=person, name=shown, persona=persona, book=value)
            session.add(record)
            session.flush()
            return _world(record)

    def save(self, book_id: str, updated: float, book: Mapping[str, Any]) -> WorldBook:
        """Replace a book's content. Raises PersonaError where somebody else has changed it since `updated`."""
        value, _ = book_of(book)
        with self._database.session() as session:
            record = _standing(session, book_id)
            if record.updated != updated:
                raise PersonaError("persona.conflict", name=record.name)
            record.book, record.updated = value, time.time()
            return _world(record)

    def bind(self, book_id: str, persona: str, enabled: bool) -> WorldBook:
        """Whose a book is, and whether it is looked into."""
        with self._database.session() as session:
            record = _standing(session, book_id)
            record.persona, record.enabled, record.updated = persona, enabled, time.time()
            return _world(record)

    def remove(self, book_id: str) -> None:
        """Take a book away; `restore` brings it back."""
        with self._database.session() as session:
            _standing(session, book_id).removed = True

    def restore(self, book_id: str) -> WorldBook:
        with self._database.session() as session:
            record = session.get(WorldBookRecord, book_id)
            if record is None:
                raise PersonaError("persona.no_book")
            record.removed = False
            return _world(record)


def _standing(session: Session, book_id: str) -> WorldBookRecord:
    record = session.get(WorldBookRecord, book_id)
    if record is None or record.removed:
        raise PersonaError("persona.no_book")
    return record


def _world(record: WorldBookRecord) -> WorldBook:
    return WorldBook(record.id, record.name, record.persona, record.book, record.enabled, record.updated)
