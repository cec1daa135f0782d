"""Dividing rows into those that train and those that judge. Knows nothing of files and tokens."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from anime_ai.dataset.near import fold, jaccard, joined, trigram_sets
from anime_ai.dataset.rows import Row

NEAR = 0.6
"""Jaccard similarity of character trigrams from which two rows count as near-duplicates."""

PAIRS = 4_000_000
"""Pairs of rows that are looked at in one go, which bounds the memory."""

ORIGINAL = frozenset({"你喜欢什么动漫？", "可以帮我写作业吗？"})
"""The inputs of the original project's sample conversation: they always train."""


@dataclass(frozen=True)
class Split:
    """Positions of the rows that train and of those that are held out, both ascending."""

    train: tuple[int, ...]
    held_out: tuple[int, ...]


def split_rows(rows: Sequence[Row], seed: int, share: float = 0.1) -> Split:
    """Hold out about `share` of each persona's rows, the same for the same rows and seed.

    Near-duplicates (and a persona's rows with the same question) stay on one side; what belongs to an original row
    trains.
    """
    if not rows:
        return Split((), ())
    groups = near_duplicates(rows)
    by_persona: dict[str, list[list[int]]] = defaultdict(list)
    for group in groups:
        if not any(rows[place].input in ORIGINAL for place in group):
            by_persona[rows[group[0]].persona].append(group)
    counts: dict[str, int] = defaultdict(int)
    for row in rows:
        counts[row.persona] += 1
    held: list[int] = []
    for persona, candidates in sorted(by_persona.items()):
        random.Random(f"{seed}/{persona}").shuffle(candidates)
        wanted = round(counts[persona] * share) or (1 if counts[persona] >= 5 else 0)
        taken: list[int] = []
        for group in candidates:
            if len(taken) + len(group) <= wanted:
                taken.extend(group)
        held.extend(taken)
    outside = set(held)
    return Split(tuple(place for place in range(len(rows)) if place not in outside), tuple(sorted(held)))


def near_duplicates(rows: Sequence[Row]) -> list[list[int]]:
    """Positions grouped so that near-duplicates are together, groups in order of their first row."""
    import numpy as np

    texts = [fold(row.input + row.output) for row in rows]
    first: dict[tuple[str, ...], int] = {}
    alike = [(first.setdefault((row.persona, fold(row.input)), place), place) for place, row in enumerate(rows)]
    alike += [(first.setdefault((text,), place), place) for place, text in enumerate(texts)]
    labels = joined(np.arange(len(rows)), [one for one, _ in alike], [other for _, other in alike])
    labels = _join_similar(texts, [place for place, text in enumerate(texts) if first[(text,)] == place], labels)
    groups: dict[int, list[int]] = {}
    for place, label in enumerate(labels.tolist()):
        groups.setdefault(label, []).append(place)
    return list(groups.values())


def _join_similar(texts: Sequence[str], places: Sequence[int], labels: Any) -> Any:
    """Group labels after texts whose sets of trigrams have a Jaccard similarity of at least `NEAR` were joined.

    Only pairs that share one of their rare trigrams are compared: those that are similar enough always do (prefix
    filtering, Chaudhuri et al. 2006). Unlike `anime_ai.dataset.near` it misses no pair: one that is missed would let
    a judged row be learned. `places` are those of the different texts.
    """
    import numpy as np
    from scipy.sparse import csr_array

    sets = trigram_sets([texts[place] for place in places])
    sets = csr_array(sets[:, np.argsort(np.bincount(sets.indices, minlength=sets.shape[1]), kind="stable")])
    sets.sort_indices()
    sizes = np.diff(sets.indptr)
    rare = np.minimum(sizes, sizes - np.ceil(NEAR * sizes - 1e-9).astype(int) + 1)
    keep = np.arange(sets.nnz) - np.repeat(sets.indptr[:-1], sizes) < np.repeat(rare, sizes)
    bounds = np.concatenate(([0], np.cumsum(rare)))
    rarest = csr_array((sets.data[keep], sets.indices[keep], bounds), shape=sets.shape)
    turned = rarest.T.tocsr()
    where = np.asarray(places)
    block = max(1, PAIRS // max(1, len(where)))
    for start in range(0, len(where), block):
        if np.ptp(labels) == 0:
            break  # all one group: the rows of a template, which nothing can tell apart any more
        shared = (rarest[start : start + block] @ turned).tocoo()
        left, right = shared.row + start, shared.col
        for chunk in range(0, len(left), PAIRS // 40):
            one, other = left[chunk : chunk + PAIRS // 40], right[chunk : chunk + PAIRS // 40]
            apart = (one < other) & (labels[where[one]] != labels[where[other]])
            one, other = one[apart], other[apart]
            near = jaccard(sets, one, other) >= NEAR
            labels = joined(labels, where[one[near]], where[other[near]])
    return labels


def personas_of(rows: Iterable[Row]) -> list[str]:
    """The personas of some rows, in order of first appearance."""
    return list(dict.fromkeys(row.persona for row in rows))
