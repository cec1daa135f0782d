"""Collections of documents in the database, which is the truth: texts, chunks, and who may read them. Knows no index.

A document's name is data and unique in its base: putting one there again replaces its chunks in one transaction.
"""

from __future__ import annotations

import builtins
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from sqlalchemy import bindparam, func, insert, or_, select, update
from sqlalchemy.orm import Session

from anime_ai.errors import KnowledgeError
from anime_ai.knowledge.chunks import Block, chunked, joined
from anime_ai.knowledge.parsing import READERS as KINDS
from anime_ai.storage import (
    ChunkRecord,
    Database,
    DocumentRecord,
    KnowledgeBaseRecord,
    is_name,
    new_id,
    shown_name,
)

MAX_NAME = 300
SHIPPED, SHIPPING = "shipped", "shipping"
"""Where a base came from: what comes with the program, whole or begun."""
FIRST_NAME = "我的资料"
MOST_CHUNK = 4_000
"""Characters of a chunk that somebody edited."""


@dataclass(frozen=True)
class BaseInfo:
    """A base and how much is in it. `person` "" is shared; `persona` "" is for all; `updated` in seconds since 1970."""

    id: str
    name: str
    about: str
    questions: tuple[str, ...]
    person: str
    persona: str
    documents: int
    chunks: int
    revision: int
    updated: float


@dataclass(frozen=True)
class DocumentInfo:
    """A document without its text. `name` is its file's, `title` what its first heading says, else the name."""

    id: str
    base_id: str
    name: str
    title: str
    sha256: str
    pages: int
    chunks: int
    characters: int
    updated: float


@dataclass(frozen=True)
class StoredChunk:
    """A chunk as it stands: its place in the document, what is found (`text`), and whether it can be found at all."""

    id: str
    document_id: str
    document: str
    position: int
    start: int
    end: int
    page: int
    heading: str
    text: str
    edited: bool
    off: bool


