"""What is read between two turns, while nobody waits for it. Knows neither engines nor what is read."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger("anime_ai.chat")


class Ahead:
    """Readings run one after another in threads of their own. Each is given an event of its own that asks it to end:
    whoever reads may set it too, without an end to the others."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._closed = False
        self._threads: dict[threading.Thread, tuple[str, threading.Event]] = {}

    def start(self, read: Callable[[threading.Event], None], about: str = "") -> None:
        """Read in the background, `about` what. What goes wrong is only noted: the answer that needs it meets it again
        and tells."""
        stop = threading.Event()

        def work() -> None:
            try:
                with self._turn:
                    if not (self._closed or stop.is_set()):
                        read(stop)
            except Exception:
                log.info("nothing was read ahead", exc_info=True)
            finally:
                self._threads.pop(thread, None)

        thread = threading.Thread(target=work, daemon=True)
        self._threads[thread] = (about, stop)
        thread.start()

    def stop(self, about: str) -> None:
        """End what is read about something; what only waits to be read does not begin."""
        for other, stop in list(self._threads.values()):
            if other == about:
                stop.set()

    def close(self) -> None:
        """End what is read, and wait for it."""
        self._closed = True
        for thread, (_, stop) in list(self._threads.items()):
            stop.set()
            thread.join()
