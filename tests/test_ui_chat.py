"""The chat tab's handlers, called as functions: a real conversation store, a model that says what it is told to."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from html import escape, unescape
from types import SimpleNamespace
from typing import Any

import pytest
from ui_fakes import OWNER, STRANGER, VISITOR, FakeChat

from anime_ai.chat.samplings import KNOBS
from anime_ai.chat.tree import Message
from anime_ai.errors import AccessError, AnimeAIError, ModelError, SettingsError
from anime_ai.models.engine import Sampling
from anime_ai.persona.feelings import drawn
from anime_ai.persona.tone import tone_of
from anime_ai.studio import Studio
from anime_ai.ui import generations
from anime_ai.ui.chat_tab import ChatTab
from anime_ai.ui.generations import Generations
from anime_ai.ui.persons import Person
from anime_ai.ui.said import SHOWN, Seen, Voice, _content, line, sources
from anime_ai.ui.sampling_form import SamplingForm

PLAIN = (False, *SamplingForm._set(Sampling(max_new_tokens=64))[1:])
"""Without thoughts, and the knobs as they are."""
LIST, TITLE, EXPORT, ID, PERSONA, ADAPTER, LINE, LIVE, ANSWERING, BASES = range(10)
"""Places of what is told when a conversation is opened."""


@pytest.fixture
def tab(studio: Studio) -> ChatTab:
    return ChatTab(studio)


def conversation_of(tab: ChatTab, person: Person) -> str:
    return str(tab.arrive(person)[ID])


def collected(stream: Iterator[Any], into: list[Any]) -> list[Any]:
    """Every step of a stream, put into a list that outlives its failure."""
    for step in stream:
        into.append(step)
    return []


def said(line: str) -> list[tuple[str, str]]:
    """What a line of the conversation shows: who, and the words."""
    rows = re.findall(r'<div class="message (user|bot)"[^>]*>(.*?)</div>(?:<div class="acts|</div></article>)', line)
    words = [re.search(r'<div class="message-content">(.*?)</div>', inside) for _, inside in rows]
    return [(who, unescape(found[1])) for (who, _), found in zip(rows, words, strict=True) if found]


def happened(**told: Any) -> Any:
    """What the page tells of a button."""
    return SimpleNamespace(_data=told)


def act(tab: ChatTab, person: Person, conversation: str, act: str, id: str = "", text: str = "") -> list[Any]:
    """The last step of what a button of a message does."""
    told = happened(act=act, id=id, text=text)
    return list(tab.talking.act_on_message(person, told, conversation, "", *PLAIN))[-1]


def test_a_first_visit_opens_the_default_persona_with_her_greeting(tab: ChatTab, studio: Studio) -> None:
    opened = tab.arrive(VISITOR)
    conversation, persona, adapter, line = opened[ID], opened[PERSONA], opened[ADAPTER], opened[LINE]
    her = studio.personas.find("傲娇")
    assert persona["value"] == "傲娇"
    assert len(persona["choices"]) == len(studio.personas.list())
    assert said(line) == [("bot", her.greeting)]
    felt = drawn(her.id, tone_of(her.greeting))
    assert f'src="portraits/{her.id}/{felt}.webp"' in line
    assert f"1/{len(her.said_first)}" in line, "her other greetings can be had"
    assert adapter["value"] in [id for _, id in adapter["choices"]]
    assert "starter" in opened[ANSWERING]
    (greeting,) = studio.conversations.get(VISITOR.id, conversation).messages
    assert greeting.content == her.greeting
    assert tab.arrive(VISITOR)[ID] == conversation


def test_macros_of_a_greeting_are_filled_in(studio: Studio) -> None:
    for persona in studio.personas.list():
        assert "{{" not in persona.greeting


@pytest.fixture
def unpaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is told of every piece, as it is of a slow answer's."""
    monkeypatch.setattr(generations, "EVERY", 0.0)


