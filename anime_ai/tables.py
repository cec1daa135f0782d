"""The tables that `anime_ai.storage` opens. Knows nothing of what the rows mean."""

from __future__ import annotations

import time
import uuid
from typing import Any

from sqlalchemy import JSON, Boolean, Double, ForeignKey, Index, Integer, MetaData, String, Text
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
