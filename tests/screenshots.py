"""The pictures of every tab in the README: python tests/screenshots.py [FOLDER]

A studio of its own is filled, trained on and talked with by the starter model that ships; then a real Chromium looks at
it. Nothing in the pictures is drawn by hand. Takes some minutes.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
os.environ.update({"ANIME_AI_LANGUAGE": "zh", "GRADIO_ANALYTICS_ENABLED": "False"})

from browsing import FLAGS, Tab  # noqa: E402
from playwright.sync_api import Page, sync_playwright  # noqa: E402
from ui_fakes import served  # noqa: E402

from anime_ai.config import AVATARS, DATA, OWNER, Settings  # noqa: E402
from anime_ai.dataset.files import read_rows  # noqa: E402
from anime_ai.studio import Studio  # noqa: E402
from anime_ai.training.queue import wait  # noqa: E402
from anime_ai.training.recipe import Recipe  # noqa: E402

PICTURES = ROOT / "assets" / "screenshots"
QUALITY = 82
DARK = ("dataset", "pictures", "models", "machine")
SAID = ("早上好呀！", "你喜欢什么动漫？")
ASKED = "乔絮的生日是哪天？"


def fill(folder: Path) -> None:
    """A training, pictures, a known character and a few facts."""
    with Studio.open(Settings(output_dir=folder, model_name="starter")) as studio:
        rows = [row for row in read_rows(DATA / "dataset.json").rows if row.persona == "傲娇"][:48]
        recipe = Recipe.from_values({"epochs": 14, "batch_size": 4, "learning_rate": 0.004}, studio.settings)
        run = studio.runs.submit(rows, recipe, "纪棠，第一次", "内置对话")
        portraits = sorted(AVATARS.glob("*/*.webp"), key=lambda file: (file.stem, file.parent.name))
        for file in portraits[:12]:
            studio.vision.describe(OWNER, file.name, file)
        studio.vision.enrol(OWNER, "纪棠", [AVATARS / "tsundere.webp"])
        studio.memory.add(OWNER, "傲娇", "用户怕打雷")
        assert wait(run.folder).state == "finished"


def talk(tab: Tab) -> None:
    """Small talk, and a question that the sample documents answer."""
    for said in (*SAID, ASKED):
        count = tab.page.locator("#talk .message-content").count()
        tab.say(said)
        tab.answered(count + 2, seconds=180)


def search(tab: Tab) -> None:
    tab.page.click("#knowledge button[role=tab]:has-text('搜索')")
    tab.page.fill("#search-question :is(input, textarea)", ASKED)
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_selector("#results mark")


def row(tab: Tab) -> None:
    tab.page.click("#grid tr[data-row] >> nth=3")
    tab.page.wait_for_selector("#grid tr.chosen")


def picture(tab: Tab) -> None:
    tab.page.click("#shelf [data-picture] >> nth=0")
    tab.page.wait_for_selector("figure.seen img")


def curves(tab: Tab) -> None:
    tab.page.wait_for_selector("#training .chart polyline")


def check(tab: Tab) -> None:
    tab.page.click("#check-machine")
    tab.page.wait_for_selector("#machine .checks li", timeout=240_000)


def hide(tab: Tab) -> None:
    """Where the models lie is this machine's own affair."""
    tab.page.wait_for_selector(".shelf-cards article")
    tab.page.add_style_tag(content="#model-room { visibility: hidden; }")


STEPS: dict[str, Callable[[Tab], None]] = {
    "chat": talk,
    "dataset": row,
    "training": curves,
    "knowledge": search,
    "pictures": picture,
    "models": hide,
    "machine": check,
}


def keep(page: Page, name: str) -> None:
    """One picture, as small as it may be."""
    page.evaluate("scrollTo(0, 0); document.activeElement?.blur()")
    page.wait_for_timeout(1200)
    shown = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shown.save(PICTURES / f"{name}.webp", quality=QUALITY, method=6)


def shoot(browser: Any, address: str) -> None:
    """Every tab, some in the light and some in the dark."""
    pages = {dark: Tab(browser, address, dark=dark) for dark in (False, True)}
    for tab in pages.values():
        tab.page.set_default_timeout(120_000)
        tab.open().click(".walk .away")
    names = "all => [...new Set(all.map(one => one.dataset.tabId))]"
    for name in pages[False].page.eval_on_selector_all("#tabs > .tab-wrapper button[role=tab]", names):
        tab = pages[name in DARK]
        tab.go(name)
        tab.page.wait_for_timeout(1500)
        STEPS.get(name, lambda tab: None)(tab)
        keep(tab.page, name)


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch) / "studio"
        if not folder.exists():
            folder.mkdir(parents=True)
            fill(folder)
        with served(folder, real=True, MODEL_NAME="starter") as address:
            browser = playwright.chromium.launch(args=list(FLAGS), executable_path="/usr/bin/chromium")
            shoot(browser, address)
            browser.close()


if __name__ == "__main__":
    main()
