"""The child process that tries to import packages: `probe.py MODULE_PATH_JSON REPORT NAME:PART…`.

Appends a JSON line to REPORT before and after each import, and one about torch's device at the end. Knows nothing of
`anime_ai`, and imports nothing but what it is told to.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import sysconfig
import traceback
import warnings
from typing import Any


def main(module_path: str, report: str, *specs: str) -> None:
    # The parent's path, so that this process imports what the parent would.
    sys.path[:] = json.loads(module_path)
    with open(report, "a", encoding="utf-8") as file:

        def tell(**fields: Any) -> None:
            file.write(json.dumps(fields) + "\n")
            file.flush()

        names = []
        for spec in specs:
            name, _, part = spec.partition(":")
            names.append(name)
            tell(begin=name)
            try:
                tell(name=name, version=_import(name, part))
            except BaseException as error:  # a package may raise anything, SystemExit too
                tell(name=name, **_explain(error))
        if "torch" in names and hasattr(sys.modules.get("torch"), "cuda"):
            tell(begin="device")
            tell(name="device", **_device(sys.modules["torch"]))


def _import(name: str, part: str) -> str:
    """Import a package and, where it loads its parts late, one of them; its version."""
    module = importlib.import_module(name)
    if part.startswith("."):
        importlib.import_module(part, name)
    elif part:
        getattr(module, part)
    return str(getattr(module, "__version__", ""))


def _explain(error: BaseException) -> dict[str, Any]:
    """The chain of causes, last the first of them, a line each; whose code raised that one; the whole trace.

    Only explicit causes are followed: what was merely being handled ("No module named ujson") is mostly no cause.
    """
    chain = [error]
    while chain[-1].__cause__ is not None and len(chain) < 20:
        chain.append(chain[-1].__cause__)
    lines = [f"{type(one).__name__}: {one}".strip().splitlines()[0][:400] for one in chain]
    trace = "".join(traceback.format_exception(error))[-8000:]
    return {"causes": lines, "culprit": _culprit(chain[-1]), "trace": trace}


def _culprit(error: BaseException) -> str:
    """Top-level name of the package whose code raised `error` or which it misses, "" where that is unknown."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return error.name.partition(".")[0]
    standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        around = [folder for folder in sys.path if frame.filename.startswith(folder + os.sep)]
        folder = max(around, key=len, default="")
        if folder and folder not in standard and frame.filename != __file__:
            return frame.filename[len(folder) + 1 :].partition(os.sep)[0].removesuffix(".py")
    return ""


def _device(torch: Any) -> dict[str, Any]:
    """What torch computes on, and in which precisions a small product comes out right there."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found: dict[str, Any] = {"kind": "cpu", "cuda": torch.version.cuda, "hip": torch.version.hip, "error": ""}
        if torch.cuda.is_available():
            card = torch.cuda.get_device_properties(0)
            found |= {
                "kind": "cuda",
                "card": card.name,
                "memory": card.total_memory,
                "count": torch.cuda.device_count(),
            }
        elif torch.backends.mps.is_available():
            found["kind"] = "mps"
        able = []
        for name in ("float32", "bfloat16", "float16"):
            try:
                number = torch.ones(64, 64, dtype=getattr(torch, name), device=found["kind"])
                if (number @ number == 64).all().item():  # their sum is beyond float16
                    able.append(name)
            except Exception as error:
                found["error"] = found["error"] or f"{type(error).__name__}: {error}".splitlines()[0]
        if found["kind"] == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
            able = [name for name in able if name != "bfloat16"]
    if caught and not found["error"]:
        found["error"] = str(caught[-1].message).splitlines()[0]
    return {**found, "precisions": able}


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # some packages crash or hang when the interpreter ends
