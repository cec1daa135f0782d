"""What a page is told of an answer, and how often."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from test_ui_chat import ID, LINE, PLAIN, collected, conversation_of, happened, said
from ui_fakes import VISITOR, FakeChat

from anime_ai.errors import AccessError
from anime_ai.studio import Studio
from anime_ai.ui import generations
from anime_ai.ui.chat_tab import ChatTab
from anime_ai.ui.generations import paced


def test_a_page_sees_the_first_and_the_last_of_a_fast_answer_and_little_between() -> None:
    shown = list(paced(iter(range(10_000))))
    assert (shown[0], shown[-1]) == (0, 9_999)
    assert len(shown) < 100
    assert shown == sorted(set(shown))


def test_a_slow_answer_is_seen_whole() -> None:
    def slow() -> Iterator[int]:
        for number in range(3):
            time.sleep(generations.EVERY * 1.5)
            yield number

    assert list(paced(slow())) == [0, 1, 2]
    assert list(paced(iter(()))) == []


def begun(tab: ChatTab, chat: FakeChat) -> tuple[str, Iterator[list[Any]]]:
    """A conversation in which she has begun a long answer, and the stream that tells of it."""
    chat.answers = ["一" * 500]
    conversation = conversation_of(tab, VISITOR)
    stream = tab.talking.send(VISITOR, "说", conversation, "", *PLAIN)
    next(stream), next(stream)
    return conversation, stream


def sends(buttons: list[Any]) -> list[bool]:
    """Whether the page can send, and stop."""
    return [one["visible"] for one in buttons]


def test_who_opens_another_conversation_is_told_of_that_one_alone(studio: Studio, chat: FakeChat) -> None:
    tab = ChatTab(studio)
    first, stream = begun(tab, chat)
    opened = tab.choose_persona(VISITOR, "温柔")
    assert sends(opened[-2:]) == [True, False]
    assert list(stream) == [tab.talking._step()], "what Gradio sends again at the end is nothing too"
    last = studio.conversations.get(VISITOR.id, first).messages[-1]
    assert 0 < len(last.content) < 10, "what she has said is kept"
    chat.answers = ["好"]
    steps = list(tab.talking.send(VISITOR, "早", opened[ID], "", *PLAIN))
    assert said(steps[-1][0])[-1] == ("bot", "好")


def test_who_comes_back_before_she_has_ended_can_send_when_she_has(studio: Studio, chat: FakeChat) -> None:
    tab = ChatTab(studio)
    _, stream = begun(tab, chat)
    tab.choose_persona(VISITOR, "温柔")
    assert sends(tab.choose_persona(VISITOR, "傲娇")[-2:]) == [False, True]
    *_, last = stream
    assert sends(last[3:5]) == [True, False]
    assert said(last[0]) == said(tab.arrive(VISITOR)[LINE])


def test_a_conversation_that_is_deleted_in_mid_answer_leaves_a_page_that_can_send(
    studio: Studio, chat: FakeChat
) -> None:
    tab = ChatTab(studio)
    first, stream = begun(tab, chat)
    tab.drawer.act_on_talk(replace(VISITOR, session="another page"), happened(act="remove", id=first), "")
    steps: list[Any] = []
    with pytest.raises(AccessError):
        collected(stream, steps)
    assert sends(steps[-1][3:5]) == [True, False]
    assert chat.ended.is_set()
