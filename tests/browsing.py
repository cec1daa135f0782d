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
