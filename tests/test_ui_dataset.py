"""The dataset tab's handlers, called as functions on a real database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dataset_page import EDITOR, EVIL, told, view
from ui_fakes import OWNER, open_studio

from anime_ai.dataset.pages import Filter
from anime_ai.dataset.rows import Row
from anime_ai.errors import DatasetError
from anime_ai.studio import Studio
from anime_ai.ui import bulk, checking, editing, keeping
from anime_ai.ui.dataset_tab import DatasetTab
from anime_ai.ui.rows import history_text, parse_history


@pytest.fixture(autouse=True)
def _no_toasts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bulk, checking, editing, keeping):
        monkeypatch.setattr(module, "note", lambda line, language: None)


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


class Happened:
    """What Gradio hands over when something on the page was clicked."""

    def __init__(self, **data: Any) -> None:
        self._data = data


def cells(input: Any, output: Any, persona: Any = "傲娇", inner: Any = "", history: Any = "", **more: Any) -> list[Any]:
    names = ("system", "rejected", "tags", "draft")
    return [input, output, persona, inner, history, *(more.get(name, "") for name in names)]


# Browsing


def test_the_grid_carries_one_page_and_the_rows_ids(tab: DatasetTab, studio: Studio) -> None:
    shown = told(tab.editing.arrive(OWNER, *view("")))
    info = studio.datasets.find(shown["dataset"]["value"])
    assert shown["grid"].count("<tr data-row=") == 25
    assert studio.datasets.page(info.id).rows[0].id in shown["grid"]
    assert str(info.rows) in shown["pager"]
    assert shown["number"] == 1
    assert [value for _, value in shown["persona"]["choices"]] == ["", *info.personas]
    assert info.id in shown["exports"]
    assert not shown["undo"]["interactive"]


def test_pages_go_forth_and_back_and_stay_within_bounds(tab: DatasetTab, studio: Studio) -> None:
    dataset = studio.datasets.list()[0].id
    last = studio.datasets.page(dataset).pages
    assert told(tab.editing.later(OWNER, *view(dataset)))["number"] == 2
    assert told(tab.editing.earlier(OWNER, *view(dataset)))["number"] == 1
    assert told(tab.editing.later(OWNER, *view(dataset, 10**30)))["number"] == last
    assert told(tab.editing.later(OWNER, *view(dataset, "nonsense")))["number"] == 2


def test_search_and_filter_find_or_say_that_there_is_nothing(tab: DatasetTab, studio: Studio) -> None:
    dataset = studio.datasets.list()[0].id
    assert "EVA" in told(tab.editing.look(OWNER, *view(dataset, search="EVA")))["grid"]
    assert "没有找到" in told(tab.editing.look(OWNER, *view(dataset, search="没有这句话吧")))["grid"]
    grid = told(tab.editing.look(OWNER, *view(dataset, persona="温柔")))["grid"]
    assert re.findall(r'<td class="voice"><div>(.*?)</div>', grid) == ["温柔"] * 25


def test_without_any_dataset_the_page_says_what_to_do(tab: DatasetTab, studio: Studio) -> None:
    for info in studio.datasets.list():
        studio.datasets.remove(info.id)
    assert "导入" in told(tab.editing.arrive(OWNER, *view("")))["grid"]


def test_markup_in_names_and_rows_is_only_text(tab: DatasetTab, studio: Studio) -> None:
    row = Row(EVIL, EVIL, "<b>角色</b>", ((EVIL, EVIL),), EVIL, EVIL, EVIL, (EVIL[:40],))
    dataset = studio.datasets.create(f"名{EVIL}", [row], source=EVIL)
    stored = studio.datasets.page(dataset).rows[0]
    shown = told(tab.editing.choose_dataset(OWNER, dataset))
    talk = dict(zip(EDITOR, tab.editing.choose_row(OWNER, Happened(row=stored.id)), strict=True))["talk"]
    for part in (shown["grid"], shown["pager"], shown["exports"], talk):
        assert "<img" not in part
        assert "<b>角" not in part
    assert "&lt;img" in shown["grid"]
    assert "&lt;img" in talk


# Editing


def test_a_row_is_chosen_changed_and_saved(tab: DatasetTab, studio: Studio, small: str) -> None:
    row = studio.datasets.page(small).rows[1]
    state, *shown = tab.editing.choose_row(OWNER, Happened(row=row.id))
    assert shown[:3] == ["问1", "答1", "傲娇"]
    written = cells("问1", "新的答", "傲娇", "其实……", "用户：早\n她：早。", tags="日常，撒娇,日常", rejected="滚")
    saved = told(tab.editing.save(OWNER, state, *view(small), *written))
    wanted = Row("问1", "新的答", "傲娇", (("早", "早。"),), "其实……", "", "滚", ("日常", "撒娇"))
    assert studio.datasets.row(row.id).row == wanted
    assert "新的答" in saved["grid"]
    assert 'class="chosen"' in saved["grid"]
    assert saved["editor.state"]["version"] == 2
    assert "早。" in saved["editor.talk"]
    assert "修改" in saved["undo"]["value"]


def test_the_second_of_two_savers_sees_both_texts_and_chooses(tab: DatasetTab, studio: Studio, small: str) -> None:
    row = studio.datasets.page(small).rows[0]
    state = tab.editing.choose_row(OWNER, Happened(row=row.id))[0]
    tab.editing.save(OWNER, state, *view(small), *cells("问0", "先存的"))
    answer = told(tab.editing.save(OWNER, state, *view(small), *cells("问0", f"后存的{EVIL}")))
    box = answer["editor.conflict"]
    assert "先存的" in box
    assert "后存的" in box
    assert "<img" not in box
    assert answer["editor.resolving"]["visible"]
    assert studio.datasets.row(row.id).row.output == "先存的"
    theirs = told(tab.editing.keep_theirs(OWNER, answer["editor.state"], *view(small)))
    assert theirs["editor.output"] == "先存的"
    again = told(tab.editing.save(OWNER, answer["editor.state"], *view(small), *cells("问0", "后存的")))
    assert again["editor.conflict"] == ""
    assert studio.datasets.row(row.id).row.output == "后存的"


def test_rows_are_added_deleted_and_every_step_is_taken_back(tab: DatasetTab, studio: Studio, small: str) -> None:
    tab.editing.add(OWNER, *view(small), *cells("问3", "答3"))
    tab.editing.save(OWNER, tab.editing.fresh(OWNER)[0], *view(small), *cells("问4", "答4"))
    for lost in ({}, None, "nonsense"):  # to save is never to add
        with pytest.raises(DatasetError):
            tab.editing.save(OWNER, lost, *view(small), *cells("问5", "答5"))
    assert [row.input for row in studio.datasets.rows(small)] == ["问0", "问1", "问2", "问3", "问4"]
    row = studio.datasets.page(small).rows[2]
    shown = told(tab.editing.delete(OWNER, {"id": row.id, "version": row.version}, *view(small)))
    assert "删除" in shown["undo"]["value"]
    assert len(studio.datasets.rows(small)) == 4
    assert "重做" in told(tab.editing.undo(OWNER, *view(small)))["redo"]["value"]
    assert len(studio.datasets.rows(small)) == 5
    tab.editing.redo(OWNER, *view(small))
    assert len(studio.datasets.rows(small)) == 4
    for _ in range(3):
        tab.editing.undo(OWNER, *view(small))
    assert len(studio.datasets.rows(small)) == 3
    with pytest.raises(DatasetError):
        tab.editing.undo(OWNER, *view(small))
    with pytest.raises(DatasetError):
        tab.editing.delete(OWNER, {}, *view(small))


@pytest.mark.parametrize(
    "written",
    [
        *(cells("", "答"), cells("问", " "), cells("问", "答", "", "", "没有人说"), [None] * 9),
        cells("问", "答", tags="长" * 41),
    ],
)
def test_a_row_that_cannot_be_used_is_not_stored(
    tab: DatasetTab, studio: Studio, small: str, written: list[Any]
) -> None:
    with pytest.raises(DatasetError):
        tab.editing.add(OWNER, *view(small), *written)
    assert len(studio.datasets.rows(small)) == 3


def test_a_dialogue_is_split(tab: DatasetTab, studio: Studio) -> None:
    dataset = studio.datasets.create("一", [Row("c", "d", "甲", (("a", "b"),))])
    row = studio.datasets.page(dataset).rows[0]
    tab.editing.split(OWNER, {"id": row.id, "version": 1}, 1, *view(dataset))
    assert [(one.input, one.history) for one in studio.datasets.rows(dataset)] == [("a", ()), ("c", ())]


@pytest.mark.parametrize("row", ["", "nothing", "../x", None, 5])
def test_a_row_that_is_not_there_is_said(tab: DatasetTab, row: Any) -> None:
    with pytest.raises(DatasetError):
        tab.editing.choose_row(OWNER, Happened(row=row))


def test_history_is_written_and_read_back() -> None:
    history = (("早", "早。\n……干嘛"), ("没事", "哼"))
    assert parse_history(history_text(history)) == history
    assert parse_history("User: hi\nHer: hey") == (("hi", "hey"),)
    assert parse_history("") == ()
    for bad in ("她：先说", "用户：一\n用户：二", "用户：没有回答"):
        with pytest.raises(DatasetError):
            parse_history(bad)


# Several at once


def ids(studio: Studio, dataset: str, **wanted: str) -> list[str]:
    return studio.datasets.ids(dataset, Filter(**wanted))


def test_picked_rows_are_tagged_accepted_and_given_to_somebody(tab: DatasetTab, studio: Studio, small: str) -> None:
    first, second, third = ids(studio, small)
    assert tab.editing.pick(OWNER, Happened(rows=[first, second])) == [first, second]
    assert tab.editing.pick(OWNER, Happened(rows="nonsense")) == []
    shown = told(tab.bulk.tag(OWNER, False, "日常，撒娇", *view(small, picked=[first, second])))
    assert shown["grid"].count(" checked") == 2
    assert ids(studio, small, tag="撒娇") == [first, second]
    tab.bulk.untag(OWNER, False, "撒娇", *view(small, picked=[first]))
    assert ids(studio, small, tag="撒娇") == [second]
    tab.bulk.set_persona(OWNER, True, "温柔", *view(small))
    assert {row.persona for row in studio.datasets.rows(small)} == {"温柔"}
    stored = studio.datasets.add(small, Row("草", "稿", draft=True))
    assert "草稿 1" in told(tab.editing.look(OWNER, *view(small)))["pager"]
    tab.bulk.accept(OWNER, False, *view(small, picked=[stored.id]))
    assert ids(studio, small, status="draft") == []
    for call in (
        lambda: tab.bulk.tag(OWNER, False, "日常", *view(small)),
        lambda: tab.bulk.tag(OWNER, False, " ， ", *view(small, picked=[third])),
        lambda: tab.bulk.tag(OWNER, False, "日常", *view(small, picked=["gone"])),
        lambda: tab.bulk.replace_all(OWNER, False, "", "", "both", *view(small, picked=[third])),
    ):
        with pytest.raises(DatasetError):
            call()


def test_what_is_picked_stays_ticked_while_it_is_shown_and_is_not_picked_out_of_sight(
    tab: DatasetTab, studio: Studio, small: str
) -> None:
    first, second, third = ids(studio, small)
    looked = told(tab.editing.look(OWNER, *view(small, picked=[first, third], search="问0")))
    assert looked["picked"] == [first]
    assert looked["grid"].count(" checked") == 1
    row = studio.datasets.row(second)
    state = {"id": row.id, "version": row.version}
    saved = told(tab.editing.save(OWNER, state, *view(small, picked=[first, third]), *cells("问1", "新")))
    assert saved["picked"] == [first, third]
    assert saved["grid"].count(" checked") == 2
    assert told(tab.bulk.delete(OWNER, False, *view(small, picked=[first])))["picked"] == []
    assert told(tab.editing.look(OWNER, *view(small, picked="nonsense")))["picked"] == []


def test_a_replacement_is_shown_before_it_is_made(tab: DatasetTab, studio: Studio, small: str) -> None:
    studio.datasets.add(small, Row("问", f"问{EVIL}", history=(("问", "问"),)))
    shown = tab.bulk.preview(OWNER, True, "问", f"说{EVIL}", "output", *view(small))
    assert "1 行" in shown
    assert "<img" not in shown
    assert "没有哪一行" in tab.bulk.preview(OWNER, True, "没有", "", "both", *view(small))
    tab.bulk.replace_all(OWNER, True, "问", "说", "both", *view(small))
    assert [row.input for row in studio.datasets.rows(small)] == ["说0", "说1", "说2", "说"]
    assert studio.datasets.rows(small)[-1].history == (("说", "说"),)
    tab.editing.undo(OWNER, *view(small))
    assert studio.datasets.rows(small)[0].input == "问0"


def test_rows_are_merged_duplicated_binned_and_destroyed(tab: DatasetTab, studio: Studio, small: str) -> None:
    first, second, _ = ids(studio, small)
    tab.bulk.merge(OWNER, *view(small, picked=[second, first]))
    assert studio.datasets.rows(small)[0].history == (("问0", "答0"),)
    tab.bulk.duplicate(OWNER, *view(small, picked=[first]))
    assert [row.input for row in studio.datasets.rows(small)] == ["问1", "问1", "问2"]
    tab.bulk.delete(OWNER, True, *view(small, search="问1"))
    assert [row.input for row in studio.datasets.rows(small)] == ["问2"]
    binned = ids(studio, small, status="bin")
    tab.bulk.restore(OWNER, False, *view(small, status="bin", picked=binned[:1]))
    assert len(studio.datasets.rows(small)) == 2
    with pytest.raises(DatasetError):
        tab.bulk.empty_bin(OWNER, False, *view(small))
    tab.bulk.empty_bin(OWNER, True, *view(small))
    assert ids(studio, small, status="bin") == []


# Checks, snapshots, figures


def test_a_finding_leads_to_its_row_is_mended_and_the_mend_taken_back(tab: DatasetTab, studio: Studio) -> None:
    rows = [Row("早", "早。<|im_end|>", "甲"), Row("你好呀", "你好呀，今天想去哪里玩？", "甲")]
    dataset = studio.datasets.create("一", rows)
    box = tab.checking.run(OWNER, dataset)
    stored = studio.datasets.page(dataset).rows[0]
    assert stored.id in box
    assert "&lt;|im_end|&gt;" in box
    assert tab.checking.open_row(OWNER, Happened(row=stored.id))[1] == "早"
    happened = Happened(row=stored.id, key="control_token", field="output")
    answer = told(tab.checking.mend(OWNER, happened, *view(dataset)), "box")
    assert studio.datasets.row(stored.id).row.output == "早。"
    assert "im_end" not in answer["box"]
    tab.editing.undo(OWNER, *view(dataset))
    assert studio.datasets.rows(dataset) == rows
    tab.checking.mend_all(OWNER, *view(dataset))
    assert studio.datasets.rows(dataset)[0].output == "早。"
    with pytest.raises(DatasetError):
        tab.checking.mend_all(OWNER, *view(dataset))


def test_a_row_that_does_not_fit_is_found(tab: DatasetTab, studio: Studio) -> None:
    dataset = studio.datasets.create("长", [Row("问", "这句话很长，" * 400, "甲"), Row("早", "早。", "甲")])
    assert "512" in tab.checking.run(OWNER, dataset)


def test_a_snapshot_is_made_compared_brought_back_and_removed(tab: DatasetTab, studio: Studio, small: str) -> None:
    with pytest.raises(DatasetError):
        tab.keeping.compare(OWNER, "", "")
    lists = tab.keeping.make(OWNER, small, f"第一{EVIL}")
    chosen = lists[0]["value"]
    assert "没有区别" in tab.keeping.compare(OWNER, chosen, "")
    row = studio.datasets.page(small).rows[0]
    tab.editing.save(OWNER, {"id": row.id, "version": 1}, *view(small), *cells("改", f"了{EVIL}"))
    diff = tab.keeping.compare(OWNER, chosen, "")
    assert "改了 1 行" in diff
    assert "<img" not in diff
    tab.keeping.restore(OWNER, chosen, *view(small))
    assert studio.datasets.rows(small)[0] == row.row
    assert tab.keeping.remove(OWNER, small, chosen)[0]["value"] is None


def test_a_dataset_is_told_in_figures_and_a_row_as_the_model_reads_it(
    tab: DatasetTab, studio: Studio, small: str
) -> None:
    base = tab.seeing.arrive(OWNER)["value"]
    shown = tab.seeing.look(OWNER, studio.datasets.list()[-1].id, base)
    assert "傲娇" in shown
    assert "<svg" in shown
    row = studio.datasets.page(small).rows[0]
    seen = tab.seeing.row(OWNER, {"id": row.id}, base)
    learned = "".join(re.findall(r'<span class="trained">(.*?)</span>', seen))
    assert learned.startswith("答0")
    assert "问0" in "".join(re.findall(r'<span class="read">(.*?)</span>', seen))
    with pytest.raises(DatasetError):
        tab.seeing.row(OWNER, {}, base)