class Library:
    """All bases. Every call is one transaction; unknown ids raise KnowledgeError.

    `person` is who asks: they see what is shared and what is theirs, and change only what they may see.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def bases(self, person: str = "", persona: str | None = None) -> builtins.list[BaseInfo]:
        """What this person may read, the oldest first; with `persona`, only what is for her or for all."""
        with self._database.reading() as session:
            return _infos(session, *_for(person, persona))

    def readable(self, person: str = "", persona: str | None = None) -> builtins.list[str]:
        """The ids of `bases`, without counting what is in them."""
        wanted = _MINE if persona is None else _FOR_HER
        with self._database.reading() as session:
            return builtins.list(session.connection().scalars(wanted, {"person": person, "persona": persona}))

    def base(self, name_or_id: str, person: str = "") -> BaseInfo:
        """The base with this id, else the one with this name."""
        named = or_(KnowledgeBaseRecord.id == name_or_id, KnowledgeBaseRecord.name == shown_name(name_or_id))
        with self._database.reading() as session:
            found = _infos(session, _readable(person), named)
        if not found:
            raise KnowledgeError("knowledge.no_base", name=name_or_id)
        return next((info for info in found if info.id == name_or_id), found[0])

    def everything(self) -> builtins.list[str]:
        """The ids of all bases, whosever they are."""
        with self._database.reading() as session:
            wanted = select(KnowledgeBaseRecord.id).where(KnowledgeBaseRecord.removed.is_(False))
            return builtins.list(session.scalars(wanted))

    def first(self) -> str:
        """The oldest shared base; one is made where there is none."""
        found = self.bases()
        return found[0].id if found else self.create(FIRST_NAME)

    def named(self, name: str) -> str:
        """The shared base of this name, made where there is none."""
        try:
            return self.base(name).id
        except KnowledgeError:
            return self.create(name)

    def create(self, name: str, person: str = "", persona: str = "", about: str = "") -> str:
        """A new empty base; its id. Raises KnowledgeError where the person has one of this name."""
        name = _checked_name(name)
        with self._database.session() as session:
            taken = select(KnowledgeBaseRecord.id).where(
                KnowledgeBaseRecord.removed.is_(False),
                KnowledgeBaseRecord.person == person,
                KnowledgeBaseRecord.name == name,
            )
            if session.scalar(taken):
                raise KnowledgeError("knowledge.base_taken", name=name)
            record = KnowledgeBaseRecord(name=name, person=person, persona=persona, about=about)
            session.add(record)
            session.flush()
            return record.id

    def begin_shipped(self, told: Mapping[str, Any]) -> str | None:
        """The base that is made of what ships, new or begun before; None where it was finished, even if it was removed
        since. `told`: its name, what it is about, and questions to try."""
        with self._database.session() as session:
            if session.scalar(select(func.count()).where(KnowledgeBaseRecord.source == SHIPPED)):
                return None
            begun = session.scalar(select(KnowledgeBaseRecord.id).where(KnowledgeBaseRecord.source == SHIPPING))
            if begun is not None:
                return begun
            record = KnowledgeBaseRecord(
                id=new_id(),
                name=_checked_name(str(told["name"])),
                about=str(told["about"]),
                questions=[str(one) for one in told["questions"]],
                source=SHIPPING,
            )
            session.add(record)
            return record.id

    def end_shipped(self, base_id: str) -> None:
        """All that ships is in."""
        with self._database.session() as session:
            _base(session, base_id).source = SHIPPED

    def remove_base(self, base_id: str, person: str = "") -> None:
        """Delete a base and all its documents for good."""
        with self._database.session() as session:
            record = _base(session, base_id, person, lock=True)
            session.execute(ChunkRecord.__table__.delete().where(ChunkRecord.base_id == base_id))  # type: ignore[attr-defined]
            session.execute(DocumentRecord.__table__.delete().where(DocumentRecord.base_id == base_id))  # type: ignore[attr-defined]
            record.removed, record.revision, record.updated = True, record.revision + 1, time.time()

    def documents(self, base_id: str, person: str = "") -> builtins.list[DocumentInfo]:
        """Every document of a base, by name."""
        with self._database.reading() as session:
            _base(session, base_id, person)
            return _documents(session, DocumentRecord.base_id == base_id, ChunkRecord.base_id == base_id)

    def document(self, document_id: str, person: str = "") -> DocumentInfo:
        with self._database.reading() as session:
            _owned(session, document_id, person)
            return _documents(session, DocumentRecord.id == document_id, ChunkRecord.document_id == document_id)[0]

    def text(self, document_id: str, person: str = "") -> str:
        """A document's whole text."""
        with self._database.reading() as session:
            return _owned(session, document_id, person).text

    def holds(self, base_id: str, name: str, sha256: str) -> str:
        """The document that has this very content under this name; "" where there is none."""
        with self._database.reading() as session:
            found = select(DocumentRecord.id).where(
                DocumentRecord.base_id == base_id,
                DocumentRecord.name == _checked_name(name),
                DocumentRecord.sha256 == sha256,
            )
            return session.scalar(found) or ""

    def put(self, base_id: str, name: str, sha256: str, blocks: Sequence[Block], person: str = "") -> str:
        """Store a document, in the place of one with its name; its id. The same content again changes nothing."""
        name = _checked_name(name)
        text = joined(blocks)
        pieces = list(chunked(blocks))
        with self._database.session() as session:
            base = _base(session, base_id, person, lock=True)
            old = session.scalar(
                select(DocumentRecord).where(DocumentRecord.base_id == base_id, DocumentRecord.name == name)
            )
            if old is not None and old.sha256 == sha256:
                return old.id
            if old is not None:
                _delete(session, old.id)
            document = DocumentRecord(
                id=new_id(),
                base_id=base_id,
                name=name,
                title=_title(blocks, name),
                sha256=sha256,
                text=text,
                pages=max((block.page for block in blocks), default=0),
                characters=len(text),
            )
            session.add(document)
            session.flush()
            rows = [
                {
                    "id": new_id(),
                    "base_id": base_id,
                    "document_id": document.id,
                    "position": position,
                    "begin": piece.start,
                    "end": piece.end,
                    "page": piece.page,
                    "heading": piece.heading,
                    "text": text[piece.start : piece.end],
                    "edited": False,
                    "off": False,
                }
                for position, piece in enumerate(pieces)
            ]
            if rows:
                session.connection().execute(insert(ChunkRecord), rows)
            _changed(base)
            return document.id

    def remove(self, document_id: str, person: str = "") -> None:
        """Delete a document and its chunks for good."""
        with self._database.session() as session:
            document = _owned(session, document_id, person)
            _changed(_base(session, document.base_id, lock=True))
            _delete(session, document_id)

    def chunks(self, document_id: str, person: str = "") -> builtins.list[StoredChunk]:
        """A document's chunks in order."""
        with self._database.reading() as session:
            _owned(session, document_id, person)
            return _stored(session, ChunkRecord.document_id == document_id)

    def chunk(self, chunk_id: str, person: str = "") -> StoredChunk:
        with self._database.reading() as session:
            found = _stored(session, ChunkRecord.id == chunk_id)
            if not found:
                raise KnowledgeError("knowledge.no_chunk")
            _owned(session, found[0].document_id, person)
            return found[0]

    def by_id(self, chunk_ids: Sequence[str]) -> dict[str, StoredChunk]:
        """The chunks with these ids that are still there and not switched off."""
        with self._database.reading() as session:
            return {one.id: one for one in _stored(session, ChunkRecord.id.in_(chunk_ids), ChunkRecord.off.is_(False))}

    def edit(self, chunk_id: str, text: str, person: str = "") -> str:
        """Put another text in a chunk's place; its new id. The document's own text stays what it was."""
        text = text.strip()
        if not text or len(text) > MOST_CHUNK:
            raise KnowledgeError("knowledge.chunk_length", length=len(text), most=MOST_CHUNK)
        return self._replaced(chunk_id, person, id=new_id(), text=text, edited=True)

    def switch(self, chunk_id: str, on: bool, person: str = "") -> None:
        """Let a chunk be found, or not."""
        self._replaced(chunk_id, person, off=not on)

    def revision(self, base_id: str) -> int:
        """Grows with every change; -1 for a base that is gone."""
        with self._database.reading() as session:
            found = session.connection().scalar(_REVISION, {"base": base_id})
            return -1 if found is None else int(found)

    def alive(self, base_id: str) -> tuple[int, set[str]]:
        """The revision, and the ids of what can be found at it."""
        with self._database.reading() as session:
            revision = session.scalar(
                select(KnowledgeBaseRecord.revision).where(
                    KnowledgeBaseRecord.id == base_id, KnowledgeBaseRecord.removed.is_(False)
                )
            )
            ids = select(ChunkRecord.id).where(ChunkRecord.base_id == base_id, ChunkRecord.off.is_(False))
            return (-1 if revision is None else revision), set(session.scalars(ids))

    def texts(self, base_id: str, ids: set[str]) -> dict[str, tuple[str, str]]:
        """What is indexed of some chunks, the headings' names before the text, and their documents' ids."""
        wanted = [ChunkRecord.base_id == base_id]
        if len(ids) <= 500:
            wanted.append(ChunkRecord.id.in_(ids))
        columns = select(ChunkRecord.id, ChunkRecord.heading, ChunkRecord.text, ChunkRecord.document_id).where(*wanted)
        with self._database.reading() as session:
            return {
                id: (f"{heading}\n{text}" if heading else text, document)
                for id, heading, text, document in session.execute(columns)
                if id in ids
            }

    def _replaced(self, chunk_id: str, person: str, **values: Any) -> str:
        with self._database.session() as session:
            chunk = session.get(ChunkRecord, chunk_id)
            if chunk is None:
                raise KnowledgeError("knowledge.no_chunk")
            _owned(session, chunk.document_id, person)
            _changed(_base(session, chunk.base_id, lock=True))
            session.execute(update(ChunkRecord).where(ChunkRecord.id == chunk_id).values(**values))
            return str(values.get("id", chunk_id))


