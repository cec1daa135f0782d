"""The guard: hosts, origins, routes, sizes, pace, cookies, roles. Driven as an ASGI application, without Gradio."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from anime_ai.ui import guard as guards
from anime_ai.ui.guard import Guard, Hosts, known_route
from anime_ai.ui.labels import Labels, fill, label
from anime_ai.ui.persons import Person, Persons, person_of

SECRET = b"0123456789abcdef0123456789abcdef"
LOCAL = ("127.0.0.1", 51234)
AWAY = ("203.0.113.9", 51234)


class Inner:
    """What stands behind the guard: reads the whole body, remembers who came, answers with what it read."""

    def __init__(self) -> None:
        self.persons: list[Person] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.persons.append(person_of(type("Request", (), {"scope": scope})()))
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"inside"})


class Site:
    """A guard, what stands behind it, and a client that says exactly what it is told to say."""

    def __init__(self, hosts: Hosts | None = None, **persons: Any) -> None:
        self.inner = Inner()
        self.persons = Persons(SECRET, **persons)
        self.guard = Guard(self.inner, persons=self.persons, hosts=hosts or Hosts(), upload_limit=200_000)

    def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"", **more: Any
    ) -> tuple[int, dict[str, str], str]:
        told = {"host": "127.0.0.1:7860", **(headers or {})}
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in told.items() if value is not None]
        raw += more.get("extra", [])
        path, _, query = path.partition("?")
        scope = {
            "type": "http", "http_version": more.get("version", "1.1"),
            "method": method, "path": path, "query_string": query.encode(), "headers": raw,
            "client": more.get("client", LOCAL),
        }  # fmt: skip
        chunks = more.get("chunks") or [body]
        sent: list[Any] = []

        async def receive() -> Any:
            if not chunks:
                await asyncio.sleep(3600)
            if chunks[0] is None:  # a client that stops in the middle
                await asyncio.sleep(3600)
            return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self.guard(scope, receive, send))
        headers = {}
        for name, value in sent[0]["headers"]:
            headers[name.decode()] = "\n".join(filter(None, [headers.get(name.decode(), ""), value.decode()]))
        return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]).decode()

    @property
    def last(self) -> Person:
        return self.inner.persons[-1]


# Hosts and origins.


@pytest.mark.parametrize("host", ["localhost", "localhost:7860", "127.0.0.1:7860", "[::1]:7860", "LOCALHOST:7860"])
def test_loopback_names_are_ours(host: str) -> None:
    assert Site().ask("GET", "/", {"host": host})[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "localhost@evil.example",
            "evil.example#localhost",
        ),
        *(
            "",
            "localhost:",
            "localhost:99999999",
            "127.0.0.1 ",
            "local\u00adhost",
            "ⓛocalhost".encode().decode("latin-1"),
        ),
        *("localhost/..", "[::1", "10.0.0.1", "localhost,evil.example", "localhost\tevil", "0.0.0.0", "127.1"),
    ],
)
def test_other_hosts_are_refused_in_one_line(host: str) -> None:
    site = Site()
    status, _, line = site.ask("GET", "/", {"host": host})
    assert status == 403
    assert line.count("\n") == 1
    assert not site.inner.persons


def test_a_request_with_two_hosts_or_none_is_refused() -> None:
    assert Site().ask("GET", "/", {"host": "localhost"}, extra=[(b"host", b"evil.example")])[0] == 403
    assert Site().ask("GET", "/", {"host": None})[0] == 403  # type: ignore[dict-item]


def test_named_hosts_and_addresses_of_an_open_server_pass() -> None:
    allowed = "studio.example, Other.Example"
    opened = Hosts.of("0.0.0.0", allowed=allowed)
    assert [opened.allow(host) for host in ("studio.example:80", "other.example", "192.168.1.7:7860", "[fe80::1]")] == [
        True
    ] * 4
    assert not opened.allow("rebound.example")
    closed = Hosts.of("127.0.0.1", allowed=allowed)
    assert closed.allow("studio.example")
    assert not closed.allow("192.168.1.7")
    assert not closed.allow("x.gradio.live")
    assert Hosts.of("127.0.0.1", share=True).allow("x.gradio.live")
    assert not Hosts.of("127.0.0.1", share=True).allow("x.gradio.live.evil.example")


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://localhost:3000",
        "http://127.0.0.1",
        "file://",
        "http://localhost:7860.evil.example",
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/gradio_api/queue/join"), ("GET", "/gradio_api/queue/data"), ("GET", "/")]
)
def test_a_foreign_page_is_refused(origin: str, method: str, path: str) -> None:
    site = Site()
    assert site.ask(method, path, {"origin": origin})[0] == 403
    assert not site.inner.persons


@pytest.mark.parametrize(
    ("wanted", "allowed"),
    [
        ("authorization,content-type,x-stainless-lang,x-stainless-os", None),
        ("", "authorization, content-type"),
        ("*;é", "authorization, content-type"),
        ("x" * 3000, "authorization, content-type"),
    ],
)
def test_a_named_page_may_send_the_headers_that_its_client_has(wanted: str, allowed: str | None) -> None:
    site = Site()
    site.guard.origins = frozenset({"https://friend.example"})
    ask = {"origin": "https://friend.example", "access-control-request-headers": wanted}
    status, headers, _ = site.ask("OPTIONS", "/v1/chat/completions", ask)
    assert (status, headers["access-control-allow-headers"]) == (200, allowed or wanted)
    refused = site.ask("OPTIONS", "/v1/chat/completions", {**ask, "origin": "https://evil.example"})
    assert refused[0] == 403
    assert "access-control-allow-headers" not in refused[1]


def test_our_own_page_may_call() -> None:
    assert Site().ask("POST", "/gradio_api/queue/join", {"origin": "http://127.0.0.1:7860"}, b"{}")[0] == 200
    other = {"host": "localhost:7860", "origin": "http://127.0.0.1:7860"}
    assert Site().ask("POST", "/gradio_api/queue/join", other, b"{}")[0] == 403


def test_a_fetch_without_an_origin_from_another_site_is_refused_and_a_link_is_not() -> None:
    foreign = {"sec-fetch-site": "cross-site"}
    assert Site().ask("GET", "/gradio_api/heartbeat/abc", foreign)[0] == 403
    assert Site().ask("GET", "/download/x.json", foreign)[0] == 403
    assert Site().ask("GET", "/", foreign)[0] == 200


def test_websockets_are_closed() -> None:
    sent: list[Any] = []

    async def run() -> None:
        async def send(message: Any) -> None:
            sent.append(message)

        site = Site()
        await site.guard({"type": "websocket", "path": "/", "headers": []}, None, send)  # type: ignore[arg-type]

    asyncio.run(run())
    assert [message["type"] for message in sent] == ["websocket.close"]


@pytest.mark.parametrize(
    ("method", "path", "known"),
    [
        *(
            ("GET", path, True)
            for path in ("/", "/config", "/assets/x.js", "/theme.css", "/gradio_api/info", "/download/a.json")
        ),
        *(("POST", f"/gradio_api/{path}", True) for path in ("queue/join", "run/x", "call/x", "upload", "cancel")),
        *(
            ("GET", f"/gradio_api/{path}", False)
            for path in ("file=/etc/passwd", "proxy=http://x", "deep_link", "runs", "token")
        ),
        *(
            ("POST", f"/gradio_api/{path}", False)
            for path in ("component_server", "vibe-edit", "stream/x", "process_recording")
        ),
        ("PUT", "/", False),
        ("DELETE", "/gradio_api/queue/join", False),
        ("GET", "/docs", False),
        ("GET", "/monitoring", False),
    ],
)
def test_only_the_routes_that_the_page_needs_are_open(method: str, path: str, known: bool) -> None:
    assert known_route(path, method) is known


# Sizes and pace.


def test_a_large_body_is_refused_with_and_without_a_length() -> None:
    site = Site()
    large = guards.JSON_LIMIT + 1
    assert site.ask("POST", "/gradio_api/queue/join", {"content-length": str(large)}, b"x")[0] == 413
    assert site.ask("POST", "/gradio_api/queue/join", {"content-length": "-1"}, b"x")[0] == 413
    chunks = [b"x" * 65536] * (large // 65536 + 2)
    assert site.ask("POST", "/gradio_api/queue/join", chunks=chunks)[0] == 413
    assert chunks, "it was not read to its end"
    assert not site.inner.bodies


def test_a_whole_small_body_arrives_as_it_was_sent() -> None:
    site = Site()
    assert site.ask("POST", "/gradio_api/queue/join", chunks=[b'{"data": ', b"[1]}"])[0] == 200
    assert site.inner.bodies == [b'{"data": [1]}']


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/upload"])
def test_a_slow_body_ends_at_its_deadline(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "JSON_SECONDS", 0.05)
    monkeypatch.setattr(guards, "IDLE_SECONDS", 0.05)
    site = Site()
    assert site.ask("POST", path, chunks=[b"{", None])[0] == 408
    assert not site.inner.bodies


def test_an_upload_is_counted_while_it_streams() -> None:
    site = Site()
    assert site.ask("POST", "/gradio_api/upload", {"content-length": "300000"}, b"x")[0] == 413
    assert site.ask("POST", "/gradio_api/upload", chunks=[b"x" * 50_000] * 8)[0] == 413
    assert not site.inner.bodies
    assert site.ask("POST", "/gradio_api/upload", chunks=[b"x" * 50_000] * 3)[0] == 200
    assert len(site.inner.bodies[0]) == 150_000


def test_a_visitor_cannot_upload_at_all() -> None:
    site = Site()
    assert site.ask("POST", "/gradio_api/upload", client=AWAY, body=b"x")[0] == 403
    assert not site.inner.persons


# Headers and languages.


def test_every_answer_carries_the_security_headers() -> None:
    site = Site()
    for path, headers in (("/", {}), ("/nothing", {}), ("/", {"host": "evil.example"}), ("/login", {})):
        got = site.ask("GET", path, headers)[1]
        assert got["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'self' https://huggingface.co" in got["content-security-policy"]
        assert "img-src 'self' data: blob:;" in got["content-security-policy"]
        assert got["referrer-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("accept", "line"),
    [
        ("zh-CN,zh;q=0.9", "404：这里没有这个地址。"),
        ("en-GB,en;q=0.9", "404: there is nothing at this address."),
        ("", "404："),
    ],
)
def test_a_refusal_speaks_the_readers_language(accept: str, line: str) -> None:
    assert Site().ask("GET", "/nothing", {"accept-language": accept})[2].startswith(line)


def test_the_page_speaks_by_the_browser_until_its_reader_chooses() -> None:
    def page(path: str, headers: dict[str, str]) -> tuple[dict[str, str], str]:
        site = Site()
        page = f'<script>x = {{"label": "{label("ui.chat.send")}", "other": "@@no.such.text@@"}}</script>'

        async def app(scope: Any, receive: Any, send: Any) -> None:
            length = [(b"content-length", str(len(page)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": length})
            await send({"type": "http.response.body", "body": page.encode()})

        site.guard.app = Labels(app)
        _, headers, body = site.ask("GET", path, headers)
        assert int(headers["content-length"]) == len(body.encode())
        assert "@@no.such.text@@" in body
        return headers, body

    assert "Send" in page("/", {"accept-language": "en"})[1]
    assert "\\u53d1\\u9001" in page("/", {"accept-language": "zh-CN"})[1]
    headers, body = page("/?lang=en", {"accept-language": "zh-CN"})
    assert "Send" in body
    chosen = next(line for line in headers["set-cookie"].splitlines() if "language" in line).partition(";")[0]
    assert "Send" in page("/config", {"accept-language": "zh-CN", "cookie": chosen})[1]


def test_filled_labels_stay_inside_their_json_string(monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "\"</script><img src=x> & ' \\ \n"
    monkeypatch.setattr("anime_ai.ui.labels.catalogue", lambda language: {"ui.x": evil})
    filled = fill(b'{"a": "@@ui.x@@"}', "zh")
    assert json.loads(filled) == {"a": evil}
    assert b"<" not in filled


def test_a_label_without_a_text_is_noticed_when_the_page_is_built() -> None:
    make: Callable[[str], str] = label
    with pytest.raises(KeyError):
        make("ui.no.such.label")
