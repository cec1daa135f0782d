"""The open endpoint as routes: `/v1/models` and `/v1/chat/completions`, for programs that carry a key.

Knows HTTP and the forms, no model and no component. A cookie opens nothing here, and no page of another site gets in
unless the settings name it: see the guard.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from anime_ai.errors import AccessError, AnimeAIError, ModelError, StorageError
from anime_ai.serving.completions import NoModelError
from anime_ai.serving.keys import ApiKey
from anime_ai.serving.meter import QuotaError
from anime_ai.serving.openai_form import Answering, FormError, Usage, Wanted, error_form, model_form, read_request
from anime_ai.texts import text
from anime_ai.ui.persons import header, person_of

if TYPE_CHECKING:
    from anime_ai.studio import Studio

MOST_AT_ONCE = 8
"""Answers that are made or waited for at the same time; more are told to come again."""
BEAT = 10.0
"""Seconds of silence in a stream after which a comment is sent, so that what stands between does not hang up."""
log = logging.getLogger("anime_ai.ui")


def endpoint_of(studio: Studio) -> list[Any]:
    from starlette.routing import Route

    return [
        Route("/v1/models", _models(studio), methods=["GET"]),
        Route("/v1/models/{id:path}", _model(studio), methods=["GET"]),
        Route("/v1/chat/completions", ChatCompletions(studio), methods=["POST"]),
    ]


def _models(studio: Studio) -> Any:
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response

    def listed(request: Request) -> Response:
        try:
            key = _key_of(studio, request.scope)
            names = studio.completions.models(key.person)
        except AnimeAIError as error:
            return _refusal(error, person_of(request).language)
        return JSONResponse({"object": "list", "data": [model_form(name, key.created) for name in names]})

    return listed


def _model(studio: Studio) -> Any:
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response

    def told(request: Request) -> Response:
        try:
            key = _key_of(studio, request.scope)
            voice = studio.completions.voice(request.path_params["id"], key.person)
        except AnimeAIError as error:
            return _refusal(error, person_of(request).language)
        return JSONResponse(model_form(voice.model, key.created))

    return told


class ChatCompletions:
    """The ASGI endpoint of an answer. It ends with the connection, at its deadline, or when it is whole."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self._busy = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.requests import Request

        request = Request(scope, receive)
        language = person_of(request).language
        body = await request.body()
        try:
            key, wanted = await asyncio.to_thread(self._admitted, scope, body)
            if self._busy >= MOST_AT_ONCE:
                raise QuotaError("serving.busy", 5)
        except Exception as error:
            await _refusal(error, language)(scope, receive, send)
            return
        self._busy += 1
        try:
            await _Exchange(self.studio, key, wanted, language).run(scope, receive, send)
        finally:
            self._busy -= 1

    def _admitted(self, scope: Any, body: bytes) -> tuple[ApiKey, Wanted]:
        key = _key_of(self.studio, scope)
        wanted = read_request(body)
        self.studio.completions.voice(wanted.model, key.person)
        self.studio.keys.admit(key)
        return key, wanted