def _readable(person: Any) -> Any:
    return KnowledgeBaseRecord.person.in_(["", person]) & KnowledgeBaseRecord.removed.is_(False)


# Made once: to make a statement takes longer than to run it, and these are run for every question.
_REVISION = select(KnowledgeBaseRecord.revision).where(
    KnowledgeBaseRecord.id == bindparam("base"), KnowledgeBaseRecord.removed.is_(False)
)
_MINE = select(KnowledgeBaseRecord.id).where(_readable(bindparam("person"))).order_by(KnowledgeBaseRecord.created)
_FOR_HER = _MINE.where(KnowledgeBaseRecord.persona.in_(["", bindparam("persona")]))


def _base(session: Session, base_id: str, person: str | None = None, lock: bool = False) -> KnowledgeBaseRecord:
    """The record, on request locked until the transaction ends, so that of two writers one comes second."""
    record = session.get(KnowledgeBaseRecord, base_id, with_for_update=lock or None)
    if record is None or record.removed or (person is not None and record.person not in ("", person)):
        raise KnowledgeError("knowledge.no_base", name=base_id)
    return record


def _owned(session: Session, document_id: str, person: str) -> DocumentRecord:
    document = session.get(DocumentRecord, document_id)
    if document is None:
        raise KnowledgeError("knowledge.no_document", name=document_id)
    try:
        _base(session, document.base_id, person)
    except KnowledgeError as error:
        raise KnowledgeError("knowledge.no_document", name=document_id) from error
    return document


