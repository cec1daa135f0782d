"""Who is in a picture: the characters that a person enrolled, by the vectors of their pictures. Knows no files' form.

A picture is surely a character's when it is more like one of hers than strangers' pictures come to be like anybody in
the gallery, which the gallery's own pictures tell; where it is too small to tell, and never below what its model was
measured to need.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from anime_ai.errors import VisionError
from anime_ai.knowledge.vectors import GALLERY, VectorStore
from anime_ai.vision.album import Album, Character
from anime_ai.vision.clip import Vectors
from anime_ai.vision.observation import Known
from anime_ai.vision.pictures import read_picture

if TYPE_CHECKING:
    from PIL import Image

FALSE = 0.05
"""How often a stranger may be taken for somebody known."""
ENOUGH = 8
"""Pictures, of two characters at least, from which a gallery itself tells what is alike."""
UNMEASURED = (0.75, 1.01)
"""Of a model that nobody measured: until a gallery tells more, it may be somebody and never surely is."""
SAME = 0.9999
"""A cosine above which two pictures are the same one."""
TOGETHER = 16
"""Pictures in memory at once."""


class Looker(Protocol):
    """What gives pictures vectors by who is in them. `likeness`: cosines from which it is perhaps, and surely, her;
    None where nobody measured them."""

    @property
    def id(self) -> str: ...

    @property
    def likeness(self) -> tuple[float, float] | None: ...

    def identities(self, pictures: Sequence[Image.Image]) -> Vectors:
        """Unit vectors, (pictures, dimensions)."""
        ...


@dataclass(frozen=True)
class Thresholds:
    """Cosines from which a picture may be, and surely is, of a character."""

    perhaps: float
    surely: float


def calibrated(vectors: Vectors, owners: Sequence[str], measured: tuple[float, float] | None) -> Thresholds:
    """Thresholds out of a gallery's own vectors, (pictures, dimensions), and whose each is.

    To the others, every character is a stranger: how like her pictures come to be to the likest of theirs is what a
    stranger's may come to. A stranger is held against one more character than that, so the line is no lower than what
    the model was measured to need.
    """
    known = np.array(owners)
    if len(known):  # one picture under two names is no stranger's: it would put the line where nothing reaches it
        twice = (vectors @ vectors.T > SAME) & (known[:, None] != known[None, :])
        vectors, known = vectors[~twice.any(axis=1)], known[~twice.any(axis=1)]
    if len(known) < ENOUGH or len(set(known)) < 2:
        return Thresholds(*(measured or UNMEASURED))
    alike = np.where(known[:, None] == known[None, :], -1.0, vectors @ vectors.T)
    likest = alike.max(axis=1)
    least = measured or (0.0, 0.0)
    return Thresholds(
        max(least[0], float(np.quantile(likest, 1 - 4 * FALSE))),
        max(least[1], float(np.quantile(likest, 1 - FALSE))),
    )


class Gallery:
    """The characters of every person. Threads may share it."""

    def __init__(self, album: Album, vectors: VectorStore) -> None:
        self._album, self._vectors = album, vectors
        self._syncing = threading.Lock()

    def recognise(
        self, person: str, pictures: Sequence[Image.Image], looker: Looker, most: int = 3
    ) -> list[list[Known]]:
        """For each picture the characters of a person that it may show, the likeliest first.

        Raises KnowledgeError where the vectors cannot be read, VisionError where the model cannot be loaded.
        """
        vectors, characters = self._hers(person, self._album.known_by(person), looker)
        if not characters or not pictures:
            return [[] for _ in pictures]
        thresholds = calibrated(vectors, [one.id for one in characters], looker.likeness)
        return [self._told(alike, characters, thresholds)[:most] for alike in looker.identities(pictures) @ vectors.T]

    def _hers(
        self, person: str, known: Mapping[str, tuple[Character, Path]], looker: Looker
    ) -> tuple[Vectors, list[Character]]:
        """The vectors of a person's characters, kept from the last time, and whose each is."""
        owner = owner_of(person)
        if not known:  # most people's gallery: no index is opened for it
            return np.zeros((0, 0), np.float32), []

        def made(ids: set[str]) -> dict[str, list[float]]:
            return vectors_of({id: known[id][1] for id in sorted(ids)}, looker.identities)

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


def vectors_of(files: Mapping[str, Path], embed: Callable[[Sequence[Image.Image]], Vectors]) -> dict[str, list[float]]:
    """The vectors of kept pictures by their ids, without those whose file is gone or broken; TOGETHER at once."""
    found: dict[str, list[float]] = {}
    waiting = iter(files.items())
    while chunk := list(islice(waiting, TOGETHER)):
        there: dict[str, Image.Image] = {}
        for id, path in chunk:
            with suppress(VisionError):
                there[id] = read_picture(path)
        if there:
            found |= {id: list(map(float, one)) for id, one in zip(there, embed(list(there.values())), strict=True)}
    return found


def owner_of(person: str, kind: str = "") -> str:
    """The owner of a person's vectors. A person's id may be anything; a collection's name is ASCII."""
    return f"{GALLERY}-{kind}{hashlib.sha256(person.encode()).hexdigest()[:16]}"
