"""The tab of this machine: the doctor's findings, the settings in force, the keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ui_fakes import OWNER, VISITOR, open_studio

from anime_ai.config import Settings
from anime_ai.doctor import Check
from anime_ai.errors import AccessError, SettingsError
from anime_ai.studio import Studio
from anime_ai.ui.doctor_panel import DoctorPanel, findings
from anime_ai.ui.keys_panel import KeysPanel
from anime_ai.ui.machine_tab import MachineTab
from anime_ai.ui.settings_panel import SHOWN, settings_table


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with open_studio(tmp_path, owner_password="planted-5c1d") as found:
        yield found


def test_what_does_not_work_stands_first_with_its_mend_and_as_text(studio: Studio) -> None:
    found = [Check("python", True, "3.11"), Check("torch", False, "<img src=x onerror=alert(1)>", "pip install torch")]
    asked: list[str] = []

    def doctor(settings: Settings, language: str) -> list[Check]:
        asked.append(language)
        return found

    waiting, told = DoctorPanel(studio, doctor).check(OWNER)
    assert "正在" in waiting[0]
    assert waiting[1]["interactive"] is False
    assert told[1]["interactive"] is True
    assert told[0].index("torch") < told[0].index("python")
    assert "pip install torch" in told[0]
    assert "<img" not in told[0]
    assert "2 项里有 1 项" in told[0]
    assert asked == ["zh"]
    assert "All 1 are well" in findings(found[:1], "en")


def test_a_doctor_that_fails_gives_the_button_back(studio: Studio) -> None:
    def doctor(settings: Settings, language: str) -> list[Check]:
        raise OSError("no child process")

    steps = DoctorPanel(studio, doctor).check(OWNER)
    next(steps)
    assert next(steps)[1]["interactive"] is True
    with pytest.raises(OSError, match="no child"):
        next(steps)


@pytest.mark.parametrize("language", ["zh", "en", "ja"])
def test_the_settings_in_force_are_told_without_a_secret(tmp_path: Path, language: str) -> None:
    own = {"database_url": "postgresql://me:planted-7e2a@db.example/x", "owner_password": "planted-5c1d"}
    told = settings_table(Settings(output_dir=tmp_path / "<b>输出", answer_seconds=77, **own), language)
    assert "planted" not in told
    assert "db.example" in told
    assert "77" in told
    assert "<b>输出" not in told
    variables = re.findall(r"ANIME_AI_([A-Z_]+)<", told)
    assert {name.upper() for name in SHOWN} <= set(variables)
    assert {name.lower() for name in variables} - {"language"} <= set(Settings.model_fields)


def test_a_key_is_shown_once_and_revoked_by_a_click(studio: Studio) -> None:
    panel = KeysPanel(studio)
    name = "<img src=x> 酒馆"
    table, made, choice, cleared = panel.make(OWNER, name, 5, 0, True)
    secret = re.search(r"sk-anime-[\w-]{43}", made)
    assert secret
    assert studio.keys.check(secret[0]).private
    assert "<img" not in table + made
    assert cleared == ""
    assert secret[0] not in str(panel.shown(OWNER))
    ((shown, id),) = choice["choices"]
    assert name in shown
    assert "不限" in table
    panel.revoke(OWNER, id)
    with pytest.raises(AccessError):
        studio.keys.check(secret[0])
    for wrong in (None, "nothing", id):
        with pytest.raises(AccessError):
            panel.revoke(OWNER, wrong)


@pytest.mark.parametrize(
    "values", [("", 5, 5), ("x", -1, 5), ("x", 5, None), ("x", "5", 5), ("x", 1.5, 5), ("x", True, 5)]
)
def test_a_key_of_nonsense_is_refused(studio: Studio, values: tuple[Any, ...]) -> None:
    with pytest.raises(SettingsError):
        KeysPanel(studio).make(OWNER, *values, False)
    assert studio.keys.list() == []


def test_arriving_tells_settings_and_keys_in_the_readers_language(studio: Studio) -> None:
    settings, keys, *_ = MachineTab(studio).arrive(OWNER)
    assert "planted" not in settings
    assert "还没有密钥" in keys
    assert "There are no keys" in str(MachineTab(studio).arrive(VISITOR.__class__("owner", "owner", "en")))
