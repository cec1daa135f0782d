"""Conversations, each belonging to one person. Knows neither models nor pages; `anime_ai.chat.branches` moves in them.

Every call names the person. What is another person's answers exactly as what does not exist, so that nobody learns from
guessing ids.
"""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from anime_ai.chat import tree
from anime_ai.chat.branches import Branches
from anime_ai.chat.members import MOST, Member, all_members, alone, cache_keys, members_of, seat, with_members
from anime_ai.chat.tree import AT_ONCE, Message, Node, Tree, begin, discard, owned, storable
from anime_ai.errors import AccessError
from anime_ai.persona.tone import tone_of
from anime_ai.storage import ConversationRecord, Database, MessageRecord
from anime_ai.tables import MemberRecord

TITLE = 40
"""Characters of the first message that become a conversation's title."""
LONGEST_TITLE = 120
FEW = 300
"""Messages of a whole tree that are read at once; of a larger one first where each stands."""
FEW_BESIDE = 1.5
"""Messages of a larger tree for each of the line that is shown, up to which all are read."""

# Made once: to make a statement takes longer than to run it, and these are run for every answer.
_OWN = (ConversationRecord.id == bindparam("talk"), ConversationRecord.person == bindparam("person"))
_WITH_MEMBERS = (
    select(
        ConversationRecord.id,
        ConversationRecord.persona,
        ConversationRecord.title,
        ConversationRecord.updated,
        ConversationRecord.pinned,
        ConversationRecord.knowledge,
        ConversationRecord.settings,
        ConversationRecord.leaf_id,
        MemberRecord.persona.label("member"),
        MemberRecord.adapter.label("member_adapter"),
    )
    .outerjoin(MemberRecord, MemberRecord.conversation_id == ConversationRecord.id)
    .where(*_OWN)
    .order_by(MemberRecord.place)
)
_HELD = select(ConversationRecord.leaf_id, ConversationRecord.title).where(*_OWN).with_for_update()
_MOVED = (
    update(ConversationRecord)
    .where(ConversationRecord.id == bindparam("talk"))
    .values(leaf_id=bindparam("leaf"), title=bindparam("named"), updated=bindparam("at"), opened=bindparam("at"))
)
_TOLD = select(
    MessageRecord.id,
    MessageRecord.role,
    MessageRecord.content,
    MessageRecord.thinking,
    MessageRecord.meta,
    MessageRecord.parent_id,
    MessageRecord.created,
    MessageRecord.speaker,
)
_MESSAGES = _TOLD.where(MessageRecord.conversation_id == bindparam("talk"))
_FIRST = _MESSAGES.add_columns(MessageRecord.visited).order_by(MessageRecord.created, MessageRecord.id).limit(FEW + 1)
_MESSAGE = _TOLD.where(MessageRecord.id == bindparam("id"))


@dataclass(frozen=True)
class Conversation:
    """A conversation and the messages of the line that is shown, oldest first; `updated` in seconds since 1970.

    `knowledge`: ids of the knowledge bases that it asks, None for all that this person may read. `settings`: JSON
    values of this conversation alone, such as `think`. `ahead`: whether messages follow behind the end of the line.
    `members`: those who speak in a conversation of several, in their order; none where `persona` is alone.
    """

    id: str
    persona: str
    title: str
    messages: tuple[Message, ...]
    updated: float
    pinned: bool = False
    knowledge: tuple[str, ...] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    ahead: bool = False
    members: tuple[Member, ...] = ()

    @property
    def cache_key(self) -> str:
        """What an engine keeps of its prompts is kept under this: each of several has prompts of her own."""
        places = [one.persona for one in self.members[:MOST]]
        return cache_keys(self.id)[places.index(self.persona)] if self.persona in places else self.id