@pytest.mark.usefixtures("unpaced")
def test_an_answer_streams_and_is_there_after_a_reload(tab: ChatTab, chat: FakeChat) -> None:
    chat.answers = ["哼，随便你。"]
    conversation = conversation_of(tab, VISITOR)
    steps = list(tab.talking.send(VISITOR, " 早上好 ", conversation, "", *PLAIN))
    shown = [said(step[1])[-1][1] for step in steps[:-1]]
    assert "waiting" in shown[0]
    assert "哼" in shown
    assert shown[-1] == "哼，随便你。"
    assert len(shown) >= 6
    assert steps[0][2] == ""
    assert [step[4]["visible"] for step in steps if "visible" in step[4]] == [True, False]
    assert steps[-1][1] == ""
    assert said(steps[-1][0])[1:] == [("user", "早上好"), ("bot", "哼，随便你。")]
    assert said(tab.arrive(VISITOR)[LINE])[1:] == [("user", "早上好"), ("bot", "哼，随便你。")]


def test_her_thoughts_are_folded(tab: ChatTab, chat: FakeChat) -> None:
    chat.answers, chat.thinking = ["不要。"], "其实很想去"
    conversation = conversation_of(tab, VISITOR)
    last = list(tab.talking.send(VISITOR, "一起去吗", conversation, "", *PLAIN))[-1][0]
    folded = r'<details class="thought"><summary>心声 · [\d.]+ 秒</summary><div>其实很想去</div></details>'
    assert re.search(folded, last)


@pytest.mark.usefixtures("unpaced")
def test_closing_the_stream_ends_the_generation_and_keeps_what_she_said(tab: ChatTab, chat: FakeChat) -> None:
    chat.answers = ["一二三四五六七八"]
    conversation = conversation_of(tab, VISITOR)
    stream = tab.talking.send(VISITOR, "数数", conversation, "", *PLAIN)
    for _ in range(4):
        next(stream)
    stream.close()
    assert chat.ended.is_set()
    kept = said(tab.arrive(VISITOR)[LINE])
    assert kept[-1] == ("bot", "一二三")
    chat.answers = ["好"]
    assert list(tab.talking.send(VISITOR, "再来", conversation, "", *PLAIN)), "the conversation is free again"


@pytest.mark.parametrize("how", ["stop", "leave"])
def test_stop_and_a_closed_page_end_the_generation(tab: ChatTab, chat: FakeChat, how: str) -> None:
    chat.answers = ["一" * 500]
    conversation = conversation_of(tab, VISITOR)
    stream = tab.talking.send(VISITOR, "说", conversation, "", *PLAIN)
    next(stream), next(stream)
    tab.talking.stop(VISITOR, conversation) if how == "stop" else tab.leave(VISITOR)
    rest = list(stream)
    assert len(rest) < 5
    assert rest[-1][3]["visible"], "the page can send again"
    assert 0 < len(said(tab.arrive(VISITOR)[LINE])[-1][1]) < 10


def test_a_closed_page_of_somebody_else_stops_nothing(tab: ChatTab, chat: FakeChat) -> None:
    chat.answers = ["一二三"]
    stream = tab.talking.send(VISITOR, "说", conversation_of(tab, VISITOR), "", *PLAIN)
    next(stream)
    tab.leave(STRANGER)
    assert said(list(stream)[-1][0])[-1][1] == "一二三"


def test_a_second_message_waits_for_the_first_answer(tab: ChatTab, chat: FakeChat, studio: Studio) -> None:
    conversation = conversation_of(tab, VISITOR)
    chat.answers = ["第一个", "第二个"]
    first = tab.talking.send(VISITOR, "一", conversation, "", *PLAIN)
    next(first)
    with pytest.raises(AnimeAIError) as caught:
        next(tab.talking.send(VISITOR, "二", conversation, "", *PLAIN))
    assert caught.value.key == "chat.busy"
    list(first)
    assert [message.role for message in studio.conversations.get(VISITOR.id, conversation).messages[1:]] == [
        "user",
        "assistant",
    ]


def test_a_blank_message_generates_nothing(tab: ChatTab, chat: FakeChat, studio: Studio) -> None:
    conversation = conversation_of(tab, VISITOR)
    with pytest.raises(AnimeAIError) as caught:
        list(tab.talking.send(VISITOR, "  \n ", conversation, "", *PLAIN))
    assert caught.value.key == "chat.blank"
    assert chat.seeds == []
    assert len(studio.conversations.get(VISITOR.id, conversation).messages) == 1, "her greeting"


