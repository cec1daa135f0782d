"""A card in a real Chromium: dropped, edited, talked to, exported, and shown on a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browsing import Tab, import_card
from card_makers import encoded, png, text, v3
from PIL import Image

from anime_ai.persona.files import read

pytestmark = [pytest.mark.browser, pytest.mark.slow]
EVIL = '<img src=x onerror="document.title=1">'
BOOK = {
    "entries": [{"keys": ["小鱼干"], "content": "小鱼干藏在窗台左边的罐子里。", "extensions": {}}],
    "extensions": {},
}


def dropped(tab: Tab, folder: Path, **changed: Any) -> Any:
    """The tab with a card of one's own in it."""
    file = folder / "card.png"
    file.write_bytes(png([text("ccv3", encoded(v3(**changed)))], size=80))
    page = tab.open()
    tab.go("personas")
    page.wait_for_selector("#personas-list li")
    page.set_input_files("#card-drop input[type=file]", str(file))
    page.wait_for_selector("#card-told li.good")
    return page


def test_a_card_is_imported_talked_to_and_exported(tab: Tab, tmp_path: Path, test_data: Path) -> None:
    card = test_data / "cards" / "default_Seraphina.png"
    page = import_card(tab, card, "Seraphina")
    page.click("#persona-export summary")
    with page.expect_download() as waiting:
        page.click("#persona-export a[href*='as=png']")
    again = read(Path(waiting.value.path()).read_bytes())
    assert again.card is not None
    assert again.card.data == read(card.read_bytes()).card.data  # type: ignore[union-attr]
    page.click("#persona-talk")
    page.wait_for_selector("#talk .message:has-text('You wake with a start')")
    count = page.locator("#talk .message-content").count()
    tab.say("What is in this forest?")
    assert "forest" in tab.answered(count + 2)[count]


def test_a_card_with_markup_stays_text_and_its_book_speaks(tab: Tab, tmp_path: Path) -> None:
    page = dropped(tab, tmp_path, name=EVIL, description=EVIL, first_mes=f"{EVIL}喵？", character_book=BOOK)
    assert page.locator("#personas-list img[onerror], #persona-head img[onerror]").count() == 0
    page.click("button[role=tab][data-tab-id=book]")
    page.click("#card-book-entries tr[data-entry='0']")
    page.wait_for_function("document.querySelector('#card-book-keys textarea')?.value === '小鱼干'")
    page.fill("#card-book-content textarea", f"{EVIL}小鱼干藏在罐子里。")
    page.click("#card-book-save")
    page.wait_for_selector("#card-book-entries tr:has-text('藏在罐子里')")
    page.click("#persona-talk")
    page.wait_for_selector("#talk .message:has-text('喵？')")
    count = page.locator("#talk .message-content").count()
    tab.say("小鱼干在哪里？")
    tab.answered(count + 2)
    page.wait_for_selector("#talk :text('世界书：1 条')")
    page.wait_for_timeout(300)
    assert page.locator("#talk img[onerror]").count() == 0
    assert page.title() == "Anime AI Studio"


def test_an_edit_is_kept_and_a_deletion_can_be_undone(tab: Tab, tmp_path: Path) -> None:
    page = dropped(tab, tmp_path, name="小花花")
    page.fill("#card-description textarea", "一只会说话的猫。")
    page.click("#persona-save")
    page.wait_for_selector(".toast-body:has-text('已保存')")
    page.reload()
    page.wait_for_selector("#talk .message")
    tab.go("personas")
    page.click("#personas-list li:has-text('小花花') >> nth=0")
    page.wait_for_function("document.querySelector('#card-description textarea')?.value === '一只会说话的猫。'")
    before = page.locator("#personas-list li").count()
    page.click("#persona-remove")
    page.wait_for_function(f"document.querySelectorAll('#personas-list li').length === {before - 1}")
    page.click("#persona-undo")
    page.wait_for_function(f"document.querySelectorAll('#personas-list li').length === {before}")


def test_her_face_changes_and_has_pictures_of_ones_own(tab: Tab, tmp_path: Path) -> None:
    page = tab.open()
    tab.go("personas")
    page.click("#personas-list li:has-text('纪棠')")
    page.wait_for_selector("#personas-list li.chosen:has-text('纪棠')")
    page.click("#persona-talk")
    page.wait_for_selector("#line .message-row.bot img[src^='portraits/tsundere/']")
    face = page.locator("#line .message-row.bot").last.locator(".face[data-feeling] img")
    assert str(face.get_attribute("src")).startswith("portraits/tsundere/")
    before = page.locator("#talk .message-content").count()
    tab.say("你好")
    tab.answered(before + 2)
    face.wait_for()
    assert face.evaluate("one => one.complete && one.naturalWidth > 0")
    assert (face.bounding_box() or {})["width"] >= 100, "what she said last shows a face that can be read"
    assert face.evaluate("one => getComputedStyle(one).animationName") == "felt"
    page.emulate_media(reduced_motion="reduce")
    assert face.evaluate("one => getComputedStyle(one).animationName") == "none"
    page = dropped(tab, tmp_path, name="小花脸", first_mes="太好了！我们赢了！")
    page.click("button[role=tab][data-tab-id=faces]")
    page.wait_for_selector("#faces li.stands-in[data-feeling=happy]")
    file = tmp_path / "joy.png"
    Image.new("RGB", (90, 120), "orange").save(file)
    with page.expect_file_chooser() as chosen:
        page.click("#faces li[data-feeling=happy]")
        page.wait_for_function("document.querySelector('#face-feeling input:checked')?.value === 'happy'")
        page.click("#face-upload")
    chosen.value.set_files(str(file))
    page.wait_for_selector("#faces li[data-feeling=happy]:not(.stands-in) img[src*='/happy.webp?v=']")
    page.click("#persona-talk")
    shown = page.locator("#line .face[data-feeling=happy] img[src*='/happy.webp']").first
    shown.wait_for()
    page.wait_for_function("document.querySelector(\"#line img[src*='/happy.webp']\")?.naturalWidth === 90")
