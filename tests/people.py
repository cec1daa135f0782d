"""A browser without a browser, many of them in one loop: cookies, page loads, the queue's protocol, uploads.

Knows neither tabs nor what is asked. `ui_fakes.Api` is the same for one at a time.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx


class Held:
    """What a page keeps by itself between two calls (`anime_ai.ui.page.held`), by the ids of its components."""

    def __init__(self, config: dict[str, Any]) -> None:
        classed = {one["id"]: one["props"].get("elem_classes") or () for one in config["components"]}
        self.values: dict[int, Any] = {id: None for id, named in classed.items() if "held" in named}

    def sent(self, dependency: dict[str, Any], data: list[Any]) -> list[Any]:
        """What a page sends: what it keeps stands where `data` has None."""
        known = [self.values.get(id) for id in dependency["inputs"]]
        known += [None] * (len(data) - len(known))
        return [kept if one is None else one for kept, one in zip(known, data, strict=False)]

    def told(self, dependency: dict[str, Any], message: dict[str, Any]) -> None:
        if message.get("msg") != "process_completed" or not message["success"]:
            return
        for id, value in zip(dependency["outputs"], message["output"]["data"], strict=False):
            if id in self.values and not (isinstance(value, dict) and "__type__" in value):
                self.values[id] = value


class Browser:
    """One of them. `config` is what the app's /config tells; it is the same for all."""

    def __init__(self, address: str, config: dict[str, Any]) -> None:
        self.config = config
        self.http = httpx.AsyncClient(
            base_url=address,
            timeout=httpx.Timeout(60, pool=None),
            transport=httpx.AsyncHTTPTransport(verify=False, limits=httpx.Limits(max_connections=None)),
        )
        self.session = ""
        self.held = Held(config)
        self._beat: asyncio.Task[None] | None = None

    @staticmethod
    async def config_of(address: str) -> dict[str, Any]:
        async with httpx.AsyncClient(base_url=address, timeout=60) as http:
            return (await http.get("/config")).json()

    def refused(self, said: str, where: str) -> None:
        """The app told an error in words."""

    def failed(self, what: str) -> None:
        """The app told an error that is none of its words."""

    async def open(self) -> None:
        """Load the page anew."""
        page = await self.http.get("/")
        page.raise_for_status()
        self.session = uuid.uuid4().hex[:12]
        self._beat = asyncio.create_task(self._stay(self.session))

    async def close(self) -> None:
        """Close the page: nothing of it is connected any more."""
        if self._beat is not None:
            self._beat.cancel()
            with suppress(asyncio.CancelledError):
                await self._beat

    async def _stay(self, session: str) -> None:
        with suppress(httpx.HTTPError):
            async with self.http.stream("GET", f"/gradio_api/heartbeat/{session}") as beats:
                async for _ in beats.aiter_raw():
                    pass

    def index(self, name: str, number: int = 0) -> int:
        """The index of the `number`-th endpoint that is called `name`."""
        found = [one for one in self.config["dependencies"] if (one["api_name"] or "").rstrip("_0123456789") == name]
        return int(found[number]["id"])

    async def events(self, index: int, data: list[Any] | None, event: Any = None) -> AsyncIterator[dict[str, Any]]:
        """What the queue tells of one call. Closing it closes the connection."""
        dependency = next(one for one in self.config["dependencies"] if one["id"] == index)
        data = [None] * len(dependency["inputs"]) if data is None else data
        body = {
            "data": self.held.sent(dependency, data),
            "fn_index": index,
            "session_hash": self.session,
            "event_data": event,
        }
        joined = await self.http.post("/gradio_api/queue/join", json=body)
        if joined.status_code == 503 and "Queue is full" in joined.text:
            self.refused("Queue is full", dependency["api_name"])
            return
        if joined.status_code != 200:
            self.failed(f"{dependency['api_name']}: {joined.status_code} {joined.text}")
            return
        where = {"session_hash": self.session}
        async with self.http.stream("GET", "/gradio_api/queue/data", params=where) as stream:
            async for line in stream.aiter_lines():
                told = json.loads(line[5:]) if line.startswith("data:") else {}
                if told.get("event_id") not in (None, joined.json()["event_id"]):
                    continue
                if told.get("msg") == "process_completed" and not told["success"]:
                    self.refused(str(told["output"].get("error")), dependency["api_name"])
                if told.get("msg") == "close_stream":
                    return
                self.held.told(dependency, told)
                if told:
                    yield told

    async def call(self, index: int, data: list[Any] | None = None, event: Any = None) -> list[Any] | None:
        """The outputs of one call, None for an error."""
        last = None
        async for told in self.events(index, data, event):
            if told["msg"] == "process_completed" and told["success"]:
                last = told["output"]["data"]
        return last

    async def upload(self, name: str, content: bytes) -> dict[str, Any] | None:
        """A file on its way into a handler, None where the app would not take it."""
        sent = await self.http.post("/gradio_api/upload", files={"files": (name, content)})
        if sent.status_code != 200:
            self.refused(sent.text.strip(), "upload")
            return None
        return {"path": sent.json()[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def index_of(self, name: str, elem_id: str) -> int:
        """The endpoint called `name` that has a component among its outputs."""
        component = next(one["id"] for one in self.config["components"] if one["props"].get("elem_id") == elem_id)
        named = [one for one in self.config["dependencies"] if (one["api_name"] or "").rstrip("_0123456789") == name]
        return next(int(one["id"]) for one in named if component in one["outputs"])
