"""The chat tab's handlers, called as functions: a real conversation store, a model that says what it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ui_fakes import OWNER, STRANGER, VISITOR, FakeChat, open_studio

from anime_ai.errors import AccessError, AnimeAIError, ModelError, SettingsError
from anime_ai.studio import Studio
from anime_ai.ui.chat_tab import ChatTab, Generations, sampling_of
from anime_ai.ui.persons import Person
from anime_ai.ui.said import inert, sources

PLAIN = (0.6, 0.95, 1.05, 64, "")


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with open_studio(tmp_path) as found:
        yield found


@pytest.fixture
def tab(studio: Studio) -> ChatTab:
    return ChatTab(studio)


@pytest.fixture
def chat(studio: Studio) -> FakeChat:
    assert isinstance(studio.chat, FakeChat)
    return studio.chat


def conversation_of(tab: ChatTab, person: Person) -> str:
    return str(tab.arrive(person)[0])


def collected(stream: Iterator[Any], into: list[Any]) -> list[Any]:
    """Every step of a stream, put into a list that outlives its failure."""
    for step in stream:
        into.append(step)
    return []


def said(talk: dict[str, Any]) -> list[tuple[str, str]]:
    """What an update of the conversation shows."""
    return [(message["role"], message["content"]) for message in talk["value"]]


def test_a_first_visit_opens_the_default_persona_with_her_greeting(tab: ChatTab, studio: Studio) -> None:
    conversation, persona, adapter, talk, line, _ = tab.arrive(VISITOR)
    her = studio.personas.find("傲娇")
    assert persona["value"] == "傲娇"
    assert len(persona["choices"]) == len(studio.personas.list())
    assert said(talk) == [("assistant", her.greeting)]
    nobody, portrait = talk["avatar_images"]
    assert nobody is None
    assert portrait["url"] == f"portraits/{her.id}.webp"
    assert adapter["value"] in [id for _, id in adapter["choices"]]
    assert "starter" in line
    assert not studio.conversations.get(VISITOR.id, conversation).messages


def test_macros_of_a_greeting_are_filled_in(studio: Studio) -> None:
    for persona in studio.personas.list():
        assert "{{" not in persona.greeting


def test_an_answer_streams_and_is_there_after_a_reload(tab: ChatTab, chat: FakeChat) -> None:
    chat.answers = ["哼，随便你。"]
    conversation = conversation_of(tab, VISITOR)
    steps = list(tab.send(VISITOR, " 早上好 ", conversation, "", *PLAIN))
    shown = [step[0][-1]["content"] for step in steps]
    assert shown[0] == "…"
    assert "哼" in shown
    assert shown[-1] == "哼，随便你。"
    assert len(shown) >= 6
    assert steps[0][1] == ""
    assert [step[3]["visible"] for step in steps] == [True] * (len(steps) - 1) + [False]
    assert said(tab.arrive(VISITOR)[3])[1:] == [("user", "早上好"), ("assistant", "哼，随便你。")]


def test_her_thoughts_are_folded(tab: ChatTab, chat: FakeChat) -> None:
    chat.answers, chat.thinking = ["不要。"], "其实很想去"
    conversation = conversation_of(tab, VISITOR)
    last = list(tab.send(VISITOR, "一起去吗", conversation, "", *PLAIN))[-1][0]
    folded = next(message for message in last if "metadata" in message)
    assert folded["content"] == "其实很想去"
    assert folded["metadata"]["title"] == "心声"


def test_closing_the_stream_ends_the_generation_and_keeps_what_she_said(tab: ChatTab, chat: FakeChat) -> None:
    chat.answers = ["一二三四五六七八"]
    conversation = conversation_of(tab, VISITOR)
    stream = tab.send(VISITOR, "数数", conversation, "", *PLAIN)
    for _ in range(4):
        next(stream)
    stream.close()
    assert chat.ended.is_set()
    kept = said(tab.arrive(VISITOR)[3])
    assert kept[-1] == ("assistant", "一二三")
    chat.answers = ["好"]
    assert list(tab.send(VISITOR, "再来", conversation, "", *PLAIN)), "the conversation is free again"


@pytest.mark.parametrize("how", ["stop", "leave"])
def test_stop_and_a_closed_page_end_the_generation(tab: ChatTab, chat: FakeChat, how: str) -> None:
    chat.answers = ["一" * 500]
    conversation = conversation_of(tab, VISITOR)
    stream = tab.send(VISITOR, "说", conversation, "", *PLAIN)
    next(stream), next(stream)
    tab.stop(VISITOR, conversation) if how == "stop" else tab.leave(VISITOR)
    rest = list(stream)
    assert len(rest) < 5
    assert rest[-1][2]["visible"], "the page can send again"
    assert 0 < len(said(tab.arrive(VISITOR)[3])[-1][1]) < 10


def test_a_closed_page_of_somebody_else_stops_nothing(tab: ChatTab, chat: FakeChat) -> None:
    chat.answers = ["一二三"]
    stream = tab.send(VISITOR, "说", conversation_of(tab, VISITOR), "", *PLAIN)
    next(stream)
    tab.leave(STRANGER)
    assert list(stream)[-1][0][-1]["content"] == "一二三"


def test_a_second_message_waits_for_the_first_answer(tab: ChatTab, chat: FakeChat, studio: Studio) -> None:
    conversation = conversation_of(tab, VISITOR)
    chat.answers = ["第一个", "第二个"]
    first = tab.send(VISITOR, "一", conversation, "", *PLAIN)
    next(first)
    with pytest.raises(AnimeAIError) as caught:
        next(tab.send(VISITOR, "二", conversation, "", *PLAIN))
    assert caught.value.key == "chat.busy"
    list(first)
    assert [message.role for message in studio.conversations.get(VISITOR.id, conversation).messages] == [
        "user",
        "assistant",
    ]


def test_a_blank_message_generates_nothing(tab: ChatTab, chat: FakeChat, studio: Studio) -> None:
    conversation = conversation_of(tab, VISITOR)
    with pytest.raises(AnimeAIError) as caught:
        list(tab.send(VISITOR, "  \n ", conversation, "", *PLAIN))
    assert caught.value.key == "chat.blank"
    assert chat.seeds == []
    assert not studio.conversations.get(VISITOR.id, conversation).messages


def test_a_message_of_100_000_characters_is_refused_with_the_count(tab: ChatTab) -> None:
    with pytest.raises(AnimeAIError, match="100000"):
        next(tab.send(VISITOR, "长" * 100_000, conversation_of(tab, VISITOR), "", *PLAIN))


def test_a_failure_frees_the_page_and_gives_the_message_back(tab: ChatTab, chat: FakeChat) -> None:
    conversation = conversation_of(tab, VISITOR)
    for failure in (ModelError("model.unknown_adapter", adapter="x"), ImportError("no torch", name="torch")):
        chat.answers = [failure]
        steps: list[Any] = []
        with pytest.raises(type(failure)):
            steps += collected(tab.send(VISITOR, "你好", conversation, "", *PLAIN), steps)
        talk, message, send, stop, *_ = steps[-1]
        assert message == "你好"
        assert send["visible"]
        assert not stop["visible"]
        assert talk[-1]["role"] == "user"


def test_nobody_reaches_another_ones_conversation(tab: ChatTab, studio: Studio) -> None:
    mine = conversation_of(tab, VISITOR)
    for person in (STRANGER, OWNER):
        with pytest.raises(AccessError):
            next(tab.send(person, "给我看看", mine, "", *PLAIN))
        with pytest.raises(AccessError):
            tab.stop(person, mine)
        with pytest.raises(AccessError):
            tab.clear(person, mine, "")
    assert not studio.conversations.get(VISITOR.id, mine).closed


def test_starting_over_sets_the_old_conversation_aside(tab: ChatTab, chat: FakeChat, studio: Studio) -> None:
    conversation = conversation_of(tab, VISITOR)
    list(tab.send(VISITOR, "你好", conversation, "", *PLAIN))
    fresh, _, _, talk, *_ = tab.clear(VISITOR, conversation, "")
    assert fresh != conversation
    assert len(said(talk)) == 1
    assert len(studio.conversations.get(VISITOR.id, conversation).messages) == 2


def test_each_persona_has_a_conversation_of_her_own(tab: ChatTab, chat: FakeChat) -> None:
    first = conversation_of(tab, VISITOR)
    list(tab.send(VISITOR, "你好", first, "", *PLAIN))
    second, persona, _, talk, *_ = tab.choose_persona(VISITOR, "温柔")
    assert second != first
    assert persona["value"] == "温柔"
    assert len(said(talk)) == 1
    assert tab.choose_persona(VISITOR, "傲娇")[0] == first


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 9),
        ("temperature", "hot"),
        ("top_p", 0),
        ("repetition_penalty", None),
        ("max_new_tokens", 10**9),
        ("seed", "-1"),
    ],
)
def test_sampling_beyond_its_bounds_is_refused_by_the_server(name: str, value: Any) -> None:
    values = dict(zip(("temperature", "top_p", "repetition_penalty", "max_new_tokens", "seed"), PLAIN, strict=True))
    with pytest.raises(SettingsError, match=name):
        sampling_of(**{**values, name: value})


def test_both_sides_of_a_comparison_get_the_same_seed(
    tab: ChatTab, chat: FakeChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = type(chat.adapters()[0])
    adapters = [choice("run:1", "三行", "傲娇", "starter"), choice("", "starter", "", "auto")]
    monkeypatch.setattr(chat, "adapters", lambda persona="": adapters)
    chat.answers = ["您好，<b>有什么可以帮您</b>？", "哼！"]
    steps = list(tab.compare(VISITOR, "你好", "傲娇", "run:1", *PLAIN))
    assert chat.seeds[0] == chat.seeds[1] is not None
    page = steps[-1][0]
    assert "您好，&lt;b&gt;有什么可以帮您&lt;/b&gt;？" in page
    assert "哼！" in page
    assert "<b>" not in page
    assert steps[-1][1]["visible"]


def test_a_comparison_needs_an_adapter(tab: ChatTab) -> None:
    with pytest.raises(AnimeAIError) as caught:
        next(tab.compare(VISITOR, "你好", "傲娇", "", *PLAIN))
    assert caught.value.key == "ui.compare_alone"


def test_an_adapter_that_is_gone_is_said_and_another_takes_its_place(tab: ChatTab) -> None:
    assert "run:gone" in tab.choose_adapter(VISITOR, "run:gone")
    adapter, _, _ = tab.look_again(VISITOR, "傲娇", "run:gone", tab.arrive(VISITOR)[0])
    assert adapter["value"] in [id for _, id in adapter["choices"]]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("<img src=x onerror=a()>", "&lt;img src=x onerror=a()>"),
        ("</script>", "&lt;/script>"),
        ("&lt;img&gt; &#60;", "&amp;lt;img&amp;gt; &amp;#60;"),
        ("1 < 2 & 3 > 2 <3", "1 < 2 & 3 > 2 <3"),
    ],
)
def test_text_stays_text(given: str, shown: str) -> None:
    assert inert(given) == shown


@pytest.mark.parametrize(("used", "title"), [(True, "这次查到的资料"), (False, "这次没用到资料")])
def test_what_was_looked_up_says_whether_it_was_used(used: bool, title: str) -> None:
    passage = {"document": "雪见.txt", "coverage": 0.5, "lexical_rank": 1, "dense_rank": None, "text": "七月七日"}
    passage |= {"used": used, "why": "" if used else "knowledge.why.small_talk"}
    panel = sources({"question": "生日？", "passages": [passage]}, "zh")
    assert panel["metadata"]["title"] == title
    assert "生日？" in panel["content"]
    assert ("像是闲聊" in panel["content"]) is not used


def test_two_generations_of_one_name_never_run_together() -> None:
    generations, entered, errors = Generations(), threading.Barrier(8), []

    def run() -> None:
        entered.wait()
        try:
            with generations.one("x", "s") as stop:
                stop.wait(0.2)
        except AnimeAIError as error:
            errors.append(error.key)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == ["chat.busy"] * 7
