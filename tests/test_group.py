"""Several personas in one conversation: who speaks next, what each has heard, and whose words are kept as whose."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_cast import ALL, BOTH, card
from ui_fakes import FakeChat, open_studio

from anime_ai.chat import chain
from anime_ai.chat.conversations import Conversation
from anime_ai.chat.keeping import Reply
from anime_ai.chat.members import Member
from anime_ai.chat.rounds import ORDERS, Rounds
from anime_ai.chat.samplings import PRESETS, preset_of
from anime_ai.chat.summaries import Summaries
from anime_ai.chat.transcripts import export, take
from anime_ai.chat.tree import Message
from anime_ai.chat.turns import How, Turn
from anime_ai.dataset.rows import Row
from anime_ai.errors import AccessError, AnimeAIError, ModelError, PersonaError
from anime_ai.studio import Studio
from anime_ai.ui.dataset_tab import DatasetTab


@pytest.fixture
def rounds(studio: Studio) -> Rounds:
    return studio.rounds


@pytest.fixture
def turns(chat: FakeChat, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Conversation, Turn, How]]:
    """What the model is given to answer, and how."""
    seen: list[tuple[Conversation, Turn, How]] = []
    speak = chat._speak

    def watched(conversation: Any, turn: Any, choice: Any, how: Any) -> Any:
        seen.append((conversation, turn, how))
        return speak(conversation, turn, choice, how)

    monkeypatch.setattr(chat, "_speak", watched)
    return seen


@pytest.fixture
def reads_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answering model is given the whole conversation, as every one but the starter is."""
    monkeypatch.setattr(Rounds, "_plain", lambda rounds, choice: False)


def spoken(replies: Iterator[Reply]) -> list[tuple[str, str]]:
    """(who, the whole answer) of each."""
    return [(one.speaker, one.text) for one in replies if one.done and one.problem is None]


def line(studio: Studio, conversation: str, person: str = "owner") -> list[tuple[str, str]]:
    return [(one.speaker, one.content) for one in studio.conversations.get(person, conversation).messages]


# Rounds


def test_all_answer_after_each_other_each_with_her_own_adapter_and_card(
    studio: Studio, rounds: Rounds, turns: list[Any], reads_all: None
) -> None:
    talk = rounds.begin("owner", BOTH)
    greetings = [(name, studio.personas.greeting(name)) for name in BOTH]
    assert line(studio, talk.id) == greetings
    answers = spoken(rounds.reply("owner", talk.id, "早"))
    assert [who for who, _ in answers] == list(BOTH)
    (one, first, how), (other, second, other_how) = turns
    assert (one.persona, other.persona) == BOTH
    assert (how.adapter_id, other_how.adapter_id) == ("shipped:tsundere", "shipped:genki")
    assert first.question == f"姜小满：{greetings[1][1]}\n用户：早"
    assert second.question == f"用户：早\n纪棠：{answers[0][1]}"
    assert one.cache_key != other.cache_key
    assert line(studio, talk.id) == [*greetings, ("", "早"), *answers]
    kept = studio.conversations.get("owner", talk.id).messages
    assert [one.meta["adapter"] for one in kept[-2:]] == ["shipped:tsundere", "shipped:genki"]
    assert kept[-2].meta["adapter_sha256"] != kept[-1].meta["adapter_sha256"]


def test_each_is_drawn_as_the_person_keeps_it_for_her(studio: Studio, rounds: Rounds, chat: FakeChat) -> None:
    talk = rounds.begin("owner", BOTH)
    studio.samplings.keep("owner", "活泼", PRESETS["wild"])
    studio.samplings.keep("v1", "傲娇", PRESETS["steady"])
    list(rounds.reply("owner", talk.id, "早", How(sampling=PRESETS["steady"])))
    assert [preset_of(how.sampling) for how in chat.hows] == ["standard", "wild"]


