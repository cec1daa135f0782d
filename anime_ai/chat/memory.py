"""What a persona remembers of a person: facts with the messages they came from, and what a long talk was about.

Facts are per person and persona. They enter the prompt behind the card, in the words of `anime_ai.starter.corpus`.
A fact is proposed and waits to be accepted, unless the person lets her keep what she hears. What is forgotten is
deleted: the row, the lines of summaries that came from the same message, and what an engine has saved of prompts.
Knows no page and no engine.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, exists, or_, select, text
from sqlalchemy.orm import Session

from anime_ai.chat.conversations import Conversation, Conversations
from anime_ai.chat.members import members_of
from anime_ai.chat.noticing import notice
from anime_ai.chat.summaries import Summaries, strike
from anime_ai.chat.tree import Message, owned, storable
from anime_ai.errors import AccessError, AnimeAIError
from anime_ai.storage import ConversationRecord, Database, MessageRecord
from anime_ai.tables import MemberRecord, MemoryRecord, MemoryWayRecord

WAYS = ("ask", "keep", "off")
MOST_FACTS = 200
LONGEST = 200
"""Characters of one fact."""
ROOM, SMALL_ROOM = 1500, 120
"""Characters of facts in a prompt; a small model loses itself in more than a few."""
FACTS, EARLIER = "关于用户：", "之前聊过："
"""Heads of both lists in the prompt."""


@dataclass(frozen=True)
class Fact:
    """`said`: the message that it came from, "" where it was written by hand or that is gone. Not `kept`: proposed."""

    id: str
    text: str
    kept: bool
    said: str
    message_id: str
    created: float


class Memory:
    """Every call names the person and is one transaction; what is another's raises AccessError as what is not there.

    `forgotten`: called when something was forgotten, with the conversations whose prompts have held it.
    """

    def __init__(
        self,
        database: Database,
        conversations: Conversations,
        forgotten: Callable[[builtins.list[str]], None] = lambda talks: None,
    ) -> None:
        self._database, self.conversations, self._forgotten = database, conversations, forgotten
        self.summaries = Summaries(conversations, forgotten)

    # Facts

    def list(self, person: str, persona: str) -> builtins.list[Fact]:
        """Proposals first, then what is kept, each oldest first."""
        with self._database.reading() as session:
            wanted = (
                select(MemoryRecord, MessageRecord.content)
                .outerjoin(MessageRecord, MessageRecord.id == MemoryRecord.message_id)
                .where(*_of(person, persona))
                .order_by(MemoryRecord.kept, MemoryRecord.created, MemoryRecord.id)
            )
            return [
                Fact(one.id, one.text, one.kept, said or "", one.message_id or "", one.created)
                for one, said in session.execute(wanted)
            ]

    def add(self, person: str, persona: str, fact: str) -> None:
        """Remember what was written by hand. Raises AnimeAIError for what is empty, too long, or one too many."""
        with self._database.session() as session:
            _store(session, person, persona, _checked(fact), None, kept=True)

    def edit(self, person: str, fact_id: str, fact: str) -> None:
        with self._database.session() as session:
            record = _owned(session, person, fact_id)
            record.text = _checked(fact)
            talks = _talks(session, person, record.persona)
        self._forgotten(talks)  # the old words are forgotten

    def accept(self, person: str, fact_id: str) -> None:
        with self._database.session() as session:
            _owned(session, person, fact_id).kept = True

    def forget(self, person: str, fact_id: str) -> None:
        """Delete a fact for good, also one that was only proposed, and what summaries took from its message."""
        with self._database.session() as session:
            record = _owned(session, person, fact_id)
            talks = _talks(session, person, record.persona)
            _erase(session, person, record)
        self._forgotten(talks)

    def forget_all(self, person: str, persona: str) -> None:
        """Delete everything that a persona knows of a person."""
        with self._database.session() as session:
            for record in session.scalars(select(MemoryRecord).where(*_of(person, persona))).all():
                _erase(session, person, record)
            talks = _talks(session, person, persona)
        self._forgotten(talks)

    def way(self, person: str, persona: str) -> str:
        """One of WAYS."""
        with self._database.reading() as session:
            return self._way(session, person, persona)

    @staticmethod
    def _way(session: Session, person: str, persona: str) -> str:
        record = session.get(MemoryWayRecord, (person, persona[:300]))
        return record.way if record else WAYS[0]

    def set_way(self, person: str, persona: str, way: str) -> None:
        with self._database.session() as session:
            session.merge(MemoryWayRecord(person=person, persona=persona[:300], way=way if way in WAYS else WAYS[0]))

    def unheard(self, person: str, conversation_id: str) -> builtins.list[Message]:
        """What the person said since the last look, oldest first."""
        conversation = self.conversations.get(person, conversation_id)
        seen = float(conversation.settings.get("noticed", 0.0))
        return [one for one in conversation.messages if one.role == "user" and one.created > seen]

    def notice(self, person: str, conversation_id: str) -> int:
        """Look by rule through what the person said since the last look; how many facts are new."""
        return self.hear(person, conversation_id, self.unheard(person, conversation_id), None)

    def hear(
        self,
        person: str,
        conversation_id: str,
        messages: Sequence[Message],
        found: Sequence[tuple[str, str]] | None,
    ) -> int:
        """Propose or keep what was `found` in messages that were looked through, facts with the ids of their messages;
        None: what the rule finds. How many are new. Where several personas listen, each hears it.

        A message is looked at once, so that what was forgotten does not come back.
        """
        if not messages:
            return 0
        if found is None:
            found = [(fact, one.id) for one in messages for fact in notice(one.content)]
        count = 0
        with self._database.session() as session:
            record = owned(session, person, conversation_id, lock=True)
            if float(record.settings.get("noticed", 0.0)) >= messages[-1].created:
                return 0  # somebody else has looked meanwhile
            record.settings = {**record.settings, "noticed": messages[-1].created}
            there = session.scalars(select(MessageRecord.id).where(MessageRecord.id.in_([id for _, id in found])))
            left = set(there)  # what was deleted meanwhile tells nothing
            for persona in [one.persona for one in members_of(session, record.id)] or [record.persona]:
                way = self._way(session, person, persona)
                for fact, id in found if way != "off" else ():
                    if id in left:
                        count += _store(session, person, persona, fact, id, kept=way == "keep")
        return count

    # What stands in a prompt

    def told(self, person: str, conversation: Conversation, before: Sequence[Message], small: bool) -> tuple[str, ...]:
        """What goes into the prompt behind the card: the facts that are kept, newest last, and the summary."""
        kept = _newest(self._kept(person, conversation.persona), SMALL_ROOM if small else ROOM)
        summary = self.summaries.in_prompt(person, conversation, before, small)
        parts = [_listed(FACTS, kept), _listed(EARLIER, summary)]
        return tuple(part for part in parts if part)

    def _kept(self, person: str, persona: str) -> builtins.list[str]:
        """The facts that are kept, oldest first, without where they come from."""
        with self._database.reading() as session:
            found = session.connection().scalars(_KEPT, {"person": person, "persona": persona[:300]})
            return builtins.list(found)


def _listed(head: str, lines: Sequence[str]) -> str:
    return head + "\n" + "\n".join(f"- {line}" for line in lines) if lines else ""


def _newest(facts: Sequence[str], room: int) -> builtins.list[str]:
    """As many of the last ones as there is room for, in order."""
    kept: builtins.list[str] = []
    for fact in reversed(facts):
        room -= len(fact)
        if room < 0:
            break
        kept.insert(0, fact)
    return kept


def _of(person: str, persona: str) -> tuple[Any, ...]:
    return MemoryRecord.person == person, MemoryRecord.persona == persona[:300]


_KEPT = (
    select(MemoryRecord.text)
    .where(
        MemoryRecord.person == bindparam("person"),
        MemoryRecord.persona == bindparam("persona"),
        MemoryRecord.kept.is_(True),
    )
    .order_by(MemoryRecord.created, MemoryRecord.id)
)
"""Made once: it is run for every answer."""


def _talks(session: Session, person: str, persona: str) -> list[str]:
    """The conversations in whose prompts a person's facts for a persona may stand."""
    wanted = select(ConversationRecord.id).where(ConversationRecord.person == person)
    among = exists().where(MemberRecord.conversation_id == ConversationRecord.id, MemberRecord.persona == persona)
    return list(session.scalars(wanted.where(or_(ConversationRecord.persona == persona, among))))


