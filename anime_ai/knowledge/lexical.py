"""BM25 (Robertson and Zaragoza 2009) over the terms of `tokens`, in memory. Knows no database.

Kept in segments: what is added becomes a segment of its own, small ones are joined into larger ones, and what is taken
out is only marked until then (as a log-structured merge tree, O'Neil et al. 1996).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anime_ai.knowledge import tokens

SATURATION, LENGTH = 1.2, 0.5
"""The method's k1 and b: the best of a few pairs in `tests/benchmarks/test_retrieval.py`."""
FANOUT = 4
"""A segment is joined with the next one while that is not this many times as large."""


@dataclass(frozen=True)
class Hit:
    """A text that was found. `coverage`: which share of the question's weight, by rarity of its terms, it holds."""

    id: str
    score: float
    coverage: float


@dataclass(frozen=True)
class _Segment:
    """Some texts: their ids, and for every term the texts that hold it (`rows[bounds[i]:bounds[i + 1]]`)."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    lengths: NDArray[np.float32]
    alive: NDArray[np.bool_]
    terms: NDArray[np.uint64]
    bounds: NDArray[np.int64]
    rows: NDArray[np.int32]
    counts: NDArray[np.uint8]

    @classmethod
    def of(cls, texts: Mapping[str, str]) -> _Segment:
        found = np.sort(tokens.keys(list(texts.values())))
        first = np.concatenate(([True], found[1:] != found[:-1])) if len(found) else np.zeros(0, bool)
        starts = np.flatnonzero(first)
        counts = np.diff([*starts, len(found)]) if len(starts) else starts
        once = found[starts]
        rows = (once & np.uint64(tokens.MOST_TEXTS - 1)).astype(np.int32)
        terms, bounds = np.unique(once >> np.uint64(tokens.TEXT_BITS), return_index=True)
        lengths = np.bincount(rows, counts, minlength=len(texts)).astype(np.float32)
        return cls(
            tuple(texts),
            tuple(texts.values()),
            lengths,
            np.ones(len(texts), bool),
            terms,
            np.append(bounds, len(rows)),
            rows,
            np.minimum(counts, 255).astype(np.uint8),
        )

    def holding(self, term: np.uint64) -> slice:
        """Where in `rows` and `counts` the texts with this term stand."""
        place = int(np.searchsorted(self.terms, term))
        if place == len(self.terms) or self.terms[place] != term:
            return slice(0, 0)
        return slice(int(self.bounds[place]), int(self.bounds[place + 1]))

    def living(self) -> dict[str, str]:
        return {self.ids[row]: self.texts[row] for row in np.flatnonzero(self.alive)}


class Lexical:
    """An index of texts by id. Threads may share it: a search sees the state at its start."""

    def __init__(self) -> None:
        self._segments: tuple[_Segment, ...] = ()
        self._homes: dict[str, tuple[_Segment, int]] = {}
        self._writing = threading.Lock()

    def __len__(self) -> int:
        return len(self._homes)

    def __contains__(self, id: str) -> bool:
        return id in self._homes

    def ids(self) -> set[str]:
        return set(self._homes)

    def add(self, texts: Mapping[str, str]) -> None:
        """Index texts; one whose id is known takes the old one's place."""
        if not texts:
            return
        with self._writing:
            self._take_out(texts)
            segments = [*self._segments, _Segment.of(texts)]
            while len(segments) > 1 and len(segments[-2].ids) < FANOUT * len(segments[-1].ids):
                joined = segments[-2].living() | segments[-1].living()
                segments[-2:] = [_Segment.of(joined)]
            last = segments[-1]
            self._homes.update({id: (last, row) for row, id in enumerate(last.ids)})
            self._segments = tuple(segments)

    def remove(self, ids: Iterable[str]) -> None:
        """Take texts out; ids that are not known do no harm."""
        with self._writing:
            self._take_out(ids)
            self._segments = tuple(one for one in self._segments if one.alive.any())

    def search(self, question: str, count: int) -> list[Hit]:
        """The best texts that share a term with `question`, best first; ties by id."""
        segments = self._segments
        asked = np.unique(tokens.keys([question]) >> np.uint64(tokens.TEXT_BITS))
        living = sum(int(one.alive.sum()) for one in segments)
        if not living or not len(asked) or count < 1:
            return []
        mean = sum(float(one.lengths[one.alive].sum()) for one in segments) / living
        held = [[one.holding(term) for term in asked] for one in segments]
        frequency = np.sum([[part.stop - part.start for part in parts] for parts in held], axis=0)
        rarity = _rarity(max(living, int(frequency.max(initial=0))), frequency)
        found: list[Hit] = []
        for one, parts in zip(segments, held, strict=True):
            found += _best(one, parts, rarity, mean, count)
        return sorted(found, key=lambda hit: (-hit.score, hit.id))[:count]

    def rarity(self, terms: Iterable[int]) -> list[float]:
        """How rare each term is: 1 where a single text holds it, towards 0 where all do."""
        segments = self._segments
        living = sum(int(one.alive.sum()) for one in segments)
        most = _rarity(living, 1)
        found = []
        for term in terms:
            parts = [one.holding(np.uint64(term)) for one in segments]
            number = max(1, sum(part.stop - part.start for part in parts))
            found.append(float(_rarity(max(living, number), number) / most) if living else 0.0)
        return found

    def _take_out(self, ids: Iterable[str]) -> None:
        for id in ids:
            home = self._homes.pop(id, None)
            if home is not None:
                home[0].alive[home[1]] = False


def _rarity(total: int, holding: Any) -> Any:
    """The method's inverse document frequency, in the form that is never negative."""
    return np.log1p((total - holding + 0.5) / (holding + 0.5))


def _best(one: _Segment, parts: Sequence[slice], rarity: NDArray[np.float64], mean: float, count: int) -> list[Hit]:
    scores = np.zeros(len(one.ids), np.float64)
    covered = np.zeros(len(one.ids), np.float64)
    weigh = SATURATION * (1 - LENGTH + LENGTH * one.lengths / max(mean, 1.0))
    for part, rare in zip(parts, rarity, strict=True):
        rows, often = one.rows[part], one.counts[part].astype(np.float32)
        scores[rows] += rare * often * (SATURATION + 1) / (often + weigh[rows])
        covered[rows] += rare
    scores[~one.alive] = 0
    best = np.argpartition(-scores, count)[:count] if count < len(scores) else np.arange(len(scores))
    whole = float(rarity.sum())
    return [
        Hit(one.ids[row], float(scores[row]), float(covered[row]) / whole if whole else 0.0)
        for row in best
        if scores[row] > 0
    ]
