"""What this machine computes with: device, precision, memory. Knows no models."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal

Precision = Literal["bf16", "fp16", "fp32"]
SMALL = 100_000_000
"""Parameters under which 16 bits save nothing that matters and cost accuracy."""


@dataclass(frozen=True)
class Device:
    """`kind` is cuda, mps or cpu; `memory` is bytes on the device (on cpu and mps: what the process may use)."""

    kind: str
    name: str
    memory: int
    bf16: bool
    fp16: bool

    def precision(self, parameters: int, wanted: str = "auto", sixteen: bool = True) -> Precision:
        """The precision to compute in: what was asked for if the device can, else the next that it can."""
        if wanted == "fp32" or (wanted == "auto" and (not sixteen or parameters < SMALL)):
            return "fp32"
        if self.bf16 and wanted in ("auto", "bf16"):
            return "bf16"
        if self.fp16:
            return "fp16"
        return "bf16" if self.bf16 else "fp32"


def pick_device() -> Device:
    """The best device of this machine: cuda, then mps, then cpu."""
    import torch

    from anime_ai.processes import usable_memory

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return Device("cuda", properties.name, properties.total_memory, bf16=native, fp16=True)
    if torch.backends.mps.is_available():
        return Device("mps", "Apple", usable_memory(), bf16=True, fp16=True)
    return cpu_device()


def cpu_device() -> Device:
    """This machine's processors, whatever accelerator stands beside them."""
    import torch

    from anime_ai.processes import usable_memory

    # Without the instructions bf16 is emulated on a CPU, several times slower than fp32.
    fast = bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
    return Device("cpu", "CPU", usable_memory(), bf16=fast, fp16=False)


def torch_dtype(precision: Precision) -> Any:
    import torch

    return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]


def let_threads_sleep() -> None:
    """Call before torch is imported: its threads sleep while they wait for each other, and do not spin.

    Chat, page and trainer share a machine: where the cores are busy, a spinning thread keeps the one it waits for from
    running.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def use_allowed_threads() -> int:
    """Make torch use the cores that this process may use, not those of the host, unless the user said how many."""
    import torch

    from anime_ai.processes import usable_cpus

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(usable_cpus())
    return torch.get_num_threads()
