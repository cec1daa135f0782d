"""HTTP with an OpenAI-compatible server: one question, one JSON or a stream of them. Knows no prompts and no models.

Connecting is tried again, nothing else: a request that arrived may have been answered, and paid for. Each request has a
connection of its own, since one that was kept may have been closed by the server meanwhile, and it has a thread of its
own, so that whoever waits can leave at any time.

Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import queue
import re
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from anime_ai.config import Settings
from anime_ai.errors import ModelError

if TYPE_CHECKING:
    import httpx

ATTEMPTS = 3
PAUSE = 0.3
"""Seconds before connecting a second time; twice as many before the third."""
LOOK = 0.05
"""Seconds between two looks at the stop event."""
MOST_BYTES = 2**24
"""Of one event, or of an answer that is no stream."""
DONE = "[DONE]"


class Server:
    """A server by the settings. Nothing of its key gets into an error, a log or a representation.

    Raises ModelError for an address or a key that cannot be one.
    """

    def __init__(self, settings: Settings) -> None:
        self.url = base_url(settings.remote_url)
        self.name = urlsplit(self.url).netloc
        self._key = settings.remote_key
        self._connect = settings.remote_connect_timeout
        self._first = settings.remote_first_timeout
        self._stall = settings.remote_stall_timeout
        key = self._key.get_secret_value()
        if not (key.isascii() and key.isprintable()) or " " in key:
            # The HTTP library would say the whole header in its complaint.
            raise ModelError("model.remote_key_shape")

    @property
    def local(self) -> bool:
        """Whether it stands on this machine or in its network, where no proxy is asked."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_private
        except ValueError:
            return host == "localhost" or host.endswith(".local") or "." not in host

    def ask(self, path: str, body: dict[str, Any] | None = None, stop: threading.Event | None = None) -> dict[str, Any]:
        """The JSON object that is answered; empty where `stop` was set first. Raises ModelError."""
        return next(self.stream(path, body, stop), {})

    def stream(
        self, path: str, body: dict[str, Any] | None = None, stop: threading.Event | None = None
    ) -> Generator[dict[str, Any], None, None]:
        """The JSON objects that are answered, until the server says that it is done or `stop` is set.

        Raises ModelError: no connection, no first word or no next one in time, a refusal, nonsense, a broken line.
        `values["status"]` is the HTTP status of a refusal.
        """
        call = _Call(lambda tell: self._talk(path, body, tell))
        try:
            while stop is None or not stop.is_set():
                try:
                    told = call.told.get(timeout=LOOK)
                except queue.Empty:
                    continue
                if told is None:
                    return
                if isinstance(told, BaseException):
                    raise told
                yield told
        finally:
            call.close()

    async def _talk(self, path: str, body: dict[str, Any] | None, tell: Callable[[dict[str, Any]], None]) -> None:
        import httpx

        for attempt in range(ATTEMPTS):
            try:
                await self._once(path, body, tell)
                return
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if attempt == ATTEMPTS - 1:
                    raise self._error("model.remote_silent", why=type(error).__name__) from None
                await asyncio.sleep(PAUSE * 2**attempt)
            except httpx.HTTPError as error:
                raise self._error("model.remote_died", why=type(error).__name__) from None
            except asyncio.TimeoutError:
                raise self._error("model.remote_slow", seconds=self._first) from None

    async def _once(self, path: str, body: dict[str, Any] | None, tell: Callable[[dict[str, Any]], None]) -> None:
        import httpx

        due = asyncio.get_running_loop().time() + self._connect + self._first
        limits = httpx.Timeout(None, connect=self._connect)
        async with httpx.AsyncClient(timeout=limits, trust_env=not self.local, headers=self._headers()) as client:
            request = client.build_request("GET" if body is None else "POST", f"{self.url}{path}", json=body)
            response = await asyncio.wait_for(client.send(request, stream=True), self._connect + self._first)
            try:
                if response.status_code != 200:
                    raise self._refusal(response, await self._some(response))
                if "json" in response.headers.get("content-type", ""):
                    tell(self._object(await asyncio.wait_for(self._whole(response), self._first)))
                else:
                    await self._events(response, due, tell)
            finally:
                await response.aclose()

    def _headers(self) -> dict[str, str]:
        key = self._key.get_secret_value()
        return {"Authorization": f"Bearer {key}"} if key else {}

    async def _events(self, response: httpx.Response, due: float, tell: Callable[[dict[str, Any]], None]) -> None:
        """Tell every event. One that says nothing, to keep the line open, does not put off when the next is due."""
        loop, some = asyncio.get_running_loop(), False
        events = _events(response.aiter_bytes())
        while True:
            try:
                data = await asyncio.wait_for(events.__anext__(), max(0.0, due - loop.time()))
            except asyncio.TimeoutError:
                if some:
                    raise self._error("model.remote_stalled", seconds=self._stall) from None
                raise
            except (StopAsyncIteration, ValueError) as error:
                if some and isinstance(error, StopAsyncIteration):
                    raise self._error("model.remote_died", why="EOF") from None
                raise self._error("model.remote_nonsense", why=error or _kind(response)) from None
            if data == DONE:
                return
            tell(self._object(data))
            due, some = loop.time() + self._stall, True

    def _object(self, text: str | bytes) -> dict[str, Any]:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            shown = text if isinstance(text, str) else text.decode("utf-8", "replace")
            raise self._error("model.remote_nonsense", why=shown)
        if value.get("error"):
            raise self._error("model.remote_failed", status=200, why=_message(value))
        return value

    async def _whole(self, response: httpx.Response) -> bytes:
        body = b""
        async for part in response.aiter_bytes():
            body += part
            if len(body) > MOST_BYTES:
                raise self._error("model.remote_nonsense", why=f"> {MOST_BYTES} B")
        return body

    async def _some(self, response: httpx.Response) -> bytes:
        """What a refusal says, as far as it comes soon."""
        import httpx

        with suppress(asyncio.TimeoutError, httpx.HTTPError, ModelError):
            return await asyncio.wait_for(self._whole(response), self._connect)
        return b""

    def _refusal(self, response: httpx.Response, body: bytes) -> ModelError:
        status = response.status_code
        try:
            why = _message(json.loads(body))
        except (ValueError, RecursionError):
            why = _kind(response)
        if status in (401, 403):
            return self._error("model.remote_key", status=status)
        if status == 429:
            after = response.headers.get("retry-after", "")
            wait = after if after.isascii() and after.isdigit() and len(after) < 6 else "60"
            return self._error("model.remote_busy", status=status, seconds=wait)
        if status == 404:
            return self._error("model.remote_not_found", status=status, why=why)
        if status >= 500:
            return self._error("model.remote_failed", status=status, why=why)
        return self._error("model.remote_refused", status=status, why=why)

    def _error(self, key: str, **values: Any) -> ModelError:
        """A ModelError with this server's name. What the server wrote is cut to a line, its key taken out."""
        if "why" in values:
            why, secret = str(values["why"]), self._key.get_secret_value()
            why = why.replace(secret, "…") if secret else why
            values["why"] = re.sub(r"\s+", " ", "".join(one if one.isprintable() else " " for one in why)).strip()[:160]
        return ModelError(key, server=self.name, **values)


