"""The messages of a conversation as a tree, and the line through it that is shown. Knows no person and no model.

Every message but the first ones has a parent. What has the same parent is an alternative: other greetings, other
wordings of a question, other answers to it. The line ends at the conversation's leaf.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import and_, bindparam, delete, exists, func, insert, select, update
from sqlalchemy.orm import Session

from anime_ai.config import OWNER
from anime_ai.errors import AccessError, AnimeAIError
from anime_ai.storage import ConversationRecord, MessageRecord, new_id

AT_ONCE = 500
"""Ids of one question; SQLite takes no more than some thousand."""
TICK = 1e-6
"""Seconds by which a time is later than the one before it, at the least."""

# Made once: to make a statement takes longer than to run it, and these are run for every answer.
_HERE = MessageRecord.conversation_id == bindparam("talk")
_NODES = (
    select(MessageRecord.id, MessageRecord.parent_id, MessageRecord.visited)
    .where(_HERE)
    .order_by(MessageRecord.created, MessageRecord.id)
)
_MADE, _SHOWN = func.max(MessageRecord.created).label("made"), func.max(MessageRecord.visited).label("shown")
_NEWEST = select(_MADE, _SHOWN).where(_HERE)
_LATEST = _NEWEST.subquery()
_BESIDE = (
    select(_LATEST.c.made, _LATEST.c.shown, MessageRecord.id)
    .outerjoin_from(
        _LATEST, MessageRecord, and_(_HERE, MessageRecord.parent_id.is_not_distinct_from(bindparam("parent")))
    )
    .order_by(MessageRecord.created, MessageRecord.id)
)
"""What stands beside a new message; in each row, of which there is always one, also when the newest one was made."""
_PLACE = select(MessageRecord.conversation_id).where(MessageRecord.id == bindparam("id"))
_INSERT = insert(MessageRecord)


@dataclass(frozen=True)
class Message:
    """One message: `role` is "user" or "assistant", `meta` JSON values such as the model and the time.

    `speaker`: the persona who says it in a conversation of several, else "". `siblings`: the ids of it and of its
    alternatives, oldest first. `parent` "" begins a line. `created` in seconds since 1970.
    """

    id: str
    role: str
    content: str
    thinking: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    parent: str = ""
    siblings: tuple[str, ...] = ()
    created: float = 0.0
    speaker: str = ""


@dataclass(frozen=True)
class Node:
    """A message's place. `visited`: when it last came onto the line."""

    id: str
    parent: str
    visited: float


class Tree:
    """Made of its nodes, oldest first."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes = {node.id: node for node in nodes}
        self.children: dict[str, list[str]] = {}
        for node in self.nodes.values():
            self.children.setdefault(node.parent, []).append(node.id)

    @classmethod
    def of(cls, session: Session, conversation_id: str) -> Tree:
        found = session.connection().execute(_NODES, {"talk": conversation_id})
        return cls(Node(id, parent or "", visited) for id, parent, visited in found.all())

    def line(self, leaf: str) -> list[str]:
        """From the first message to `leaf`; nothing for "" and for what is not in the tree."""
        found: list[str] = []
        while leaf in self.nodes:
            found.append(leaf)
            leaf = self.nodes[leaf].parent
        return found[::-1]

    def siblings(self, id: str) -> list[str]:
        """A message and its alternatives, oldest first."""
        return self.children[self.nodes[id].parent]

    def end(self, id: str) -> str:
        """Where the line ends that goes through a message: at each fork it takes what was shown last. "" begins
        before the first messages."""
        while id in self.children:
            id = max(self.children[id], key=lambda child: self.nodes[child].visited)
        return id

    def below(self, id: str) -> list[str]:
        """A message and all that hang on it."""
        found = [id]
        for one in found:
            found += self.children.get(one, ())
        return found

    def without(self, id: str, leaf: str) -> str:
        """The leaf of the line when a message goes with all that hang on it: where it was, unless it goes too; then the
        alternative that was shown last, else the message before."""
        if id not in self.line(leaf):
            return leaf
        left = Tree(node for node in self.nodes.values() if node.id not in set(self.below(id)))
        parent = self.nodes[id].parent
        return left.end(parent)


def owned(session: Session, person: str, conversation_id: str, lock: bool = False) -> ConversationRecord:
    """The person's conversation, on request locked until the transaction ends, so that two appends make one line.

    Raises AccessError, the same for another person's as for none.
    """
    wanted = select(ConversationRecord).where(
        ConversationRecord.id == conversation_id, ConversationRecord.person == person
    )
    record = session.scalars(wanted.with_for_update() if lock else wanted).first()
    if record is None:
        raise AccessError("chat.not_yours")
    return record


def begin(session: Session, person: str, most: int, **values: Any) -> ConversationRecord:
    """A new conversation. Of a visitor who has `most` (0: no limit), the one goes that they opened longest ago and
    never said a word in: the page lists none such. Raises AnimeAIError where there is none."""
    mine = ConversationRecord.person == person
    if most and person != OWNER and (session.scalar(select(func.count()).where(mine)) or 0) >= most:
        said = exists().where(MessageRecord.conversation_id == ConversationRecord.id, MessageRecord.role == "user")
        empty = select(ConversationRecord).where(mine, ~said, ConversationRecord.pinned.is_(False))
        oldest = session.scalars(empty.order_by(ConversationRecord.opened).limit(1)).first()
        if oldest is None:
            raise AnimeAIError("chat.many_talks", most=most)
        discard(session, oldest)
    record = ConversationRecord(person=person, **values)
    session.add(record)
    session.flush()
    return record


def discard(session: Session, record: ConversationRecord) -> None:
    """Delete a conversation with all its messages."""
    erase(session, list(Tree.of(session, record.id).nodes))
    session.delete(record)


def owned_message(
    session: Session, person: str, message_id: str, lock: bool = True
) -> tuple[ConversationRecord, MessageRecord]:
    """A message of the person's and its conversation. Raises AccessError."""
    message = session.get(MessageRecord, message_id)
    if message is None:
        raise AccessError("chat.not_yours")
    return owned(session, person, message.conversation_id, lock), message


