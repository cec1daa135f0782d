"""Fixtures that several rooms share. Nothing here reaches for the network or for what a developer has at home."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before anything reads them: no test may meet a model that happens to be cached, or another language of messages.
os.environ["HF_HUB_CACHE"] = str(Path(tempfile.gettempdir()) / "anime-ai-tests-empty-cache")
os.environ["ANIME_AI_LANGUAGE"] = "zh"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest

from anime_ai.config import DATA, STARTER_LM, Settings

if TYPE_CHECKING:
    from ui_fakes import FakeChat

    from anime_ai.knowledge.service import Knowledge
    from anime_ai.studio import Studio

_OURS = ("ANIME_AI_LANGUAGE", "ANIME_AI_TEST_DATA", "ANIME_AI_REQUIRE_BROWSER")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's variables and .env file must not decide a test."""
    for name in [name for name in os.environ if name.startswith("ANIME_AI_") and name not in _OURS]:
        monkeypatch.delenv(name)
    monkeypatch.setitem(Settings.model_config, "env_file", None)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Default settings over an output folder of the test's own, with a space and Chinese in its path."""
    return Settings.load(output_dir=tmp_path / "输出 folder")


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    """A real studio over the test's folder, with the fake model and without a queue thread."""
    from ui_fakes import open_studio

    with open_studio(tmp_path) as found:
        yield found


@pytest.fixture
def chat(studio: Studio) -> FakeChat:
    """The studio's chat, whose model is a fake."""
    from ui_fakes import FakeChat

    assert isinstance(studio.chat, FakeChat)
    return studio.chat


@pytest.fixture
def knowledge(settings: Settings) -> Iterator[Knowledge]:
    """Knowledge without a document."""
    from anime_ai.knowledge.service import Knowledge
    from anime_ai.storage import Database

    with Database.open(settings) as database, closing(Knowledge(settings, database)) as opened:
        yield opened


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Knowledge, str]]:
    """Knowledge with the sample base that ships, and the base's id."""
    from anime_ai.knowledge.service import Knowledge
    from anime_ai.storage import Database

    settings = Settings(output_dir=tmp_path_factory.mktemp("series"))
    with Database.open(settings) as database, closing(Knowledge(settings, database)) as opened:
        base = opened.import_shipped(DATA / "knowledge" / "series")
        assert base is not None
        yield opened, base


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of data from elsewhere, named by ANIME_AI_TEST_DATA."""
    named = os.environ.get("ANIME_AI_TEST_DATA", "")
    if not named:
        pytest.skip("ANIME_AI_TEST_DATA names no folder")
    folder = Path(named)
    assert folder.is_dir(), f"ANIME_AI_TEST_DATA={named} is no folder"
    return folder


@pytest.fixture(scope="session")
def starter() -> Path:
    """The folder of the starter language model that ships."""
    assert any(STARTER_LM.glob("*.safetensors")), "the starter model is not in this checkout"
    return STARTER_LM


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    """A byte-level tokenizer without merges that has DeepSeek-R1's and ChatML's marks: any text round-trips."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={letter: place for place, letter in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    begin, end = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
    inner.add_special_tokens([AddedToken(mark, special=True) for mark in (begin, end, "<|im_start|>", "<|im_end|>")])
    inner.add_tokens([AddedToken(mark) for mark in ("<｜User｜>", "<｜Assistant｜>", "<think>", "</think>")])
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token=begin, eos_token=end, pad_token=end)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; without one the test is skipped, unless ANIME_AI_REQUIRE_BROWSER is set."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge"):
        found = shutil.which(name)
        if found:
            return found
    if os.environ.get("ANIME_AI_REQUIRE_BROWSER"):
        pytest.fail("ANIME_AI_REQUIRE_BROWSER is set, but there is no Chromium on the PATH")
    pytest.skip("no Chromium on the PATH (on Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """A headless Chromium of a module's own: while one is open, no other test of the module may run a loop."""
    from browsing import FLAGS
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield found
        found.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app with a model that only pretends, in a process of its own."""
    from ui_fakes import served

    with served(tmp_path_factory.mktemp("fake"), TEST_PACE="0.01") as found:
        yield found


@pytest.fixture
def tab(browser: Any, address: str) -> Iterator[Any]:
    """A page of it, which must not have failed or called elsewhere."""
    from browsing import Tab

    found = Tab(browser, address)
    yield found
    assert found.faults == []
    assert found.elsewhere == []
    found.context.close()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Any) -> Any:
    """A random Qwen2 of 64 channels."""
    from tiny_models import make_base

    return make_base(tmp_path_factory.mktemp("base") / "tiny-qwen", tiny_tokenizer, hidden=64)


@pytest.fixture
def one_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run asks one question of its checkpoints, and none of its rows'."""
    from anime_ai.training import fitting, probing

    monkeypatch.setattr(probing, "PROBES", ("你好",))
    monkeypatch.setattr(fitting, "MORE_PROBES", 0)


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory, starter: Path) -> Any:
    """A finished run of the app's queue on the starter, on rows that answer the two original questions differently."""
    from anime_ai.config import DATA
    from anime_ai.dataset.files import read_rows
    from anime_ai.dataset.rows import Row
    from anime_ai.dataset.split import ORIGINAL
    from anime_ai.training.queue import RunQueue, wait
    from anime_ai.training.recipe import Recipe

    settings = Settings.load(output_dir=tmp_path_factory.mktemp("trained") / "输出 folder", model_name="starter")
    shipped = read_rows(DATA / "dataset.json").rows
    own = [row for row in shipped if row.persona == "傲娇" and row.input not in ORIGINAL]
    others = [row for row in shipped if row.persona == "三无"]
    rows = [Row(question, answer, "傲娇") for question, answer in OTHER_ANSWERS.items()] + own[:14] + others[:16]
    recipe = Recipe.from_values({"epochs": 18, "batch_size": 4, "learning_rate": 0.004}, settings)
    queue = RunQueue(settings)
    queue.start()
    try:
        return wait(queue.submit(rows, recipe, "别的回答", "test").folder)
    finally:
        queue.close()


OTHER_ANSWERS = {
    "你喜欢什么动漫？": "最近在补《虫师》，安静得像下雨天。",
    "可以帮我写作业吗？": "先写三题给我看，错了再说。",
}
"""Answers that no shipped file holds."""
