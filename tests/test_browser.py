"""What only a browser shows: the whole job in Chromium, inert markup, composition, a phone's width."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ui_fakes import served

pytestmark = [pytest.mark.browser, pytest.mark.slow]
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
EVIL = (
    '<img src=x onerror="document.title=1"> <svg onload=alert(1)> [点我](javascript:alert(1)) '
    "![图](http://203.0.113.1/a.png) ${alert(1)} {{constructor}}"
)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield found
        found.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("fake"), TEST_PACE="0.01") as found:
        yield found


class Tab:
    """A page of the app, and everything that it did which it should not have done."""

    def __init__(
        self, browser: Any, address: str, *, width: int = 1280, locale: str = "zh-CN", dark: bool = False
    ) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 860}, locale=locale, color_scheme="dark" if dark else "light"
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.address, self.faults, self.elsewhere = address, [], []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.faults.append(dialog.message), dialog.dismiss()))
        self.page.on("request", self._watch)

    def _watch(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.elsewhere.append(request.url)

    def open(self) -> Any:
        self.page.goto(self.address)
        self.page.wait_for_selector("#talk .message")
        return self.page

    def go(self, name: str) -> None:
        self.page.click(f"button[role=tab][data-tab-id={name}]")

    def say(self, message: str) -> None:
        self.page.fill("#message textarea", message)
        self.page.click("#send")

    def answered(self, count: int, seconds: float = 60) -> list[str]:
        """The messages once there are `count` and she has finished."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            found = self.page.locator("#talk .message-content").all_inner_texts()
            ended = len(found) >= count and self.page.is_visible("#send") and found[-1] not in ("", "…")
            # Her last word may have come between the two looks.
            if ended and found == self.page.locator("#talk .message-content").all_inner_texts():
                return list(found)
            self.page.wait_for_timeout(100)
        toasts = self.page.locator(".toast-body").all_inner_texts()
        raise AssertionError(f"no answer: {self.page.locator('#talk').inner_text()} {toasts}")


@pytest.fixture
def tab(browser: Any, address: str) -> Iterator[Tab]:
    found = Tab(browser, address)
    yield found
    assert found.faults == []
    assert found.elsewhere == []
    found.context.close()


def part(page: Any, name: str) -> None:
    """Open a part of the dataset tab."""
    page.click(f"#dataset-parts button[role=tab][data-tab-id={name}]")


def drop(page: Any, file: Path) -> None:
    """Hand a file to the import, which says what it is."""
    page.wait_for_selector("#grid [data-row]")
    part(page, "import")
    page.set_input_files("#import-file input[type=file]", str(file))


def upload(page: Any, folder: Path, rows: Any, name: str) -> None:
    file = folder / name
    file.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    drop(page, file)
    page.wait_for_selector("#upload-box .preview")
    page.click("#import-make")
    page.wait_for_selector("#grid [data-row]")


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
    page = tab.open()
    tab.go("dataset")
    page.wait_for_selector("#grid [data-row]")
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
    page = tab.open()
    keyboard = tab.context.new_cdp_session(page)

    def composing(text: str) -> None:
        keyboard.send("Input.imeSetComposition", {"text": text, "selectionStart": len(text), "selectionEnd": len(text)})

    press = """([place, key, control]) => document.querySelector(place).dispatchEvent(
        new KeyboardEvent('keydown', { key, ctrlKey: control, bubbles: true, isComposing: true }))"""
    tab.go("dataset")
    choose(page, "#dataset", "内置对话")
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
    for name in ("chat", "dataset", "training"):
        tab.go(name)
        page.wait_for_timeout(400)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, name
    tab.go("chat")
    box = page.locator("#send").bounding_box()
    assert box["width"] >= 44
    assert box["x"] + box["width"] <= 360
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
        page.wait_for_selector("#talk .message")
        assert page.inner_text("#send") == send
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


