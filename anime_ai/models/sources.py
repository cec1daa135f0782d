"""Where models come from: the Hub, its mirror, ModelScope. What each lists of a model, and the address of a file.

Knows no disk.

The Hub's answers: https://huggingface.co/docs/hub/api; ModelScope's are those that its own client reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode

from anime_ai.config import Settings
from anime_ai.errors import ModelError

if TYPE_CHECKING:
    import httpx

MOST_LISTED = 20_000_000
"""Bytes of a listing; a longer one is no listing of a model."""
_PLAIN = re.compile(r"[^/\\:*?\"<>|\x00-\x1f]+(/[^/\\:*?\"<>|\x00-\x1f]+)*")
_HEX = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
CONVERTER = "SFconvertbot"
"""Who offers safetensors of models that were published as pickles: the Hub's own converter, by pull request."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a model: `size` in bytes, and what its content hashes to, as SHA-256 or as a git blob (SHA-1), "" where
    that is not told."""

    path: str
    size: int
    sha256: str = ""
    git: str = ""


@dataclass(frozen=True)
class Listing:
    """The files of a model in one state. `commit` names the state, 40 hexadecimal digits; `revision` is what the source
    calls it."""

    id: str
    commit: str
    revision: str
    files: tuple[RemoteFile, ...]


class Source(Protocol):
    """A place to fetch models from. `name` is what the settings call it, `endpoint` its address."""

    @property
    def name(self) -> str: ...

    @property
    def endpoint(self) -> str: ...

    def listing(self, id: str, client: httpx.Client) -> Listing:
        """Raises ModelError for a model that is not there, and for a source that does not answer or not in its form."""
        ...

    def address(self, listing: Listing, path: str) -> str: ...

    def headers(self) -> dict[str, str]:
        """What a request says beside its address. A redirection to another host takes no secret of it along."""
        ...


@dataclass(frozen=True)
class Hub:
    """huggingface.co or a mirror of it. A token is sent to the one in `HF_ENDPOINT` alone."""

    endpoint: str
    name: str = "hub"

    def listing(self, id: str, client: httpx.Client) -> Listing:
        told = self._revision(id, "main", client)
        files = _hub_files(told)
        if not _has_weights(files) and any(file.path.endswith(".bin") for file in files):
            converted = self._converted(id, client)
            if converted:
                told = self._revision(id, converted, client)
                files = _hub_files(told)
        return Listing(id, _commit(told.get("sha"), files), str(told.get("sha") or "main"), files)

    def address(self, listing: Listing, path: str) -> str:
        return f"{self.endpoint}/{quote(listing.id)}/resolve/{quote(listing.revision, safe='')}/{quote(path)}"

    def headers(self) -> dict[str, str]:
        from huggingface_hub import get_token

        token = get_token() if self.name == "hub" else None
        return {"authorization": f"Bearer {token}"} if token else {}

    def _revision(self, id: str, revision: str, client: httpx.Client) -> Mapping[str, Any]:
        address = f"{self.endpoint}/api/models/{quote(id)}/revision/{quote(revision, safe='')}?blobs=true"
        told = ask(client, address, id, self)
        if not isinstance(told.get("siblings"), list):
            raise ModelError("model.hub_silent", name=id, endpoint=self.endpoint, why="siblings")
        return told

    def _converted(self, id: str, client: httpx.Client) -> str:
        """The pull request in which the Hub's converter offers safetensors; "" where there is none."""
        asked = urlencode({"author": CONVERTER, "type": "pull_request", "status": "open"})
        told = ask(client, f"{self.endpoint}/api/models/{quote(id)}/discussions?{asked}", id, self)
        found = told.get("discussions")
        for one in found if isinstance(found, list) else ():
            author = one.get("author") if isinstance(one, dict) else None
            ours = isinstance(author, dict) and author.get("name") == CONVERTER and one.get("isPullRequest")
            if ours and one.get("status") == "open" and isinstance(one.get("num"), int):
                return f"refs/pr/{one['num']}"
        return ""


