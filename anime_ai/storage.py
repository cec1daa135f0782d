"""The database: its tables, its connections and its schema version. Knows nothing of what the rows mean.

SQLite by default, any SQLAlchemy URL by `DATABASE_URL`. The schema moves on through `anime_ai/migrations`, which is
loaded only when the stored revision is not `HEAD`: alembic would cost a start more than everything else here.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    URL,
    Boolean,
    Connection,
    Double,
    Engine,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    create_engine,
    event,
    inspect,
    make_url,
    text,
)
from sqlalchemy import exc as sql
from sqlalchemy.orm import Mapped, Session, mapped_column, sessionmaker

from anime_ai.config import Settings
from anime_ai.errors import StorageError
from anime_ai.tables import Base, new_id

HEAD = "0006"
"""The revision of the newest migration; a test compares it with `anime_ai/migrations`."""

MIGRATIONS = Path(__file__).resolve().parent / "migrations"

_migrating = threading.Lock()  # alembic keeps the migration that is running in a global


def shown_name(name: str) -> str:
    """A name as it is shown and compared: blanks are one space each, none at the ends."""
    return " ".join(name.split())


def is_name(shown: str, most: int) -> bool:
    """Whether a shown name can be stored: 1 to `most` characters, all of which any database takes."""
    return 0 < len(shown) <= most and not any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in shown)


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
    """One conversation of one person with one persona. `knowledge`: ids of the bases that it asks; None: all."""

    __tablename__ = "conversations"
    __table_args__ = (Index("ix_conversations_person_updated", "person", "updated"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    person: Mapped[str] = mapped_column(String(255))
    persona: Mapped[str] = mapped_column(Text)
    adapter: Mapped[str] = mapped_column(Text, default="")
    title: Mapped[str] = mapped_column(Text, default="")
    knowledge: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    created: Mapped[float] = mapped_column(Double, default=time.time)
    updated: Mapped[float] = mapped_column(Double, default=time.time)
    closed: Mapped[bool] = mapped_column(Boolean, default=False)


class MessageRecord(Base):
    """One message; `parent_id` makes a conversation a tree, whose branches are other answers to the same question."""

    __tablename__ = "messages"
    __table_args__ = (Index("ix_messages_conversation_id_created", "conversation_id", "created"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), index=True)
    role: Mapped[str] = mapped_column(String(16))
    content: Mapped[str] = mapped_column(Text)
    thinking: Mapped[str] = mapped_column(Text, default="")
    meta: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
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
    """A picture by which a character is known."""

    __tablename__ = "character_pictures"
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    character_id: Mapped[str] = mapped_column(ForeignKey("characters.id", ondelete="CASCADE"), index=True)
    file: Mapped[str] = mapped_column(String(64))
    created: Mapped[float] = mapped_column(Double, default=time.time)


class Database:
    """One database. Threads may share it; every `with` block has a connection and a transaction of its own."""

    def __init__(self, url: URL, busy_s: float) -> None:
        """Use `Database.open`, which also brings the schema up to date."""
        self._url, self._busy_s = url, busy_s
        self.file = Path(self._url.database or "") if self._url.get_backend_name() == "sqlite" else None
        self.place = str(self.file) if self.file else self._url.render_as_string(hide_password=True)
        self._engine = self._make_engine(foreign_keys=True)
        self._writing = sessionmaker(self._engine, expire_on_commit=False)
        self._reading = sessionmaker(self._engine.execution_options(begin="BEGIN"), expire_on_commit=False)

    @classmethod
    def open(cls, where: Settings | Path | str, busy_s: float = 5.0) -> Database:
        """The database of the settings, a file or a URL: made or migrated where needed, an old file after a backup.

        `busy_s`: seconds that a transaction waits for another one's end. Raises StorageError for a database that is
        newer than this program, not this program's, corrupt, locked or out of reach.
        """
        if isinstance(where, Settings):
            where = where.database_url or where.studio_dir / "studio.db"
        url = _checked_url(where) if isinstance(where, str) else URL.create("sqlite", database=str(where.resolve()))
        database = cls(url, busy_s)
        try:
            with database._said_plainly():
                database._prepare()
        except BaseException:
            database.close()
            raise
        return database

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction: committed when the block ends well, rolled back when it raises.

        On SQLite it takes the write lock at once, so what the block reads is still true when it writes.
        Raises StorageError for a database that is locked, full, corrupt or out of reach.
        """
        with self._said_plainly(), self._writing.begin() as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Like `session`, for a block that only reads: it sees one state and never waits for a writer."""
        with self._said_plainly(), self._reading.begin() as session:
            yield session

    def close(self) -> None:
        """Close all connections. Closing twice does no harm."""
        self._engine.dispose()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _make_engine(self, foreign_keys: bool) -> Engine:
        try:
            if self.file is None:
                return create_engine(self._url, json_serializer=_as_json, pool_pre_ping=True, max_overflow=35)
            engine = create_engine(
                self._url, json_serializer=_as_json, max_overflow=35, connect_args={"timeout": self._busy_s}
            )
        except (sql.ArgumentError, ImportError) as error:
            raise StorageError("storage.url", why=_first_line(error)) from error

        @event.listens_for(engine, "connect")
        def _connect(connection: sqlite3.Connection, _: object) -> None:
            # Python's driver begins transactions late and ends them early; the event below begins them instead.
            connection.isolation_level = None
            connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN IMMEDIATE"))

        return engine

    @contextmanager
    def _said_plainly(self) -> Iterator[None]:
        """Driver errors as StorageError; a broken statement stays what it is, because it is a fault of the program."""
        try:
            yield
        except (sql.IntegrityError, sql.ProgrammingError):
            raise
        except (sql.DataError, UnicodeEncodeError, OverflowError) as error:
            raise StorageError("storage.value") from error
        except (sql.DBAPIError, sql.TimeoutError, sqlite3.Error) as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> StorageError:
        why = _first_line(getattr(error, "orig", None) or error)
        said = why.lower()
        if self.file and ("locked" in said or "busy" in said):
            return StorageError("storage.locked", path=self.file)
        if self.file and any(mark in said for mark in ("malformed", "not a database", "corrupt")):
            return StorageError("storage.corrupt", path=self.file, backup=f"{self.file.name}.backup-*")
        if self.file and any(mark in said for mark in ("readonly", "unable to open", "full", "disk i/o")):
            return StorageError("storage.write", path=self.file, why=why)
        return StorageError("storage.database", place=self.place, why=why)

    def _prepare(self) -> None:
        if self.file:
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError("storage.write", path=self.file.parent, why=error.strerror or error) from error
        with self._engine.execution_options(begin="BEGIN").connect() as connection:
            stored = _revision(connection)
        if stored != HEAD:
            self._migrate()
        if self.file:
            # Readers and the writer stop waiting for each other. A file system without shared memory says no: no harm.
            with closing(self._engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA journal_mode = WAL")

    def _migrate(self) -> None:
        """All missing migrations in one transaction, under the write lock, so that two starts at once do it once."""
        from alembic import command
        from alembic.config import Config
        from alembic.script import ScriptDirectory
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        # Rebuilding a table in SQLite drops the old one, and foreign keys would delete what refers to it.
        engine = self._make_engine(foreign_keys=False)
        try:
            with _migrating, engine.begin() as connection:
                stored = _revision(connection)
                if stored == HEAD:
                    return
                if stored and stored not in known:
                    raise StorageError("storage.newer", place=self.place, revision=stored)
                tables = set(inspect(connection).get_table_names())
                if not stored and tables & set(Base.metadata.tables):
                    raise StorageError("storage.foreign", place=self.place)
                if self.file and tables:
                    _back_up(self.file, stored or "none")
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                if self.file and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                    raise CommandError("foreign key check failed")
        except CommandError as error:
            raise StorageError("storage.migration", place=self.place, why=_first_line(error)) from error
        finally:
            engine.dispose()


def _checked_url(url: str) -> URL:
    """`url` parsed. Nothing of a broken URL is repeated: it may hold a password."""
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        parsed.get_dialect()
    except (sql.SQLAlchemyError, ImportError, ValueError) as error:
        why = "" if isinstance(error, (sql.ArgumentError, ValueError)) else _first_line(error)
        raise StorageError("storage.url", why=why or "?") from error
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise StorageError("storage.memory")
    return parsed


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _back_up(file: Path, revision: str) -> None:
    """A whole copy of the last committed state beside `file`, in the place of an older copy of this revision."""
    target = file.with_name(f"{file.name}.backup-{revision}")
    beside = file.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(beside)) as copy:
            source.backup(copy)
        os.replace(beside, target)
    except (sqlite3.Error, OSError) as error:
        raise StorageError("storage.backup", path=target, why=_first_line(error)) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _as_json(value: Any) -> str:
    """JSON that keeps Chinese as it is, so that a search finds it; escaped where the text cannot be encoded."""
    written = json.dumps(value, ensure_ascii=False)
    try:
        written.encode()
    except UnicodeEncodeError:
        return json.dumps(value)
    return written


def _first_line(error: object) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
