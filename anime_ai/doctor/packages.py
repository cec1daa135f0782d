"""Which heavy packages can be imported here, and the first cause where one cannot.

Each is imported in a child process, so that one that crashes or hangs takes nothing else along. Knows no device.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from anime_ai.doctor.check import Check, Speaker

# What to import and, where the package loads its parts late, one of them: an attribute, or a ".module" of its own.
# Two groups, one child process each.
TORCH_GROUP = {
    "torch": "",
    "torchvision": "",
    "transformers": "AutoModelForCausalLM",
    "datasets": "",
    "accelerate": "",
    "bitsandbytes": "",
    "peft": "",
    "sentence_transformers": "",
    "open_clip": "",
}
OTHER_GROUP = {
    "gradio": "",
    "sqlalchemy": "",
    "alembic": "",
    "sklearn": "",
    "langchain_core": ".prompts",
    "langchain_community": "",
    "langchain_chroma": "",
    "langchain_huggingface": "",
    "chromadb": "",
    "opencc": "OpenCC",
    "pypdfium2": "",
    "mammoth": "",
    "bs4": "",
    "lxml": ".etree",
    "pysubs2": "",
    "markdown_it": "",
    "PIL": ".Image",
    "onnxruntime": "",
    "xllamacpp": "",
    "gguf": "",
    "huggingface_hub": "",
}
_PARTS = {**TORCH_GROUP, **OTHER_GROUP}
PACKAGES = tuple(_PARTS)
"""Import names of the packages that are checked."""

PROBE_SECONDS = 120.0
"""Until a package that is still being imported counts as hanging; the slowest takes seconds."""
TORCH_INDEX = "https://download.pytorch.org/whl"
PAIR = "torch torchvision"
# Python 3.10 finds a distribution by its import name only where an old file of its wheel lists it.
_OTHER_NAMES = {
    "bs4": "beautifulsoup4",
    "sklearn": "scikit-learn",
    "open_clip": "open-clip-torch",
    "PIL": "pillow",
    "markdown_it": "markdown-it-py",
    "yaml": "PyYAML",
}
_PROGRAM = Path(__file__).with_name("probe.py")
_asking = threading.Lock()


def broken_packages(names: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Import name → the first cause, in the package's own words, for those of `names` that cannot be imported.

    The first call for the same names takes seconds and a child process, later ones nothing: call it off the page's
    way. A package that is mended needs a restart of the app anyway.
    """
    with _asking:
        return dict(_broken(tuple(names)))


@cache
def _broken(names: tuple[str, ...]) -> dict[str, str]:
    return {name: report["causes"][-1] for name, report in probe(names).items() if report.get("causes")}


def probe(names: tuple[str, ...], seconds: float | None = None) -> dict[str, dict[str, Any]]:
    """What the child process reports of each name, and of "device" where torch is among them.

    A child that dies or hangs breaks the package that it was importing; another child goes on with the next.
    """
    reports: dict[str, dict[str, Any]] = {}
    left = list(names)
    with tempfile.TemporaryDirectory(prefix="anime-ai-doctor-", ignore_cleanup_errors=True) as folder:
        while left:
            file = Path(folder) / f"{len(left)}.jsonl"
            file.touch()
            ended = _run_child(file, left, PROBE_SECONDS if seconds is None else seconds)
            begun = ""
            for line in file.read_text(encoding="utf-8").splitlines():
                fields = json.loads(line)
                begun = fields.get("begin", begun)
                if "name" in fields:
                    reports[fields["name"]] = fields
            if begun and begun not in reports:
                reports[begun] = {"name": begun, "causes": [ended], "culprit": begun}
            done = [name for name in left if name in reports]
            if not done:  # not even the first import began
                reports.update({name: {"name": name, "causes": [ended], "culprit": ""} for name in left})
            left = [name for name in left if name not in reports]
    return reports


def _run_child(file: Path, names: list[str], seconds: float) -> str:
    """Import `names` in a child that reports to `file`; how it ended, in a line."""
    specs = [f"{name}:{_PARTS.get(name, '')}" for name in names]
    # The path as this process has it now, made absolute, so that the child imports what the app would.
    path = json.dumps([os.path.abspath(entry) for entry in sys.path])
    command = [sys.executable, "-W", "ignore", "-X", "utf8", str(_PROGRAM), path, str(file), *specs]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no end after {seconds:.0f} s"
    except OSError as error:
        return str(error)
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return f"exit status {done.returncode}" + (f", {said[-1][:300]}" if said else "")


def package_check(name: str, report: Mapping[str, Any], say: Speaker) -> Check:
    causes: list[str] = report.get("causes", [])
    if not causes:
        return Check(name, True, report.get("version") or installed(name) or say("installed"))
    whole = report.get("trace", "")
    if "torchvision::" in whole:
        pair = {"torch": installed("torch"), "torchvision": installed("torchvision"), "cause": causes[-1]}
        return Check(name, False, say("mismatch", **pair), say("mend.command", command=pair_command()))
    if "DLL load failed" in whole or "WinError 126" in whole or "WinError 1114" in whole:
        return Check(name, False, causes[-1], say("mend.visual_cpp"))
    culprit = report.get("culprit") or name
    if causes[-1].startswith("ModuleNotFoundError") and not distribution(culprit):
        return Check(name, False, causes[-1], say("mend.command", command="pip install -r requirements.txt"))
    command = f"pip install --upgrade --force-reinstall {distribution(culprit) or distribution(name) or name}"
    return Check(name, False, causes[-1], say("mend.command", command=command))


def pair_command() -> str:
    """What installs torch and torchvision as a matching pair, of the same build as the torch that is there."""
    _, _, build = installed("torch").partition("+")
    index = f" --index-url {TORCH_INDEX}/{build}" if build else ""
    return f"pip install --upgrade --force-reinstall {PAIR}{index}"


def distribution(name: str) -> str:
    """The distribution that an import name belongs to, "" where none is installed."""
    for likely in (_OTHER_NAMES.get(name, name), *_distributions().get(name, ())):
        try:
            return importlib.metadata.metadata(likely)["Name"]
        except (importlib.metadata.PackageNotFoundError, ValueError):
            continue
    return ""


@cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def installed(name: str) -> str:
    """The version of the distribution that an import name belongs to, "" where none is installed."""
    found = distribution(name)
    return importlib.metadata.version(found) if found else ""
