"""Documents in Chromium: dropped, searched, cited, edited, gone."""

from __future__ import annotations

from typing import Any

import pytest
from browsing import Tab
from ui_fakes import served

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_documents_are_dropped_searched_and_cited(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Three documents on the tab, a question whose answer has a mark, the mark opens its place; edited, deleted."""
    folder = tmp_path_factory.mktemp("documents")
    files = []
    for name, said in (("雪见", "雪见的生日是七月七日。"), ("白鹭港", "白鹭港的特产是贝壳风铃。"), ("坏", " ")):
        (folder / f"{name}.txt").write_text(said, encoding="utf-8")
        files.append(str(folder / f"{name}.txt"))
    with served(tmp_path_factory.mktemp("app"), TEST_PACE="0.005") as address:
        tab = Tab(browser, address)
        page = tab.open()
        tab.go("knowledge")
        page.click("text=管理知识库")
        page.fill("#base-name :is(input, textarea)", "我的资料")
        page.click("button:has-text('新建')")
        page.wait_for_selector("text=还没有资料")
        page.set_input_files("#drop input[type=file]", files)
        page.wait_for_selector("#progress .bad:has-text('坏.txt')")
        page.wait_for_function("document.querySelectorAll('#documents-list [data-document]').length === 2")
        tab.go("chat")
        start = page.locator("#talk .message-content").count()
        tab.say("雪见的生日是哪天？")  # the fake model says what it was given to read
        tab.answered(start + 2)
        page.wait_for_selector("#talk a.cite")
        page.reload()  # now the knowledge tab was never shown
        page.wait_for_selector("#talk a.cite")
        page.click("#talk a.cite")
        page.wait_for_selector("#chunks article.chosen:has-text('雪见的生日是七月七日。')")
        page.fill("#chunk-editor textarea", "雪见的生日是八月八日。")
        page.click("button:has-text('保存片段')")
        page.wait_for_selector("#chunks article.edited:has-text('八月八日')")
        page.click("button[role=tab]:has-text('搜索')")
        page.fill("#search-question :is(input, textarea)", "雪见的生日")
        page.keyboard.press("Enter")
        page.wait_for_selector("#results mark:has-text('雪见的生日')")
        page.click("#results article")
        page.click("button[role=tab]:has-text('资料') >> nth=0")
        page.click("button:has-text('删掉这份资料')")
        page.wait_for_function("document.querySelectorAll('#documents-list [data-document]').length === 1")
        assert tab.faults == []
        assert tab.elsewhere == []
        tab.context.close()


def test_the_starter_reads_what_was_dropped_and_is_honest_when_it_is_gone(
    browser: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The model that ships answers from three dropped documents, then from an edited one, and says so when it is
    deleted."""
    folder = tmp_path_factory.mktemp("documents")
    said = {
        "雪见": "雪见的生日是七月七日。",
        "白鹭港": "白鹭港的特产是贝壳风铃。",
        "青石书院": "青石书院的院长是沈知秋。",
    }
    files = []
    for name, told in said.items():
        (folder / f"{name}.txt").write_text(told, encoding="utf-8")
        files.append(str(folder / f"{name}.txt"))
    with served(tmp_path_factory.mktemp("app"), real=True) as address:
        tab = Tab(browser, address)
        page = tab.open()
        tab.go("knowledge")
        page.click("text=管理知识库")
        page.fill("#base-name :is(input, textarea)", "我的资料")
        page.click("button:has-text('新建')")
        page.wait_for_selector("text=还没有资料")
        page.set_input_files("#drop input[type=file]", files)
        page.wait_for_function("document.querySelectorAll('#documents-list [data-document]').length === 3")

        def answer_to(question: str) -> str:
            tab.go("chat")
            page.click("#clear")
            page.wait_for_function("document.querySelectorAll('#talk .message-content').length === 1")
            tab.say(question)
            tab.answered(3, seconds=120)
            return str(page.locator("#talk .bot .message-content").last.inner_text())

        assert "贝壳风铃" in answer_to("白鹭港的特产是什么？")
        assert "七月七日" in answer_to("雪见的生日是哪天？")
        page.click("#talk a.cite >> nth=-1")
        page.wait_for_selector("#chunks article.chosen:has-text('雪见的生日是七月七日。')")
        page.fill("#chunk-editor textarea", "雪见的生日是十月三日。")
        page.click("button:has-text('保存片段')")
        page.wait_for_selector("#chunks article.edited:has-text('十月三日')")
        assert "十月三日" in answer_to("雪见的生日是哪天？")
        tab.go("knowledge")
        page.click("button:has-text('删掉这份资料')")
        page.wait_for_function("document.querySelectorAll('#documents-list [data-document]').length === 2")
        honest = answer_to("雪见的生日是哪天？")
        assert "月" not in honest
        assert any(word in honest for word in ("没有", "没写", "没提", "不知道")), honest
        assert tab.faults == []
        assert tab.elsewhere == []
        tab.context.close()


def test_a_folder_is_chosen_and_another_one_dropped(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Files of one name in two of its folders stay two documents; what is hidden stays outside."""
    folder = tmp_path_factory.mktemp("folders")
    for way, said in {
        "设定/人物/说明.txt": "雪见的生日是七月七日。",
        "设定/地点/说明.txt": "白鹭港的特产是贝壳风铃。",
        "设定/.隐藏/说明.txt": "看不见。",
        "外传/说明.txt": "青石书院的院长是沈知秋。",
    }.items():
        (folder / way).parent.mkdir(parents=True, exist_ok=True)
        (folder / way).write_text(said, encoding="utf-8")
    with served(tmp_path_factory.mktemp("app")) as address:
        tab = Tab(browser, address)
        page = tab.open()
        tab.go("knowledge")
        page.click("text=管理知识库")
        page.fill("#base-name :is(input, textarea)", "我的资料")
        page.click("button:has-text('新建')")
        page.wait_for_selector("text=还没有资料")
        page.set_input_files("#adding input[webkitdirectory]", str(folder / "设定"))
        listed = page.locator("#documents-list [data-document] td:first-child")
        page.wait_for_function("document.querySelectorAll('#documents-list [data-document]').length === 2")
        assert listed.all_inner_texts() == ["设定 - 人物 - 说明", "设定 - 地点 - 说明"]
        page.locator("#drop").scroll_into_view_if_needed()
        box = page.locator("#drop").bounding_box()
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        mouse = tab.context.new_cdp_session(page)
        dropped = {"items": [], "files": [str(folder / "外传")], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            mouse.send("Input.dispatchDragEvent", {"type": kind, **place, "data": dropped})
        page.wait_for_function("document.querySelectorAll('#documents-list [data-document]').length === 3")
        assert "外传 - 说明" in listed.all_inner_texts()
        assert tab.faults == []
        assert tab.elsewhere == []
        tab.context.close()
