"""Secrets that are planted everywhere are found nowhere: not in logs, errors, answers, exports, cards or the page."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_guard import AWAY, SECRET, Site
from ui_fakes import Api, open_studio, served

from anime_ai.config import Settings
from anime_ai.dataset.export import FORMATS, export
from anime_ai.doctor import machine
from anime_ai.doctor.check import Speaker
from anime_ai.errors import AnimeAIError
from anime_ai.persona.files import FORMS
from anime_ai.storage import Database
from anime_ai.studio import Studio

PLANTED = {
    "ANIME_AI_OWNER_PASSWORD": "planted-password-1f9c",
    "ANIME_AI_REMOTE_KEY": "planted-remote-2e8b",
    "HF_TOKEN": "hf_planted3d7a",
    "OAUTH_CLIENT_SECRET": "planted-oauth-4c6f",
}


def leaks(content: bytes | str) -> list[str]:
    raw = content.encode() if isinstance(content, str) else content
    return [value for value in PLANTED.values() if value.encode() in raw]


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def studio(planted: None, tmp_path: Path) -> Iterator[Studio]:
    named = Settings(engine="remote", remote_url="http://127.0.0.1:9/v1", output_dir=tmp_path)
    assert named.remote_key.get_secret_value() == PLANTED["ANIME_AI_REMOTE_KEY"], "the plant is in the ground"
    with Studio(named, Database.open(named)) as found:
        found.datasets.import_shipped(Path(__file__).parent.parent / "data" / "dataset.json")
        yield found


def test_settings_and_errors_tell_none(studio: Studio, planted: None) -> None:
    assert leaks(repr(studio.settings) + str(studio.settings) + studio.settings.model_dump_json()) == []
    with pytest.raises(AnimeAIError) as refused:
        Settings.load(owner_password=None, database_url=7, remote_key=PLANTED["HF_TOKEN"])
    assert leaks(refused.value.say("zh") + refused.value.say("en")) == []
    with pytest.raises(AnimeAIError) as refused:
        Database.open(f"postgresql+psycopg://me:{PLANTED['HF_TOKEN']}@127.0.0.1:9/x")
    assert leaks(refused.value.say("zh") + refused.value.say("en")) == []


def test_a_server_that_cannot_be_reached_is_said_without_its_key(
    studio: Studio, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(AnimeAIError) as refused:
        list(studio.chat.ask("早", "傲娇"))
    assert "127.0.0.1:9" in refused.value.say("zh"), "it is said which"
    assert leaks(refused.value.say("zh") + caplog.text) == []


def test_exports_cards_and_what_lies_on_the_disk_hold_none(studio: Studio) -> None:
    dataset = studio.datasets.list()[0]
    rows = [replace(row, rejected="嗯。") for row in studio.datasets.rows(dataset.id)]
    made = [export(rows, form).content for form in FORMATS]
    made += [studio.personas.export("tsundere", form) for form in FORMS]
    _, secret = studio.keys.make("x")
    for content in list(made):
        if content[:2] == b"PK":
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                made += [archive.read(name) for name in archive.namelist()]
    files = [path for path in studio.settings.output_dir.rglob("*") if path.is_file()]
    assert len(made) > 5
    assert files
    for content in [*made, *(path.read_bytes() for path in files)]:
        assert leaks(content) == []
        assert secret.encode() not in content


def test_the_doctor_tells_none(studio: Studio) -> None:
    say = Speaker("zh")
    address = f"postgresql+psycopg://me:{PLANTED['HF_TOKEN']}@127.0.0.1:9/x"
    own = studio.settings.model_copy(update={"database_url": address})
    told = [machine.database(own, say), *machine.folders(own, say), machine.base_model(own, say)]
    assert not told[0].ok
    assert leaks(str(told)) == []


def test_the_login_page_tells_none_of_what_was_tried() -> None:
    site = Site(password=PLANTED["ANIME_AI_OWNER_PASSWORD"])
    form = {"content-type": "application/x-www-form-urlencoded"}
    for body in (b"password=planted-password-1f9", f"password={PLANTED['HF_TOKEN']}".encode()):
        status, headers, page = site.ask("POST", "/login", form, body, client=AWAY)
        assert status == 401
        assert leaks(page + str(headers)) == []
    assert leaks(repr(vars(site.persons))) == []
    assert SECRET.decode() not in site.ask("GET", "/")[1].get("set-cookie", "")


@pytest.mark.slow
def test_the_served_app_tells_none_in_pages_answers_and_its_log(tmp_path: Path) -> None:
    named = {name.removeprefix("ANIME_AI_"): value for name, value in PLANTED.items() if name.startswith("ANIME_AI_")}
    with served(tmp_path, **named) as address:
        with Api(address) as visitor:
            pages = [visitor.http.get(path).text for path in ("/", "/config", "/login", "/nothing", "/gradio_api/info")]
            wrong: list[Any] = [{"not": "text"}, [PLANTED["ANIME_AI_OWNER_PASSWORD"]]]
            for one in visitor.config["dependencies"][::7]:
                data = [wrong[0]] * len(one["inputs"])
                pages.append(json.dumps(visitor.call(one["id"], data)))
        with Api(address) as owner:
            assert owner.http.post("/login", data={"password": named["OWNER_PASSWORD"]}).status_code == 303
            pages.append(json.dumps(owner.call(owner.index("arrive"), [None])))
            with open_studio(tmp_path) as studio:
                _, secret = studio.keys.make("x")
            refused = owner.http.post(
                "/v1/chat/completions",
                headers={"authorization": f"Bearer {secret}"},
                json={"model": "?", "messages": []},
            )
            assert refused.status_code == 400
            pages.append(refused.text)
    log = (tmp_path / "server.log").read_text(encoding="utf-8", errors="replace")
    for page in [*pages, log]:
        assert leaks(page) == []
        assert secret not in page
