"""Fetching a model's files: resumed where they broke off, checked by size and hash, shown to others when all are here.

They go where the Hub's own libraries look (`HF_HUB_CACHE`): what arrives lies in `models--<owner>--<name>/arriving/`,
what is whole is moved into `snapshots/<commit>/`, and `refs/main`, by which everybody finds it, is written last. Knows
neither which models there are nor who waits for them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anime_ai.errors import ModelError, StorageError
from anime_ai.files import read_json, write_bytes, write_json
from anime_ai.models.catalogue import Entry
from anime_ai.models.sources import Hub, Listing, RemoteFile, Source
from anime_ai.processes import HeldError, hold

if TYPE_CHECKING:
    import httpx

ARRIVING, PLAN, LOCK = "arriving", "plan.json", "arriving.lock"
TRIES = 5
"""Breaks in a row, with nothing to speak of between them, after which a download is given up."""
PAUSE_S = 0.5
"""Seconds before the first new try; each further one waits twice as long."""
WORTH = 2**16
"""Bytes between two breaks that count as going on."""
SPARE = 200 * 10**6
"""Bytes that stay free on the disk."""
WEIGHTS = (".safetensors", ".gguf", ".onnx")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack", ".py")


class Stopped(Exception):
    """Somebody asked for the end of a download; what has arrived stays, and is gone on with at the next start."""


@dataclass(frozen=True)
class Order:
    """What is wanted of a model on the hub: `files` are patterns in which a `*` ends at a slash, `needed` those without
    which it is of no use, by their names. `name` and `kind` say of what entry of the catalogue it is."""

    id: str
    files: tuple[str, ...]
    needed: tuple[str, ...] = ()
    name: str = ""
    kind: str = ""

    @classmethod
    def of(cls, one: Entry) -> Order:
        return cls(one.repository, one.files, one.needed, one.id, one.kind)

    @property
    def arriving(self) -> Path:
        """Where its files lie until all are here; of a model of several GGUF files each has a folder of its own."""
        return home(self.id) / (f"{ARRIVING}-{self.files[0]}" if self.kind == "gguf" else ARRIVING)


@dataclass(frozen=True)
class Arrived:
    """A download that was begun and not ended: bytes that are here, and of all that it will have."""

    id: str
    kind: str
    source: str
    done: int
    total: int


def cache() -> Path:
    """The folder in which the Hub's libraries look for models."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def home(id: str) -> Path:
    """The folder of one model in the cache."""
    return cache() / "--".join(("models", *id.split("/")))


def arrived() -> list[Arrived]:
    """All downloads of this cache that were begun and not ended."""
    found = []
    for file in sorted(cache().glob(f"models--*/{ARRIVING}*/{PLAN}")):
        plan = read_json(file)
        if isinstance(plan, dict) and isinstance(plan.get("total"), int) and isinstance(plan.get("there"), int):
            here = plan["there"] + sum(_size(part) for part in file.parent.iterdir() if part != file)
            id, kind, where = (str(plan.get(name) or "") for name in ("id", "kind", "source"))
            found.append(Arrived(id, kind, where, min(here, plan["total"]), plan["total"]))
    return found


def discard(order: Order) -> None:
    """Remove what has arrived of a model that is not whole. Raises StorageError."""
    _remove(order.arriving)
    folder = home(order.id)
    if folder.is_dir() and {file.name for file in folder.iterdir()} <= {LOCK}:
        _remove(folder)


def remove(id: str) -> None:
    """Remove a model from the disk: first what makes it visible, then its files. Raises StorageError."""
    folder = home(id)
    with suppress(FileNotFoundError):
        (folder / "refs" / "main").unlink()
    _remove(folder)


def fetch(
    name: str,
    files: Sequence[str],
    timeout: float,
    tell: Callable[[], None] = lambda: None,
    needed: Sequence[str] = (),
) -> Path:
    """Fetch the files of some patterns from the Hub or its mirror in `HF_ENDPOINT`; the folder that they lie in.

    `tell` is called when the download begins. A hub that does not answer is told in seconds (`timeout`). Raises
    ModelError and StorageError.
    """
    from huggingface_hub import constants

    return Fetch(
        Order(name, tuple(files), tuple(needed)), Hub(constants.ENDPOINT.rstrip("/")), timeout, started=tell
    ).run()


def remove_file(path: Path | None) -> None:
    """Remove one file of a model, and what it leads to. Raises StorageError."""
    try:
        for one in {path, path.resolve()} if path else ():
            one.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError("storage.write", path=path, why=error.strerror or error) from error