def _changed(base: KnowledgeBaseRecord) -> None:
    base.revision, base.updated = base.revision + 1, time.time()


def _delete(session: Session, document_id: str) -> None:
    session.execute(ChunkRecord.__table__.delete().where(ChunkRecord.document_id == document_id))  # type: ignore[attr-defined]
    session.execute(DocumentRecord.__table__.delete().where(DocumentRecord.id == document_id))  # type: ignore[attr-defined]


def _for(person: str, persona: str | None) -> list[Any]:
    """What the bases have that a person may read; with `persona`, those for her or for all."""
    hers = [] if persona is None else [KnowledgeBaseRecord.persona.in_(["", persona])]
    return [_readable(person), *hers]


def _infos(session: Session, *wanted: Any) -> list[BaseInfo]:
    records = session.scalars(select(KnowledgeBaseRecord).where(*wanted).order_by(KnowledgeBaseRecord.created)).all()
    counts = {}
    for column in (DocumentRecord, ChunkRecord):
        grouped = select(column.base_id, func.count()).group_by(column.base_id)
        counts[column] = dict(session.execute(grouped.where(column.base_id.in_([one.id for one in records]))).all())
    return [
        BaseInfo(
            one.id,
            one.name,
            one.about,
            tuple(map(str, one.questions)),
            one.person,
            one.persona,
            counts[DocumentRecord].get(one.id, 0),
            counts[ChunkRecord].get(one.id, 0),
            one.revision,
            one.updated,
        )
        for one in records
    ]


def _documents(session: Session, wanted: Any, chunks: Any) -> list[DocumentInfo]:
    counted = select(ChunkRecord.document_id, func.count().label("chunks")).where(chunks)
    number = counted.group_by(ChunkRecord.document_id).subquery()
    found = session.execute(
        select(
            DocumentRecord.id,
            DocumentRecord.base_id,
            DocumentRecord.name,
            DocumentRecord.title,
            DocumentRecord.sha256,
            DocumentRecord.pages,
            func.coalesce(number.c.chunks, 0),
            DocumentRecord.characters,
            DocumentRecord.updated,
        )
        .outerjoin(number, number.c.document_id == DocumentRecord.id)
        .where(wanted)
        .order_by(DocumentRecord.name)
    )
    return [DocumentInfo(*record) for record in found]


def _stored(session: Session, *wanted: Any) -> list[StoredChunk]:
    found = session.execute(
        select(
            ChunkRecord.id,
            ChunkRecord.document_id,
            DocumentRecord.title,
            ChunkRecord.position,
            ChunkRecord.begin,
            ChunkRecord.end,
            ChunkRecord.page,
            ChunkRecord.heading,
            ChunkRecord.text,
            ChunkRecord.edited,
            ChunkRecord.off,
        )
        .join(DocumentRecord, DocumentRecord.id == ChunkRecord.document_id)
        .where(*wanted)
        .order_by(ChunkRecord.position)
    )
    return [StoredChunk(*record) for record in found]


def _title(blocks: Sequence[Block], name: str) -> str:
    """What a document's one heading of the first level says, else its name without the end that a file has."""
    first = [block for block in blocks if block.kind == "heading" and block.level == 1]
    if len(first) == 1 and first[0] is blocks[0]:
        return shown_name(first[0].text)[:MAX_NAME]
    path = PurePath(name)
    return path.stem if path.suffix.lower() in KINDS else path.name


def _checked_name(name: str) -> str:
    shown = shown_name(name)
    if not is_name(shown, MAX_NAME):
        raise KnowledgeError("knowledge.name", most=MAX_NAME)
    return shown
