"""Whether the chat's model and a training fit on the same GPU. Knows no engine.

Where they do not, the training has it, and the chat answers from the processors until it is over.
"""

from __future__ import annotations

from collections.abc import Callable

from anime_ai.models.bases import Base
from anime_ai.models.device import Device, pick_device
from anime_ai.training.memory import FIXED, ROOM, weight_bytes
from anime_ai.training.runs import Run, metrics

AT_WORK = ("starting", "running", "stopping")


class Sharing:
    """`runs` tells the training runs; `device` the accelerator."""

    def __init__(self, runs: Callable[[], list[Run]], device: Callable[[], Device] = pick_device) -> None:
        self._runs, self._device = runs, device

    def crowded(self, base: Base) -> bool:
        """Whether a training is at work on a GPU that cannot hold this base beside it."""
        at_work = [run for run in self._runs() if run.state in AT_WORK]
        if not at_work:  # without looking at the device: that loads torch
            return False
        device = self._device()
        if device.kind != "cuda":
            return False
        chat = weight_bytes(base.parameters(), False) + FIXED
        return chat + max(map(self._needed, at_work)) + FIXED > ROOM * device.memory

    def _needed(self, run: Run) -> float:
        """Bytes of a run: the most that it told, and before it told anything what a base of the size of the chat's
        takes with its activations."""
        told = [float(line["memory_mb"]) * 2**20 for line in metrics(run.folder) if line.get("memory_mb")]
        return max(told) if told else 0.5 * ROOM * self._device().memory
