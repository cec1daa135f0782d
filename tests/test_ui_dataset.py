"""The dataset tab's handlers, called as functions on a real database."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ui_fakes import OWNER, open_studio

from anime_ai.dataset.rows import Row
from anime_ai.errors import DatasetError
from anime_ai.studio import Studio
from anime_ai.ui import dataset_tab
from anime_ai.ui.dataset_tab import DatasetTab, history_text, parse_history

EVIL = '<img src=x onerror="alert(1)"> ${alert(1)} {{constructor}}'


@pytest.fixture(autouse=True)
def _no_toasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_tab, "note", lambda line, language: None)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with open_studio(tmp_path / "输出 folder") as found:
        yield found


@pytest.fixture
def tab(studio: Studio) -> DatasetTab:
    return DatasetTab(studio)


@pytest.fixture
def small(studio: Studio) -> str:
    return studio.datasets.create("三行", [Row(f"问{n}", f"答{n}", "傲娇") for n in range(3)])


class Chosen:
    """What Gradio hands over when a row of the grid is clicked."""

    def __init__(self, row: Any) -> None:
        self._data = {"row": row}


def uploaded(folder: Path, content: Any, name: str = "我的 对话.json") -> str:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode())
    return str(file)


def test_the_grid_carries_one_page_and_the_rows_ids(tab: DatasetTab, studio: Studio) -> None:
    dataset, persona, grid, number, line, link = tab.arrive(OWNER, None)[:6]
    info = studio.datasets.find(dataset["value"])
    assert grid.count("<tr data-row=") == 25
    assert studio.datasets.page(info.id).rows[0].id in grid
    assert str(info.rows) in line
    assert number == 1
    assert [value for _, value in persona["choices"]] == ["", *info.personas]
    assert info.id in link


def test_pages_go_forth_and_back_and_stay_within_bounds(tab: DatasetTab, studio: Studio) -> None:
    dataset = studio.datasets.list()[0].id
    assert tab.later(OWNER, dataset, 1, "", "")[3] == 2
    assert tab.earlier(OWNER, dataset, 1, "", "")[3] == 1
    last = studio.datasets.page(dataset).pages
    assert tab.later(OWNER, dataset, 10**30, "", "")[3] == last
    assert tab.later(OWNER, dataset, "nonsense", "", "")[3] == 2


def test_search_and_filter_find_or_say_that_there_is_nothing(tab: DatasetTab, studio: Studio) -> None:
    dataset = studio.datasets.list()[0].id
    assert "EVA" in tab.look(OWNER, dataset, "EVA", "")[2]
    assert "没有找到" in tab.look(OWNER, dataset, "没有这句话吧", "")[2]
    voices = re.findall(r'<td class="voice"><div>(.*?)</div>', tab.look(OWNER, dataset, "", "温柔")[2])
    assert voices == ["温柔"] * 25


def test_without_any_dataset_the_page_says_what_to_do(tab: DatasetTab, studio: Studio) -> None:
    for info in studio.datasets.list():
        studio.datasets.remove(info.id)
    assert "上传 JSON" in tab.arrive(OWNER, None)[2]


def test_a_row_is_chosen_changed_and_saved(tab: DatasetTab, studio: Studio, small: str) -> None:
    row = studio.datasets.page(small).rows[1]
    state, *cells, message = tab.choose_row(OWNER, Chosen(row.id))
    assert cells[:3] == ["问1", "答1", "傲娇"]
    assert message == ""
    saved = tab.save(OWNER, state, small, 1, "", "", "问1", "新的答", "傲娇", "其实……", "用户：早\n她：早。")
    assert studio.datasets.row(row.id).row == Row("问1", "新的答", "傲娇", (("早", "早。"),), "其实……")
    assert "新的答" in saved[2]
    assert 'class="chosen"' in saved[2]
    assert saved[6]["version"] == 2


def test_the_second_of_two_savers_sees_both_texts(tab: DatasetTab, studio: Studio, small: str) -> None:
    row = studio.datasets.page(small).rows[0]
    state = tab.choose_row(OWNER, Chosen(row.id))[0]
    tab.save(OWNER, state, small, 1, "", "", "问0", "先存的", "傲娇", "", "")
    answer = tab.save(OWNER, state, small, 1, "", "", "问0", f"后存的{EVIL}", "傲娇", "", "")
    box = answer[-1]
    assert "先存的" in box
    assert "后存的" in box
    assert "<img" not in box
    assert studio.datasets.row(row.id).row.output == "先存的"
    again = tab.save(OWNER, answer[6], small, 1, "", "", "问0", "后存的", "傲娇", "", "")
    assert again[-1] == ""
    assert studio.datasets.row(row.id).row.output == "后存的"


def test_rows_are_added_deleted_and_brought_back(tab: DatasetTab, studio: Studio, small: str) -> None:
    tab.add(OWNER, small, "问3", "答3", "傲娇", "", "")
    tab.save(OWNER, {}, small, 1, "", "", "问4", "答4", "傲娇", "", "")
    assert [row.input for row in studio.datasets.rows(small)] == ["问0", "问1", "问2", "问3", "问4"]
    row = studio.datasets.page(small).rows[2]
    *_, gone, undo = tab.delete(OWNER, {"id": row.id, "version": row.version}, small, 1, "", "")
    assert undo["visible"]
    assert len(studio.datasets.rows(small)) == 4
    tab.undo(OWNER, gone, small, 1, "", "")
    assert len(studio.datasets.rows(small)) == 5
    with pytest.raises(DatasetError):
        tab.delete(OWNER, {}, small, 1, "", "")


@pytest.mark.parametrize(
    "cells", [("", "答", "傲娇", "", ""), ("问", " ", "傲娇", "", ""), ("问", "答", "", "", "没有人说"), (None,) * 5]
)
def test_a_row_that_cannot_be_used_is_not_stored(
    tab: DatasetTab, studio: Studio, small: str, cells: tuple[Any, ...]
) -> None:
    with pytest.raises(DatasetError):
        tab.add(OWNER, small, *cells)
    assert len(studio.datasets.rows(small)) == 3


def test_markup_in_names_and_rows_is_only_text(tab: DatasetTab, studio: Studio) -> None:
    dataset = studio.datasets.create(f"名{EVIL}", [Row(EVIL, EVIL, "<b>角色</b>")])
    shown = tab.choose_dataset(OWNER, dataset)
    for part in (shown[2], shown[4], shown[5]):
        assert "<img" not in part
        assert "<b>角" not in part
    assert "&lt;img" in shown[2]


def test_a_file_is_imported_once(tab: DatasetTab, studio: Studio, tmp_path: Path) -> None:
    rows = [{"input": f"问{n}", "output": f"答{n}"} for n in range(3)]
    answer = tab.upload(OWNER, uploaded(tmp_path, rows), "")
    info = studio.datasets.find("我的 对话")
    assert info.rows == 3
    assert info.personas == ("傲娇",)
    assert answer[0]["value"] == info.id
    again = tab.upload(OWNER, uploaded(tmp_path, rows), "")
    assert "之前导入过" in again[6]
    assert len(studio.datasets.list()) == 2
    assert list(tab.uploads.iterdir()) == []
    assert not (tmp_path / "我的 对话.json").exists(), "nothing stays in the shared cache"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'[{"input": "a", "output": ', "第 1 行"),
        (b"[]", "没有对话"),
        (b"", "没有对话"),
        ('[{"input": "你好", "output": "哼"}]'.encode("gbk"), "gb18030"),
        (b"PAR1xxxx", "Parquet"),
        (b'{"input": "a"}', "列表"),
    ],
)
def test_a_file_that_cannot_be_read_is_said_and_leaves_nothing(
    tab: DatasetTab, studio: Studio, tmp_path: Path, content: bytes, line: str
) -> None:
    box = tab.upload(OWNER, uploaded(tmp_path, content, "<b>坏.json"), "")[6]
    assert line in box
    assert "&lt;b&gt;坏.json" in box, "the file is named as its owner named it"
    assert str(tmp_path) not in box
    assert len(studio.datasets.list()) == 1
    assert list(tab.uploads.iterdir()) == []


def test_bad_rows_are_named_and_the_good_ones_wait_for_a_word(tab: DatasetTab, studio: Studio, tmp_path: Path) -> None:
    rows = [{"input": "问", "output": "答"}, {"input": "没有答案"}, {"input": "", "output": EVIL}]
    answer = tab.upload(OWNER, uploaded(tmp_path, rows), "")
    box, pending, take, drop = answer[6:]
    assert "第 2 行" in box
    assert "第 3 行" in box
    assert take["visible"]
    assert len(studio.datasets.list()) == 1, "nothing is imported before"
    tab.import_good(OWNER, pending, "")
    assert studio.datasets.find("我的 对话").rows == 1
    assert list(tab.uploads.iterdir()) == []


def test_a_pending_file_is_found_by_our_id_only(tab: DatasetTab, tmp_path: Path) -> None:
    uploaded(tmp_path, [{"input": "a", "output": "b"}], "secret.json")
    for id in ("../../secret", "../secret", "", "x" * 32, "a" * 31 + "/"):
        with pytest.raises(DatasetError):
            tab.import_good(OWNER, {"id": id}, "")


def test_a_path_outside_the_cache_is_no_upload(
    tab: DatasetTab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    file = uploaded(tmp_path, [{"input": "a", "output": "b"}])
    with pytest.raises(DatasetError) as caught:
        tab.upload(OWNER, file, "")
    assert caught.value.key == "ui.upload_lost"
    assert Path(file).exists()


@pytest.mark.parametrize("row", ["", "nothing", "../x", None, 5])
def test_a_row_that_is_not_there_is_said(tab: DatasetTab, row: Any) -> None:
    with pytest.raises(DatasetError):
        tab.choose_row(OWNER, Chosen(row))


def test_history_is_written_and_read_back() -> None:
    history = (("早", "早。\n……干嘛"), ("没事", "哼"))
    assert parse_history(history_text(history)) == history
    assert parse_history("User: hi\nHer: hey") == (("hi", "hey"),)
    assert parse_history("") == ()
    for bad in ("她：先说", "用户：一\n用户：二", "用户：没有回答"):
        with pytest.raises(DatasetError):
            parse_history(bad)
