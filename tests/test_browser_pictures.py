"""Pictures in Chromium: one in the chat, a character who is known again, two hundred at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browsing import Tab
from ui_fakes import served

pytestmark = [pytest.mark.browser, pytest.mark.slow]


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


def many(folder: Path, count: int) -> list[str]:
    """Large pictures of some 30 KB with where they were taken: all of them keep two cores busy for a quarter of a
    minute."""
    import numpy as np
    from PIL import Image

    chance, taken = np.random.default_rng(0), Image.Exif()
    taken.get_ifd(0x8825)[1] = "N"
    found = []
    for number in range(count):
        path = folder / f"{number}.jpg"
        small = Image.fromarray(chance.integers(0, 255, (12, 16, 3), np.uint8))
        small.resize((2000, 1500)).save(path, exif=taken, quality=50)
        found.append(str(path))
    return found


def test_two_hundred_pictures_stream_in_while_the_page_answers(
    browser: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """More than one request may hold; the chat goes on meanwhile; what was seen stays where the rest is stopped."""
    folder, given = tmp_path_factory.mktemp("app"), many(tmp_path_factory.mktemp("many"), 200)
    assert sum(Path(file).stat().st_size for file in given) > 2 * 2**20
    with served(folder, TEST_PACE="0.005", MAX_UPLOAD_MB="1") as address:
        tab = Tab(browser, address)
        page = tab.open()
        start = page.locator("#talk .message-content").count()
        tab.go("pictures")
        page.set_input_files("#picture-drop input[type=file]", given)
        page.wait_for_function("/看了 [1-9]\\d* \\/ 200/.test(document.querySelector('#looking').innerText)")
        tab.go("chat")
        tab.say("你好")
        tab.answered(start + 2)
        tab.go("pictures")
        page.wait_for_function("document.querySelectorAll('#shelf [data-picture]').length > 8")
        page.click("button:has-text('停下')")
        page.wait_for_selector("#seen textarea", timeout=60_000)
        kept = page.locator("#shelf [data-picture]").count()
        assert 8 < kept
        assert "/ 200" not in page.inner_text("#looking")
        page.click("#shelf [data-picture] >> nth=3")
        page.wait_for_function("document.querySelectorAll('#shelf [data-picture]')[3].classList.contains('chosen')")
        assert page.locator("#shelf .chosen").count() == 1
        assert tab.faults == []
        assert tab.elsewhere == []
        tab.context.close()
        assert [file for file in (folder / "cache").rglob("*") if file.is_file() and file.stat().st_size] == []