def test_a_group_is_there_again_and_is_nobody_elses(studio: Studio, rounds: Rounds, tmp_path: Path) -> None:
    talk = rounds.begin("owner", ALL, "one")
    list(rounds.reply("owner", talk.id, "早"))
    rounds.dress("owner", talk.id, "温柔", "")
    with open_studio(tmp_path) as later:
        there = later.conversations.get("owner", talk.id)
        assert [one.persona for one in there.members] == list(ALL)
        assert there.members[2] == Member("温柔", "")
        assert there.settings["order"] == "one"
        assert there.messages[-1].speaker == "傲娇"
        assert [one.members for one in later.conversations.list("owner")] == [there.members]
    assert studio.conversations.open("owner", "傲娇").members == (), "with her alone one talks somewhere else"
    for call in (
        lambda: list(rounds.reply("v1", talk.id, "早")),
        lambda: list(rounds.let("v1", talk.id, "傲娇")),
        lambda: list(rounds.again("v1", there.messages[-1].id)),
        lambda: list(rounds.go_on("v1", there.messages[-1].id)),
        lambda: rounds.gather("v1", talk.id, BOTH),
        lambda: rounds.dress("v1", talk.id, "温柔", None),
        lambda: rounds.filling("v1", talk.id),
    ):
        with pytest.raises(AccessError):
            call()


@pytest.mark.parametrize("who", [[], ["傲娇"], ["傲娇", "纪棠"], [*ALL, "第五个"]])
def test_a_group_has_two_to_four(studio: Studio, rounds: Rounds, who: list[str]) -> None:
    card(studio, "第五个")
    with pytest.raises(AnimeAIError) as caught:
        rounds.begin("owner", who)
    assert caught.value.key == "group.how_many"
    assert studio.conversations.list("owner") == []


def test_a_conversation_with_one_becomes_a_group_and_remembers_who_spoke(
    studio: Studio, rounds: Rounds, turns: list[Any], reads_all: None
) -> None:
    talk = studio.chat.start("owner", "傲娇")
    list(studio.chat.reply("owner", talk.id, "你好", How("shipped:tsundere")))
    rounds.gather("owner", talk.id, ["活泼", "傲娇"])
    there = studio.conversations.get("owner", talk.id)
    assert there.persona == "活泼"
    assert [one.speaker for one in there.messages if one.role == "assistant"] == ["傲娇"] * 2
    list(rounds.reply("owner", talk.id, "小满，你呢？"))
    assert turns[-1][1].question.splitlines()[-3:] == [
        "用户：你好",
        f"纪棠：{there.messages[-1].content}",
        "用户：小满，你呢？",
    ]
    rounds.gather("owner", talk.id, ["活泼", "三无", "傲娇"])
    assert [one.persona for one in studio.conversations.get("owner", talk.id).members] == ["活泼", "三无", "傲娇"]
    with pytest.raises(AnimeAIError):
        rounds.gather("owner", talk.id, ["活泼"])


def test_by_hand_nobody_answers_until_she_is_asked(studio: Studio, rounds: Rounds) -> None:
    talk = rounds.begin("owner", BOTH, "hand")
    assert spoken(rounds.reply("owner", talk.id, "有人吗")) == []
    assert line(studio, talk.id)[-1] == ("", "有人吗")
    assert [who for who, _ in spoken(rounds.let("owner", talk.id, "活泼"))] == ["活泼"]
    assert [who for who, _ in spoken(rounds.let("owner", talk.id, "活泼"))] == ["活泼"]
    with pytest.raises(AnimeAIError) as caught:
        list(rounds.let("owner", talk.id, "三无"))
    assert caught.value.key == "group.not_here"
    asked = next(one for one in studio.conversations.get("owner", talk.id).messages if one.role == "user")
    with pytest.raises(AnimeAIError) as caught:
        list(rounds.again("owner", asked.id))
    assert caught.value.key == "group.by_hand"
    assert len(line(studio, talk.id)) == 5, "what was shown is shown again"


