"""What torch computes on here, and whether it could do better with the NVIDIA card at hand. Imports no torch."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anime_ai.doctor.check import Check, Speaker
from anime_ai.doctor.packages import PAIR, TORCH_INDEX, pair_command


@dataclass(frozen=True)
class Card:
    """An NVIDIA card as its driver tells it; fields are empty or 0 where only its presence is known."""

    name: str = ""
    driver: str = ""
    capability: float = 0.0


def nvidia_card() -> Card | None:
    """The first NVIDIA card of this machine, whether or not torch can use it."""
    program = shutil.which("nvidia-smi")
    if program:
        asked = [program, "--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader"]
        try:
            done = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, timeout=15, check=False)
        except (OSError, subprocess.TimeoutExpired):
            done = None
        lines = done.stdout.decode(errors="replace").strip().splitlines() if done and done.returncode == 0 else []
        if lines:
            name, driver, capability, *_ = [*(part.strip() for part in lines[0].split(",")), "", "", ""]
            return Card(name, driver, float(capability) if re.fullmatch(r"\d+\.\d+", capability) else 0.0)
    try:
        return Card() if any(Path("/proc/driver/nvidia/gpus").iterdir()) else None
    except OSError:
        return None


def cuda_command(card: Card) -> str:
    """What installs a torch that can use `card`, from PyTorch's own index (on Windows PyPI's torch is a CPU build).

    CUDA 13 needs driver 580 and Turing (7.5) or newer; Blackwell (10.0) needs CUDA 12.8; CUDA 12.6 serves the rest.
    """
    major = int(card.driver.partition(".")[0]) if card.driver[:1].isdigit() else 0
    if major >= 580 and card.capability >= 7.5:
        build = "cu130"
    else:
        build = "cu128" if card.capability >= 10 else "cu126"
    return f"pip install --upgrade --force-reinstall {PAIR} --index-url {TORCH_INDEX}/{build}"


def device_checks(report: Mapping[str, Any], card: Card | None, say: Speaker) -> list[Check]:
    """Which device torch computes on, and in which precisions; `report` is the probe's, empty where torch is broken."""
    name = (card.name or "NVIDIA") if card else ""
    if "kind" not in report:
        cause = (report.get("causes") or [say("no_torch")])[-1]
        return [Check("device", False, cause, say("mend.packages_first"))]
    kind = report["kind"]
    short = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
    able = [short[precision] for precision in report["precisions"]]
    precision = Check("precision", "fp32" in able, ", ".join(able) or report.get("error", "?"))
    if not precision.ok:
        precision = Check("precision", False, precision.found, say("mend.command", command=pair_command()))
    if kind == "cuda":
        gib = report["memory"] / 1024**3
        found = say("device.cuda", card=report["card"], gib=f"{gib:.1f}", count=report["count"])
        return [Check("device", precision.ok, found, precision.mend), precision]
    if kind == "mps":
        return [Check("device", True, say("device.mps")), precision]
    if card and not report["cuda"] and not report["hip"]:
        command = cuda_command(card)
        return [
            Check("device", False, say("device.cpu_build", card=name), say("mend.command", command=command)),
            precision,
        ]
    if card:
        found = say("device.driver", card=name, driver=card.driver or "?", cuda=report["cuda"] or "?")
        return [Check("device", False, found, say("mend.driver", command=cuda_command(card))), precision]
    return [Check("device", True, say("device.cpu")), precision]
