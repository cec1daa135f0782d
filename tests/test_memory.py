"""What she remembers: noticed, proposed, accepted, in the prompt, forgotten for good; what a long talk was about."""

from __future__ import annotations

from typing import Any

import pytest
from ui_fakes import OWNER, STRANGER, VISITOR

from anime_ai.chat.digest import digest
from anime_ai.chat.hearing import LISTENING
from anime_ai.chat.memory import LONGEST, SMALL_ROOM
from anime_ai.chat.noticing import notice
from anime_ai.chat.summaries import Summaries
from anime_ai.chat.turns import Turn
from anime_ai.errors import AccessError, AnimeAIError
from anime_ai.models.bases import STARTER, find_base
from anime_ai.studio import Studio
from anime_ai.ui.memory_panel import facts_list


@pytest.mark.parametrize(
    ("said", "facts"),
    [
        ("我叫小明，住在杭州。", ["用户叫小明", "用户住在杭州"]),
        ("我叫小明，最喜欢吃草莓蛋糕，很爱画画", ["用户叫小明", "用户喜欢吃草莓蛋糕", "用户喜欢画画"]),
        ("你可以叫我阿远吧", ["用户叫阿远"]),
        ("我最喜欢吃草莓蛋糕了！", ["用户喜欢吃草莓蛋糕"]),
        ("其实我不喜欢下雨天。我是大学生。", ["用户不喜欢下雨天", "用户是大学生"]),
        ("我家养了一只橘猫，今年20岁", ["用户养了一只橘猫", "用户20岁"]),
        ("我对花生过敏", ["用户对花生过敏"]),
        ("My name is Ann. I live in Kyoto.", ["用户叫Ann", "用户住在Kyoto"]),
        ("我叫什么名字？", []),
        ("我喜欢你", []),
        ("如果我叫小红就好了", []),
        ("我叫外卖了", []),
        ("你住在哪里？我住在哪你知道吗", []),
        ("他说我喜欢哭", []),
        ("今天天气真好。", []),
        ("", []),
    ],
)
def test_what_is_said_of_oneself_is_noticed_and_nothing_else(said: str, facts: list[str]) -> None:
    assert notice(said) == facts


