"""A hub on loopback that takes: accounts, repositories, uploads of both kinds, commits, squashes, and files back.

Its answers are those that huggingface_hub reads (`hf_api.py`, `_commit_api.py`, `lfs.py`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from hub_serving import Answers, served

TOKEN = "hf_testTokenOfTheOwnerThatMustNotLeak01"


@dataclass
class Repo:
    """What a repository holds, and how many commits it remembers."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: int = 0
    sdk: str = ""


class WritableHub:
    """`repos`: kind → id → repository. `refuses`: statuses that uploads are answered with first; `public`: it makes
    everything readable by all, whatever was asked for; `holds`: an upload waits for it."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, Repo]] = {"model": {}, "dataset": {}, "space": {}}
        self.objects: dict[str, bytes] = {}
        self.refuses: list[int] = []
        self.public = False
        self.holds = threading.Event()
        self.holds.set()
        self.asked: list[tuple[str, str]] = []
        self.endpoint = ""

    def repo(self, kind: str, id: str) -> Repo:
        return self.repos[kind][id]


class _Answers(Answers):
    hub: WritableHub

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline().strip(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def path_of(self) -> str:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((self.command, path))
        return path

    def known(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self.say({"error": "Invalid user token."}, 401)
        return False

    def place(self, path: str) -> tuple[str, str, str]:
        """Kind, id and the rest of `/api/models/OWNER/NAME/…`."""
        _, _, kinds, owner, name, *rest = path.split("/")
        return kinds[:-1], f"{owner}/{name}", "/".join(rest)

    def do_GET(self) -> None:
        path = self.path_of()
        if not self.known():
            return
        if path == "/api/whoami-v2":
            self.say({"type": "user", "name": "haitang", "orgs": []})
        elif path.startswith("/api/"):
            kind, id, _ = self.place(path)
            repo = self.hub.repos[kind].get(id)
            if repo is None:
                self.missing("RepoNotFound")
                return
            siblings = [{"rfilename": name} for name in repo.files]
            told = {"id": id, "private": repo.private, "sha": f"{repo.commits:040x}", "siblings": siblings, "tags": []}
            self.say({**told, "downloads": 0, "likes": 0, "disabled": False, "gated": False})
        else:
            self.file(path)

    do_HEAD = do_GET

    def file(self, path: str) -> None:
        kind = "dataset" if path.startswith("/datasets/") else "model"
        id, _, rest = path.removeprefix("/datasets/").lstrip("/").partition("/resolve/")
        repo, name = self.hub.repos[kind].get(id), rest.partition("/")[2]
        if repo is None or name not in repo.files:
            self.missing("RepoNotFound" if repo is None else "EntryNotFound")
            return
        content = repo.files[name]
        self.send_response(200)
        self.send_header("X-Repo-Commit", f"{repo.commits:040x}")
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def do_POST(self) -> None:
        path, body = self.path_of(), self.body()
        if not self.known():
            return
        if path == "/api/repos/create":
            self.create(json.loads(body))
        elif path == "/api/validate-yaml":
            self.say({"errors": [], "warnings": []})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            self.say({"transfer": "basic", "objects": [self.action(one) for one in objects]})
        else:
            kind, id, rest = self.place(path)
            repo = self.hub.repos[kind][id]
            if rest.startswith("preupload/"):
                self.say({"files": [self.mode(one) for one in json.loads(body)["files"]]})
            elif rest.startswith("commit/"):
                self.commit(kind, id, repo, [json.loads(line) for line in body.splitlines()])
            elif rest.startswith("super-squash/"):
                repo.commits = 1
                self.say({})
            else:
                self.say({}, 404)

    def do_PUT(self) -> None:
        path = self.path_of()
        self.hub.holds.wait(30)
        content = self.body()
        if self.hub.refuses:
            self.say({}, self.hub.refuses.pop(0))
            return
        assert hashlib.sha256(content).hexdigest() == path.rpartition("/")[2]
        self.hub.objects[path.rpartition("/")[2]] = content
        self.say({})

    def create(self, told: dict[str, Any]) -> None:
        kind, id = told.get("type") or "model", f"{told['organization']}/{told['name']}"
        if told["organization"] != "haitang":
            self.say({"error": "You don't have the rights to create a repo under this namespace"}, 403)
            return
        url = f"{self.hub.endpoint}/{'' if kind == 'model' else kind + 's/'}{id}"
        if id in self.hub.repos[kind]:
            self.say({"error": "You already created this repo", "url": url}, 409)
            return
        private = told.get("visibility") == "private" and not self.hub.public
        self.hub.repos[kind][id] = Repo(private, sdk=told.get("sdk", ""))
        self.say({"url": url, "name": id, "id": "1"})

    def mode(self, one: dict[str, Any]) -> dict[str, Any]:
        large = one["size"] > 100_000 or one["path"].endswith((".safetensors", ".zip"))
        return {"path": one["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}

    def action(self, one: dict[str, Any]) -> dict[str, Any]:
        there = one["oid"] in self.hub.objects
        upload = {"upload": {"href": f"{self.hub.endpoint}/objects/{one['oid']}", "header": {}}}
        return {**one, **({} if there else {"actions": upload})}

    def commit(self, kind: str, id: str, repo: Repo, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                repo.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repo.files[value["path"]] = self.hub.objects[value["oid"]]
        repo.commits += 1
        url = f"{self.hub.endpoint}/{'' if kind == 'model' else kind + 's/'}{id}/commit/{repo.commits:040x}"
        self.say({"success": True, "commitUrl": url, "commitOid": f"{repo.commits:040x}", "hookOutput": ""})

    def missing(self, code: str) -> None:
        self.say({"error": code}, 404, {"X-Error-Code": code})


@contextmanager
def writable_hub() -> Iterator[WritableHub]:
    """A hub that is there for a block."""
    with served(WritableHub(), _Answers, lambda hub: hub.holds.set()) as hub:
        yield hub