def test_every_message_is_swiped_gone_on_with_edited_and_branched_as_hers(
    studio: Studio, rounds: Rounds, chat: FakeChat, turns: list[Any]
) -> None:
    branches = studio.conversations.branches
    talk = rounds.begin("owner", BOTH)
    chat.answers = ["甲一", "乙一"]
    list(rounds.reply("owner", talk.id, "早"))
    *_, asked, first, second = studio.conversations.get("owner", talk.id).messages
    chat.answers = ["乙二"]
    assert spoken(rounds.again("owner", second.id)) == [("活泼", "乙二")]
    assert turns[-1][2].adapter_id == "shipped:genki"
    other = studio.conversations.get("owner", talk.id).messages[-1]
    assert (other.siblings, other.parent) == ((second.id, other.id), first.id)
    chat.answers = ["，还有"]
    assert spoken(rounds.go_on("owner", other.id)) == [("活泼", "乙二，还有")]
    assert (turns[-1][0].persona, turns[-1][1].begun) == ("活泼", "乙二")
    chat.answers = ["甲二"]
    assert spoken(rounds.again("owner", first.id)) == [("傲娇", "甲二")], "the others are not asked again"
    edited = branches.edit("owner", first.id, "甲，改过")
    assert edited.speaker == "傲娇"
    fresh = studio.conversations.get("owner", branches.branch("owner", edited.id))
    assert [one.persona for one in fresh.members] == list(BOTH)
    assert [one.speaker for one in fresh.messages][-2:] == ["", "傲娇"]
    chat.answers = ["乙三"]
    assert spoken(rounds.reword("owner", asked.id, "小满，早")) == [("活泼", "乙三")]
    chat.answers = ["乙四"]
    reworded = studio.conversations.get("owner", talk.id).messages[-2]
    assert spoken(rounds.again("owner", reworded.id)) == [("活泼", "乙四")]
    greeting = studio.conversations.get("owner", talk.id).messages[0]
    for call in (rounds.again, rounds.go_on):
        with pytest.raises(AnimeAIError):
            list(call("owner", greeting.id))


def test_a_stop_ends_the_whole_round_and_keeps_what_was_said(studio: Studio, rounds: Rounds, chat: FakeChat) -> None:
    import threading

    stop = threading.Event()
    talk = rounds.begin("owner", ALL)
    chat.answers = ["甲", "乙乙乙乙", "丙", "丁"]
    for reply in rounds.reply("owner", talk.id, "早", How(stop=stop)):
        if reply.text == "乙乙":
            stop.set()
    assert line(studio, talk.id)[-2:] == [("傲娇", "甲"), ("活泼", "乙乙")]
    assert chat.answers == ["丙", "丁"]
    replies = rounds.reply("owner", talk.id, "再来")
    next(one for one in replies if one.text)
    replies.close()  # the page was closed
    assert line(studio, talk.id)[-2:] == [("", "再来"), ("傲娇", "丙")]
    assert chat.answers == ["丁"]
    assert spoken(rounds.let("owner", talk.id, "三无")) == [("三无", "丁")], "nothing is held"


def test_who_is_gone_is_told_and_the_others_go_on(studio: Studio, rounds: Rounds) -> None:
    gone, hidden = card(studio, "走掉的人"), card(studio, "藏起来的人")
    talk = rounds.begin("v1", [gone, hidden, "傲娇"])
    studio.personas.remove(studio.personas.find(gone).id)
    studio.personas.publish(studio.personas.find(hidden).id, False)
    replies = list(rounds.reply("v1", talk.id, "还在吗"))
    problems = [(one.speaker, one.problem.key) for one in replies if one.problem is not None]
    assert problems == [(gone, "persona.removed"), (hidden, "persona.removed")]
    assert [who for who, _ in spoken(iter(replies))] == ["傲娇"]
    before = line(studio, talk.id, "v1")
    for call in (lambda: rounds.reply("v1", talk.id, f"{hidden}？"), lambda: rounds.let("v1", talk.id, hidden)):
        with pytest.raises(PersonaError):
            list(call())
    assert line(studio, talk.id, "v1") == before
    rounds.gather("v1", talk.id, [gone, "傲娇", "活泼"])  # who is there stays until she is taken out
    with pytest.raises(PersonaError):
        rounds.gather("v1", talk.id, ["傲娇", hidden])
    with pytest.raises(PersonaError):
        rounds.begin("v1", ["傲娇", hidden])