class _Call:
    """A coroutine in a thread of its own. `told` gets what it tells, then None, or the error that ended it."""

    def __init__(self, talk: Callable[[Callable[[dict[str, Any]], None]], Any]) -> None:
        self.told: queue.SimpleQueue[dict[str, Any] | BaseException | None] = queue.SimpleQueue()
        self._talk = talk
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="remote-answer")
        self._thread.start()

    def close(self) -> None:
        """End it wherever it is, and the connection with it."""
        self._begun.wait()
        with suppress(RuntimeError):  # it has ended, and its loop is closed
            self._loop.call_soon_threadsafe(self._task.cancel)
        # A name server that does not answer cannot be left at once.
        self._thread.join(1.0)

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._task = task
        self._begun.set()
        try:
            await self._talk(self.told.put)
            self.told.put(None)
        except Exception as error:
            self.told.put(error)


def base_url(given: str) -> str:
    """The address under which `/chat/completions` lies, from what a user copies from somewhere. Raises ModelError.

    Where no part of its path looks like a version, /v1 is meant.
    """
    url = given.strip()
    if not url:
        raise ModelError("model.remote_no_url")
    url = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
        fine = fine and url.isascii() and url.isprintable() and " " not in url
    except ValueError:
        fine = None
    if not fine or parts.username or parts.password or parts.query or parts.fragment:
        # Not shown: it may hold a password.
        raise ModelError("model.remote_bad_url")
    path = re.sub(r"(/chat)?/completions$", "", parts.path.rstrip("/"))
    versioned = any(re.match(r"v\d", part) for part in path.split("/"))
    return f"{parts.scheme}://{parts.netloc}{path if versioned else f'{path}/v1'}"


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """The data of server-sent events. Split at line feeds only: U+2028 may stand inside a text."""
    held, data = b"", []
    async for chunk in chunks:
        *lines, held = (held + chunk).split(b"\n")
        for raw in lines:
            line = raw.rstrip(b"\r").decode("utf-8", "replace")
            if line.startswith("data:"):
                data.append(line[5:].removeprefix(" "))
            elif not line and data:
                yield "\n".join(data)
                data = []
            elif line and line[0] != ":" and not re.match(r"(event|id|retry):", line):
                raise ValueError(line[:200])
        if len(held) + sum(map(len, data)) > MOST_BYTES:
            raise ValueError(f"> {MOST_BYTES} B")
    if held.startswith(b"data:"):
        data.append(held[5:].decode("utf-8", "replace").strip())
    if data:
        yield "\n".join(data)


def _message(value: Any) -> str:
    """What an error object says; servers differ in how deep it lies."""
    for name in ("error", "message", "detail"):
        if isinstance(value, dict) and value.get(name):
            value = value[name]
    return str(value)


def _kind(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "?"))
