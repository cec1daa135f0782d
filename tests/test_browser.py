"""What only a browser shows: inert markup, composition, a phone's width, who may what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from browsing import Tab, choose, drop, upload
from ui_fakes import served

pytestmark = [pytest.mark.browser, pytest.mark.slow]
EVIL = (
    '<img src=x onerror="document.title=1"> <svg onload=alert(1)> [点我](javascript:alert(1)) '
    "![图](http://203.0.113.1/a.png) ${alert(1)} {{constructor}}"
)


def rows_that_ship(tab: Tab) -> Any:
    """The tab of the dataset that has more than one page, whatever other tests have brought in."""
    page = tab.open()
    tab.go("dataset")
    page.wait_for_selector("#grid [data-row]")
    if "内置对话" not in page.input_value("#dataset-name input"):  # choosing it empties the editor once more
        choose(page, "#dataset-name", "内置对话")
    page.wait_for_selector("#pager:has-text('第 1 '):not(:has-text('/ 1 页'))")
    page.wait_for_timeout(300)  # the editor is emptied behind the pager
    return page


def test_whatever_is_written_anywhere_stays_text(tab: Tab, tmp_path: Path) -> None:
    page = tab.open()
    start = page.locator("#talk .message-content").count()
    tab.say(EVIL)
    shown = tab.answered(start + 2)
    assert shown[-2] == EVIL
    assert shown[-1].endswith(EVIL), "what a model says is text too"
    assert page.locator("#talk").locator("img:not([src*='portraits/']), svg[onload], a").count() == 0
    tab.go("dataset")
    rows = [{"input": f"{EVIL}{n}", "output": EVIL, "persona": "<b>傲娇</b>"} for n in range(3)]
    upload(page, tmp_path, rows, "<img src=x onerror=alert(1)>.json")
    page.wait_for_function("document.querySelectorAll('#grid tr[data-row]').length === 3")
    assert page.locator("#grid img, #grid b").count() == 0
    assert "${alert(1)} {{constructor}}" in page.inner_text("#grid tr[data-row] >> nth=0")
    page.click("#grid tr[data-row] >> nth=1")
    page.wait_for_function("document.querySelector('#editor textarea').value !== ''")
    assert page.input_value("#editor textarea >> nth=0") == f"{EVIL}1"
    (tmp_path / "坏.json").write_text(json.dumps([{"input": EVIL, "output": ""}]), encoding="utf-8")
    drop(page, tmp_path / "坏.json")
    page.wait_for_selector("#upload-box .fault")
    page.wait_for_timeout(300)
    assert page.title() == "Anime AI Studio"


def test_a_row_is_edited_with_the_keyboard_and_the_undo_brings_it_back(tab: Tab) -> None:
    page = rows_that_ship(tab)
    page.focus("#grid tr[data-row] >> nth=2")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#editor textarea').value !== ''")
    page.fill("#editor textarea >> nth=1", "新的回答，写给测试。")
    page.click("#save-row")
    page.wait_for_selector("#grid tr.chosen:has-text('新的回答，写给测试。')")
    page.click("#delete-row")
    page.wait_for_selector("#undo-row:has-text('删除')")
    assert "新的回答，写给测试。" not in page.inner_text("#grid")
    page.focus("#grid tr[data-row] >> nth=0")
    page.keyboard.press("Control+z")
    page.wait_for_selector("#grid tr:has-text('新的回答，写给测试。')")
    page.focus("#grid tr[data-row] >> nth=0")
    page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    page.wait_for_function("document.querySelectorAll('#grid tbody input:checked').length === 1")
    first = page.get_attribute("#grid tr[data-row] >> nth=0", "data-row")
    page.click("#grid thead input")
    page.click("#dataset button:text-is('下一页')")
    page.wait_for_selector(f"#grid:not(:has([data-row='{first}'])) tr[data-row]")
    page.wait_for_function("document.querySelectorAll('#grid input:checked').length === 0")  # none went over


LATE_ENDS = """
const fetched = window.fetch.bind(window);
window.fetch = async (target, options) => {
  const answer = await fetched(target, options);
  if (!(target instanceof Request) || !target.url.includes("/queue/data")) return answer;
  const late = new TransformStream({ async transform(chunk, out) {
    if (new TextDecoder().decode(chunk).includes("close_stream")) {
      window.held = true;
      await new Promise((go) => setTimeout(go, 1500));
      window.held = false;
    }
    out.enqueue(chunk);
  } });
  return new Response(answer.body.pipeThrough(late), { headers: answer.headers });
};
"""
"""The word that a stream of answers has ended takes its time."""


def test_what_is_asked_while_the_stream_of_answers_ends_is_answered(tab: Tab) -> None:
    tab.page.add_init_script(LATE_ENDS)
    page = rows_that_ship(tab)
    for number in (2, 3):
        page.wait_for_function("window.held === false")
        page.click("#grid tr[data-row] >> nth=1")  # something else, for a stream to end
        page.wait_for_function("window.held === true")
        page.click("#dataset button:text-is('下一页')")
        assert page.evaluate("window.held"), "the call was made while the word was held back"
        page.wait_for_selector(f"#pager:has-text('第 {number} ')", timeout=10_000)


def test_a_failure_is_said_in_words_and_covers_nothing(tab: Tab) -> None:
    page = tab.open()
    before = page.locator("#talk .message-content").count()
    tab.say("   ")
    page.wait_for_selector(".toast-message-text:has-text('还没有写内容')")
    assert page.locator("#talk .message-content").count() == before
    covered = """() => {
        const box = document.querySelector('#talk .message-content').getBoundingClientRect();
        const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
        return !top.closest('.message');
    }"""
    assert not page.evaluate(covered)


def test_enter_in_a_composition_sends_nothing(tab: Tab) -> None:
    page = tab.open()
    before = page.locator("#talk .message-content").count()
    page.fill("#message textarea", "ni hao")
    page.focus("#message textarea")
    press = """(composing) => {
        const box = document.querySelector('#message textarea');
        let reached = 0;
        box.addEventListener('keydown', () => { reached += 1; }, { once: true });
        box.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, isComposing: composing }));
        return reached;
    }"""
    assert page.evaluate(press, True) == 0, "no component sees the Enter that ends a composition"
    page.wait_for_timeout(500)
    assert page.locator("#talk .message-content").count() == before
    assert page.input_value("#message textarea") == "ni hao"
    page.keyboard.press("Enter")
    tab.answered(before + 2)


def test_a_row_is_written_with_an_input_method(tab: Tab) -> None:
    """A composition is neither saved half nor lost, in a cell and in the search."""
    page = rows_that_ship(tab)
    keyboard = tab.context.new_cdp_session(page)

    def composing(text: str) -> None:
        keyboard.send("Input.imeSetComposition", {"text": text, "selectionStart": len(text), "selectionEnd": len(text)})

    press = """([place, key, control]) => document.querySelector(place).dispatchEvent(
        new KeyboardEvent('keydown', { key, ctrlKey: control, bubbles: true, isComposing: true }))"""
    page.click("#grid tr[data-row] >> nth=5")
    page.wait_for_function("document.querySelector('#editor textarea').value !== ''")
    page.fill("#editor textarea >> nth=1", "")
    page.focus("#editor textarea >> nth=1")
    composing("nihao")
    page.evaluate(press, ["#editor textarea:nth-of-type(1)", "s", True])
    composing("你好")
    keyboard.send("Input.insertText", {"text": "你好，ありがとう。"})
    assert page.input_value("#editor textarea >> nth=1") == "你好，ありがとう。"
    page.wait_for_timeout(400)
    assert page.locator("#grid tr:has-text('nihao')").count() == 0
    page.keyboard.press("Control+s")
    page.wait_for_selector("#grid tr.chosen:has-text('你好，ありがとう。')")
    search = "#row-search :is(input, textarea)"
    page.focus(search)
    composing("ありがとう")
    page.evaluate(press, [search, "Enter", False])
    page.wait_for_timeout(400)
    assert page.locator("#grid tr[data-row]").count() == 25, "the Enter that ends a composition searches for nothing"
    keyboard.send("Input.insertText", {"text": "ありがとう"})
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('#grid tr[data-row]').length === 1")
    page.click("#undo-row")
    page.wait_for_function("document.querySelectorAll('#grid tr[data-row]').length !== 1")


def test_stop_and_a_reload_keep_what_she_said(tab: Tab) -> None:
    page = tab.open()
    before = page.locator("#talk .message-content").count()
    tab.say("长" * 1500)
    page.wait_for_selector("#stop")
    page.wait_for_function(f"document.querySelectorAll('#talk .message-content').length >= {before + 2}")
    page.wait_for_timeout(500)
    page.click("#stop")
    stopped = tab.answered(before + 2, seconds=5)
    assert 0 < len(stopped[-1]) < 1500
    page.reload()
    page.wait_for_selector("#talk .message")
    assert tab.answered(before + 2)[-1] == stopped[-1]
    page.click("#clear")
    page.wait_for_function("document.querySelectorAll('#talk .message-content').length === 1")


def test_the_walk_leads_through_the_tabs_and_goes_away_for_good(tab: Tab) -> None:
    page = tab.open()
    for number, inside in ((1, "#grid"), (2, "#start"), (3, "#question"), (0, "#message")):
        page.click(f".walk li >> nth={number} >> button")
        page.wait_for_selector(inside, state="visible")
    page.click(".walk .away")
    assert not page.is_visible(".walk")
    page.reload()
    page.wait_for_selector("#talk .message")
    assert not page.is_visible(".walk")
    page.click(".again")
    assert page.is_visible(".walk")


@pytest.mark.parametrize("dark", [False, True])
def test_a_phones_width_is_enough(browser: Any, address: str, dark: bool) -> None:
    tab = Tab(browser, address, width=360, dark=dark)
    page = tab.open()
    for name in ("chat", "personas", "dataset", "training"):
        tab.go(name)
        page.wait_for_timeout(400)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, name
    tab.go("chat")
    room = page.locator("#talk-side").bounding_box()
    for name in ("#send", "#clear"):
        box = page.locator(name).bounding_box()
        assert box["width"] >= 44, name
        assert box["x"] + box["width"] <= room["x"] + room["width"] <= 360, name
    assert tab.faults == []
    tab.context.close()


def test_the_page_speaks_the_browsers_language_and_can_be_switched(browser: Any, address: str) -> None:
    tab = Tab(browser, address, locale="en-GB")
    page = tab.open()
    assert page.inner_text("#send") == "Send"
    tab.go("training")
    page.wait_for_selector("text=Nothing was trained yet")
    for language, send in (("中文", "发送"), ("日本語", "送信"), ("English", "Send")):
        page.click(f".hello nav a:has-text('{language}')")
        page.wait_for_selector(f"#send:text-is('{send}')")  # the page that is left may still be there for a while
        page.wait_for_selector("#talk .message")
    tab.context.close()


def test_a_visitor_sees_a_reason_and_the_owner_gets_in_by_the_password(
    browser: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with served(tmp_path_factory.mktemp("locked"), OWNER_PASSWORD="芝麻") as address:
        tab = Tab(browser, address)
        page = tab.open()
        tab.go("training")
        page.wait_for_selector("text=这里由工作室的主人管理")
        assert not page.is_visible("#start")
        page.click("#training a[href=login], a[href=login] >> visible=true")
        page.fill("input[type=password]", "芝麻")
        page.keyboard.press("Enter")
        page.wait_for_selector("#talk .message")
        tab.go("training")
        page.wait_for_selector("#start", state="visible")
        assert tab.faults == []
        tab.context.close()
