"""Who somebody is: the password, Hugging Face on a Space, a public address without one, what visitors may use."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import gradio as gr
import pytest
from remote_servers import Asked, loopback
from test_guard import AWAY, SECRET, Site
from test_serving import request
from ui_fakes import OWNER, STRANGER, VISITOR, open_studio
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from anime_ai.chat.turns import How
from anime_ai.config import Settings
from anime_ai.errors import AnimeAIError, ModelError, PersonaError, SettingsError
from anime_ai.files import write_json
from anime_ai.models.adapters import CARD
from anime_ai.models.engine import Sampling
from anime_ai.serving.meter import QuotaError
from anime_ai.studio import Studio
from anime_ai.ui.chat_tab import ChatTab
from anime_ai.ui.guard import Hosts, Pictures
from anime_ai.ui.launch import check_password, free_port, trust_proxies
from anime_ai.ui.oauth import OAuth
from anime_ai.ui.page import guarded
from anime_ai.ui.passwords import Password
from anime_ai.ui.persons import SCOPE_KEY, Person, Persons
from anime_ai.ui.sampling_form import SamplingForm

PNG = b'--x\r\ncontent-disposition: form-data; name="files"; filename="a.png"\r\n\r\n\x89PNG\r\n\x1a\n' + b"0" * 64


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


# What visitors may use


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    limits = {"visitor_messages_per_hour": 3, "visitor_pictures_per_day": 1, "visitors_tokens_per_day": 60}
    with open_studio(tmp_path, **limits) as found:
        yield found


def talk(studio: Studio, person: str, said: str = "早") -> Any:
    conversation = studio.chat.start(person, "傲娇")
    return list(studio.chat.reply(person, conversation.id, said, How()))[-1]


def test_a_visitor_has_so_many_messages_an_hour_and_the_owner_has_no_limit(studio: Studio) -> None:
    for _ in range(3):
        assert talk(studio, VISITOR.id).text
    conversation = studio.chat.start(VISITOR.id, "傲娇")
    with pytest.raises(QuotaError) as refused:
        list(studio.chat.reply(VISITOR.id, conversation.id, "还有吗", How()))
    assert refused.value.key == "serving.visitor_hour"
    assert "还有吗" not in str(studio.conversations.get(VISITOR.id, conversation.id)), "nothing is half kept"
    assert talk(studio, STRANGER.id).text, "another one has an hour of their own"
    for _ in range(5):
        talk(studio, OWNER.id)


def test_all_visitors_together_have_so_many_tokens_a_day(studio: Studio) -> None:
    talk(studio, VISITOR.id, "一" * 70)
    with pytest.raises(QuotaError) as refused:
        talk(studio, STRANGER.id)
    assert refused.value.key == "serving.all_tokens"
    with pytest.raises(QuotaError):
        next(studio.chat.ask("早", "傲娇", person=STRANGER.id))
    assert studio.meter.used(f"visitor:{VISITOR.id}", "tokens", 86400) > 60
    talk(studio, OWNER.id)


def visitor_at(site: Site, address: str, **headers: str) -> str:
    """A browser that keeps no cookie opens the page: who it is then."""
    site.ask("GET", "/", headers, client=(address, 4711))
    return site.last.id


def test_a_new_cookie_is_no_new_quota(studio: Studio) -> None:
    """One network address has the limits of so many visitors, however many cookies are thrown away there."""
    studio.settings.visitors_per_address = 2
    studio.settings.visitors_tokens_per_day = 0
    site = Site()
    site.guard.seen = studio.quotas.at
    persons = [visitor_at(site, "203.0.113.7") for _ in range(7)]
    assert len(set(persons)) == 7
    for person in persons[:6]:  # two visitors' messages, three an hour each
        assert talk(studio, person).text
    with pytest.raises(QuotaError) as refused:
        talk(studio, persons[6])
    assert refused.value.key == "serving.address"
    assert talk(studio, visitor_at(site, "203.0.113.8")).text, "the neighbour has their own"
    liar = visitor_at(site, "203.0.113.7", **{"x-forwarded-for": "198.51.100.1"})
    with pytest.raises(QuotaError):
        talk(studio, liar)


def test_an_address_has_so_many_words_and_pictures_and_is_kept_as_a_mark(studio: Studio) -> None:
    quotas, place = studio.quotas, Persons(SECRET).place_of({"client": ("203.0.113.7", 1)})
    studio.settings.visitors_per_address = 1
    studio.settings.visitor_tokens_per_day, studio.settings.visitors_tokens_per_day = 50, 0
    for person in ("va", "vb", "vc"):
        quotas.at(person, place)
    quotas.spend("va", 30)
    quotas.spend("vb", 30)
    with pytest.raises(QuotaError) as refused:
        quotas.message("vc")
    assert refused.value.key == "serving.address"
    quotas.picture("va")
    with pytest.raises(QuotaError):
        quotas.picture("vb")
    assert "." not in place
    quotas.at("vc", "")
    quotas.message("vc")
    studio.settings.visitors_per_address = 0
    quotas.message("va")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.7", "203.0.113.8", False),
        ("2001:db8:1:2::5", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::5", "2001:db8:1:3::5", False),
        ("::ffff:203.0.113.7", "203.0.113.7", True),
    ],
)
def test_one_subscriber_is_one_address(one: str, other: str, same: bool) -> None:
    places = [Persons(SECRET).place_of({"client": (address, 1)}) for address in (one, other)]
    assert all(places)
    assert (places[0] == places[1]) is same
    assert Persons(SECRET).place_of({"client": ("unix", 1)}) == Persons(SECRET).place_of({}) == ""


def told_peer(monkeypatch: pytest.MonkeyPatch, trusted: str, peer: str, forwarded: str) -> str:
    """The peer that the app sees behind the server's own layer, as the server reads its environment."""
    from uvicorn import Config

    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    trust_proxies(trusted)
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"][0])

    config = Config(app, lifespan="off", log_config=None)
    config.load()
    scope = {"type": "http", "client": (peer, 1), "headers": [(b"x-forwarded-for", forwarded.encode())]}
    asyncio.run(ProxyHeadersMiddleware(app, config.forwarded_allow_ips)(scope, None, None))  # type: ignore[arg-type]
    return str(seen[0])


