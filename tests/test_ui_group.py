"""Several personas in one conversation on the page: its handlers called as functions, then a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from browsing import Tab, choose
from test_ui_chat import ID, LINE, PERSONA, PLAIN
from ui_fakes import OWNER, STRANGER, VISITOR, FakeChat

from anime_ai.errors import AccessError, AnimeAIError, PersonaError
from anime_ai.persona.card import card_of
from anime_ai.persona.files import Found
from anime_ai.studio import Studio
from anime_ai.ui.chat_tab import ChatTab
from anime_ai.ui.group_panel import OWN

BOTH = ["傲娇", "活泼"]
FACES, MEMBERS, ORDER, *ADAPTERS = range(-9, -2)  # before the buttons that send and that stop
"""Places of the group's, behind all that is told when a conversation is opened."""


@pytest.fixture
def tab(studio: Studio) -> ChatTab:
    return ChatTab(studio)


def hidden(studio: Studio, name: str) -> str:
    value = {"spec": "chara_card_v2", "spec_version": "2.0", "data": {"name": name, "description": "她。"}}
    return studio.personas.add(Found(card_of(value)[0])).name


def pressed(**told: Any) -> Any:
    return SimpleNamespace(_data=told)


def begun(tab: ChatTab, person: Any = OWNER, order: str = "round") -> list[Any]:
    """What is shown of a new group of two, without the chooser that it was begun with."""
    return tab.group.start_group(person, BOTH, order)[:-1]


def test_a_group_shows_names_faces_and_a_button_for_each(tab: ChatTab, studio: Studio) -> None:
    opened = begun(tab)
    assert len(opened) == len(tab.show(OWNER, None))
    assert "新的对话" in opened[0], "the list tells of it"
    assert "纪棠、姜小满" in opened[0]
    assert "纪棠、姜小满" in opened[PERSONA]["label"]
    for name, id in (("纪棠", "tsundere"), ("姜小满", "genki")):
        assert f'<b class="speaker">{name}</b>' in opened[LINE]
        assert f"portraits/{id}" in opened[LINE]
        assert f'title="让{name}说"' in opened[FACES]
    assert opened[MEMBERS]["value"] == BOTH
    assert [opened[place]["visible"] for place in (ORDER, *ADAPTERS)] == [True, True, True, False, False]
    assert opened[ADAPTERS[0]]["value"] == OWN
    alone = tab.choose_persona(OWNER, "傲娇")
    assert alone[FACES] == ""
    assert "speaker" not in alone[LINE]
    assert alone[PERSONA]["label"] == "角色"
    assert not alone[ORDER]["visible"]
    again = tab.clear(OWNER, str(opened[ID]), "")
    assert again[MEMBERS]["value"] == BOTH
    assert again[ID] != opened[ID]


def test_answers_come_one_after_another_and_each_is_shown_as_hers(tab: ChatTab, chat: FakeChat) -> None:
    conversation = str(begun(tab)[ID])
    chat.answers = ["甲一", "乙一"]
    steps = list(tab.talking.send(OWNER, "早", conversation, "", *PLAIN))
    live = [step[1] for step in steps if isinstance(step[1], str)]
    assert [name for name in ("纪棠", "姜小满") if any(f'<b class="speaker">{name}</b>' in one for one in live)] == [
        "纪棠",
        "姜小满",
    ]
    assert not any("甲一" in one and "乙" in one for one in live)
    between = next(step for step in steps if isinstance(step[0], str) and "甲一" in step[0])
    assert "乙一" not in between[0], "hers stands in the line before the other one begins"
    assert steps[-1][0].index("甲一") < steps[-1][0].index("乙一")
    chat.answers = ["乙二"]
    steps = list(tab.group.let_speak(OWNER, pressed(persona="活泼"), conversation, "", *PLAIN))
    assert "乙二" in steps[-1][0]
    assert steps[-1][0].count('<b class="speaker">姜小满</b>') == 3


def test_each_thinks_as_her_adapter_was_trained_unless_the_switch_says_otherwise(
    tab: ChatTab, chat: FakeChat, studio: Studio
) -> None:
    conversation = str(begun(tab)[ID])
    there = studio.conversations.get(OWNER.id, conversation)
    assert tab.how(OWNER, there, None, "", *PLAIN).think == ""
    assert tab.how(OWNER, there, None, "", True, *PLAIN[1:]).think == "open"


