"""The process that llama.cpp lives in: a broken file or state ends it, not the app. Knows no prompts.

    python -m anime_ai.models.llama_child '{"model": …, "adapters": […], …}'

Its HTTP listener is on loopback, behind a key that comes in the environment. It ends when the app has ended.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from anime_ai.files import write_json
from anime_ai.processes import Process, ignore_interrupts, is_alive

KEY = "ANIME_AI_CHILD_KEY"
READ = 64
"""Prompt tokens that are read between two looks at whether somebody still waits: a bit over a second of a 1.5 B model
on two cores."""
LOOK = 0.5
"""Seconds between two looks at the parent."""


def main(told: dict[str, Any]) -> None:
    import xllamacpp

    ignore_interrupts()
    server = xllamacpp.Server(_params(xllamacpp, told, os.environ.pop(KEY)))
    write_json(Path(told["ready"]), {"address": server.listening_address})
    parent = Process(*told["parent"])
    while is_alive(parent):
        time.sleep(LOOK)
    # Not through the server's destructor, which waits for answers at work.
    os._exit(0)


def _params(xllamacpp: Any, told: dict[str, Any], key: str) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = told["model"]
    params.model_alias = {"model"}  # answers would carry the path
    params.n_ctx, params.n_parallel, params.kv_unified = told["cells"], told["slots"], True
    params.n_batch = params.n_ubatch = READ
    for threads in (params.cpuparams, params.cpuparams_batch):
        threads.n_threads = told["threads"]
    params.n_gpu_layers = told["gpu_layers"]
    params.fit_params = False
    # Weights are laid out anew for the processor: a mapped file would stand in memory beside its copy.
    params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
    params.warmup = False
    params.verbosity = 2  # warnings and errors
    # The listener: closed to pages and to other users of the machine.
    params.hostnames, params.api_keys, params.cors_origins = ["127.0.0.1"], [key], "null"
    params.ui = params.endpoint_metrics = params.endpoint_props = False
    # Slots are pinned and kept by the engine itself.
    params.endpoint_slots, params.slot_save_path, params.cache_ram_mib = True, told["states"] + os.sep, 0
    params.lora_adapters = [_adapter(xllamacpp, path) for path in told["adapters"]]
    return params


def _adapter(xllamacpp: Any, path: str) -> Any:
    adapter = xllamacpp.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = path, 0.0
    return adapter


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
