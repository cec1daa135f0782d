"""Downloads of models behind the page's back: one at a time, the others wait; they outlive every page.

What is running when the app ends goes on at its next start; what was stopped waits for somebody who wants it. Knows
neither pages nor what a model is for.
"""

from __future__ import annotations

import builtins
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from anime_ai.config import Settings
from anime_ai.errors import AnimeAIError, ModelError
from anime_ai.files import read_json, write_json
from anime_ai.models.bases import check_folder
from anime_ai.models.catalogue import Entry, entry
from anime_ai.models.fetching import Fetch, Order, Stopped, arrived, discard
from anime_ai.models.sources import SOURCES, source

State = Literal["queued", "running", "stopped", "failed", "finished"]
WINDOW_S = 10.0
"""Seconds over which a speed is taken."""
log = logging.getLogger("anime_ai.models")


@dataclass(frozen=True)
class Download:
    """How far a model is. `done` and `total` in bytes, `total` 0 until the source has told it; `speed` in bytes a
    second, 0 where nothing tells it."""

    id: str
    kind: str
    source: str
    state: State
    done: int = 0
    total: int = 0
    speed: float = 0.0
    error: AnimeAIError | None = None

    @property
    def active(self) -> bool:
        return self.state in ("queued", "running")

    @property
    def seconds(self) -> float | None:
        """Until it is done; None where nothing tells."""
        return (self.total - self.done) / self.speed if self.speed and self.total else None


class _Job:
    """A download that somebody asked for while this app runs."""

    def __init__(self, one: Entry, source: str) -> None:
        self.entry, self.source = one, source
        self.state: State = "queued"
        self.stop = threading.Event()
        self.error: AnimeAIError | None = None
        self.fetch: Fetch | None = None
        self._seen: deque[tuple[float, int]] = deque(maxlen=64)

    def told(self) -> Download:
        fetch = self.fetch
        done, total = (fetch.done, fetch.total) if fetch else (0, 0)
        speed = self._speed(done) if self.state == "running" and total else 0.0
        return Download(self.entry.id, self.entry.kind, self.source, self.state, done, total, speed, self.error)

    def _speed(self, done: int) -> float:
        now = time.monotonic()
        if not self._seen or now - self._seen[-1][0] >= 0.25:
            self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()
        began, before = self._seen[0]
        return max(0.0, (done - before) / (now - began)) if now > began else 0.0


