"""Who speaks in a conversation of several, as the database has it. Knows no persona."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, delete, exists, select, update
from sqlalchemy.orm import Session

from anime_ai.chat.tree import AT_ONCE
from anime_ai.storage import ConversationRecord, MessageRecord
from anime_ai.tables import MemberRecord

LEAST, MOST = 2, 4
"""Personas in one conversation of several."""


@dataclass(frozen=True)
class Member:
    """A persona in a conversation of several. `adapter` None: her own, whichever it is; "" the base alone."""

    persona: str
    adapter: str | None = None


def members_of(session: Session, conversation_id: str) -> tuple[Member, ...]:
    """In their order; nobody where one persona is alone."""
    return _members(session, select(MemberRecord).where(MemberRecord.conversation_id == conversation_id)).get(
        conversation_id, ()
    )


def all_members(session: Session, person: str) -> dict[str, tuple[Member, ...]]:
    """Those of all conversations of a person that have several, by the conversations' ids."""
    own = select(ConversationRecord.id).where(ConversationRecord.person == person)
    return _members(session, select(MemberRecord).where(MemberRecord.conversation_id.in_(own)))


def _members(session: Session, wanted: Select[Any]) -> dict[str, tuple[Member, ...]]:
    found: dict[str, list[Member]] = {}
    for one in session.scalars(wanted.order_by(MemberRecord.place)):
        found.setdefault(one.conversation_id, []).append(Member(one.persona, one.adapter))
    return {id: tuple(members) for id, members in found.items()}


def alone() -> Any:
    """Of conversations in which one persona is alone."""
    return ~exists().where(MemberRecord.conversation_id == ConversationRecord.id)


def seat(session: Session, record: ConversationRecord, members: Sequence[Member]) -> None:
    """Let these speak in a conversation from now on; nobody changes nothing. What the one persona had said before is
    marked as hers."""
    if not members:
        return
    session.execute(delete(MemberRecord).where(MemberRecord.conversation_id == record.id))
    for place, one in enumerate(members):
        session.add(MemberRecord(conversation_id=record.id, place=place, persona=one.persona, adapter=one.adapter))
    inside = MessageRecord.conversation_id == record.id
    session.execute(
        update(MessageRecord)
        .where(inside, MessageRecord.role == "assistant", MessageRecord.speaker == "")
        .values(speaker=record.persona)
        .execution_options(synchronize_session=False)
    )
    record.persona = members[0].persona
    session.flush()


def cache_keys(conversation_id: str) -> list[str]:
    """Under which engines keep something of a conversation of several: a key for each place in it."""
    return [f"{conversation_id}.{place}" for place in range(MOST)]


def with_members(session: Session, conversation_ids: Sequence[str]) -> set[str]:
    """Those of some conversations that have several."""
    found: set[str] = set()
    for start in range(0, len(conversation_ids), AT_ONCE):
        some = MemberRecord.conversation_id.in_(conversation_ids[start : start + AT_ONCE])
        found |= set(session.scalars(select(MemberRecord.conversation_id).where(some).distinct()))
    return found
