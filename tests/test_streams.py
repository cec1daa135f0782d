"""A page is told with each call which of its streams of answers ended last."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from anime_ai.ui import streams
from anime_ai.ui.streams import CALL, END, STREAM, Streams


def sent(watcher: Streams, path: str, session: str, *bodies: bytes, number: str = "") -> list[tuple[bytes, bytes]]:
    """What a request is answered with besides what the app says: its headers."""
    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    async def answer() -> None:
        scope = {"path": path, "headers": [(b"x-stream", number.encode())] if number else []}
        watched = watcher.watched(scope, session, send)
        await watched({"type": "http.response.start", "status": 200, "headers": [(b"kept", b"yes")]})
        for body in bodies:
            await watched({"type": "http.response.body", "body": body, "more_body": True})

    asyncio.run(answer())
    assert [one["body"] for one in told[1:]] == list(bodies), "what is said goes through untouched"
    kept, *more = told[0]["headers"]
    assert kept == (b"kept", b"yes")
    return more


def test_a_call_is_told_which_stream_ended_last() -> None:
    watcher = Streams()
    assert sent(watcher, CALL, "a") == []
    assert sent(watcher, STREAM, "a", b"data: {}\n\n", b"data: {" + END + b"}\n\n", number="3") == []
    assert sent(watcher, CALL, "a") == [(b"x-stream-ended", b"3")]
    assert sent(watcher, CALL, "b") == [], "another page's streams are its own"
    assert sent(watcher, "/gradio_api/upload", "a") == []


@pytest.mark.parametrize("number", ["", "-1", "x", "1e3"])
def test_a_stream_without_a_number_is_not_told(number: str) -> None:
    watcher = Streams()
    sent(watcher, STREAM, "a", END, number=number)
    assert sent(watcher, CALL, "a") == []


def test_words_that_look_like_an_end_are_none() -> None:
    watcher = Streams()
    sent(watcher, STREAM, "a", b'data: {"said":"\\"msg\\":\\"close_stream\\""}', number="1")
    assert sent(watcher, CALL, "a") == []


def test_so_many_sessions_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "SESSIONS", 2)
    watcher = Streams()
    for session in ("a", "b", "a", "c"):
        sent(watcher, STREAM, session, END, number="1")
    assert [bool(sent(watcher, CALL, session)) for session in "abc"] == [True, False, True]
