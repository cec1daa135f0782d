"""What a server meets: a thousand page loads, a hundred abandoned answers, no network, a locale that is not UTF-8."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import gradio as gr
import psutil
import pytest
from people import Browser
from ui_fakes import built, open_studio, served

from anime_ai.config import ROOT
from anime_ai.models.engine import Sampling
from anime_ai.ui.sampling_form import SamplingForm
from anime_ai.ui.sessions import LightSession

PLAIN = [False, *SamplingForm._set(Sampling())[1:]]
LONG = "很长的一句话" * 1000
"""What the fake model says after the one who asks: at its pace, a minute long."""


def say(words: str) -> list[object]:
    return [words, None, "", *PLAIN, None, [], ""]


@contextmanager
def measured(folder: Path, **settings: str) -> Iterator[tuple[str, psutil.Process]]:
    """The address of an app with a fake model, and its process."""
    before = set(psutil.Process().children())
    crowd = {"VISITORS_MESSAGES_PER_MINUTE": "0", "VISITORS_PER_ADDRESS": "0"}
    with served(folder, OWNER_PASSWORD="开门", **crowd, **settings) as address:
        (process,) = set(psutil.Process().children()) - before
        yield address, process


@pytest.mark.slow
def test_the_memory_of_a_thousand_page_loads_levels_off(tmp_path: Path) -> None:
    async def load(address: str, process: psutil.Process) -> list[int]:
        config, sizes = await Browser.config_of(address), []
        people = [Browser(address, config) for _ in range(8)]
        for one in people:
            await one.open()
            await one.close()

        async def some(one: Browser, count: int, name: str) -> None:
            for number in range(count):
                one.session = f"{id(one)}-{len(sizes)}-{number}"
                assert await one.call(one.index(name)) is not None

        # Of each of the eight; two hundred are kept, and the last ones do little, so that they are quickly made.
        for count, name in ((5, "arrive"), (25, "arrive"), (95, "detach")):
            await asyncio.gather(*(some(one, count, name) for one in people))
            sizes.append(process.memory_info().rss)
        for one in people:
            await one.http.aclose()
        return sizes

    with measured(tmp_path) as (address, process):
        begun, kept, thousand = asyncio.run(load(address, process))
    assert thousand <= 1.1 * kept
    # A copy of the page with each of the two hundred that are kept would be five times this.
    assert kept - begun <= 50e6


def test_a_session_keeps_no_copy_of_the_page(tmp_path: Path) -> None:
    with open_studio(tmp_path) as studio:
        page = built(studio)
    session = LightSession(page)
    id, block = next((id, block) for id, block in page.blocks.items() if getattr(block, "elem_id", "") == "line")
    session[id] = block
    session._update_value_in_config(id, "words" * 1000)
    session._update_config(id)
    assert session.config_values == {}
    assert session[id] is block
    assert [*session.components] == []


def test_a_page_that_the_app_has_forgotten_knows_what_it_shows(tmp_path: Path) -> None:
    with open_studio(tmp_path) as studio:
        page = built(studio)
    forgetful = {
        call.fn.__name__ for call in page.fns.values() if any(isinstance(one, gr.State) for one in call.inputs)
    }
    talks = {"send", "act_on_message", "stop", "clear", "act_on_talk", "let_speak", "keep_summary", "count_tokens"}
    assert not forgetful & {*talks, "save", "keep_theirs", "delete", "split", "tag", "look", "later", "save_card"}


@pytest.mark.slow
def test_chat_recovers_from_a_hundred_answers_that_nobody_reads_on(tmp_path: Path) -> None:
    async def crowd(address: str) -> tuple[int, str]:
        config = await Browser.config_of(address)
        people = [Browser(address, config) for _ in range(101)]

        async def abandon(one: Browser, number: int) -> int:
            await one.open()
            assert await one.call(one.index("arrive")) is not None
            seen = 0
            async with aclosing(one.events(one.index("send"), say(LONG))) as told:
                async for _ in told:  # every other one leaves before the answer has begun
                    seen += 1
                    if number % 2 or seen > 3:
                        break
            await one.close()
            return seen

        last = people.pop()
        left = await asyncio.gather(*(abandon(one, number) for number, one in enumerate(people)))
        await last.open()
        await last.call(last.index("arrive"))
        told = await last.call(last.index("send"), say("还在吗"))
        for one in (last, *people):
            await one.close()
            await one.http.aclose()
        return sum(seen > 0 for seen in left), json.dumps(told, ensure_ascii=False)

    # A hundred such answers in turns of sixteen take ten times as long as this test may.
    with measured(tmp_path, TEST_PACE="0.08") as (address, _):
        begun, told = asyncio.run(crowd(address))
        assert begun == 100
        assert "base说：还在吗" in told
        with open_studio(tmp_path) as studio:
            assert kept(studio) == kept(studio, wait=2), "an answer that nobody reads goes on"


def kept(studio: object, wait: float = 0) -> int:
    """Characters of all answers."""
    import time

    from sqlalchemy import func, select

    from anime_ai.storage import MessageRecord

    time.sleep(wait)
    with studio.database.reading() as session:  # type: ignore[attr-defined]
        return int(session.scalar(select(func.sum(func.length(MessageRecord.content)))) or 0)


ALONE = """
import runpy, sys

