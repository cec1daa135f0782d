"""A visitor and the owner walk through every tab on a phone, in the light and in the dark, and everything that they
meet is looked at: room, contrast, names, the keyboard's way, targets for a finger, calls elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from browsing import Tab
from furnished import furnish
from page_audit import audit
from ui_fakes import built, open_studio, served

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PASSWORD = "芝麻开门吧"
PHONE = 360

UNFOLD = """name => {
    let folded = 0;
    const press = (element) => { if (element.checkVisibility()) { element.click(); folded += 1; } };
    document.querySelectorAll(`#${name} button.label-wrap:not(.open)`).forEach(press);
    document.querySelectorAll(`#${name} details:not([open]) > summary`).forEach(press);
    return folded;
}"""
PARTS = """name => [...new Set([...document.querySelectorAll(`#${name} button[role=tab]`)]
    .filter(one => one.checkVisibility() && !one.closest("[aria-hidden=true]")).map(one => one.dataset.tabId))]"""

MET = """ids => ids.filter(id => [...document.querySelectorAll(`[id="${id}"]:not([role=tabpanel])`)]
    .some(one => one.checkVisibility({ visibilityProperty: true })))"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("furnished")
    with open_studio(found) as studio:
        furnish(studio)
    return found


@pytest.fixture(scope="module")
def owners_alone(folder: Path) -> list[str]:
    """The elements of everything on the page that calls nothing a visitor may call."""
    with open_studio(folder) as studio, ThreadPoolExecutor(1) as aside:  # the browser's loop runs in this thread
        page = aside.submit(built, studio).result()
    roles: dict[int, set[str]] = {}
    for block in page.fns.values():
        for component, _ in block.targets:
            if component is not None:
                roles.setdefault(component, set()).add(block.fn.role)
    mine = [component for component, found in roles.items() if found == {"owner"}]
    assert len(mine) > 60
    return [getattr(page.blocks[component], "elem_id", None) or f"component-{component}" for component in mine]


@pytest.fixture(scope="module")
def locked(folder: Path) -> Iterator[str]:
    with served(folder, OWNER_PASSWORD=PASSWORD, TEST_PACE="0.002") as address:
        yield address


class Walk:
    """One person's way through the page, and what was wrong on it."""

    def __init__(self, browser: Any, address: str, dark: bool) -> None:
        self.tab = Tab(browser, address, width=PHONE, dark=dark)
        self.page, self.wrong = self.tab.page, []
        self.page.on("console", self._listen)

    def _listen(self, message: Any) -> None:
        if message.type == "error":
            self.wrong.append(f"console: {message.text}")

    def look(self, where: str) -> None:
        self.wrong += [f"{where}: {one}" for one in audit(self.page)]

    def enter(self) -> None:
        """In by the password, whose page is looked at too."""
        self.page.goto(f"{self.tab.address}/login")
        self.look("login")
        self.page.fill("input[type=password]", PASSWORD)
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("#talk .message")

    def tabs(self) -> list[str]:
        names = "all => [...new Set(all.map(one => one.dataset.tabId))]"
        return list(self.page.eval_on_selector_all("#tabs > .tab-wrapper button[role=tab]", names))

    def open(self, name: str) -> None:
        self.tab.go(name)
        self.page.wait_for_selector(f"#{name}", state="visible")
        self.page.wait_for_timeout(500)

    def unfold(self, name: str) -> None:
        """Open what is folded, and what is folded in it."""
        while self.page.evaluate(UNFOLD, name):
            self.page.wait_for_timeout(200)

    def through(self, name: str) -> None:
        """A tab, and each of its parts with everything open."""
        self.open(name)
        for part in self.page.evaluate(PARTS, name) or [""]:
            if part:
                self.page.click(f"#{name} button[role=tab][data-tab-id='{part}']")
            self.unfold(name)
            self.page.wait_for_timeout(300)
            self.look(f"{name} {part}".strip())
            self.page.keyboard.press("Escape")  # folds in what lies over the page

    def ended(self) -> None:
        assert not self.wrong, "\n".join(self.wrong)
        assert (self.tab.faults, self.tab.elsewhere) == ([], [])
        self.tab.context.close()


THERE = """(name) => {
  for (let one = document.querySelector(name); one; one = one.parentElement)
    if (getComputedStyle(one).opacity !== "1") return false;
  return true;
}"""
"""Whether something has come in whole: half-way its words are faint."""


def talk(walk: Walk) -> None:
    """A conversation with an answer, and a failure that is said."""
    walk.tab.say("你好呀")
    walk.tab.answered(3)
    walk.tab.say("   ")
    walk.page.wait_for_selector(".toast-message-text")
    walk.page.wait_for_function(THERE, arg=".toast-body")
    walk.look("toast")
    walk.page.click(".toast-close")  # or it fades out while another tab is looked at
    walk.page.wait_for_selector(".toast-message-text", state="detached")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_owner_walks_through_every_tab(browser: Any, locked: str, dark: bool) -> None:
    walk = Walk(browser, locked, dark)
    walk.enter()
    names = walk.tabs()
    assert len(names) >= 9
    talk(walk)
    for name in names:
        choose = {
            "dataset": "#grid tr[data-row] >> nth=1",
            "knowledge": "#documents-list [data-document] >> nth=1",
            "pictures": "#shelf [data-picture] >> nth=0",
        }.get(name)
        if choose:
            walk.open(name)
            walk.page.click(choose)
            walk.page.wait_for_selector(f"#{name} .chosen")
        walk.through(name)
    walk.ended()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_visitor_walks_through_every_tab_and_meets_nothing_of_the_owners(
    browser: Any, locked: str, owners_alone: list[str], dark: bool
) -> None:
    walk = Walk(browser, locked, dark)
    walk.tab.open()
    talk(walk)
    closed = []
    for name in walk.tabs():
        walk.through(name)
        met = walk.page.evaluate(MET, owners_alone)
        walk.wrong += [f"{name}: a visitor sees {one}" for one in met]
        if walk.page.locator(f"#{name} a[href=login]").locator("visible=true").count():
            closed.append(name)
            controls = walk.page.locator(f"#{name} :is(button, input, textarea, select)").locator("visible=true")
            assert controls.count() == 0, name
    assert len(closed) >= 6
    assert "chat" not in closed
    walk.ended()
