"""Pictures found again, by words or by likeness to another one. Knows no files' form.

What was seen in a picture, or corrected on it, goes before what a model finds like the words: who asks for 银发红瞳
wants both first, then one of them. Where no model likens words to pictures, what was seen is all there is.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from anime_ai.errors import KnowledgeError
from anime_ai.knowledge.vectors import VectorStore
from anime_ai.vision.album import Album, Shown
from anime_ai.vision.gallery import owner_of, vectors_of
from anime_ai.vision.looking import Likens
from anime_ai.vision.tags import spotted

log = logging.getLogger("anime_ai.vision")
DEPTH = 500
"""Pictures whose likeness is asked for."""
LEAST_NAME = 2
"""Characters of a word that is looked for in names and captions."""


@dataclass(frozen=True)
class Found:
    """A picture that fits: the share of the asked words that it shows, and its likeness (cosine, 0 where none)."""

    shown: Shown
    coverage: float
    likeness: float


class Search:
    """Over everything that a person has shown. Threads may share it."""

    def __init__(self, album: Album, vectors: VectorStore) -> None:
        self._album, self._vectors = album, vectors
        self._syncing = threading.Lock()

    def by_words(self, person: str, said: str, likens: Likens | None, count: int = 60) -> list[Found]:
        """The pictures that show what was said, those that show most of it first; where none shows anything of it,
        those that a model finds likest."""
        wanted, rest = spotted(said)
        names = [word.casefold() for word in rest if len(word) >= LEAST_NAME]
        pictures = self._album.latest(person, None)
        alike: dict[str, float] = {}
        if likens is not None and pictures:
            vector = likens.embed_words(said, sorted({name for names in wanted for name in names}))
            alike = self._nearest(person, list(map(float, vector)), likens)
        found = [Found(one, _coverage(one, wanted, names), alike.get(one.id, 0.0)) for one in pictures]
        fitting = [one for one in found if one.coverage > 0] or [one for one in found if one.shown.id in alike]
        return sorted(fitting, key=lambda one: (-one.coverage, -one.likeness))[:count]

    def like(self, person: str, picture: Shown, likens: Likens | None, count: int = 60) -> list[Found]:
        """The other pictures that are likest to one of them: by a model where one can tell, else by what they share."""
        pictures = [one for one in self._album.latest(person, None) if one.id != picture.id]
        alike: dict[str, float] = {}
        if likens is not None and pictures:
            vectors = vectors_of({picture.id: picture.path}, likens.embed)
            alike = self._nearest(person, vectors[picture.id], likens) if vectors else {}
        found = [Found(one, _shared(one, picture), alike.get(one.id, 0.0)) for one in pictures]
        return sorted(found, key=lambda one: (-one.likeness, -one.coverage))[:count]

    def _nearest(self, person: str, vector: Sequence[float], likens: Likens) -> dict[str, float]:
        """Likeness by a picture's id, none where the vectors cannot be had."""
        owner = owner_of(person, "shown-")
        files = self._album.files_of(person)
        try:
            with self._syncing:
                self._vectors.sync(
                    owner,
                    likens.id,
                    set(files),
                    lambda ids: vectors_of({id: files[id] for id in sorted(ids)}, likens.embed),
                )
            return dict(self._vectors.search(owner, likens.id, vector, DEPTH))
        except KnowledgeError as error:
            log.warning("pictures are found by what was seen alone: %s", error.say("en"))
            return {}


def _coverage(shown: Shown, wanted: Sequence[frozenset[str]], names: Sequence[str]) -> float:
    """The share of the asked words that a picture shows; a word that is no tag counts where its name has it."""
    seen = {tag.name for tag in shown.seen.tags}
    called = "\n".join((shown.name, shown.seen.caption, *(one.name for one in shown.seen.characters))).casefold()
    named = [name for name in names if name in called]
    # A word that nobody knows (戴, 女孩) must not make a picture worse that shows all the others.
    asked = len(wanted) + len(named) or len(names)
    return (sum(bool(one & seen) for one in wanted) + len(named)) / asked if asked else 0.0


def _shared(one: Shown, other: Shown) -> float:
    """What the tags of two pictures have in common (Jaccard)."""
    first, second = ({tag.name for tag in shown.seen.tags} for shown in (one, other))
    return len(first & second) / max(1, len(first | second))
