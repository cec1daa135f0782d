"""What every request passes before Gradio sees it: Host, Origin, route, size and pace of the body, person, session.

A plain ASGI middleware, so that streams pass through it untouched. Knows no handler and no service.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from anime_ai.errors import AnimeAIError
from anime_ai.serving.openai_form import error_form
from anime_ai.texts import text
from anime_ai.ui.login import AWAY, BACK, answer_login
from anime_ai.ui.persons import (
    LANGUAGE_COOKIE,
    LOOPBACK_HOSTS,
    MONTH,
    SCOPE_KEY,
    VISITOR_COOKIE,
    Person,
    Persons,
    header,
    host_name,
    language_of,
    set_cookie,
    wanted_language,
)
from anime_ai.ui.portraits import PORTRAITS
from anime_ai.ui.streams import Streams

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON_LIMIT = 2 * 1024 * 1024
JSON_SECONDS = 20.0
UPLOAD_SECONDS = 600.0
IDLE_SECONDS = 20.0
API = "/gradio_api/"
OWN = (
    *("/conversation/", "/download/", "/picture/", "/thumb/", "/character/", "/pictures.zip"),
    *("/persona/", "/card/", "/world/", "/origin/", "/published"),
)
"""What is handed to the person whose it is alone."""
ENDPOINT = "/v1/"
"""What programs with a key call: no cookie counts there, and no other site's page but those that the settings name."""
PAGES = ("/", "/config", "/config/")
FILES = ("/assets/", "/static/", "/svelte/", f"/{PORTRAITS}/")
SINGLE = ("/theme.css", "/favicon.ico", "/robots.txt", "/manifest.json", "/pwa_icon", "/gradio_api/theme.css")
CALLS = ("queue/join", "run/", "api/", "call/", "cancel", "reset")
READS = ("startup-events", "app_id", "user", "login_check", "info", "heartbeat/", "queue/data", "queue/status", "call/")
"""Gradio has more routes (a proxy, cached files by path, deep links, component functions …); the page needs none."""

HOST = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9][A-Za-z0-9.-]{0,252})(:[0-9]{1,5})?")
SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")
HEADER_NAMES = re.compile(r"[A-Za-z0-9_, -]{1,2000}")


class Hosts:
    """The names under which this app may be called. An IP address cannot be rebound: on an open server those pass."""

    def __init__(self, names: Iterable[str] = (), *, suffixes: Iterable[str] = (), any_address: bool = False) -> None:
        self.names = LOOPBACK_HOSTS | {name.lower() for name in names if name}
        self.suffixes = tuple(suffixes)
        self.any_address = any_address

    @classmethod
    def of(cls, host: str, share: bool = False, allowed: str = "") -> Hosts:
        """For an app bound to `host`; `allowed` are more names, with commas. A Space's own name is known."""
        names = [name.strip() for name in allowed.split(",")]
        names.append(os.environ.get("SPACE_HOST", ""))
        is_open = host not in ("127.0.0.1", "localhost", "::1", "[::1]")
        if is_open:
            names += [f"[{host}]" if ":" in host and not host.startswith("[") else host, socket.gethostname()]
        suffixes = [".gradio.live"] if share else []
        if os.environ.get("SPACE_ID"):
            suffixes.append(".hf.space")
        return cls(names, suffixes=suffixes, any_address=is_open)

    def allow(self, host: str) -> bool:
        """Whether a Host header's value is one of ours. Anything but plain ASCII names and numbers is not."""
        if not HOST.fullmatch(host):
            return False
        name = host_name(host)
        if name in self.names or name.endswith(self.suffixes):
            return True
        return self.any_address and bool(re.fullmatch(r"\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:.]+\]", name))

    def allow_origin(self, origin: str, host: str) -> bool:
        """Whether a page of `origin` may call `host`: only the app's own page."""
        scheme, mark, authority = origin.partition("://")
        return bool(mark) and scheme in ("http", "https") and authority.lower() == host.lower()


@dataclass(frozen=True)
class Pictures:
    """What visitors may send: bytes of one file, and `admit` that raises AnimeAIError for one too many."""

    limit: int
    admit: Callable[[str], None]


