"""Near-duplicates among many texts: MinHash with locality-sensitive hashing, each candidate verified.

Resemblance is the Jaccard similarity of sets of character trigrams (Broder 1997, "On the resemblance and containment
of documents"); bands of minima find the candidates (Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", 3.4). A
pair may be missed, by chance; none is reported that is not similar enough. Knows nothing of rows. What must never miss
a pair, such as the split, compares by itself what `trigram_sets` gives it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NEAR = 0.7
"""Similarity from which two texts are reported: a character changed in 20 is above, another sentence is below."""
BANDS, DEEP = 32, 4
"""Bands, and minima in each. A pair of similarity s is found with 1 - (1 - s^4)^32: 0.9998 at 0.7, 0.05 at 0.2."""
CLOSE = 16
"""Neighbours of a bucket that each text is compared with beside the bucket's first, which bounds the work."""
PAIRS = 100_000
"""Pairs that are verified in one go, which bounds the memory."""


@dataclass(frozen=True)
class Near:
    """`groups`: places of two or more similar texts, ascending, groups in order of their first.

    `like` tells of a place an earlier one that its text resembles, and how much, in [0, 1]. The first of a group has
    none, nor has a text that is in it only because a later one resembles both.
    """

    groups: tuple[tuple[int, ...], ...]
    like: dict[int, tuple[int, float]]


def near(texts: Sequence[str], threshold: float = NEAR, seed: int = 0) -> Near:
    """Groups of texts whose folded trigrams have a similarity of at least `threshold`, the same for the same seed.

    100,000 utterances take seconds; similarity is not transitive, groups are its connected components.
    """
    folded = [fold(text) for text in texts]
    first: dict[str, int] = {}
    origin = np.array([first.setdefault(text, place) for place, text in enumerate(folded)], int)
    places = np.array(list(first.values()), int)
    links = _Links(len(places))
    sets = trigram_sets(list(first))
    for bucket, order in _buckets(sets, np.random.default_rng(seed)):
        for one, other in _candidates(bucket, order):
            for start in range(0, len(one), PAIRS):
                links.verify(sets, one[start : start + PAIRS], other[start : start + PAIRS], threshold)
    like = {int(place): (int(start), 1.0) for place, start in enumerate(origin) if place != start}
    for other in np.flatnonzero(links.like >= 0):
        like[int(places[other])] = (int(places[links.like[other]]), float(links.score[other]))
    label = np.zeros(len(texts), int)
    label[places] = links.labels
    groups: dict[int, list[int]] = {}
    for place, start in enumerate(origin.tolist()):
        groups.setdefault(int(label[start]), []).append(place)
    return Near(tuple(tuple(group) for group in groups.values() if len(group) > 1), like)


class _Links:
    """What was found so far about `count` texts: their groups' labels, and which earlier text each is like."""

    def __init__(self, count: int) -> None:

        self.labels = np.arange(count)
        self.like = np.full(count, -1)
        self.score = np.zeros(count)

    def verify(self, sets: Any, one: Any, other: Any, threshold: float) -> None:
        """Join the pairs that are similar enough. A pair that can tell nothing new is not compared."""

        new = (self.labels[one] != self.labels[other]) | (self.like[other] < 0)
        one, other = one[new], other[new]
        if not len(one):
            return
        alike = jaccard(sets, one, other)
        found = np.flatnonzero(alike >= threshold)
        found = found[np.argsort(alike[found], kind="stable")]  # of several for one text the last, best one stays
        found = found[alike[found] > self.score[other[found]]]
        self.like[other[found]], self.score[other[found]] = one[found], alike[found]
        kept = alike >= threshold
        self.labels = joined(self.labels, one[kept], other[kept])


def fold(text: str) -> str:
    """Case, width, spaces and punctuation do not make a different text, unless there is nothing else."""
    folded = unicodedata.normalize("NFKC", text).lower()
    return "".join(character for character in folded if character.isalnum()) or folded


def trigram_sets(texts: Sequence[str]) -> Any:
    """A sparse matrix of ones, texts by different trigrams, in the order of their characters.

    Padding at both ends gives texts of one or two characters a trigram of their own; an empty text has none.
    """
    from scipy.sparse import csr_array

    padded = "".join(f"\x02{text}\x03" for text in texts).encode("utf-32-le", "surrogatepass")
    signs = np.frombuffer(padded, "<u4").astype(np.uint64)
    rows = np.repeat(np.arange(len(texts)), [len(text) + 2 for text in texts])
    inside = rows[:-2] == rows[2:]
    # 21 bits hold any character, so that three of them are one number and no two trigrams meet.
    grams = (signs[:-2] << np.uint64(42) | signs[1:-1] << np.uint64(21) | signs[2:])[inside]
    known, columns = np.unique(grams, return_inverse=True)
    sets = csr_array(
        (np.ones(len(columns), np.int32), (rows[:-2][inside], columns)), shape=(len(texts), len(known)), dtype=np.int32
    )
    sets.sum_duplicates()
    sets.data[:] = 1
    return sets


def jaccard(sets: Any, one: Any, other: Any) -> Any:
    """Similarity in [0, 1] of the sets in rows `one` and `other` of a `trigram_sets`, pair by pair."""
    sizes = np.diff(sets.indptr)
    common = np.asarray(sets[one].multiply(sets[other]).sum(axis=1)).ravel()
    return common / np.maximum(sizes[one] + sizes[other] - common, 1)


def joined(labels: Any, left: Any, right: Any) -> Any:
    """Group labels after the groups of `left` and `right` became one, pair by pair."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = len(labels)
    links = coo_array((np.ones(len(left), bool), (labels[left], labels[right])), shape=(size, size))
    return connected_components(links, directed=False)[1][labels] if len(left) else labels


def _buckets(sets: Any, chance: Any) -> Iterator[tuple[Any, Any]]:
    """For each band the texts in order of their buckets, and the bucket of each of these; empty texts are in none.

    Each minimum is taken over a permutation of all trigrams, so that minima agree as often as sets are similar.
    """
    filled = np.flatnonzero(np.diff(sets.indptr))
    if len(filled) < 2:
        return
    starts = sets.indptr[filled]
    for _band in range(BANDS):
        key = np.zeros(len(filled), np.uint64)
        for _minimum in range(DEEP):
            shuffled = chance.permutation(sets.shape[1]).astype(np.uint32)
            least = np.minimum.reduceat(shuffled[sets.indices], starts)
            key = (key ^ least) * np.uint64(0x9E3779B97F4A7C15)
            key ^= key >> np.uint64(29)
        order = np.argsort(key, kind="stable")
        yield key[order], filled[order]


def _candidates(bucket: Any, order: Any) -> Iterator[tuple[Any, Any]]:
    """Pairs (earlier, later) of texts in one bucket: each with its bucket's first, then with its next neighbours."""
    begins = np.concatenate(([True], bucket[1:] != bucket[:-1]))
    leads = np.flatnonzero(begins)[np.cumsum(begins) - 1]
    follow = np.flatnonzero(~begins)
    yield order[leads[follow]], order[follow]
    for far in range(1, CLOSE + 1):
        places = np.flatnonzero((leads[far:] == leads[:-far]) & (leads[:-far] != np.arange(len(leads) - far)))
        if not len(places):
            return
        yield order[places], order[places + far]
