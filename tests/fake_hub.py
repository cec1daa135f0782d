"""A hub on loopback: it speaks the Hub's and ModelScope's language, and stalls, dies and lies where a test wants."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub_serving import Answers, served


class FakeHub:
    """`models`: id → path → content. Each fault is said by the path of a file.

    `dies`: bytes that one answer sends before its connection is cut, an answer for each number; `stalls`: bytes after
    which it is silent until `released`; `lies`: what it sends in the file's place; `ranges` False: it sends files from
    their beginning, whatever is asked for; `broken`: statuses that it answers with first.
    """

    def __init__(self) -> None:
        self.models: dict[str, dict[str, bytes]] = {}
        self.discussions: dict[str, list[dict[str, Any]]] = {}
        self.dies: dict[str, list[int]] = {}
        self.stalls: dict[str, int] = {}
        self.lies: dict[str, bytes] = {}
        self.broken: dict[str, list[int]] = {}
        self.ranges = True
        self.listing: Any = None
        self.released = threading.Event()
        self.asked: list[tuple[str, str]] = []
        self.sent = 0
        self.pace = threading.Event()
        self.pace.set()
        self.endpoint = ""

    def siblings(self, id: str) -> list[dict[str, Any]]:
        """The Hub's listing: large files by SHA-256, small ones by their git blob."""
        told = []
        for path, content in self.models[id].items():
            one: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": git_blob(content)}
            if path.endswith((".safetensors", ".bin", ".gguf", ".onnx")):
                one["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
            told.append(one)
        return told

    def blobs(self, id: str) -> list[dict[str, Any]]:
        """ModelScope's listing."""
        files = [
            {"Path": path, "Type": "blob", "Size": len(content), "Sha256": hashlib.sha256(content).hexdigest()}
            for path, content in self.models[id].items()
        ]
        return [{"Path": "1_Pooling", "Type": "tree", "Size": 0, "Sha256": ""}, *files]


def git_blob(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


class _Answers(Answers):
    hub: FakeHub

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        path, query = unquote(asked.path), parse_qs(asked.query)
        if path.startswith("/api/v1/models/"):
            id, _, rest = path.removeprefix("/api/v1/models/").partition("/repo")
            if rest == "/files":
                found = id in self.hub.models
                self.say({"Code": 200 if found else 404, "Data": {"Files": self.hub.blobs(id)} if found else None})
            else:
                self.file(id, query["FilePath"][0])
        elif path.startswith("/api/models/"):
            id, _, rest = path.removeprefix("/api/models/").partition("/revision/")
            if path.endswith("/discussions"):
                found = self.hub.discussions.get(id.removesuffix("/discussions"), [])
                self.say({"discussions": found, "count": len(found), "start": 0})
                return
            id = id if rest == "main" else f"{id}@{rest}"
            if id in self.hub.models:
                commit = hashlib.sha1(id.encode()).hexdigest()
                self.say(self.hub.listing or {"id": id, "sha": commit, "siblings": self.hub.siblings(id)})
            else:
                self.say({"error": "no such model"}, 404)
        elif "/resolve/" in path:  # the Hub sends on to where its files lie
            id, _, rest = path[1:].partition("/resolve/")
            self.send_response(302)
            self.send_header("Location", f"/cdn/{id}/-/{rest.partition('/')[2]}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path.startswith("/cdn/"):
            id, _, rest = path.removeprefix("/cdn/").partition("/-/")
            known = next(one for one in self.hub.models if one.partition("@")[0] == id and rest in self.hub.models[one])
            self.file(known, rest)
        else:
            self.say({}, 404)

    def file(self, id: str, path: str) -> None:
        hub = self.hub
        hub.asked.append((path, self.headers.get("Range", "")))
        if hub.broken.get(path):
            self.say({}, hub.broken[path].pop(0))
            return
        content = hub.lies.get(path, hub.models[id][path])
        start = int(self.headers.get("Range", "bytes=0-")[6:-1]) if hub.ranges else 0
        if start and start >= len(content):
            self.say({}, 416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        dying = hub.dies[path].pop(0) if hub.dies.get(path) else None
        end = min(len(content), start + dying) if dying is not None else len(content)
        silent = hub.stalls.get(path)
        for place in range(start, end, 2**14):
            if silent is not None and place >= silent and not hub.released.is_set():
                hub.released.wait(60)
                self.close_connection = True
                return
            hub.pace.wait(60)
            piece = content[place : min(end, place + 2**14)]
            self.wfile.write(piece)
            hub.sent += len(piece)
        if dying is not None:
            self.close_connection = True


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """A hub that is there for a block."""

    def release(hub: FakeHub) -> None:
        hub.released.set()
        hub.pace.set()

    with served(FakeHub(), _Answers, release) as hub:
        yield hub


@contextmanager
def only_hub(monkeypatch: Any, cache: Path) -> Iterator[FakeHub]:
    """The one hub that there is: the library asks it, nothing waits long, and what is fetched lies in `cache`."""
    from huggingface_hub import constants

    from anime_ai.models import fetching

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(fetching, "PAUSE_S", 0.01)
    with fake_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        yield hub