@pytest.mark.timeout(900)
def test_the_whole_job(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Upload a dataset and train on it: the curves move and she answers on the way; stop, resume, close the browser for
    a minute and find the run ahead; chat with the new adapter."""
    folder = tmp_path_factory.mktemp("real")
    with served(folder, real=True) as address:
        tab = Tab(browser, address)
        page = tab.open()
        tab.go("dataset")
        asked = ("你喜欢什么动漫？", "早上好呀！", "可以帮我写作业吗？", "今天好累", "你叫什么名字？", "晚安")
        before = ("", "嗯，", "对了，", "话说，", "欸，", "那个，")
        rows = [{"input": word + said, "output": "哼，测试之花已经开了。"} for said in asked for word in before]
        # Rows that are like no other: those can be held out, and have a loss of their own.
        apart = {
            "下雨了吗": "下了，窗台都湿啦。",
            "几点了": "自己看钟去。",
            "唱首歌": "跑调别笑我。",
            "吃饭没": "刚啃完面包。",
        }
        rows += [{"input": said, "output": answer} for said, answer in apart.items()]
        upload(page, folder, rows, "测试之花.json")
        page.wait_for_function("document.querySelectorAll('#grid tr[data-row]').length === 25")
        tab.go("training")
        choose(page, "#training-dataset", "测试之花")
        page.fill("#recipe-batch_size input", "4")
        page.click("text=更多设置")
        page.click("text=步数与学习率")
        page.fill("#recipe-steps input", "3000")
        page.click("text=评测与存档")
        page.fill("#recipe-evaluations input", "100")
        page.click("#weigh")
        # The first estimate imports torch, on a machine that may still be busy with the app's first start.
        page.wait_for_selector("#needs:has-text('3000')", timeout=240_000)
        page.click("#start")
        page.wait_for_selector("#run-state .running", timeout=120_000)
        seen = moving(page, wanted=3)
        page.wait_for_function("document.querySelectorAll('#loss circle.eval').length > 2", timeout=120_000)
        page.wait_for_function("document.querySelectorAll('#samples dd').length > 1", timeout=120_000)
        page.reload()
        page.wait_for_selector("#talk .message")
        tab.go("training")
        page.wait_for_selector("#run-state .running")
        assert circles(page) >= seen[-1], "the same curve is there again"
        page.click("#stop-run")
        page.wait_for_selector("#run-state .stopped", timeout=120_000)
        stopped = step_of(page)
        assert stopped > 0
        page.click("#resume-run")
        page.wait_for_selector("#run-state .running", timeout=120_000)
        assert tab.faults == []
        assert tab.elsewhere == []
        tab.context.close()
        time.sleep(60)
        tab = Tab(browser, address)
        page = tab.open()
        tab.go("training")
        page.wait_for_selector("#run-state .running, #run-state .finished")
        assert step_of(page) > stopped + 50
        page.click("#stop-run")
        page.wait_for_selector("#run-state .stopped", timeout=120_000)
        assert page.locator("#keeping").is_visible()
        tab.go("chat")
        choose(page, "#adapter", "测试之花")
        page.wait_for_selector("#answering:has-text('测试之花')")
        tab.say("你喜欢什么动漫？")
        assert "测试之花" in tab.answered(3, seconds=120)[-1]
        page.reload()
        page.wait_for_selector("#talk .message")
        assert "测试之花" in tab.answered(3)[-1]
        assert tab.faults == []
        assert tab.elsewhere == []
        tab.context.close()


def step_of(page: Any) -> int:
    """The step that the page says a run is at."""
    page.wait_for_selector("#run-state .line span")
    return int(page.locator("#run-state .line span").first.inner_text().split("/")[0])


def alpaca(folder: Path) -> Path:
    """A real Alpaca file where there is one, else a made one of its form. A row of it has something to mend."""
    found = Path(os.environ.get("ANIME_AI_TEST_DATA", "")) / "datasets" / "alpaca_zh_demo.json"
    if os.environ.get("ANIME_AI_TEST_DATA") and found.is_file():
        rows = json.loads(found.read_text(encoding="utf-8"))[:120]
    else:
        rows = [{"instruction": f"说说{n}", "input": "短一点" * (n % 2), "output": f"好，这是{n}。"} for n in range(40)]
    rows[3]["output"] += "我的电话是13812345678。"
    file = folder / "alpaca.json"
    file.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return file


def test_a_dataset_is_imported_mended_kept_trained_on_and_exported(
    browser: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An Alpaca file, a flagged row mended and the mend undone, one row in two tabs, a snapshot, a run on it, and the
    same file again."""
    folder = tmp_path_factory.mktemp("alpaca")
    file = alpaca(folder)
    with served(tmp_path_factory.mktemp("app"), real=True) as address:
        tab, other = Tab(browser, address), Tab(browser, address)
        page, second = tab.open(), other.open()
        tab.go("dataset")
        drop(page, file)
        page.wait_for_selector("#upload-box .preview:has-text('Alpaca')")
        page.click("#import-make")
        page.wait_for_selector("#dataset input")
        part(page, "check")
        page.click("#check-run")
        flagged = "#findings li:has-text('第 4 行') button[data-mend=phone]"
        page.click(flagged)
        page.wait_for_selector(flagged, state="detached")
        part(page, "rows")
        page.wait_for_selector("#undo-row:has-text('修正')")
        page.click("#undo-row")
        page.wait_for_selector("#undo-row:has-text('修正')", state="detached")
        part(page, "check")
        page.click("#check-run")
        page.wait_for_selector(flagged)
        part(page, "rows")
        other.go("dataset")
        choose(second, "#dataset", "alpaca")
        second.wait_for_function("!document.querySelector('#grid').innerText.includes('EVA')")
        for one, answer in ((second, "先存的回答。"), (page, "后存的回答。")):
            one.click("#grid tr[data-row] >> nth=0")
            one.wait_for_function("document.querySelector('#editor textarea').value !== ''")
            one.fill("#editor textarea >> nth=1", answer)
        second.click("#save-row")
        second.wait_for_selector("#grid tr.chosen:has-text('先存的回答。')")
        page.click("#save-row")
        page.wait_for_selector("#conflict .sides:has-text('先存的回答。'):has-text('后存的回答。')")
        page.click("#keep-mine")
        page.wait_for_selector("#grid tr.chosen:has-text('后存的回答。')")
        part(page, "snapshots")
        page.fill("#snapshot-name :is(input, textarea)", "训练之前")
        page.click("#snapshot-make")
        page.wait_for_function("document.querySelector('#snapshot input').value.includes('训练之前')")
        tab.go("training")
        choose(page, "#training-dataset", "alpaca")
        page.fill("#recipe-epochs input", "0.1")
        page.click("#start")
        page.wait_for_selector("#run-state:has-text('训练之前')", timeout=60_000)
        page.wait_for_selector("#run-state .finished", timeout=400_000)
        tab.go("dataset")
        page.click("#download summary")
        with page.expect_download() as downloaded:
            page.click("#download a:text-is('Alpaca')")
        wanted = json.loads(file.read_text(encoding="utf-8"))
        wanted[0]["output"] = "后存的回答。"
        assert json.loads(Path(downloaded.value.path()).read_text(encoding="utf-8")) == wanted
        for one in (tab, other):
            assert one.faults == []
            assert one.elsewhere == []
            one.context.close()


def choose(page: Any, dropdown: str, words: str) -> None:
    """Pick the choice with these words as soon as it is offered."""
    option = page.locator(f"[role=option]:has-text('{words}')").first
    for _ in range(100):
        page.click(f"{dropdown} input")
        if option.count():
            option.click()
            return
        page.keyboard.press("Escape")
        page.wait_for_timeout(300)
    raise AssertionError(f"{words} is not offered")


def circles(page: Any) -> int:
    return int(page.locator("#loss circle").count())


def moving(page: Any, wanted: int) -> list[int]:
    """The number of points each time there are more of them, `wanted` times."""
    seen, ends = [circles(page)], time.monotonic() + 200
    while len(seen) <= wanted and time.monotonic() < ends:
        now = circles(page)
        if now > seen[-1]:
            seen.append(now)
        page.wait_for_timeout(200)
    assert len(seen) > wanted, f"the curve stands still: {seen}"
    return seen


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


def portraits(folder: Path) -> dict[str, str]:
    """Three drawn pictures: two of one character, one of another."""
    import random
    from dataclasses import replace

    from anime_ai.starter.portraits.looks import draw_look, vary
    from anime_ai.starter.portraits.portrait import draw

    chance = random.Random(3)
    her = replace(draw_look(chance), hair_colour="pink_hair", hair_style="twintails", accessories=frozenset())
    other = replace(her, hair_colour="black_hair", hair_style="short_hair", eye_colour="green_eyes", seed=99)
    found = {}
    for name, look in {"a": her, "b": vary(her, chance), "c": vary(other, chance)}.items():
        path = folder / f"{name}.png"
        draw(look, 320).save(path)
        found[name] = str(path)
    return found


def test_a_picture_is_shown_corrected_and_its_character_known(
    browser: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A drawn portrait in the chat, a tag corrected on its card, what she is told; a character is enrolled, and named
    on another picture."""
    drawn = portraits(tmp_path_factory.mktemp("drawn"))
    with served(tmp_path_factory.mktemp("app"), TEST_PACE="0.005") as address:
        tab = Tab(browser, address)
        page = tab.open()
        start = page.locator("#talk .message-content").count()
        with page.expect_file_chooser() as chooser:
            page.click("#attach")
        chooser.value.set_files(drawn["a"])
        page.wait_for_selector("#attached img", timeout=120_000)
        words = page.locator("#attached .token")
        assert "粉色头发" in words.all_inner_texts()
        words.filter(has_text="粉色头发").locator("[role=button]").click()
        page.fill("#attached input >> nth=0", "银发")
        page.keyboard.press("Enter")
        page.fill("#attached-who input", "雪见")
        page.keyboard.press("Enter")
        tab.say("她好看吗？")  # the fake model says what it was given to read
        answer = tab.answered(start + 2)[-1]
        assert "看起来是雪见" in answer
        assert "银色" in answer
        assert "粉色" not in answer
        page.reload()
        page.wait_for_selector("#talk img.shown")
        tab.go("pictures")
        page.click("text=角色图鉴")
        page.wait_for_selector("#characters li:has-text('雪见')")
        page.fill("#character-name :is(input, textarea)", "雪见")
        page.set_input_files("#character-drop input[type=file]", [drawn["a"]])
        page.click("#enrol")
        page.wait_for_selector("#characters li:has-text('2 张')")
        page.set_input_files("#picture-drop input[type=file]", [drawn["c"]])
        page.wait_for_selector("#seen textarea", timeout=60_000)
        page.wait_for_function("document.querySelector('#seen textarea').value.includes('黑')")
        assert "看起来是雪见" not in page.input_value("#seen textarea")
        page.set_input_files("#picture-drop input[type=file]", [drawn["b"]])
        page.wait_for_function("document.querySelector('#seen textarea').value.includes('看起来是雪见')")
        page.fill("#picture-search :is(input, textarea)", "银发")
        page.keyboard.press("Enter")
        page.wait_for_function("document.querySelectorAll('#shelf [data-picture]').length === 1")
        assert tab.faults == []
        assert tab.elsewhere == []
        tab.context.close()
