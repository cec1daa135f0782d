"""The database: opening, transactions, and what happens when something is wrong with it."""

from __future__ import annotations

import math
import signal
import sqlite3
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from databases import add_dataset, dataset_names
from sqlalchemy import event, func, select, text

from anime_ai import storage
from anime_ai.config import Settings
from anime_ai.errors import StorageError
from anime_ai.storage import ConversationRecord, Database, DatasetRecord, MessageRecord, RowRecord


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "库 with space%20" / "studio.db"


@pytest.fixture
def database(file: Path) -> Iterator[Database]:
    with Database.open(file) as opened:
        yield opened


def test_settings_lead_to_a_file_in_the_studio_folder(tmp_path: Path) -> None:
    settings = Settings.load(output_dir=tmp_path / "输出", database_url="")
    with Database.open(settings) as database:
        add_dataset(database, "一")
    assert dataset_names(tmp_path / "输出" / "studio" / "studio.db") == ["一"]


def test_url_of_the_settings_goes_first(tmp_path: Path) -> None:
    named = tmp_path / "elsewhere.db"
    with Database.open(Settings.load(output_dir=tmp_path / "out", database_url=f"sqlite:///{named.as_posix()}")):
        pass
    assert named.exists()
    assert not (tmp_path / "out").exists()


def test_sqlite_is_set_up_for_many_readers_and_safe_references(database: Database) -> None:
    with database.reading() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(text("PRAGMA foreign_keys")) == 1
        assert session.scalar(text("PRAGMA busy_timeout")) == 5000
    with pytest.raises(Exception, match="FOREIGN KEY"), database.session() as session:
        session.add(RowRecord(dataset_id="missing", position=0, input="a", output="b"))


def test_who_is_hasty_does_not_wait_for_the_disk_and_the_next_one_does(database: Database) -> None:
    for hasty, level in ((False, 2), (True, 1), (False, 2)):
        with database.session(hasty=hasty) as session:
            assert session.connection().exec_driver_sql("PRAGMA synchronous").scalar() == level


