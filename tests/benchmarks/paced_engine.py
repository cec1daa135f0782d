"""An engine that only waits: so many tokens a second for each who asks, as many as ask. And the app over it.

python tests/benchmarks/paced_engine.py FOLDER PACE     the address is the first line of the output
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

from anime_ai.config import Settings
from anime_ai.models.bases import Base, find_base
from anime_ai.models.engine import Piece, Sampling

TOKENS = 300


class PacedEngine:
    """Another engine's tokenizer and layouts, and answers of TOKENS words. `pace` 0 does not wait."""

    name = "paced"
    loaded = True
    reading_pace = None
    device = None

    def __init__(self, engine: Any, pace: float) -> None:
        self.base, self.pace = engine.base, pace
        self.tokenizer, self.layout = engine.tokenizer, engine.layout

    def context_length(self) -> int:
        return 4096

    def close(self) -> None:
        return

    def prepare(self, *_: Any) -> None:
        return

    def stream(
        self,
        prompt: Any,
        adapter: Any = None,
        cache_key: str = "",
        sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
        stop: threading.Event | None = None,
    ) -> Generator[Piece, None, None]:
        began, count = time.monotonic(), min(TOKENS, sampling.max_new_tokens)
        for number in range(count):
            if self.pace and (left := began + number / self.pace - time.monotonic()) > 0:
                time.sleep(left)
            if stop is not None and stop.is_set():
                return
            yield Piece("嗯，好呀。"[number % 5], (5,), ended=number == count - 1)


def base_of(settings: Settings) -> Base:
    return find_base("starter", settings)


def main() -> None:
    from anime_ai.studio import Studio
    from anime_ai.ui.launch import free_port, launch

    limits = {"visitors_messages_per_minute": 0, "visitors_per_address": 0, "owner_password": "二十位客人"}
    settings = Settings.load(output_dir=Path(sys.argv[1]), model_name="starter", **limits)
    with Studio.open(settings) as studio:
        studio.chat._engine = PacedEngine(studio.chat.engine(base_of(settings)), float(sys.argv[2]))
        demo = launch(studio, port=free_port("127.0.0.1", 21_000 + os.getpid() % 1000))
        print(demo.local_url.rstrip("/"), flush=True)
        try:
            while True:
                time.sleep(1)
        finally:
            demo.close(verbose=False)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        main()
