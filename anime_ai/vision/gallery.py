"""Who is in a picture: the characters that a person enrolled, by the vectors of their pictures. Knows no files' form.

A picture is surely a character's when it is more like one of hers than strangers' pictures come to be like anybody in
the gallery, which the gallery's own pictures tell; where it is too small to tell, and never below what its model was
measured to need.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from anime_ai.knowledge.vectors import GALLERY, VectorStore
from anime_ai.vision.album import Album, Character
from anime_ai.vision.clip import Vectors
from anime_ai.vision.observation import Known

FALSE = 0.05
"""How often a stranger may be taken for somebody known."""
ENOUGH = 8
"""Pictures, of two characters at least, from which a gallery itself tells what is alike."""


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

    To the others, every character is a stranger: how like her pictures come to be to the likest of theirs is what a
    stranger's may come to. A stranger is held against one more character than that, so the line is no lower than what
    the model was measured to need.
    """
    known = np.array(owners)
    if len(known) < ENOUGH or len(set(owners)) < 2:
        return Thresholds(*measured)
    alike = np.where(known[:, None] == known[None, :], -1.0, vectors @ vectors.T)
    likest = alike.max(axis=1)
    return Thresholds(
        max(measured[0], float(np.quantile(likest, 1 - 4 * FALSE))),
        max(measured[1], float(np.quantile(likest, 1 - FALSE))),
    )


class Gallery:
    """The characters of every person. Threads may share it."""

    def __init__(self, album: Album, vectors: VectorStore, looker: Callable[[], Looker]) -> None:
        self._album, self._vectors, self._looker = album, vectors, looker
        self._syncing = threading.Lock()

    def recognised(self, person: str, pictures: Vectors, most: int = 3) -> list[list[Known]]:
        """For each picture, (pictures, dimensions), the characters of a person that it may show, the likeliest first.

        Raises KnowledgeError where the vectors cannot be read.
        """
        vectors, characters = self._hers(person, self._album.known_by(person))
        if not characters:
            return [[] for _ in pictures]
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