class Fetch:
    """One model on its way. `done` and `total` are bytes, 0 until the source was asked; other threads may read them.

    `started` is called when the source has answered and the files begin to come.
    """

    def __init__(
        self,
        order: Order,
        source: Source,
        timeout: float,
        stop: threading.Event | None = None,
        started: Callable[[], None] = lambda: None,
    ) -> None:
        self.order, self.source, self.timeout = order, source, timeout
        self.stop, self._started = stop or threading.Event(), started
        self.done = self.total = 0
        self.over = threading.Event()
        """Set when nothing of it works on the disk any more."""
        self._home = home(order.id)
        self._arriving = order.arriving

    def run(self) -> Path:
        """Fetch what is missing; the folder in which the model then lies whole.

        Raises ModelError and StorageError in words, Stopped when it was asked to end. What has arrived stays.
        """
        try:
            return self._run()
        finally:
            self.over.set()

    def _run(self) -> Path:
        import httpx

        if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
            raise self._failed("model.hub_silent", why="HF_HUB_OFFLINE")
        try:
            client = httpx.Client(timeout=self.timeout, follow_redirects=True)
        except (ValueError, ImportError, OSError) as error:  # a proxy of the environment that makes no sense
            raise self._failed("model.hub_silent", why=error) from error
        with client, ExitStack() as stack:
            listing = self.source.listing(self.order.id, client)
            wanted = self._wanted(listing)
            try:
                stack.enter_context(hold(self._home / LOCK))
            except HeldError as error:
                raise ModelError("model.arriving_elsewhere", name=self.order.id) from error
            place = self._home / "snapshots" / listing.commit
            missing = [file for file in wanted if not _is_there(place / file.path, file)]
            self._plan(wanted, missing)
            self._started()
            for file in missing:
                self._bring(client, listing, file)
                self._refuse_code(file)
            self._show(place, missing, listing.commit)
            return place

    def _wanted(self, listing: Listing) -> list[RemoteFile]:
        """The files to fetch, the small ones first: what they say may make the large ones needless."""
        found = [file for file in listing.files if _matches(file.path, self.order.files)]
        found = [file for file in found if not file.path.lower().endswith(PICKLES)]
        names = {file.path for file in found}
        missing = [name for name in self.order.needed if name not in names]
        if missing:
            raise self._failed("model.lacks", files=", ".join(missing))
        heavy = any(pattern.endswith(WEIGHTS) for pattern in self.order.files)
        if heavy and not any(name.endswith(WEIGHTS) for name in names):
            raise self._failed("model.only_pickles")
        unknown = [file.path for file in found if file.size < 0]
        if unknown:
            raise self._failed("model.hub_silent", why=f"{unknown[0]}: size")
        return sorted(found, key=lambda file: file.size)

    def _plan(self, wanted: Sequence[RemoteFile], missing: Sequence[RemoteFile]) -> None:
        """Look whether there is room, and write down what is to come."""
        self.total = sum(file.size for file in wanted)
        there = self.total - sum(file.size for file in missing)
        here = sum(min(_size(self._part(file)), file.size) for file in missing)
        self.done = there + here
        try:
            self._arriving.mkdir(parents=True, exist_ok=True)
            for left in self._arriving.iterdir():  # of a state that the source has left behind
                if left.name not in {PLAN, *(self._part(file).name for file in missing)}:
                    left.unlink()
            free = shutil.disk_usage(self._arriving).free
        except OSError as error:
            raise StorageError("storage.write", path=self._arriving, why=error.strerror or error) from error
        if self.total - self.done > max(0, free - SPARE):
            raise self._full(self.total - self.done + SPARE, free)
        told = {"id": self.order.name or self.order.id, "kind": self.order.kind, "source": self.source.name}
        write_json(self._arriving / PLAN, {**told, "total": self.total, "there": there})

    def _part(self, file: RemoteFile) -> Path:
        """Where a file arrives. The name follows from path and hash: another source goes on with the same part."""
        key = f"{file.path}\0{file.size}\0{file.sha256 or file.git}"
        return self._arriving / hashlib.sha256(key.encode()).hexdigest()[:32]

    def _bring(self, client: httpx.Client, listing: Listing, file: RemoteFile) -> None:
        """One file, whole and checked, under its part's name."""
        import httpx

        part, breaks = self._part(file), 0
        furthest = _size(part)
        while True:
            why: object = ""
            try:
                self._stream(client, listing, file, part)
                if _size(part) == file.size:
                    break
                why = f"{_size(part)} < {file.size}"
            except httpx.HTTPError as error:
                why = type(error).__name__
            except OSError as error:
                if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
                    raise self._full(file.size - _size(part), 0) from error
                raise StorageError("storage.write", path=part, why=error.strerror or error) from error
            got = _size(part)  # less than before where it had to begin again
            breaks = 0 if got - furthest >= WORTH else breaks + 1
            furthest = max(furthest, got)
            if breaks >= TRIES:
                raise self._failed("model.download_failed", why=why)
            if self.stop.wait(PAUSE_S * 2**breaks):
                raise Stopped
        if not self._is_right(part, file):
            self.done -= file.size
            part.unlink()
            raise self._failed("model.wrong_hash", file=file.path)

    def _stream(self, client: httpx.Client, listing: Listing, file: RemoteFile, part: Path) -> None:
        """Append what a source sends of a file to its part, until it ends or breaks."""
        have = _size(part)
        if have > file.size:
            have = self._restart(part)
        if have == file.size:
            part.touch()
            return
        headers = {**self.source.headers(), "accept-encoding": "identity"}
        if have:
            headers["range"] = f"bytes={have}-"
        with client.stream("GET", self.source.address(listing, file.path), headers=headers) as answer:
            if answer.status_code == 416:
                self._restart(part)
                return
            if answer.status_code >= 400:
                if answer.status_code in (408, 429) or answer.status_code >= 500:  # it may be better in a moment
                    answer.raise_for_status()
                raise self._failed("model.download_failed", why=f"{answer.status_code}, {file.path}")
            if have and not answer.headers.get("content-range", "").startswith(f"bytes {have}-"):
                have = self._restart(part)  # it sends the file from its beginning
                if answer.status_code == 206:
                    return
            with open(part, "ab", buffering=0) as opened:
                for piece in answer.iter_raw():
                    if self.stop.is_set():
                        raise Stopped
                    have += len(piece)
                    if have > file.size:
                        raise self._longer(part, file)
                    opened.write(piece)
                    self.done += len(piece)

    def _restart(self, part: Path) -> int:
        self.done -= _size(part)
        part.unlink(missing_ok=True)
        return 0

    def _longer(self, part: Path, file: RemoteFile) -> ModelError:
        self._restart(part)
        return self._failed("model.wrong_hash", file=file.path)

    def _is_right(self, part: Path, file: RemoteFile) -> bool:
        """Whether a part holds what the source said; where it said nothing but the size, that has to do."""
        if not (file.sha256 or file.git):
            return True
        digest = hashlib.sha256() if file.sha256 else hashlib.sha1(f"blob {file.size}\0".encode())
        with open(part, "rb") as opened:
            while piece := opened.read(2**22):
                if self.stop.is_set():
                    raise Stopped
                digest.update(piece)
        return digest.hexdigest() == (file.sha256 or file.git)

    def _refuse_code(self, file: RemoteFile) -> None:
        """A model that wants to run code of its own is refused before its weights are fetched."""
        if file.path == "config.json":
            told = read_json(self._part(file))
            if isinstance(told, dict) and "auto_map" in told:
                raise ModelError("model.remote_code", name=self.order.id)

    def _show(self, place: Path, missing: Sequence[RemoteFile], commit: str) -> None:
        """Move what has arrived to where it is looked for, and say last that it is there."""
        try:
            for file in missing:
                target = place / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(self._part(file), target)
        except OSError as error:
            raise StorageError("storage.write", path=place, why=error.strerror or error) from error
        write_bytes(self._home / "refs" / "main", commit.encode())
        shutil.rmtree(self._arriving, ignore_errors=True)

    def _full(self, needed: int, free: int) -> ModelError:
        sizes = {"needed": f"{needed / 1e9:.1f}", "free": f"{free / 1e9:.1f}"}
        return ModelError("model.disk_full", name=self.order.id, path=cache(), **sizes)

    def _failed(self, key: str, **values: Any) -> ModelError:
        return ModelError(key, name=self.order.id, endpoint=self.source.endpoint, **values)


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(path.count("/") == one.count("/") and fnmatchcase(path, one) for one in patterns)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _is_there(path: Path, file: RemoteFile) -> bool:
    return path.is_file() and _size(path) == file.size


def _remove(folder: Path) -> None:
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise StorageError("storage.write", path=error.filename or folder, why=error.strerror or error) from error
