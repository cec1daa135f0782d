"""The database on PostgreSQL, where DATABASE_URL_TEST names one that tests may use: postgresql+psycopg://…

Each test works in a schema of its own, which is dropped afterwards.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from anime_ai.config import DATA, Settings
from anime_ai.dataset.pages import Filter
from anime_ai.dataset.rows import Row
from anime_ai.dataset.snapshots import Snapshots
from anime_ai.dataset.store import ConflictError, Datasets
from anime_ai.errors import StorageError
from anime_ai.knowledge.chunks import Block
from anime_ai.knowledge.service import Knowledge
from anime_ai.storage import Database
from anime_ai.studio import Studio

URL = os.environ.get("DATABASE_URL_TEST", "")
pytestmark = pytest.mark.skipif(not URL, reason="DATABASE_URL_TEST names no PostgreSQL")


@pytest.fixture
def url() -> Iterator[str]:
    schema = f"test_{uuid.uuid4().hex}"
    engine = create_engine(URL)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    own = make_url(URL).update_query_dict({"options": f"-csearch_path={schema}"})
    yield own.render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()


def test_the_whole_studio_opens_and_opens_again(url: str, tmp_path: Path) -> None:
    settings = Settings(output_dir=tmp_path, database_url=url)
    with Studio.open(settings) as studio:
        dataset = studio.datasets.list()[0]
        assert dataset.rows > 900
        base = studio.knowledge.library.bases()[0]
        assert base.documents >= 40
    with Studio.open(settings) as studio:
        assert [one.id for one in studio.datasets.list()] == [dataset.id]
        assert [one.id for one in studio.knowledge.library.bases()] == [base.id]
        assert studio.knowledge.retrieve("乔絮的生日是哪天？", [base.id]).used


def test_rows_conflict_and_are_searched(url: str) -> None:
    with Database.open(url) as database:
        datasets = Datasets(database)
        dataset = datasets.create("对话", [Row("你喜欢什么？", "100% 的草莓_大福", "傲娇"), Row("a", "B", "活泼")])
        (found,) = datasets.page(dataset, wanted=Filter(search="100%")).rows
        assert datasets.page(dataset, wanted=Filter(search="草莓_")).total == 1
        assert datasets.page(dataset, wanted=Filter(search="b")).total == 1
        datasets.save(found.id, found.version, Row("问", "改过", "傲娇"))
        with pytest.raises(ConflictError):
            datasets.save(found.id, found.version, Row("问", "另一个", "傲娇"))


def test_steps_are_undone_snapshots_compared_and_the_bin_emptied(url: str) -> None:
    with Database.open(url) as database:
        datasets, snapshots = Datasets(database), Snapshots(database)
        dataset = datasets.create("对话", [Row(f"问{n}", "答", tags=("日常", "撒娇")[: n % 3]) for n in range(4)])
        before = datasets.rows(dataset)
        kept = snapshots.make(dataset, "一")
        assert datasets.page(dataset, wanted=Filter(tag="撒娇")).total == 1
        assert datasets.choices(dataset).tags == ("日常", "撒娇")
        first, *_, last = datasets.page(dataset).rows
        threads = [
            threading.Thread(target=datasets.add, args=(dataset, Row("新", str(number)), first.id))
            for number in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(datasets.rows(dataset)) == 10
        for _ in range(6):
            datasets.undo(dataset)
        assert datasets.rows(dataset) == before
        datasets.redo(dataset)
        datasets.delete_all(dataset, [last.id])
        assert snapshots.diff(kept.id).removed == (last.row,)
        assert datasets.empty_bin(dataset) >= 1
        snapshots.restore(kept.id)
        assert datasets.rows(dataset) == before[:3]


def test_documents_are_put_replaced_and_removed(url: str, tmp_path: Path) -> None:
    with Database.open(url) as database:
        knowledge = Knowledge(Settings(output_dir=tmp_path), database)
        base = knowledge.library.create("我的")
        for version in ("草莓", "柠檬"):
            document = knowledge.library.put(base, "a.txt", version, [Block("text", f"雪见喜欢{version}。")])
            assert [one.text for one in knowledge.search(version, [base])] == [f"雪见喜欢{version}。"]
        (chunk,) = knowledge.library.chunks(document)
        knowledge.library.switch(chunk.id, False)
        assert knowledge.search("柠檬", [base]) == []
        knowledge.library.remove(document)
        knowledge.library.remove_base(base)
        assert knowledge.library.bases() == []


def test_starts_at_once_import_what_ships_once(url: str) -> None:
    failed: list[BaseException] = []

    def start() -> None:
        try:
            with Database.open(url) as database:
                Datasets(database).import_shipped(DATA / "dataset.json")
        except StorageError as error:  # the second one of two migrations may be told so, and starts again
            failed.append(error)

    start()
    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Database.open(url) as database:
        assert len(Datasets(database).list()) == 1
    assert failed == []


def test_what_is_read_together_is_of_one_state(url: str) -> None:
    with Database.open(url) as database:
        datasets = Datasets(database)
        with database.together():
            assert datasets.list() == []
            other = threading.Thread(target=datasets.create, args=("一", [Row("问", "答")]))
            other.start()
            other.join()
            assert datasets.list() == []
        assert [one.name for one in datasets.list()] == ["一"]
