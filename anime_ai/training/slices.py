"""A training in slices of time, where a GPU is lent for two minutes at once (ZeroGPU Spaces). Knows no Space.

Every slice ends with a checkpoint on the disk, and the next one goes on from it: the losses are those of a training
that was never interrupted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from anime_ai.errors import AnimeAIError
from anime_ai.processes import Lock, current
from anime_ai.training import runs, trainer

LIMIT = 110.0
"""Seconds that a slice may take, loading and saving included: ZeroGPU ends a call after 120."""

Lent = Callable[..., bool]
Lend = Callable[[Lent], Lent]
"""Makes a function run where the GPU is: `spaces.GPU(duration=120)` there, nothing elsewhere."""


class Slice:
    """Says when it is time to stop: when another step as slow as the slowest, and the saving behind it, might be too
    long."""

    def __init__(self, seconds: float = LIMIT, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.ends = clock, clock() + seconds
        self._last: float | None = None
        self._slowest = 0.0

    def __call__(self) -> bool:
        now = self.clock()
        if self._last is not None:
            self._slowest = max(self._slowest, now - self._last)
        self._last = now
        return now + 2 * self._slowest >= self.ends


def train_slice(folder: Path, resume: bool, seconds: float = LIMIT) -> bool:
    """One slice of a run; whether the run has ended."""
    return trainer.train(folder, resume, Slice(seconds))


def train_in_slices(folder: Path, lock: Path, lent: Lent, resume: bool = False) -> None:
    """A whole run, slice by slice, in this thread. How it ended stands in the run folder."""
    me, held = current(), Lock(lock)
    try:
        runs.write_status(folder, state="queued", pid=me.pid, started=me.started, error=None)
        while not held.try_acquire():
            if (folder / runs.STOP).exists():
                runs.write_status(folder, state="stopped")
                return
            time.sleep(0.5)
        runs.write_status(folder, state="starting")
        while not lent(folder, resume):
            resume = True
    except AnimeAIError as error:
        runs.fail(folder, error)
    except Exception as error:
        runs.fail(folder, trainer.translate(error))
    finally:
        held.release()


def launch_in_slices(lend: Lend) -> Callable[..., Any]:
    """What starts a run of the queue in slices, beside the app, in the place of `runs.launch`.

    The slice is lent here and now: a ZeroGPU Space that has lent nothing when its page opens is not started. It has the
    variables of this process: on a Space they are all the settings that there are."""
    lent = lend(train_slice)

    def launch(folder: Path, lock: Path, resume: bool = False, env: Mapping[str, str] | None = None) -> None:
        me = current()
        (folder / runs.STOP).unlink(missing_ok=True)
        runs.write_status(folder, state="starting", pid=me.pid, started=me.started, error=None)
        threading.Thread(target=train_in_slices, args=(folder, lock, lent, resume), daemon=True).start()

    return launch
