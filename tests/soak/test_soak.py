"""Fifty people at the app for half an hour, then `kill -9` in mid-load and a restart: what went wrong, what was lost.

pytest -m soak -s tests/soak

Prints its report; a whole soak, of 30 minutes or more, writes it into `tests/soak/REPORT.md` too. SOAK_MINUTES sets the
length, SOAK_VISITORS the number of people.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import httpx
import pytest
from people import Browser
from visitors import Book, Owner, Visitor
from watched import PASSWORD, App, Samples, broken_files, leftovers

from anime_ai.processes import usable_cpus

MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))
PEOPLE = int(os.environ.get("SOAK_VISITORS", "50"))
WHOLE = 30.0
REPORT = Path(__file__).with_name("REPORT.md")
PLATEAU = (60.0, 300.0)
"""Seconds of a whole soak within which the memory is taken for settled; of a shorter one, as large a part."""
MOST_GROWTH = 1.10
ASKED_AFTER = 10
LIMITS = dict.fromkeys(
    (
        *("VISITORS_MESSAGES_PER_MINUTE", "VISITORS_TOKENS_PER_DAY", "VISITOR_MESSAGES_PER_HOUR"),
        *("VISITOR_CHANGES_PER_HOUR", "VISITORS_CHANGES_PER_HOUR"),
        "VISITORS_PER_ADDRESS",  # they all come from this machine
    ),
    "0",
)
"""What all visitors together may use is far below what they use here; each one's minute and day are as they are."""

pytestmark = [pytest.mark.soak, pytest.mark.timeout(MINUTES * 60 + 1800)]


@dataclass
class Soak:
    """What was seen."""

    book: Book
    samples: Samples
    killed: int
    broken: list[str]
    lost: list[str]
    answering: int
    start_seconds: float
    tracebacks: int


async def crowd(app: App, book: Book, samples: Samples) -> tuple[list[Visitor], Owner, int]:
    """Everybody at once until the app is killed under them."""
    config = await Browser.config_of(app.address)
    owner = Owner(app.address, config, book, 0)
    await owner.enter(PASSWORD)
    for act in (owner.add(1), owner.show(), owner.ask()):  # every model is loaded before the clock runs
        await act
    book.firsts.clear()
    book.wholes.clear()
    people = [Visitor(app.address, config, book, number) for number in range(1, PEOPLE + 1)]
    lives = [asyncio.create_task(one.live()) for one in (owner, *people)]
    with app.sampled(samples):
        done, _ = await asyncio.wait(lives, timeout=MINUTES * 60, return_when=asyncio.FIRST_EXCEPTION)
    for one in done:
        one.result()
    book.over = True
    killed = app.kill()
    for one in lives:
        one.cancel()
    await asyncio.gather(*lives, return_exceptions=True)
    await asyncio.gather(*(one.close() for one in (owner, *people)))
    return people, owner, killed


async def come_back(app: App, people: list[Visitor], owner: Owner, book: Book) -> tuple[list[str], int]:
    """Everybody opens the page again: what is not there any more, and how many are answered."""
    lost: list[str] = []
    for one in (owner, *people):
        one.http.base_url = httpx.URL(app.address)
        # Who was about to have another answer, or another conversation, may have got it.
        before = {} if one.busy else {id: book.said[id] for id in one.shown}
        await one.load()
        lost += [
            f"{one.number}: {text}" for id, text in before.items() if book.said.get(id) != text or id not in one.shown
        ]
    answered = len(book.wholes)
    await asyncio.gather(*(one.ask() for one in people[:ASKED_AFTER]))
    answered = len(book.wholes) - answered
    for name, mark in book.documents.items():
        found = await owner.call(owner.index("search"), [f"{mark}的第3层住着谁", owner.base])
        if found is None or mark not in str(found[0]):
            lost.append(f"document {name}")
    for id in book.pictures:
        if (await owner.http.get(f"/picture/{id}.webp")).status_code != 200:
            lost.append(f"picture {id}")
    for one in (owner, *people):
        await one.close()
        await one.http.aclose()
    return lost, answered


def missing(folder: Path, book: Book) -> list[str]:
    """Messages that a page had shown and that the database does not hold as they were."""
    with closing(sqlite3.connect(folder / "studio" / "studio.db")) as database:
        held = dict(database.execute("SELECT id, content FROM messages"))
        asked = {row[0] for row in database.execute("SELECT content FROM messages WHERE role = 'user'")}
    lost = [f"message {id}: {text}" for id, text in book.said.items() if held.get(id) != text]
    return lost + [f"question {text}" for text in book.asked - asked]


