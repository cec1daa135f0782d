"""Loaded models as those that look: each says what it sees, and some tell who it is or liken words to pictures.

Several may look at one picture; what the one that knows more says of a group of tags goes before the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from anime_ai.errors import VisionError
from anime_ai.files import read_json
from anime_ai.vision.clip import Clip, Vectors, unit
from anime_ai.vision.describing import Labels, of_tagger, read
from anime_ai.vision.identity import IDENTITY, Identity
from anime_ai.vision.models import VisionModel
from anime_ai.vision.observation import Observation, group_of
from anime_ai.vision.tagger import Tagger
from anime_ai.vision.tags import word
from anime_ai.vision.zero_shot import TOLD, ZeroShot

if TYPE_CHECKING:
    from PIL import Image

LABELS_FILE = "labels.json"
LASTING = ("hair_colour", "hair_style", "eyes", "body", "accessories")
"""Groups of tags that stay a character's from picture to picture."""


class Looks(Protocol):
    """A model that observes. `likeness`: the cosines of `identities` from which a picture is perhaps, and surely, of a
    character, None where nobody measured them."""

    @property
    def id(self) -> str: ...

    @property
    def likeness(self) -> tuple[float, float] | None: ...

    def look(self, pictures: Sequence[Image.Image]) -> list[Observation]: ...

    def identities(self, pictures: Sequence[Image.Image]) -> Vectors:
        """Unit vectors by who is in the pictures, (pictures, dimensions)."""
        ...


class Likens(Protocol):
    """A model that likens words to pictures: unit vectors whose cosines can be compared."""

    @property
    def id(self) -> str: ...

    def embed(self, pictures: Sequence[Image.Image]) -> Vectors: ...

    def embed_words(self, said: str, names: Sequence[str]) -> Vectors:
        """What a person searches for, (dimensions,): as it was `said`, and the tags that were found in it."""
        ...


class _OfClip:
    """What every open_clip model can. Where a folder brings no projection for it, who somebody is is told by the whole
    picture's vector, which sees her clothes and where she is as well."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip

    @property
    def id(self) -> str:
        return self.clip.id

    @property
    def likeness(self) -> tuple[float, float] | None:
        return self._identity.likeness if self._identity else None

    def identities(self, pictures: Sequence[Image.Image]) -> Vectors:
        return self._identity(self.clip.features(pictures)) if self._identity else self.clip.embed(pictures)

    def embed(self, pictures: Sequence[Image.Image]) -> Vectors:
        return self.clip.embed(pictures)

    @cached_property
    def _identity(self) -> Identity | None:
        return Identity.of(self.clip.folder) if (self.clip.folder / IDENTITY).is_file() else None


class Lists(_OfClip):
    """A CoCa that writes lists of tags, as the starter's does."""

    def __init__(self, clip: Clip, labels: Labels) -> None:
        super().__init__(clip)
        self.labels = labels

    def look(self, pictures: Sequence[Image.Image]) -> list[Observation]:
        written = self.clip.caption(pictures)
        return [
            Observation(caption.text, read(caption, self.clip.tokenizer, self.labels), models=(self.id,))
            for caption in written
        ]

    def embed_words(self, said: str, names: Sequence[str]) -> Vectors:
        """In the words of its lists, which are all that it knows."""
        known = [name for labels in self.labels.values() for name in labels if name in names]
        (vector,) = self.clip.embed_texts(["，".join(word(name, "zh") for name in known) or said])
        return np.asarray(vector)


class Captions(_OfClip):
    """A CoCa that writes a sentence, in the language that it was trained on."""

    def look(self, pictures: Sequence[Image.Image]) -> list[Observation]:
        # CLIP's vocabulary parts a word from the punctuation behind it.
        written = [re.sub(r"\s+([,.;:!?'])", r"\1", caption.text) for caption in self.clip.caption(pictures)]
        return [Observation(text, models=(self.id,)) for text in written]


class Zeros(_OfClip):
    """A CLIP, which likens a picture to the words for what it may show."""

    @cached_property
    def _tags(self) -> ZeroShot:
        return ZeroShot(self.clip)

    def look(self, pictures: Sequence[Image.Image]) -> list[Observation]:
        return self._tags.look(pictures)

    def embed_words(self, said: str, names: Sequence[str]) -> Vectors:
        return unit(self.clip.embed_texts([one.format(said) for one in TOLD]).mean(axis=0))


class Tags:
    """A WD tagger. It takes two pictures for one character's by the tags that last, each as likely as it finds it."""

    likeness = None

    def __init__(self, tagger: Tagger) -> None:
        self.tagger = tagger

    @property
    def id(self) -> str:
        return self.tagger.id

    def look(self, pictures: Sequence[Image.Image]) -> list[Observation]:
        return [of_tagger(tagged, self.id) for tagged in self.tagger.look(pictures)]

    def identities(self, pictures: Sequence[Image.Image]) -> Vectors:
        places = [place for place, name in enumerate(self.tagger.names) if group_of(name) in LASTING]
        return unit(np.stack([self.tagger.scores(picture)[places] for picture in pictures]))


def opened(model: VisionModel, folder: Path) -> Looks:
    """A model of a folder, whose weights are loaded at the first picture. Raises VisionError."""
    if model.kind == "tagger":
        return Tags(Tagger(folder, model.id))
    clip = Clip(folder, model.id)
    if model.kind == "list":
        labels = read_json(folder / LABELS_FILE)
        if not isinstance(labels, dict):
            raise VisionError("vision.no_model", name=model.id, why=LABELS_FILE)
        return Lists(clip, labels)
    kinds: dict[str, Callable[[Clip], Looks]] = {"caption": Captions, "clip": Zeros}
    return kinds[model.kind](clip)


def merged(parts: Sequence[Observation]) -> Observation:
    """One observation out of several models': of a group of tags the first one's, and the last one's caption."""
    tags, groups = [], set()
    for part in parts:
        tags += [tag for tag in part.tags if tag.group not in groups]
        groups |= {tag.group for tag in part.tags}
    captions = [part.caption for part in parts if part.caption]
    ratings = [part.rating for part in parts if part.rating]
    return Observation(
        captions[-1] if captions else "",
        tuple(tags),
        tuple(one for part in parts for one in part.characters),
        ratings[0] if ratings else "",
        models=tuple(name for part in parts for name in part.models),
    )
