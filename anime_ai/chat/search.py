"""Finding words in everything that a person's conversations hold, in every branch. Knows no page.

Plain substrings: a word of two Chinese characters is found, which an index of three does not.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from anime_ai.storage import ConversationRecord, Database, MessageRecord

MOST = 60
AROUND = 24
"""Characters that are shown on either side of what was found."""


@dataclass(frozen=True)
class Hit:
    """A message that holds the words, and how it reads around them. `created` in seconds since 1970."""

    conversation_id: str
    message_id: str
    title: str
    persona: str
    role: str
    before: str
    match: str
    after: str
    created: float


class Search:
    """All conversations of all persons; a call looks at those of one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, person: str, words: str, most: int = MOST) -> list[Hit]:
        """Messages in which all of the words stand, newest first; then conversations whose title holds them all."""
        wanted = words.split()[:8]
        if not wanted:
            return []
        said, named = MessageRecord.content, ConversationRecord.title
        if self._database.file is None:
            inside = [said.icontains(word, autoescape=True) for word in wanted]
            titled = [named.icontains(word, autoescape=True) for word in wanted]
        else:  # SQLite's LIKE ignores case by itself; told to, it takes twice as long
            inside = [said.contains(word, autoescape=True) for word in wanted]
            titled = [named.contains(word, autoescape=True) for word in wanted]
        with self._database.reading() as session:
            mine = ConversationRecord.person == person
            found = session.execute(
                select(MessageRecord, ConversationRecord)
                .join(ConversationRecord, MessageRecord.conversation_id == ConversationRecord.id)
                .where(mine, *inside)
                .order_by(MessageRecord.created.desc())
                .limit(most)
            ).all()
            hits = [_hit(message, talk, wanted[0]) for message, talk in found]
            seen = {hit.conversation_id for hit in hits}
            talks = session.scalars(
                select(ConversationRecord).where(mine, *titled).order_by(ConversationRecord.updated.desc()).limit(most)
            )
            hits += [
                Hit(talk.id, "", talk.title, talk.persona, "user", "", talk.title, "", talk.updated)
                for talk in talks
                if talk.id not in seen
            ]
        return hits[:most]


def _hit(message: MessageRecord, talk: ConversationRecord, word: str) -> Hit:
    said = " ".join(message.content.split())
    at = max(said.lower().find(word.lower()), 0)
    before, after = said[max(0, at - AROUND) : at], said[at + len(word) : at + len(word) + AROUND]
    return Hit(
        talk.id,
        message.id,
        talk.title,
        message.speaker or talk.persona,
        message.role,
        f"…{before}" if at > AROUND else before,
        said[at : at + len(word)],
        f"{after}…" if at + len(word) + AROUND < len(said) else after,
        message.created,
    )
