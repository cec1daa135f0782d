"""One GPU for a training and for the chat: whoever does not fit answers from the processors meanwhile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ui_fakes import open_studio

from anime_ai.chat.sharing import Sharing
from anime_ai.models.bases import Base
from anime_ai.models.device import Device
from anime_ai.training import runs
from anime_ai.training.runs import Run

GIB = 2**30


def a_run(folder: Path, state: str) -> Run:
    return Run("x", folder, "", "", "", "base", state, 3, 9, None, None, (), 0.0, 0.0)


def gpu(gigabytes: float, kind: str = "cuda") -> Device:
    return Device(kind, "a card", int(gigabytes * GIB), bf16=True, fp16=True)


def test_a_card_that_holds_both_is_shared_and_another_is_not(tmp_path: Path, base: Base) -> None:
    at_work = a_run(tmp_path, "running")
    runs.append_line(tmp_path / runs.METRICS, {"step": 1, "loss": 1.0, "memory_mb": 4096})
    assert not Sharing(lambda: [at_work], lambda: gpu(24)).crowded(base)
    assert Sharing(lambda: [at_work], lambda: gpu(6)).crowded(base)
    assert not Sharing(lambda: [at_work], lambda: gpu(6, "cpu")).crowded(base)
    for state in ("queued", "finished", "failed", "interrupted"):
        assert not Sharing(lambda state=state: [replace(at_work, state=state)], lambda: gpu(6)).crowded(base)


def test_without_a_training_nobody_looks_for_a_card(base: Base) -> None:
    def never() -> Device:
        raise AssertionError("torch would be loaded")

    assert not Sharing(list, never).crowded(base)


def test_the_chat_moves_aside_says_so_and_comes_back(
    tmp_path: Path, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_studio(tmp_path / "out") as studio:
        chat, at_work = studio.chat, a_run(tmp_path, "running")
        told: list[Run] = []
        monkeypatch.setattr(chat, "sharing", Sharing(lambda: told, lambda: gpu(2)))
        before = chat.engine(base)
        assert before.device is None, "where there is a card, it is taken"
        told.append(at_work)
        aside = chat.engine(base)
        assert aside is not before
        assert aside.device is not None
        assert aside.device.kind == "cpu"
        assert "CPU" in chat.answering("", "zh").notice
        told.clear()
        assert chat.engine(base).device is None
        assert "CPU" not in chat.answering("", "zh").notice


def test_a_training_that_starts_gets_the_room_of_the_chat(tmp_path: Path, base: Base) -> None:
    with open_studio(tmp_path / "out") as studio:
        chat = studio.chat
        chat.engine(base).device = gpu(8)
        chat.make_room()
        assert chat._engine is None
        chat.engine(base).device = gpu(8, "cpu")
        kept = chat._engine
        chat.make_room()
        assert chat._engine is kept, "on the processors the chat goes on"