def test_what_nobody_could_answer_is_not_asked_twice(
    studio: Studio, rounds: Rounds, chat: FakeChat, turns: list[Any], reads_all: None
) -> None:
    talk, alone = rounds.begin("owner", BOTH), studio.chat.start("owner", "傲娇")
    for id, answers in ((talk.id, rounds), (alone.id, studio.chat)):
        before = line(studio, id)
        chat.answers = [ModelError("model.unknown", name="x") for _ in range(2 if answers is rounds else 1)]
        with pytest.raises(ModelError):
            list(answers.reply("owner", id, "早"))
        chat.answers = []
        turns.clear()
        list(answers.reply("owner", id, "早"))
        after = line(studio, id)
        assert after[: len(before) + 1] == [*before, ("", "早")]
        assert ("", "早") not in after[len(before) + 1 :]
        assert "早" not in [one.content for one in turns[0][1].before]
        assert turns[0][1].question.count("早") == 1
    rounds.conversations.settle("owner", talk.id, order="hand")
    for _ in range(2):
        list(rounds.reply("owner", talk.id, "嗯"))
    assert line(studio, talk.id)[-2:] == [("", "嗯")] * 2, "where nobody answers by herself it may be said twice"


def test_an_adapter_that_is_gone_is_one_speakers_problem(studio: Studio, rounds: Rounds) -> None:
    talk = rounds.begin("owner", BOTH)
    with pytest.raises(AnimeAIError):
        rounds.dress("owner", talk.id, "傲娇", "run:nothing")
    studio.conversations.gather("owner", talk.id, [Member("傲娇", "run:nothing"), Member("活泼")])
    replies = list(rounds.reply("owner", talk.id, "早"))
    assert [one.problem.key for one in replies if one.problem is not None] == ["model.unknown_adapter"]
    assert [who for who, _ in spoken(iter(replies))] == ["活泼"]


# Her own books, documents and memory


def test_each_has_her_own_book_and_what_it_said_stays_in_her_turn(
    studio: Studio, rounds: Rounds, turns: list[Any], reads_all: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(studio.chat), "_reads_little", lambda chat, choice: False)
    book = {"entries": [{"keys": ["灯塔"], "content": "灯塔高三十米。", "enabled": True, "insertion_order": 1}]}
    keeper, other = card(studio, "守塔人", character_book=book), card(studio, "路人")
    talk = rounds.begin("owner", [keeper, other])
    list(rounds.reply("owner", talk.id, "灯塔在哪？"))
    assert ["灯塔高三十米" in turn.brought for _, turn, _ in turns] == [True, False]
    list(rounds.reply("owner", talk.id, "哦"))
    mine = [one for one in turns[2][1].before if one.role == "user"]
    assert "灯塔高三十米" in mine[0].meta["brought"], "it stays where it was told"
    assert not turns[2][1].brought
    theirs = [one for one in turns[3][1].before if one.role == "user"]
    assert not any(one.meta["brought"] for one in theirs)
    answer = studio.conversations.get("owner", talk.id).messages[1]
    assert [hit["content"] for hit in answer.meta["turn"]["lore"]["hits"]] == ["灯塔高三十米。"]


def test_each_remembers_for_herself(studio: Studio, rounds: Rounds, turns: list[Any]) -> None:
    talk = rounds.begin("owner", BOTH)
    studio.memory.set_way("owner", "傲娇", "keep")
    list(rounds.reply("owner", talk.id, "我叫小明"))
    assert studio.memory.notice("owner", talk.id) == 2
    assert [one.kept for name in BOTH for one in studio.memory.list("owner", name)] == [True, False]
    list(rounds.reply("owner", talk.id, "早"))
    assert ["用户叫小明" in "".join(turn.facts) for _, turn, _ in turns[2:]] == [True, False]


def test_what_leaves_her_prompt_is_told_by_the_names_of_who_said_it(studio: Studio, rounds: Rounds) -> None:
    talk = rounds.begin("owner", BOTH)
    for day in "一二三四五六":
        studio.conversations.append("owner", talk.id, "user", f"星期{day}我们去海边看日出。")
        for who, words in (("傲娇", "海边的日出还行。"), ("活泼", "海边的风好大呀！")):
            said = Message("", "assistant", f"星期{day}{words}", meta={"dropped": 4}, speaker=who)
            studio.conversations.add("owner", talk.id, said)
    there = studio.conversations.get("owner", talk.id)
    before, _ = rounds.cast(there).heard(there.messages, "傲娇")
    view = replace(there, persona="傲娇", messages=before)
    (told,) = studio.memory.told("owner", view, before, small=False)
    assert {line[2:].partition("：")[0] for line in told.splitlines()[1:]} == {"用户说", "她说", "姜小满说"}
    assert Summaries.text(studio.conversations.get("owner", talk.id), "傲娇")
    assert Summaries.text(studio.conversations.get("owner", talk.id), "活泼") is None, "she has a prompt of her own"
    studio.memory.summaries.write("owner", talk.id, "常去海边", "傲娇")
    assert Summaries.text(studio.conversations.get("owner", talk.id), "傲娇") == "常去海边"


