"""The trainer: a process of its own that turns a run folder's rows into an adapter. Knows the run folder, not the app.

python -m anime_ai.training.trainer RUN_FOLDER ACCELERATOR_LOCK [--resume]
"""

from __future__ import annotations

import argparse
import errno
import logging
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anime_ai.config import Settings
from anime_ai.errors import AnimeAIError, ModelError, TrainingError
from anime_ai.files import read_json
from anime_ai.models.bases import find_base
from anime_ai.models.device import let_threads_sleep
from anime_ai.processes import Lock, current, lower_priority
from anime_ai.training import runs
from anime_ai.training.fitting import Job, fit
from anime_ai.training.packing import Packer
from anime_ai.training.parallel import fit_parallel
from anime_ai.training.recipe import Recipe

log = logging.getLogger("anime_ai.trainer")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("lock", type=Path)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    folder: Path = args.folder
    signal.signal(signal.SIGTERM, lambda *_: runs.request_stop(folder))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lower_priority()
    let_threads_sleep()
    me = current()
    _wait_for_starter(folder, me.pid)
    try:
        runs.write_status(folder, state="queued", pid=me.pid, started=me.started, error=None)
        lock = Lock(args.lock)
        while not lock.try_acquire():
            if (folder / runs.STOP).exists():
                runs.write_status(folder, state="stopped")
                return 0
            time.sleep(0.5)
        runs.write_status(folder, state="starting")
        train(folder, args.resume)
    except AnimeAIError as error:
        log.error("%s", error.say("en"))
        runs.fail(folder, error)
        return 1
    except Exception as error:
        log.exception("the run failed")
        runs.fail(folder, translate(error))
        return 1
    return 0


def _wait_for_starter(folder: Path, pid: int) -> None:
    """Until whoever started this process has written down its pid, or is gone: two must not write the status."""
    end = time.monotonic() + 3
    while (read_json(folder / runs.STATUS) or {}).get("pid") != pid and time.monotonic() < end:
        time.sleep(0.02)


def translate(error: Exception) -> AnimeAIError:
    """What a user can do about an exception of torch, of the disk, or of nobody knows whom."""
    if _is_disk_full(error):
        return TrainingError("training.disk_full")
    if is_out_of_memory(error):
        return TrainingError("training.out_of_memory")
    first = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return TrainingError("training.crashed", why=f"{type(error).__name__}: {first}")


_FULL = ("No space left", "os error 28", "File too large", "PytorchStreamWriter failed", "enforce fail at inline")


def _is_disk_full(error: BaseException | None) -> bool:
    """Python tells it by a number, safetensors in words, torch only in that its writer died."""
    while error is not None:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if full or any(word in str(error) for word in _FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_out_of_memory(error: Exception) -> bool:
    return (
        type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
        or "not enough memory" in str(error)
        or isinstance(error, MemoryError)
    )


def job_of(folder: Path, resume: bool = True) -> Job:
    """What a run folder says is to be done. Raises TrainingError, and ModelError where it began upon other weights."""
    config = read_json(folder / runs.CONFIG)
    if not isinstance(config, dict):
        raise TrainingError("training.no_run", path=folder)
    settings = Settings.load()
    recipe = Recipe.from_values(config["recipe"], settings)
    status = runs.read_status(folder)
    # What `auto` meant when the run began is what its checkpoints fit.
    named = status.get("base") if resume and recipe.base == "auto" else None
    base = find_base(named or recipe.base, settings, download=True)
    base.need_weights()
    if resume and status.get("base_fingerprint", weights := base.fingerprint()) != weights:
        raise ModelError("model.adapter_base_changed", path=folder, base=base.id)
    return Job(folder, recipe, base, str(config.get("dataset", "")), str(config.get("dataset_sha256", "")))


def train(folder: Path, resume: bool, time_is_up: Callable[[], bool] = lambda: False) -> bool:
    """Train until the end, or until the time is up: False then, and a checkpoint waits."""
    job = job_of(folder, resume)
    runs.write_status(folder, base=job.base.id, base_fingerprint=job.base.fingerprint())

    def notice(key: str, **values: Any) -> None:
        note(folder, key, **values)

    if not resume:
        shutil.rmtree(folder / runs.CHECKPOINTS, ignore_errors=True)
    packer = Packer()
    while True:
        runs.drop_unfinished(folder)
        checkpoint = runs.last_checkpoint(folder)
        runs.forget_after(folder, int(checkpoint.name.rpartition("-")[2]) if checkpoint else -1)
        try:
            if job.recipe.processes == 1:
                return fit(job, checkpoint, packer, notice, time_is_up)
            fit_parallel(job, packer)
            return True
        except Exception as error:
            if not is_out_of_memory(error) or not packer.halve():
                raise
            notice("training.smaller_packs", tokens=packer.budget)
        import gc

        import torch

        gc.collect()
        torch.cuda.empty_cache()


def note(folder: Path, key: str, **values: Any) -> None:
    """A line that the page shows beside the run (text key under "notice.")."""
    notices = (read_json(folder / runs.STATUS) or {}).get("notices") or []
    line = {"key": key, "values": values}
    if line not in notices:
        runs.write_status(folder, notices=[*notices, line])


if __name__ == "__main__":
    sys.exit(main())
