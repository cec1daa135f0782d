"""Labels in the reader's language. The page is built once with marks (`@@ui.chat.send@@`), filled in at each request.

Gradio's own translation reaches some properties of some components, in the browser only; a mark works wherever a text
can stand. Knows no label's meaning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from anime_ai.texts import catalogue
from anime_ai.ui.persons import language_of

MARK = re.compile(rb"@@([A-Za-z0-9_.]+)@@")
_HTML_SAFE = (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("'", "\\u0027"))


def label(key: str) -> str:
    """A mark for the text `key`, for use where the page is built. Raises KeyError for a key that is missing."""
    catalogue("zh")[key]
    return f"@@{key}@@"


def fill(body: bytes, language: str) -> bytes:
    """Replace the marks inside JSON strings, also where the JSON stands in a script element of a page."""
    texts = catalogue(language)

    def replaced(match: re.Match[bytes]) -> bytes:
        found = texts.get(match[1].decode("ascii"))
        if found is None:
            return match[0]
        inside = json.dumps(found)[1:-1]
        for character, escaped in _HTML_SAFE:
            inside = inside.replace(character, escaped)
        return inside.encode("ascii")

    return MARK.sub(replaced, body)


class Labels:
    """ASGI middleware that fills the marks of the page and of its configuration."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"].rstrip("/") not in ("", "/config"):
            await self.app(scope, receive, send)
            return
        start: MutableMapping[str, Any] = {}
        body = bytearray()

        async def gathered(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            body.extend(message.get("body", b""))
            if message.get("more_body", False):
                return
            whole = fill(bytes(body), language_of(scope))
            headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
            headers += [(b"content-length", str(len(whole)).encode()), (b"vary", b"Accept-Language, Cookie")]
            await send({**start, "headers": headers})
            await send({"type": "http.response.body", "body": whole})

        await self.app(scope, receive, gathered)