async def soaked(folder: Path) -> Soak:
    log, book, samples = folder.with_name("app.log"), Book(), Samples()
    app = App(folder, log, **LIMITS)
    try:
        people, owner, killed = await crowd(app, book, samples)
        broken, lost, seen = broken_files(folder), missing(folder, book), dict(book.said)
        app = App(folder, log, **LIMITS)
        book.over = False
        gone, answering = await come_back(app, people, owner, book)
        lost += gone + [f"changed: {said}" for id, said in seen.items() if book.said[id] != said]
        broken += leftovers(folder)
    finally:
        app.close()
    tracebacks = log.read_text(encoding="utf-8", errors="replace").count("Traceback (most recent call last)")
    return Soak(book, samples, killed, broken, lost, answering, app.start_seconds, tracebacks)


def report(soak: Soak) -> list[tuple[str, str]]:
    """What was seen, as the lines of a table."""
    book, samples = soak.book, soak.samples
    early, late = levels(samples)
    done = ", ".join(f"{name} {count}" for name, count in book.done.most_common())
    told = "; ".join(f"{name} × {count}" for name, count in book.declared.most_common())
    cuts = quantiles(book.firsts, n=20)
    return [
        ("length, people", f"{samples.seconds[-1] / 60:.1f} min, {PEOPLE} visitors and the owner"),
        (
            "machine",
            f"{usable_cpus()} cores; load {median(samples.load):.1f} (median), {max(samples.load):.1f} at most",
        ),
        ("done", done),
        (
            "answers read to their end",
            f"{len(book.wholes)}, {len(book.wholes) / samples.seconds[-1] * 60:.0f} a minute",
        ),
        ("first words after", f"{median(book.firsts):.2f} s (median), {cuts[-1]:.2f} s (19 of 20)"),
        ("errors that the app has words for", f"{book.declared.total()}" + f": {told}" * bool(told)),
        ("other errors", f"{len(book.faults)} at people, {soak.tracebacks} in the log"),
        ("memory, settled", f"{early / 1e6:.0f} MB"),
        ("memory, at the end", f"{late / 1e6:.0f} MB = {late / early:.3f}; {max(samples.memory) / 1e6:.0f} MB at most"),
        ("memory of each tenth, MB", " ".join(f"{size / 1e6:.0f}" for size in tenths(samples))),
        ("killed in mid-load", f"{soak.killed} processes; the page was back after {soak.start_seconds:.1f} s"),
        ("lost of what was acknowledged", f"{len(soak.lost)} of {held(book)}"),
        ("files that are not whole", f"{len(soak.broken)}"),
        ("answered after the restart", f"{soak.answering} of {ASKED_AFTER}"),
    ]


def held(book: Book) -> str:
    return (
        f"{len(book.said)} messages, {len(book.asked)} begun answers, "
        f"{len(book.documents)} documents, {len(book.pictures)} pictures"
    )


def tenths(samples: Samples) -> list[float]:
    length = samples.seconds[-1] / 10
    return [samples.level(place * length, (place + 1) * length) for place in range(10)]


def levels(samples: Samples) -> tuple[float, float]:
    """The memory once it has settled, and at the end."""
    share = min(1.0, MINUTES / WHOLE)
    begin, end = (second * share for second in PLATEAU)
    return samples.level(begin, end), samples.level(samples.seconds[-1] - (end - begin), samples.seconds[-1])


def test_half_an_hour_of_fifty_people(tmp_path: Path) -> None:
    soak = asyncio.run(soaked(tmp_path / "输出 folder"))
    lines = report(soak)
    table = "\n".join(["| | |", "|---|---|", *(f"| {name} | {figure} |" for name, figure in lines)])
    details = [*soak.book.faults[:40], *soak.lost[:20], *soak.broken[:20]]
    print("\n" + "\n".join([table, *details]))
    if MINUTES >= WHOLE:
        command = "`pytest -m soak -s tests/soak`"
        REPORT.write_text(
            f"# The soak\n\nWritten by {command}, {time.strftime('%Y-%m-%d')}.\n\n{table}\n", encoding="utf-8"
        )
    assert soak.book.faults == []
    assert soak.tracebacks == 0
    assert soak.lost == []
    assert soak.broken == []
    assert soak.answering == ASKED_AFTER
    early, late = levels(soak.samples)
    assert late <= MOST_GROWTH * early
