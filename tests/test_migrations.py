"""The database's migrations: what they make of an older file, and what stays when one fails."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from databases import add_dataset, dataset_names
from sqlalchemy import inspect, select, text

from anime_ai import storage
from anime_ai.errors import StorageError
from anime_ai.storage import Base, Database, RowRecord

NOW = storage.HEAD


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "库 with space%20" / "studio.db"


def test_migrations_make_exactly_the_declared_tables(file: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with Database.open(file) as database, database._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        assert set(inspect(connection).get_table_names()) == {*Base.metadata.tables, "alembic_version"}


def test_head_is_the_newest_migration() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(storage.MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [storage.HEAD]


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program whose schema is one migration ahead: it rebuilds the table that others refer to."""
    import shutil

    folder = tmp_path / "migrations"
    shutil.copytree(storage.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "next.py").write_text(
        f"import sqlalchemy as sa\nfrom alembic import op\nrevision, down_revision = 'next', {NOW!r}\n"
        "def upgrade() -> None:\n"
        "    with op.batch_alter_table('datasets', recreate='always') as table:\n"
        "        table.add_column(sa.Column('note', sa.Text(), nullable=False, server_default=''))\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(storage, "MIGRATIONS", folder)
    monkeypatch.setattr(storage, "HEAD", "next")
    return folder


def old_database(file: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "MIGRATIONS", Path(storage.__file__).parent / "migrations")
        patch.setattr(storage, "HEAD", NOW)
        with Database.open(file) as database:
            dataset = add_dataset(database, "旧的")
            with database.session() as session:
                session.add(RowRecord(dataset_id=dataset, position=0, input="问", output="答"))


def test_older_database_is_backed_up_and_moves_on(file: Path, next_version: Path) -> None:
    old_database(file)
    with Database.open(file) as database, database.reading() as session:
        assert session.scalar(text("SELECT version_num FROM alembic_version")) == "next"
        assert session.scalar(text("SELECT note FROM datasets")) == ""
        assert session.scalars(select(RowRecord.input)).all() == ["问"], "rebuilding the parent must keep its rows"
    backup = file.with_name(f"studio.db.backup-{NOW}")
    assert dataset_names(backup) == ["旧的"]
    with closing(sqlite3.connect(backup)) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchone() == (NOW,)
    assert sorted(path.name for path in file.parent.iterdir()) == ["studio.db", f"studio.db.backup-{NOW}"]


def test_failing_migration_leaves_the_old_database_whole(file: Path, next_version: Path) -> None:
    old_database(file)
    with open(next_version / "versions" / "next.py", "a", encoding="utf-8") as script:
        script.write("    op.execute('DELETE FROM datasets')\n    op.execute('SELECT * FROM nowhere')\n")
    with pytest.raises(StorageError) as failed:
        Database.open(file)
    assert "nowhere" in failed.value.say("en")
    assert dataset_names(file) == ["旧的"]
    with closing(sqlite3.connect(file)) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchone() == (NOW,)
        assert "note" not in [column[1] for column in raw.execute("PRAGMA table_info(datasets)")]


def test_migration_that_breaks_references_is_undone(file: Path, next_version: Path) -> None:
    old_database(file)
    with open(next_version / "versions" / "next.py", "a", encoding="utf-8") as script:
        script.write("    op.execute('DELETE FROM datasets')\n")
    with pytest.raises(StorageError) as failed:
        Database.open(file)
    assert failed.value.key == "storage.migration"
    assert dataset_names(file) == ["旧的"]


def test_no_backup_no_migration(file: Path, next_version: Path) -> None:
    old_database(file)
    file.with_name(f"studio.db.backup-{NOW}").mkdir()
    with pytest.raises(StorageError) as failed:
        Database.open(file)
    assert failed.value.key == "storage.backup"
    with closing(sqlite3.connect(file)) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchone() == (NOW,)
    assert not list(file.parent.glob(".*"))


def test_locked_at_the_start(file: Path, next_version: Path) -> None:
    old_database(file)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError) as locked:
            Database.open(file, busy_s=0.05)
    assert locked.value.key == "storage.locked"