class Conversations:
    """All conversations, of each visitor `most` (0: no limit). Every call is one transaction and raises AccessError for
    what is not this person's."""

    def __init__(self, database: Database, most: int = 0) -> None:
        self._database, self._most = database, most
        self.branches = Branches(database, most)

    def together(self) -> AbstractContextManager[None]:
        """What is read in the block, not of conversations alone, is read of one state: `Database.together`."""
        return self._database.together()

    def open(self, person: str, persona: str) -> Conversation:
        """The conversation with this persona that the person had open last, else a new one."""
        with self._database.session() as session:
            record = session.scalars(
                select(ConversationRecord)
                .where(ConversationRecord.person == person, ConversationRecord.persona == persona, alone())
                .order_by(ConversationRecord.opened.desc())
                .limit(1)
            ).first()
            if record is None:
                return _new(session, person, self._most, persona, ())
            record.opened = time.time()
            return _conversation(session, record)

    def start(self, person: str, persona: str, greetings: Sequence[str] = ()) -> Conversation:
        """A new conversation; the greetings are its first alternatives, and the first of them is shown."""
        with self._database.session() as session:
            return _new(session, person, self._most, persona, greetings)

    def start_group(
        self, person: str, members: Sequence[Member], greetings: Sequence[tuple[str, str]], **settings: Any
    ) -> Conversation:
        """A new conversation of several; `greetings`: (persona, what she says first), one behind the other."""
        with self._database.session() as session:
            record = begin(session, person, self._most, persona=members[0].persona, settings=settings)
            seat(session, record, members)
            for persona, said in greetings:
                meta = {"greeting": True, "feeling": tone_of(said)}
                first = Message("", "assistant", said, meta=meta, speaker=persona)
                record.leaf_id = tree.add(session, record.id, record.leaf_id or "", first).id
            return _conversation(session, record)

    def gather(self, person: str, conversation_id: str, members: Sequence[Member]) -> None:
        """Who speaks in a conversation from now on. What was said before says who said it."""
        with self._database.session() as session:
            seat(session, owned(session, person, conversation_id, lock=True), members)

    def greet(self, person: str, conversation_id: str, greetings: Sequence[str]) -> Conversation:
        """Put the greetings at the head of a conversation that nothing was ever said in."""
        with self._database.session() as session:
            record = owned(session, person, conversation_id, lock=True)
            if not record.settings.get("greeted") and not Tree.of(session, conversation_id).nodes:
                _greet(session, record, greetings)
            return _conversation(session, record)

    def get(self, person: str, conversation_id: str, opened: bool = False) -> Conversation:
        """One conversation. `opened`: the person has it before them now."""
        if not opened:
            with self._database.reading() as session:
                return _conversation(session, *_with_members(session, person, conversation_id))
        with self._database.session() as session:
            record = owned(session, person, conversation_id)
            record.opened = time.time()
            return _conversation(session, record)

    def glance(self, person: str, conversation_id: str) -> Conversation:
        """One conversation, of its messages only the one at which the line ends, without its alternatives."""
        with self._database.reading() as session:
            record, members = _with_members(session, person, conversation_id)
            leaf = session.connection().execute(_MESSAGE, {"id": record.leaf_id or ""}).all()
            return _summary(record, tuple(_message(one, (one.id,)) for one in leaf), members=members)

    def last(self, person: str) -> Conversation | None:
        """The conversation that the person had open last, without its messages."""
        with self._database.reading() as session:
            mine = select(ConversationRecord).where(ConversationRecord.person == person)
            record = session.scalars(mine.order_by(ConversationRecord.opened.desc()).limit(1)).first()
            return _summary(record, members=members_of(session, record.id)) if record else None

    def list(self, person: str) -> builtins.list[Conversation]:
        """The person's conversations, pinned ones first, then the newest, without their messages."""
        with self._database.reading() as session:
            records = session.scalars(
                select(ConversationRecord)
                .where(ConversationRecord.person == person)
                .order_by(ConversationRecord.pinned.desc(), ConversationRecord.updated.desc())
            )
            members = all_members(session, person)
            return [_summary(record, members=members.get(record.id, ())) for record in records]

    def append(
        self,
        person: str,
        conversation_id: str,
        role: str,
        content: str,
        thinking: str = "",
        meta: dict[str, Any] | None = None,
        behind: str | None = None,
    ) -> Message:
        """A new message at the end of the line, or `behind` another one ("" begins a line), where the line then ends.

        Characters that no database can store are replaced by U+FFFD.
        """
        return self.add(person, conversation_id, Message("", role, content, thinking, meta or {}), behind)

    def add(
        self, person: str, conversation_id: str, said: Message, behind: str | None = None, hasty: bool = False
    ) -> Message:
        """`append` of a message that tells more; its time becomes another, and an id of "" a fresh one. `hasty`: it
        grows, and is soon written again (`Database.session`)."""
        with self._database.session(hasty) as session:
            held = session.connection().execute(_HELD, {"talk": conversation_id, "person": person}).first()
            if held is None or (behind and not tree.holds(session, conversation_id, behind)):
                raise AccessError("chat.not_yours")
            leaf, title = held
            new = tree.add(session, conversation_id, (leaf or "") if behind is None else behind, said, said.id)
            if said.role == "user" and not title:
                title = " ".join(new.content.split())[:TITLE]
            moved = {"talk": conversation_id, "leaf": new.id, "named": title, "at": time.time()}
            session.connection().execute(_MOVED, moved)
            return new

    def update(
        self, person: str, message_id: str, content: str, thinking: str = "", meta: dict[str, Any] | None = None
    ) -> None:
        """Replace a message's text, as often as it grows; `meta` None leaves its values as they are."""
        values: dict[str, Any] = {"content": storable(content), "thinking": storable(thinking)}
        if meta is not None:
            values["meta"] = meta
        own = select(ConversationRecord.id).where(ConversationRecord.person == person)
        with self._database.session(hasty=meta is None) as session:  # it grows, and is soon written again
            done = session.execute(
                update(MessageRecord)
                .where(MessageRecord.id == message_id, MessageRecord.conversation_id.in_(own))
                .values(**values)
                .execution_options(synchronize_session=False)
            )
            if done.rowcount == 0:  # type: ignore[attr-defined]
                raise AccessError("chat.not_yours")

    def cache_keys(self, conversation_ids: Sequence[str]) -> builtins.list[str]:
        """Under which engines keep something of some conversations, whoever's they are."""
        with self._database.reading() as session:
            several = with_members(session, conversation_ids)
        return [key for id in conversation_ids for key in (id, *(cache_keys(id) if id in several else ()))]

    def rename(self, person: str, conversation_id: str, title: str) -> None:
        """An empty title lets the next question name it."""
        with self._database.session() as session:
            owned(session, person, conversation_id).title = storable(" ".join(title.split()))[:LONGEST_TITLE]

    def pin(self, person: str, conversation_id: str, pinned: bool) -> None:
        with self._database.session() as session:
            owned(session, person, conversation_id).pinned = pinned

    def settle(self, person: str, conversation_id: str, **settings: Any) -> None:
        """Change some of a conversation's own settings; JSON values."""
        with self._database.session() as session:
            record = owned(session, person, conversation_id, lock=True)
            record.settings = {**record.settings, **settings}

    def resettle(self, person: str, conversation_id: str, name: str, change: Callable[[dict[str, Any]], Any]) -> Any:
        """Change one of a conversation's own settings out of what they all are now; the new value."""
        with self._database.session() as session:
            record = owned(session, person, conversation_id, lock=True)
            changed = change(record.settings)
            record.settings = {**record.settings, name: changed}
            return changed

    def ask_of(self, person: str, conversation_id: str, knowledge: Sequence[str] | None) -> None:
        """Choose the knowledge bases of a conversation; None is all, an empty choice none."""
        with self._database.session() as session:
            record = owned(session, person, conversation_id)
            record.knowledge = None if knowledge is None else builtins.list(knowledge)

    def remove(self, person: str, conversation_id: str) -> None:
        """Delete a conversation with all its messages for good."""
        with self._database.session() as session:
            discard(session, owned(session, person, conversation_id, lock=True))


