"""The first page of the app against a bare Gradio page with six tabs: seconds until it is served, and memory then.

pytest -m benchmark -s tests/benchmarks/test_first_page.py
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from anime_ai.config import ROOT

ROUNDS = 5
MOST_RATIO = 1.5
MOST_MEGABYTES = 300

BARE = """
import sys
import gradio as gr

with gr.Blocks(analytics_enabled=False) as page:
    for number in range(6):
        with gr.Tab(f"Tab {number}"):
            said = gr.Textbox()
            gr.Button().click(lambda words: words, said, said)
page.launch(server_name="127.0.0.1", server_port=int(sys.argv[1]), quiet=True)
"""


@dataclass(frozen=True)
class Start:
    """Seconds from the start of the process until its page was served, and megabytes resident then."""

    seconds: float
    megabytes: float


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def measure(command: list[str], port: int, log: Path) -> Start:
    began = time.perf_counter()
    with open(log, "wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
                    assert b"gradio_config" in answer.read()
                break
            except urllib.error.URLError:
                assert process.poll() is None, log.read_text(encoding="utf-8")
                assert time.perf_counter() - began < 120, "no page after two minutes"
                time.sleep(0.02)
        seconds = time.perf_counter() - began
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        return Start(seconds, sum(member.memory_info().rss for member in family) / 1e6)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.mark.benchmark
@pytest.mark.timeout(900)
def test_first_page(tmp_path: Path) -> None:
    """Alternating; the very first start of a newcomer (which makes the database) and later ones are told apart."""
    os.environ.pop("ANIME_AI_OUTPUT_DIR", None)
    kept = tmp_path / "kept"
    starts: dict[str, list[Start]] = {"bare Gradio, 6 tabs": [], "app, first start": [], "app, later start": []}
    for number in range(-1, ROUNDS):  # the first round warms the disk's cache and counts for nothing
        for name, found in starts.items():
            port = free_port()
            if name.startswith("bare"):
                command = [sys.executable, "-c", BARE, str(port)]
            else:
                folder = tmp_path / f"fresh-{number}" if "first" in name else kept
                command = [sys.executable, "app.py", "--port", str(port), "--output-dir", str(folder)]
            start = measure(command, port, tmp_path / "log")
            if number >= 0:
                found.append(start)
    print(f"\n{'page':<22}{'median s':>10}{'least s':>10}{'ratio':>8}{'MB':>8}    ({ROUNDS} alternating rounds)")
    ratios, megabytes = {}, {}
    bare = starts["bare Gradio, 6 tabs"]
    for name, found in starts.items():
        # Each start against the bare one of its own round, because a busy machine slows neighbours alike.
        ratios[name] = statistics.median(one.seconds / other.seconds for one, other in zip(found, bare, strict=True))
        megabytes[name] = statistics.median(start.megabytes for start in found)
        seconds = [start.seconds for start in found]
        figures = f"{statistics.median(seconds):>10.2f}{min(seconds):>10.2f}{ratios[name]:>8.2f}{megabytes[name]:>8.0f}"
        print(f"{name:<22}{figures}")
    assert max(ratios.values()) <= MOST_RATIO
    assert max(megabytes.values()) <= MOST_MEGABYTES
