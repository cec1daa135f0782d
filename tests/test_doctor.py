"""The doctor, on packages that are really broken: a folder with a bad one stands first on the module path."""

from __future__ import annotations

import http.server
import json
import os
import runpy
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from anime_ai.config import ROOT, Settings
from anime_ai.doctor import PACKAGES, Check, check_all, machine
from anime_ai.doctor.check import Speaker
from anime_ai.doctor.device import Card, cuda_command, device_checks, nvidia_card
from anime_ai.doctor.packages import broken_packages, installed, package_check, probe
from anime_ai.storage import Database

SAY = Speaker("en")
NMS = 'raise RuntimeError("operator torchvision::nms does not exist")\n'


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a package with the given code in front of the installed ones."""
    folder = tmp_path / "first on the path"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)

    def put(name: str, code: str) -> None:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(code, encoding="utf-8")

    return put


def test_a_whole_package_says_its_version() -> None:
    reports = probe(("numpy", "gguf"))
    checks = [package_check(name, reports[name], SAY) for name in ("numpy", "gguf")]
    assert checks == [Check(name, True, installed(name)) for name in ("numpy", "gguf")]


def test_what_looks_at_pictures_and_reads_markdown_is_checked_too() -> None:
    named = ("onnxruntime", "PIL", "markdown_it")
    assert set(named) <= set(PACKAGES)
    assert broken_packages(named) == {}
    assert all(installed(name) for name in named)


def test_a_missing_package_leads_to_the_requirements() -> None:
    check = package_check("no_such_package", probe(("no_such_package",))["no_such_package"], SAY)
    assert not check.ok
    assert check.found == "ModuleNotFoundError: No module named 'no_such_package'"
    assert "pip install -r requirements.txt" in check.mend


def test_the_first_cause_is_named_behind_a_misleading_message(broken: Callable[[str, str], None]) -> None:
    broken("torchvision", NMS)
    report = probe(("peft",))["peft"]
    assert "PreTrainedModel" in report["causes"][0]  # what a user would see, and search for in vain
    check = package_check("peft", report, SAY)
    assert not check.ok
    assert "torchvision::nms" in check.found
    assert f"torch {installed('torch')} and torchvision {installed('torchvision')}" in check.found
    assert "--force-reinstall torch torchvision" in check.mend


def test_a_broken_package_does_not_break_the_next(broken: Callable[[str, str], None]) -> None:
    broken("peft", "raise ImportError(\"cannot import name 'X'\")\n")
    reports = probe(("peft", "gguf", "numpy"))
    assert reports["peft"]["causes"] == ["ImportError: cannot import name 'X'"]
    assert reports["peft"]["culprit"] == "peft"
    assert not any("causes" in reports[name] for name in ("gguf", "numpy"))


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import os\nos._exit(7)\n", "exit status 7"),
        ("import os\nos.abort()\n", "exit status"),
        ("import sys\nsys.exit('no licence')\n", "SystemExit: no licence"),
    ],
)
def test_a_package_that_ends_the_process_is_the_one_that_is_named(
    broken: Callable[[str, str], None], code: str, cause: str
) -> None:
    broken("gguf", code)
    reports = probe(("numpy", "gguf", "psutil"))
    assert reports["gguf"]["causes"][-1].startswith(cause)
    assert "version" in reports["numpy"]
    assert "version" in reports["psutil"]


def test_a_package_that_hangs_is_given_up(broken: Callable[[str, str], None]) -> None:
    broken("gguf", "import time\ntime.sleep(60)\n")
    reports = probe(("gguf", "psutil"), seconds=3.0)
    assert reports["gguf"]["causes"] == ["no end after 3 s"]
    assert "version" in reports["psutil"]


def test_a_fault_in_what_a_package_needs_leads_there(broken: Callable[[str, str], None]) -> None:
    broken("numpy", 'raise ImportError("numpy.core.multiarray failed to import")\n')
    check = package_check("gguf", probe(("gguf",))["gguf"], SAY)
    assert check.mend.endswith("--force-reinstall numpy")


def test_a_library_that_windows_cannot_load_leads_to_its_runtime(broken: Callable[[str, str], None]) -> None:
    broken("torch", 'raise OSError("[WinError 126] The specified module could not be found: c10.dll")\n')
    reports = probe(("torch",))
    assert "Visual C++" in package_check("torch", reports["torch"], SAY).mend
    device, *_ = device_checks(reports.get("device", {}), None, SAY)
    assert not device.ok


def test_broken_packages_are_asked_for_once(broken: Callable[[str, str], None]) -> None:
    broken("gguf", 'raise ImportError("first")\n')
    names = ("gguf", "numpy")
    assert broken_packages(names) == {"gguf": "ImportError: first"}
    (Path(sys.path[0]) / "gguf" / "__init__.py").write_text("", encoding="utf-8")
    assert broken_packages(names) == {"gguf": "ImportError: first"}


def report(kind: str = "cpu", **named: object) -> dict[str, Any]:
    return {"name": "device", "kind": kind, "cuda": None, "hip": None, "error": "", "precisions": ["float32"], **named}


def test_a_cpu_build_beside_an_nvidia_card_names_the_command() -> None:
    card = Card("NVIDIA GeForce RTX 4060", "581.15", 8.9)
    device, precision = device_checks(report(), card, SAY)
    assert not device.ok
    assert "RTX 4060" in device.found
    assert "pip install --upgrade --force-reinstall torch torchvision --index-url" in device.mend
    assert precision.ok


def test_a_card_that_torch_cannot_use_leads_to_the_driver() -> None:
    device, _ = device_checks(report(cuda="13.2"), Card("NVIDIA GeForce GTX 1060", "535.54", 6.1), SAY)
    assert not device.ok
    assert "535.54" in device.found
    assert "driver" in device.mend


def test_a_working_card_and_a_machine_without_one_are_fine() -> None:
    with_card = report("cuda", cuda="13.2", card="H", memory=8 * 2**30, count=1, precisions=["float32", "bfloat16"])
    device, precision = device_checks(with_card, Card("H", "590.1", 9.0), SAY)
    assert (device.ok, precision.found) == (True, "fp32, bf16")
    assert "8.0 GiB" in device.found
    assert [check.ok for check in device_checks(report(), None, SAY)] == [True, True]


def test_a_card_without_kernels_is_not_fine() -> None:
    broken_card = report("cuda", cuda="13.2", card="old", memory=2**31, count=1, precisions=[], error="no kernel image")
    device, precision = device_checks(broken_card, Card("old", "590.1", 5.0), SAY)
    assert not device.ok
    assert precision.found == "no kernel image"


@pytest.mark.parametrize(
    ("card", "build"),
    [
        (Card("RTX 5090", "591.44", 12.0), "cu130"),
        (Card("RTX 5090", "572.16", 12.0), "cu128"),
        (Card("GTX 1060", "581.15", 6.1), "cu126"),
        (Card("RTX 3060", "551.23", 8.6), "cu126"),
        (Card(), "cu126"),
    ],
)
def test_the_build_fits_driver_and_card(card: Card, build: str) -> None:
    assert cuda_command(card).endswith(f"/{build}")


def test_a_precision_is_listed_where_a_product_comes_out_right() -> None:
    import torch

    asked = runpy.run_path(str(ROOT / "anime_ai" / "doctor" / "probe.py"))["_device"]
    here = ["float32", "bfloat16", "float16"]
    assert asked(cpu_only(torch))["precisions"] == here

    def ones(*size: int, dtype: Any, device: str) -> Any:
        if dtype is torch.bfloat16:
            raise RuntimeError("no kernel image")
        return torch.ones(*size, dtype=dtype)

    about = SimpleNamespace(name="an old card", total_memory=2**31)
    card = SimpleNamespace(
        is_available=lambda: True,
        get_device_properties=lambda number: about,
        device_count=lambda: 1,
        is_bf16_supported=lambda **more: False,
    )
    old = SimpleNamespace(**{**vars(cpu_only(torch)), "cuda": card, "ones": ones})
    assert asked(old)["precisions"] == ["float32", "float16"]


def cpu_only(torch: Any) -> SimpleNamespace:
    """What the probe asks of torch, on the processor, whatever card is here."""
    nothing = SimpleNamespace(is_available=lambda: False)
    kinds = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16", "version", "ones")}
    return SimpleNamespace(cuda=nothing, backends=SimpleNamespace(mps=nothing), **kinds)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for nvidia-smi is a shell script")
def test_a_card_is_found_by_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA GeForce RTX 4060, 581.15, 8.9'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert nvidia_card() == Card("NVIDIA GeForce RTX 4060", "581.15", 8.9)
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n", encoding="utf-8")
    assert nvidia_card() in (None, Card())


def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("", encoding="utf-8")
    writable, disk = machine.folders(Settings.load(output_dir=tmp_path / "taken"), SAY)
    assert not writable.ok
    assert str(tmp_path / "taken") in writable.mend
    assert disk.name == "disk"


def test_an_output_folder_is_not_made(settings: Settings) -> None:
    writable, _ = machine.folders(settings, SAY)
    assert writable.ok
    assert not settings.output_dir.exists()


def test_the_database_is_read_and_left_as_it_is(settings: Settings) -> None:
    assert machine.database(settings, SAY).ok
    assert not settings.output_dir.exists()
    with Database.open(settings):
        pass
    found = machine.database(settings, SAY)
    assert found.ok
    file = settings.studio_dir / "studio.db"
    assert str(file) in found.found
    file.write_bytes(b"not a database at all" * 100)
    broken = machine.database(settings, SAY)
    assert (broken.ok, broken.found) == (False, "file is not a database")


def test_a_torn_database_is_noticed(settings: Settings) -> None:
    file = settings.studio_dir / "studio.db"
    with Database.open(settings):
        pass
    with closing(sqlite3.connect(file)) as raw:
        raw.execute("PRAGMA journal_mode = DELETE")
        page = raw.execute("PRAGMA page_size").fetchone()[0]
    content = bytearray(file.read_bytes())
    content[page : 2 * page] = b"\xff" * page
    file.write_bytes(content)
    assert not machine.database(settings, SAY).ok


def test_the_password_of_a_database_server_is_not_shown(tmp_path: Path) -> None:
    url = f"sqlite://somebody:secret@/{(tmp_path / 'x.db').as_posix()}"
    assert "secret" not in str(machine.database(Settings.load(database_url=url), SAY))


def test_a_named_model_that_is_not_here_is_said(settings: Settings) -> None:
    named = settings.model_copy(update={"model_name": "Qwen/Qwen3-0.6B"})
    check = machine.base_model(named, SAY)
    assert not check.ok
    assert "train --model Qwen/Qwen3-0.6B" in check.mend


class _Answering(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_HEAD(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server of our own in the hub's place."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answering) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        yield endpoint
        server.shutdown()
        serving.join()


@pytest.mark.parametrize("status", [200, 404, 503])
def test_a_hub_that_answers_is_there(
    hub: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(_Answering, "status", status)
    assert machine.hub(settings, SAY) == Check("hub", True, f"{hub} answers")


@pytest.mark.parametrize(("name", "setting"), [("mirror", "hub_mirror"), ("modelscope", "modelscope")])
def test_the_source_of_the_settings_is_asked(
    hub: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str, setting: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    there = settings.model_copy(update={"hub": name, setting: f"{hub}/"})
    assert machine.hub(there, SAY).found == f"{hub} answers"


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "not an address", "http://hub.invalid"])
def test_a_hub_that_does_not_answer_is_no_fault(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    check = machine.hub(settings, SAY)
    assert check.ok
    assert "does not answer" in check.found
    assert "HF_ENDPOINT" in check.mend


@pytest.mark.parametrize("encoding", ["gbk", "ascii", "cp1252"])
def test_a_terminal_without_chinese_is_said(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    class Terminal:
        pass

    terminal = Terminal()
    terminal.encoding = encoding  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "stdout", terminal)
    check = machine.encoding(SAY)
    assert check.found == encoding
    assert "PYTHONUTF8" in check.mend


@pytest.mark.slow
def test_everything_is_checked_in_both_languages(settings: Settings) -> None:
    checks = check_all(settings, "zh")
    around = ["device", "precision", "cpu", "memory", "output_dir", "disk", "database", "starter", "base_model", "hub"]
    assert [check.name for check in checks] == ["python", "encoding", *PACKAGES, *around]
    assert all(check.found for check in checks)
    assert all(check.mend for check in checks if not check.ok)
    assert {check.name for check in checks if not check.ok} <= {"encoding", "starter", "base_model", "disk", "memory"}
    json.dumps([check.__dict__ for check in checks])


# Starts the page as app.py does, fetches it, and asks a character for an answer, which may fail but must not harm.
APP = """
import json, sys, urllib.request
from pathlib import Path
from anime_ai.config import Settings
from anime_ai.models.engine import Sampling
from anime_ai.studio import Studio
from anime_ai.ui.launch import free_port, launch

