"""Whole jobs in Chromium: a dataset is imported and mended, trained on, and its adapter answers."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from browsing import Tab, choose, drop, part, upload
from ui_fakes import served

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.timeout(900)
def test_the_whole_job(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Upload a dataset and train on it: the curves move and she answers on the way; stop, resume, close the browser for
    a minute and find the run ahead; chat with the new adapter."""
    folder = tmp_path_factory.mktemp("real")
    with served(folder, real=True) as address:
        tab = Tab(browser, address)
        page = tab.open()
        begin(tab, page, folder)
        seen = moving(page, wanted=3)
        page.wait_for_function("document.querySelectorAll('#loss circle.eval').length > 2", timeout=120_000)
        page.wait_for_function("document.querySelectorAll('#samples dd').length > 1", timeout=120_000)
        page.reload()
        page.wait_for_selector("#talk .message")
        tab.go("training")
        page.wait_for_selector("#run-state .running")
        assert circles(page) >= seen[-1], "the same curve is there again"
        stopped = stop(page)
        assert stopped > 0
        page.click("#resume-run")
        page.wait_for_selector("#run-state .running", timeout=120_000)
        leave(tab)
        time.sleep(60)
        tab = Tab(browser, address)
        page = tab.open()
        tab.go("training")
        page.wait_for_selector("#run-state .running, #run-state .finished")
        assert step_of(page) > stopped + 50
        stop(page)
        assert page.locator("#keeping").is_visible()
        tab.go("chat")
        choose(page, "#adapter", "测试之花")
        page.wait_for_selector("#answering:has-text('测试之花')")
        tab.say("你喜欢什么动漫？")
        assert "测试之花" in tab.answered(3, seconds=120)[-1]
        page.reload()
        page.wait_for_selector("#talk .message")
        assert "测试之花" in tab.answered(3)[-1]
        leave(tab)


def begin(tab: Tab, page: Any, folder: Path) -> None:
    """Upload a dataset, set the training on it up, and start it."""
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


def stop(page: Any) -> int:
    """Stop the run; the step at which it stands then."""
    page.click("#stop-run")
    page.wait_for_selector("#run-state .stopped", timeout=120_000)
    return step_of(page)


def leave(tab: Tab) -> None:
    """Close a browser in which nothing went wrong and nothing was fetched from elsewhere."""
    assert tab.faults == []
    assert tab.elsewhere == []
    tab.context.close()


def step_of(page: Any) -> int:
    """The step that the page says a run is at."""
    page.wait_for_selector("#run-state .line span")
    return int(page.locator("#run-state .line span").first.inner_text().split("/")[0])


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
        page.wait_for_selector("#grid [data-row]")  # the import shows the rows when it has ended
        mend_and_undo(page)
        other.go("dataset")
        save_in_both(page, second)
        train_on_a_snapshot(tab, page)
        tab.go("dataset")
        page.click("#download summary")
        with page.expect_download() as downloaded:
            page.click("#download a:text-is('Alpaca')")
        wanted = json.loads(file.read_text(encoding="utf-8"))
        wanted[0]["output"] = "后存的回答。"
        assert json.loads(Path(downloaded.value.path()).read_text(encoding="utf-8")) == wanted
        for one in (tab, other):
            leave(one)


def mend_and_undo(page: Any) -> None:
    """Mend what the check flags in the fourth row, and take that back."""
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


def save_in_both(page: Any, second: Any) -> None:
    """Edit one row in two tabs: the second one to save is shown both, and keeps its own."""
    choose(second, "#dataset-name", "alpaca")
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


def train_on_a_snapshot(tab: Tab, page: Any) -> None:
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