def add(session: Session, conversation_id: str, parent: str, said: Message, id: str = "") -> Message:
    """A new message behind `parent` ("" begins a line), at a time of its own; `id` "": a fresh one. Where the line ends
    stays as it was."""
    connection, place = session.connection(), {"talk": conversation_id, "parent": parent or None}
    found = connection.execute(_BESIDE, place).all()
    beside = [one.id for one in found if one.id is not None]
    # Never before what is there already, whatever the clock does: alternatives are listed by their time.
    made, shown = found[0].made or 0.0, found[0].shown or 0.0
    now = time.time()
    told = replace(
        said,
        id=id or new_id(),
        content=storable(said.content),
        thinking=storable(said.thinking),
        parent=parent,
        created=max(now, made + TICK),
    )
    values = {name: getattr(told, name) for name in ("id", "role", "speaker", "content", "thinking", "meta", "created")}
    fresh = {"conversation_id": conversation_id, "parent_id": parent or None, "visited": max(now, shown + TICK)}
    connection.execute(_INSERT, {**values, **fresh})
    return replace(told, siblings=(*beside, told.id))


def holds(session: Session, conversation_id: str, message_id: str) -> bool:
    """Whether a message stands in a conversation."""
    return session.connection().scalar(_PLACE, {"id": message_id}) == conversation_id


def visit(session: Session, conversation_id: str, message_id: str) -> None:
    """Mark a message as the one of its conversation that was shown last."""
    shown = (session.connection().execute(_NEWEST, {"talk": conversation_id}).one().shown or 0.0) + TICK
    session.connection().execute(update(MessageRecord).where(MessageRecord.id == message_id).values(visited=shown))


def turn_to(session: Session, record: ConversationRecord, tree: Tree, leaf: str) -> None:
    """Let the line end at `leaf`; what comes onto it thereby is marked as shown."""
    before = set(tree.line(record.leaf_id or ""))
    fresh = [id for id in tree.line(leaf) if id not in before]
    newest = max((node.visited for node in tree.nodes.values()), default=0.0)
    for start in range(0, len(fresh), AT_ONCE):
        session.execute(
            update(MessageRecord)
            .where(MessageRecord.id.in_(fresh[start : start + AT_ONCE]))
            .values(visited=max(time.time(), newest + TICK))
            .execution_options(synchronize_session=False)
        )
    record.leaf_id = leaf or None


def erase(session: Session, ids: Sequence[str]) -> None:
    """Delete messages. They let go of each other first: a chain of references is followed only so deep by a database
    that deletes along it."""
    for done in (update(MessageRecord).values(parent_id=None), delete(MessageRecord)):
        for start in range(0, len(ids), AT_ONCE):
            some = MessageRecord.id.in_(ids[start : start + AT_ONCE])
            session.execute(done.where(some).execution_options(synchronize_session=False))  # type: ignore[attr-defined]


def told(record: MessageRecord, siblings: Sequence[str] = ()) -> Message:
    return Message(
        record.id,
        record.role,
        record.content,
        record.thinking,
        record.meta,
        record.parent_id or "",
        tuple(siblings) or (record.id,),
        record.created,
        record.speaker,
    )


def storable(text: str) -> str:
    """Text that any database takes: NUL and lone surrogates become U+FFFD."""
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