settings = Settings.load(output_dir=Path(sys.argv[1]))
with Studio.open(settings) as studio:
    demo = launch(studio, port=free_port("127.0.0.1", 17860))
    with urllib.request.urlopen(demo.local_url, timeout=30) as answer:
        page = answer.read().decode()
    try:
        studio.say("你好", persona="傲娇", sampling=Sampling(max_new_tokens=2))
        said = ""
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    with urllib.request.urlopen(demo.local_url, timeout=30) as answer:
        again = answer.status
    print(json.dumps({"tabs": sum(block["type"] == "tabitem" for block in demo.config["components"]),
                      "page": "gradio_config" in page, "said": said, "again": again}))
    demo.close(verbose=False)
"""
# What the page itself is made of cannot be missing: Gradio (which needs huggingface_hub and Pillow) and the database.
WITHOUT = [name for name in PACKAGES if name not in ("gradio", "huggingface_hub", "PIL", "sqlalchemy", "alembic")]
# One by one what every answer needs; the rest all at once.
ALONE = ("torch", "transformers", "langchain_core")
TOGETHER = tuple(name for name in WITHOUT if name not in ALONE)


@pytest.mark.slow
@pytest.mark.parametrize("names", [*((name,) for name in ALONE), TOGETHER], ids=lambda names: names[0])
def test_the_app_starts_with_a_broken_package(
    broken: Callable[[str, str], None], tmp_path: Path, names: tuple[str, ...]
) -> None:
    for name in names:
        broken(name, f'raise RuntimeError("{name} is broken here")\n')
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([sys.path[0], str(ROOT)])}
    command = [sys.executable, "-c", APP, str(tmp_path / "out")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout.decode().splitlines()[-1])
    assert (found["page"], found["again"]) == (True, 200)
    assert found["tabs"] >= 3
    if names != TOGETHER:
        assert found["said"], "the broken package was not in the way: the test proves nothing"
