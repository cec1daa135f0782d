"""BM25 (Robertson and Zaragoza 2009) over the terms of `tokens`, in memory. Knows no database.

A text counts by itself and as a part of its group: a chunk of a document that speaks of the question throughout comes
before one that only happens to use its words.

Kept in segments: what is added becomes a segment of its own, small ones are joined into larger ones, and what is taken
out is only marked until then (as a log-structured merge tree, O'Neil et al. 1996).
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anime_ai.knowledge import tokens

SATURATION, LENGTH = 1.2, 0.5
"""The method's k1 and b; `tests/benchmarks/test_retrieval.py` prints what others come to."""
WHOLE = 1.0
"""What the group's score counts beside the text's own; in the same table."""
FANOUT = 4
"""A segment is joined with the next one while that is not this many times as large."""


Weight = Callable[[Sequence[int]], Sequence[float]]
Text = tuple[str, str]
"""What is indexed, and the group that it belongs to."""


Held = tuple[int, NDArray[np.int64]]
"""How many texts there are, and how many of them hold each term of a question, in the terms' order."""


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
    texts: tuple[Text, ...]
    lengths: NDArray[np.float32]
    groups: NDArray[np.int32]
    alive: NDArray[np.bool_]
    terms: NDArray[np.uint64]
    bounds: NDArray[np.int64]
    rows: NDArray[np.int32]
    counts: NDArray[np.uint8]

    @classmethod
    def of(cls, texts: Mapping[str, Text]) -> _Segment:
        found = np.sort(tokens.keys([text for text, _ in texts.values()]))
        starts = _changes(found)
        once, counts = found[starts], np.diff(np.append(starts, len(found)))
        rows = (once & np.uint64(tokens.MOST_TEXTS - 1)).astype(np.int32)
        terms = once >> np.uint64(tokens.TEXT_BITS)
        bounds = _changes(terms)
        places: dict[str, int] = {}
        groups = [places.setdefault(group, len(places)) for _, group in texts.values()]
        return cls(
            tuple(texts),
            tuple(texts.values()),
            np.bincount(rows, counts, minlength=len(texts)).astype(np.float32),
            np.array(groups, np.int32),
            np.ones(len(texts), bool),
            terms[bounds],
            np.append(bounds, len(rows)),
            rows,
            np.minimum(counts, 255).astype(np.uint8),
        )

    @cached_property
    def living_count(self) -> int:
        return int(self.alive.sum())

    @cached_property
    def living_length(self) -> float:
        """Of the texts that are there, all together."""
        return float(self.lengths[self.alive].sum())

    @cached_property
    def sizes(self) -> NDArray[Any]:
        """How long each group is."""
        return np.bincount(self.groups, self.lengths * self.alive)

    def holding(self, term: np.uint64) -> slice:
        """Where in `rows` and `counts` the texts with this term stand."""
        place = int(np.searchsorted(self.terms, term))
        if place == len(self.terms) or self.terms[place] != term:
            return slice(0, 0)
        return slice(int(self.bounds[place]), int(self.bounds[place + 1]))

    def numbers(self, terms: NDArray[np.uint64]) -> NDArray[np.int64]:
        """How many texts hold each of some terms."""
        if not len(self.terms):
            return np.zeros(len(terms), np.int64)
        places = np.minimum(np.searchsorted(self.terms, terms), len(self.terms) - 1)
        return np.where(self.terms[places] == terms, self.bounds[places + 1] - self.bounds[places], 0)

    def without(self, ids: set[str]) -> _Segment:
        """This segment with some texts marked as taken out."""
        alive = self.alive & np.fromiter((id not in ids for id in self.ids), bool, len(self.ids))
        return self if alive.all() or (alive == self.alive).all() else dataclasses.replace(self, alive=alive)

    def living(self) -> dict[str, Text]:
        return {self.ids[row]: self.texts[row] for row in np.flatnonzero(self.alive)}