def test_a_message_of_100_000_characters_is_refused_with_the_count(tab: ChatTab) -> None:
    with pytest.raises(AnimeAIError, match="100000"):
        next(tab.talking.send(VISITOR, "长" * 100_000, conversation_of(tab, VISITOR), "", *PLAIN))


def test_a_failure_frees_the_page_and_gives_the_message_back(tab: ChatTab, chat: FakeChat) -> None:
    conversation = conversation_of(tab, VISITOR)
    for failure in (ModelError("model.unknown_adapter", adapter="x"), ImportError("no torch", name="torch")):
        chat.answers = [failure]
        steps: list[Any] = []
        with pytest.raises(type(failure)):
            steps += collected(tab.talking.send(VISITOR, "你好", conversation, "", *PLAIN), steps)
        line, live, message, send, stop, *_ = steps[-1]
        assert message == "你好"
        assert send["visible"]
        assert not stop["visible"]
        assert live == ""
        assert said(line)[1:] == [("user", "你好")], "who sends it again has not asked twice"
    chat.answers = ["早。"]
    first, *_, last = tab.talking.send(VISITOR, "你好", conversation, "", *PLAIN)
    assert [who for who, _ in said(first[1])] == ["bot"], "what was asked stands in the line"
    assert said(last[0])[1:] == [("user", "你好"), ("bot", "早。")]


def test_nobody_reaches_another_ones_conversation(tab: ChatTab, studio: Studio) -> None:
    mine = conversation_of(tab, VISITOR)
    for person in (STRANGER, OWNER):
        with pytest.raises(AccessError):
            next(tab.talking.send(person, "给我看看", mine, "", *PLAIN))
        with pytest.raises(AccessError):
            tab.talking.stop(person, mine)
        with pytest.raises(AccessError):
            tab.clear(person, mine, "")
        with pytest.raises(AccessError):
            act(tab, person, mine, "undo")
        with pytest.raises(AccessError):
            tab.choose_think(person, mine, "", "open")
        for call, *given in (
            (tab.choose_adapter, "", mine),
            (tab.choose_knowledge, mine, []),
            (tab.look_again, "傲娇", "", mine),
            (tab.memory.notice_facts, mine),
            (tab.memory.keep_summary, mine, "x"),
            (tab.group.choose_members, mine, ["温柔"]),
        ):
            with pytest.raises(AccessError):
                call(person, *given)
        with pytest.raises(AccessError):
            tab.drawer.act_on_talk(person, happened(act="open", id=mine), "")
        message = studio.conversations.get(VISITOR.id, mine).messages[0].id
        own = conversation_of(tab, person)
        for way in ("again", "go_on", "reword", "edit", "edit_go_on", "switch", "delete", "undo"):
            with pytest.raises(AccessError):
                act(tab, person, own, way, message, "x")
        with pytest.raises(AccessError):
            tab.branch(person, happened(act="branch", id=message))
    assert len(studio.conversations.list(VISITOR.id)) == 1


def test_a_new_conversation_leaves_the_old_one_in_the_list(tab: ChatTab, chat: FakeChat, studio: Studio) -> None:
    conversation = conversation_of(tab, VISITOR)
    list(tab.talking.send(VISITOR, "你好", conversation, "", *PLAIN))
    opened = tab.clear(VISITOR, conversation, "")
    assert opened[ID] != conversation
    assert len(said(opened[LINE])) == 1
    assert len(studio.conversations.get(VISITOR.id, conversation).messages) == 3
    assert re.findall('data-talk="([^"]*)"', opened[LIST]) == [opened[ID], conversation]
    back = tab.drawer.act_on_talk(VISITOR, happened(act="open", id=conversation), opened[ID])
    assert said(back[LINE])[1] == ("user", "你好")
    assert tab.arrive(VISITOR)[ID] == conversation, "what was open last is open again"


