"""The database: its connections and its schema version; its tables stand in `anime_ai.tables`. Knows nothing of what
the rows mean.

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
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy import exc as sql
from sqlalchemy.orm import Session, sessionmaker

from anime_ai.config import Settings
from anime_ai.errors import StorageError
from anime_ai.tables import (
    Base,
    CharacterPictureRecord,
    CharacterRecord,
    ChunkRecord,
    ConversationRecord,
    DatasetRecord,
    DocumentRecord,
    EditRecord,
    FeedbackRecord,
    KnowledgeBaseRecord,
    MessageRecord,
    PictureRecord,
    RevisionRecord,
    RowRecord,
    SamplingRecord,
    SnapshotRecord,
    new_id,
)

__all__ = [
    "HEAD",
    "MIGRATIONS",
    "Base",
    "CharacterPictureRecord",
    "CharacterRecord",
    "ChunkRecord",
    "ConversationRecord",
    "Database",
    "DatasetRecord",
    "DocumentRecord",
    "EditRecord",
    "FeedbackRecord",
    "KnowledgeBaseRecord",
    "MessageRecord",
    "PictureRecord",
    "RevisionRecord",
    "RowRecord",
    "SamplingRecord",
    "SnapshotRecord",
    "is_name",
    "new_id",
    "shown_name",
]

HEAD = "0015"
"""The revision of the newest migration; a test compares it with `anime_ai/migrations`."""

MIGRATIONS = Path(__file__).resolve().parent / "migrations"

_migrating = threading.Lock()  # alembic keeps the migration that is running in a global


def shown_name(name: str) -> str:
    """A name as it is shown and compared: blanks are one space each, none at the ends."""
    return " ".join(name.split())


def is_name(shown: str, most: int) -> bool:
    """Whether a shown name can be stored: 1 to `most` characters, all of which any database takes."""
    return 0 < len(shown) <= most and not any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in shown)


class Database:
    """One database. Threads may share it; every `with` block has a connection and a transaction of its own."""

    def __init__(self, url: URL, busy_s: float) -> None:
        """Use `Database.open`, which also brings the schema up to date."""
        self._url, self._busy_s = url, busy_s
        self.file = Path(self._url.database or "") if self._url.get_backend_name() == "sqlite" else None
        self.place = str(self.file) if self.file else self._url.render_as_string(hide_password=True)
        self._turn = threading.Lock()
        self._open = threading.local()
        self._engine = self._make_engine(foreign_keys=True)
        self._writing = sessionmaker(self._engine, expire_on_commit=False)
        self._hasty = sessionmaker(self._engine.execution_options(synchronous="NORMAL"), expire_on_commit=False)
        # Elsewhere each question would see a state of its own; SQLite knows no other way.
        one_state = {} if self.file else {"isolation_level": "REPEATABLE READ"}
        self._reading = sessionmaker(self._engine.execution_options(begin="BEGIN", **one_state), expire_on_commit=False)

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
    def session(self, hasty: bool = False) -> Iterator[Session]:
        """One transaction: committed when the block ends well, rolled back when it raises.

        On SQLite it takes the write lock at once, so what the block reads is still true when it writes. `hasty`: nobody
        waits until the disk has it. It outlives the program's death all the same, and a power cut may take it back.
        Raises StorageError for a database that is locked, full, corrupt or out of reach.
        """
        with self._said_plainly():
            if (around := getattr(self._open, "session", None)) is not None:
                around.commit()  # without WAL the writer would wait for this thread's own reader
            with self._alone(), (self._hasty if hasty else self._writing).begin() as session:
                yield session

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Write before and behind the other threads. SQLite itself looks ten times a second whether it may write, and
        among many who wait whoever looks at the right moment: some would wait until they are told that it is locked."""
        mine = self.file is not None and self._turn.acquire(timeout=self._busy_s)
        try:
            yield
        finally:
            if mine:
                self._turn.release()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Like `session`, for a block that only reads: it sees one state and never waits for a writer."""
        around: Session | None = getattr(self._open, "session", None)
        with self._said_plainly(), nullcontext(around) if around is not None else self._reading.begin() as session:
            yield session

    @contextmanager
    def together(self) -> Iterator[None]:
        """What this thread reads in the block it reads of one state, in one transaction: each of its own would take as
        long as the question. What others write meanwhile is not seen in it; what the block itself writes ends that
        state. Not around a `yield`."""
        if getattr(self._open, "session", None) is not None:
            yield
            return
        with self._said_plainly(), self._reading() as session:
            self._open.session = session
            try:
                yield
            finally:
                self._open.session = None
            session.commit()

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
                return create_engine(self._url, **_JSON, pool_pre_ping=True, max_overflow=35)
            engine = create_engine(self._url, **_JSON, max_overflow=35, connect_args={"timeout": self._busy_s})
        except (sql.ArgumentError, ImportError) as error:
            raise StorageError("storage.url", why=_first_line(error)) from error

        @event.listens_for(engine, "connect")
        def _connect(connection: sqlite3.Connection, _: object) -> None:
            # Python's driver begins transactions late and ends them early; the event below begins them instead.
            connection.isolation_level = None
            connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            options = connection.get_execution_options()
            begin = options.get("begin", "BEGIN IMMEDIATE")
            if begin != "BEGIN":
                connection.exec_driver_sql(f"PRAGMA synchronous = {options.get('synchronous', 'FULL')}")
            connection.exec_driver_sql(begin)

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
            with closing(self._engine.raw_connection()) as connection:
                self._let_read_while_written(connection.cursor())

    def _let_read_while_written(self, cursor: Any) -> None:
        """Readers and the writer stop waiting for each other. A file system without shared memory says no: no harm."""
        end = time.monotonic() + self._busy_s
        while True:
            try:
                cursor.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:  # SQLite itself does not wait here, and others may start just now
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.02)

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
    copy_database(file, file.with_name(f"{file.name}.backup-{revision}"))


def copy_database(file: Path, target: Path) -> None:
    """The last committed state of an SQLite file, whoever is writing to it meanwhile. Raises StorageError."""
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
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


def _from_json(written: str | bytes) -> Any:
    """What `_as_json` wrote, in bytes by PostgreSQL's driver; all that was said is read for every turn."""
    read = written if isinstance(written, bytes) else written.encode()
    try:
        # The faster reader makes floats of numbers beyond 64 bits, and knows neither NaN nor halves of characters.
        return json.loads(written) if _LONG in read.translate(_DIGITS) else orjson.loads(read)
    except orjson.JSONDecodeError:
        return json.loads(written)


_DIGITS = bytes(ord("0") if sign in b"0123456789" else ord(" ") for sign in range(256))
"""To find a long number by, as bytes are: a regular expression would look at every sign by itself."""
_LONG = b"0" * 19
_JSON: dict[str, Any] = {"json_serializer": _as_json, "json_deserializer": _from_json}


def _first_line(error: object) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