class Lexical:
    """An index of texts by id. Threads may share it: a search sees one state, a writer puts the next in its place."""

    def __init__(self) -> None:
        self._segments: tuple[_Segment, ...] = ()
        self._groups: dict[str, str] = {}
        self._writing = threading.Lock()

    def __len__(self) -> int:
        return len(self._groups)

    def __contains__(self, id: str) -> bool:
        return id in self._groups

    def ids(self) -> set[str]:
        return set(self._groups)

    def group(self, id: str) -> str:
        """The group of a text that is there."""
        return self._groups[id]

    def add(self, texts: Mapping[str, Text]) -> None:
        """Index texts by id; one whose id is known takes the old one's place."""
        self.replace((), texts)

    def replace(self, gone: Iterable[str], texts: Mapping[str, Text]) -> None:
        """Take texts out and put others in, at once for whoever searches. Unknown ids do no harm."""
        with self._writing:
            out = {*gone, *texts}
            segments = [one.without(out) for one in self._segments]
            if texts:
                segments.append(_Segment.of(texts))
            segments = [one for one in segments if one.alive.any()]
            while len(segments) > 1 and len(segments[-2].ids) < FANOUT * len(segments[-1].ids):
                segments[-2:] = [_Segment.of(segments[-2].living() | segments[-1].living())]
            groups = {id: group for id, group in self._groups.items() if id not in out}
            groups.update({id: group for id, (_, group) in texts.items()})
            self._segments, self._groups = tuple(segments), groups

    def held(self, question: str) -> Held:
        """How many texts there are, and how many hold each term of `question`."""
        segments, asked = self._segments, _terms(question)
        living = sum(one.living_count for one in segments)
        return living, _numbers(segments, asked)

    def search(
        self, question: str, count: int, weight: Weight | None = None, everywhere: Held | None = None
    ) -> list[Hit]:
        """The best texts that share a term with `question`, best first; ties by id.

        `weight`: what each term of the question counts beside its rarity. That is its rarity in this index, or
        `everywhere`: what several indexes hold together, so that scores of one can be held against another's.
        """
        segments, asked = self._segments, _terms(question)
        living = sum(one.living_count for one in segments)
        if not living or not len(asked) or count < 1:
            return []
        mean = sum(one.living_length for one in segments) / living
        held = [[one.holding(term) for term in asked] for one in segments]
        total, frequency = everywhere or self.held(question)
        rarity = _rarity(max(total, int(frequency.max(initial=0))), frequency)
        if weight is not None:
            rarity *= np.array(weight(asked.tolist()))
        found: list[Hit] = []
        for one, parts in zip(segments, held, strict=True):
            found += _best(one, parts, rarity, mean, count)
        return sorted(found, key=lambda hit: (-hit.score, hit.id))[:count]

    def rarity(self, terms: Iterable[int]) -> list[float]:
        """How rare each term is: 1 where a single text holds it, towards 0 where all do."""
        segments = self._segments
        living = sum(one.living_count for one in segments)
        wanted = np.fromiter(terms, np.uint64)
        if not living:
            return [0.0] * len(wanted)
        numbers = np.maximum(1, _numbers(segments, wanted))
        found: list[float] = (_rarity(np.maximum(living, numbers), numbers) / _rarity(living, 1)).tolist()
        return found


@lru_cache(maxsize=32)
def _terms(question: str) -> NDArray[np.uint64]:
    """A question's terms: asked for by each base that looks for it, and twice by each."""
    found = np.unique(tokens.keys([question]) >> np.uint64(tokens.TEXT_BITS))
    found.setflags(write=False)
    return found


def _numbers(segments: Sequence[_Segment], terms: NDArray[np.uint64]) -> NDArray[np.int64]:
    """How many texts of all segments hold each of some terms."""
    found = np.zeros(len(terms), np.int64)
    for one in segments:
        found += one.numbers(terms)
    return found


def _rarity(total: Any, holding: Any) -> Any:
    """The method's inverse document frequency, in the form that is never negative."""
    return np.log1p((total - holding + 0.5) / (holding + 0.5))


def _changes(values: NDArray[Any]) -> NDArray[np.int64]:
    """Where a new value begins in sorted ones."""
    return np.flatnonzero(np.concatenate((np.ones(min(1, len(values)), bool), values[1:] != values[:-1])))


def _best(one: _Segment, parts: Sequence[slice], rarity: NDArray[np.float64], mean: float, count: int) -> list[Hit]:
    rows = np.concatenate([one.rows[part] for part in parts])
    if not len(rows):
        return []
    often = np.concatenate([one.counts[part] for part in parts]).astype(np.float64)
    bounds = np.cumsum([0, *(part.stop - part.start for part in parts)])
    rare = np.repeat(rarity, np.diff(bounds))
    weighed = rare * often * (SATURATION + 1) / (often + _weigh(one.lengths[rows], mean))
    alone, covered = (np.bincount(rows, values, len(one.ids)) for values in (weighed, rare))
    sizes = one.sizes
    whole, weigh_whole = np.zeros(len(sizes)), _weigh(sizes, float(sizes.mean()))
    groups, living = one.groups[rows], often * one.alive[rows]
    for start, end, factor in zip(bounds, bounds[1:], rarity * (SATURATION + 1), strict=False):
        if start < end:
            together = np.bincount(groups[start:end], living[start:end], len(sizes))
            whole += factor * together / (together + weigh_whole)
    scores = (alone + WHOLE * whole[one.groups]) * ((alone > 0) & one.alive)
    best = np.argpartition(-scores, count)[:count] if count < len(scores) else np.arange(len(scores))
    everything = float(rarity.sum()) or 1.0
    return [Hit(one.ids[row], float(scores[row]), float(covered[row]) / everything) for row in best if scores[row] > 0]


def _weigh(lengths: Any, mean: float) -> Any:
    """What a count is weighed against: longer texts need more of a term."""
    return SATURATION * (1 - LENGTH + LENGTH * lengths / max(mean, 1.0))
