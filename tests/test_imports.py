"""Two threads that need transformers for the first time at once: the chat's and the pictures' first use."""

from __future__ import annotations

import subprocess
import sys

import pytest

from anime_ai.config import ROOT

AT_ONCE = """
import sys, threading, time
from anime_ai.config import STARTER_COCA, STARTER_LM
from anime_ai.models.bases import Base
from anime_ai.models.layouts import Layouts
from anime_ai.vision.clip import Clip

failed = []

def look():
    while "transformers" not in sys.modules:  # its import has begun, in the other thread
        time.sleep(0.001)
    try:
        Clip(STARTER_COCA, "coca").tokenizer
    except BaseException as error:
        failed.append(error)

other = threading.Thread(target=look)
other.start()
Layouts(Base("starter", STARTER_LM)).tokenizer()
other.join()
sys.exit(repr(failed[0]) if failed else 0)
"""


@pytest.mark.slow
def test_who_comes_while_transformers_is_imported_waits_for_it() -> None:
    done = subprocess.run([sys.executable, "-c", AT_ONCE], cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