def test_only_a_trusted_proxy_says_who_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    lie = "198.51.100.1, 203.0.113.7"
    assert told_peer(monkeypatch, "", "127.0.0.1", lie) == "127.0.0.1", "not even one of this machine"
    assert told_peer(monkeypatch, "", "10.0.0.2", lie) == "10.0.0.2"
    assert told_peer(monkeypatch, "10.0.0.0/24, 127.0.0.1", "10.0.0.2", lie) == "203.0.113.7", "the one it has seen"
    assert told_peer(monkeypatch, "10.0.0.0/24", "10.0.1.2", lie) == "10.0.1.2"
    monkeypatch.setenv("SPACE_ID", "me/studio")
    assert told_peer(monkeypatch, "", "10.16.3.80", f"{lie}, 10.16.1.1") == "203.0.113.7"
    with pytest.raises(SettingsError) as refused:
        trust_proxies("10.0.0.1, my-proxy")
    assert "my-proxy" in refused.value.say("zh")


def test_a_comparison_answers_in_no_hidden_ones_words(studio: Studio) -> None:
    hidden = studio.personas.create("深藏")
    with pytest.raises(PersonaError):
        next(studio.chat.ask("早", hidden.name, person=VISITOR.id))
    assert list(studio.chat.ask("早", hidden.name))


def asks(person: Person) -> Any:
    """A request of somebody, as the page's handlers get it."""
    return type("Request", (), {"scope": {SCOPE_KEY: person}})()


def test_a_visitor_changes_so_much_an_hour_and_the_owner_as_much_as_they_like(studio: Studio) -> None:
    limits, called = studio.settings, []
    limits.visitor_changes_per_hour, limits.visitors_changes_per_hour = 2, 5
    keep = guarded(lambda person, what: called.append(what), "visitor", None, False, studio.quotas.change)
    for person, most in ((VISITOR, 2), (STRANGER, 2), (OWNER, 9), (Person("v3", "visitor"), 1)):
        before = len(called)
        for _ in range(9):
            with suppress(gr.Error):
                keep(asks(person), person.id)
        assert called[before:] == [person.id] * most, "each so much, and all together not more"
    with pytest.raises(QuotaError) as refused:
        studio.quotas.change("v4")
    assert refused.value.key == "serving.all_changes"


def test_a_fresh_cookie_at_one_address_begins_no_more_conversations(studio: Studio) -> None:
    limits, tab = studio.settings, ChatTab(studio)
    limits.visitor_changes_per_hour, limits.visitors_per_address = 1, 3
    persons = [Person(f"v{number}", "visitor") for number in range(4)]
    for person in persons:
        studio.quotas.at(person.id, "there")
    for person in persons[:3]:
        assert tab.arrive(person)
    with pytest.raises(QuotaError) as refused:
        tab.arrive(persons[3])
    assert refused.value.key == "serving.address"
    assert studio.conversations.list(persons[3].id) == []
    assert tab.arrive(persons[0]), "who has a conversation is shown it"


