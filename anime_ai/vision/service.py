"""Looking at pictures: the page, the command line and the chat call this. Opening it loads no model.

Several models may look at one picture; what the one that knows more says of a group of tags goes before the others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from anime_ai.config import Settings
from anime_ai.errors import AnimeAIError, VisionError
from anime_ai.files import read_json, write_json
from anime_ai.storage import Database
from anime_ai.vision.album import Album, Shown
from anime_ai.vision.clip import Clip
from anime_ai.vision.describing import Labels, of_tagger, read
from anime_ai.vision.models import KNOWN, STARTER, VisionModel, folder_of, get, known
from anime_ai.vision.observation import Observation
from anime_ai.vision.pictures import dominant_colours, read_picture
from anime_ai.vision.tagger import Tagger
from anime_ai.vision.zero_shot import ZeroShot

if TYPE_CHECKING:
    from PIL import Image

LABELS_FILE = "labels.json"
TOGETHER = 8
"""Pictures that a model looks at at once; as many are read meanwhile."""
READERS = 2
RANKS = ("tagger", "clip", "list", "caption")
"""Kinds of models, the one that knows most about tags first."""


class Looks(Protocol):
    """A loaded model as one that observes."""

    def look(self, pictures: Sequence[Image.Image]) -> list[Observation]: ...


@dataclass(frozen=True)
class ModelChoice:
    """A model that the page offers. `present`: on this disk; `chosen`: it looks."""

    model: VisionModel
    present: bool
    chosen: bool


@dataclass(frozen=True)
class Looked:
    """What became of one file: the picture as it is kept, or why there is none."""

    name: str
    shown: Shown | None = None
    error: AnimeAIError | None = None


class Vision:
    """See the module. Threads may share it; one of them looks at a time."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.album = Album(database, settings.studio_dir / "pictures")
        self._chosen_file = settings.studio_dir / "vision.json"
        self._looking = threading.Lock()
        self._loaded: dict[str, Looks] = {}

    # Models

    def models(self) -> list[ModelChoice]:
        chosen = self.chosen()
        return [ModelChoice(model, folder_of(model) is not None, model.id in chosen) for model in KNOWN]

    @property
    def ready(self) -> bool:
        """Whether any model is here that can look."""
        return any(folder_of(model) for model in KNOWN)

    def chosen(self) -> list[str]:
        """The ids of the models that look, the one that knows most first; the starter where none was chosen."""
        told = read_json(self._chosen_file)
        ids = told.get("models") if isinstance(told, dict) else None
        ids = ids if isinstance(ids, list) else []
        there = [model for model in KNOWN if model.id in ids and folder_of(model)]
        return [model.id for model in sorted(there, key=lambda model: RANKS.index(model.kind))] or [STARTER]

    def use(self, ids: Sequence[str]) -> list[str]:
        """Choose the models that look. Raises VisionError for one that is unknown or not on this disk."""
        for id in ids:
            if folder_of(known(id)) is None:
                raise VisionError("vision.not_here", name=id)
        write_json(self._chosen_file, {"models": list(dict.fromkeys(ids))})
        return self.chosen()

    def fetch(self, id: str, tell: Callable[[], None] = lambda: None) -> Path:
        """Fetch a model where it is not here. Raises VisionError or ModelError."""
        return get(known(id), self.settings.hub_timeout, tell)

    # Looking

    def look(self, pictures: Sequence[Image.Image], ids: Sequence[str] | None = None) -> list[Observation]:
        """What the chosen models see, or those of some `ids`. Raises VisionError where one cannot be loaded."""
        with self._looking:
            chosen = self.chosen() if ids is None else list(ids)
            for id in self._loaded.keys() - set(chosen):  # one that looks no longer must not hold the memory
                del self._loaded[id]
            seen = [self._looker(id).look(pictures) for id in chosen]
        together = [_merged(parts) for parts in zip(*seen, strict=True)]
        return [
            replace(one, colours=dominant_colours(picture)) for one, picture in zip(together, pictures, strict=True)
        ]

    def describe(self, person: str, name: str, source: Path | bytes) -> Shown:
        """Read a picture, look at it and keep both. Raises VisionError and StorageError."""
        picture = read_picture(source)
        (seen,) = self.look([picture])
        return self.album.add(person, name, picture, seen)

    def describe_all(
        self, person: str, files: Sequence[tuple[str, Path]], stop: threading.Event | None = None
    ) -> Iterator[Looked]:
        """Each of some files, (name, path), in order: the next are read while a model looks at those at hand.

        Setting `stop`, or closing the iterator, ends it after what is at hand; what was kept stays. Raises VisionError
        where a model cannot be loaded.
        """
        waiting = iter(files)
        readers = ThreadPoolExecutor(READERS)
        try:
            ahead = [(name, readers.submit(_read, path)) for name, path in islice(waiting, TOGETHER)]
            while ahead:
                reading = [(name, readers.submit(_read, path)) for name, path in islice(waiting, TOGETHER)]
                found = [(name, one.result()) for name, one in ahead]
                yield from self._kept(person, found)
                if stop is not None and stop.is_set():
                    return
                ahead = reading
        finally:
            readers.shutdown(wait=False, cancel_futures=True)

    def _kept(self, person: str, found: Sequence[tuple[str, Image.Image | AnimeAIError]]) -> Iterator[Looked]:
        there = [picture for _, picture in found if not isinstance(picture, AnimeAIError)]
        seen = iter(self.look(there) if there else ())
        for name, picture in found:
            if isinstance(picture, AnimeAIError):
                yield Looked(name, error=picture)
                continue
            try:
                yield Looked(name, self.album.add(person, name, picture, next(seen)))
            except AnimeAIError as error:
                yield Looked(name, error=error)

    def _looker(self, id: str) -> Looks:
        if id not in self._loaded:
            model = known(id)
            folder = folder_of(model)
            if folder is None:
                raise VisionError("vision.not_here", name=id)
            self._loaded[id] = _opened(model, folder)
        return self._loaded[id]