def test_what_an_engine_keeps_of_a_group_is_kept_for_each_and_forgotten_with_it(
    studio: Studio, rounds: Rounds, turns: list[Any]
) -> None:
    group, alone = rounds.begin("owner", BOTH), studio.chat.start("owner", "三无")
    list(rounds.reply("owner", group.id, "早"))
    keys = studio.conversations.cache_keys([group.id, alone.id])
    assert {view.cache_key for view, _, _ in turns} < set(keys)
    assert (keys[0], keys[-1]) == (group.id, alone.id)
    assert studio.conversations.cache_keys([alone.id]) == [alone.id]
    studio.memory.add("owner", "活泼", "用户叫小明")
    forgotten: list[list[str]] = []
    studio.memory._forgotten = forgotten.append
    studio.memory.forget_all("owner", "活泼")
    assert forgotten == [[group.id]]


# What becomes of it elsewhere


def test_feedback_and_search_know_who_spoke(studio: Studio, rounds: Rounds, chat: FakeChat, reads_all: None) -> None:
    talk = rounds.begin("owner", BOTH)
    chat.answers = ["甲一", "乙一"]
    list(rounds.reply("owner", talk.id, "早"))
    *_, first, second = studio.conversations.get("owner", talk.id).messages
    chat.answers = ["乙二"]
    list(rounds.again("owner", second.id))
    better = studio.conversations.get("owner", talk.id).messages[-1]
    studio.feedback.judge("owner", second.id, "down")
    studio.feedback.judge("owner", better.id, "up")
    gathered = studio.feedback.gathered("活泼")
    assert (gathered.rows, gathered.pairs) == (1, 1)
    (row,) = studio.datasets.rows(gathered.dataset)
    assert (row.persona, row.input, row.output, row.rejected) == ("活泼", "用户：早\n纪棠：甲一", "乙二", "乙一")
    assert row.history == ((f"纪棠：{studio.personas.greeting('傲娇')}", studio.personas.greeting("活泼")),)
    (stored,) = studio.datasets.all(gathered.dataset)
    provenance = studio.feedback.provenance(stored.id)
    assert (provenance["adapter"], provenance["persona"]) == ("shipped:genki", "活泼")
    # An answer that somebody else gave in the same place is no worse answer of hers.
    studio.conversations.branches.rewind("owner", talk.id, first.parent)
    chat.answers = ["丙一"]
    list(rounds.let("owner", talk.id, "活泼"))
    instead = studio.conversations.get("owner", talk.id).messages[-1]
    assert set(instead.siblings) == {first.id, instead.id}
    studio.feedback.judge("owner", first.id, "down")
    studio.feedback.judge("owner", instead.id, "up")
    assert [one.rejected for one in studio.datasets.rows(gathered.dataset)] == ["乙一", ""]
    with pytest.raises(AnimeAIError):
        studio.feedback.judge("owner", studio.conversations.get("owner", talk.id).messages[0].id, "up")
    assert [hit.persona for hit in studio.search.find("owner", "甲一")] == ["傲娇"]


def test_a_greeting_answers_nothing_in_other_words_either(studio: Studio, rounds: Rounds) -> None:
    talk = rounds.begin("owner", BOTH)
    edited = studio.conversations.branches.edit("owner", talk.messages[1].id, "大家好呀！")
    studio.feedback.rewritten("owner", edited.id)
    assert studio.feedback.gathered("活泼").dataset == "", "there is nothing to learn from it"
    with pytest.raises(AnimeAIError):
        studio.feedback.judge("owner", edited.id, "up")
    with pytest.raises(AnimeAIError):
        list(rounds.again("owner", edited.id))


