"""What the small image model sees in portraits that nobody trained on, whom it recognises, and how fast many go.

pytest -m benchmark -s tests/benchmarks/test_looking.py
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from PIL import Image

from anime_ai.config import STARTER_COCA, Settings
from anime_ai.knowledge.vectors import VectorStore
from anime_ai.processes import usable_cpus
from anime_ai.starter import drawings, identity, sight
from anime_ai.storage import Database
from anime_ai.vision.clip import Clip
from anime_ai.vision.identity import Identity
from anime_ai.vision.service import Vision

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]
MANY, SIDE = 200, 1600


def test_what_is_seen() -> None:
    found = sight.measured(STARTER_COCA)
    for group, share in found.right.items():
        print(f"{group:24s} {share:6.1%}")
    print(f"{'accessories (F1)':24s} {found.accessories_f1:6.1%}")
    print(f"{'hair and expression':24s} {found.hair_and_expression:6.1%}")
    print(f"{'one portrait':24s} {found.seconds * 1000:4.0f} ms on {found.cores} cores")
    assert found.portraits == 1_000
    assert found.right["hair_colour"] >= 0.97
    assert found.right["eyes"] >= 0.92
    assert found.right["expression"] >= 0.90
    assert found.accessories_f1 >= 0.9
    assert found.hair_and_expression >= 0.92


def test_who_is_recognised() -> None:
    own = Identity.of(STARTER_COCA)
    shown = identity.shown(Clip(STARTER_COCA, "starter"), identity.JUDGED, identity.ENROLLED + 1, identity.UNSEEN_SEED)
    found = identity.measured(identity.vectors_of(own, shown), own.likeness)
    print(f"{found.galleries} galleries of {found.characters}, {found.enrolled} pictures each: ", end="")
    print(f"{found.right:.1%} by their name, {found.false:.1%} of strangers by somebody's")
    assert found.right >= 0.9
    assert found.false <= 0.05


def test_many_pictures_keep_the_cores_busy(tmp_path: Path) -> None:
    """200 files of 1,600 pixels, against reading and looking at one after the other."""
    files = _files(tmp_path / "given")
    settings = Settings(output_dir=tmp_path / "out")
    vectors = VectorStore.of(settings)
    with Database.open(settings) as database:
        vision = Vision(settings, database, vectors)
        vision.describe("warm", "warm.jpg", files[0][1])
        rows = {}
        for name in ("together", "one by one"):
            wall, cpu = time.perf_counter(), time.process_time()
            if name == "together":
                done = sum(one.shown is not None for one in vision.describe_all(name, files))
            else:
                done = sum(bool(vision.describe(name, file, path)) for file, path in files)
            assert done == MANY
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            rows[name] = wall
            busy = cpu / wall / usable_cpus()
            print(f"{name:12s} {wall:6.1f} s  {MANY / wall:5.1f} pictures/s  {busy:4.0%} of {usable_cpus()} cores")
    vectors.close()
    print(f"ratio {rows['one by one'] / rows['together']:.2f}")


def _files(folder: Path) -> list[tuple[str, Path]]:
    folder.mkdir()
    pixels = drawings.drawn(drawings.looks(20, 7))
    found = []
    for number in range(MANY):
        path = folder / f"{number}.jpg"
        picture = Image.fromarray(pixels[number % len(pixels)]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        picture.save(path, quality=random.Random(number).randint(80, 95))
        found.append((path.name, path))
    return found
