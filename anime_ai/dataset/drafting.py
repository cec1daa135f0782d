"""More rows like some that were chosen, as drafts that somebody has to accept. Knows no model: it is told whom to ask.

A draft has the question of a chosen row, and a new answer to it. An answer that is nearly one of the dataset's, or of
an earlier draft, is thrown away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from anime_ai.dataset.near import near
from anime_ai.dataset.rows import Problem, Row, check_row

Ask = Callable[[Row], str]
"""An answer to a row's question, another one every time."""
MOST_DRAFTS = 60
SOURCE = "draft"
"""Where drafts come from, as rows say it."""


@dataclass(frozen=True)
class Drafted:
    """How many answers were written so far, and with the last of them the drafts that are left."""

    written: int
    wanted: int
    rows: tuple[Row, ...] = ()
    done: bool = False


def draft(
    chosen: Sequence[Row], answers: Sequence[str], ask: Ask, each: int, stop: threading.Event
) -> Iterator[Drafted]:
    """Ask `each` times for every chosen row, MOST_DRAFTS at most; told after every answer.

    `answers` are those that the dataset has. Setting `stop` ends it after the answer at hand; what was written by then
    is kept. Raises what `ask` raises.
    """
    asked = [row for _ in range(max(1, each)) for row in chosen][:MOST_DRAFTS]
    drafts: list[Row] = []
    for place, row in enumerate(asked, 1):
        made = Row(row.input, ask(row).strip(), row.persona, tags=row.tags, draft=True)
        if not isinstance(check_row(made.as_json(), place), Problem):
            drafts.append(made)
        yield Drafted(place, len(asked))
        if stop.is_set():
            break
    yield Drafted(len(drafts), len(asked), fresh(drafts, answers), done=True)


def fresh(drafts: Sequence[Row], answers: Sequence[str]) -> tuple[Row, ...]:
    """The drafts whose answers are not nearly one of `answers` or of an earlier draft."""
    if not drafts:
        return ()
    like = near([*answers, *(one.output for one in drafts)]).like
    return tuple(one for place, one in enumerate(drafts, len(answers)) if place not in like)
