"""What goes wrong around llama.cpp: old processors, full disks, files that are cut or changed, adapters of others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_models import make_adapter, make_base

from anime_ai.config import Settings
from anime_ai.errors import AnimeAIError, ModelError, StorageError
from anime_ai.models.bases import STARTER, Base, find_base
from anime_ai.models.conversions import Conversions
from anime_ai.models.engine import GREEDY, Adapter
from anime_ai.models.engines import engine_name
from anime_ai.models.gguf_files import convert
from anime_ai.models.ggufs import Ggufs
from anime_ai.models.llamacpp_engine import LlamaCppEngine
from anime_ai.prompting import Dialogue, Prompt

resource = pytest.importorskip("resource", reason="limits are POSIX's")
SHORT = replace(GREEDY, max_new_tokens=12)


@pytest.fixture(scope="module")
def starter() -> Base:
    return find_base(STARTER, Settings())


@pytest.fixture(scope="module")
def ggufs(tmp_path_factory: pytest.TempPathFactory, starter: Base) -> Ggufs:
    made = Ggufs(tmp_path_factory.mktemp("gguf"))
    made.make(starter, "f16")
    return made


@pytest.fixture
def engine(starter: Base, ggufs: Ggufs, tmp_path: Path) -> Iterator[LlamaCppEngine]:
    with closing(LlamaCppEngine(starter, ggufs, tmp_path / "llama", "f16")) as made:
        yield made


def ask(engine: LlamaCppEngine, question: str = "你好") -> Prompt:
    card = "你是她，住在海边，说话很短，喜欢猫和下雨天，不喜欢早起，也不喜欢别人叫她的小名。"
    return engine.layout("auto", "silent").prompt(Dialogue(card=card, question=question))


def said(engine: LlamaCppEngine, key: str = "", adapter: Adapter | None = None) -> list[int]:
    return [token for piece in engine.stream(ask(engine), adapter, key, SHORT) for token in piece.ids]


def one_line(error: AnimeAIError) -> str:
    for language in ("zh", "en", "ja"):
        assert len(error.say(language).splitlines()) == 1
    return error.key


def test_a_processor_that_is_too_old_is_told(
    engine: LlamaCppEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp's library ends the process by its first instruction that the processor does not know."""
    (tmp_path / "xllamacpp.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n", "utf-8")
    with monkeypatch.context() as old:
        # Before this program's own folder: where a library would lie.
        old.setattr("anime_ai.models.llama_server.start_module", _with_path(tmp_path))
        with pytest.raises(ModelError) as caught:
            said(engine)
    assert one_line(caught.value) == "model.llama_start_silent"
    assert "AVX2" in str(caught.value)
    assert not engine.loaded
    assert not list((tmp_path / "llama").glob("ready-*"))
    assert said(engine), "on a processor that knows it"


def _with_path(folder: Path) -> Any:
    from anime_ai.processes import start_module

    def started(module: str, arguments: list[str], log: Path, env: dict[str, str]) -> Any:
        import os

        before = os.environ.get("PYTHONPATH", "")
        os.environ["PYTHONPATH"] = os.pathsep.join((str(folder), before))
        try:
            return start_module(module, arguments, log, env)
        finally:
            os.environ["PYTHONPATH"] = before

    return started


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow larger meanwhile: what a full disk is to who writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_while_converting_is_told_and_the_chat_goes_on(
    engine: LlamaCppEngine, starter: Base, tmp_path: Path
) -> None:
    before = said(engine)
    for size in (2_000, 3_000_000):
        with largest_file(size), pytest.raises(StorageError) as caught:
            convert(starter, tmp_path / "full" / "m.gguf", "q8_0")
        assert one_line(caught.value) == "storage.write"
        assert list((tmp_path / "full").iterdir()) == []
    conversions = Conversions(Ggufs(tmp_path / "made"))
    with largest_file(3_000_000):
        conversions.start(starter, "q8_0")
        conversions._thread.join()  # type: ignore[union-attr]
    assert conversions.now is not None
    assert isinstance(conversions.now.error, StorageError)
    assert said(engine) == before