def watch(event, told):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        host = told[1][0] if event == "socket.connect" and isinstance(told[1], tuple) else told[0]
        if event == "socket.connect" and not isinstance(told[1], tuple):
            return
        if host not in ("127.0.0.1", "localhost", "::1", "0.0.0.0", None):
            print("CALLED", event, host, flush=True)
            raise OSError(101, "Network is unreachable")

sys.addaudithook(watch)
sys.argv = ["app.py", *sys.argv[1:]]
runpy.run_path("app.py", run_name="__main__")
"""


@pytest.mark.slow
def test_without_network_card_and_token_the_page_is_up_and_calls_nobody(tmp_path: Path) -> None:
    outside = ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    environment = {name: value for name, value in os.environ.items() if name not in outside}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "HF_HOME": str(tmp_path / "hub"), "PYTHONUNBUFFERED": "1"}
    environment["ANIME_AI_OUTPUT_DIR"] = str(tmp_path / "输出 目录")
    command = [sys.executable, "-c", ALONE, "--port", str(20_000 + os.getpid() % 10_000)]
    said: list[str] = []
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            while "http://" not in (said or [""])[-1]:
                said.append(child.stdout.readline())
                assert said[-1], said
            address = said[-1][said[-1].index("http://") :].split("/（")[0].split(" ")[0].rstrip("/（")
            answer = asyncio.run(ask(address))
        finally:
            child.terminate()
        said += child.stdout.readlines()
    assert "早上好" in answer
    assert [line for line in said if "CALLED" in line] == []


async def ask(address: str) -> str:
    one = Browser(address, await Browser.config_of(address))
    await one.open()
    await one.call(one.index("arrive"))
    told = await one.call(one.index("send"), say("早上好"))
    await one.close()
    await one.http.aclose()
    return json.dumps(told, ensure_ascii=False)


@pytest.fixture(scope="module")
def gbk(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of a shell in a locale whose encoding is GBK."""
    folder, tool = tmp_path_factory.mktemp("locale"), shutil.which("localedef")
    made = tool and subprocess.run([tool, "-i", "zh_CN", "-f", "GBK", str(folder / "zh_CN.GBK")], capture_output=True)
    if not (folder / "zh_CN.GBK").exists():
        pytest.skip(f"no locale in GBK can be made here: {made}")
    return {"LOCPATH": str(folder), "LC_ALL": "zh_CN.GBK", "LANG": "zh_CN.GBK", "PYTHONUTF8": "0"}


KEEP = """
import locale, sys
from pathlib import Path
from anime_ai.config import Settings
from anime_ai.studio import Studio

assert locale.getpreferredencoding(False) == "GBK"
with Studio.open(Settings.load(output_dir=Path(sys.argv[1]), persona="傲娇")) as studio:
    talk = studio.chat.start("owner", "傲娇")
    studio.conversations.append("owner", talk.id, "user", "鷗と鴎、🌸、한국어")
    print(studio.conversations.get("owner", talk.id).title.encode("utf-8"))
"""


@pytest.mark.slow
def test_in_a_locale_of_gbk_every_file_is_utf_8_under_a_path_with_blanks_and_chinese(
    gbk: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "输出 目录"
    environment = {**os.environ, **gbk, "PYTHONPATH": str(ROOT), "ANIME_AI_MODEL_NAME": "starter"}
    environment.pop("PYTHONIOENCODING", None)

    def run(*arguments: str) -> bytes:
        # Paths reach a program as its locale writes them.
        told = [one.encode("gbk") for one in arguments]
        done = subprocess.run([sys.executable, *told], env=environment, cwd=tmp_path, capture_output=True, timeout=250)
        assert done.returncode == 0, done.stderr.decode("gbk", "replace")
        return done.stdout

    run("-m", "anime_ai", "preprocess", "--output-dir", str(folder))
    run("-m", "anime_ai", "persona", "export", "傲娇", "--out", f"{folder}/纪棠.json")
    (tmp_path / "keep.py").write_text(KEEP, encoding="utf-8")
    said = run("keep.py", str(folder))
    assert said.decode("gbk").strip().encode() == repr("鷗と鴎、🌸、한국어".encode()).encode()
    kept = os.fsencode(folder).decode("utf-8").encode("gbk")
    files = [Path(os.fsdecode(where)) / os.fsdecode(name) for where, _, names in os.walk(kept) for name in names]
    texts = [file for file in files if file.suffix in (".json", ".jsonl", ".md", ".txt", ".log")]
    assert len(texts) >= 2
    for file in texts:
        file.read_bytes().decode("utf-8")
    assert any("纪棠" in file.read_bytes().decode("utf-8") for file in texts)