@pytest.mark.parametrize("form", ["json", "sillytavern"])
def test_a_group_goes_into_a_file_and_comes_back(studio: Studio, rounds: Rounds, chat: FakeChat, form: str) -> None:
    talk = rounds.begin("owner", BOTH, "one")
    chat.answers = ["甲一", "乙一", "乙二"]
    list(rounds.reply("owner", talk.id, "早"))
    list(rounds.reply("owner", talk.id, "嗯"))
    list(rounds.again("owner", studio.conversations.get("owner", talk.id).messages[-1].id))
    called = studio.personas.called
    content = export(studio.conversations, "owner", talk.id, form, called("傲娇"), called)
    back = studio.conversations.get(
        "owner", take(studio.conversations, "owner", content, "三无", studio.personas.meant)
    )
    assert line(studio, back.id) == line(studio, talk.id)
    assert [one.persona for one in back.members] == list(BOTH)
    assert len(back.messages[-1].siblings) == 2
    if form == "json":
        assert back.settings["order"] == "one"
    else:
        names = [json.loads(one).get("name") for one in content.decode().splitlines()]
        assert names[1:] == ["纪棠", "姜小满", "You", "纪棠", "You", "姜小满"]
    assert "**姜小满**\n\n乙二" in export(studio.conversations, "owner", talk.id, "markdown", "", called).decode()
    list(rounds.reply("owner", back.id, "回来了"))
    assert line(studio, back.id)[-1][0] == "傲娇" if form == "json" else "活泼"


def test_strangers_of_a_chat_by_sillytavern_are_members_under_their_names(studio: Studio) -> None:
    people = ["Ann", "Bob", "Cid", "Dora", "Eve"]
    lines = [{"chat_metadata": {}}, *({"name": one, "is_user": False, "mes": f"I am {one}."} for one in people)]
    content = "\n".join(json.dumps(one) for one in lines).encode()
    back = studio.conversations.get("owner", take(studio.conversations, "owner", content, "三无"))
    assert [one.persona for one in back.members] == people[:4]
    assert [one.speaker for one in back.messages] == people
    alone = take(studio.conversations, "owner", json.dumps(lines[1]).encode(), "三无")
    there = studio.conversations.get("owner", alone)
    assert (there.persona, there.members, there.messages[0].speaker) == ("三无", (), "")


# On the real starter


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["transformers", "llamacpp"])
def test_interleaved_answers_equal_lonely_ones(tmp_path: Path, engine: str) -> None:
    """Two adapters in one conversation: each says what she says alone to the same prompt with the same seed."""
    from anime_ai.config import Settings
    from anime_ai.models.engine import Sampling

    settings = Settings(output_dir=tmp_path, model_name="starter", engine=engine)
    from anime_ai.storage import Database

    questions = ("你喜欢什么动漫？", "可以帮我写作业吗？", "今天好累啊。")
    sampling = Sampling(temperature=0.3, seed=7, max_new_tokens=48)
    with closing(Studio(settings, Database.open(settings))) as studio:
        for name in BOTH:
            studio.samplings.keep("owner", name, sampling)
        # Without greetings, which one alone would not stand behind.
        talk = studio.conversations.start_group("owner", [Member(name) for name in BOTH], (), order=ORDERS[0])
        together = [one for asked in questions for one in spoken(studio.rounds.reply("owner", talk.id, asked))]
        lonely = {
            name: [
                list(studio.chat.ask(asked, name, studio.rounds.adapter(talk, name), sampling))[-1].text
                for asked in questions
            ]
            for name in BOTH
        }
    assert [who for who, _ in together] == [*BOTH] * 3
    assert {name: [said for who, said in together if who == name] for name in BOTH} == lonely
    assert lonely["傲娇"] != lonely["活泼"]
    assert all(said for _, said in together)


def test_who_has_no_adapter_speaks_with_nobody_elses(
    studio: Studio, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = card(studio, "没练过的人")
    assert studio.chat.adapters(name)[0].id, "others have one"
    assert (studio.chat.own_adapter(name), studio.chat.own_adapter("傲娇")) == ("", "shipped:tsundere")
    assert studio.say("早", name) == "base说：早"
    assert studio.say("早", "傲娇") == "shipped:tsundere说：早"
    monkeypatch.setattr(chain, "persona_chain", lambda model, card: model)
    assert studio.chain(name).adapter is None
    assert studio.chain("傲娇").adapter.path.name == "tsundere"
    assert DatasetTab(studio).drafting._ask(Row("早", "嗯", name)) == "base说：早"
    assert rounds.adapter(rounds.begin("owner", ["傲娇", name]), name) == ""