@dataclass(frozen=True)
class ModelScope:
    """modelscope.cn."""

    endpoint: str
    name: str = "modelscope"

    def listing(self, id: str, client: httpx.Client) -> Listing:
        asked = urlencode({"Revision": "master", "Recursive": "true"})
        told = ask(client, f"{self.endpoint}/api/v1/models/{quote(id)}/repo/files?{asked}", id, self)
        data = told.get("Data")
        if told.get("Code", 200) in (404, 10010205001) or (told.get("Success") is False and not data):
            raise ModelError("model.unknown_there", name=id, endpoint=self.endpoint)
        listed = data.get("Files") if isinstance(data, dict) else None
        if not isinstance(listed, list):
            raise ModelError("model.hub_silent", name=id, endpoint=self.endpoint, why="Files")
        blobs = [one for one in listed if isinstance(one, dict) and one.get("Type") != "tree"]
        files = tuple(
            RemoteFile(str(one.get("Path")), _size(one.get("Size")), _hex(one.get("Sha256")))
            for one in blobs
            if is_plain(one.get("Path"))
        )
        return Listing(id, _commit(None, files), "master", files)

    def address(self, listing: Listing, path: str) -> str:
        asked = urlencode({"Revision": listing.revision, "FilePath": path})
        return f"{self.endpoint}/api/v1/models/{quote(listing.id)}/repo?{asked}"

    def headers(self) -> dict[str, str]:
        return {}


SOURCES = ("hub", "mirror", "modelscope")


def source(settings: Settings, name: str = "") -> Source:
    """A source by its name, "" for that of the settings. Raises ModelError for another name."""
    name = name or settings.hub
    if name == "hub":
        from huggingface_hub import constants

        return Hub(constants.ENDPOINT.rstrip("/"))
    if name == "mirror":
        return Hub(settings.hub_mirror.rstrip("/"), "mirror")
    if name == "modelscope":
        return ModelScope(settings.modelscope.rstrip("/"))
    raise ModelError("model.no_source", name=name[:40], known=", ".join(SOURCES))


def ask(client: httpx.Client, address: str, id: str, where: Source) -> Mapping[str, Any]:
    """A JSON object from a source, bounded. Raises ModelError."""
    import httpx

    body = bytearray()
    try:
        with client.stream("GET", address, headers=where.headers()) as answer:
            if answer.status_code in (401, 403, 404):
                key = "model.unknown_there" if where.name == "modelscope" else "model.unknown"
                raise ModelError(key, name=id, endpoint=where.endpoint)
            if answer.status_code >= 400:
                raise ModelError("model.hub_silent", name=id, endpoint=where.endpoint, why=answer.status_code)
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > MOST_LISTED:
                    raise ModelError("model.hub_silent", name=id, endpoint=where.endpoint, why=f"> {MOST_LISTED} B")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ModelError("model.hub_silent", name=id, endpoint=where.endpoint, why=type(error).__name__) from error
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ModelError("model.hub_silent", name=id, endpoint=where.endpoint, why="JSON") from error
    if not isinstance(told, dict):
        raise ModelError("model.hub_silent", name=id, endpoint=where.endpoint, why="JSON")
    return told


def is_plain(path: object) -> bool:
    """Whether a path that a source tells stays inside the model's folder, on every system."""
    if not isinstance(path, str) or not _PLAIN.fullmatch(path) or len(path) > 400:
        return False
    return not any(part.strip(". ") == "" or part != part.strip() for part in path.split("/"))


def _hub_files(told: Mapping[str, Any]) -> tuple[RemoteFile, ...]:
    files = []
    for one in told["siblings"]:
        if not isinstance(one, dict) or not is_plain(one.get("rfilename")):
            continue
        lfs = one.get("lfs")
        lfs = lfs if isinstance(lfs, dict) else {}
        size = _size(lfs.get("size", one.get("size")))
        sha256 = _hex(lfs.get("sha256") or lfs.get("oid"))
        files.append(RemoteFile(one["rfilename"], size, sha256, "" if lfs else _hex(one.get("blobId"))))
    return tuple(files)


def _has_weights(files: tuple[RemoteFile, ...]) -> bool:
    return any(file.path.endswith((".safetensors", ".gguf", ".onnx")) for file in files if "/" not in file.path)


def _size(told: object) -> int:
    """Bytes, -1 where they are not told."""
    return told if isinstance(told, int) and not isinstance(told, bool) and told >= 0 else -1


def _hex(told: object) -> str:
    found = str(told or "").lower()
    return found if _HEX.fullmatch(found) else ""


def _commit(told: object, files: tuple[RemoteFile, ...]) -> str:
    """The name of a state: the source's own, or where it tells none one that follows from the files."""
    import hashlib

    named = _hex(told)
    if len(named) == 40:
        return named
    listed = sorted((file.path, file.size, file.sha256 or file.git) for file in files)
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:40]
