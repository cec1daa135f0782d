"""Conversations and their messages, each belonging to one person. Knows neither models nor pages.

Every call names the person. What is another person's answers exactly as what does not exist, so that nobody learns from
guessing ids. Messages form a tree; it is read as the line that ends at the newest message.
"""

from __future__ import annotations

import builtins
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from anime_ai.errors import AccessError
from anime_ai.storage import ConversationRecord, Database, MessageRecord, new_id

TITLE = 40
"""Characters of the first message that become a conversation's title."""


@dataclass(frozen=True)
class Message:
    """One message: `role` is "user" or "assistant", `meta` JSON values such as the model and the time."""

    id: str
    role: str
    content: str
    thinking: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Conversation:
    """A conversation and its messages, oldest first; `updated` in seconds since 1970.

    `knowledge`: ids of the knowledge bases that it asks, None for all that this person may read.
    """

    id: str
    persona: str
    title: str
    messages: tuple[Message, ...]
    updated: float
    closed: bool = False
    knowledge: tuple[str, ...] | None = None


class Conversations:
    """All conversations. Every call is one transaction and raises AccessError for what is not this person's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, person: str, persona: str) -> Conversation:
        """The person's newest conversation with this persona that is not closed, else a new one."""
        with self._database.session() as session:
            record = session.scalars(
                select(ConversationRecord)
                .where(
                    ConversationRecord.person == person,
                    ConversationRecord.persona == persona,
                    ConversationRecord.closed.is_(False),
                )
                .order_by(ConversationRecord.updated.desc())
                .limit(1)
            ).first()
            if record is None:
                record = ConversationRecord(id=new_id(), person=person, persona=persona)
                session.add(record)
                session.flush()
            return _conversation(session, record)

    def get(self, person: str, conversation_id: str) -> Conversation:
        """One conversation with all messages, closed or not."""
        with self._database.reading() as session:
            return _conversation(session, _owned(session, person, conversation_id))

    def list(self, person: str) -> builtins.list[Conversation]:
        """The person's conversations, newest first, without their messages."""
        with self._database.reading() as session:
            records = session.scalars(
                select(ConversationRecord)
                .where(ConversationRecord.person == person)
                .order_by(ConversationRecord.updated.desc())
            )
            return [_summary(record) for record in records]

    def append(
        self,
        person: str,
        conversation_id: str,
        role: str,
        content: str,
        thinking: str = "",
        meta: dict[str, Any] | None = None,
    ) -> Message:
        """A new message behind the newest one. Characters that no database can store are replaced by U+FFFD."""
        with self._database.session() as session:
            record = _owned(session, person, conversation_id, lock=True)
            line = _line(session, conversation_id)
            message = MessageRecord(
                id=new_id(),
                conversation_id=conversation_id,
                parent_id=line[-1].id if line else None,
                role=role,
                content=_storable(content),
                thinking=_storable(thinking),
                meta=meta or {},
                # Never before its parent, whatever the clock does: the newest message ends the line.
                created=max(time.time(), line[-1].created + 1e-6 if line else 0.0),
            )
            session.add(message)
            record.updated = time.time()
            if role == "user" and not record.title:
                record.title = " ".join(message.content.split())[:TITLE]
            return _message(message)

    def update(
        self, person: str, message_id: str, content: str, thinking: str = "", meta: dict[str, Any] | None = None
    ) -> None:
        """Replace a message's text, as often as it grows; `meta` None leaves its values as they are."""
        values: dict[str, Any] = {"content": _storable(content), "thinking": _storable(thinking)}
        if meta is not None:
            values["meta"] = meta
        own = select(ConversationRecord.id).where(ConversationRecord.person == person)
        with self._database.session() as session:
            done = session.execute(
                update(MessageRecord)
                .where(MessageRecord.id == message_id, MessageRecord.conversation_id.in_(own))
                .values(**values)
                .execution_options(synchronize_session=False)
            )
            if done.rowcount == 0:  # type: ignore[attr-defined]
                raise AccessError("chat.not_yours")

    def ask_of(self, person: str, conversation_id: str, knowledge: Sequence[str] | None) -> None:
        """Choose the knowledge bases of a conversation; None is all, an empty choice none."""
        with self._database.session() as session:
            record = _owned(session, person, conversation_id)
            record.knowledge = None if knowledge is None else list(knowledge)

    def close(self, person: str, conversation_id: str) -> None:
        """Set a conversation aside: `open` starts afresh, nothing is deleted."""
        with self._database.session() as session:
            _owned(session, person, conversation_id).closed = True


def _owned(session: Session, person: str, conversation_id: str, lock: bool = False) -> ConversationRecord:
    """The record, on request locked until the transaction ends, so that two appends make one line."""
    wanted = select(ConversationRecord).where(
        ConversationRecord.id == conversation_id, ConversationRecord.person == person
    )
    record = session.scalars(wanted.with_for_update() if lock else wanted).first()
    if record is None:
        raise AccessError("chat.not_yours")
    return record


def _line(session: Session, conversation_id: str) -> list[MessageRecord]:
    """The messages from the first to the newest, along the parents."""
    records = session.scalars(
        select(MessageRecord).where(MessageRecord.conversation_id == conversation_id).order_by(MessageRecord.created)
    ).all()
    by_id = {record.id: record for record in records}
    line: list[MessageRecord] = []
    step = records[-1] if records else None
    while step is not None:
        line.append(step)
        step = by_id.get(step.parent_id or "")
    return line[::-1]


def _message(record: MessageRecord) -> Message:
    return Message(record.id, record.role, record.content, record.thinking, record.meta)


def _summary(record: ConversationRecord, messages: tuple[Message, ...] = ()) -> Conversation:
    knowledge = None if record.knowledge is None else tuple(map(str, record.knowledge))
    return Conversation(record.id, record.persona, record.title, messages, record.updated, record.closed, knowledge)


def _conversation(session: Session, record: ConversationRecord) -> Conversation:
    return _summary(record, tuple(_message(message) for message in _line(session, record.id)))


def _storable(text: str) -> str:
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