def test_a_persona_that_is_gone_is_said_and_the_others_go_on(
    tab: ChatTab, chat: FakeChat, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("anime_ai.ui.talking.note", lambda line, language: said.append(line))
    name = hidden(studio, "她")
    conversation = str(tab.group.start_group(OWNER, [name, "活泼"], "round")[ID])
    studio.personas.remove(studio.personas.find(name).id)
    chat.answers = ["在的"]
    steps = list(tab.talking.send(OWNER, "有人吗", conversation, "", *PLAIN))
    assert "在的" in steps[-1][0]
    assert len(said) == 1
    assert said[0].startswith("她没能说话")
    opened = tab.show(OWNER, studio.conversations.get(OWNER.id, conversation))
    assert 'class="gone"' in opened[FACES]
    assert "她" in dict(map(reversed, opened[MEMBERS]["choices"])), "she can be taken out"


def test_members_order_and_adapters_are_changed_later(
    tab: ChatTab, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("anime_ai.ui.group_panel.note", lambda line, language: said.append(line))
    opened = tab.arrive(OWNER)[:-1]
    conversation = str(opened[ID])
    assert tab.group.choose_members(OWNER, conversation, ["傲娇"])[FACES] == ""
    shown = tab.group.choose_members(OWNER, conversation, ["傲娇", "温柔", "三无"])
    assert [one.persona for one in studio.conversations.get(OWNER.id, conversation).members] == ["傲娇", "温柔", "三无"]
    assert "点头像" in tab.group.choose_order(OWNER, conversation, "hand")
    three = ["傲娇", "温柔", "三无"]
    tab.group.dress_members(OWNER, conversation, three, OWN, "", "shipped:genki", None)
    there = studio.conversations.get(OWNER.id, conversation)
    assert [one.adapter for one in there.members] == [None, "", "shipped:genki"]
    assert there.settings["order"] == "hand"
    assert said == []
    shown = tab.group.choose_members(OWNER, conversation, ["傲娇"])
    assert shown[MEMBERS]["value"] == ["傲娇", "温柔", "三无"]
    assert len(said) == 1
    with pytest.raises(AnimeAIError):
        tab.group.dress_members(OWNER, conversation, ["傲娇"], "run:nothing", "", "", None)
    studio.rounds.gather(OWNER.id, conversation, ["三无", "活泼", "傲娇"])  # in another window
    tab.group.dress_members(OWNER, conversation, three, "", OWN, OWN, None)
    members = studio.conversations.get(OWNER.id, conversation).members
    assert [(one.persona, one.adapter) for one in members] == [("三无", None), ("活泼", None), ("傲娇", "")]


def test_a_visitor_gets_nobody_they_may_not_talk_to(tab: ChatTab, studio: Studio) -> None:
    secret = hidden(studio, "秘密")
    assert secret not in [value for _, value in tab.group.offer_group(VISITOR)["choices"]]
    assert secret in [value for _, value in tab.group.offer_group(OWNER)["choices"]]
    with pytest.raises(PersonaError):
        tab.group.start_group(VISITOR, ["傲娇", secret], "round")
    conversation = str(begun(tab, VISITOR)[ID])
    before = studio.conversations.get(VISITOR.id, conversation)
    tab.group.choose_members(VISITOR, conversation, [*BOTH, secret])
    assert studio.conversations.get(VISITOR.id, conversation) == before
    for call in (
        lambda: tab.group.choose_members(STRANGER, conversation, BOTH),
        lambda: tab.group.choose_order(STRANGER, conversation, "hand"),
        lambda: tab.group.dress_members(STRANGER, conversation, BOTH, OWN, OWN),
        lambda: list(tab.group.let_speak(STRANGER, pressed(persona="傲娇"), conversation, "", *PLAIN)),
    ):
        with pytest.raises(AccessError):
            call()
    for persona in (secret, "三无", "<b>"):
        with pytest.raises(AnimeAIError):
            list(tab.group.let_speak(VISITOR, pressed(persona=persona), conversation, "", *PLAIN))


def test_names_are_text(tab: ChatTab, studio: Studio) -> None:
    nasty = hidden(studio, '<img src=x onerror="a()">')
    opened = tab.group.start_group(OWNER, [nasty, "活泼"], "round")[:-1]
    list(tab.talking.send(OWNER, "早", str(opened[ID]), "", *PLAIN))
    shown = tab.show(OWNER, studio.conversations.get(OWNER.id, str(opened[ID])))
    for html in (shown[0], shown[LINE], shown[FACES]):
        assert "<img src=x" not in html
        assert "&lt;img" in html


def test_the_memory_of_each_can_be_looked_at(tab: ChatTab, studio: Studio) -> None:
    conversation, whose = str(begun(tab)[ID]), 3
    tab.memory.add_fact(OWNER, conversation, "用户怕打雷", "活泼")
    assert [one.text for one in studio.memory.list(OWNER.id, "活泼")] == ["用户怕打雷"]
    assert studio.memory.list(OWNER.id, "傲娇") == []
    shown = tab.memory.look_at_memory(OWNER, conversation, "活泼")
    assert "用户怕打雷" in shown[1]
    assert (shown[whose]["value"], shown[whose]["visible"]) == ("活泼", True)
    assert "用户怕打雷" not in tab.memory.look_at_memory(OWNER, conversation, "没有她")[1]


@pytest.mark.browser
def test_a_group_of_two_is_begun_named_let_speak_and_there_after_a_reload(tab_of_browser: Tab) -> None:
    tab = tab_of_browser
    page = tab.open()
    page.click("#new-group button.label-wrap")
    for words in ("纪棠", "姜小满"):
        choose(page, "#new-group-who", words)
    page.keyboard.press("Escape")
    page.click("#new-group-start")
    page.wait_for_selector("#members button[data-let='活泼']")
    assert len(tab.answered(2)) == 2
    tab.say("早呀")
    assert tab.answered(5)[2:] == ["早呀", "shipped:tsundere说：早呀", "shipped:genki说：早呀"]
    tab.say("@姜小满 走吗？")
    assert tab.answered(7)[5:] == ["@姜小满 走吗？", "shipped:genki说：走吗？"]
    page.click("#members button[data-let='傲娇']")
    assert tab.answered(8)[7] == "shipped:tsundere说：走吗？"
    speakers = ["纪棠", "姜小满", "纪棠", "姜小满", "姜小满", "纪棠"]
    assert page.locator("#line .speaker").all_inner_texts() == speakers
    page = tab.reopen()
    page.wait_for_selector("#members button[data-let='活泼']")
    assert page.locator("#line .speaker").all_inner_texts() == speakers
    tab.act("again")
    tab.swiped("2/2")
    assert page.locator("#line .speaker").all_inner_texts() == speakers
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.fixture
def tab_of_browser(browser: Any, address: str) -> Iterator[Tab]:
    """A page of the served app, which must not have failed or called elsewhere."""
    found = Tab(browser, address)
    yield found
    assert found.faults == []
    assert found.elsewhere == []
    found.context.close()