class Refused(Exception):
    """A request that ends here, with a status and one line."""

    def __init__(self, status: int, key: str) -> None:
        super().__init__(key)
        self.status = status
        self.key = key


class Guard:
    """The middleware. `upload_limit` is in bytes."""

    def __init__(
        self,
        app: App,
        *,
        persons: Persons,
        hosts: Hosts,
        upload_limit: int,
        on_space: bool = False,
        origins: Iterable[str] = (),
        pictures: Pictures | None = None,
        seen: Callable[[str, str], None] | None = None,
    ) -> None:
        """`origins`: pages that may call the open endpoint, as `https://name:port`. `pictures`: which visitors may
        send, None for none at all. `seen` is told of every visitor and the mark of the address they come from."""
        self.app = app
        self.pictures, self.seen = pictures, seen
        self.streams = Streams()
        self.origins = frozenset(one.strip().lower().rstrip("/") for one in origins if one.strip())
        self.persons = persons
        self.hosts = hosts
        self.upload_limit = upload_limit
        self.on_space = on_space
        self.policy = security_headers(persons.shared)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            await self._serve(scope, receive, self._dressed(scope, send))
        except Refused as refusal:
            line = text(f"ui.refused.{refusal.key}", language_of(scope))
            if scope["path"].startswith(ENDPOINT):
                body = json.dumps(error_form(line, "invalid_request_error", refusal.key), ensure_ascii=False)
                await answer(self._dressed(scope, send), refusal.status, body, "application/json")
                return
            await answer(self._dressed(scope, send), refusal.status, line + "\n")

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._check_source(scope)
        path, method = scope["path"], scope["method"]
        if path.startswith(ENDPOINT):
            await self._serve_endpoint(scope, receive, send)
            return
        if path in ("/login", "/logout", AWAY, BACK):
            await answer_login(self.persons, scope, await self._whole_body(scope, receive), send, self.on_space)
            return
        if not known_route(path, method):
            raise Refused(404, "route")
        if path == API + "upload" and method == "POST":
            scope[SCOPE_KEY] = self._noted(scope, self.persons.recognise(scope))
            if scope[SCOPE_KEY].is_owner:
                await self._pass_upload(scope, receive, send, self.upload_limit)
            else:
                await self._pass_picture(scope, receive, send)
            return
        session = session_in_path(scope)
        if method == "POST":
            body = await self._whole_body(scope, receive)
            session = session or session_in_body(body)
            receive = replay(body, receive)
        if session and not SESSION.fullmatch(session):
            raise Refused(400, "session")
        fresh = is_page(scope) and not self.persons.knows_visitor(scope)
        if fresh:
            scope["anime_ai.fresh"] = self.persons.new_visitor()
        person = self.persons.recognise(scope, session, scope.get("anime_ai.fresh", ""))
        if session and not self.persons.owns_session(person, session):
            raise Refused(403, "session")
        scope[SCOPE_KEY] = self._noted(scope, person)
        await self.app(scope, receive, self.streams.watched(scope, session, send))

    def _noted(self, scope: Scope, person: Person) -> Person:
        """The person, whose address is told where it counts."""
        if self.seen is not None and person.id and not person.is_owner:
            self.seen(person.id, self.persons.place_of(scope))
        return person

    async def _serve_endpoint(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request of a program: its key is looked at behind this, its body is bounded here."""
        method = scope["method"]
        if method == "OPTIONS":
            await answer(send, 200, "")
            return
        if method not in ("GET", "HEAD", "POST"):
            raise Refused(405, "method")
        if method == "POST":
            receive = replay(await self._whole_body(scope, receive), receive)
        scope[SCOPE_KEY] = Person("", "visitor", language_of(scope))
        await self.app(scope, receive, send)

    def _named_origin(self, scope: Scope) -> str:
        """The origin of a page that may call the endpoint, "" for every other."""
        origin = header(scope, "origin")
        return origin if scope["path"].startswith(ENDPOINT) and origin.lower() in self.origins else ""

    def _check_source(self, scope: Scope) -> None:
        """Host against DNS rebinding, Origin and Sec-Fetch-Site against other sites' pages."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        host = hosts[0].decode("latin-1") if len(hosts) == 1 else ""
        if not self.hosts.allow(host):
            raise Refused(403, "host")
        if self._named_origin(scope):
            return
        origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        if any(not self.hosts.allow_origin(origin, host) for origin in origins):
            raise Refused(403, "origin")
        foreign = header(scope, "sec-fetch-site") in ("cross-site", "same-site")
        if foreign and (scope["path"].startswith((API, ENDPOINT, *OWN)) or scope["method"] not in ("GET", "HEAD")):
            raise Refused(403, "origin")

    async def _whole_body(self, scope: Scope, receive: Receive) -> bytes:
        """The body of a small request, within its size and its time."""
        declared = header(scope, "content-length")
        if declared and not (declared.isdigit() and int(declared) <= JSON_LIMIT):
            raise Refused(413, "body")
        chunks: list[bytes] = []
        size = 0

        async def read() -> None:
            nonlocal size
            more = True
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    raise Refused(400, "body")
                size += len(message.get("body", b""))
                if size > JSON_LIMIT:
                    raise Refused(413, "body")
                chunks.append(message.get("body", b""))
                more = message.get("more_body", False)

        try:
            await asyncio.wait_for(read(), JSON_SECONDS)
        except asyncio.TimeoutError:
            raise Refused(408, "slow") from None
        return b"".join(chunks)

    async def _pass_picture(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a visitor's upload through, when it begins as a picture does."""
        person = scope[SCOPE_KEY]
        if self.pictures is None or not person.id:
            raise Refused(403, "owner")
        try:
            first = await asyncio.wait_for(_beginning(receive), IDLE_SECONDS)
        except asyncio.TimeoutError:
            raise Refused(408, "slow") from None
        begin = first.get("body", b"").partition(b"\r\n\r\n")[2]
        if not (begin.startswith((b"\x89PNG", b"\xff\xd8\xff")) or (begin[:4] == b"RIFF" and begin[8:12] == b"WEBP")):
            raise Refused(403, "picture")
        try:
            await asyncio.to_thread(self.pictures.admit, person.id)
        except AnimeAIError as error:
            await answer(send, 429, error.say(person.language) + "\n")
            return
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return first

        await self._pass_upload(scope, again, send, self.pictures.limit)

    async def _pass_upload(self, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        """Let an upload stream through, counted; one too large or too slow ends as a lost connection for Gradio."""
        limit = most + 64 * 1024  # the multipart frame around the file
        declared = header(scope, "content-length")
        if declared and not (declared.isdigit() and int(declared) <= limit):
            raise Refused(413, "upload")
        refused: list[Refused] = []
        size = 0
        whole = False
        ends = asyncio.get_running_loop().time() + UPLOAD_SECONDS

        async def counted() -> Message:
            nonlocal size, whole
            if whole:
                return await receive()
            patience = min(IDLE_SECONDS, ends - asyncio.get_running_loop().time())
            try:
                message = await asyncio.wait_for(receive(), max(patience, 0.001))
            except asyncio.TimeoutError:
                refused.append(Refused(408, "slow"))
                return {"type": "http.disconnect"}
            size += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if size > limit:
                refused.append(Refused(413, "upload"))
                return {"type": "http.disconnect"}
            return message

        async def unless_refused(message: Message) -> None:
            if not refused:
                await send(message)

        try:
            await self.app(scope, counted, unless_refused)
        except Exception:
            if not refused:
                raise
        if refused:
            raise refused[0]

    def _dressed(self, scope: Scope, send: Send) -> Send:
        """`send` with the security headers, and with the visitor's cookie on the page itself."""
        page = is_page(scope)

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [(name, value) for name, value in message.get("headers", ()) if name not in self.policy]
                headers += self.policy.items()
                headers += cors(self._named_origin(scope), header(scope, "access-control-request-headers"))
                if page:
                    headers.append((b"cache-control", b"no-store"))
                    headers += [(b"set-cookie", value.encode("ascii")) for value in self._new_cookies(scope)]
                message = {**message, "headers": headers}
            await send(message)

        return dressed

    def _new_cookies(self, scope: Scope) -> list[str]:
        made = []
        if "anime_ai.fresh" in scope:
            made.append(set_cookie(VISITOR_COOKIE, scope["anime_ai.fresh"], 12 * MONTH, self.on_space))
        language = wanted_language(scope)
        if language:
            made.append(set_cookie(LANGUAGE_COOKIE, language, 12 * MONTH, self.on_space))
        return made


async def _beginning(receive: Receive) -> Message:
    """The first messages of a body as one: at least the head of its first part and 12 bytes, where there is as much."""
    whole = await receive()
    while whole.get("more_body") and len(whole["body"]) < 8192 and len(whole["body"].partition(b"\r\n\r\n")[2]) < 12:
        more = await receive()
        if more["type"] != "http.request":
            return more
        whole = {**more, "body": whole["body"] + more.get("body", b"")}
    return whole


def security_headers(shared: bool) -> dict[bytes, bytes]:
    """Headers of every answer. Gradio's page needs inline scripts and eval; nothing may leave for other hosts."""
    cdn = " https://gradio.s3-us-west-2.amazonaws.com https://cdnjs.cloudflare.com" if shared else ""
    policy = (
        f"default-src 'self'{cdn}; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:{cdn}; "
        f"style-src 'self' 'unsafe-inline'{cdn}; img-src 'self' data: blob:; font-src 'self' data:{cdn}; "
        f"connect-src 'self'{cdn}; media-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; "
        "frame-src 'none'; base-uri 'self'; form-action 'self'; "
        "frame-ancestors 'self' https://huggingface.co https://*.hf.space"
    )
    return {
        b"content-security-policy": policy.encode("ascii"),
        b"x-content-type-options": b"nosniff",
        b"referrer-policy": b"same-origin",
        b"permissions-policy": b"camera=(), microphone=(), geolocation=()",
        b"cross-origin-resource-policy": b"same-origin",
    }


def cors(origin: str, wanted: str = "") -> list[tuple[bytes, bytes]]:
    """What lets a page of `origin` call the endpoint; nothing for "". `wanted`: the headers that it asks to send.
    Clients have some of their own (OpenAI's the x-stainless-…); they open nothing, and it may send them."""
    if not origin:
        return []
    allowed = wanted if HEADER_NAMES.fullmatch(wanted) else "authorization, content-type"
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
        (b"access-control-allow-headers", allowed.encode("ascii")),
        (b"access-control-max-age", b"600"),
        (b"vary", b"Origin, Access-Control-Request-Headers"),
    ]


def known_route(path: str, method: str) -> bool:
    """Whether the page needs this route."""
    if method in ("GET", "HEAD"):
        rest = path.removeprefix(API) if path.startswith(API) else None
        if rest is not None and (rest in READS or rest.startswith(tuple(r for r in READS if r.endswith("/")))):
            return True
        return path in PAGES or path in SINGLE or path.startswith((*FILES, *OWN)) or rest == "upload_progress"
    if method == "POST" and path.startswith(API):
        rest = path.removeprefix(API)
        return rest.rstrip("/") in (*CALLS, "upload") or rest.startswith(tuple(c for c in CALLS if c.endswith("/")))
    return False


def is_page(scope: Scope) -> bool:
    """Whether this request is for the page itself, with which a visitor begins."""
    return scope["path"] in PAGES and scope["method"] in ("GET", "HEAD")


def session_in_path(scope: Scope) -> str:
    """The session hash that a heartbeat or an event stream names. Raises Refused where it names several."""
    beat = API + "heartbeat/"
    if scope["path"].startswith(beat):
        return scope["path"].removeprefix(beat)
    if scope["path"] == API + "queue/data":
        query = scope.get("query_string", b"").decode("latin-1")
        named = parse_qs(query, keep_blank_values=True).get("session_hash", [""])
        if len(named) > 1:  # Gradio would listen to another one than is looked at here
            raise Refused(400, "session")
        return named[0]
    return ""


def session_in_body(body: bytes) -> str:
    """The session hash in a call's JSON body; a body that is no JSON object is Gradio's to refuse."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    session = value.get("session_hash") if isinstance(value, dict) else None
    return session if isinstance(session, str) else ""


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body` once and then listens on."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def answer(
    send: Send, status: int, line: str, kind: str = "text/plain", extra: Iterable[tuple[str, str]] = ()
) -> None:
    """Send one whole answer."""
    body = line.encode("utf-8")
    headers = [("content-type", f"{kind}; charset=utf-8"), ("content-length", str(len(body))), *extra]
    raw = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
