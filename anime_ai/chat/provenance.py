"""Where an answer's words come from: the training rows nearest to it, and the longest run of characters that it shares
with one. Knows no model: it compares texts, and what it finds is no proof of what went on inside.

The rows are those that the adapter was trained on, else the persona's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

import numpy as np

from anime_ai.chat.tree import Message
from anime_ai.dataset.near import fold, trigram_sets
from anime_ai.dataset.rows import Row
from anime_ai.dataset.snapshots import Snapshots
from anime_ai.dataset.store import Datasets
from anime_ai.errors import DatasetError
from anime_ai.training.evaluation import COPIED
from anime_ai.training.runs import Run

Verdict = Literal["memorised", "learned", "own"]
NEAREST = 3
LEARNED_RUN = 6
"""Characters in a row. Shipped rows that were written apart share no more than 5 in 99 of 100 cases."""
LEARNED_SHARE = 0.3
"""Share of an answer's trigrams that a single row holds too; of those rows it is at most 0.28 in 99 of 100 cases."""
WHOLE = 6
"""Folded characters from which an answer that stands in a row as a whole counts as known by heart. Shorter ones, such
as 早上好, are everybody's."""


@dataclass(frozen=True)
class Source:
    """A row that resembles an answer. `row_id` "": it is not in the dataset any more. `overlap`: the share of the
    answer's trigrams that what she says there holds too; `shared`: the longest run, as the answer has it."""

    row_id: str
    persona: str
    asked: str
    said: str
    overlap: float
    shared: str


@dataclass(frozen=True)
class Origin:
    """Where an answer comes from. `run`: the longest run that it shares with any row, from `start` to `end` of it.

    `trained`: what answered was trained on these rows. `looked`: how many rows there were; without any there is no
    verdict worth the name.
    """

    verdict: Verdict
    run: str
    start: int
    end: int
    sources: tuple[Source, ...]
    dataset: str
    looked: int
    trained: bool


class Provenance:
    """`runs` tells the training runs."""

    def __init__(self, datasets: Datasets, snapshots: Snapshots, runs: Callable[[], Sequence[Run]]) -> None:
        self._datasets, self._snapshots, self._runs = datasets, snapshots, runs

    def of(self, answer: Message, persona: str) -> Origin:
        """Where a persona's answer comes from."""
        adapter = str(answer.meta.get("adapter", ""))
        rows, dataset, trained = self._rows(adapter, persona)
        found = trace(answer.content, rows)
        standing = self._standing([one.row_id for one in found.sources])
        sources = tuple(one if one.row_id in standing else _gone(one) for one in found.sources)
        return Origin(found.verdict, found.run, found.start, found.end, sources, dataset, len(rows), trained)

    def _rows(self, adapter: str, persona: str) -> tuple[Mapping[str, Row], str, bool]:
        """The rows by their ids, the dataset's name, and whether the adapter was trained on them."""
        run_id = adapter.removeprefix("run:").partition("@")[0] if adapter.startswith("run:") else ""
        run = next((one for one in self._runs() if one.id == run_id), None) if run_id else None
        if run is not None:
            try:
                if run.snapshot and self._snapshots.find(run.snapshot):
                    return _spoken(self._snapshots.held(run.snapshot), run.persona), run.dataset, True
                info = self._datasets.find(run.dataset)
                now = {one.id: one.row for one in self._datasets.all(info.id)}
                return _spoken(now, run.persona), run.dataset, True
            except DatasetError:  # removed since: what is left are the persona's rows
                pass
        rows: dict[str, Row] = {}
        names = []
        for info in self._datasets.list():
            if persona in info.personas:
                names.append(info.name)
                rows |= {one.id: one.row for one in self._datasets.all(info.id) if one.row.persona == persona}
        return _spoken(rows, persona), "、".join(names), bool(adapter)

    def _standing(self, ids: Sequence[str]) -> set[str]:
        found = set()
        for id in ids:
            try:
                found.add(self._datasets.row(id).id)
            except DatasetError:
                continue
        return found


def trace(answer: str, rows: Mapping[str, Row]) -> Origin:
    """The rows nearest to an answer, and the verdict. Case, width, spaces and punctuation make no difference.

    A run of k characters holds k - 2 trigrams, so that rows with fewer in common than the longest run so far are not
    looked at; only a run that repeats itself (哈哈哈哈) can be missed thereby.
    """
    folded, places = _folded(answer)
    said = {id: "\n".join((*(reply for _, reply in row.history), row.output)) for id, row in rows.items()}
    ids = list(said)
    if not folded or not ids:
        return Origin("own", "", 0, 0, (), "", len(ids), False)
    sets = trigram_sets([folded, *(fold(said[id]) for id in ids)])
    common = np.asarray((sets[1:] @ sets[[0]].T).todense()).ravel()
    total = max(int(sets[[0]].sum()), 1)
    # Of rows that hold as much of the answer the shorter one is nearer.
    order = np.lexsort((np.diff(sets.indptr)[1:], -common))
    best, start, size = -1, 0, 0
    for place in order:
        if common[place] + 2 <= size or (best >= 0 and not common[place]):
            break
        at, length = _longest(folded, fold(said[ids[place]]))
        if length > size:
            best, start, size = int(place), at, length
    near = [int(place) for place in order[:NEAREST] if common[place]]
    if best >= 0 and best not in near:  # the row of the longest run is always among those shown
        near = [*near[: NEAREST - 1], best]
    sources = []
    for place in near:
        at, length = _longest(folded, fold(said[ids[place]]))
        row, shared = rows[ids[place]], _cut(answer, places, at, length)
        overlap = float(common[place]) / total
        sources.append(Source(ids[place], row.persona, row.input, said[ids[place]], overlap, shared))
    nearest = float(common.max()) / total
    run = _cut(answer, places, start, size)
    begin = places[start] if size else 0
    return Origin(
        _verdict(size, len(folded), nearest), run, begin, begin + len(run), tuple(sources), "", len(ids), False
    )


def _verdict(run: int, length: int, nearest: float) -> Verdict:
    if run >= COPIED or (run == length and run >= WHOLE):
        return "memorised"
    return "learned" if run >= LEARNED_RUN or nearest >= LEARNED_SHARE else "own"


def _folded(text: str) -> tuple[str, list[int]]:
    """What `fold` makes of a text, and for each of its characters the place in the text that it came from."""
    signs: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        for sign in fold(character):
            if sign.isalnum():
                signs.append(sign)
                places.append(place)
    return "".join(signs), places


def _longest(one: str, other: str) -> tuple[int, int]:
    """Where in `one` the longest run begins that stands in `other` too, and how long it is."""
    found: Any = SequenceMatcher(None, one, other, autojunk=False).find_longest_match()
    return found.a, found.size


def _cut(text: str, places: list[int], start: int, size: int) -> str:
    return text[places[start] : places[start + size - 1] + 1] if size else ""


def _spoken(rows: Mapping[str, Row], persona: str) -> dict[str, Row]:
    """The rows of a persona that are no drafts; all of them where none is hers."""
    ready = {id: row for id, row in rows.items() if not row.draft}
    return {id: row for id, row in ready.items() if row.persona == persona} or ready


def _gone(source: Source) -> Source:
    return Source("", source.persona, source.asked, source.said, source.overlap, source.shared)