def _new(session: Session, person: str, most: int, persona: str, greetings: Sequence[str]) -> Conversation:
    record = begin(session, person, most, persona=persona, settings={})
    if greetings:
        _greet(session, record, greetings)
    return _conversation(session, record)


def _greet(session: Session, record: ConversationRecord, greetings: Sequence[str]) -> None:
    told_as = [{"greeting": True, "feeling": tone_of(one)} for one in greetings]
    messages = [Message("", "assistant", one, meta=meta) for one, meta in zip(greetings, told_as, strict=True)]
    said = [tree.add(session, record.id, "", one).id for one in messages]
    if said:
        tree.visit(session, record.id, said[0])
    record.leaf_id = said[0] if said else None
    record.settings = {**record.settings, "greeted": True}
    session.flush()


def _summary(
    record: Any,
    messages: tuple[Message, ...] = (),
    ahead: bool = False,
    members: tuple[Member, ...] = (),
) -> Conversation:
    knowledge = None if record.knowledge is None else tuple(map(str, record.knowledge))
    return Conversation(
        record.id,
        record.persona,
        record.title,
        messages,
        record.updated,
        record.pinned,
        knowledge,
        record.settings,
        ahead,
        members,
    )


def _with_members(session: Session, person: str, conversation_id: str) -> tuple[Any, tuple[Member, ...]]:
    """What a conversation of the person's is, by the names of its record, and who speaks in it, in one question."""
    found = session.connection().execute(_WITH_MEMBERS, {"talk": conversation_id, "person": person}).all()
    if not found:
        raise AccessError("chat.not_yours")
    return found[0], tuple(Member(one.member, one.member_adapter) for one in found if one.member is not None)


def _conversation(session: Session, record: Any, members: tuple[Member, ...] | None = None) -> Conversation:
    rows: Sequence[Any] = session.connection().execute(_FIRST, {"talk": record.id}).all()
    whole = len(rows) <= FEW
    nodes = (Node(one.id, one.parent_id or "", one.visited) for one in rows)
    found = Tree(nodes) if whole else Tree.of(session, record.id)
    leaf = record.leaf_id or ""
    line = found.line(leaf)
    told = {one.id: one for one in (rows if whole else _rows(session, record.id, found, line))}
    messages = tuple(_message(told[id], tuple(found.siblings(id))) for id in line)
    members = members_of(session, record.id) if members is None else members
    return _summary(record, messages, leaf in found.children, members)


def _rows(session: Session, conversation_id: str, found: Tree, line: Sequence[str]) -> list[Any]:
    """What stands in the messages of a line, without their records: there are many of them."""
    # To name each takes longer than to read a few that stand beside the line.
    few = len(found.nodes) <= FEW_BESIDE * len(line)
    parts = [line[start : start + AT_ONCE] for start in range(0, len(line), AT_ONCE)]
    wanted = [_MESSAGES][: len(line)] if few else [_MESSAGES.where(MessageRecord.id.in_(part)) for part in parts]
    connection, place = session.connection(), {"talk": conversation_id}
    return [row for one in wanted for row in connection.execute(one, place)]


def _message(row: Any, siblings: tuple[str, ...]) -> Message:
    id, role, content, thinking, meta, parent, created, speaker = row[:8]
    return Message(id, role, content, thinking, meta, parent or "", siblings, created, speaker)
