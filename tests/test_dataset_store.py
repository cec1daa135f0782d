"""Datasets in the database: pages, edits, conflicts, and what must not be stored."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from anime_ai.config import DATA
from anime_ai.dataset.files import read_rows, write_rows
from anime_ai.dataset.pages import MOST_ON_A_PAGE, Filter
from anime_ai.dataset.records import StoredRow
from anime_ai.dataset.rows import MAX_CELL, Row
from anime_ai.dataset.store import MAX_NAME, SHIPPED_NAME, ConflictError, Datasets
from anime_ai.errors import DatasetError
from anime_ai.storage import Database, new_id

FULL = Row("早上好", "哼。", "傲娇", (("你好", "谁啊"), ("是我", "知道了")), "其实很高兴")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "studio.db") as opened:
        yield opened


@pytest.fixture
def datasets(database: Database) -> Datasets:
    return Datasets(database)


def numbered(count: int, persona: str = "") -> list[Row]:
    return [Row(f"问{number}", f"答{number}", persona) for number in range(count)]


def rows_of(datasets: Datasets, dataset: str, **named: object) -> list[StoredRow]:
    return list(datasets.page(dataset, wanted=Filter(**named)).rows)  # type: ignore[arg-type]


def test_rows_come_back_as_they_went_in(datasets: Datasets) -> None:
    rows = [FULL, Row("a", "b"), Row('<img src=x onerror="x()">', "%s {0} \\ ' \" 😀\u202e")]
    dataset = datasets.create("对话", iter(rows))
    assert datasets.rows(dataset) == rows
    assert [stored.row for stored in rows_of(datasets, dataset)] == rows
    assert [stored.position for stored in rows_of(datasets, dataset)] == [0, 1, 2]
    assert {stored.version for stored in rows_of(datasets, dataset)} == {1}


def test_list_counts_rows_and_personas(datasets: Datasets) -> None:
    assert datasets.list() == []
    first = datasets.create("一", [*numbered(1, "温柔"), *numbered(2, "傲娇"), Row("a", "b")])
    second = datasets.create("二", numbered(1))
    listed = datasets.list()
    assert [(info.id, info.rows, info.personas) for info in listed] == [(second, 1, ()), (first, 4, ("傲娇", "温柔"))]
    datasets.add(first, Row("c", "d", "冷静"))
    assert [info.id for info in datasets.list()] == [first, second], "what was changed last comes first"
    assert datasets.list()[0].updated >= listed[1].updated


def test_pages(datasets: Datasets) -> None:
    dataset = datasets.create("对话", numbered(60))
    page = datasets.page(dataset, number=2)
    assert (page.total, page.number, page.pages, len(page.rows)) == (60, 2, 3, 25)
    assert page.rows[0].row.input == "问25"
    assert len(datasets.page(dataset, number=3).rows) == 10
    for number, shown in ((99, 3), (10**30, 3), (0, 1), (-5, 1)):
        assert datasets.page(dataset, number=number).number == shown
    assert len(datasets.page(dataset, size=10**9).rows) == min(60, MOST_ON_A_PAGE)
    assert len(datasets.page(dataset, size=-1).rows) == 1
    nothing = datasets.page(dataset, wanted=Filter(search="没有这句"))
    assert (nothing.rows, nothing.total, nothing.number, nothing.pages) == ((), 0, 1, 1)


def test_search_takes_every_field_and_no_wildcards(datasets: Datasets) -> None:
    dataset = datasets.create(
        "对话", [FULL, Row("100%", "a_b"), Row("1000", "aXb"), Row("Hello", "/world\\"), Row("x", "y", "温柔")]
    )

    def found(search: str, persona: str = "") -> list[str]:
        return [stored.row.input for stored in rows_of(datasets, dataset, search=search, persona=persona)]

    for search in ("早上", "哼", "傲娇", "高兴", "知道了"):
        assert found(search) == ["早上好"]
    assert found("0%") == ["100%"]
    assert found("a_b") == ["100%"]
    assert found("hELLO") == ["Hello"]
    assert found("/") == found("\\") == found("/world\\") == ["Hello"]
    assert found("'; DROP TABLE rows; --") == []
    assert found("  ") == found("") == ["早上好", "100%", "1000", "Hello", "x"]
    assert found("", persona="温柔") == ["x"]
    assert found("早上", persona="温柔") == []


def test_save_makes_a_new_version(datasets: Datasets) -> None:
    dataset = datasets.create("对话", numbered(2))
    before = rows_of(datasets, dataset)[0]
    saved = datasets.save(before.id, before.version, FULL)
    assert saved == StoredRow(before.id, 2, 0, FULL) == datasets.row(before.id)
    assert datasets.rows(dataset) == [FULL, numbered(2)[1]]


def test_an_old_version_is_a_conflict_with_both_texts(datasets: Datasets) -> None:
    dataset = datasets.create("对话", numbered(1))
    before = rows_of(datasets, dataset)[0]
    theirs = datasets.save(before.id, 1, Row("{她们}", "的"))
    with pytest.raises(ConflictError) as conflict:
        datasets.save(before.id, 1, Row("我的", "<b>文字</b>"))
    assert conflict.value.theirs == theirs
    assert conflict.value.mine == Row("我的", "<b>文字</b>")
    for language in ("zh", "en"):
        message = conflict.value.say(language)
        assert "{她们} → 的" in message
        assert "我的 → <b>文字</b>" in message
    with pytest.raises(ConflictError) as conflict:
        datasets.delete(before.id, 1)
    assert conflict.value.mine is None
    assert "{她们} → 的" in conflict.value.say("zh")
    assert datasets.row(before.id) == theirs
    with pytest.raises(ConflictError) as conflict:
        datasets.save(before.id, 10**9, Row("长" * 5000, "答"))
    assert len(conflict.value.say("zh")) < 500
    assert conflict.value.mine == Row("长" * 5000, "答")


def test_of_two_threads_exactly_one_wins(datasets: Datasets) -> None:
    dataset = datasets.create("对话", numbered(1))
    row = rows_of(datasets, dataset)[0].id
    for round_number in range(1, 11):
        won: list[StoredRow] = []
        lost: list[ConflictError] = []
        gate = threading.Barrier(2)

        def save(
            mine: Row, version: int = round_number, gate: threading.Barrier = gate, won: list = won, lost: list = lost
        ) -> None:
            gate.wait()
            try:
                won.append(datasets.save(row, version, mine))
            except ConflictError as error:
                lost.append(error)

        rows = [Row(f"{who}{round_number}", "答") for who in "甲乙"]
        threads = [threading.Thread(target=save, args=(mine,)) for mine in rows]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(won), len(lost)) == (1, 1)
        assert datasets.row(row) == won[0] == lost[0].theirs
        assert {won[0].row, lost[0].mine} == set(rows)


def test_add_stands_last(datasets: Datasets) -> None:
    dataset = datasets.create("对话", numbered(2))
    added = datasets.add(dataset, FULL)
    assert (added.version, added.position, added.row) == (1, 2, FULL)
    datasets.delete(added.id, 1)
    again = datasets.add(dataset, FULL)
    assert again.position == 3, "the place of a deleted row stays free for its return"
    assert datasets.rows(dataset) == [*numbered(2), FULL]


def test_delete_and_restore(datasets: Datasets) -> None:
    dataset = datasets.create("对话", numbered(3))
    middle = rows_of(datasets, dataset)[1]
    datasets.delete(middle.id, 1)
    assert [row.input for row in datasets.rows(dataset)] == ["问0", "问2"]
    assert datasets.list()[0].rows == 2
    assert datasets.page(dataset, wanted=Filter(search="问1")).total == 0
    for call in (
        lambda: datasets.row(middle.id),
        lambda: datasets.save(middle.id, 2, FULL),
        lambda: datasets.delete(middle.id, 2),
    ):
        with pytest.raises(DatasetError) as gone:
            call()
        assert gone.value.key == "dataset.row_gone"
    restored = datasets.restore(middle.id)
    assert (restored.row, restored.position, restored.version) == (middle.row, 1, 3)
    assert datasets.restore(middle.id) == restored
    assert datasets.rows(dataset) == numbered(3)


def test_remove_takes_the_rows_along(datasets: Datasets, database: Database) -> None:
    kept, gone = datasets.create("留", numbered(2)), datasets.create("走", numbered(3))
    row = rows_of(datasets, gone)[0].id
    datasets.remove(gone)
    assert [info.id for info in datasets.list()] == [kept]
    assert len(datasets.rows(kept)) == 2
    for call in (
        lambda: datasets.rows(gone),
        lambda: datasets.page(gone),
        lambda: datasets.add(gone, FULL),
        lambda: datasets.rename(gone, "x"),
        lambda: datasets.remove(gone),
        lambda: datasets.find(gone),
        lambda: datasets.find("走"),
        lambda: datasets.find(""),
        lambda: datasets.find(new_id()),
    ):
        with pytest.raises(DatasetError) as unknown:
            call()
        assert unknown.value.key == "dataset.unknown"
    with pytest.raises(DatasetError):
        datasets.restore(row)
    assert datasets.create("走", numbered(1)), "the name is free again"
    assert datasets.find("走").name == "走"


@pytest.mark.parametrize("name", ["../../etc", "CON", "a/b", "名" * 300, "🎀", "<b>x</b>", "{0}", "%"])
def test_names_are_data(datasets: Datasets, name: str) -> None:
    dataset = datasets.create(name, numbered(1))
    assert len(dataset) == 32
    assert dataset.isalnum()
    assert datasets.find(name).id == datasets.find(dataset).id == dataset
    assert datasets.find(name).name == name


@pytest.mark.parametrize("name", ["", " \n", "x" * (MAX_NAME + 1), "a\0b", "\ud800"])
def test_useless_names(datasets: Datasets, name: str) -> None:
    dataset = datasets.create("好", numbered(1))
    for call in (lambda: datasets.create(name, numbered(1)), lambda: datasets.rename(dataset, name)):
        with pytest.raises(DatasetError) as refused:
            call()
        assert refused.value.key == "dataset.name"
    assert [info.name for info in datasets.list()] == ["好"]


def test_taken_names(datasets: Datasets) -> None:
    ids = [datasets.create(" 对话\n", numbered(1)) for _ in range(3)]
    assert {info.id: info.name for info in datasets.list()} == dict(
        zip(ids, ("对话", "对话 (2)", "对话 (3)"), strict=True)
    )
    with pytest.raises(DatasetError) as refused:
        datasets.rename(ids[0], "对话 (2)")
    assert refused.value.key == "dataset.name_taken"
    datasets.rename(ids[0], "对话")
    datasets.rename(ids[0], "新名字")
    assert datasets.find("新名字").id == ids[0]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (Row("", "b"), "input"),
        (Row("a", " "), "output"),
        (Row("a", "b" * (MAX_CELL + 1)), str(MAX_CELL)),
        (Row("a", "b", history=(("问", ""),)), "history"),
        (Row("a\0", "b"), "NUL"),
        (Row("a", "\ud800"), "NUL"),
        (Row("a", 5), "output"),  # type: ignore[arg-type]
    ],
)
def test_bad_rows_are_never_stored(datasets: Datasets, row: Row, why: str) -> None:
    dataset = datasets.create("好", numbered(1))
    stored = rows_of(datasets, dataset)[0]
    for call in (
        lambda: datasets.create("坏", [*numbered(3), row]),
        lambda: datasets.add(dataset, row),
        lambda: datasets.save(stored.id, 1, row),
    ):
        with pytest.raises(DatasetError) as refused:
            call()
        assert refused.value.key == "dataset.bad_row"
        assert why in refused.value.say("zh")
    assert datasets.rows(dataset) == numbered(1)
    assert len(datasets.list()) == 1


def test_first_bad_row_is_named_and_nothing_is_left(datasets: Datasets) -> None:
    with pytest.raises(DatasetError, match="4321"):
        datasets.create("坏", [*numbered(4320), Row("a", "")])
    with pytest.raises(DatasetError) as empty:
        datasets.create("空", [])
    assert empty.value.key == "dataset.no_rows"
    assert datasets.list() == []


def test_shipped_dataset_comes_once(datasets: Datasets, tmp_path: Path) -> None:
    path = DATA / "dataset.json"
    dataset = datasets.import_shipped(path)
    assert dataset is not None
    assert datasets.find(SHIPPED_NAME).id == dataset
    assert datasets.rows(dataset) == list(read_rows(path).rows)
    assert datasets.import_shipped(path) is None
    assert not datasets.shipped_changed(path)
    newer = tmp_path / "dataset.json"
    write_rows(newer, numbered(2))
    assert datasets.import_shipped(newer) is None
    assert datasets.shipped_changed(newer)
    assert len(datasets.list()) == 1
    datasets.remove(dataset)
    assert datasets.import_shipped(path) is None, "what the user removed does not come back"
    assert datasets.list() == []
    datasets.create("新版", numbered(2), sha256=read_rows(newer).sha256)
    assert not datasets.shipped_changed(newer)


@pytest.mark.parametrize("content", ["", "[", "{}", '[{"input": "a"}]'])
def test_broken_shipped_dataset_leaves_nothing(datasets: Datasets, tmp_path: Path, content: str) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError):
        datasets.import_shipped(path)
    with pytest.raises(DatasetError):
        datasets.import_shipped(tmp_path / "missing.json")
    assert datasets.list() == []
    write_rows(path, numbered(1))
    assert datasets.import_shipped(path) is not None


def test_the_same_file_twice_is_noticed(datasets: Datasets) -> None:
    assert datasets.by_sha256("ab" * 32) is None
    dataset = datasets.create("一", numbered(1), source="a.json", sha256="ab" * 32)
    found = datasets.by_sha256("ab" * 32)
    assert found is not None
    assert found.id == dataset
    datasets.remove(dataset)
    assert datasets.by_sha256("ab" * 32) is None


def test_unknown_row(datasets: Datasets) -> None:
    for call in (
        lambda: datasets.row(new_id()),
        lambda: datasets.save(new_id(), 1, FULL),
        lambda: datasets.delete(new_id(), 1),
        lambda: datasets.restore(new_id()),
    ):
        with pytest.raises(DatasetError):
            call()


def test_hundred_thousand_rows(datasets: Datasets) -> None:
    dataset = datasets.create("大", (Row(f"问题{number}", f"回答{number}", "傲娇") for number in range(100_000)))
    page = datasets.page(dataset, number=4000)
    assert (page.total, page.number, page.rows[-1].row.input) == (100_000, 4000, "问题99999")
    assert datasets.page(dataset, wanted=Filter(search="题9999")).total == 11
    assert datasets.list()[0].rows == 100_000


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_killed_import_leaves_no_half_dataset(datasets: Datasets, tmp_path: Path) -> None:
    before = datasets.create("早先", numbered(5))
    code = (
        "import pathlib, time\n"
        "from anime_ai.dataset.rows import Row; from anime_ai.dataset.store import Datasets\n"
        "from anime_ai.storage import Database\n"
        "def rows():\n"
        "    for number in range(20_000):\n"
        "        yield Row('问' * 100, '答' * 100)\n"
        "    print('writing', flush=True); time.sleep(60)\n"
        f"Datasets(Database.open(pathlib.Path({str(tmp_path / 'studio.db')!r}))).create('一半', rows())"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == b"writing"
        assert [info.name for info in datasets.list()] == ["早先"], "others read meanwhile"
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert [info.name for info in datasets.list()] == ["早先"]
    assert datasets.rows(before) == numbered(5)
    assert datasets.create("一半", numbered(1))
