"""A model looks through what somebody has said: in a pause, of its answer only what counts, the rule where it fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ui_fakes import OWNER, VISITOR, open_studio

from anime_ai.chat.busy import Busy
from anime_ai.chat.elsewhere import converse
from anime_ai.chat.hearing import LISTENING, LONGEST, MOST_EACH, MOST_HEARD, Told, facts, question
from anime_ai.chat.turns import How, Turn
from anime_ai.config import Settings
from anime_ai.errors import ModelError
from anime_ai.models.bases import Base
from anime_ai.models.engine import Sampling
from anime_ai.studio import Studio
from anime_ai.ui.memory_panel import MemoryPanel

TOLD = (
    Told("a", "我叫小明，在南京上大学，最近养了只猫。"),
    Told("b", "你叫什么名字？"),
    Told("c", "杭州", "哦。你家在哪里？"),
    Told("d", "I work as a nurse and I hate coffee."),
)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("1|用户叫小明\n1|用户在南京上大学", [("用户叫小明", "a"), ("用户在南京上大学", "a")]),
        ("- 1｜用户养了只猫。\n1. 用户的名字叫小明", [("用户养了只猫", "a"), ("用户叫小明", "a")]),
        ("3|用户的家在杭州", [("用户的家在杭州", "c")]),
        ("4|用户works as a nurse", [("用户works as a nurse", "d")]),
        ("无", []),
        ("没有。", []),
        ("1|用户叫小红", []),  # not what was said
        ("1|用户在北京的海淀区工作", []),
        ("2|用户叫什么名字", []),  # a question
        ("2|用户没有提到名字", []),
        ("9|用户叫小明\n0|用户叫小明", []),  # no such message
        (f"1|用户叫小明{'很好' * LONGEST}", []),
        ("1|用户叫小明\n1|用户叫小明。\n1|用户名叫小明", [("用户叫小明", "a")]),
        ("好的，我来帮你记录！", None),
        ("", None),
        ("哼，才不会随便告诉你呢！", None),
    ],
)
def test_of_an_answer_only_that_counts_which_was_said(answer: str, found: list[tuple[str, str]] | None) -> None:
    assert facts(answer, TOLD, []) == found


def test_what_is_known_is_not_proposed_again_and_a_message_tells_only_so_much() -> None:
    assert facts("1|用户在南京上大学", TOLD, ["用户在南京上大学"]) == []
    assert facts("1|用户名叫小明", TOLD, ["用户叫小明"]) == []
    many = Told("a", "我喜欢苹果、香蕉、西瓜、葡萄、草莓")
    found = facts("\n".join(f"1|用户喜欢{one}" for one in ("苹果", "香蕉", "西瓜", "葡萄", "草莓")), [many], [])
    assert found is not None
    assert len(found) == MOST_EACH


def test_a_terse_answer_is_told_with_its_question_and_no_line_breaks_out() -> None:
    asked = question([*TOLD, Told("e", "第一行\n9. 第二行")], ["用户怕打雷"])
    assert asked.splitlines()[:2] == ["已经记下的：", "用户怕打雷"]
    assert "3. （被问：“你家在哪里？”）杭州" in asked.splitlines()
    assert asked.splitlines()[-1] == "5. 第一行 9. 第二行"


def test_a_pause_comes_when_nobody_is_answered_and_ends_when_somebody_is() -> None:
    busy, closed, began = Busy(), threading.Event(), threading.Event()
    seen: list[str] = []

    def rest() -> None:
        with busy.pause(0.0, closed) as stop:
            seen.append("rest")
            began.set()
            assert stop.wait(60)
            seen.append("asked")

    with busy.alone("me", "talk"):
        thread = threading.Thread(target=rest)
        thread.start()
        assert not began.wait(0.5), "somebody waits for an answer"
    assert began.wait(30)
    with busy.answering():
        thread.join(30)
    assert seen == ["rest", "asked"]
    closed.set()
    with busy.answering(), busy.pause(0.0, closed) as stop:
        assert stop.is_set(), "nothing is begun any more"


@pytest.fixture
def studio(tmp_path: Path, base: Base) -> Iterator[Studio]:
    """A studio on a base that is not the starter, whose answers are a queue."""
    with open_studio(tmp_path, model_name=str(base.path)) as found:
        found.listening.pause = 0.05
        yield found


def say(studio: Studio, talk: str, *said: str, person: str = VISITOR.id) -> None:
    for words in said:
        for _ in studio.chat.reply(person, talk, words):
            pass


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_model_proposes_in_a_pause_and_the_page_is_told(studio: Studio) -> None:
    panel, chat = MemoryPanel(studio), studio.chat
    talk = studio.conversations.start(VISITOR.id, "傲娇").id
    say(studio, talk, "我是写代码的，家在杭州")
    chat.answers = ["1|用户的家在杭州"]  # type: ignore[attr-defined]
    told = panel.notice_facts(VISITOR, talk)
    assert told[-1].active
    until(lambda: not studio.listening.waits(talk))
    told = panel.wait_for_facts(VISITOR, talk)
    assert told[0]["label"] == "她记得的事 · 0，还有 1 条等你确认"
    assert not told[-1].active
    assert "停下来几秒" in told[-2]
    (fact,) = studio.memory.list(VISITOR.id, "傲娇")
    assert (fact.text, fact.kept, fact.said) == ("用户的家在杭州", False, "我是写代码的，家在杭州")
    assert not studio.listening.notice(VISITOR.id, talk), "a message is looked at once"
    how = chat.hows[-1]  # type: ignore[attr-defined]
    assert (how.adapter_id, how.think, how.sampling.temperature) == ("", "silent", 0.0)


@pytest.mark.parametrize("answer", ["我是一个乐于助人的助手。", ModelError("model.remote_failed", server="x", why="y")])
def test_the_rule_is_taken_where_the_model_fails(studio: Studio, answer: Any) -> None:
    talk = studio.conversations.start(VISITOR.id, "傲娇").id
    say(studio, talk, "我叫小明")
    studio.chat.answers = [answer]  # type: ignore[attr-defined]
    assert studio.listening.notice(VISITOR.id, talk)
    until(lambda: not studio.listening.waits(talk))
    assert [fact.text for fact in studio.memory.list(VISITOR.id, "傲娇")] == ["用户叫小明"]


def test_who_asks_ends_the_listening_and_the_next_pause_begins_it_anew(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = studio.conversations.start(VISITOR.id, "傲娇").id
    say(studio, talk, "我叫小明")
    begun, speak, stops = threading.Event(), studio.chat._speak, []

    def slow(conversation: Any, turn: Turn, choice: Any, how: How) -> Any:
        if conversation.id == LISTENING and not begun.is_set():
            begun.set()
            assert how.stop is not None
            stops.append(how.stop.wait(60))
            return
        yield from speak(conversation, turn, choice, how)

    monkeypatch.setattr(studio.chat, "_speak", slow)
    studio.listening.notice(VISITOR.id, talk)
    assert begun.wait(30)
    studio.chat.answers = ["好。", "1|用户叫小明"]  # type: ignore[attr-defined]
    for _ in studio.chat.ask("在吗", "傲娇"):  # somebody else, elsewhere
        pass
    until(lambda: not studio.listening.waits(talk))
    assert stops == [True]
    assert [fact.text for fact in studio.memory.list(VISITOR.id, "傲娇")] == ["用户叫小明"]


def test_closing_ends_what_is_at_work(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = studio.conversations.start(VISITOR.id, "傲娇").id
    say(studio, talk, "我叫小明")
    begun, stops = threading.Event(), []

    def slow(conversation: Any, turn: Turn, choice: Any, how: How) -> Any:
        begun.set()
        assert how.stop is not None
        stops.append(how.stop.wait(20))
        yield from ()

    monkeypatch.setattr(studio.chat, "_speak", slow)
    assert studio.listening.notice(VISITOR.id, talk)
    assert begun.wait(30)
    studio.listening.close()
    assert stops == [True]
    assert studio.memory.list(VISITOR.id, "傲娇") == [], "it was not heard to the end"
    assert studio.memory.unheard(VISITOR.id, talk)


def test_another_programs_question_is_waited_for_too(studio: Studio) -> None:
    answer = converse(studio.chat, "owner", "傲娇", [("user", "在吗")], How())
    next(answer)
    closed = threading.Event()
    closed.set()
    with studio.chat.busy.pause(0.0, closed) as stop:
        assert stop.is_set()
    answer.close()
    with studio.chat.busy.pause(0.0, closed) as stop:
        assert not stop.is_set()


def test_more_than_fits_is_looked_through_in_several_pauses(studio: Studio) -> None:
    talk = studio.conversations.start(OWNER.id, "傲娇").id
    said = [f"我喜欢第{number}种颜色" for number in range(MOST_HEARD + 2)]
    say(studio, talk, *said, person=OWNER.id)
    studio.chat.answers = ["无", "2|用户喜欢第13种颜色"]  # type: ignore[attr-defined]
    studio.listening.notice(OWNER.id, talk)
    until(lambda: not studio.listening.waits(talk))
    assert [fact.said for fact in studio.memory.list(OWNER.id, "傲娇")] == [said[-1]]


def test_off_asks_no_model_and_what_was_removed_hurts_nobody(studio: Studio) -> None:
    studio.memory.set_way(VISITOR.id, "傲娇", "off")
    talk = studio.conversations.start(VISITOR.id, "傲娇").id
    say(studio, talk, "我叫小明")
    asked = len(studio.chat.hows)  # type: ignore[attr-defined]
    assert not studio.listening.notice(VISITOR.id, talk)
    studio.memory.set_way(VISITOR.id, "傲娇", "keep")
    say(studio, talk, "我喜欢画画")
    with studio.chat.busy.answering():
        assert studio.listening.notice(VISITOR.id, talk)
        studio.conversations.remove(VISITOR.id, talk)
    until(lambda: not studio.listening.waits(talk))
    assert studio.memory.list(VISITOR.id, "傲娇") == []
    assert len(studio.chat.hows) == asked + 1  # type: ignore[attr-defined]


def test_a_real_model_is_asked_with_the_prompt_and_forgets_it_with_the_fact(tmp_path: Path, base: Base) -> None:
    """The model of this test knows no language: the rule is taken."""
    settings = Settings(output_dir=tmp_path, model_name=str(base.path), engine="transformers")
    with Studio.open(settings) as studio:
        studio.listening.pause = 0.05
        talk = studio.chat.start(OWNER.id, "傲娇").id
        for _ in studio.chat.reply(OWNER.id, talk, "我叫小明", How("", Sampling(temperature=0.0, max_new_tokens=4))):
            pass
        assert studio.listening.notice(OWNER.id, talk)
        until(lambda: not studio.listening.waits(talk))
        (fact,) = studio.memory.list(OWNER.id, "傲娇")
        assert fact.text == "用户叫小明"
        engine: Any = studio.chat._engine
        kept = {key: engine.tokenizer().decode(cache.ids) for (_, key), cache in engine._caches.items()}
        assert "我叫小明<｜Assistant｜>" in kept[LISTENING]
        assert "1|用户在南京上大学" in kept[LISTENING]
        other = studio.chat.start(OWNER.id, "三无").id
        for _ in studio.chat.reply(OWNER.id, other, "在吗", How("", Sampling(temperature=0.0, max_new_tokens=4))):
            pass
        studio.memory.forget(OWNER.id, fact.id)
        assert studio.chat._engine is engine
        assert engine.loaded
        assert [key for _, key in engine._caches] == [other]


@pytest.mark.slow
def test_the_starter_keeps_the_rule_and_is_told_what_was_accepted(tmp_path: Path) -> None:
    with Studio.open(Settings(output_dir=tmp_path, model_name="starter")) as studio:
        panel = MemoryPanel(studio)
        talk = studio.chat.start(VISITOR.id, "傲娇").id
        adapter = studio.chat.adapters("傲娇")[0].id
        how = How(adapter, Sampling(temperature=0.0, max_new_tokens=24))
        for _ in studio.chat.reply(VISITOR.id, talk, "我叫小明，你好", how):
            pass
        told = panel.notice_facts(VISITOR, talk)
        assert not told[-1].active, "nothing is waited for"
        assert "入门小模型" in told[-2]
        (fact,) = studio.memory.list(VISITOR.id, "傲娇")
        studio.memory.accept(VISITOR.id, fact.id)
        filled = studio.chat.filling(VISITOR.id, talk, "我叫什么名字？", how)
        assert filled.facts > 0
        assert filled.history == 0, "what the page says of this engine"
        assert filled.dropped == 0
        for _ in studio.chat.reply(VISITOR.id, talk, "我叫什么名字？", how):
            pass
        assert "小明" in studio.conversations.get(VISITOR.id, talk).messages[-1].content
