"""The owner's way in where a password is set: one small form. Knows persons, no page and no service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from anime_ai.texts import text
from anime_ai.ui.persons import MONTH, OWNER_COOKIE, Persons, language_of, set_cookie

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PAGE = Path(__file__).with_name("login.html")


async def answer_login(
    persons: Persons, scope: MutableMapping[str, Any], body: bytes, send: Send, on_space: bool
) -> None:
    """Show the form, take a try, or (at /logout, by POST) forget the owner."""
    language = language_of(scope)
    if scope["path"] == "/logout":
        gone = [("set-cookie", set_cookie(OWNER_COOKIE, "", 0, on_space))] if scope["method"] == "POST" else []
        await _send(send, 303, "", [("location", "./"), *gone])
        return
    if scope["method"] != "POST":
        line = "login.say" if persons.password else "login.no_password"
        await _send(send, 200, _form(language, line))
        return
    try:
        given = parse_qs(body.decode("utf-8"), max_num_fields=4).get("password", [""])[0]
    except ValueError:
        given = ""
    peer = (scope.get("client") or ("?",))[0]
    right = persons.try_password(given, peer)
    if right is None:
        await _send(send, 429, _form(language, "login.too_often", fault=True), [("retry-after", "60")])
    elif right:
        cookie = set_cookie(OWNER_COOKIE, persons.owner_cookie(), MONTH, on_space)
        await _send(send, 303, "", [("location", "./"), ("set-cookie", cookie)])
    else:
        await _send(send, 401, _form(language, "login.wrong" if persons.password else "login.no_password", fault=True))


def _form(language: str, line: str, fault: bool = False) -> str:
    def say(key: str) -> str:
        return escape(text(f"ui.{key}", language))

    shown = f'<p class="{"fault" if fault else ""}">{say(line)}</p>'
    return PAGE.read_text(encoding="utf-8").format(
        language=language,
        title=say("login.title"),
        line=shown,
        password=say("login.password"),
        enter=say("login.enter"),
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
