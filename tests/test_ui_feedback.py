"""Answers side by side, and what is thought of them, on the page: its handlers called as functions."""

from __future__ import annotations

import pytest
from test_ui_chat import LINE, PLAIN, act, conversation_of, happened
from ui_fakes import OWNER, VISITOR, FakeChat

from anime_ai.chat.feedback import NAME, VISITORS
from anime_ai.errors import AccessError, AnimeAIError, ModelError
from anime_ai.studio import Studio
from anime_ai.ui.chat_tab import ChatTab
from anime_ai.ui.comparing import recipe_of


@pytest.fixture
def tab(studio: Studio) -> ChatTab:
    return ChatTab(studio)


@pytest.fixture
def two_sides(chat: FakeChat, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = type(chat.adapters()[0])
    adapters = [choice("run:1", "三行", "傲娇", "starter"), choice("", "starter", "", "auto")]
    monkeypatch.setattr(chat, "adapters", lambda persona="", person="": adapters)
    monkeypatch.setattr(chat, "choice", lambda id, person="": next(one for one in adapters if one.id == id))


def test_both_sides_of_a_comparison_get_the_same_seed_and_the_pick_is_a_pair(
    tab: ChatTab, chat: FakeChat, studio: Studio, two_sides: None
) -> None:
    chat.answers = ["您好，<b>有什么可以帮您</b>？", "哼！"]
    assert [one["value"] for one in tab.contrast.offer_sides(OWNER, "傲娇", "run:1", None, None)] == ["", "run:1"]
    steps = list(tab.contrast.compare(OWNER, "你好", "傲娇", "", "run:1", "", "", *PLAIN[1:]))
    assert chat.seeds[0] == chat.seeds[1] is not None
    page, ask, _, told, picks = steps[-1]
    assert "您好，&lt;b&gt;有什么可以帮您&lt;/b&gt;？" in page
    assert "哼！" in page
    assert "<b>" not in page
    assert str(chat.seeds[0]) in page
    assert ask["visible"]
    assert picks["visible"]
    assert tab.contrast.pick_right(OWNER, told) == [{}, {"visible": False, "__type__": "update"}]
    (stored,) = studio.datasets.all(studio.datasets.find(NAME).id)
    row = stored.row
    assert (row.input, row.output, row.rejected, row.persona) == (
        "你好",
        "哼！",
        "您好，<b>有什么可以帮您</b>？",
        "傲娇",
    )
    assert not row.draft
    kept = studio.feedback.provenance(stored.id)
    assert kept["better"]["adapter"] == "run:1"
    assert kept["better"]["seed"] == kept["worse"]["seed"] == chat.seeds[0]
    for nothing in ({}, None, {"answers": ["a", "b"]}):
        with pytest.raises(AnimeAIError) as caught:
            tab.contrast.pick_left(OWNER, nothing)
        assert caught.value.key == "compare.nothing"


def test_one_adapter_on_two_engines_is_a_comparison_and_the_pick_knows_them(
    tab: ChatTab, studio: Studio, two_sides: None
) -> None:
    left, right = tab.contrast.offer_engines(OWNER)
    assert [value for _, value in left["choices"]] == ["", "transformers", "llamacpp"]
    assert left["visible"]
    steps = list(tab.contrast.compare(OWNER, "你好", "傲娇", "", "", "transformers", "llamacpp", *PLAIN[1:]))
    page, *_, told, _ = steps[-1]
    assert "· transformers" in page
    assert "· llama.cpp" in page
    assert [one["engine"] for one in told["provenance"]] == ["transformers", "llamacpp"]
    same = [("", ""), ("", tab.contrast.beside.current("")), ("llamacpp", "llamacpp")]
    for engines in same:
        with pytest.raises(AnimeAIError) as caught:
            next(tab.contrast.compare(OWNER, "你好", "傲娇", "", "", *engines, *PLAIN[1:]))
        assert caught.value.key == "compare.same_sides"
    with pytest.raises(AccessError):
        next(tab.contrast.compare(VISITOR, "你好", "傲娇", "", "", "transformers", "llamacpp", *PLAIN[1:]))
    with pytest.raises(ModelError) as wrong:
        list(tab.contrast.compare(OWNER, "你好", "傲娇", "", "", "", "../x", *PLAIN[1:]))
    assert wrong.value.key == "compare.no_engine"


def test_a_comparison_needs_two_sides(tab: ChatTab) -> None:
    with pytest.raises(AnimeAIError) as caught:
        next(tab.contrast.compare(VISITOR, "你好", "傲娇", "", "", "", "", *PLAIN[1:]))
    assert caught.value.key == "compare.same_sides"


def test_what_is_thought_of_an_answer_is_kept_once_a_visitor_knows(
    tab: ChatTab, chat: FakeChat, studio: Studio
) -> None:
    conversation = conversation_of(tab, VISITOR)
    list(tab.talking.send(VISITOR, "问", conversation, "", *PLAIN))
    answer = studio.conversations.get(VISITOR.id, conversation).messages[-1].id
    assert "data-notice" in tab.arrive(VISITOR)[LINE]
    with pytest.raises(AnimeAIError) as caught:
        act(tab, VISITOR, conversation, "up", answer)
    assert caught.value.key == "feedback.not_agreed"
    assert NAME not in [info.name for info in studio.datasets.list()]
    told = happened(act="up", id=answer, agreed=True)
    shown = list(tab.talking.act_on_message(VISITOR, told, conversation, "", *PLAIN))[-1][0]
    assert 'class="on" aria-pressed="true" data-act="up"' in shown
    assert "data-notice" not in shown
    (row,) = studio.datasets.rows(studio.datasets.find(NAME).id)
    assert row.draft
    assert VISITORS in row.tags


def test_feedback_is_trained_on_with_one_click(tab: ChatTab, chat: FakeChat, studio: Studio) -> None:
    gathering = tab.gathering
    assert "还没有反馈" in gathering.look_at_feedback(OWNER, "傲娇")
    with pytest.raises(AnimeAIError) as caught:
        gathering.train_on(OWNER, "傲娇", "")
    assert caught.value.key == "feedback.nothing"
    conversation = conversation_of(tab, OWNER)
    list(tab.talking.send(OWNER, "问", conversation, "", *PLAIN))
    answer = studio.conversations.get(OWNER.id, conversation).messages[-1].id
    act(tab, OWNER, conversation, "edit", answer, "她该这么说。")
    assert "1 条可用的反馈，其中 1 对" in gathering.look_at_feedback(OWNER, "傲娇")
    shipped = next(one for one in chat.adapters("傲娇") if one.path)
    gathering.train_on(OWNER, "傲娇", shipped.id)
    gathering.train_on(OWNER, "傲娇", "")
    plain, preferences = studio.runs.list()
    recipes = [recipe_of(run) for run in (plain, preferences)]
    assert [one["method"] for one in recipes] == ["sft", "dpo"]
    assert recipes[1]["start_from"] == str(shipped.path)
    assert recipes[0]["start_from"] == ""
    assert preferences.dataset == NAME
    assert preferences.snapshot
