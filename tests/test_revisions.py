"""Steps of a dataset: undone and done again in any order, across restarts and kills; snapshots, their diff, the bin."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from anime_ai.dataset.pages import Filter
from anime_ai.dataset.revisions import KEPT
from anime_ai.dataset.rows import Row
from anime_ai.dataset.snapshots import Snapshots
from anime_ai.dataset.store import ConflictError, Datasets
from anime_ai.errors import DatasetError
from anime_ai.storage import Database, EditRecord, RevisionRecord, SnapshotRecord

FULL = Row("早", "哼。", "傲娇", (("你好", "谁啊"), ("是我", "知道了")), "高兴", "你是店员。", "滚。", ("日常",), True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "studio.db"


@pytest.fixture
def database(file: Path) -> Iterator[Database]:
    with Database.open(file) as opened:
        yield opened


@pytest.fixture
def datasets(database: Database) -> Datasets:
    return Datasets(database)


@pytest.fixture
def snapshots(database: Database) -> Snapshots:
    return Snapshots(database)


def numbered(count: int, persona: str = "甲") -> list[Row]:
    return [Row(f"问{number}", f"答{number}", persona) for number in range(count)]


def ids(datasets: Datasets, dataset: str) -> list[str]:
    return datasets.ids(dataset, Filter())


def test_every_field_comes_back(datasets: Datasets) -> None:
    dataset = datasets.create("一", [FULL])
    assert datasets.rows(dataset) == [FULL]
    (stored,) = datasets.page(dataset).rows
    datasets.save(stored.id, 1, Row("a", "b"))
    datasets.undo(dataset)
    assert datasets.rows(dataset) == [FULL]


def random_step(datasets: Datasets, dataset: str, chance: random.Random) -> None:
    there = datasets.page(dataset, size=200).rows
    one = chance.choice(there)
    several = chance.sample([row.id for row in there], min(3, len(there)))
    word = f"改{chance.random():.6f}"
    way = chance.randrange(7 if len(there) > 4 else 4)
    if way == 0:
        datasets.save(one.id, one.version, replace(one.row, output=word, tags=(word,)))
    elif way == 1:
        datasets.add(dataset, Row(word, word, "甲"), after=chance.choice(("", one.id)))
    elif way == 2:
        datasets.save_all(dataset, "tag", {row.id: replace(row.row, draft=not row.row.draft) for row in there[:3]})
    elif way == 3:
        datasets.extend(dataset, [replace(FULL, persona="甲", inner=word)], after=one.id)
    elif way == 4:
        datasets.delete(one.id, one.version)
    elif way == 5:
        datasets.merge(dataset, several)
    else:
        datasets.delete_all(dataset, several)


@pytest.mark.parametrize("seed", range(3))
def test_a_hundred_steps_are_taken_back_and_done_again_also_after_a_restart(file: Path, seed: int) -> None:
    chance = random.Random(seed)
    with Database.open(file) as database:
        datasets = Datasets(database)
        dataset = datasets.create("一", numbered(8))
        states = [datasets.rows(dataset)]
        while len(states) <= 100:
            random_step(datasets, dataset, chance)
            states.append(datasets.rows(dataset))
    with Database.open(file) as database:
        datasets = Datasets(database)
        for state in reversed(states[:-1]):
            assert datasets.undo(dataset).undone
            assert datasets.rows(dataset) == state
        with pytest.raises(DatasetError):
            datasets.undo(dataset)
        for state in states[1:]:
            assert not datasets.redo(dataset).undone
            assert datasets.rows(dataset) == state
        with pytest.raises(DatasetError):
            datasets.redo(dataset)


def test_a_new_step_ends_what_could_be_done_again(datasets: Datasets) -> None:
    dataset = datasets.create("一", numbered(2))
    datasets.add(dataset, Row("a", "b"))
    datasets.undo(dataset)
    datasets.add(dataset, Row("c", "d"))
    with pytest.raises(DatasetError):
        datasets.redo(dataset)
    assert [edit.kind for edit in datasets.steps(dataset)] == ["add"]
    assert [row.input for row in datasets.rows(dataset)] == ["问0", "问1", "c"]


def test_steps_are_kept_up_to_a_bound(datasets: Datasets, database: Database) -> None:
    dataset = datasets.create("一", numbered(1))
    for number in range(KEPT + 5):
        (one,) = datasets.page(dataset).rows
        datasets.save(one.id, one.version, Row("问", f"答{number}"))
    assert len(datasets.steps(dataset, 10**6)) == KEPT
    with database.reading() as session:
        assert len(list(session.scalars(select(RevisionRecord.edit_id)))) == KEPT


def test_a_save_that_changes_nothing_is_no_step(datasets: Datasets) -> None:
    dataset = datasets.create("一", numbered(1))
    (one,) = datasets.page(dataset).rows
    assert datasets.save(one.id, one.version, one.row).version == one.version
    assert datasets.steps(dataset) == []


def test_an_undo_makes_an_open_editor_conflict(datasets: Datasets) -> None:
    dataset = datasets.create("一", numbered(1))
    (one,) = datasets.page(dataset).rows
    saved = datasets.save(one.id, one.version, Row("新", "的"))
    datasets.undo(dataset)
    with pytest.raises(ConflictError) as caught:
        datasets.save(saved.id, saved.version, Row("又", "改"))
    assert caught.value.theirs.row == one.row


def test_many_rows_are_saved_together_or_not_at_all(datasets: Datasets) -> None:
    dataset = datasets.create("一", numbered(3))
    first, second, third = datasets.page(dataset).rows
    datasets.save(second.id, second.version, Row("她", "先"))
    wanted = {one.id: replace(one.row, tags=("t",)) for one in (first, second, third)}
    versions = {one.id: one.version for one in (first, second, third)}
    with pytest.raises(ConflictError):
        datasets.save_all(dataset, "tag", wanted, versions)
    with pytest.raises(DatasetError):
        datasets.save_all(dataset, "tag", {**wanted, "gone": FULL})
    other = datasets.create("二", numbered(1))
    with pytest.raises(DatasetError):
        datasets.save_all(other, "tag", wanted)
    assert not any(row.tags for row in datasets.rows(dataset))
    assert datasets.save_all(dataset, "tag", wanted) == 3
    assert len(datasets.steps(dataset)) == 2


def test_a_row_is_put_behind_another(datasets: Datasets) -> None:
    dataset = datasets.create("一", numbered(3))
    first, *_ = datasets.page(dataset).rows
    datasets.extend(dataset, [Row("a", "1"), Row("b", "2")], after=first.id, source="聊天")
    assert [row.input for row in datasets.rows(dataset)] == ["问0", "a", "b", "问1", "问2"]
    assert datasets.choices(dataset).sources == ("聊天",)


def test_copies_of_several_rows_stand_behind_them_and_are_one_step(datasets: Datasets) -> None:
    dataset = datasets.create("三行", [Row(f"问{n}", f"答{n}", "傲娇") for n in range(3)])
    ids = [one.id for one in datasets.page(dataset).rows]
    copies = datasets.duplicate(dataset, [ids[2], ids[0]])
    there = datasets.page(dataset).rows
    assert [one.row.input for one in there] == ["问0", "问0", "问1", "问2", "问2"]
    assert [there[1].id, there[4].id] == copies
    assert datasets.list()[0].rows == 5
    assert datasets.undo(dataset).rows == 2
    assert [one.id for one in datasets.page(dataset).rows] == ids
    assert datasets.list()[0].rows == 3


def test_a_search_counts_all_that_it_finds_on_every_page(datasets: Datasets) -> None:
    dataset = datasets.create("五行", [Row(f"问{n}", "答" if n % 2 else "说", "傲娇") for n in range(5)])
    for number, inputs in ((1, ["问0", "问2"]), (2, ["问4"]), (9, ["问4"])):
        page = datasets.page(dataset, number, 2, Filter("说"))
        assert ([one.row.input for one in page.rows], page.total, page.pages) == (inputs, 3, 2)
    page = datasets.page(dataset, 1, 2, Filter("说", sort="changed"))
    assert (len(page.rows), page.total) == (2, 3)
    assert datasets.page(dataset, 1, 2, Filter("没有")).total == 0


def test_a_dialogue_is_split_and_merged_again(datasets: Datasets) -> None:
    dataset = datasets.create("一", [FULL, Row("后", "面")])
    one = datasets.page(dataset).rows[0]
    first = datasets.split(one.id, one.version, 1)
    there = datasets.page(dataset).rows
    assert [len(stored.row.history) for stored in there] == [0, 1, 0]
    assert (first.row.input, first.row.output) == ("你好", "谁啊")
    assert there[1].row == replace(FULL, history=FULL.history[1:])
    merged = datasets.merge(dataset, [there[1].id, there[0].id])
    assert merged.row == FULL
    assert len(datasets.rows(dataset)) == 2
    datasets.undo(dataset)
    datasets.undo(dataset)
    assert datasets.rows(dataset) == [FULL, Row("后", "面")]
    for turn in (0, 3, -1, 99):
        with pytest.raises(DatasetError):
            datasets.split(one.id, datasets.row(one.id).version, turn)
    with pytest.raises(DatasetError):
        datasets.merge(dataset, [one.id, one.id])
    with pytest.raises(DatasetError):
        datasets.merge(dataset, ids(datasets, dataset))


FILTERS: list[tuple[Filter, list[str]]] = [
    (Filter("哼"), ["早"]),
    (Filter(tag="日常"), ["早"]),
    (Filter(tag="日"), []),
    (Filter(status="draft"), ["早"]),
    (Filter(status="accepted", persona="乙"), ["b", "长"]),
    (Filter(sort="longest"), ["长", "早", "b"]),
    (Filter(sort="shortest"), ["b", "早", "长"]),
    (Filter(sort="nonsense"), ["早", "b", "长"]),
    (Filter(search="店员"), ["早"]),
    (Filter(search="滚"), ["早"]),
    (Filter(search="%"), []),
    (Filter(source="file"), ["早", "b", "长"]),
    (Filter(source="other"), []),
]


@pytest.mark.parametrize(("wanted", "found"), FILTERS)
def test_rows_are_filtered_and_sorted(datasets: Datasets, wanted: Filter, found: list[str]) -> None:
    rows = [replace(FULL, output="哼。"), Row("b", "c", "乙"), Row("长", "长长长长", "乙", tags=("日常2",))]
    dataset = datasets.create("一", rows, source="file")
    assert [one.row.input for one in datasets.page(dataset, wanted=wanted).rows] == found
    assert len(datasets.ids(dataset, wanted)) == len(found)


def test_the_bin_is_seen_restored_and_emptied(
    datasets: Datasets, snapshots: Snapshots, database: Database, file: Path
) -> None:
    secret = "我的秘密手机号"
    dataset = datasets.create("一", [*numbered(3), Row(secret, "好")])
    snapshots.make(dataset, "全部")
    last = datasets.page(dataset).rows[-1]
    last = datasets.save(last.id, last.version, Row(secret, "好的", tags=(secret,)))
    datasets.delete(last.id, last.version)
    assert [one.id for one in datasets.page(dataset, wanted=Filter(status="bin")).rows] == [last.id]
    assert datasets.choices(dataset).binned == 1
    assert datasets.restore(last.id).row.output == "好的"
    datasets.undo(dataset)
    assert datasets.empty_bin(dataset) == 1
    assert datasets.empty_bin(dataset) == 0
    with pytest.raises(DatasetError):
        datasets.restore(last.id)
    with database.reading() as session:
        assert list(session.scalars(select(RevisionRecord.edit_id))) == []
        assert list(session.scalars(select(EditRecord.id))) == []
    (snapshot,) = snapshots.list(dataset)
    assert snapshot.rows == 3
    assert snapshots.rows(snapshot.id) == numbered(3)
    with pytest.raises(DatasetError):
        datasets.undo(dataset)


def test_what_is_undone_after_a_row_was_destroyed_leaves_the_others(datasets: Datasets) -> None:
    dataset = datasets.create("一", numbered(3))
    first, second, third = datasets.page(dataset).rows
    datasets.save_all(dataset, "tag", {one.id: replace(one.row, tags=("t",)) for one in (first, second, third)})
    datasets.delete_all(dataset, [third.id])
    datasets.empty_bin(dataset)
    datasets.undo(dataset)
    assert datasets.rows(dataset) == numbered(2)


def test_a_snapshot_is_kept_compared_and_brought_back(datasets: Datasets, snapshots: Snapshots) -> None:
    dataset = datasets.create("一", [*numbered(3), FULL])
    early = snapshots.make(dataset, "  第一 版 ")
    assert (early.name, early.rows) == ("第一 版", 4)
    assert not snapshots.diff(early.id)
    one, two, *_ = datasets.page(dataset).rows
    datasets.save(one.id, one.version, Row("改", "了"))
    datasets.delete(two.id, two.version)
    datasets.add(dataset, Row("新", "的"))
    late = snapshots.make(dataset, "第二版")
    for diff in (snapshots.diff(early.id), snapshots.diff(early.id, late.id)):
        assert diff.added == (Row("新", "的"),)
        assert diff.removed == (two.row,)
        assert diff.changed == ((one.row, Row("改", "了")),)
    before = datasets.rows(dataset)
    assert snapshots.restore(early.id) == 3
    assert datasets.rows(dataset) == [*numbered(3), FULL] == snapshots.rows(early.id)
    datasets.undo(dataset)
    assert datasets.rows(dataset) == before
    assert [snapshot.id for snapshot in snapshots.list(dataset)] == [late.id, early.id]
    snapshots.remove(early.id)
    calls: list[Callable[[], object]] = [
        lambda: snapshots.rows(early.id),
        lambda: snapshots.diff(early.id),
        lambda: snapshots.make(dataset, " "),
        lambda: snapshots.make("gone", "名"),
        lambda: snapshots.diff(late.id, snapshots.make(datasets.create("二", numbered(1)), "别的").id),
    ]
    for call in calls:
        with pytest.raises(DatasetError):
            call()


def test_a_run_finds_the_snapshot_that_stands_so(datasets: Datasets, snapshots: Snapshots) -> None:
    dataset = datasets.create("一", numbered(3))
    first = snapshots.of_now(dataset, "训练前")
    assert snapshots.of_now(dataset, "再训练") == first
    datasets.add(dataset, Row("新", "的"))
    assert snapshots.of_now(dataset, "三").id != first.id
    datasets.undo(dataset)
    assert snapshots.of_now(dataset, "四") == first


def test_an_empty_dataset_gives_no_snapshot_and_comes_back_from_an_earlier_one(
    datasets: Datasets, snapshots: Snapshots
) -> None:
    dataset = datasets.create("一", numbered(3))
    kept = snapshots.make(dataset, "一")
    datasets.delete_all(dataset, ids(datasets, dataset))
    with pytest.raises(DatasetError):
        snapshots.make(dataset, "空")
    assert snapshots.restore(kept.id) == 3
    assert datasets.rows(dataset) == numbered(3)
    assert snapshots.restore(kept.id) == 0


def test_a_removed_dataset_takes_its_steps_and_snapshots(
    datasets: Datasets, snapshots: Snapshots, database: Database
) -> None:
    dataset = datasets.create("一", numbered(3))
    datasets.add(dataset, FULL)
    snapshots.make(dataset, "一")
    datasets.remove(dataset)
    with database.reading() as session:
        for kind in (EditRecord.id, RevisionRecord.edit_id, SnapshotRecord.id):
            assert list(session.scalars(select(kind))) == []


def test_many_who_add_at_once_all_get_a_step(datasets: Datasets) -> None:
    dataset = datasets.create("一", numbered(1))
    threads = [threading.Thread(target=datasets.add, args=(dataset, Row("a", str(number)))) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(datasets.rows(dataset)) == 13
    for left in range(12, 0, -1):
        datasets.undo(dataset)
        assert len(datasets.rows(dataset)) == left


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_change_is_whole_or_absent(datasets: Datasets, file: Path) -> None:
    dataset = datasets.create("一", numbered(400))
    code = (
        "import pathlib\n"
        "from dataclasses import replace\n"
        "from anime_ai.dataset.store import Datasets\n"
        "from anime_ai.storage import Database\n"
        f"datasets = Datasets(Database.open(pathlib.Path({str(file)!r})))\n"
        "for number in range(10_000):\n"
        f"    there = datasets.page({dataset!r}, size=200).rows\n"
        "    wanted = {one.id: replace(one.row, inner=str(number)) for one in there}\n"
        f"    datasets.save_all({dataset!r}, 'replace', wanted)\n"
        "    print('go', flush=True)\n"
    )
    chance = random.Random(1)
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline().strip() == b"go"
            threading.Event().wait(0.3 + chance.random())
            child.send_signal(signal.SIGKILL)
            child.wait()
        inner = {row.inner for row in datasets.rows(dataset)[:200]}
        assert len(inner) == 1, "no edit is half there"
        steps = datasets.steps(dataset, 2)
        assert all(step.rows == 200 for step in steps)
        datasets.undo(dataset)
        assert len({row.inner for row in datasets.rows(dataset)[:200]}) == 1
        datasets.redo(dataset)
        assert {row.inner for row in datasets.rows(dataset)[:200]} == inner
