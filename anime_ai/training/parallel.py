"""A training on several devices: the same fit in as many processes, by torch's or accelerate's own launcher.

torchrun runs one process for every device of this machine (data parallelism); accelerate reads its own configuration
file, which may say several machines. Weights are never split (FSDP, DeepSpeed): every process holds a small base whole,
one of them asks the model questions meanwhile, and the optimiser keeps masters of its own. `accelerate launch` silently
starts one process on a CPU, so that the number of processes is looked at before the first step.

python -m torch.distributed.run --nproc_per_node 2 -m anime_ai.training.parallel RUN_FOLDER BUDGET PROCESSES
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import threading
import time
from dataclasses import astuple
from pathlib import Path
from typing import Any

import yaml

from anime_ai.config import Settings
from anime_ai.errors import AnimeAIError, TrainingError
from anime_ai.processes import Process, current, is_alive, usable_cpus
from anime_ai.training import runs
from anime_ai.training.fitting import Job, data_of, fit, layout_of
from anime_ai.training.packing import Packer

SPLIT = ("FSDP", "DEEPSPEED", "MEGATRON_LM")
"""Kinds of accelerate's configuration in which no process holds the whole model."""
TRAINER = "ANIME_AI_TRAINER"
"""The variable that tells the processes who started them."""
LOOK = 1.0
"""Seconds between two looks whether that one is still there."""
OUT_OF_MEMORY = 75
"""Exit status (EX_TEMPFAIL): the parent tries again with smaller packs."""


def command(folder: Path, budget: int, processes: int, accelerate_config: str) -> list[str]:
    """What starts the processes."""
    worker = ["-m", "anime_ai.training.parallel", str(folder), str(budget), str(processes)]
    if accelerate_config:
        file = ["--config_file", accelerate_config, "--num_processes", str(processes)]
        return [sys.executable, "-m", "accelerate.commands.launch", *file, *worker]
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), *worker]


def fit_parallel(job: Job, packer: Packer) -> None:
    """Train in several processes until all have ended. Raises what went wrong in the first of them; MemoryError where
    there was not enough for the packs."""
    # Encoded here, once: the processes would replace the folder under each other.
    data_of(job, layout_of(job))
    settings = Settings.load()
    check_whole(settings.accelerate_config)
    told = command(job.folder, packer.budget, job.recipe.processes, settings.accelerate_config)
    threads = max(1, usable_cpus() // job.recipe.processes)
    env = {"OMP_NUM_THREADS": str(threads), **os.environ, TRAINER: json.dumps(astuple(current()))}
    done = subprocess.run(told, env=env, stdin=subprocess.DEVNULL)
    status = runs.read_status(job.folder)
    if status.get("out_of_memory"):
        packer.largest, packer.most_items = int(status["out_of_memory"]), 2
        runs.write_status(job.folder, out_of_memory=None)
        raise MemoryError
    if done.returncode:
        error = status.get("error")
        if isinstance(error, dict):
            raise TrainingError(str(error["key"]), **error.get("values", {}))
        raise TrainingError("training.crashed", why=f"exit status {done.returncode}")


def check_whole(accelerate_config: str) -> None:
    """Raise TrainingError where accelerate's file says that weights are to be split, or cannot be read."""
    if not accelerate_config:
        return
    try:
        told = yaml.safe_load(Path(accelerate_config).read_text(encoding="utf-8"))
        kind = str(told.get("distributed_type", ""))
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())[:200]
        raise TrainingError("training.accelerate_file", path=accelerate_config, why=why) from error
    if kind.upper() in SPLIT:
        raise TrainingError("training.split_weights", path=accelerate_config, kind=kind)


def leave_with(trainer: Process) -> None:
    """End this process, and with it all that its launcher started, once the trainer is gone, however it ended: the run
    counts as interrupted then, and what goes on with it must not meet these."""

    def watch() -> None:
        while is_alive(trainer):
            time.sleep(LOOK)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("budget", type=int)
    parser.add_argument("processes", type=int)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    from anime_ai.training import trainer

    if os.environ.get(TRAINER):  # a launcher of one's own, on several machines, has none
        leave_with(Process(*json.loads(os.environ[TRAINER])))
    first = int(os.environ.get("RANK", "0")) == 0
    packer = Packer(args.budget)

    def notice(key: str, **values: Any) -> None:
        if first:
            trainer.note(args.folder, key, **values)

    try:
        started = int(os.environ.get("WORLD_SIZE", "1"))
        if started != args.processes:
            raise TrainingError("training.processes", wanted=args.processes, started=started)
        fit(trainer.job_of(args.folder), runs.last_checkpoint(args.folder), packer, notice)
    except Exception as error:
        logging.exception("process %s failed", os.environ.get("RANK"))
        if trainer.is_out_of_memory(error) and packer.most_items > 1:
            runs.write_status(args.folder, out_of_memory=packer.largest)
            return OUT_OF_MEMORY
        if first:
            runs.fail(args.folder, error if isinstance(error, AnimeAIError) else trainer.translate(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
