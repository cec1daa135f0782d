"""What a tab says of the packages beneath it, and that one broken tab leaves the others alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from ui_fakes import OWNER, VISITOR, built

from anime_ai.studio import Studio
from anime_ai.ui.health import NEEDS, Health
from anime_ai.ui.shell import Gate


class Doctor:
    """Answers what it is told to, and counts how often it is asked."""

    def __init__(self, **broken: str) -> None:
        self.broken = broken
        self.asked: list[list[str]] = []

    def __call__(self, names: Iterable[str]) -> Mapping[str, str]:
        self.asked.append(list(names))
        return self.broken


def test_only_the_tabs_that_need_a_broken_package_say_so(tmp_path: Path) -> None:
    health = Health(tmp_path / "health.json", Doctor(accelerate="No module named 'accelerate'"))
    assert health.broken("training") == {}, "nothing is known before"
    health.look()
    assert health.broken("training") == {"accelerate": "No module named 'accelerate'"}
    assert health.broken("chat") == {}
    assert health.broken("dataset") == {}


def test_a_clean_answer_is_kept_until_the_environment_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, doctor = tmp_path / "health.json", Doctor()
    Health(file, doctor).look()
    Health(file, doctor).look()
    assert len(doctor.asked) == 1
    assert set(doctor.asked[0]) == {name for names in NEEDS.values() for name in names}
    monkeypatch.setattr("anime_ai.ui.health.environment_mark", lambda: "another")
    Health(file, doctor).look()
    assert len(doctor.asked) == 2


def test_a_broken_answer_is_asked_again_at_the_next_start(tmp_path: Path) -> None:
    doctor = Doctor(torch="broken")
    for _ in range(2):
        Health(tmp_path / "health.json", doctor).look()
    assert len(doctor.asked) == 2


def test_a_doctor_that_fails_takes_nothing_along(tmp_path: Path) -> None:
    def ask(names: Iterable[str]) -> Mapping[str, str]:
        raise OSError("no child process")

    health = Health(tmp_path / "health.json", ask)
    health.start().join(10)
    assert health.broken("chat") == {}


def test_the_notice_names_package_and_cause_as_text_in_both_languages(tmp_path: Path) -> None:
    health = Health(tmp_path / "health.json", Doctor(torch="<img src=x> operator torchvision::nms does not exist"))
    health.look()
    gate = Gate(health)
    for person, word in ((OWNER, "修好后重启"), (VISITOR.__class__("v", "visitor", "en"), "restart")):
        notice = gate.notice(person, "chat", closed=False)
        assert "torch" in notice
        assert word in notice
        assert "<img" not in notice
    assert "主人" in gate.notice(VISITOR, "training", closed=True)
    assert gate.notice(OWNER, "dataset", closed=False) == ""


@pytest.mark.parametrize("broken", ["chat", "dataset", "training", "knowledge"])
def test_a_tab_that_cannot_be_built_says_so_and_the_others_work(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def build(*_: Any) -> None:
        raise ModuleNotFoundError("No module named 'somelib'", name="somelib")

    monkeypatch.setattr(f"anime_ai.ui.{broken}_tab.{broken.capitalize()}Tab.build", build)
    demo = built(studio)
    values = [str(block.value) for block in demo.blocks.values() if getattr(block, "value", None)]
    assert [value for value in values if "somelib" in value and "@@ui.tab.broken@@" in value]
    names = {block.api_name.rstrip("_0123456789") for block in demo.fns.values()}
    marks = {"chat": "send", "dataset": "keep_theirs", "training": "weigh", "knowledge": "try_out"}
    assert {name: mark in names for name, mark in marks.items()} == {name: name != broken for name in marks}


def test_whatever_answers_has_one_limit_together(studio: Studio) -> None:
    """Gradio has forty threads; each name alone would have a limit of its own."""
    answering = ("send", "act_on_message", "let_speak", "compare")
    visitors = [block for block in built(studio).fns.values() if block.fn.role == "visitor"]
    found = [block for block in visitors if block.fn.__name__ in answering]
    assert {block.fn.__name__ for block in found} == set(answering)
    assert {block.concurrency_id for block in found} == {"answers"}
    assert all(block.concurrency_limit < 40 for block in found)


def test_no_two_tabs_have_one_name(studio: Studio) -> None:
    """The page presses a tab by its name, wherever it stands."""
    names = [str(block.id) for block in built(studio).blocks.values() if isinstance(block, gr.Tab)]
    assert len(names) > 15
    assert sorted(names) == sorted(set(names))
