"""Who somebody is: the password, Hugging Face on a Space, a public address without one."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from remote_servers import Asked, loopback
from test_guard import AWAY, SECRET, Site

from anime_ai.errors import SettingsError
from anime_ai.ui.guard import Hosts
from anime_ai.ui.launch import check_password, free_port
from anime_ai.ui.oauth import OAuth
from anime_ai.ui.passwords import Password
from anime_ai.ui.persons import Persons

# The password


def test_a_password_is_kept_as_its_hash_which_another_installation_has_another_of() -> None:
    kept = Password("开门 & 芝麻", SECRET)
    assert kept.is_it("开门 & 芝麻")
    for wrong in ("", "开门 & 芝", "开门 & 芝麻 ", "x" * 100_000, "\ud800"):
        assert not kept.is_it(wrong)
    assert "开门" not in str(vars(kept)) + str(vars(Persons(SECRET, "开门 & 芝麻")))
    assert kept.mark == Password("开门 & 芝麻", SECRET).mark
    assert kept.mark != Password("开门 & 芝麻", b"another").mark
    assert not Password("", SECRET).is_it("")


def test_all_tries_together_are_bounded_too() -> None:
    persons = Persons(SECRET, "开门")
    tried = [persons.try_password("wrong", f"10.0.0.{number}") for number in range(31)]
    assert tried == [False] * 30 + [None]


@pytest.mark.parametrize(
    ("host", "share"), [("0.0.0.0", False), ("192.168.1.7", False), ("::", False), ("127.0.0.1", True)]
)
def test_a_public_address_needs_a_password_that_keeps_others_out(
    host: str, share: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError) as refused:
        check_password("", host, share)
    assert refused.value.key == "ui.needs_password"
    assert "ANIME_AI_OWNER_PASSWORD" in refused.value.say("zh")
    with pytest.raises(SettingsError):
        check_password("1234", host, share)
    check_password("海棠海", host, share)
    check_password("", "127.0.0.1", False)
    monkeypatch.setenv("SPACE_ID", "me/studio")
    check_password("", host, share)


@pytest.mark.parametrize(
    ("host", "port", "key"),
    [
        *(("127.0.0.1", port, "ui.bad_port") for port in (-1, 0, 65536, 10**9)),
        *((host, 7860, "ui.bad_host") for host in ("203.0.113.7", "no such host", "名..字")),
    ],
)
def test_a_host_or_a_port_that_cannot_be_one_is_said(host: str, port: int, key: str) -> None:
    with pytest.raises(SettingsError) as refused:
        free_port(host, port)
    assert refused.value.key == key


def test_the_app_does_not_start_on_a_public_address_without_one(tmp_path: Path) -> None:
    import os
    import subprocess
    import sys

    from anime_ai.config import ROOT

    env = {name: value for name, value in os.environ.items() if name != "SPACE_ID"}
    command = [
        sys.executable,
        str(ROOT / "app.py"),
        "--host",
        "0.0.0.0",
        "--port",
        "7997",
        "--output-dir",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 1
    assert "ANIME_AI_OWNER_PASSWORD" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "studio").exists(), "nothing was opened"


# Hugging Face


class Hub:
    """A provider that keeps to OAuth's rules: a code is worth something once, with the verifier of its challenge."""

    def __init__(self) -> None:
        self.challenges: dict[str, str] = {}
        self.user: Any = {"sub": "1", "preferred_username": "Mika"}
        self.address = ""

    def permit(self, address: str) -> str:
        """What a user's yes leads to: the query of the way back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert asked["redirect_uri"] == "https://mika-studio.hf.space/login/callback"
        assert (asked["response_type"], asked["scope"], asked["client_id"]) == ("code", "openid profile", "the-app")
        code = f"code-{len(self.challenges)}"
        self.challenges[code] = asked["code_challenge"]
        return f"code={code}&state={asked['state']}"

    def answer(self, asked: Asked) -> None:
        if asked.path == "/oauth/token":
            form = {name: values[0] for name, values in parse_qs(asked.request).items()}
            challenge = self.challenges.pop(form.get("code", ""), "")
            made = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
            basic = base64.b64encode(b"the-app:the-secret").decode()
            right = challenge == made.decode() and asked.headers["authorization"] == f"Basic {basic}"
            asked.body(200 if right else 400, json.dumps({"access_token": "hf_oauth_token"} if right else {}))
        else:
            right = asked.headers["authorization"] == "Bearer hf_oauth_token"
            asked.body(200 if right else 401, json.dumps(self.user))


class Form(Asked):
    """One request whose body is a form."""

    def _answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        self.request = self.rfile.read(length).decode()
        self.server.asked.append(self)
        self.server.script(self)
        self.close_connection = True


@contextmanager
def hub() -> Iterator[Hub]:
    with loopback() as server:
        found = Hub()
        server.RequestHandlerClass = Form
        server.script = found.answer
        found.address = server.address
        yield found


@pytest.fixture
def space(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub() as found:
        named = {
            "SPACE_ID": "mika/studio",
            "SPACE_AUTHOR_NAME": "mika",
            "SPACE_HOST": "mika-studio.hf.space",
            "OAUTH_CLIENT_ID": "the-app",
            "OAUTH_CLIENT_SECRET": "the-secret",
            "OPENID_PROVIDER_URL": found.address,
        }
        for name, value in named.items():
            monkeypatch.setenv(name, value)
        yield found


def on_space(owners: str = "") -> Site:
    site = Site(Hosts(["mika-studio.hf.space"]), shared=True, oauth=OAuth.of_space(owners.split(",")))
    site.guard.on_space = True
    return site


def came_back(site: Site, hub: Hub) -> tuple[int, dict[str, str], str]:
    """The whole way to Hugging Face and back, as one browser."""
    status, headers, _ = site.ask("GET", "/login/hub")
    assert status == 303
    assert headers["location"].startswith(hub.address)
    assert "the-secret" not in headers["location"]
    cookie = headers["set-cookie"].partition(";")[0]
    return site.ask("GET", f"/login/callback?{hub.permit(headers['location'])}", {"cookie": cookie})


def forged_of(cookie: str) -> str:
    return cookie[:-1] + ("1" if cookie.endswith("0") else "0")


def user_cookie(headers: dict[str, str]) -> dict[str, str]:
    line = next(line for line in headers["set-cookie"].splitlines() if line.startswith("anime_ai_user="))
    assert "HttpOnly" in line
    assert "Secure; Partitioned" in line
    return {"cookie": line.partition(";")[0]}


@pytest.mark.parametrize(
    ("name", "owners", "role"),
    [("Mika", "", "owner"), ("guest", "", "visitor"), ("guest", " Guest , x", "owner"), ("mika2", "", "visitor")],
)
def test_the_author_of_a_space_and_whom_it_names_are_its_owners(space: Hub, name: str, owners: str, role: str) -> None:
    site = on_space(owners)
    space.user = {"preferred_username": name}
    status, headers, _ = came_back(site, space)
    assert (status, headers["location"]) == (303, "../")
    cookie = user_cookie(headers)
    site.ask("GET", "/", cookie, client=AWAY)
    assert (site.last.role, site.last.name) == (role, name)
    first = site.last.id
    assert first
    site.ask("GET", "/", cookie)
    assert site.last.id == first, "on another device too"
    for forged in (forged_of(cookie["cookie"]), "anime_ai_user=bWlrYQ==.x", "anime_ai_user="):
        site.ask("GET", "/", {"cookie": forged})
        assert (site.last.role, site.last.name) == ("visitor", "")


def test_a_code_is_taken_from_the_browser_that_asked_for_it_alone(space: Hub) -> None:
    site = on_space()
    _, headers, _ = site.ask("GET", "/login/hub")
    cookie, query = headers["set-cookie"].partition(";")[0], space.permit(headers["location"])
    _, other, _ = site.ask("GET", "/login/hub")
    strange = other["set-cookie"].partition(";")[0]
    for told in ({}, {"cookie": strange}, {"cookie": forged_of(cookie)}):
        status, answered, page = site.ask("GET", f"/login/callback?{query}", told)
        assert status == 403
        assert "set-cookie" not in answered
        assert "code-0" not in page
    assert site.ask("GET", "/login/callback?code=&state=x", {"cookie": cookie})[0] == 403
    assert site.ask("GET", f"/login/callback?{query}", {"cookie": cookie})[0] == 303
    again = site.ask("GET", f"/login/callback?{query}", {"cookie": cookie})
    assert again[0] == 403, "a code is worth something once"


@pytest.mark.parametrize("user", [None, [], {}, {"preferred_username": ""}, {"preferred_username": 7}, "x"])
def test_a_provider_that_tells_no_name_lets_nobody_in(space: Hub, user: Any) -> None:
    space.user = user
    status, headers, _ = came_back(on_space(), space)
    assert status == 403
    assert "anime_ai_user" not in headers.get("set-cookie", "")


def test_a_provider_that_is_away_is_said_without_a_secret(space: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    site = on_space()
    _, headers, _ = site.ask("GET", "/login/hub")
    query = space.permit(headers["location"])
    monkeypatch.setenv("OPENID_PROVIDER_URL", "http://127.0.0.1:9")
    site.persons.oauth = OAuth.of_space()
    status, _, page = site.ask("GET", f"/login/callback?{query}", {"cookie": headers["set-cookie"].partition(";")[0]})
    assert status == 403
    assert "the-secret" not in page + repr(site.persons.oauth)


def test_anywhere_else_hugging_face_is_no_way_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPACE_ID", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "SPACE_HOST"):
        monkeypatch.delenv(name, raising=False)
    assert OAuth.of_space() is None
    monkeypatch.setenv("OAUTH_CLIENT_ID", "the-app")
    assert OAuth.of_space() is None
    site = Site()
    for path in ("/login/hub", "/login/callback?code=x&state=y"):
        assert site.ask("GET", path)[0] == 404
    assert "login/hub" not in site.ask("GET", "/login")[2]
