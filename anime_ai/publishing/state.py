"""The studio's state in a private repository on the Hub, for machines that forget, such as a free Space: pushed when
it has changed, fetched at the first start. Knows no page.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from anime_ai.config import Settings
from anime_ai.errors import AnimeAIError
from anime_ai.publishing import whole
from anime_ai.publishing.hub import HubAccount, Repository

FILE = "studio.zip"
LAST_WAIT_S = 20.0
"""Seconds that the app's end waits for a push that is under way."""
log = logging.getLogger("anime_ai.publishing")


def fetch_state(settings: Settings, account: Callable[[], HubAccount] = HubAccount) -> bool:
    """Restore what the repository holds, where the settings name one and this machine has no studio; whether it did.

    Raises PublishError where the Hub does not answer: beginning with nothing would soon replace what is there.
    """
    if not settings.state_repo or settings.database_url or (settings.studio_dir / whole.DATABASE).exists():
        return False
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.output_dir, prefix=".state-", suffix=".partial") as folder:
        there = account()
        file = there.fetch(_whole_name(there, settings.state_repo), "dataset", FILE, Path(folder))
        if file is None:
            return False
        done = whole.restore(file, settings)
    log.info("restored %d files (%d bytes) from %s", done.files, done.bytes, settings.state_repo)
    return True


class StateKeeping:
    """Pushes the state from a thread of its own. `keep` looks once, and pushes where something has changed."""

    def __init__(self, settings: Settings, account: Callable[[], HubAccount] = HubAccount) -> None:
        self.settings, self._account = settings, account
        self.error: AnimeAIError | None = None
        self._pushed = ""
        self._one = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def wanted(self) -> bool:
        return bool(self.settings.state_repo) and not self.settings.database_url

    def start(self, restored: bool = False) -> None:
        """`restored`: what is here is what the repository holds."""
        if self.wanted and self._thread is None:
            self._pushed = self._stamp() if restored else ""
            self._thread = threading.Thread(target=self._work, name="state", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Push what has changed since the last time, and end."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(LAST_WAIT_S)
            self._thread = None

    def keep(self) -> bool:
        """Whether something was pushed. The repository is asked whether it is private before every push, and its
        history is one commit after it. Raises AnimeAIError."""
        with self._one:
            now = self._stamp()
            if now == self._pushed:
                return False
            repo = Repository(self.settings.state_repo, "dataset", private=True)
            with tempfile.TemporaryDirectory(
                dir=self.settings.output_dir, prefix=".state-", suffix=".partial"
            ) as folder:
                whole.save(self.settings, Path(folder) / FILE)
                account = self._account()
                sent = account.push(Path(folder), repo, must_be_private=True)
            account.squash(sent.repository, "dataset")
            self._pushed = now
            return True

    def _work(self) -> None:
        last = False
        while not last:
            last = self._closed.wait(self.settings.state_minutes * 60)
            try:
                self.keep()
                self.error = None
            except AnimeAIError as error:
                self.error = error
                log.warning("the state was not pushed: %s", error.say("en"))
            except Exception:
                log.exception("the state was not pushed")

    def _stamp(self) -> str:
        """Changes with every file that would be pushed."""
        digest = hashlib.sha256()
        studio = self.settings.studio_dir
        for folder in (studio / "pictures", studio / "personas", self.settings.runs_dir):
            for file in sorted(folder.rglob("*")):
                with suppress(OSError):
                    told = file.stat()
                    digest.update(f"{file}:{told.st_size}:{told.st_mtime_ns}".encode())
        for name in (whole.DATABASE, f"{whole.DATABASE}-wal", *whole.CHOICES):
            with suppress(OSError):
                told = (studio / name).stat()
                digest.update(f"{name}:{told.st_size}:{told.st_mtime_ns}".encode())
        return digest.hexdigest()


def _whole_name(account: HubAccount, name: str) -> str:
    return name if "/" in name else f"{account.name()}/{name}"
