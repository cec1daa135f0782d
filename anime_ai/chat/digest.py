"""A few sentences that stand for a longer talk: SumBasic (Nenkova and Vanderwende 2005) over character bigrams.

Sentences whose bigrams are frequent are taken first, and what was taken counts less from then on. Nothing is put in
other words. Knows no model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from anime_ai.dataset.near import fold

SHORTEST, LONGEST = 5, 60
"""Folded characters of a sentence that says something, and characters of one that is still short."""
_SENTENCE = re.compile(r"[^。！？!?\n…]+[。！？!?…]*")


def digest(said: Sequence[str], characters: int, longest: int = LONGEST) -> list[tuple[int, str]]:
    """(place in `said`, sentence) of those sentences that stand for the whole, in order, within some characters; none
    has more than `longest`."""
    sentences = [
        (place, sentence.strip())
        for place, text in enumerate(said)
        for sentence in _SENTENCE.findall(text)
        if len(fold(sentence)) >= SHORTEST and len(sentence.strip()) <= longest
    ]
    pairs = [_pairs(fold(sentence)) for _, sentence in sentences]
    counts = Counter(pair for some in pairs for pair in some)
    total = sum(counts.values())
    weight = {pair: count / total for pair, count in counts.items()}
    left, taken = set(range(len(sentences))), []
    room = characters
    while left:
        fits = [place for place in left if len(sentences[place][1]) <= room]
        if not fits:
            break
        best = max(fits, key=lambda place: (sum(weight[pair] for pair in pairs[place]) / len(pairs[place]), -place))
        left.discard(best)
        taken.append(best)
        room -= len(sentences[best][1])
        for pair in set(pairs[best]):
            weight[pair] **= 2
    return [sentences[place] for place in sorted(taken)]


def _pairs(folded: str) -> list[str]:
    return [folded[place : place + 2] for place in range(len(folded) - 1)]
