"""What tests of the database ask of its file, and put into it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from anime_ai.storage import Database, DatasetRecord


def dataset_names(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as raw:
        return [name for (name,) in raw.execute("SELECT name FROM datasets ORDER BY created")]


def add_dataset(database: Database, name: str) -> str:
    with database.session() as session:
        record = DatasetRecord(name=name)
        session.add(record)
        session.flush()
        return record.id
