"""What the page's tests share: a real studio whose model is a queue of answers, the served app, a bare HTTP client."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from people import Held

from anime_ai.chat.service import Chat
from anime_ai.chat.turns import How
from anime_ai.config import DATA, ROOT, Settings
from anime_ai.storage import Database
from anime_ai.studio import Studio
from anime_ai.ui.persons import Person

OWNER = Person("owner", "owner", "zh", "session-of-owner")
VISITOR = Person("v1", "visitor", "zh", "session-of-v1")
STRANGER = Person("v2", "visitor", "en", "session-of-v2")


@dataclass
class Said:
    """What the engine's chain hands on: everything so far."""

    text: str
    thinking: str = ""
    ended: bool = False
    cut: bool = False
    tokens: int = 0
    dropped: int = 0
    read: int = 0


class FakeChat(Chat):
    """The real service with its model replaced: it says what stands in `answers`, a character at a time.

    It waits ANIME_AI_TEST_PACE seconds before every character, so that a test can look in between.
    """

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.answers: list[str | Exception] = []
        self.thinking = ""
        self.pace = float(os.environ.get("ANIME_AI_TEST_PACE", "0"))
        self.ended = threading.Event()
        self.hows: list[How] = []

    @property
    def seeds(self) -> list[int | None]:
        return [how.sampling.seed for how in self.hows]

    def _speak(self, conversation: Any, turn: Any, choice: Any, how: Any) -> Any:
        self.ended.clear()
        self.hows.append(how)
        told = turn.brought.partition("】")[2] or turn.question
        answer = self.answers.pop(0) if self.answers else f"{choice.id or 'base'}说：{told}"
        if isinstance(answer, Exception):
            raise answer
        try:
            if self.thinking:
                yield Said("", self.thinking)
            for end in range(1, len(answer) + 1):
                time.sleep(self.pace)
                if how.stop is not None and how.stop.is_set():
                    return
                yield Said(answer[:end], self.thinking, ended=end == len(answer), tokens=end)
        finally:
            self.ended.set()


def open_studio(folder: Path, **settings: Any) -> Studio:
    """A real studio on `folder` with the fake model and without a queue thread, so that nothing trains by itself."""
    named = Settings(output_dir=folder, **settings)
    studio = Studio(named, Database.open(named))
    studio.datasets.import_shipped(DATA / "dataset.json")
    studio.chat = FakeChat(
        named, studio.conversations, studio.personas, studio.knowledge, studio.runs.list, studio.chat.books
    )
    studio.chat.allowance = studio.quotas
    studio.chat.memory = studio.memory
    return studio


@contextmanager
def served(folder: Path, *, real: bool = False, **environment: str) -> Iterator[str]:
    """The address of the app over `folder`, in a process of its own (`real`: with the real model and trainer)."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **{f"ANIME_AI_{name}": value for name, value in environment.items()}}
    command = [sys.executable, str(Path(__file__)), str(folder), "real" if real else "fake"]
    with open(folder / "server.log", "wb") as log:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=env, cwd=ROOT, text=True)
        with child:
            try:
                assert child.stdout is not None
                address = child.stdout.readline().strip()
                assert address, (folder / "server.log").read_text(encoding="utf-8")
                yield address
            finally:
                child.terminate()


def main() -> None:
    """Serve until SIGTERM; the address is the first line of the output."""
    from anime_ai.ui.launch import free_port, launch

    folder = Path(sys.argv[1])
    studio = Studio.open(Settings(output_dir=folder)) if sys.argv[2] == "real" else open_studio(folder)
    demo = launch(studio, port=free_port("127.0.0.1", 7900 + os.getpid() % 1000))
    print(demo.local_url.rstrip("/"), flush=True)
    try:
        while True:
            time.sleep(1)
    finally:
        demo.close(verbose=False)
        studio.close()


def built(studio: Studio) -> Any:
    """The page's Blocks, unserved. Outside a running loop Gradio would make some and never close them."""
    from anime_ai.ui import create_app

    async def make() -> Any:
        return create_app(studio)

    return asyncio.run(make())


class Api:
    """One browser without a browser: its cookies, its session hash, and the queue's protocol."""

    def __init__(self, address: str, **headers: str) -> None:
        self.http = httpx.Client(base_url=address, headers=headers, timeout=30)
        self.config: dict[str, Any] = self.http.get("/config").json()
        self.session = uuid.uuid4().hex[:12]
        self.held = Held(self.config)

    def close(self) -> None:
        self.http.close()

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def component(self, elem_id: str) -> dict[str, Any]:
        return next(one for one in self.config["components"] if one["props"].get("elem_id") == elem_id)

    def index(self, name: str, number: int = 0) -> int:
        """The index of the `number`-th endpoint that is called `name`."""
        found = [one for one in self.config["dependencies"] if (one["api_name"] or "").rstrip("_0123456789") == name]
        return int(found[number]["id"])

    def dependency(self, index: int) -> dict[str, Any]:
        return next(one for one in self.config["dependencies"] if one["id"] == index)

    def join(self, index: int, data: list[Any], session: str = "", **more: Any) -> httpx.Response:
        data = self.held.sent(self.dependency(index), data)
        body = {"data": data, "fn_index": index, "session_hash": session or self.session, "event_data": None, **more}
        return self.http.post("/gradio_api/queue/join", json=body)

    def messages(self, session: str = "") -> Iterator[dict[str, Any]]:
        """Messages of the session's stream until it is closed."""
        with self.http.stream(
            "GET", "/gradio_api/queue/data", params={"session_hash": session or self.session}
        ) as stream:
            if stream.status_code != 200:
                stream.read()
                yield {"msg": "refused", "status": stream.status_code, "text": stream.text}
                return
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    message = json.loads(line[5:])
                    yield message
                    if message["msg"] == "close_stream":
                        return

    def call(self, index: int, data: list[Any] | None = None, session: str = "", **more: Any) -> dict[str, Any]:
        """The last message of one call; `data` None hands over nothing for every input."""
        if data is None:
            data = [None] * len(self.dependency(index)["inputs"])
        answer = self.join(index, data, session, **more)
        if answer.status_code != 200:
            return {"msg": "refused", "status": answer.status_code, "text": answer.text}
        last: dict[str, Any] = {}
        for message in self.messages(session):
            if message["msg"] in ("process_completed", "process_generating", "refused"):
                last = message
            self.held.told(self.dependency(index), message)
        return last


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        main()
