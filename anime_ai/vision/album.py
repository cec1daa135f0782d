"""Pictures that people showed, and the characters they know, in the database and on the disk. Knows no model.

A picture is its person's alone: every call names whose it is, and what is another's is not there.
"""

from __future__ import annotations

import builtins
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from anime_ai.errors import VisionError
from anime_ai.storage import CharacterPictureRecord, CharacterRecord, Database, PictureRecord, new_id, shown_name
from anime_ai.vision.observation import Observation, observation_of
from anime_ai.vision.pictures import SMALL, keep

if TYPE_CHECKING:
    from PIL import Image

MOST_NAME = 300
MOST_PICTURES = 10
"""By which one character is known."""


@dataclass(frozen=True)
class Shown:
    """A picture that was shown. `path` is where it is kept."""

    id: str
    name: str
    path: Path
    width: int
    height: int
    seen: Observation
    corrected: bool
    created: float


@dataclass(frozen=True)
class Character:
    """A character of a gallery and how many pictures she is known by."""

    id: str
    name: str
    pictures: int


class Album:
    """See the module. Threads may share it."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database, self._folder = database, folder

    def add(self, person: str, name: str, picture: Image.Image, seen: Observation) -> Shown:
        """Keep a picture that `read_picture` gave, and what was seen in it. Raises StorageError."""
        record = PictureRecord(
            id=new_id(),
            person=person,
            name=shown_name(name)[:MOST_NAME],
            width=picture.width,
            height=picture.height,
            seen=seen.as_json(),
            created=time.time(),
        )
        with self._filed([picture]) as (file,), self._database.session() as session:
            record.file = file
            session.add(record)
        return self._shown(record)

    def get(self, person: str, picture_id: str) -> Shown:
        """Raises VisionError for one that is not there, or another's."""
        with self._database.reading() as session:
            return self._shown(_owned(session, person, picture_id))

    def latest(self, person: str, count: int | None = 60) -> builtins.list[Shown]:
        """The person's pictures, the newest first; all of them where `count` is None."""
        wanted = select(PictureRecord).where(PictureRecord.person == person)
        with self._database.reading() as session:
            found = session.scalars(wanted.order_by(PictureRecord.created.desc()).limit(count))
            return [self._shown(record) for record in found]

    def correct(self, person: str, picture_id: str, seen: Observation, corrected: bool = True) -> Shown:
        """Keep what a person says is to be seen, or what another look saw."""
        with self._database.session() as session:
            record = _owned(session, person, picture_id)
            record.seen, record.corrected = seen.as_json(), corrected
            return self._shown(record)

    def remove(self, person: str, picture_id: str) -> None:
        """Delete a picture and its file for good."""
        with self._database.session() as session:
            record = _owned(session, person, picture_id)
            session.delete(record)
        self._unlink([record.file])

    def files_of(self, person: str) -> dict[str, Path]:
        """Where every picture of a person is kept, by its id."""
        with self._database.reading() as session:
            found = session.execute(select(PictureRecord.id, PictureRecord.file).where(PictureRecord.person == person))
            return {id: self._folder / file for id, file in found}

    # Characters

    def characters(self, person: str) -> builtins.list[Character]:
        count = func.count(CharacterPictureRecord.id)
        wanted = (
            select(CharacterRecord.id, CharacterRecord.name, count)
            .join(CharacterPictureRecord, isouter=True)
            .where(CharacterRecord.person == person)
            .group_by(CharacterRecord.id, CharacterRecord.name)
            .order_by(CharacterRecord.name)
        )
        with self._database.reading() as session:
            return [Character(*row) for row in session.execute(wanted)]

    def enrol(self, person: str, name: str, pictures: Sequence[Image.Image], learned_from: str = "") -> str:
        """Make a character known by some pictures, or by more of them; her id. `learned_from`: the shown picture that
        they are, by which nobody else is known any more.

        Raises VisionError for a name that is none, no picture, or more than MOST_PICTURES of one character.
        """
        name = shown_name(name).strip()
        if not name or len(name) > MOST_NAME:
            raise VisionError("vision.no_name", most=MOST_NAME)
        if not pictures:
            raise VisionError("vision.no_pictures")
        if len(pictures) > MOST_PICTURES:
            raise VisionError("vision.too_many_pictures", name=name, most=MOST_PICTURES)
        with self._filed(pictures) as files:
            try:
                id, gone = self._enrolled(person, name, files, learned_from)
            except IntegrityError:  # somebody else has made her meanwhile
                id, gone = self._enrolled(person, name, files, learned_from)
        self._unlink(gone)
        return id

    def unlearn(self, person: str, picture_id: str, but: str = "") -> None:
        """Let nobody `but` one character be known by a shown picture any more; who was known by it alone is gone."""
        with self._database.session() as session:
            gone = _unlearned(session, person, picture_id, CharacterRecord.id != but)
        self._unlink(gone)

    def _enrolled(
        self, person: str, name: str, files: Sequence[str], learned_from: str
    ) -> tuple[str, builtins.list[str]]:
        """Her id, and the files by which a picture was known before that is named anew."""
        with self._database.session() as session:
            wanted = select(CharacterRecord).where(CharacterRecord.person == person, CharacterRecord.name == name)
            record = session.scalars(wanted).first()
            if record is None:
                record = CharacterRecord(id=new_id(), person=person, name=name)
                session.add(record)
                session.flush()
            count = select(func.count()).where(CharacterPictureRecord.character_id == record.id)
            if (session.scalar(count) or 0) + len(files) > MOST_PICTURES:
                raise VisionError("vision.too_many_pictures", name=name, most=MOST_PICTURES)
            session.add_all(
                CharacterPictureRecord(character_id=record.id, file=file, learned_from=learned_from) for file in files
            )
            session.flush()
            gone = CharacterPictureRecord.file.not_in(files)
            return record.id, _unlearned(session, person, learned_from, gone) if learned_from else []

    def forget(self, person: str, character_id: str) -> None:
        """Delete a character and her pictures for good."""
        with self._database.session() as session:
            record = session.get(CharacterRecord, character_id)
            if record is None or record.person != person:
                raise VisionError("vision.no_character")
            hers = CharacterPictureRecord.character_id == character_id
            files = list(session.scalars(select(CharacterPictureRecord.file).where(hers)))
            session.execute(delete(CharacterPictureRecord).where(hers))
            session.delete(record)
        self._unlink(files)

    def known_by(self, person: str) -> Mapping[str, tuple[Character, Path]]:
        """Every picture by which a person's characters are known: its id, whose it is, where it is kept."""
        wanted = (
            select(CharacterPictureRecord.id, CharacterPictureRecord.file, CharacterRecord.id, CharacterRecord.name)
            .join(CharacterRecord)
            .where(CharacterRecord.person == person)
        )
        with self._database.reading() as session:
            found = list(session.execute(wanted))
        counts = Counter(character for _, _, character, _ in found)
        return {
            id: (Character(character, name, counts[character]), self._folder / file)
            for id, file, character, name in found
        }

    def known_picture(self, person: str, picture_id: str) -> Path:
        """Where one of the pictures is kept by which a person's characters are known. Raises VisionError."""
        wanted = (
            select(CharacterPictureRecord.file)
            .join(CharacterRecord)
            .where(CharacterPictureRecord.id == picture_id, CharacterRecord.person == person)
        )
        with self._database.reading() as session:
            file = session.scalar(wanted)
        if file is None:
            raise VisionError("vision.no_picture")
        return self._folder / file

    @contextmanager
    def _filed(self, pictures: Sequence[Image.Image]) -> Iterator[builtins.list[str]]:
        """The names of some pictures' new files, which are gone again where the block raises."""
        files = [f"{new_id()}.webp" for _ in pictures]
        try:
            for file, picture in zip(files, pictures, strict=True):
                keep(picture, self._folder / file)
            yield files
        except BaseException:
            self._unlink(files)
            raise

    def _unlink(self, files: Iterable[str]) -> None:
        """Files whose rows are gone; one that somebody reads right now, which Windows refuses, stays without a row."""
        for file in files:
            for path in (self._folder / file, (self._folder / file).with_suffix(SMALL)):
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def _shown(self, record: PictureRecord) -> Shown:
        return Shown(
            record.id,
            record.name,
            self._folder / record.file,
            record.width,
            record.height,
            observation_of(record.seen),
            record.corrected,
            record.created,
        )


def _unlearned(session: Session, person: str, picture_id: str, wanted: Any) -> list[str]:
    """Delete what was learned from a shown picture, and the characters that nothing is left of; the files."""
    learned = (
        select(CharacterPictureRecord)
        .join(CharacterRecord)
        .where(CharacterRecord.person == person, CharacterPictureRecord.learned_from == picture_id, wanted)
    )
    found = list(session.scalars(learned))
    files, characters = [one.file for one in found], {one.character_id for one in found}
    session.execute(delete(CharacterPictureRecord).where(CharacterPictureRecord.id.in_([one.id for one in found])))
    left = select(CharacterPictureRecord.character_id)
    session.execute(delete(CharacterRecord).where(CharacterRecord.id.in_(characters), CharacterRecord.id.not_in(left)))
    return files


def _owned(session: Session, person: str, picture_id: str) -> PictureRecord:
    record = session.get(PictureRecord, picture_id)
    if record is None or record.person != person:
        raise VisionError("vision.no_picture")
    return record