def test_each_persona_has_a_conversation_of_her_own(tab: ChatTab, chat: FakeChat) -> None:
    first = conversation_of(tab, VISITOR)
    list(tab.talking.send(VISITOR, "你好", first, "", *PLAIN))
    second = tab.choose_persona(VISITOR, "温柔")
    assert second[ID] != first
    assert second[PERSONA]["value"] == "温柔"
    assert len(said(second[LINE])) == 1
    assert tab.choose_persona(VISITOR, "傲娇")[ID] == first


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 9),
        ("temperature", "hot"),
        ("top_p", 0),
        ("repetition_penalty", None),
        ("max_new_tokens", 10**9),
        ("seed", "-1"),
        ("seed", "9" * 5000),
        ("top_k", 10**6),
        ("min_p", "x"),
        ("dry_base", 0),
        ("dry_multiplier", -1),
        ("dry_allowed_length", None),
    ],
)
def test_sampling_beyond_its_bounds_is_refused_by_the_server(name: str, value: Any) -> None:
    values = dict(zip(KNOBS, PLAIN[1:], strict=True))
    with pytest.raises(SettingsError, match=name):
        SamplingForm.of([*{**values, name: value}.values()])


@pytest.mark.parametrize(
    ("said", "set_apart"),
    [
        ("*她推开门。* 你来啦", ["她推开门。"]),
        ("她*笑*了，又*低下头*。", ["笑", "低下头"]),
        ("2*3*4 = 24", []),
        ("* 一\n* 二", []),
        ("**粗**", []),
        ("*没有完", []),
        ("<img alt='*x*' src=y onerror=*z*>", ["x", "z"]),
    ],
)
def test_what_is_done_is_set_apart_and_the_text_stays_the_same(said: str, set_apart: list[str]) -> None:
    shown = _content(escape(said))
    assert re.findall(r'<em><span class="star">\*</span>(.*?)<span class="star">\*</span></em>', shown) == set_apart
    assert unescape(re.sub("<[^>]*>", "", shown)) == said
    assert "<img" not in shown
    picture = '<img class="shown" alt="*x*" src="y">'
    assert _content(f"{picture}*笑*").count(picture) == 1


def test_an_adapter_that_is_gone_is_said_and_another_takes_its_place(tab: ChatTab) -> None:
    conversation = conversation_of(tab, VISITOR)
    assert "run:gone" in tab.choose_adapter(VISITOR, "run:gone", conversation)[0]
    adapter, _, _ = tab.look_again(VISITOR, "傲娇", "run:gone", conversation)
    assert adapter["value"] in [id for _, id in adapter["choices"]]


@pytest.mark.parametrize("given", ["<img src=x onerror=a()>", "</script>", "&lt;img&gt; &#60;", "1 < 2 & 3 > 2 <3"])
def test_text_stays_text(given: str) -> None:
    messages = [
        Message("1", "user", given, "", {"picture": {"picture_id": given, "sentence": given}}, siblings=("1",)),
        Message("2", "assistant", given, given, {"tokens": 1, "adapter": given}, "1", siblings=("2",)),
    ]
    shown = line(messages, Voice(given, given, given), Seen("zh"))
    assert said(shown)[-1] == ("bot", given)
    tags = {tag for tag in re.findall(r"<(/?[a-zA-Z]+)", shown)}
    assert tags <= {f"{close}{tag}" for close in ("", "/") for tag in OURS}
    assert shown.count("<img") == 3, "her face twice and the picture"
    assert "onerror" not in re.sub(r"&lt;img src=x onerror=a\(\)&gt;", "", shown)


OURS = ("div", "article", "img", "span", "small", "button", "svg", "path", "details", "summary")


@pytest.mark.parametrize(("used", "title"), [(True, "这次查到的资料"), (False, "这次没用到资料")])
def test_what_was_looked_up_says_whether_it_was_used(used: bool, title: str) -> None:
    passage = {"document": "雪见.txt", "coverage": 0.5, "lexical_rank": 1, "dense_rank": None, "score": 1.0}
    passage |= {"text": "七月七日", "used": used, "why": "" if used else "knowledge.why.small_talk"}
    panel = sources({"question": "生日？", "passages": [passage]}, "zh")
    assert f"<summary>{title}</summary>" in panel
    assert "生日？" in panel
    assert ("像是闲聊" in panel) is not used
    assert ('class="sources unused"' in panel) is not used, "what hides it above the last answer"


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


