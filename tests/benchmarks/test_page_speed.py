"""What a click costs in the browser, against the page with Gradio's own script in the same run.

pytest -m benchmark -s tests/benchmarks/test_page_speed.py

The app with a model that only pretends, in a headless Chromium: from the click to the next page of rows, and from
sending a question to her first word. Two pages of one app, in turns; one of them is handed Gradio's script as it is.
"""

from __future__ import annotations

import os
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from browsing import Tab, choose
from ui_fakes import served

from anime_ai.processes import usable_cpus
from anime_ai.ui.progress import NAME, SCRIPTS

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]
ROUNDS = 8
MOST = 0.5
"""Of what a step takes with Gradio's script."""

TURNED = """() => new Promise((told) => {
  const first = () => document.querySelector("#grid tr[data-row]")?.dataset.row;
  const before = first(), began = performance.now();
  const look = () => first() && first() !== before ? told(performance.now() - began) : requestAnimationFrame(look);
  document.querySelector("#pager ~ button").click();
  look();
})"""
SPOKE = """() => new Promise((told) => {
  const began = performance.now();
  const spoken = () => [...document.querySelectorAll("#live .streaming[aria-live] .message-content")].at(-1)?.innerText;
  const look = () => {
    if (["", "…", undefined].includes(spoken())) requestAnimationFrame(look); else told(performance.now() - began);
  };
  document.querySelector("#send").click();
  look();
})"""
"""Milliseconds from a click until there are other rows, and until there is a word of hers."""


def opened(browser: Any, address: str, plain: bool) -> Tab:
    """A page of the app, on which everything has been looked at once."""
    tab = Tab(browser, address)
    if plain:
        for file in SCRIPTS.glob(NAME):
            tab.page.route(
                f"**/assets/{file.name}",
                lambda route: route.fulfill(path=SCRIPTS / route.request.url.rpartition("/")[2]),
            )
    page = tab.open()
    tab.say("你好")
    tab.answered(3)
    for name in ("training", "knowledge", "personas", "dataset"):
        tab.go(name)
        page.wait_for_timeout(500)
    page.wait_for_selector("#grid [data-row]")
    choose(page, "#dataset-name", "内置对话")
    page.wait_for_selector("#pager:has-text('第 1 ')")
    return tab


def next_page(tab: Tab) -> float:
    tab.page.wait_for_timeout(400)  # what the step before set going has ended
    return float(tab.page.evaluate(TURNED))


def first_word(tab: Tab) -> float:
    page = tab.page
    tab.go("chat")
    page.fill("#message textarea", "今天做什么好呢")
    page.wait_for_timeout(400)
    took = float(page.evaluate(SPOKE))
    page.wait_for_selector("#send", state="visible")
    page.wait_for_timeout(400)
    return took


def test_a_click_touches_what_it_is_about(browser: Any, tmp_path: Path) -> None:
    with served(tmp_path, TEST_PACE="0.01") as address:
        tabs = {"Gradio's script": opened(browser, address, True), "ours": opened(browser, address, False)}
        turned: dict[str, list[float]] = {name: [] for name in tabs}
        spoken: dict[str, list[float]] = {name: [] for name in tabs}
        for _ in range(ROUNDS):
            for name, tab in tabs.items():
                turned[name].append(next_page(tab))
        for _ in range(ROUNDS):
            for name, tab in tabs.items():
                spoken[name].append(first_word(tab))
        for tab in tabs.values():
            assert tab.faults == []
            tab.context.close()
    print(
        f"\nmilliseconds behind a click, {ROUNDS} rounds in turns, {usable_cpus()} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(f"{'':<18}{'next page of rows':>18}{'her first word':>18}")
    for name in tabs:
        print(f"{name:<18}{median(turned[name]):>18.0f}{median(spoken[name]):>18.0f}")
    plain, light = tabs
    assert median(turned[light]) <= MOST * median(turned[plain])
    assert median(spoken[light]) <= MOST * median(spoken[plain])
