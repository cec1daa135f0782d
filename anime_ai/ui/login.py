"""The owner's way in where a password is set: one small form. Knows persons, no page and no service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from html import escape
from typing import Any
from urllib.parse import parse_qs

from anime_ai.texts import text
from anime_ai.ui.persons import MONTH, OWNER_COOKIE, Persons, language_of, set_cookie

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PAGE = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title} · Anime AI Studio</title><style>
:root {{ color-scheme: light dark; }}
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; background: light-dark(#f7f5fb, #17151f);
  color: light-dark(#2b2540, #ece8f7);
  font: 16px/1.6 system-ui, "PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; }}
form {{ width: min(20rem, calc(100vw - 4rem)); padding: 2rem; border-radius: 18px; background: light-dark(#fff, #211e2d);
  box-shadow: 0 12px 40px rgb(60 40 110 / .14); }}
h1 {{ font-size: 1.2rem; margin: 0 0 .4rem; }} p {{ margin: 0 0 1rem; opacity: .75; font-size: .9rem; }}
input, button {{ box-sizing: border-box; width: 100%; padding: .7rem .9rem; border-radius: 10px; font: inherit; }}
input {{ border: 1px solid light-dark(#d9d3ea, #443d5c); background: transparent; color: inherit; }}
button {{ margin-top: .8rem; border: 0; background: #6d5bd0; color: #fff; cursor: pointer; }}
.fault {{ color: light-dark(#b3261e, #ff9b93); opacity: 1; }}
</style></head><body><form method="post" action="./login"><h1>{title}</h1>{line}
<input type="password" name="password" aria-label="{password}" placeholder="{password}" autocomplete="current-password" autofocus required>
<button>{enter}</button></form></body></html>
"""


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
    return PAGE.format(
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
