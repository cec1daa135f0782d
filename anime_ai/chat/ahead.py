"""What is read between two turns, while nobody waits for it. Knows neither engines nor what is read."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger("anime_ai.chat")


class Ahead:
    """Readings run one after another in threads of their own. Each is given the event that asks it to end."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._closed = threading.Event()
        self._threads: set[threading.Thread] = set()

    def start(self, read: Callable[[threading.Event], None]) -> None:
        """Read in the background. What goes wrong is only noted: the answer that needs it meets it again and tells."""

        def work() -> None:
            try:
                with self._turn:
                    if not self._closed.is_set():
                        read(self._closed)
            except Exception:
                log.info("nothing was read ahead", exc_info=True)
            finally:
                self._threads.discard(thread)

        thread = threading.Thread(target=work, daemon=True)
        self._threads.add(thread)
        thread.start()

    def close(self) -> None:
        """End what is read, and wait for it."""
        self._closed.set()
        for thread in list(self._threads):
            thread.join()