def test_an_answer_can_be_swiped_reworded_gone_on_with_and_taken_back(
    tab: ChatTab, chat: FakeChat, studio: Studio
) -> None:
    chat.answers = ["一", "二", "三", "四", "五"]
    conversation = conversation_of(tab, VISITOR)
    list(tab.talking.send(VISITOR, "问", conversation, "", *PLAIN))

    def ids() -> list[str]:
        return [one.id for one in studio.conversations.get(VISITOR.id, conversation).messages]

    greeting, asked, first = ids()
    again = act(tab, VISITOR, conversation, "again", first)
    assert said(again[0])[-1] == ("bot", "二")
    assert "2/2" in again[0]
    assert said(act(tab, VISITOR, conversation, "switch", first)[0])[-1] == ("bot", "一")
    edited = act(tab, VISITOR, conversation, "edit_go_on", first, "一又二分之")
    assert said(edited[0])[-1] == ("bot", "一又二分之三")
    assert said(act(tab, VISITOR, conversation, "reword", asked, "换个问法")[0])[-2:] == [
        ("user", "换个问法"),
        ("bot", "四"),
    ]
    back = act(tab, VISITOR, conversation, "undo", ids()[1])
    assert said(back[0]) == said(act(tab, VISITOR, conversation, "switch", greeting)[0])[:1]
    assert back[2] == "换个问法", "what was taken back is in the box"
    assert 'data-act="forward"' in back[0]
    act(tab, VISITOR, conversation, "undo", ids()[1])
    assert said(act(tab, VISITOR, conversation, "forward")[0])[-1] == ("bot", "四")
    act(tab, VISITOR, conversation, "switch", asked)
    left = act(tab, VISITOR, conversation, "delete", ids()[-1])
    assert said(left[0])[-1][1] in ("一", "二")
    branched = tab.branch(VISITOR, happened(act="branch", id=asked))
    assert branched[ID] != conversation
    assert said(branched[LINE])[-1] == ("user", "问")
    for nonsense in ("", "explode"):
        with pytest.raises(AnimeAIError):
            act(tab, VISITOR, conversation, nonsense)


def test_while_she_answers_again_the_old_answer_is_away(tab: ChatTab, chat: FakeChat, studio: Studio) -> None:
    chat.answers = ["旧", "新的回答"]
    conversation = conversation_of(tab, VISITOR)
    list(tab.talking.send(VISITOR, "问", conversation, "", *PLAIN))
    last = studio.conversations.get(VISITOR.id, conversation).messages[-1]
    stream = tab.talking.act_on_message(VISITOR, happened(act="again", id=last.id), conversation, "", *PLAIN)
    first = next(stream)
    assert said(first[0])[-1] == ("user", "问")
    next(stream)
    stream.close()
    assert said(tab.arrive(VISITOR)[LINE])[-1] == ("bot", "新")


def test_a_message_may_be_thought_about_otherwise_than_its_conversation(tab: ChatTab, chat: FakeChat) -> None:
    conversation = conversation_of(tab, VISITOR)
    list(tab.talking.send(VISITOR, "一", conversation, "", *PLAIN))
    list(tab.talking.send(VISITOR, "二", conversation, "", True, *PLAIN[1:]))
    assert tab.choose_think(VISITOR, conversation, "", "inner") is True
    list(tab.talking.send(VISITOR, "三", conversation, "", True, *PLAIN[1:]))
    list(tab.talking.send(VISITOR, "四", conversation, "", *PLAIN))
    assert [how.think for how in chat.hows] == ["silent", "open", "inner", "silent"]
    assert tab.choose_think(VISITOR, conversation, "", "nonsense") is False


def test_the_knobs_are_kept_for_each_persona(tab: ChatTab, studio: Studio) -> None:
    form = tab.sampling

    def shown(person: Person, persona: str) -> list[Any]:
        return form.shown(person, studio.conversations.start(person.id, persona))[1:]

    wild = form.choose_preset(VISITOR, "傲娇", None, "wild")
    assert shown(VISITOR, "傲娇") == wild
    assert wild[0] == "wild"
    assert shown(VISITOR, "温柔")[0] == shown(STRANGER, "傲娇")[0] == "standard"
    values = dict(zip(KNOBS, wild[1:], strict=True)) | {"temperature": 0.7, "seed": 7}
    assert form.keep_knobs(VISITOR, "傲娇", None, *values.values()) is None
    assert dict(zip(KNOBS, shown(VISITOR, "傲娇")[1:], strict=True)) == values
    with pytest.raises(SettingsError):
        form.keep_knobs(VISITOR, "傲娇", None, *(values | {"min_p": 7}).values())


