"""Which tabs have what they need. Asks the doctor once per environment, behind the page's back; knows no tab."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from anime_ai.files import read_json, write_json

NEEDS = {
    "chat": ("torch", "transformers", "peft", "langchain_core", "opencc"),
    "knowledge": ("opencc",),
    "training": ("torch", "transformers", "peft", "datasets", "accelerate"),
}
"""Import names of the packages that a tab cannot do without."""

log = logging.getLogger("anime_ai.ui")


class Health:
    """What is known so far; nothing until `start`, whose answer is kept in `file` until a package is changed."""

    def __init__(self, file: Path, ask: Callable[[Iterable[str]], Mapping[str, str]] | None = None) -> None:
        self.file = file
        self._ask = ask
        self._broken: dict[str, str] = {}

    def start(self) -> threading.Thread:
        """Begin to find out; returns at once."""
        thread = threading.Thread(target=self.look, name="health", daemon=True)
        thread.start()
        return thread

    def look(self) -> None:
        """Take the kept answer, or ask the doctor: seconds, in child processes of its own."""
        try:
            mark = environment_mark()
            kept = read_json(self.file)
            if isinstance(kept, dict) and kept.get("environment") == mark and isinstance(kept.get("broken"), dict):
                self._broken = {str(name): str(why) for name, why in kept["broken"].items()}
                return
            from anime_ai.doctor import broken_packages

            names = sorted({name for needed in NEEDS.values() for name in needed})
            self._broken = dict((self._ask or broken_packages)(names))
            # What is broken may be mended without a new version: only a clean answer is kept.
            if not self._broken:
                write_json(self.file, {"environment": mark, "broken": {}})
        except Exception:
            log.exception("the packages could not be checked")

    def broken(self, tab: str) -> dict[str, str]:
        """Package → first cause, of those that this tab needs."""
        return {name: self._broken[name] for name in NEEDS.get(tab, ()) if name in self._broken}


def environment_mark() -> str:
    """Changes whenever a package is installed, removed or upgraded."""
    found = sorted(f"{one.name} {one.version}" for one in importlib.metadata.distributions())
    return hashlib.sha256("\n".join(found).encode()).hexdigest()
