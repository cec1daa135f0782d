"""The owner's way in where a password is set, and everybody's on a Space: one small form, and the way to Hugging Face
and back. Knows persons, no page and no service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from anime_ai.errors import AccessError
from anime_ai.texts import text
from anime_ai.ui.oauth import Visit
from anime_ai.ui.persons import (
    MONTH,
    OWNER_COOKIE,
    USER_COOKIE,
    VISIT_COOKIE,
    VISIT_SECONDS,
    Persons,
    language_of,
    network_of,
    set_cookie,
)

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

AWAY, BACK = "/login/hub", "/login/callback"
"""To Hugging Face, and from there: the second is the one that a Space has registered there."""
PAGE = Path(__file__).with_name("login.html")


FORM, FORM_BELOW = "login", "../login"
"""Where the form goes to, from its own address and from those below it."""


async def answer_login(
    persons: Persons, scope: MutableMapping[str, Any], body: bytes, send: Send, on_space: bool
) -> None:
    """Show the form, take a try, or (at /logout, by POST) forget the owner."""
    language = language_of(scope)
    if scope["path"] == "/logout":
        names = (OWNER_COOKIE, USER_COOKIE) if scope["method"] == "POST" else ()
        gone = [("set-cookie", set_cookie(name, "", 0, on_space)) for name in names]
        await _send(send, 303, "", [("location", "./"), *gone])
        return
    if scope["path"] in (AWAY, BACK):
        await _by_hub(persons, scope, send, on_space)
        return
    if scope["method"] != "POST":
        line = "login.say" if persons.password else "login.hub_only" if persons.oauth else "login.no_password"
        await _send(send, 200, _form(persons, language, line))
        return
    try:
        given = parse_qs(body.decode("utf-8"), max_num_fields=4).get("password", [""])[0]
    except ValueError:
        given = ""
    peer = network_of(scope.get("client")) or "?"
    right = await asyncio.to_thread(persons.try_password, given, peer)
    if right is None:
        await _send(send, 429, _form(persons, language, "login.too_often", fault=True), [("retry-after", "60")])
    elif right:
        cookie = set_cookie(OWNER_COOKIE, persons.owner_cookie(), MONTH, on_space)
        await _send(send, 303, "", [("location", "./"), ("set-cookie", cookie)])
    else:
        line = "login.wrong" if persons.password else "login.no_password"
        await _send(send, 401, _form(persons, language, line, fault=True))


async def _by_hub(persons: Persons, scope: MutableMapping[str, Any], send: Send, on_space: bool) -> None:
    """Send the browser to Hugging Face, or take it back with a code, for which its name is asked."""
    language = language_of(scope)
    if persons.oauth is None or scope["method"] != "GET":
        await _send(send, 404, _form(persons, language, "login.no_hub", FORM_BELOW, fault=True))
        return
    if scope["path"] == AWAY:
        visit = Visit.begin()
        kept = set_cookie(VISIT_COOKIE, persons.visit_cookie(visit), VISIT_SECONDS, on_space)
        await _send(send, 303, "", [("location", persons.oauth.address(visit)), ("set-cookie", kept)])
        return
    told = parse_qs(scope.get("query_string", b"").decode("latin-1"), max_num_fields=16)
    code, state = (told.get(name, [""])[0] for name in ("code", "state"))
    visit_of = persons.visit_of(scope)
    try:
        if visit_of is None:
            raise AccessError("login.state")
        name = await asyncio.to_thread(persons.oauth.name, visit_of, code, state)
    except AccessError as error:
        await _send(send, 403, _form(persons, language, error.say(language), FORM_BELOW, fault=True))
        return
    user = set_cookie(USER_COOKIE, persons.user_cookie(name), MONTH, on_space)
    gone = set_cookie(VISIT_COOKIE, "", 0, on_space)
    await _send(send, 303, "", [("location", "../"), ("set-cookie", user), ("set-cookie", gone)])


def _form(persons: Persons, language: str, line: str, action: str = FORM, fault: bool = False) -> str:
    """The page; `line`: a text's key, or what an error says."""

    def say(key: str) -> str:
        return escape(text(f"ui.{key}", language))

    told = say(line) if line.startswith("login.") else escape(line)
    shown = f'<p class="{"fault" if fault else ""}">{told}</p>'
    # In a frame of Hugging Face's its own page cannot be shown: a window of its own.
    hub = f'<a class="hub" href="{AWAY}" target="_blank" rel="noopener">{say("login.hub")}</a>' if persons.oauth else ""
    return PAGE.read_text(encoding="utf-8").format(
        language=language,
        title=say("login.title"),
        action=action,
        line=shown,
        password=say("login.password"),
        enter=say("login.enter"),
        hub=hub,
        closed="" if persons.password or not persons.oauth else "hidden",
    )


async def _send(send: Send, status: int, page: str, extra: list[tuple[str, str]] | None = None) -> None:
    body = page.encode("utf-8")
    headers = [
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
    ]
    raw = [(name.encode("ascii"), value.encode("ascii")) for name, value in [*headers, *(extra or [])]]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