def test_a_file_that_was_cut_is_none_and_is_made_again_by_a_click(
    starter: Base, ggufs: Ggufs, tmp_path: Path, tiny_tokenizer: Any
) -> None:
    base = make_base(tmp_path / "tiny-qwen", tiny_tokenizer, hidden=64)
    settings = Settings(output_dir=tmp_path / "out")
    made = Ggufs(settings.gguf_dir)
    file = made.make(base, "f16")
    whole = file.read_bytes()
    assert engine_name(settings, base) == "llamacpp"
    file.write_bytes(whole[: len(whole) // 2])
    assert not made.has(base, "f16")
    assert engine_name(settings, base) == "transformers", "which answers meanwhile"
    conversions = Conversions(made)
    conversions.start(base, "f16")
    conversions._thread.join()  # type: ignore[union-attr]
    assert file.read_bytes() == whole
    assert engine_name(settings, base) == "llamacpp"


@pytest.mark.parametrize("fault", ["cut", "empty", "changed", "untold", "told wrong"])
def test_a_broken_state_costs_the_time_to_read_it_again(
    starter: Base, ggufs: Ggufs, tmp_path: Path, fault: str
) -> None:
    with closing(LlamaCppEngine(starter, ggufs, tmp_path / "llama", "f16")) as engine:
        before = said(engine, "one")
    (kept,) = (tmp_path / "llama" / "states").glob("shared-*.bin")
    whole = kept.read_bytes()
    if fault in ("cut", "empty"):
        kept.write_bytes(whole[: len(whole) // 2 if fault == "cut" else 0])
    elif fault == "changed":
        kept.write_bytes(whole[:-64] + bytes(byte ^ 255 for byte in whole[-64:]))
    elif fault == "untold":
        kept.with_suffix(".json").unlink()
    else:
        kept.with_suffix(".json").write_text('{"bytes": 1', "utf-8")
    with closing(LlamaCppEngine(starter, ggufs, tmp_path / "llama", "f16")) as engine:
        assert said(engine, "two") == before
        assert engine.loaded
    assert kept.stat().st_size == len(whole), "and kept anew"


def test_an_adapter_of_another_base_leaves_the_running_child_alone(
    engine: LlamaCppEngine, tmp_path: Path, tiny_tokenizer: Any
) -> None:
    before, child = said(engine, "mine"), engine._host._server
    other = make_base(tmp_path / "tiny-qwen", tiny_tokenizer)
    with pytest.raises(ModelError) as caught:
        said(engine, "mine", Adapter(make_adapter(tmp_path / "adapter", other, seed=1)))
    assert one_line(caught.value) == "model.adapter_other_base"
    assert said(engine, "mine") == before
    assert engine._host._server is child


def test_more_adapters_than_are_loaded_at_once_do_not_break_an_answer(
    engine: LlamaCppEngine, starter: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are asked for between two slices of an answer."""
    from anime_ai.models import llama_host

    monkeypatch.setattr(llama_host, "KEPT_ADAPTERS", 1)
    hers, others = (Adapter(make_adapter(tmp_path / name, starter, seed=seed)) for seed, name in enumerate("ab"))
    long = replace(GREEDY, max_new_tokens=40)
    told = [token for piece in engine.stream(ask(engine), hers, "a", long) for token in piece.ids]
    answer = engine.stream(ask(engine), hers, "b", long)
    again = list(next(answer).ids)
    engine._host.known(others)
    again += [token for piece in answer for token in piece.ids]
    assert again == told
    assert all(said(engine, name, one) for name, one in (("d", others), ("e", hers))), "each is loaded in its turn"


def test_each_child_has_a_log_of_its_own(engine: LlamaCppEngine, starter: Base, ggufs: Ggufs, tmp_path: Path) -> None:
    said(engine)
    with closing(LlamaCppEngine(starter, ggufs, tmp_path / "llama", "f16")) as second:
        said(second)
        logs = list((tmp_path / "llama").glob("*.log"))
        assert len(logs) == 2
    assert len(list((tmp_path / "llama").glob("*.log"))) == 1
