"""Conversions behind the page: one at a time, told, cancelled, failed in a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_models import change_json, make_base

from anime_ai.errors import ModelError
from anime_ai.models import ggufs
from anime_ai.models.bases import Base
from anime_ai.models.conversions import Conversions
from anime_ai.models.ggufs import Ggufs


@pytest.fixture
def tiny(tmp_path: Path, tiny_tokenizer: Any) -> Base:
    return make_base(tmp_path / "tiny-qwen", tiny_tokenizer, hidden=64)


@pytest.fixture
def conversions(tmp_path: Path) -> Conversions:
    return Conversions(Ggufs(tmp_path / "gguf"))


def test_a_conversion_runs_and_is_told(conversions: Conversions, tiny: Base) -> None:
    assert conversions.now is None
    assert conversions.start(tiny, "q8_0").running
    assert conversions._thread is not None
    conversions._thread.join()
    assert conversions.now is not None
    assert (conversions.now.running, conversions.now.share, conversions.now.error) == (False, 1.0, None)
    assert conversions.ggufs.has(tiny, "q8_0")


def test_a_second_one_waits_for_the_first_and_a_cancelled_one_leaves_nothing(
    conversions: Conversions, tiny: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = ggufs.convert

    def slow(base: Base, target: Path, kind: str, tell: Any) -> Any:
        def first(done: int, total: int) -> None:
            tell(done, total)
            conversions._stop.wait(30)

        return plain(base, target, kind, tell=first)

    monkeypatch.setattr(ggufs, "convert", slow)
    running = conversions.start(tiny, "f16")
    assert conversions.start(tiny, "q4_0").kind == running.kind == "f16"
    conversions.close()
    assert conversions.now is not None
    assert not conversions.now.running
    assert conversions.now.error is None
    assert [file.suffix for file in conversions.ggufs.folder.iterdir()] in ([], [".lock"])


def test_what_cannot_be_converted_is_told(conversions: Conversions, tiny: Base) -> None:
    change_json(tiny.path / "config.json", architectures=["GPT2LMHeadModel"])
    conversions.start(tiny, "f16")
    conversions._thread.join()  # type: ignore[union-attr]
    assert conversions.now is not None
    assert isinstance(conversions.now.error, ModelError)
    assert conversions.now.error.key == "model.gguf_architecture"
