"""Moving in a conversation's tree: alternatives, edits, branches, what is taken back. Knows no model.

Like `anime_ai.chat.conversations`, every call names the person and raises AccessError for what is not theirs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from anime_ai.chat import tree
from anime_ai.chat.members import Member, members_of, seat
from anime_ai.chat.tree import Message, Tree, begin, erase, owned, owned_message, told, turn_to
from anime_ai.persona.tone import tone_of
from anime_ai.storage import ConversationRecord, Database, MessageRecord, new_id


class Branches:
    """The trees of all conversations. `most`: how many conversations a visitor may have."""

    def __init__(self, database: Database, most: int = 0) -> None:
        self._database, self._most = database, most

    def message(self, person: str, message_id: str) -> Message:
        with self._database.reading() as session:
            record, message = owned_message(session, person, message_id, lock=False)
            return told(message, Tree.of(session, record.id).siblings(message_id))

    def conversation_of(self, person: str, message_id: str) -> str:
        """The id of the conversation that a message stands in."""
        with self._database.reading() as session:
            return owned_message(session, person, message_id, lock=False)[0].id

    def line(self, person: str, message_id: str) -> list[Message]:
        """The line up to a message, oldest first, whether it is shown or not."""
        with self._database.reading() as session:
            record, _ = owned_message(session, person, message_id, lock=False)
            found = Tree.of(session, record.id)
            wanted = select(MessageRecord).where(MessageRecord.conversation_id == record.id)
            records = {one.id: one for one in session.scalars(wanted)}
            return [told(records[id], found.siblings(id)) for id in found.line(message_id)]

    def whole(self, person: str, conversation_id: str) -> list[Message]:
        """All messages of the tree, parents before children, alternatives in their order."""
        with self._database.reading() as session:
            owned(session, person, conversation_id)
            found = Tree.of(session, conversation_id)
            wanted = select(MessageRecord).where(MessageRecord.conversation_id == conversation_id)
            records = {one.id: one for one in session.scalars(wanted)}
            order = [id for root in found.children.get("", ()) for id in found.below(root)]
            return [told(records[id], found.siblings(id)) for id in order]

    def edit(self, person: str, message_id: str, content: str, meta: dict[str, Any] | None = None) -> Message:
        """Another wording of a message: an alternative to it, at which the line now ends. The old one stays."""
        with self._database.session() as session:
            record, old = owned_message(session, person, message_id)
            brought: dict[str, Any] = {name: old.meta[name] for name in ("turn", "greeting") if name in old.meta}
            kept = {**brought, **(meta or {}), "edited": old.id}
            if old.role == "assistant":
                kept["feeling"] = tone_of(content)
            wanted = Message("", old.role, content, meta=kept, speaker=old.speaker)
            new = tree.add(session, record.id, old.parent_id or "", wanted)
            record.leaf_id, record.updated = new.id, time.time()
            return new

    def switch(self, person: str, message_id: str) -> None:
        """Show the line through a message, to where it was shown last."""
        with self._database.session() as session:
            record, _ = owned_message(session, person, message_id)
            found = Tree.of(session, record.id)
            turn_to(session, record, found, found.end(message_id))

    def show(self, person: str, message_id: str) -> None:
        """Show a line that a message stands in: the one that is shown, where it does."""
        with self._database.session() as session:
            record, _ = owned_message(session, person, message_id)
            found = Tree.of(session, record.id)
            if message_id not in found.line(record.leaf_id or ""):
                turn_to(session, record, found, found.end(message_id))

    def rewind(self, person: str, conversation_id: str, message_id: str) -> None:
        """Let the line end at a message, or before the first one (""). What follows stays in the tree."""
        with self._database.session() as session:
            record = owned(session, person, conversation_id, lock=True)
            found = Tree.of(session, conversation_id)
            turn_to(session, record, found, message_id if message_id in found.nodes else "")

    def forward(self, person: str, conversation_id: str) -> None:
        """Show again what follows behind the end of the line."""
        with self._database.session() as session:
            record = owned(session, person, conversation_id, lock=True)
            found = Tree.of(session, conversation_id)
            turn_to(session, record, found, found.end(record.leaf_id or ""))

    def delete(self, person: str, message_id: str) -> None:
        """Delete a message and all that hang on it for good."""
        with self._database.session() as session:
            record, message = owned_message(session, person, message_id)
            found = Tree.of(session, record.id)
            turn_to(session, record, found, found.without(message_id, record.leaf_id or ""))
            session.expunge(message)
            erase(session, found.below(message_id))

    def branch(self, person: str, message_id: str) -> str:
        """A new conversation out of the line up to a message, and its id."""
        with self._database.session() as session:
            record, message = owned_message(session, person, message_id)
            found = Tree.of(session, record.id)
            wanted = select(MessageRecord).where(MessageRecord.conversation_id == record.id)
            records = {one.id: one for one in session.scalars(wanted)}
            line = [told(records[id]) for id in found.line(message_id)]
            fresh = self._copied(session, record)
            copies: dict[str, Message] = {}
            for one in line:
                parent = copies[one.parent].id if one.parent else ""
                copies[one.id] = tree.add(session, fresh.id, parent, one)
            fresh.leaf_id = copies[message_id].id
            settings = _moved(record.settings, {old: copy.id for old, copy in copies.items()})
            # What was looked through stays so, though each copy has a time of its own.
            heard = [copies[one.id].created for one in line if one.created <= settings.get("noticed", 0.0)]
            fresh.settings = {**settings, "noticed": heard[-1]} if heard else settings
            return fresh.id

    def restore(
        self,
        person: str,
        persona: str,
        title: str,
        messages: Iterable[Message],
        leaf: str,
        members: Sequence[Member] = (),
    ) -> str:
        """A new conversation out of messages from elsewhere, parents before children, and its id. Their ids count
        among themselves only; `leaf` is one of them."""
        with self._database.session() as session:
            settings = {"greeted": True}
            record = begin(session, person, self._most, persona=persona, title=title, settings=settings)
            ids: dict[str, str] = {"": ""}
            now = time.time()
            for number, one in enumerate(messages):
                ids[one.id] = new_id()
                at = now + number * tree.TICK
                session.add(
                    MessageRecord(
                        id=ids[one.id],
                        conversation_id=record.id,
                        parent_id=ids.get(one.parent) or None,
                        role=one.role,
                        speaker=tree.storable(one.speaker),
                        content=tree.storable(one.content),
                        thinking=tree.storable(one.thinking),
                        meta=one.meta,
                        created=at,
                        visited=at,
                    )
                )
            session.flush()
            seat(session, record, members)
            turn_to(session, record, Tree.of(session, record.id), ids.get(leaf, ""))
            return record.id

    def _copied(self, session: Session, record: ConversationRecord) -> ConversationRecord:
        same = {"persona": record.persona, "title": record.title, "knowledge": record.knowledge}
        members = members_of(session, record.id)
        fresh = begin(session, record.person, self._most, settings=dict(record.settings), **same)
        seat(session, fresh, members)
        return fresh


def _moved(value: Any, ids: Mapping[str, str]) -> Any:
    """A setting of a conversation for a copy of it: what names a message names its copy."""
    if isinstance(value, dict):
        return {name: _moved(one, ids) for name, one in value.items()}
    if isinstance(value, list):
        return [_moved(one, ids) for one in value]
    return ids.get(value, value) if isinstance(value, str) else value
