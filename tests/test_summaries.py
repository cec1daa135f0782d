"""What has left the prompt: sentences of it at once, a model's summary in a pause, a person's own words."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ui_fakes import VISITOR, open_studio

from anime_ai.chat import retelling
from anime_ai.chat.conversations import Conversation
from anime_ai.chat.hearing import LISTENING
from anime_ai.chat.summaries import LONGEST, ROOM, Summaries
from anime_ai.chat.tree import Message
from anime_ai.chat.turns import How, Turn
from anime_ai.config import Settings
from anime_ai.errors import AccessError, AnimeAIError, ModelError
from anime_ai.models.bases import Base
from anime_ai.models.engine import Sampling
from anime_ai.studio import Studio

ME = VISITOR.id
SAID = ("我想去海边看灯塔，你去吗", "灯塔下面有一家书店", "书店里有一只猫", "猫叫团子，是橘色的")
TOLD = "用户想去海边看灯塔\n- 灯塔下面的书店里有一只猫。"


@pytest.fixture
def studio(tmp_path: Path, base: Base) -> Iterator[Studio]:
    """A studio on a base that is not the starter, whose answers are a queue."""
    with open_studio(tmp_path, model_name=str(base.path)) as found:
        found.listening.pause = 0.05
        yield found


@pytest.fixture
def turns(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> list[Turn]:
    """The turns of conversations that the chat is given to answer."""
    given: list[Turn] = []
    speak = studio.chat._speak

    def watched(conversation: Conversation, turn: Turn, choice: Any, how: How) -> Any:
        if conversation.id != LISTENING:
            given.append(turn)
        return speak(conversation, turn, choice, how)

    monkeypatch.setattr(studio.chat, "_speak", watched)
    return given


def say(studio: Studio, talk: str, *said: str, dropped: int = 0) -> None:
    """Say something; with `dropped`, as if so many exchanges had left the prompt of the last answer."""
    for words in said:
        for _ in studio.chat.reply(ME, talk, words):
            pass
    if dropped:
        last = studio.conversations.get(ME, talk).messages[-1]
        studio.conversations.update(ME, last.id, last.content, meta={**last.meta, "dropped": dropped})


def begun(studio: Studio, said: Sequence[str] = SAID, dropped: int = 3) -> str:
    """A conversation of which `dropped` exchanges have left, with one more question behind that."""
    studio.memory.set_way(ME, "傲娇", "off")
    talk = studio.conversations.start(ME, "傲娇").id
    say(studio, talk, *said, dropped=dropped)
    say(studio, talk, "今天吃什么", dropped=dropped)
    return talk


def summary_of(studio: Studio, talk: str) -> str:
    return Summaries.text(studio.conversations.get(ME, talk)) or ""


def pause(studio: Studio, talk: str, *answers: Any) -> bool:
    """Let the model look through a conversation; whether it did."""
    studio.chat.answers = list(answers)  # type: ignore[attr-defined]
    waits = studio.listening.notice(ME, talk)
    end = time.monotonic() + 60
    while studio.listening.waits(talk):
        assert time.monotonic() < end
        time.sleep(0.02)
    return waits


def test_what_left_the_context_is_picked_edited_and_told(studio: Studio, turns: list[Turn]) -> None:
    talk = studio.conversations.start(ME, "傲娇").id
    say(studio, talk, *SAID[:3], dropped=2)
    say(studio, talk, "今天吃什么")
    (told,) = turns[-1].facts
    assert told.startswith("之前聊过：\n- ")
    assert "灯塔" in told
    assert "猫" not in told, "what is still in the context is not told twice"
    studio.memory.summaries.write(ME, talk, "我们约好去看灯塔\n\n她答应了")
    say(studio, talk, "哦", dropped=3)
    say(studio, talk, "然后呢")
    (told,) = turns[-1].facts
    assert "约好去看灯塔" in told
    assert "猫" in told, "what left since is told behind the words of a person"
    with pytest.raises(AccessError):
        studio.memory.summaries.write("v2", talk, "x")
    with pytest.raises(AnimeAIError):
        studio.memory.summaries.write(ME, talk, "字" * (LONGEST + 1))


def test_in_a_pause_the_model_tells_it_in_its_own_words(studio: Studio, turns: list[Turn]) -> None:
    talk = begun(studio)
    assert "用户说：" in summary_of(studio, talk)
    assert pause(studio, talk, TOLD)
    summary = "用户想去海边看灯塔\n灯塔下面的书店里有一只猫"
    assert summary_of(studio, talk) == summary
    assert not pause(studio, talk), "it is told once"
    say(studio, talk, "然后呢")
    assert turns[-1].facts == ("之前聊过：\n- 用户想去海边看灯塔\n- 灯塔下面的书店里有一只猫",)
    say(studio, talk, "嗯", dropped=4)
    say(studio, talk, "好")
    later = summary_of(studio, talk)
    assert later.startswith(summary), "what was told stays"
    assert "团子" in later, "what left since is picked"


@pytest.mark.parametrize("answer", ["好的，我会帮你总结！", ModelError("model.remote_failed", server="x", why="y")])
def test_where_the_model_fails_the_sentences_stay(studio: Studio, answer: Any) -> None:
    talk = begun(studio)
    picked = summary_of(studio, talk)
    assert pause(studio, talk, answer)
    assert summary_of(studio, talk) == picked
    assert pause(studio, talk, TOLD) == isinstance(answer, Exception), "an answer of no use is not asked for again"


def test_a_persons_own_words_are_never_told_anew(studio: Studio) -> None:
    talk = begun(studio)
    studio.memory.summaries.write(ME, talk, "我们约好去看灯塔")
    assert not pause(studio, talk, TOLD)
    assert summary_of(studio, talk) == "我们约好去看灯塔"


def test_what_is_forgotten_is_told_by_no_line_and_by_none_to_come(studio: Studio) -> None:
    studio.memory.set_way(ME, "傲娇", "keep")
    talk = studio.conversations.start(ME, "傲娇").id
    say(studio, talk, "我住在海棠镇", *SAID, dropped=4)
    studio.memory.notice(ME, talk)
    say(studio, talk, "今天吃什么", dropped=4)
    studio.memory.notice(ME, talk)
    assert pause(studio, talk, f"用户住在海棠镇\n{TOLD}")
    assert "海棠镇" in summary_of(studio, talk)
    (fact,) = studio.memory.list(ME, "傲娇")
    studio.memory.forget(ME, fact.id)
    assert summary_of(studio, talk).splitlines() == ["用户想去海边看灯塔", "灯塔下面的书店里有一只猫"]
    studio.memory.summaries.write(ME, talk, "")
    say(studio, talk, "嗯", dropped=5)
    say(studio, talk, "好")
    assert "海棠镇" not in summary_of(studio, talk)
    assert all("海棠镇" not in one.content for one in Summaries.untold(studio.conversations.get(ME, talk)))


def test_what_was_forgotten_before_there_was_a_summary_is_told_by_none(studio: Studio, turns: list[Turn]) -> None:
    studio.memory.set_way(ME, "傲娇", "keep")
    talk = studio.conversations.start(ME, "傲娇").id
    studio.chat.answers = ["哦。"]  # type: ignore[attr-defined]
    say(studio, talk, "我住在海棠镇")
    studio.memory.notice(ME, talk)
    assert Summaries.text(studio.conversations.get(ME, talk)) is None
    studio.memory.forget_all(ME, "傲娇")
    say(studio, talk, *SAID, dropped=4)
    studio.memory.notice(ME, talk)
    say(studio, talk, "今天吃什么")
    (told,) = turns[-1].facts
    assert "灯塔" in told
    assert "海棠镇" not in told
    assert all("海棠镇" not in one.content for one in Summaries.untold(studio.conversations.get(ME, talk)))


@pytest.mark.parametrize("first", ["forgets", "branches"])
def test_what_was_forgotten_stays_so_in_a_branch(studio: Studio, turns: list[Turn], first: str) -> None:
    studio.memory.set_way(ME, "傲娇", "keep")
    talk = studio.conversations.start(ME, "傲娇").id
    studio.chat.answers = ["哦。"]  # type: ignore[attr-defined]
    say(studio, talk, "我住在海棠镇", *SAID)
    studio.memory.notice(ME, talk)
    end = studio.conversations.get(ME, talk).messages[-1].id
    if first == "forgets":
        studio.memory.forget_all(ME, "傲娇")
    other = studio.conversations.branches.branch(ME, end)
    if first == "branches":
        studio.memory.forget_all(ME, "傲娇")
    assert studio.memory.notice(ME, other) == 0
    assert studio.memory.list(ME, "傲娇") == []
    say(studio, other, "嗯", dropped=5)
    say(studio, other, "今天吃什么")
    (told,) = turns[-1].facts
    assert "灯塔" in told
    assert "海棠镇" not in told


def test_a_branch_goes_on_with_what_the_model_told(studio: Studio, turns: list[Turn]) -> None:
    talk = begun(studio)
    pause(studio, talk, TOLD)
    end = studio.conversations.get(ME, talk).messages[-1].id
    other = studio.conversations.branches.branch(ME, end)
    say(studio, other, "然后呢", dropped=4)
    assert turns[-1].facts == ("之前聊过：\n- 用户想去海边看灯塔\n- 灯塔下面的书店里有一只猫",)
    say(studio, other, "好")
    assert summary_of(studio, other).startswith("用户想去海边看灯塔\n灯塔下面的书店里有一只猫\n"), (
        "more is picked behind it"
    )


def test_another_branch_is_not_told_of_this_one(studio: Studio, turns: list[Turn]) -> None:
    talk = begun(studio)
    pause(studio, talk, TOLD)
    first = next(one for one in studio.conversations.get(ME, talk).messages if one.role == "user")
    for _ in studio.chat.reword(ME, first.id, "我想去山里看星星"):
        pass
    say(studio, talk, "山顶有一座小木屋", "木屋里没有灯", dropped=2)
    say(studio, talk, "然后呢")
    (told,) = turns[-1].facts
    assert "星星" in told
    assert "灯塔" not in told


def test_long_summaries_are_cut_to_their_room_but_for_a_persons_words(studio: Studio) -> None:
    talk = begun(studio)
    studio.memory.summaries.write(ME, talk, "我们约好去看灯塔")
    kept = studio.conversations.get(ME, talk).settings["summary"]
    (source,) = [one.id for one in studio.conversations.get(ME, talk).messages if one.content == SAID[0]]
    made = [{"text": f"用户第{number}次说想去海边看灯塔和书店里的猫", "ids": [source]} for number in range(80)]
    untold = studio.conversations.get(ME, talk).messages[:2]
    studio.conversations.settle(ME, talk, summary={**kept, "told": ""})
    assert studio.memory.summaries.tell(ME, talk, untold, made)
    lines = summary_of(studio, talk).splitlines()
    assert lines[0] == "我们约好去看灯塔"
    assert 0.5 * ROOM < sum(map(len, lines[1:])) <= ROOM
    assert not studio.memory.summaries.tell(ME, talk, untold, made), "told meanwhile"


def message(id: str, role: str, content: str) -> Message:
    return Message(id, role, content)


def test_of_an_answer_only_lines_in_the_words_of_the_talk_count() -> None:
    told = [message("a", "user", "我想去海边\n看灯塔"), message("b", "assistant", "周末陪你去")]
    assert retelling.question(told) == "用户说：我想去海边 看灯塔\n她说：周末陪你去"
    answer = "1. 用户想去海边看灯塔\n用户想去海边看灯塔。\n好\n总之这是一次愉快的交流\n* 她周末陪用户去\n" + "灯塔" * 40
    assert retelling.lines(answer, told) == [
        {"text": "用户想去海边看灯塔", "ids": ["a"]},
        {"text": "她周末陪用户去", "ids": ["b"]},
    ]
    assert retelling.lines("", told) == []


def test_a_real_model_reads_the_new_summary_before_anybody_waits(
    tmp_path: Path, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model of this test knows no language: the picked sentences stay, and are fixed."""
    settings = Settings(output_dir=tmp_path, model_name=str(base.path), engine="transformers")
    with Studio.open(settings) as studio:
        studio.memory.set_way(ME, "傲娇", "off")
        studio.listening.pause = 0.05
        talk = studio.chat.start(ME, "傲娇").id
        how = How("", Sampling(temperature=0.0, max_new_tokens=4))

        def asked(*said: str) -> None:
            for words in said:
                for _ in studio.chat.reply(ME, talk, words, how):
                    pass

        asked(*SAID)
        last = studio.conversations.get(ME, talk).messages[-1]
        studio.conversations.update(ME, last.id, last.content or "嗯", meta={**last.meta, "dropped": 3})
        asked("今天吃什么")
        last = studio.conversations.get(ME, talk).messages[-1]
        studio.conversations.update(ME, last.id, last.content or "嗯", meta={**last.meta, "dropped": 3})
        read: list[str] = []
        engine: Any = studio.chat._engine
        engine.reading_pace = 100.0
        monkeypatch.setattr(
            engine, "prepare", lambda prompt, *_: read.append(engine.tokenizer().decode(prompt.ids)), raising=False
        )
        assert pause(studio, talk)
        *_, prompt = read
        summary = prompt.partition("之前聊过：")[2].partition("<｜Assistant｜>")[0]
        assert "灯塔" in summary
        assert "迟到" not in summary, "her greeting never leaves the prompt"
