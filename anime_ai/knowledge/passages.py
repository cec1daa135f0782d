"""From chunks that were found to passages for a prompt, and from an answer back to them. Knows no index.

What a sentence of an answer rests on is told by overlap: the model is not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from anime_ai.knowledge import tokens
from anime_ai.knowledge.chunks import sentences
from anime_ai.knowledge.store import StoredChunk

Rarity = Callable[[Set[int]], Sequence[float]]
"""How rare some terms are in the index, 1 for one that a single chunk holds."""
RESTS = 0.5
"""A sentence rests on a passage that has this share of its pairs of characters, at least LEAST_PAIRS of them."""
LEAST_PAIRS = 3
RARE = 0.9
"""Or one that shares as much with it as nearly one pair that no other chunk has."""


@dataclass(frozen=True)
class Passage:
    """A stretch of a document as it enters a prompt: `text` is what is read, `start` and `end` where it stands.

    `used`: whether it enters; `why` is the key of the reason where it does not.
    """

    chunk_id: str
    document_id: str
    document: str
    page: int
    start: int
    end: int
    heading: str
    text: str
    score: float = 0.0
    lexical_rank: int | None = None
    dense_rank: int | None = None
    coverage: float = 0.0
    used: bool = True
    why: str = ""

    def told(self) -> str:
        """The passage as the model reads it: under the name that it is about."""
        name = self.heading.split(" › ")[0]
        return f"{name}\n{self.text}" if name else self.text


@dataclass(frozen=True)
class Citation:
    """A stretch of an answer (characters) and the number (from 1) of the passage that it rests on."""

    start: int
    end: int
    passage: int


def of_chunk(chunk: StoredChunk) -> Passage:
    return Passage(
        chunk.id, chunk.document_id, chunk.document, chunk.page, chunk.start, chunk.end, chunk.heading, chunk.text
    )


def narrowed(passage: Passage, question: str, most: int) -> Passage:
    """The sentences of a passage around the one that has most in common with `question`, at most `most` characters.

    A small model reads a short passage better than a long one.
    """
    if len(passage.text) <= most:
        return passage
    spans = list(sentences(passage.text)) or [(0, len(passage.text))]
    asked = _terms(question)
    weights = [len(asked & _terms(passage.text[start:end])) for start, end in spans]
    first = last = weights.index(max(weights))
    while True:
        beside = [place for place in (first - 1, last + 1) if 0 <= place < len(spans)]
        beside = [place for place in beside if spans[max(last, place)][1] - spans[min(first, place)][0] <= most]
        if not beside:
            break
        best = max(beside, key=lambda place: weights[place])
        first, last = min(first, best), max(last, best)
    start, end = spans[first][0], spans[last][1]
    if end - start > most:  # a sentence, or a line of a table, that is longer than allowed: around what is asked
        shared = common(passage.text[start:end], question)
        start += max(0, min(shared[0][0] - most // 4 if shared else 0, end - start - most))
        end = start + most
    return replace(passage, text=passage.text[start:end], start=passage.start + start, end=passage.start + end)


def cited(answer: str, passages: Sequence[Passage], question: str, rarity: Rarity) -> list[Citation]:
    """The sentences of `answer` that rest on a passage, each with the one that it has most in common with.

    A sentence rests on a passage when most of its pairs of characters stand there, or as much that is rare, and was not
    in the question, as one pair that no other chunk has.
    """
    asked, read = pairs(question), [pairs(passage.text) for passage in passages]
    found = []
    for start, end in sentences(answer):
        said = pairs(answer[start:end])
        shared = [said & one - asked for one in read]
        weights = [sum(rarity(one)) for one in shared]
        best = max(range(len(read)), key=lambda place: weights[place], default=-1)
        if best >= 0 and (weights[best] >= RARE or len(shared[best]) >= max(LEAST_PAIRS, RESTS * len(said))):
            found.append(Citation(start, end, best + 1))
    return found


def common(text: str, question: str) -> list[tuple[int, int]]:
    """The stretches of `text`, two characters or longer, that stand in `question` too, width, case and script aside."""
    asked, read = tokens.folded(question), tokens.folded(text)
    shared = {asked[place : place + 2] for place in range(len(asked) - 1)}
    found: list[tuple[int, int]] = []
    for place in range(len(read) - 1):
        pair = read[place : place + 2]
        if pair in shared and pair.isalnum():
            if found and found[-1][1] >= place:
                found[-1] = (found[-1][0], place + 2)
            else:
                found.append((place, place + 2))
    return found


def _terms(text: str) -> set[int]:
    return set((tokens.keys([text]) >> np.uint64(tokens.TEXT_BITS)).tolist())


@lru_cache(maxsize=256)
def pairs(text: str) -> frozenset[int]:
    """The terms of `text` that are pairs of neighbours, and its words; the same passages are found again and again."""
    return frozenset(term for term in _terms(text) if term & ((1 << 21) - 1))