def _erase(session: Session, person: str, record: MemoryRecord) -> None:
    if session.get_bind().dialect.name == "sqlite":  # else the words stay legible in the file's free pages
        session.execute(text("PRAGMA secure_delete = ON"))
    _strike(session, person, record)
    session.delete(record)


def _owned(session: Session, person: str, fact_id: str) -> MemoryRecord:
    record = session.get(MemoryRecord, fact_id)
    if record is None or record.person != person:
        raise AccessError("memory.gone")
    return record


def _store(session: Session, person: str, persona: str, fact: str, message_id: str | None, kept: bool) -> int:
    """Add a fact that is not there yet; 1 where it was added. One that was proposed and is written too is kept."""
    there = {one.text: one for one in session.scalars(select(MemoryRecord).where(*_of(person, persona)))}
    if fact in there:
        there[fact].kept = there[fact].kept or kept
        return 0
    if len(there) >= MOST_FACTS:
        if message_id:
            return 0
        raise AnimeAIError("memory.full", most=MOST_FACTS)
    record = MemoryRecord(person=person, persona=persona[:300], text=fact, message_id=message_id, kept=kept)
    session.add(record)
    session.flush()
    return 1


def _strike(session: Session, person: str, fact: MemoryRecord) -> None:
    """Take out of the person's summaries what came from a fact's message, and what says the same; from copies of the
    message too, which stand in branches."""
    said = select(MessageRecord.content).where(MessageRecord.id == fact.message_id).scalar_subquery()
    mine = select(MessageRecord.conversation_id, MessageRecord.id).join(ConversationRecord)
    told: dict[str, list[str]] = {}
    for talk, id in session.execute(mine.where(ConversationRecord.person == person, MessageRecord.content == said)):
        told.setdefault(talk, []).append(id)
    for record in session.scalars(select(ConversationRecord).where(ConversationRecord.person == person)):
        if changed := strike(record.settings, told.get(record.id, ()), fact.text):
            record.settings = {**record.settings, **changed}


def _checked(fact: str) -> str:
    said = " ".join(storable(fact).split())
    if not said:
        raise AnimeAIError("memory.empty")
    if len(said) > LONGEST:
        raise AnimeAIError("memory.long", most=LONGEST)
    return said
