"""Writing to the database while a model begins to answer. Knows neither.

A disk takes its time until it has a question for good, and a model takes its time until the first word: neither waits
for the other, and still nothing of an answer is told before its question is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

Written = Callable[[], object]
"""Returns when something is kept; raises what kept it from that."""

_writers = ThreadPoolExecutor(max_workers=8, thread_name_prefix="writing")


@contextmanager
def meanwhile(write: Callable[[], object]) -> Iterator[Written]:
    """`write` goes on in a thread of its own; the block ends when it has ended. Raises what it raised."""
    writing: Future[object] = _writers.submit(write)
    try:
        yield writing.result
    finally:
        writing.result()


def after(written: Written, pieces: Any) -> Generator[Any, None, None]:
    """`pieces`, none of which is told before something is kept."""
    with closing(pieces):
        for piece in pieces:
            written()
            yield piece
