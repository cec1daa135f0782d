"""The tables of the database. Knows no connection; `anime_ai.storage` opens them."""

from __future__ import annotations

import time
import uuid
from typing import Any

from sqlalchemy import JSON, Boolean, Double, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


def new_id() -> str:
    """A fresh id: 32 hexadecimal digits, safe in paths, addresses and HTML."""
    return uuid.uuid4().hex


class Base(DeclarativeBase):
    """All tables. Times are seconds since 1970; constraints are named so that a migration can drop them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class DatasetRecord(Base):
    """A dataset's name and where it came from. A removed one stays as a mark without rows."""

    __tablename__ = "datasets"
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text, default="")
    sha256: Mapped[str] = mapped_column(String(64), default="", index=True)
    created: Mapped[float] = mapped_column(Double, default=time.time)
    updated: Mapped[float] = mapped_column(Double, default=time.time)
    removed: Mapped[bool] = mapped_column(Boolean, default=False)


class RowRecord(Base):
    """One dialogue row. `version` grows by one with every change; a deleted row stays until the bin is emptied.

    `source`: the file that it came from, or what made it.
    """

    __tablename__ = "rows"
    __table_args__ = (Index("ix_rows_dataset_id_deleted_position", "dataset_id", "deleted", "position"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(Integer)
    persona: Mapped[str] = mapped_column(Text, default="")
    input: Mapped[str] = mapped_column(Text)
    output: Mapped[str] = mapped_column(Text)
    inner: Mapped[str] = mapped_column(Text, default="")
    history: Mapped[list[Any]] = mapped_column(JSON, default=list)
    system: Mapped[str] = mapped_column(Text, default="")
    rejected: Mapped[str] = mapped_column(Text, default="")
    tags: Mapped[list[Any]] = mapped_column(JSON, default=list)
    draft: Mapped[bool] = mapped_column(Boolean, default=False)
    source: Mapped[str] = mapped_column(Text, default="")
    version: Mapped[int] = mapped_column(Integer, default=1)
    created: Mapped[float] = mapped_column(Double, default=time.time)
    updated: Mapped[float] = mapped_column(Double, default=time.time)
    deleted: Mapped[bool] = mapped_column(Boolean, default=False)


class EditRecord(Base):
    """One step that can be undone in a dataset: `number` counts them, those that are `undone` can be done again."""

    __tablename__ = "edits"
    __table_args__ = (Index("ix_edits_dataset_id_number", "dataset_id", "number", unique=True),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    number: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(String(32))
    rows: Mapped[int] = mapped_column(Integer)
    undone: Mapped[bool] = mapped_column(Boolean, default=False)
    created: Mapped[float] = mapped_column(Double, default=time.time)


class RevisionRecord(Base):
    """What an edit made of one row: the row's changing columns before and after."""

    __tablename__ = "revisions"
    __table_args__ = (Index("ix_revisions_row_id", "row_id"),)
    edit_id: Mapped[str] = mapped_column(ForeignKey("edits.id", ondelete="CASCADE"), primary_key=True)
    row_id: Mapped[str] = mapped_column(ForeignKey("rows.id", ondelete="CASCADE"), primary_key=True)
    before: Mapped[dict[str, Any]] = mapped_column(JSON)
    after: Mapped[dict[str, Any]] = mapped_column(JSON)


class SnapshotRecord(Base):
    """A dataset as it stood: `content` is compressed JSON Lines of row ids and rows, `sha256` that of the rows."""

    __tablename__ = "snapshots"
    __table_args__ = (Index("ix_snapshots_dataset_id_created", "dataset_id", "created"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(Text)
    rows: Mapped[int] = mapped_column(Integer)
    sha256: Mapped[str] = mapped_column(String(64))
    content: Mapped[bytes] = mapped_column(LargeBinary)
    created: Mapped[float] = mapped_column(Double, default=time.time)


class ConversationRecord(Base):
    """One conversation of one person with one persona. `knowledge`: ids of the bases that it asks; None: all.

    `leaf_id`: the message at which the line that is shown ends; None where no message is shown. `opened`: when the
    person last had it before them.
    """

    __tablename__ = "conversations"
    __table_args__ = (Index("ix_conversations_person_updated", "person", "updated"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    person: Mapped[str] = mapped_column(String(255))
    persona: Mapped[str] = mapped_column(Text)
    adapter: Mapped[str] = mapped_column(Text, default="")
    title: Mapped[str] = mapped_column(Text, default="")
    knowledge: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    leaf_id: Mapped[str | None] = mapped_column(String(32), default=None)
    pinned: Mapped[bool] = mapped_column(Boolean, default=False)
    created: Mapped[float] = mapped_column(Double, default=time.time)
    updated: Mapped[float] = mapped_column(Double, default=time.time)
    opened: Mapped[float] = mapped_column(Double, default=time.time)


class MemberRecord(Base):
    """A persona in a conversation of several, at her place in their order. `adapter` None: her own, whichever it is."""

    __tablename__ = "members"
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True)
    place: Mapped[int] = mapped_column(Integer, primary_key=True)
    persona: Mapped[str] = mapped_column(Text)
    adapter: Mapped[str | None] = mapped_column(Text, default=None)


class MessageRecord(Base):
    """One message; `parent_id` makes a conversation a tree, whose branches are other answers to the same question.

    `visited`: when it last came onto the line that is shown. `speaker`: the persona who says it, of several.
    """

    __tablename__ = "messages"
    __table_args__ = (Index("ix_messages_conversation_id_created", "conversation_id", "created"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), index=True)
    role: Mapped[str] = mapped_column(String(16))
    speaker: Mapped[str] = mapped_column(Text, default="")
    content: Mapped[str] = mapped_column(Text)
    thinking: Mapped[str] = mapped_column(Text, default="")
    meta: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    created: Mapped[float] = mapped_column(Double, default=time.time)
    visited: Mapped[float] = mapped_column(Double, default=time.time)


class SamplingRecord(Base):
    """How a person wants a persona's answers to be drawn."""

    __tablename__ = "samplings"
    person: Mapped[str] = mapped_column(String(255), primary_key=True)
    persona: Mapped[str] = mapped_column(String(300), primary_key=True)
    told: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class FeedbackRecord(Base):
    """What a person thought of an answer, and the row that was made of it. `kind`: up, down, edit or pick;
    agreed where the person, once, agreed that it is kept.

    `provenance`: prompt, persona, adapter, its hash, seed. `message_id` is empty for an answer that stands in no
    conversation.
    """

    __tablename__ = "feedback"
    __table_args__ = (Index("ix_feedback_person_message_id", "person", "message_id"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    person: Mapped[str] = mapped_column(String(255))
    kind: Mapped[str] = mapped_column(String(16))
    message_id: Mapped[str] = mapped_column(String(32), default="")
    row_id: Mapped[str | None] = mapped_column(ForeignKey("rows.id", ondelete="SET NULL"), default=None, index=True)
    provenance: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    created: Mapped[float] = mapped_column(Double, default=time.time)


class KnowledgeBaseRecord(Base):
    """A collection of documents. `person` "" is everybody's, `persona` "" is for every persona.

    `revision` grows by one with every change of what can be found, so that an index notices. A removed one stays as a
    mark without documents.
    """

    __tablename__ = "knowledge_bases"
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(Text)
    about: Mapped[str] = mapped_column(Text, default="")
    questions: Mapped[list[Any]] = mapped_column(JSON, default=list)
    person: Mapped[str] = mapped_column(String(255), default="")
    persona: Mapped[str] = mapped_column(Text, default="")
    source: Mapped[str] = mapped_column(Text, default="")
    revision: Mapped[int] = mapped_column(Integer, default=0)
    created: Mapped[float] = mapped_column(Double, default=time.time)
    updated: Mapped[float] = mapped_column(Double, default=time.time)
    removed: Mapped[bool] = mapped_column(Boolean, default=False)


class DocumentRecord(Base):
    """A document's text, as it was parsed."""

    __tablename__ = "documents"
    __table_args__ = (Index("ix_documents_base_id_name", "base_id", "name", unique=True),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    base_id: Mapped[str] = mapped_column(ForeignKey("knowledge_bases.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(512))
    title: Mapped[str] = mapped_column(Text, default="")
    sha256: Mapped[str] = mapped_column(String(64))
    text: Mapped[str] = mapped_column(Text)
    pages: Mapped[int] = mapped_column(Integer, default=0)
    characters: Mapped[int] = mapped_column(Integer, default=0)
    created: Mapped[float] = mapped_column(Double, default=time.time)
    updated: Mapped[float] = mapped_column(Double, default=time.time)


class ChunkRecord(Base):
    """A stretch of a document. What is found never changes under an id: an edited chunk gets a new one.

    `begin` and `end` count characters of the document's text; an edited chunk keeps the span that it came from.
    """

    __tablename__ = "chunks"
    __table_args__ = (Index("ix_chunks_document_id_position", "document_id", "position"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    base_id: Mapped[str] = mapped_column(ForeignKey("knowledge_bases.id", ondelete="CASCADE"), index=True)
    document_id: Mapped[str] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(Integer)
    begin: Mapped[int] = mapped_column(Integer)
    end: Mapped[int] = mapped_column(Integer)
    page: Mapped[int] = mapped_column(Integer, default=0)
    heading: Mapped[str] = mapped_column(Text, default="")
    text: Mapped[str] = mapped_column(Text)
    edited: Mapped[bool] = mapped_column(Boolean, default=False)
    off: Mapped[bool] = mapped_column(Boolean, default=False)


class PictureRecord(Base):
    """A picture that somebody showed: its file, which it shares with nothing, and what was seen in it."""

    __tablename__ = "pictures"
    __table_args__ = (Index("ix_pictures_person_created", "person", "created"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    person: Mapped[str] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(Text)
    file: Mapped[str] = mapped_column(String(64))
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    seen: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    corrected: Mapped[bool] = mapped_column(Boolean, default=False)
    created: Mapped[float] = mapped_column(Double, default=time.time)


class CharacterRecord(Base):
    """A character of a person's gallery."""

    __tablename__ = "characters"
    __table_args__ = (Index("ix_characters_person_name", "person", "name", unique=True),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    person: Mapped[str] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(String(300))
    created: Mapped[float] = mapped_column(Double, default=time.time)


class CharacterPictureRecord(Base):
    """A picture by which a character is known. `learned_from`: the shown picture on which somebody named her, "" for
    one that was enrolled by itself."""

    __tablename__ = "character_pictures"
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    character_id: Mapped[str] = mapped_column(ForeignKey("characters.id", ondelete="CASCADE"), index=True)
    file: Mapped[str] = mapped_column(String(64))
    learned_from: Mapped[str] = mapped_column(String(32), default="", server_default="")
    created: Mapped[float] = mapped_column(Double, default=time.time)


class PersonaRecord(Base):
    """A persona: her card, and the name by which conversations and rows know her. `avatar`: the stem of her pictures'
    files, `files`: the name of the zip with what a CHARX had beside the card. A removed one stays, to be had back.
    """

    __tablename__ = "personas"
    __table_args__ = (Index("ix_personas_person_name", "person", "name"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    person: Mapped[str] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(Text)
    card: Mapped[dict[str, Any]] = mapped_column(JSON)
    avatar: Mapped[str] = mapped_column(String(64), default="")
    files: Mapped[str] = mapped_column(String(64), default="")
    published: Mapped[bool] = mapped_column(Boolean, default=False)
    source: Mapped[str] = mapped_column(Text, default="")
    version: Mapped[int] = mapped_column(Integer, default=1)
    created: Mapped[float] = mapped_column(Double, default=time.time)
    updated: Mapped[float] = mapped_column(Double, default=time.time)
    removed: Mapped[bool] = mapped_column(Boolean, default=False)


class PersonaFacesRecord(Base):
    """How a persona's face changes, also of one that ships. `shown`: whether it does; `sprites`: by feeling the stem of
    the picture's file, beside those of the personas."""

    __tablename__ = "persona_faces"
    persona_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    shown: Mapped[bool] = mapped_column(Boolean, default=True)
    sprites: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    updated: Mapped[float] = mapped_column(Double, default=time.time)


class PersonaRevisionRecord(Base):
    """A persona's card as it was before an edit; `number` is the version that it had."""

    __tablename__ = "persona_revisions"
    persona_id: Mapped[str] = mapped_column(ForeignKey("personas.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    card: Mapped[dict[str, Any]] = mapped_column(JSON)
    created: Mapped[float] = mapped_column(Double, default=time.time)


class WorldBookRecord(Base):
    """A lorebook of its own. `persona` "" is for every persona."""

    __tablename__ = "world_books"
    __table_args__ = (Index("ix_world_books_person_name", "person", "name"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    person: Mapped[str] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(Text)
    persona: Mapped[str] = mapped_column(Text, default="")
    book: Mapped[dict[str, Any]] = mapped_column(JSON)
    enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    created: Mapped[float] = mapped_column(Double, default=time.time)
    updated: Mapped[float] = mapped_column(Double, default=time.time)
    removed: Mapped[bool] = mapped_column(Boolean, default=False)


class ApiKeyRecord(Base):
    """A key of the open endpoint. Of the key itself there is its SHA-256, and its last characters to know it by.

    `private`: it may talk to whom visitors may not. `per_minute` requests and `per_day` tokens; 0 is without a limit.
    """

    __tablename__ = "api_keys"
    __table_args__ = (Index("ix_api_keys_sha256", "sha256", unique=True),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    tail: Mapped[str] = mapped_column(String(8))
    private: Mapped[bool] = mapped_column(Boolean, default=False)
    per_minute: Mapped[int] = mapped_column(Integer)
    per_day: Mapped[int] = mapped_column(Integer)
    created: Mapped[float] = mapped_column(Double, default=time.time)
    used: Mapped[float] = mapped_column(Double, default=0.0)
    revoked: Mapped[bool] = mapped_column(Boolean, default=False)


class UsageRecord(Base):
    """What a person or a key has used of a kind in an hour or a day. `span`: the minute since 1970 when that began."""

    __tablename__ = "usage"
    subject: Mapped[str] = mapped_column(String(80), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    span: Mapped[int] = mapped_column(Integer, primary_key=True)
    amount: Mapped[int] = mapped_column(Integer, default=0)


class MemoryRecord(Base):
    """Something that a persona knows of a person, and the message that it was learned from. One that is not `kept` was
    only proposed."""

    __tablename__ = "memories"
    __table_args__ = (Index("ix_memories_person_persona", "person", "persona"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    person: Mapped[str] = mapped_column(String(255))
    persona: Mapped[str] = mapped_column(String(300))
    text: Mapped[str] = mapped_column(Text)
    message_id: Mapped[str | None] = mapped_column(
        ForeignKey("messages.id", ondelete="SET NULL"), default=None, index=True
    )
    kept: Mapped[bool] = mapped_column(Boolean, default=False)
    created: Mapped[float] = mapped_column(Double, default=time.time)


class MemoryWayRecord(Base):
    """Whether a persona asks a person before she remembers something: ask, keep or off."""

    __tablename__ = "memory_ways"
    person: Mapped[str] = mapped_column(String(255), primary_key=True)
    persona: Mapped[str] = mapped_column(String(300), primary_key=True)
    way: Mapped[str] = mapped_column(String(8))