class Lists:
    """A CoCa that writes lists of tags, as the starter's does."""

    def __init__(self, clip: Clip, labels: Labels) -> None:
        self.clip, self.labels = clip, labels

    def look(self, pictures: Sequence[Image.Image]) -> list[Observation]:
        written = self.clip.caption(pictures)
        return [
            Observation(caption.text, read(caption, self.clip.tokenizer, self.labels), models=(self.clip.id,))
            for caption in written
        ]


class Captions:
    """A CoCa that writes a sentence, in the language that it was trained on."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip

    def look(self, pictures: Sequence[Image.Image]) -> list[Observation]:
        return [Observation(caption.text, models=(self.clip.id,)) for caption in self.clip.caption(pictures)]


class Tags:
    """A WD tagger."""

    def __init__(self, tagger: Tagger) -> None:
        self.tagger = tagger

    def look(self, pictures: Sequence[Image.Image]) -> list[Observation]:
        return [of_tagger(tagged, self.tagger.id) for tagged in self.tagger.look(pictures)]


def _opened(model: VisionModel, folder: Path) -> Looks:
    if model.kind == "tagger":
        return Tags(Tagger(folder, model.id))
    clip = Clip(folder, model.id)
    if model.kind == "list":
        labels = read_json(folder / LABELS_FILE)
        if not isinstance(labels, dict):
            raise VisionError("vision.no_model", name=model.id, why=LABELS_FILE)
        return Lists(clip, labels)
    return Captions(clip) if model.kind == "caption" else ZeroShot(clip)


def _merged(parts: Sequence[Observation]) -> Observation:
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


def _read(path: Path) -> Image.Image | AnimeAIError:
    try:
        return read_picture(path)
    except AnimeAIError as error:
        return error
