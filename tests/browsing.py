"""A page of the app in a real Chromium, and the steps that several tests take on it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


class Tab:
    """A page of the app, and everything that it did which it should not have done."""

    def __init__(
        self, browser: Any, address: str, *, width: int = 1280, locale: str = "zh-CN", dark: bool = False
    ) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 860}, locale=locale, color_scheme="dark" if dark else "light"
        )
        self.address, self.faults, self.elsewhere = address, [], []
        self.page = self._page()

    def _page(self) -> Any:
        page = self.context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("dialog", lambda dialog: (self.faults.append(dialog.message), dialog.dismiss()))
        page.on("request", self._watch)
        return page

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

    def reopen(self) -> Any:
        """Close the tab and open another one, as somebody who comes back."""
        self.page.close()
        self.page = self._page()
        return self.open()

    def act(self, name: str, place: int = -1) -> None:
        """Press a button below a message, counted among those that can be changed."""
        row = self.page.locator("#line .message-row[data-message]").nth(place)
        row.hover()
        row.locator(f"button[data-act={name}]").first.click()

    def swiped(self, count: str) -> None:
        """Wait until the last message says which of its alternatives it is."""
        self.page.wait_for_function(
            "(count) => [...document.querySelectorAll('#line .message-row')].at(-1)"
            "?.querySelector('.swipe small')?.textContent === count && !document.querySelector('#live .streaming')",
            arg=count,
        )

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


def part(page: Any, name: str) -> None:
    """Open a part of the dataset tab."""
    page.click(f"#dataset-parts button[role=tab][data-tab-id={name}]")


def drop(page: Any, file: Path) -> None:
    """Hand a file to the import, which says what it is."""
    page.wait_for_selector("#grid [data-row]")
    part(page, "import")
    page.set_input_files("#import-file input[type=file]", str(file))


def import_card(tab: Tab, file: Path, name: str) -> Any:
    """A card dropped on the characters' tab, until it is chosen there."""
    page = tab.open()
    tab.go("personas")
    page.wait_for_selector("#personas-list li")
    page.set_input_files("#card-drop input[type=file]", str(file))
    page.wait_for_selector(f"#personas-list li.chosen:has-text('{name}')")
    return page


def upload(page: Any, folder: Path, rows: Any, name: str) -> None:
    file = folder / name
    file.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    drop(page, file)
    page.wait_for_selector("#upload-box .preview")
    page.click("#import-make")
    page.wait_for_selector("#grid [data-row]")


def choose(page: Any, dropdown: str, words: str) -> None:
    """Pick the choice with these words as soon as it is offered."""
    option = page.locator(f"[role=option]:has-text('{words}')").first
    for _ in range(100):
        page.click(f"{dropdown} input")
        page.wait_for_timeout(300)  # on a busy machine it takes a moment to unfold
        if option.count():
            option.click()
            return
        page.keyboard.press("Escape")
        page.locator(f"{dropdown} input").blur()  # it unfolds when it is entered, not at every click
    raise AssertionError(f"{words} is not offered")
