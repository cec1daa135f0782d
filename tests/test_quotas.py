"""What visitors may use: messages, words, pictures and changes, and whose adapters; the owner has no limit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
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
from anime_ai.ui.guard import Pictures
from anime_ai.ui.launch import trust_proxies
from anime_ai.ui.page import guarded
from anime_ai.ui.persons import SCOPE_KEY, Person, Persons
from anime_ai.ui.sampling_form import SamplingForm

PNG = b'--x\r\ncontent-disposition: form-data; name="files"; filename="a.png"\r\n\r\n\x89PNG\r\n\x1a\n' + b"0" * 64


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
