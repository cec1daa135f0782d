"""Dividing rows into those that train and those that judge. Knows nothing of files and tokens."""

from __future__ import annotations

import random
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from anime_ai.dataset.rows import Row

NEAR = 0.6
"""Jaccard similarity of character trigrams from which two rows count as near-duplicates."""

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
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = _similar_pairs([_fold(row.input + row.output) for row in rows])
    first_asked: dict[tuple[str, str], int] = {}
    for place, row in enumerate(rows):
        pairs.append((first_asked.setdefault((row.persona, _fold(row.input)), place), place))
    left, right = zip(*pairs, strict=True)
    links = coo_array(([True] * len(pairs), (left, right)), shape=(len(rows), len(rows)))
    _, labels = connected_components(links, directed=False)
    groups: dict[int, list[int]] = {}
    for place, label in enumerate(labels):
        groups.setdefault(int(label), []).append(place)
    return list(groups.values())


def _fold(text: str) -> str:
    """Case, width, spaces and punctuation do not make a different row."""
    return "".join(character for character in unicodedata.normalize("NFKC", text).lower() if character.isalnum())


def _similar_pairs(texts: Sequence[str], block: int = 2048) -> list[tuple[int, int]]:
    """Pairs of texts whose sets of trigrams have a Jaccard similarity of at least `NEAR`."""
    import numpy as np
    from sklearn.feature_extraction.text import CountVectorizer

    try:
        # Padding gives texts of one or two characters a trigram of their own.
        grams = CountVectorizer(analyzer="char", ngram_range=(3, 3), binary=True, lowercase=False, dtype=np.int32)
        sets = grams.fit_transform([f"\x02{text}\x03" for text in texts]).tocsr()
    except ValueError:
        return []
    sizes = np.asarray(sets.sum(axis=1)).ravel()
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(texts), block):
        shared = (sets[start : start + block] @ sets.T).tocoo()
        rows = shared.row + start
        near = shared.data / (sizes[rows] + sizes[shared.col] - shared.data) >= NEAR
        keep = near & (rows < shared.col)
        pairs.extend(zip(rows[keep].tolist(), shared.col[keep].tolist(), strict=True))
    return pairs


def personas_of(rows: Iterable[Row]) -> list[str]:
    """The personas of some rows, in order of first appearance."""
    return list(dict.fromkeys(row.persona for row in rows))
