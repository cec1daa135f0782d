"""100,000 rows: how long an import, a page, a search, a filter, an edit of all and its undo take at the server.

pytest -m benchmark -s tests/benchmarks/test_dataset_rows.py

The reference of the same run is a list of the rows in memory that Python looks through, as a page without a database
would.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from anime_ai.config import DATA, Settings
from anime_ai.dataset.files import read_rows
from anime_ai.dataset.intake import read
from anime_ai.dataset.pages import Filter
from anime_ai.dataset.rows import Row
from anime_ai.dataset.snapshots import Snapshots
from anime_ai.dataset.store import Datasets
from anime_ai.storage import Database
from anime_ai.studio import Studio
from anime_ai.ui.editing import Editing, View
from anime_ai.ui.persons import Person

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1200)]
ROWS = 100_000
WORDS = ("动漫", "作业", "EVA", "没有这句话", "哼", "100")
TIMES = 7


def made(count: int) -> list[Row]:
    """The shipped rows again and again, each with a number of its own."""
    shipped = read_rows(DATA / "dataset.json").rows
    chance = random.Random(0)
    found = []
    for number in range(count):
        row = chance.choice(shipped)
        tags = ("日常",) if number % 7 == 0 else ()
        found.append(replace(row, input=f"{row.input}（{number}）", tags=tags))
    return found


def timed(call: Callable[[], object], times: int = TIMES) -> tuple[float, float]:
    """Median and longest milliseconds."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took), max(took)


def in_memory(rows: list[Row], word: str) -> list[Row]:
    texts = [(row, json.dumps(row.as_json(), ensure_ascii=False).casefold()) for row in rows]
    return [row for row, text in texts if word.casefold() in text][:25]


def test_a_hundred_thousand_rows(tmp_path: Path) -> None:
    rows = made(ROWS)
    content = json.dumps([row.as_json() for row in rows], ensure_ascii=False).encode()
    with Database.open(tmp_path / "studio.db") as database:
        datasets, snapshots = Datasets(database), Snapshots(database)
        began = time.perf_counter()
        reading = read(content, "rows.json")
        parsed = time.perf_counter() - began
        dataset = datasets.create("大", reading.rows)
        stored = time.perf_counter() - began
        assert not reading.problems
        print(f"\n{ROWS:,} rows, {len(content) / 2**20:.0f} MB: read {parsed:.1f} s, read and stored {stored:.1f} s")
        looked: dict[str, Callable[[], object]] = {
            "first page": lambda: datasets.page(dataset),
            "last page": lambda: datasets.page(dataset, ROWS),
            "persona": lambda: datasets.page(dataset, wanted=Filter(persona="温柔")),
            "tag": lambda: datasets.page(dataset, wanted=Filter(tag="日常")),
            "longest first": lambda: datasets.page(dataset, wanted=Filter(sort="longest")),
            "choices": lambda: datasets.choices(dataset),
            **{
                f"search {word}": lambda word=word: datasets.page(dataset, wanted=Filter(word))  # type: ignore[misc]
                for word in WORDS
            },
        }
        print(f"{'':14}{'median ms':>12}{'longest ms':>12}")
        for name, call in looked.items():
            median, longest = timed(call)
            print(f"{name:14}{median:12.0f}{longest:12.0f}")
        for word in WORDS[:2]:
            median, _ = timed(lambda word=word: in_memory(rows, word), 2)  # type: ignore[misc]
            print(f"reference: {word} in a list in memory {median:.0f} ms")
        page, owner = (
            Editing(Studio(Settings(output_dir=tmp_path / "studio"), database)),
            Person("a", "owner", "zh", "b"),
        )
        for word in ("", "动漫", "没有这句话"):
            median, longest = timed(lambda word=word: page.shown(owner, View(dataset, 1, Filter(word))))  # type: ignore[misc]
            print(f"the page's handler, search {word or '-'}: {median:.0f} ms, longest {longest:.0f} ms")
        there = datasets.all(dataset)
        wanted = {one.id: replace(one.row, persona="甲") for one in there}
        for name, call in {
            "edit of all rows": lambda: datasets.save_all(dataset, "persona", wanted),
            "its undo": lambda: datasets.undo(dataset),
            "a snapshot": lambda: snapshots.make(dataset, "全部"),
            "one row saved": lambda: datasets.save(there[0].id, datasets.row(there[0].id).version, Row("a", "b")),
        }.items():
            median, _ = timed(call, 1)
            print(f"{name}: {median / 1000:.2f} s")
