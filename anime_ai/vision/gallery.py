"""Who is in a picture: the characters that a person enrolled, by the vectors of their pictures. Knows no files' form.

A picture is a character's when it is as like one of hers as her own are like each other and others' are not; where the
gallery is too small to tell, the likeness that its model was measured to need.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Protocol

import numpy as np

from anime_ai.knowledge.vectors import GALLERY, VectorStore
from anime_ai.vision.album import Album, Character
from anime_ai.vision.clip import Vectors
from anime_ai.vision.observation import Known

FALSE = 0.05
"""How often a stranger may be taken for somebody known."""
ENOUGH = 12
"""Pairs of pictures of different characters from which the gallery itself tells what is alike."""


class Looker(Protocol):
    """What gives pictures vectors by who is in them. `likeness`: cosines from which it is perhaps, and surely, her."""

    @property
    def id(self) -> str: ...

    @property
    def likeness(self) -> tuple[float, float]: ...

    def identities(self, paths: Sequence[Path]) -> Vectors:
        """Unit vectors, (pictures, dimensions)."""
        ...


@dataclass(frozen=True)
class Thresholds:
    """Cosines from which a picture may be, and surely is, of a character."""

    perhaps: float
    surely: float


def calibrated(vectors: Vectors, owners: Sequence[str], measured: tuple[float, float]) -> Thresholds:
    """Thresholds out of a gallery's own vectors, (pictures, dimensions), and whose each is.

    Surely: above FALSE of the pairs of different characters, and not above what most pairs of one character have.
    """
    alike = vectors @ vectors.T
    pairs = list(combinations(range(len(owners)), 2))
    other = [float(alike[one, two]) for one, two in pairs if owners[one] != owners[two]]
    same = [float(alike[one, two]) for one, two in pairs if owners[one] == owners[two]]
    if len(other) < ENOUGH:
        return Thresholds(*measured)
    surely = float(np.quantile(other, 1 - FALSE))
    if same:
        # Between the two kinds of pairs, where they leave a gap.
        surely = max(surely, min(measured[1], float(np.quantile(same, 0.1))))
    perhaps = min(surely, float(np.quantile(other, 1 - 4 * FALSE)))
    return Thresholds(perhaps, surely)


class Gallery:
    """The characters of every person. Threads may share it."""

    def __init__(self, album: Album, vectors: VectorStore, looker: Callable[[], Looker]) -> None:
        self._album, self._vectors, self._looker = album, vectors, looker
        self._syncing = threading.Lock()

    def recognised(self, person: str, pictures: Vectors, most: int = 3) -> list[list[Known]]:
        """For each picture, (pictures, dimensions), the characters of a person that it may show, the likeliest first.

        Raises KnowledgeError where the vectors cannot be read.
        """
        known = self._album.known_by(person)
        if not known:
            return [[] for _ in pictures]
        vectors, characters = self._hers(person, known)
        thresholds = calibrated(vectors, [one.id for one in characters], self._looker().likeness)
        return [self._told(alike, characters, thresholds)[:most] for alike in pictures @ vectors.T]

    def _hers(self, person: str, known: Mapping[str, tuple[Character, Path]]) -> tuple[Vectors, list[Character]]:
        """The vectors of a person's characters, kept from the last time, and whose each is."""
        looker, owner = self._looker(), _owner(person)

        def made(ids: set[str]) -> dict[str, list[float]]:
            there = [id for id in sorted(ids) if known[id][1].is_file()]
            vectors = looker.identities([known[id][1] for id in there]) if there else ()
            return {id: list(vector) for id, vector in zip(there, vectors, strict=True)}

        with self._syncing:
            self._vectors.sync(owner, looker.id, set(known), made)
            held = self._vectors.held(owner, looker.id)
        there = [id for id in held if id in known]
        return np.array([held[id] for id in there], np.float32), [known[id][0] for id in there]

    @staticmethod
    def _told(alike: Vectors, characters: Sequence[Character], thresholds: Thresholds) -> list[Known]:
        """A character is as like as the likest of her pictures."""
        best: dict[str, Known] = {}
        for place in np.argsort(-alike):
            one, similarity = characters[place], float(alike[place])
            if similarity >= thresholds.perhaps:
                best.setdefault(one.id, Known(one.id, one.name, similarity, similarity >= thresholds.surely))
        return list(best.values())


def _owner(person: str) -> str:
    """A person's id may be anything; a collection's name is ASCII."""
    return f"{GALLERY}-{hashlib.sha256(person.encode()).hexdigest()[:16]}"
