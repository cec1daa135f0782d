"""The whole way of a conversation in a real Chromium: from a card to a pair in the dataset tab."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from browsing import Tab, choose, import_card
from card_makers import encoded, png, text, v3

pytestmark = [pytest.mark.browser, pytest.mark.slow]
QUESTION = "What is in this forest?"
ANSWER = "base说：What is in this forest?"
WRITTEN = "*smiles* Only moss, old stones and me."
ALONE = "document.querySelectorAll('#line .message-row').length === 1"
LONG = "长" * 1500


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """Seraphina as SillyTavern ships her; one of that name made here where the test data is absent."""
    named = os.environ.get("ANIME_AI_TEST_DATA", "")
    if named:
        return Path(named) / "cards" / "default_Seraphina.png"
    file = tmp_path / "card.png"
    made = v3(name="Seraphina", first_mes="You wake with a start in a quiet glade.")
    file.write_bytes(png([text("ccv3", encoded(made))], size=80))
    return file


def talk_to_her(tab: Tab, card: Path) -> Any:
    """The chat with her, in which nothing but her greeting was said."""
    page = import_card(tab, card, "Seraphina")
    page.click("#persona-talk")
    page.wait_for_selector("#line .message:has-text('You wake with a start')")
    if page.locator("#line .message-row").count() > 1:
        page.click("#clear")
        page.wait_for_function(ALONE)
    return page


def shown(page: Any) -> list[str]:
    return list(page.locator("#line .message-content").all_inner_texts())


def rewrite(tab: Tab, place: int, words: str) -> None:
    tab.act("edit", place)
    tab.page.fill("#line .rewrite textarea", words)
    tab.page.click("#line .rewrite button.main")


def test_what_is_said_about_a_card_becomes_a_pair_in_the_dataset(tab: Tab, card: Path) -> None:
    page = talk_to_her(tab, card)
    tab.say(QUESTION)
    assert tab.answered(3)[1:] == [QUESTION, ANSWER]
    tab.swiped("1/1")
    page.click("#line .message-row >> nth=-1 >> .swipe button >> nth=1")
    tab.swiped("2/2")
    page.click("#line .message-row >> nth=-1 >> .swipe button >> nth=0")
    tab.swiped("1/2")
    rewrite(tab, -1, WRITTEN)
    page.wait_for_function(  # to the sign, asterisks too, though what they enclose is set apart
        "(said) => [...document.querySelectorAll('#line .message-content')].some((one) => one.textContent === said)",
        arg=WRITTEN,
    )
    tab.swiped("3/3")
    tab.act("up")
    page.wait_for_selector("#line button[data-act=up].on")

    rewrite(tab, 1, "And who are you?")
    page.wait_for_selector("#line .message-content:text-is('base说：And who are you?')")
    assert len(tab.answered(3)) == 3
    before = page.locator("#talks li").count()
    tab.act("branch", 1)
    page.wait_for_function(f"document.querySelectorAll('#talks li').length === {before + 1}")
    page.wait_for_function("document.querySelectorAll('#line .message-row').length === 2")
    assert shown(page)[1:] == ["And who are you?"]
    page.click("#talks li:not(.chosen) >> nth=0")
    page.wait_for_function("document.querySelectorAll('#line .message-row').length === 3")

    tab.go("dataset")
    choose(page, "#dataset-name", "聊天反馈")
    page.wait_for_selector(f"#grid tr:has-text('{WRITTEN}')")
    pair = page.locator(f"#grid tr[data-row]:has-text('{QUESTION}'):has-text('{WRITTEN}'):has-text('Seraphina')")
    pair.first.click()
    page.wait_for_selector(".bubbles .worse", state="attached")
    assert ANSWER in page.locator(".bubbles .worse").first.text_content()
    assert page.input_value("#editor textarea >> nth=1") == WRITTEN


def test_a_tab_that_is_closed_in_mid_answer_loses_nothing(tab: Tab, card: Path) -> None:
    page = talk_to_her(tab, card)
    tab.say(LONG)
    page.wait_for_selector("#live .streaming .message-content:has-text('base说：长')")
    page = tab.reopen()
    kept = tab.answered(3)
    assert kept[1] == LONG
    assert kept[2].startswith("base说：长")
    assert f"base说：{LONG}".startswith(kept[2])
    tab.act("go_on")
    page.wait_for_selector("#stop")
    page.click("#stop")
    longer = tab.answered(3)
    assert longer[2].startswith(kept[2])
    page = tab.reopen()
    assert shown(page)[2] == longer[2]


def test_the_search_follows_what_is_typed(tab: Tab, card: Path) -> None:
    page = talk_to_her(tab, card)
    tab.say("小鱼干在哪里？")
    tab.answered(3)
    page.wait_for_selector("#talks li[data-talk]")
    keyboard = tab.context.new_cdp_session(page)
    page.focus("#talk-search :is(input, textarea)")
    keyboard.send("Input.insertText", {"text": "小鱼干"})
    page.wait_for_selector("#talks li.hit mark:text-is('小鱼干')")
    page.keyboard.press("Backspace")
    page.keyboard.type("儿", delay=20)
    page.wait_for_selector("#talks .empty")
    page.fill("#talk-search :is(input, textarea)", "")
    page.wait_for_selector("#talks li.chosen[data-talk]")