class Keeping:
    """A real engine, of which nothing is loaded, that tells what it was asked to forget."""

    def __init__(self, studio: Studio) -> None:
        self.engine = studio.chat.engine(find_base(STARTER, studio.settings))
        self.forgotten: list[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def forget(self, keys: list[str]) -> None:
        *talks, listening = keys
        assert listening == LISTENING, "who looks for facts has read them"
        self.forgotten.append(talks)


def say(studio: Studio, person: str, conversation: str, words: str) -> None:
    for _ in studio.chat.reply(person, conversation, words):
        pass
    studio.memory.notice(person, conversation)


def prompts(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> list[Turn]:
    """The turns that the chat is given to answer."""
    turns: list[Turn] = []
    speak = studio.chat._speak

    def watched(conversation: Any, turn: Turn, choice: Any, how: Any) -> Any:
        turns.append(turn)
        return speak(conversation, turn, choice, how)

    monkeypatch.setattr(studio.chat, "_speak", watched)
    return turns


def test_a_proposal_waits_and_enters_the_prompt_when_it_is_accepted(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = prompts(studio, monkeypatch)
    talk = studio.conversations.start("v1", "傲娇").id
    say(studio, "v1", talk, "我叫小明")
    (fact,) = studio.memory.list("v1", "傲娇")
    assert (fact.text, fact.kept, fact.said) == ("用户叫小明", False, "我叫小明")
    say(studio, "v1", talk, "在吗")
    assert turns[-1].facts == ()
    studio.memory.accept("v1", fact.id)
    say(studio, "v1", talk, "我叫什么")
    assert turns[-1].facts == ("关于用户：\n- 用户叫小明",)
    system = turns[-1].values("你是纪棠。")["facts"]
    assert [message.content for message in system] == ["关于用户：\n- 用户叫小明"]
    other = studio.conversations.start("v1", "三无").id
    say(studio, "v1", other, "在吗")
    assert turns[-1].facts == (), "another persona was not told"


def test_what_was_forgotten_is_gone_and_is_not_proposed_again(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Keeping(studio)
    monkeypatch.setattr(studio.chat, "_engine", engine)
    other = studio.conversations.start("v1", "三无").id
    studio.memory.set_way("v1", "傲娇", "keep")
    talk = studio.conversations.start("v1", "傲娇").id
    say(studio, "v1", talk, "我住在海棠镇")
    (fact,) = studio.memory.list("v1", "傲娇")
    assert fact.kept
    summary = {"upto": "x", "lines": [{"id": fact.message_id, "text": "用户说：我住在海棠镇"}], "edited": False}
    studio.conversations.settle("v1", talk, summary=summary)
    assert Summaries.text(studio.conversations.get("v1", talk)) == "用户说：我住在海棠镇"
    studio.memory.forget("v1", fact.id)
    assert engine.forgotten == [[talk]], "what the engine keeps of these prompts goes too, and nothing else"
    assert other not in engine.forgotten[0]
    assert Summaries.text(studio.conversations.get("v1", talk)) == ""
    assert studio.memory.notice("v1", talk) == 0
    assert studio.memory.list("v1", "傲娇") == []


def test_what_is_forgotten_in_the_middle_of_an_answer_goes_when_that_has_ended(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Keeping(studio)
    monkeypatch.setattr(studio.chat, "_engine", engine)
    studio.memory.add("v1", "傲娇", "用户怕打雷")
    here, there = (studio.conversations.start("v1", "傲娇").id for _ in range(2))
    answer = studio.chat.reply("v1", here, "在吗")
    next(answer)
    studio.memory.forget_all("v1", "傲娇")
    assert engine.forgotten == [[there]]
    for _ in answer:
        pass
    assert engine.forgotten == [[there], [here]]
    for _ in studio.chat.reply("v1", here, "在吗"):
        pass
    assert engine.forgotten == [[there], [here]], "once"


def test_the_words_of_a_forgotten_fact_are_not_in_the_file_any_more(studio: Studio) -> None:
    studio.memory.add("v1", "傲娇", "用户的暗号是琉璃灯塔")
    studio.memory.forget("v1", studio.memory.list("v1", "傲娇")[0].id)
    studio.close()
    files = [path for path in studio.settings.studio_dir.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if "琉璃灯塔".encode() in path.read_bytes()]


def test_a_fact_outlives_its_message_and_off_means_off(studio: Studio) -> None:
    studio.memory.set_way("v1", "傲娇", "off")
    talk = studio.conversations.start("v1", "傲娇").id
    say(studio, "v1", talk, "我叫小明")
    assert studio.memory.list("v1", "傲娇") == []
    studio.memory.set_way("v1", "傲娇", "keep")
    say(studio, "v1", talk, "我喜欢画画")
    studio.conversations.remove("v1", talk)
    (fact,) = studio.memory.list("v1", "傲娇")
    assert (fact.text, fact.said) == ("用户喜欢画画", "")


def test_what_is_another_persons_is_not_there(studio: Studio) -> None:
    studio.memory.add("v1", "傲娇", "用户怕打雷")
    (fact,) = studio.memory.list("v1", "傲娇")
    assert studio.memory.list("v2", "傲娇") == []
    for touch in (studio.memory.accept, studio.memory.forget):
        with pytest.raises(AccessError):
            touch("v2", fact.id)
    with pytest.raises(AccessError):
        studio.memory.edit("v2", fact.id, "别的")
    with pytest.raises(AccessError):
        studio.memory.notice("v2", studio.conversations.start("v1", "傲娇").id)
    studio.memory.edit("v1", fact.id, " 用户不怕打雷 ")
    assert studio.memory.list("v1", "傲娇")[0].text == "用户不怕打雷"


def test_bad_facts_are_refused_in_words_and_markup_stays_text(studio: Studio) -> None:
    for bad in ("", " \n", "字" * (LONGEST + 1)):
        with pytest.raises(AnimeAIError):
            studio.memory.add("v1", "傲娇", bad)
    studio.memory.add("v1", "傲娇", "<img src=x>\ud800")
    studio.memory.add("v1", "傲娇", "<img src=x>\ud800")
    facts = studio.memory.list("v1", "傲娇")
    assert len(facts) == 1, "the same is kept once"
    assert "<img" not in facts_list(facts, "zh")


def test_a_small_model_is_told_the_newest_facts(studio: Studio) -> None:
    for number in range(30):
        studio.memory.add("v1", "傲娇", f"用户喜欢第{number}种颜色")
    talk = studio.conversations.start("v1", "傲娇")
    (told,) = studio.memory.told("v1", talk, (), small=True)
    assert "第29种" in told
    assert "第0种" not in told
    assert len(told) < 2 * SMALL_ROOM
    (told,) = studio.memory.told("v1", talk, (), small=False)
    assert "第0种" in told


def test_a_digest_takes_sentences_as_they_are_within_its_room() -> None:
    said = ["我想去海边看灯塔。灯塔很高。", "海边的灯塔晚上会亮。", "嗯。", "作业还没有写完。"]
    found = digest(said, 24)
    assert found
    assert sum(len(sentence) for _, sentence in found) <= 24
    assert all(sentence in said[place] for place, sentence in found)
    assert any("灯塔" in sentence for _, sentence in found)
    assert digest([], 100) == []
    assert digest(["……", "哦"], 100) == []


def test_the_panel_shows_each_person_their_own(studio: Studio) -> None:
    from anime_ai.ui.memory_panel import MemoryPanel

    panel = MemoryPanel(studio)
    talk = studio.conversations.start(VISITOR.id, "傲娇").id
    panel.add_fact(VISITOR, talk, "用户怕打雷")
    for _ in studio.chat.reply(VISITOR.id, talk, "我叫小明"):
        pass
    title, shown, way, *_ = panel.notice_facts(VISITOR, talk)
    assert title["label"] == "她记得的事 · 1，还有 1 条等你确认"
    assert "用户叫小明" in shown
    assert way == "ask"
    for person in (STRANGER, OWNER):
        with pytest.raises(AccessError):
            panel.look_at_memory(person, talk)
    with pytest.raises(AnimeAIError):
        panel.forget_everything(VISITOR, talk, False)
    panel.forget_everything(VISITOR, talk, True)
    assert studio.memory.list(VISITOR.id, "傲娇") == []


def test_a_summary_that_is_being_written_stays_until_it_is_kept(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anime_ai.ui import memory_panel
    from anime_ai.ui.memory_panel import MemoryPanel

    monkeypatch.setattr(memory_panel, "note", lambda line, language: None)
    panel = MemoryPanel(studio)
    talk, other = (studio.conversations.start(VISITOR.id, "傲娇").id for _ in range(2))
    studio.memory.summaries.write(VISITOR.id, talk, "他们说了早安。")
    TOLD, BOX = 4, 5
    first = panel.look_at_memory(VISITOR, talk)
    assert first[BOX]["value"] == "他们说了早安。"
    for look in (panel.notice_facts, panel.wait_for_facts, panel.look_at_memory):
        writing = look(VISITOR, talk, None, "他们说了早安，还有", first[TOLD])
        assert "value" not in writing[BOX]
        assert "summary" not in writing[TOLD]
        assert "value" not in look(VISITOR, talk, None, "他们说了早安。", first[TOLD])[BOX], "it is there already"
        assert look(VISITOR, other, None, "他们说了早安，还有", first[TOLD])[BOX]["value"] == "", "of another talk"
    studio.memory.summaries.write(VISITOR.id, talk, "她说了早安。")
    assert panel.wait_for_facts(VISITOR, talk, None, "他们说了早安。", first[TOLD])[BOX]["value"] == "她说了早安。"
    kept = panel.keep_summary(VISITOR, talk, "他们说了早安，还有晚安。")
    assert kept[BOX]["value"] == kept[TOLD]["summary"] == "他们说了早安，还有晚安。"