class _Exchange:
    """One answer on its way: made in a thread, handed on as it comes."""

    def __init__(self, studio: Studio, key: ApiKey, wanted: Wanted, language: str) -> None:
        self.studio, self.key, self.wanted, self.language = studio, key, wanted, language
        self.head = Answering(f"chatcmpl-{secrets.token_hex(12)}", int(time.time()), wanted.model)
        self.stop = threading.Event()
        self.usage = Usage()

    async def run(self, scope: Any, receive: Any, send: Any) -> None:
        loop, parts = asyncio.get_running_loop(), asyncio.Queue[Any]()

        def hand(one: Any) -> None:
            with suppress(RuntimeError):  # the loop is gone: the app is closing
                loop.call_soon_threadsafe(parts.put_nowait, one)

        async def listen() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            self.stop.set()

        threading.Thread(target=self._make, args=(hand,), name="completion", daemon=True).start()
        leaving = asyncio.create_task(listen())
        deadline = loop.call_later(self.studio.settings.answer_seconds, self.stop.set)
        try:
            await (self._stream if self.wanted.stream else self._whole)(parts, scope, receive, send)
        finally:
            self.stop.set()
            deadline.cancel()
            leaving.cancel()

    def _make(self, hand: Callable[[Any], None]) -> None:
        """Parts, then None or an error; what was read and written is counted, however it ends."""
        try:
            for part in self.studio.completions.answer(self.wanted, self.key.person, self.stop):
                self.usage = part.usage
                hand(part)
        except Exception as error:
            if not isinstance(error, AnimeAIError):
                log.exception("an answer of the endpoint failed")
            hand(error)
        finally:
            with suppress(AnimeAIError):
                self.studio.keys.spend(self.key, self.usage.read + self.usage.written)
        hand(None)

    async def _whole(self, parts: Any, scope: Any, receive: Any, send: Any) -> None:
        from starlette.responses import JSONResponse

        said, thought, reason = "", "", "length"
        while (part := await parts.get()) is not None:
            if isinstance(part, Exception):
                await _refusal(part, self.language)(scope, receive, send)
                return
            said, thought, reason = said + part.text, thought + part.thinking, part.reason or reason
        value = self.head.whole(said, thought, reason, self.usage)
        with suppress(OSError):
            await JSONResponse(value)(scope, receive, send)

    async def _stream(self, parts: Any, scope: Any, receive: Any, send: Any) -> None:
        first = await parts.get()
        if isinstance(first, Exception):  # said with a status of its own as long as there is none
            await _refusal(first, self.language)(scope, receive, send)
            return
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
        headers.append((b"x-accel-buffering", b"no"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})

        async def say(line: str, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": line.encode(), "more_body": more})

        await say(_event(self.head.begin()))
        part: Any = first
        while part is not None:
            if isinstance(part, Exception):
                await say(_event(_told(part, self.language)[1]), more=False)
                return
            if part.text or part.thinking:
                await say(_event(self.head.delta(part.text, part.thinking)))
            if part.reason:
                await say(_event(self.head.end(part.reason)))
            part = await self._next(parts, say)
        if self.wanted.usage:
            await say(_event(self.head.count(self.usage)))
        await say("data: [DONE]\n\n", more=False)

    @staticmethod
    async def _next(parts: Any, say: Any) -> Any:
        while True:
            try:
                return await asyncio.wait_for(parts.get(), BEAT)
            except asyncio.TimeoutError:
                await say(": \n\n")


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _key_of(studio: Studio, scope: Any) -> ApiKey:
    """The key that a request carries. Raises AccessError."""
    scheme, _, secret = header(scope, "authorization").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise AccessError("serving.no_key")
    return studio.keys.check(secret.strip())


def _refusal(error: Exception, language: str) -> Any:
    from starlette.responses import JSONResponse

    status, value = _told(error, language)
    headers = {"retry-after": str(error.wait)} if isinstance(error, QuotaError) else {}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(value, status_code=status, headers=headers)


def _told(error: Exception, language: str) -> tuple[int, dict[str, Any]]:
    """Status and body, as OpenAI's own server would answer."""
    if not isinstance(error, AnimeAIError):
        return 500, error_form(text("ui.error.unknown", language), "server_error")
    line = error.say(language)
    if isinstance(error, AccessError):
        return 401, error_form(line, "invalid_request_error", "invalid_api_key")
    if isinstance(error, QuotaError):
        return 429, error_form(line, "requests", "rate_limit_exceeded")
    if isinstance(error, NoModelError):
        return 404, error_form(line, "invalid_request_error", "model_not_found", "model")
    if isinstance(error, FormError):
        return 400, error_form(line, "invalid_request_error", None, error.param)
    if isinstance(error, (ModelError, StorageError)):
        return 503, error_form(line, "server_error")
    return 400, error_form(line, "invalid_request_error")
