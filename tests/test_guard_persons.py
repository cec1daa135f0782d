"""Who comes in: the owner of this machine, visitors by their cookies, the password."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from test_guard import AWAY, LOCAL, Site

from anime_ai.errors import StorageError
from anime_ai.ui.guard import Hosts
from anime_ai.ui.persons import SCOPE_KEY, Person, person_of, read_secret


def test_the_owner_comes_from_this_machine_under_its_own_name() -> None:
    site = Site()
    site.ask("GET", "/")
    assert site.last.is_owner


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        ({}, AWAY),
        ({}, None),
        ({"x-forwarded-for": "127.0.0.1"}, LOCAL),
        ({"forwarded": "for=127.0.0.1"}, LOCAL),
        ({"via": "1.1 tunnel"}, LOCAL),
        ({"x-forwarded-host": "localhost"}, LOCAL),
        ({"host": "studio.example"}, LOCAL),
    ],
)
def test_everybody_else_is_a_visitor(headers: dict[str, str], client: Any) -> None:
    site = Site(Hosts(["studio.example"]))
    site.ask("GET", "/", headers, client=client)
    assert site.last.role == "visitor"
    assert site.last.id


def test_a_silent_proxy_on_this_machine_is_no_owner() -> None:
    site = Site()
    site.ask("GET", "/", version="1.0")
    assert site.last.role == "visitor"
    site.ask("GET", "/", version="1.1")
    assert site.last.is_owner


def test_sharing_and_a_password_make_being_local_prove_nothing() -> None:
    for persons in ({"shared": True}, {"password": "开门"}):
        site = Site(**persons)
        site.ask("GET", "/")
        assert site.last.role == "visitor"


def test_a_visitor_keeps_one_id_by_a_signed_cookie_and_a_forged_one_is_worth_nothing() -> None:
    site = Site()
    _, headers, _ = site.ask("GET", "/", client=AWAY)
    first, cookie = site.last, headers["set-cookie"].partition(";")[0]
    assert "HttpOnly" in headers["set-cookie"]
    assert "SameSite=Lax" in headers["set-cookie"]
    _, headers, _ = site.ask("GET", "/", {"cookie": cookie}, client=AWAY)
    assert site.last.id == first.id
    assert "set-cookie" not in headers
    for foreign in ('x={"a":1}; ', "[y]=1; ", "é=é;", "=; ", 'z="; ', "plain; "):  # another program's
        _, headers, _ = site.ask("GET", "/", {"cookie": foreign + cookie}, client=AWAY)
        assert site.last.id == first.id, foreign
        assert "set-cookie" not in headers
    name, _, value = cookie.partition("=")
    for forged in (value.replace("v", "w", 1), value.partition(".")[0] + ".", value[:-1] + "~", "", "x.y", "é.é"):
        site.ask("GET", "/", {"cookie": f"{name}={forged}"}, client=AWAY)
        assert site.last.id not in ("", first.id)
        assert not site.last.is_owner


def test_where_cookies_are_blocked_a_page_load_is_a_person() -> None:
    site = Site()
    body = [json.dumps({"session_hash": session}).encode() for session in ("aaa", "aaa", "bbb")]
    for one in body:
        assert site.ask("POST", "/gradio_api/queue/join", body=one, client=AWAY)[0] == 200
    ids = [person.id for person in site.inner.persons]
    assert ids[0] == ids[1] != ids[2]
    assert "" not in ids


def test_a_session_belongs_to_whom_used_it_first() -> None:
    site = Site()
    cookies = []
    for _ in range(2):
        _, headers, _ = site.ask("GET", "/", client=AWAY)
        cookies.append({"cookie": headers["set-cookie"].partition(";")[0]})
    body = json.dumps({"session_hash": "mine"}).encode()
    assert site.ask("POST", "/gradio_api/queue/join", cookies[0], body, client=AWAY)[0] == 200
    assert site.ask("POST", "/gradio_api/queue/join", cookies[1], body, client=AWAY)[0] == 403
    for path in ("/gradio_api/queue/data?session_hash=mine", "/gradio_api/heartbeat/mine"):
        assert site.ask("GET", path, cookies[1], client=AWAY)[0] == 403
        assert site.ask("GET", path, cookies[0], client=AWAY)[0] == 200
    assert site.ask("GET", "/gradio_api/heartbeat/" + "x" * 65, cookies[0], client=AWAY)[0] == 400
    for two in ("session_hash=own&session_hash=mine", "session_hash=mine&session_hash="):
        assert site.ask("GET", f"/gradio_api/queue/data?{two}", cookies[1], client=AWAY)[0] == 400, two


def test_the_password_opens_after_a_right_try_and_five_wrong_ones_close_for_a_minute() -> None:
    site = Site(password="开门 & 芝麻")
    status, headers, page = site.ask("GET", "/login")
    assert status == 200
    assert 'type="password"' in page
    from urllib.parse import urlencode

    form = {"content-type": "application/x-www-form-urlencoded"}
    status, headers, _ = site.ask("POST", "/login", form, urlencode({"password": "开门 & 芝麻"}).encode())
    assert status == 303
    cookie = {"cookie": headers["set-cookie"].partition(";")[0]}
    site.ask("GET", "/", cookie, client=AWAY)
    assert site.last.is_owner
    for _ in range(4):
        assert site.ask("POST", "/login", form, b"password=wrong")[0] == 401
    assert site.ask("POST", "/login", form, b"password=wrong")[0] == 429
    assert site.ask("POST", "/login", form, urlencode({"password": "开门 & 芝麻"}).encode())[0] == 429
    assert site.ask("POST", "/login", form, b"password=wrong", client=AWAY)[0] == 401
    site.persons.password = "另一个"
    site.ask("GET", "/", cookie, client=AWAY)
    assert not site.last.is_owner, "a changed password ends old logins"


def test_without_a_password_nobody_logs_in() -> None:
    status, headers, _ = Site().ask("POST", "/login", {}, b"password=")
    assert status == 401
    assert "set-cookie" not in headers


@pytest.mark.parametrize("shown_at", ["/login", "/login/hub", "/login/callback?code=x"])
def test_the_form_goes_to_the_login_from_wherever_it_is_shown(shown_at: str) -> None:
    page = Site(password="x").ask("GET", shown_at)[2]
    (action,) = re.findall(r'action="([^"]*)"', page)
    assert urljoin(f"http://here{shown_at}", action) == "http://here/login"


def test_logging_out_needs_a_post() -> None:
    site = Site(password="x")
    assert "set-cookie" not in site.ask("GET", "/logout")[1]
    assert "Max-Age=0" in site.ask("POST", "/logout")[1]["set-cookie"]


def test_a_login_from_another_site_is_refused() -> None:
    assert Site(password="x").ask("POST", "/login", {"origin": "https://evil.example"}, b"password=x")[0] == 403


def test_a_request_that_no_guard_saw_is_nobody() -> None:
    assert person_of(type("Request", (), {"scope": {}})()) == Person("", "visitor")
    assert person_of(type("Request", (), {"scope": {SCOPE_KEY: "owner"}})()).role == "visitor"


def test_the_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "工作室" / "secret.key"
    secret = read_secret(path)
    assert read_secret(path) == secret
    assert len(secret) >= 32
    assert [file.name for file in path.parent.iterdir()] == ["secret.key"]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("", encoding="ascii")
    with pytest.raises(StorageError):
        read_secret(path)