def test_what_is_read_together_is_of_one_state_and_in_one_transaction(database: Database) -> None:
    begun: list[str] = []

    @event.listens_for(database._engine, "before_cursor_execute")
    def note(*given: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            begun.append(given[2].split()[0])

    def names() -> list[str]:
        with database.reading() as session:
            return list(session.scalars(select(DatasetRecord.name)))

    add_dataset(database, "一")
    begun.clear()
    with database.together(), database.together():
        assert names() == ["一"]
        other = threading.Thread(target=add_dataset, args=(database, "二"))
        other.start()
        other.join()
        assert names() == ["一"]
        assert begun == ["BEGIN", "SELECT", "SELECT"]
    assert names() == ["一", "二"]
    with pytest.raises(ZeroDivisionError), database.together():
        assert 1 / len(names()[2:])
    add_dataset(database, "三")
    assert names() == ["一", "二", "三"], "nothing is held open"


def test_what_reads_together_may_write_also_where_readers_and_writers_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system without shared memory, where SQLite refuses WAL."""
    monkeypatch.setattr(Database, "_let_read_while_written", lambda *given: None)
    wanted = select(DatasetRecord.name)
    with Database.open(tmp_path / "studio.db", busy_s=0.2) as database:
        with database.together():
            with database.reading() as session:
                assert session.scalar(text("PRAGMA journal_mode")) == "delete"
                assert session.scalars(wanted).all() == []
            add_dataset(database, "一")
            with database.reading() as session:
                assert session.scalars(wanted).all() == ["一"]
        add_dataset(database, "二")


def test_a_failing_block_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        with database.session() as session:
            session.add(DatasetRecord(name="half"))
            session.flush()
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail()
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(DatasetRecord)) == 0


def test_every_table_takes_and_gives_a_record(database: Database) -> None:
    with database.session() as session:
        session.add(DatasetRecord(id="d", name="数据"))
        session.flush()
        session.add(RowRecord(dataset_id="d", position=0, input="问", output="答", history=[["一", "二"]]))
        session.add(ConversationRecord(id="c", person="p", persona="傲娇"))
        session.flush()
        session.add(MessageRecord(conversation_id="c", role="user", content="你好", meta={"秒": 1.5}))
    with database.reading() as session:
        assert session.scalars(select(RowRecord)).one().history == [["一", "二"]]
        assert session.scalars(select(MessageRecord)).one().meta == {"秒": 1.5}
        assert "一" in str(session.scalar(text("SELECT history FROM rows")))


def test_second_start_does_not_load_alembic(file: Path) -> None:
    code = (
        "import sys, pathlib; from anime_ai.storage import Database\n"
        f"Database.open(pathlib.Path({str(file)!r})).close()\n"
        "print('alembic' in sys.modules)"
    )
    ran = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
        for _ in range(2)
    ]
    assert [one.stdout.strip() for one in ran] == ["True", "False"]
    assert ran[0].stderr == ""


def test_empty_file_and_file_without_tables_become_databases(file: Path) -> None:
    file.parent.mkdir()
    file.touch()
    Database.open(file).close()
    assert dataset_names(file) == []
    other = file.with_name("other.db")
    with closing(sqlite3.connect(other)) as raw:
        raw.execute("PRAGMA user_version = 7")
        raw.commit()
    Database.open(other).close()
    assert dataset_names(other) == []
    assert not list(file.parent.glob("*backup*"))


def test_database_of_a_newer_program_is_refused_untouched(file: Path) -> None:
    Database.open(file).close()
    with closing(sqlite3.connect(file)) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
        raw.commit()
    before = file.read_bytes()
    with pytest.raises(StorageError) as refused:
        Database.open(file)
    assert refused.value.key == "storage.newer"
    assert "9999" in refused.value.say("zh")
    assert file.read_bytes() == before
    assert not list(file.parent.glob("*backup*"))


def test_tables_of_another_program_are_refused_untouched(file: Path) -> None:
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as raw:
        raw.execute("CREATE TABLE messages (mine TEXT)")
        raw.commit()
    before = file.read_bytes()
    with pytest.raises(StorageError) as refused:
        Database.open(file)
    assert refused.value.key == "storage.foreign"
    assert file.read_bytes() == before


def test_processes_that_start_at_once_migrate_once(file: Path) -> None:
    code = (
        "import pathlib; from anime_ai.storage import Database\n"
        f"Database.open(pathlib.Path({str(file)!r}), busy_s=60).close()"
    )
    started = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(3)]
    assert [(child.communicate()[1], child.returncode) for child in started] == [(b"", 0)] * 3
    assert dataset_names(file) == []


def test_a_start_waits_for_whoever_reads_before_the_journal_is_changed(file: Path) -> None:
    Database.open(file).close()
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        assert other.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
        other.execute("BEGIN")
        other.execute("SELECT * FROM datasets").fetchall()
        with pytest.raises(StorageError) as refused:
            Database.open(file, busy_s=0.1)
        assert refused.value.key == "storage.locked"
        ending = threading.Timer(0.3, lambda: other.execute("COMMIT"))
        ending.start()
        Database.open(file, busy_s=30).close()
        ending.join()
    with closing(sqlite3.connect(file)) as fresh:
        assert fresh.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_threads_that_open_new_databases_at_once(tmp_path: Path) -> None:
    failed: list[BaseException] = []

    def make(number: int) -> None:
        try:
            Database.open(tmp_path / f"{number}.db").close()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [dataset_names(tmp_path / f"{number}.db") for number in range(6)] == [[]] * 6


@pytest.mark.parametrize("content", [b"no database at all, only text" * 40, b"SQLite format 3\0" + b"\xff" * 5000])
def test_corrupt_file_is_said_and_kept(file: Path, content: bytes) -> None:
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(StorageError) as refused:
        Database.open(file)
    assert refused.value.key == "storage.corrupt"
    assert str(file) in refused.value.say("zh")
    assert file.read_bytes() == content


def test_damage_inside_is_said_when_it_is_read(file: Path) -> None:
    with Database.open(file) as database, database.session() as session:
        session.add_all(DatasetRecord(name="名" * 500) for _ in range(200))
    content = bytearray(file.read_bytes())
    content[len(content) // 2 :] = b"\xee" * (len(content) - len(content) // 2)
    file.write_bytes(content)
    with Database.open(file) as database, pytest.raises(StorageError) as broken, database.reading() as session:
        session.scalars(select(DatasetRecord.name)).all()
    assert broken.value.key == "storage.corrupt"


def test_locked_database_is_said_and_usable_afterwards(file: Path) -> None:
    with Database.open(file, busy_s=0.05) as database, closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError) as locked:
            add_dataset(database, "x")
        assert locked.value.key == "storage.locked"
        with database.reading() as session:
            assert session.scalars(select(DatasetRecord)).all() == []
        other.execute("COMMIT")
        add_dataset(database, "later")
    assert dataset_names(file) == ["later"]


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("sqlite://", "storage.memory"),
        ("sqlite:///:memory:", "storage.memory"),
        ("no url, secret", "storage.url"),
        ("postgresql://me:secret@host:port/x", "storage.url"),
        ("nosuchdatabase://me:secret@host/x", "storage.url"),
        ("mysql+nosuchdriver://me:secret@host/x", "storage.url"),
    ],
)
def test_useless_addresses_are_refused_without_their_password(address: str, key: str) -> None:
    with pytest.raises(StorageError) as refused:
        Database.open(address)
    assert refused.value.key == key
    assert "secret" not in refused.value.say("zh") + refused.value.say("en")


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("", encoding="utf-8")
    with pytest.raises(StorageError) as refused:
        Database.open(tmp_path / "taken" / "studio.db")
    assert refused.value.key == "storage.write"
    with pytest.raises(StorageError) as refused:
        Database.open(tmp_path)
    assert refused.value.key == "storage.write"


def test_full_disk_keeps_the_previous_state(file: Path) -> None:
    def fill(database: Database) -> None:
        with database.session() as session:
            pages = session.scalar(text("PRAGMA page_count"))
            session.execute(text(f"PRAGMA max_page_count = {pages}"))
            session.add_all(DatasetRecord(name="x" * 5000) for _ in range(50))

    with Database.open(file) as database:
        add_dataset(database, "before")
        with pytest.raises(StorageError) as full:
            fill(database)
        assert full.value.key == "storage.write"
    assert dataset_names(file) == ["before"]


def test_unstorable_values_are_refused_in_words(database: Database) -> None:
    for name in ("\ud800",):
        with pytest.raises(StorageError) as refused:
            add_dataset(database, name)
        assert refused.value.key == "storage.value"
    with pytest.raises(StorageError, match=refused.value.say()), database.reading() as session:
        session.scalars(select(RowRecord).where(RowRecord.version == 10**30)).all()


def test_writers_in_threads_wait_for_each_other(database: Database) -> None:
    dataset = add_dataset(database, "0")
    failed: list[BaseException] = []

    def count() -> None:
        try:
            for _ in range(10):
                with database.session() as session:
                    record = session.get_one(DatasetRecord, dataset)
                    record.name = str(int(record.name) + 1)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert dataset_names(Path(str(database.file))) == ["40"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_killed_writer_leaves_the_old_state(file: Path) -> None:
    with Database.open(file) as database:
        add_dataset(database, "before")
    code = (
        "import time, pathlib; from anime_ai.storage import Database, DatasetRecord\n"
        f"with Database.open(pathlib.Path({str(file)!r})).session() as session:\n"
        "    session.add_all(DatasetRecord(name='x' * 2000) for _ in range(3000))\n"  # more than the page cache holds
        "    session.flush()\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == b"writing"
        child.send_signal(signal.SIGKILL)
        child.wait()
    with Database.open(file) as database:
        add_dataset(database, "after")
        with database.reading() as session:
            assert session.scalar(text("PRAGMA integrity_check")) == "ok"
    assert dataset_names(file) == ["before", "after"]


def test_close_leaves_no_open_connection(file: Path) -> None:
    import gc

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        database = Database.open(file)
        add_dataset(database, "x")
        database.close()
        database.close()
        del database
        gc.collect()
    assert [path.name for path in file.parent.iterdir()] == ["studio.db"], "the write-ahead log was folded in"


@pytest.mark.parametrize(
    "value", [2**64, -(2**70), 2**63, 1.5, 0.1234567890123456789, "\ud800", "你好", [None, {"a": [True]}]]
)
def test_what_is_kept_as_json_is_read_as_it_was(value: object) -> None:
    written = storage._as_json({"kept": value})
    assert storage._from_json(written) == storage._from_json(written.encode()) == {"kept": value}
    assert math.isnan(storage._from_json(storage._as_json([float("nan")]))[0])