class Downloads:
    """See the module. Threads may share it.

    `follow` tells what else a model in a folder wants before it can be used; `finished` is called with what is whole.
    """

    def __init__(
        self,
        settings: Settings,
        follow: Callable[[Path], Sequence[Order]] = lambda folder: (),
        finished: Callable[[Entry], None] = lambda one: None,
    ) -> None:
        self._settings, self._follow, self._finished = settings, follow, finished
        self._file = settings.studio_dir / "downloads.json"
        self._jobs: dict[str, _Job] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Go on with what was running when the app ended."""
        active = self._read().get("active")
        for told in active if isinstance(active, list) else ():
            if isinstance(told, dict):
                try:
                    self.start(str(told.get("id")), str(told.get("source") or ""), str(told.get("kind") or "base"))
                except AnimeAIError as error:
                    log.warning("a download is not gone on with: %s", error.say("en"))

    def close(self) -> None:
        """Let go; what is running goes on at the next start."""
        with self._changed:
            self._closed = True
            for job in self._jobs.values():
                job.stop.set()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(2)

    @property
    def chosen(self) -> str:
        """Where models come from unless something else is said: what was chosen last, else what the settings say."""
        chosen = str(self._read().get("source") or "")
        return chosen if chosen in SOURCES else self._settings.hub

    def choose(self, name: str) -> None:
        """Take models from another source from now on. Raises ModelError for one that there is not."""
        source(self._settings, name)
        with self._changed:
            self._write(str(name))

    def start(self, id: str, where: str = "", kind: str = "base") -> Download:
        """Begin a download or go on with it; one that is running stays as it is.

        Raises ModelError for what is no id of a model, and for a source that there is not.
        """
        one = entry(id, "embedding" if kind == "embedding" else "base")
        where = where or self.chosen
        source(self._settings, where)
        with self._changed:
            job = self._jobs.get(one.id)
            if job is None or job.state not in ("queued", "running"):
                job = self._jobs[one.id] = _Job(one, where)
                self._write()
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="downloads", daemon=True)
                    self._thread.start()
                self._changed.notify_all()
        return job.told()

    def stop(self, id: str) -> None:
        """End a download; what has arrived stays. One that is not running is left as it is."""
        with self._changed:
            job = self._jobs.get(id)
            if job is not None and job.state in ("queued", "running"):
                job.stop.set()
                job.state = "stopped"
                self._write()
                self._changed.notify_all()

    def discard(self, id: str) -> None:
        """End a download and remove what has arrived. Raises StorageError."""
        self.stop(id)
        with self._changed:
            job = self._jobs.pop(id, None)
            fetch = job.fetch if job else None
            self._write()
        if fetch is not None:
            fetch.over.wait(self._settings.hub_timeout + 2)
        known = next((one for one in arrived() if one.id == id), None)
        if known is not None or job is not None:
            discard(Order.of(entry(id, "embedding" if known and known.kind == "embedding" else "base")))

    def list(self) -> builtins.list[Download]:
        """All that are going on, waiting, stopped or failed, and those that ended while this app runs."""
        with self._changed:
            found = {job.entry.id: job.told() for job in self._jobs.values()}
        for part in arrived():
            now = found.get(part.id)
            if now is None or (now.state in ("stopped", "failed") and not now.total):
                state, error = (now.state, now.error) if now else ("stopped", None)
                told = Download(part.id, part.kind, part.source, state, part.done, part.total, 0.0, error)
                found[part.id] = told
        return builtins.list(found.values())

    def get(self, id: str) -> Download | None:
        return next((one for one in self.list() if one.id == id), None)

    def watch(self, id: str, every: float = 1.0) -> Iterator[Download]:
        """How far a download is, every so many seconds until it is whole.

        Raises what it failed with, and ModelError when somebody stopped it.
        """
        while True:
            now = self.get(id)
            if now is None or now.state == "stopped":
                raise ModelError("model.download_stopped", name=id)
            if now.error is not None:
                raise now.error
            yield now
            if now.state == "finished":
                return
            with self._changed:
                self._changed.wait_for(lambda: not self._going(id), every)

    def _work(self) -> None:
        """The one thread that fetches."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._next() is not None)
                job = self._next()
                if self._closed or job is None:
                    return
                job.state = "running"
            state, error = self._run(job)
            with self._changed:
                if job.state == "running" and not self._closed:
                    job.state, job.error = state, error
                    self._write()
                self._changed.notify_all()

    def _going(self, id: str) -> bool:
        job = self._jobs.get(id)
        return job is not None and job.state in ("queued", "running")

    def _next(self) -> _Job | None:
        return next((job for job in self._jobs.values() if job.state == "queued"), None)

    def _run(self, job: _Job) -> tuple[State, AnimeAIError | None]:
        try:
            place = self._fetched(job, Order.of(job.entry))
            for more in self._follow(place):
                self._fetched(job, more, shown=False)
            if job.entry.kind == "base":
                check_folder(place, job.entry.id)
            self._finished(job.entry)
        except Stopped:
            return "stopped", None
        except AnimeAIError as error:
            if (
                error.key == "model.unknown"
            ):  # what was asked for has the form of a name: it is the source that lacks it
                where = source(self._settings, job.source).endpoint
                return "failed", ModelError("model.unknown_there", name=job.entry.id, endpoint=where)
            return "failed", error
        except Exception as error:  # the thread has to live on for the next one
            log.exception("a download failed")
            why = type(error).__name__
            return "failed", ModelError("model.download_failed", name=job.entry.id, endpoint=job.source, why=why)
        return "finished", None

    def _fetched(self, job: _Job, order: Order, shown: bool = True) -> Path:
        fetch = Fetch(order, source(self._settings, job.source), self._settings.hub_timeout, job.stop)
        if shown:
            job.fetch = fetch
        return fetch.run()

    def _read(self) -> dict[str, object]:
        told = read_json(self._file)
        return told if isinstance(told, dict) else {}

    def _write(self, chosen: str = "") -> None:
        """Remember what is going on, for the next start."""
        going = [job for job in self._jobs.values() if job.state in ("queued", "running")]
        active = [{"id": job.entry.id, "kind": job.entry.kind, "source": job.source} for job in going]
        write_json(self._file, {"source": chosen or self._read().get("source") or "", "active": active})
