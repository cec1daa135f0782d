"""The app in a process of its own: started, measured, killed. Knows nothing of who calls it."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil

from anime_ai.config import ROOT
from anime_ai.files import read_json

PASSWORD = "浸泡三十分钟"
EVERY = 2.0
"""Seconds between two looks at the memory."""


@dataclass
class Samples:
    """Memory of the app and its children, in bytes, and how many processes wait for the machine, over seconds."""

    seconds: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    load: list[float] = field(default_factory=list)

    def level(self, begin: float, end: float) -> float:
        """The median of the memory between two times."""
        return median(size for at, size in zip(self.seconds, self.memory, strict=True) if begin <= at <= end)


class App:
    """`python app.py` over one folder."""

    def __init__(self, folder: Path, log: Path, **settings: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self.log = log
        named = {"OWNER_PASSWORD": PASSWORD, "MODEL_NAME": "starter", "ENGINE": "llamacpp", **settings}
        environment = {**os.environ, **{f"ANIME_AI_{name}": value for name, value in named.items()}}
        command = [sys.executable, "app.py", "--port", str(port), "--output-dir", str(folder)]
        began = time.monotonic()
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
            )
        while not self._answers():
            assert self.process.poll() is None, log.read_text(encoding="utf-8", errors="replace")[-3000:]
            assert time.monotonic() - began < 180, "no page after three minutes"
            time.sleep(0.1)
        self.start_seconds = time.monotonic() - began

    def _answers(self) -> bool:
        import urllib.error
        import urllib.request

        try:
            with urllib.request.urlopen(self.address, timeout=30) as page:
                return page.status == 200
        except OSError:
            return False

    def family(self) -> list[psutil.Process]:
        try:
            leader = psutil.Process(self.process.pid)
            return [leader, *leader.children(recursive=True)]
        except psutil.Error:
            return []

    def memory(self) -> int:
        """Bytes resident, of the app and what it has started."""
        total = 0
        for one in self.family():
            try:
                total += one.memory_info().rss
            except psutil.Error:
                continue
        return total

    @contextmanager
    def sampled(self, samples: Samples) -> Iterator[None]:
        """Look at the memory every so often, in a thread."""
        over, began = threading.Event(), time.monotonic()

        def look() -> None:
            while not over.wait(EVERY):
                if size := self.memory():
                    samples.seconds.append(time.monotonic() - began)
                    samples.memory.append(size)
                    samples.load.append(os.getloadavg()[0])

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def kill(self) -> int:
        """`kill -9` of the app and all its children at once; how many there were."""
        family = self.family()
        for one in family:
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
        self.process.wait()
        psutil.wait_procs(family, 10)
        return len(family)

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()


def broken_files(folder: Path) -> list[str]:
    """Files under a folder that are not whole, by what their names say they are; databases by their own check."""
    from PIL import Image

    found = []
    for file in sorted(one for one in folder.rglob("*") if one.is_file()):
        name = str(file.relative_to(folder))
        if file.suffix == ".json" and read_json(file) is None:
            found.append(f"{name}: no JSON")
        elif file.suffix in (".webp", ".png", ".jpg"):
            try:
                with Image.open(file) as picture:
                    picture.load()
            except OSError as error:
                found.append(f"{name}: {error}")
        elif file.suffix in (".db", ".sqlite3"):
            with closing(sqlite3.connect(file)) as database:
                said = [row[0] for row in database.execute("PRAGMA integrity_check")]
            if said != ["ok"]:
                found.append(f"{name}: {said[0]}")
    return found


def leftovers(folder: Path) -> list[str]:
    """What a write that never ended has left."""
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*.partial"))