def test_of_several_each_has_her_knobs(tab: ChatTab, studio: Studio) -> None:
    form = tab.sampling
    group = studio.rounds.begin(VISITOR.id, ["傲娇", "活泼"])
    whose = form.shown(VISITOR, group)[0]
    assert (whose["value"], whose["visible"]) == ("傲娇", True)
    assert [persona for _, persona in whose["choices"]] == ["傲娇", "活泼"]
    wild = form.choose_preset(VISITOR, "傲娇", "活泼", "wild")
    assert form.choose_whose(VISITOR, "活泼") == wild
    assert form.choose_whose(VISITOR, "傲娇")[0] == "standard"


def test_conversations_are_found_named_pinned_and_thrown_away(tab: ChatTab, chat: FakeChat, studio: Studio) -> None:
    first = conversation_of(tab, VISITOR)
    list(tab.talking.send(VISITOR, "海棠花开了吗", first, "", *PLAIN))
    second = str(tab.clear(VISITOR, first, "")[ID])
    list(tab.talking.send(VISITOR, "今天吃什么", second, "", *PLAIN))
    assert f'data-talk="{first}"' in tab.drawer.find_talk(VISITOR, "海棠", second)
    assert first not in tab.drawer.find_talk(STRANGER, "海棠", "")
    hit = re.search('data-at="([^"]+)"', tab.drawer.find_talk(VISITOR, "海棠", second))
    assert hit
    found = tab.drawer.act_on_talk(VISITOR, happened(act="open", id=first, message=hit[1]), second)
    assert ("user", "海棠花开了吗") in said(found[LINE])
    renamed = tab.drawer.act_on_talk(VISITOR, happened(act="rename", id=first, text="<b>春天</b>"), first)
    assert "&lt;b&gt;春天&lt;/b&gt;" in renamed[LIST]
    assert "&lt;b&gt;春天&lt;/b&gt;" in renamed[TITLE]
    pinned = tab.drawer.act_on_talk(VISITOR, happened(act="pin", id=first), second)[LIST]
    assert re.findall('data-talk="([^"]*)"', pinned) == [first, second]
    tab.drawer.act_on_talk(VISITOR, happened(act="remove", id=first), first)
    assert [one.id for one in studio.conversations.list(VISITOR.id)] == [second]
    with pytest.raises(AccessError):
        tab.drawer.act_on_talk(STRANGER, happened(act="remove", id=second), "")


def test_a_long_line_is_shown_from_its_end(tab: ChatTab, studio: Studio) -> None:
    conversation = conversation_of(tab, VISITOR)
    for number in range(SHOWN + 5):
        studio.conversations.append(VISITOR.id, conversation, "user", str(number))
    opened = tab.arrive(VISITOR)[LINE]
    assert len(said(opened)) == SHOWN
    assert 'data-act="earlier"' in opened
    assert len(said(act(tab, VISITOR, conversation, "earlier")[0])) == SHOWN + 6


def test_a_persona_that_is_gone_is_said(tab: ChatTab, studio: Studio) -> None:
    talk = studio.conversations.start(VISITOR.id, "<b>谁</b>")
    opened = tab.arrive(VISITOR)
    assert opened[ID] == talk.id
    assert "&lt;b&gt;谁&lt;/b&gt;”已经不在了" in opened[ANSWERING]


def test_a_question_that_is_deleted_while_it_is_answered_again_is_no_fault_of_the_program(studio: Studio) -> None:
    talk = studio.conversations.start("owner", "傲娇").id
    asked = studio.conversations.append("owner", talk, "user", "早")
    replies = studio.chat.again("owner", asked.id)
    next(replies)
    studio.conversations.branches.delete("owner", asked.id)
    with pytest.raises(AccessError):
        list(replies)
    assert studio.conversations.get("owner", talk).messages == ()