def test_an_adapter_of_a_hidden_one_is_the_owners(studio: Studio, tmp_path: Path) -> None:
    """Her name, and her way to speak, which the adapter has whatever card stands before it."""
    hidden, tab, chat = studio.personas.create("深藏"), ChatTab(studio), studio.chat
    write_json(tmp_path / "final_model" / "adapter_config.json", {"base_model_name_or_path": "starter"})
    write_json(tmp_path / "final_model" / CARD, {"base": "starter", "persona": hidden.name})
    alone, group = chat.start(VISITOR.id, "傲娇"), studio.rounds.begin(VISITOR.id, ["傲娇", "活泼"])
    knobs = SamplingForm._set(Sampling())[1:]
    compared = ["早", "傲娇", "", "final", "", "", *knobs]
    asked = request(anime_ai={"adapter": "final"})
    for refused in (
        lambda: tab.how(VISITOR, alone, None, "final", False, *knobs),
        lambda: list(chat.reply(VISITOR.id, alone.id, "早", How("final"))),
        lambda: list(tab.contrast.compare(VISITOR, *compared)),
        lambda: list(chat.ask("早", "傲娇", "final", person=VISITOR.id)),
        lambda: tab.group.dress_members(VISITOR, group.id, ["傲娇"], "final"),
        lambda: list(studio.completions.answer(asked, "key:x", threading.Event())),
    ):
        with pytest.raises(ModelError) as told:
            refused()
        assert told.value.key == "model.unknown_adapter"
    line, _ = tab.choose_adapter(VISITOR, "final", alone.id)
    shown = [tab.show(VISITOR, alone), tab.show(VISITOR, group), tab.contrast.sides(VISITOR, "傲娇", ""), line]
    assert hidden.name not in str(shown)
    assert hidden.name in str(tab.contrast.sides(OWNER, "傲娇", ""))
    studio.personas.publish(hidden.id, True)
    assert hidden.name in str(tab.contrast.sides(VISITOR, "傲娇", ""))
    assert list(chat.ask("早", "傲娇", "final", person=VISITOR.id))


def test_a_visitor_shows_so_many_pictures_a_day(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    from anime_ai.ui.attaching import Attachment

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    attachment = Attachment(studio)
    for number in range(2):
        Image.new("RGB", (64, 64), "red").save(tmp_path / f"{number}.png")
    assert attachment.attach(VISITOR, str(tmp_path / "0.png"))[0]
    with pytest.raises(QuotaError) as refused:
        attachment.attach(VISITOR, str(tmp_path / "1.png"))
    assert refused.value.key == "serving.visitor_pictures"
    assert not (tmp_path / "1.png").exists(), "what was sent is gone"


def test_a_visitor_sends_pictures_and_nothing_else() -> None:
    site, admitted = Site(), []
    site.guard.pictures = Pictures(100_000, admitted.append)
    _, headers, _ = site.ask("GET", "/", client=AWAY)
    cookie = {"cookie": headers["set-cookie"].partition(";")[0]}
    assert (
        site.ask("POST", "/gradio_api/upload", cookie, client=AWAY, chunks=[PNG[:40], PNG[40:], b"1" * 1000])[0] == 200
    )
    assert site.inner.bodies == [b"", PNG + b"1" * 1000]
    assert len(admitted) == 1
    for body in (b"--x\r\n\r\n<svg onload=alert(1)>", b"--x\r\n\r\n[]", b"", PNG.replace(b"\x89PNG", b"GIF89a")):
        assert site.ask("POST", "/gradio_api/upload", cookie, client=AWAY, body=body)[0] == 403
    assert site.ask("POST", "/gradio_api/upload", cookie, client=AWAY, chunks=[PNG, b"1" * 300_000])[0] == 413
    assert site.ask("POST", "/gradio_api/upload", client=AWAY, body=PNG)[0] == 403, "nobody in particular"

    def refuse(person: str) -> None:
        raise AnimeAIError("serving.busy")

    site.guard.pictures = Pictures(100_000, refuse)
    assert site.ask("POST", "/gradio_api/upload", cookie, client=AWAY, body=PNG)[0] == 429


def test_an_answer_on_the_page_ends_at_its_deadline() -> None:
    from anime_ai.ui.generations import Generations

    with Generations(0.05).one("x", "s") as stop:
        assert stop.wait(10)
    with Generations(60).one("x", "s") as stop:
        assert not stop.is_set()
    assert not [one for one in threading.enumerate() if isinstance(one, threading.Timer) and not one.finished.is_set()]


def test_settings_of_limits_have_bounds() -> None:
    with pytest.raises(SettingsError):
        Settings.load(visitor_messages_per_hour=-1)
