"""Bases being turned into GGUF files behind the page: one at a time, with progress, to be cancelled. Knows no page."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from anime_ai.errors import AnimeAIError
from anime_ai.models.bases import Base
from anime_ai.models.ggufs import Ggufs


@dataclass(frozen=True)
class Conversion:
    """One conversion: `done` of `total` tensors are written. `error` tells why it ended without a file."""

    base: Base
    kind: str
    done: int = 0
    total: int = 1
    running: bool = True
    error: AnimeAIError | None = None

    @property
    def share(self) -> float:
        return self.done / self.total


class _CancelledError(Exception):
    """Somebody asked for an end."""


class Conversions:
    """The last conversion of this app, and the one that runs. `made` is called when a file is there."""

    def __init__(self, ggufs: Ggufs, made: Callable[[], None] = lambda: None) -> None:
        self.ggufs, self._made = ggufs, made
        self._now: Conversion | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def now(self) -> Conversion | None:
        """The conversion that runs, or the last one; None before the first."""
        return self._now

    def start(self, base: Base, kind: str) -> Conversion:
        """Begin; while another one runs that is what is told instead."""
        with self._lock:
            if self._now is None or not self._now.running:
                self._stop.clear()
                self._now = Conversion(base, kind)
                self._thread = threading.Thread(target=self._run, args=(self._now,), daemon=True)
                self._thread.start()
            return self._now

    def cancel(self) -> None:
        """End what runs; nothing of it stays."""
        self._stop.set()

    def close(self) -> None:
        """End what runs, and wait for it."""
        self.cancel()
        if self._thread is not None:
            self._thread.join()

    def _run(self, began: Conversion) -> None:
        def tell(done: int, total: int) -> None:
            if self._stop.is_set():
                raise _CancelledError
            self._now = replace(began, done=done, total=total)

        error = None
        try:
            self.ggufs.make(began.base, began.kind, tell)
            self._made()
        except _CancelledError:
            pass
        except AnimeAIError as told:
            error = told
        except Exception as other:  # a thread's error would be lost: the page shows it
            error = AnimeAIError("model.conversion_failed", name=began.base.id, why=str(other) or type(other).__name__)
        self._now = replace(self._now or began, running=False, error=error)
