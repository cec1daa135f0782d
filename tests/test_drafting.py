"""Drafts like some rows: what is asked, what is thrown away, how it is stopped; nobody trains on one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ui_fakes import OWNER, FakeChat, open_studio

from anime_ai.dataset.drafting import MOST_DRAFTS, Drafted, draft
from anime_ai.dataset.pages import Filter
from anime_ai.dataset.preprocess import preprocess
from anime_ai.dataset.rows import Row
from anime_ai.errors import DatasetError, ModelError
from anime_ai.persona.cards import Personas
from anime_ai.prompting import Layout
from anime_ai.studio import Studio
from anime_ai.ui.dataset_tab import DatasetTab

ROWS = [Row("早上好", "哼，才起床啊，太阳都晒到脚了。", "傲娇", tags=("日常",)), Row("晚安", "谁要你说晚安。", "傲娇")]


def run(answers: list[str], each: int = 1, stop: threading.Event | None = None) -> list[Drafted]:
    waiting = iter(answers)
    known = [row.output for row in ROWS]
    return list(draft(ROWS, known, lambda row: next(waiting), each, stop or threading.Event()))


def test_an_answer_becomes_a_draft_with_the_question_and_tags_of_its_row() -> None:
    *before, last = run([" 早什么早，面包在桌上。 ", "晚……晚安。别多想。"])
    assert [(one.written, one.wanted, one.done) for one in before] == [(1, 2, False), (2, 2, False)]
    assert last.done
    assert last.rows == (
        Row("早上好", "早什么早，面包在桌上。", "傲娇", tags=("日常",), draft=True),
        Row("晚安", "晚……晚安。别多想。", "傲娇", draft=True),
    )


def test_what_is_nearly_there_already_is_thrown_away() -> None:
    answers = ["哼，才起床啊，太阳都晒到脚了！", "把灯关上，我先睡了，明天见。", "把灯关上，我先睡了，明天见！", "  "]
    last = run(answers, each=2)[-1]
    assert [row.output for row in last.rows] == ["把灯关上，我先睡了，明天见。"]
    assert last.written == 3, "an empty answer is none"


def test_it_is_bounded_and_stopped_after_the_answer_at_hand() -> None:
    answers = [f"第{number}句完全不同的话，{chr(0x4E00 + 97 * number) * 9}。" for number in range(200)]
    assert len(run(answers, each=100)) == MOST_DRAFTS + 1
    stop = threading.Event()
    stop.set()
    *_, last = run(answers, each=5, stop=stop)
    assert len(last.rows) == 1


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with open_studio(tmp_path / "out") as found:
        yield found


def test_the_page_keeps_drafts_that_wait_to_be_accepted(studio: Studio) -> None:
    tab = DatasetTab(studio)
    dataset = studio.datasets.create("二", ROWS)
    chat: Any = studio.chat
    assert isinstance(chat, FakeChat)
    chat.answers = ["早什么早，面包在桌上。", "把灯关上，明天见。"]
    view = [dataset, 1, "", "", "", "", "", "order"]
    *_, last = tab.drafting.write(OWNER, 1, studio.datasets.ids(dataset, Filter()), *view)
    assert "留下 2 句" in last[-2]
    drafts = studio.datasets.page(dataset, wanted=Filter(status="draft")).rows
    assert [one.row.output for one in drafts] == ["早什么早，面包在桌上。", "把灯关上，明天见。"]
    assert {one.source for one in drafts} == {"draft"}
    studio.datasets.undo(dataset)
    assert studio.datasets.rows(dataset) == ROWS
    with pytest.raises(DatasetError):
        list(tab.drafting.write(OWNER, 1, [], *view))
    chat.answers = [ModelError("model.unknown", name="x")]
    with pytest.raises(ModelError):
        list(tab.drafting.write(OWNER, 1, studio.datasets.ids(dataset, Filter()), *view))
    assert studio.datasets.rows(dataset) == ROWS


def test_nobody_trains_on_drafts(tmp_path: Path, tiny_tokenizer: Any) -> None:
    layout = Layout(tiny_tokenizer, "auto", "silent")
    kept, waiting = Row("问", "答得好。", "傲娇"), Row("草", "稿。", "傲娇", draft=True)
    made = preprocess([kept, waiting], Personas(), layout, tmp_path / "data", max_length=256, seed=1, origin="test")
    assert (made.train, made.held_out, made.personas) == (1, 0, {"傲娇": 1})
    with pytest.raises(DatasetError) as caught:
        preprocess([waiting], Personas(), layout, tmp_path / "no", max_length=256, seed=1, origin="test")
    assert caught.value.key == "dataset.only_drafts"
    assert not (tmp_path / "no").exists()
