"""Looking at pictures: the page, the command line and the chat call this. Opening it loads no model."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

from anime_ai.config import Settings
from anime_ai.errors import AnimeAIError, KnowledgeError, VisionError
from anime_ai.files import read_json, write_json
from anime_ai.knowledge.vectors import VectorStore
from anime_ai.storage import Database
from anime_ai.vision.album import MOST_PICTURES, Album, Character, Shown
from anime_ai.vision.gallery import Gallery
from anime_ai.vision.looking import Likens, Looks, merged, opened
from anime_ai.vision.models import KNOWN, STARTER, VisionModel, folder_of, get, known
from anime_ai.vision.observation import Known, Observation
from anime_ai.vision.pictures import dominant_colours, read_picture
from anime_ai.vision.search import Found, Search

if TYPE_CHECKING:
    from PIL import Image

    from anime_ai.vision.clip import Vectors

log = logging.getLogger("anime_ai.vision")
TOGETHER = 8
"""Pictures that a model looks at at once; as many are read meanwhile."""
WORKERS = 2
"""Threads that read and keep pictures meanwhile."""
RANKS = ("tagger", "clip", "list", "caption")
"""Kinds of models, the one that knows most about tags first."""
LIKENS = ("clip", "list")
"""Kinds that understand Chinese words."""


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


@dataclass(frozen=True)
class InTurn:
    """A model that a search asks for vectors, and which others look through between two of its calls: the first search
    after a model was chosen fills in the vectors of everything that was shown."""

    model: Likens
    turn: threading.Lock

    @property
    def id(self) -> str:
        return self.model.id

    def embed(self, pictures: Sequence[Image.Image]) -> Vectors:
        with self.turn:
            return self.model.embed(pictures)

    def embed_words(self, said: str, names: Sequence[str]) -> Vectors:
        with self.turn:
            return self.model.embed_words(said, names)


class Vision:
    """See the module. Threads may share it; one of them looks at a time."""

    def __init__(self, settings: Settings, database: Database, vectors: VectorStore) -> None:
        self.settings = settings
        self.album = Album(database, settings.studio_dir / "pictures")
        self._gallery = Gallery(self.album, vectors)
        self._search = Search(self.album, vectors)
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

    def look(
        self, pictures: Sequence[Image.Image], ids: Sequence[str] | None = None, person: str = ""
    ) -> list[Observation]:
        """What the chosen models see, or those of some `ids`, and whom of a person's gallery.

        Raises VisionError where a model cannot be loaded.
        """
        with self._looking:
            lookers = self._lookers(ids)
            seen = [looker.look(pictures) for looker in lookers]
            known = self._recognised(person, pictures, lookers[0])
        return [
            replace(one, characters=(*hers, *one.characters), colours=dominant_colours(picture))
            for one, hers, picture in zip(map(merged, zip(*seen, strict=True)), known, pictures, strict=True)
        ]

    def describe(self, person: str, name: str, source: Path | bytes) -> Shown:
        """Read a picture, look at it and keep both. Raises VisionError and StorageError."""
        picture = read_picture(source)
        (seen,) = self.look([picture], person=person)
        return self.album.add(person, name, picture, seen)

    def again(self, person: str, picture_id: str) -> Shown:
        """Look at a picture once more, with the models that are chosen now and the characters that are known now;
        what was corrected on it is gone."""
        (seen,) = self.look([read_picture(self.album.get(person, picture_id).path)], person=person)
        return self.album.correct(person, picture_id, seen, corrected=False)

    def describe_all(
        self, person: str, files: Sequence[tuple[str, Path]], stop: threading.Event | None = None
    ) -> Iterator[Looked]:
        """Each of some files, (name, path), in order: the next are read while a model looks at those at hand.

        Setting `stop`, or closing the iterator, ends it after what is at hand; what was kept stays. Raises VisionError
        where a model cannot be loaded.
        """
        waiting = iter(files)
        workers = ThreadPoolExecutor(WORKERS)
        try:
            ahead = [(name, workers.submit(_read, path)) for name, path in islice(waiting, TOGETHER)]
            while ahead:
                reading = [(name, workers.submit(_read, path)) for name, path in islice(waiting, TOGETHER)]
                found = [(name, one.result()) for name, one in ahead]
                for one in self._keeping(person, found, workers):
                    yield one()
                if stop is not None and stop.is_set():
                    return
                ahead = reading
        finally:
            workers.shutdown(wait=False, cancel_futures=True)

    def _keeping(
        self, person: str, found: Sequence[tuple[str, Image.Image | AnimeAIError]], workers: ThreadPoolExecutor
    ) -> list[Callable[[], Looked]]:
        """What hands over each file's end, in order: to keep a picture is to encode it, which takes as long as to look
        at it, and several are kept at once."""
        there = [picture for _, picture in found if not isinstance(picture, AnimeAIError)]
        seen = iter(self.look(there, person=person) if there else ())
        return [
            partial(Looked, name, error=picture)
            if isinstance(picture, AnimeAIError)
            else workers.submit(self._kept, person, name, picture, next(seen)).result
            for name, picture in found
        ]

    def _kept(self, person: str, name: str, picture: Image.Image, seen: Observation) -> Looked:
        try:
            return Looked(name, self.album.add(person, name, picture, seen))
        except AnimeAIError as error:
            return Looked(name, error=error)

    # Correcting, characters

    def correct(self, person: str, picture_id: str, seen: Observation, who: str | None = None) -> Shown:
        """Keep what a person says is to be seen and, where they say it, who it is, "" for nobody they know: the gallery
        learns the picture."""
        shown = self.album.get(person, picture_id)
        if who is not None and who.strip() != next((one.name for one in seen.characters if one.sure), ""):
            known = self._learned(person, shown, who.strip()) if who.strip() else None
            if known is None:
                self.album.unlearn(person, picture_id)
            seen = seen.recognised(known)
        return self.album.correct(person, picture_id, seen)

    def enrol(self, person: str, name: str, sources: Sequence[Path | bytes]) -> Character:
        """Make a character known by one to ten pictures, or by more of them. Raises VisionError and StorageError."""
        if len(sources) > MOST_PICTURES:  # before they are read
            raise VisionError("vision.too_many_pictures", name=name, most=MOST_PICTURES)
        id = self.album.enrol(person, name, [read_picture(source) for source in sources])
        return next(one for one in self.album.characters(person) if one.id == id)

    def _learned(self, person: str, shown: Shown, name: str) -> Known:
        """The character whom a person named in a picture, by which she is known from now on, and nobody else who was
        named on it before. One who is known by enough pictures learns no more."""
        held = next((one for one in self.album.characters(person) if one.name == name), None)
        if held is not None and held.pictures >= MOST_PICTURES:
            self.album.unlearn(person, shown.id, but=held.id)
            return Known(held.id, held.name, 1.0, True)
        return Known(self.album.enrol(person, name, [read_picture(shown.path)], shown.id), name, 1.0, True)

    # Finding

    def find(self, person: str, said: str) -> list[Found]:
        """The pictures of a person that show what was said, best first."""
        return self._search.by_words(person, said, self._likens())

    def like(self, person: str, picture_id: str) -> list[Found]:
        """A person's other pictures, the one most like a picture first."""
        return self._search.like(person, self.album.get(person, picture_id), self._likens())

    # Loaded models

    def _recognised(self, person: str, pictures: Sequence[Image.Image], looker: Looks) -> list[list[Known]]:
        if person:
            try:
                return self._gallery.recognise(person, pictures, looker)
            except KnowledgeError as error:  # the vectors are another process's: what else is seen is told
                log.warning("nobody is recognised: %s", error.say("en"))
        return [[] for _ in pictures]

    def _likens(self) -> InTurn | None:
        """The chosen model that likens words to pictures."""
        id = next((id for id in self.chosen() if known(id).kind in LIKENS), None)
        if id is None or folder_of(known(id)) is None:
            return None
        with self._looking:
            return InTurn(cast(Likens, self._looker(id)), self._looking)

    def _lookers(self, ids: Sequence[str] | None) -> list[Looks]:
        chosen = self.chosen() if ids is None else list(ids)
        for id in self._loaded.keys() - set(chosen):  # one that looks no longer must not hold the memory
            del self._loaded[id]
        return [self._looker(id) for id in chosen]

    def _looker(self, id: str) -> Looks:
        if id not in self._loaded:
            model = known(id)
            folder = folder_of(model)
            if folder is None:
                raise VisionError("vision.not_here", name=id)
            self._loaded[id] = opened(model, folder)
        return self._loaded[id]


def _read(path: Path) -> Image.Image | AnimeAIError:
    try:
        return read_picture(path)
    except AnimeAIError as error:
        return error
