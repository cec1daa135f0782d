"""Which streams of answers have ended, told with each call that is taken in. Knows no person and no handler.

A page of Gradio's has one stream for the answers to all its calls, opened with a call where there is none. The server
ends it when nothing is left to answer. A call that is taken in while the word of that end is on its way finds the page
believing it open, so nothing would bring its answer until the next call. Here the page numbers its streams, and with
each call it is told which one ended last: `head.html` waits until it knows so itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

STREAM, CALL = "/gradio_api/queue/data", "/gradio_api/queue/join"
NUMBER, ENDED = b"x-stream", b"x-stream-ended"
END = b'"msg":"close_stream"'
"""What Gradio writes last. Inside of a text its quotes would be escaped."""
SESSIONS = 1000
"""Whose ends are remembered: more than there are pages open."""


class Streams:
    """The number of the last stream that ended, by session."""

    def __init__(self) -> None:
        self._ended: OrderedDict[str, int] = OrderedDict()

    def watched(self, scope: MutableMapping[str, Any], session: str, send: Send) -> Send:
        """`send` of one request: it notes a stream's end, and tells of it with a call."""
        if scope["path"] == STREAM:
            return self._noting(session, dict(scope["headers"]).get(NUMBER, b""), send)
        return self._telling(session, send) if scope["path"] == CALL else send

    def _noting(self, session: str, number: bytes, send: Send) -> Send:
        async def noting(message: Message) -> None:
            # Before it is sent: no call may be taken in between that is not told.
            if END in message.get("body", b"") and number.isdigit():
                self._ended[session] = int(number[:9])
                self._ended.move_to_end(session)
                while len(self._ended) > SESSIONS:
                    self._ended.popitem(last=False)
            await send(message)

        return noting

    def _telling(self, session: str, send: Send) -> Send:
        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start" and session in self._ended:
                told = (ENDED, str(self._ended[session]).encode())
                message = {**message, "headers": [*message.get("headers", ()), told]}
            await send(message)

        return telling
