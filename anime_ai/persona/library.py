"""The personas of the database beside those that ship: imported, edited, published, exported. Knows no page.

A card's text is in the database, its pictures lie in a folder under names that are ours. Every edit keeps what was
there before; what is removed can be had back. Those that ship are read where they lie; an edit of one makes a copy.
"""

from __future__ import annotations

import builtins
import io
import time
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from anime_ai.config import AVATARS, DATA, OWNER
from anime_ai.errors import AnimeAIError, PersonaError
from anime_ai.files import write_bytes
from anime_ai.persona import charx
from anime_ai.persona.card import Card, card_of
from anime_ai.persona.cards import Persona, Personas, by_name
from anime_ai.persona.faces import FaceBook, Faces
from anime_ai.persona.files import Found, as_png, plain_picture, write
from anime_ai.persona.sprites import faceless, sprites_of, with_sprites, without_sprite
from anime_ai.storage import Database, shown_name
from anime_ai.tables import PersonaRecord, PersonaRevisionRecord, new_id

MOST_NAME = 80
MOST_REVISIONS = 100
"""Former states that are kept of one persona."""
SHOWN_SIDE = 640
"""Pixels of the longer side of a picture that the page shows."""
UNCHANGED = Faces()
LOOK_EVERY = 0.5
"""Seconds after which it is looked whether another process has changed something."""

_STAMP = select(func.count(), func.max(PersonaRecord.updated)).where(PersonaRecord.removed.is_(False))
"""Made once: it is run for nearly every answer."""


@dataclass(frozen=True)
class Revision:
    """A former state of a card; `created`: when it was replaced."""

    number: int
    card: Card
    created: float


class PersonaLibrary(Personas):
    """See the module. `folder`: where the pictures lie. Threads may share it."""

    def __init__(self, database: Database, folder: Path, shipped: Path = DATA / "personas") -> None:
        super().__init__(shipped)
        self._database, self._pictures = database, folder
        self.faces = FaceBook(database, folder)
        self._own: tuple[float, tuple[Any, ...], builtins.list[Persona]] = (0.0, (), [])

    # Reading

    def _known(self) -> builtins.list[Persona]:
        return [self._with_face(one) for one in self._faceless()]

    def named(self, name: str) -> Persona | None:
        found = by_name(self._faceless(), name)
        return found and self._with_face(found)

    def _faceless(self) -> builtins.list[Persona]:
        """Everybody, with the faces that the cards bring along."""
        looked, stamp, own = self._own
        if time.monotonic() - looked > LOOK_EVERY or not looked:
            own = self._read_own(stamp, own)
        return [*self._all, *own]

    def _with_face(self, persona: Persona) -> Persona:
        faces = self.faces.of(persona.id)
        return replace(persona, sprites=faces.sprites, expressive=faces.shown) if faces != UNCHANGED else persona

    def _read_own(self, stamp: tuple[Any, ...], own: builtins.list[Persona]) -> builtins.list[Persona]:
        with self._database.reading() as session:
            now = tuple(session.connection().execute(_STAMP).one())
            if now != stamp:
                wanted_all = select(PersonaRecord).where(PersonaRecord.removed.is_(False))
                own = [_persona(one) for one in session.scalars(wanted_all.order_by(PersonaRecord.created.desc()))]
        self._own = (time.monotonic(), now, own)
        return own

    def get(self, persona_id: str, person: str = OWNER) -> Persona:
        """By id alone. Raises PersonaError for one that is not there, or not for this person."""
        found = next((one for one in self.list(person) if one.id == persona_id), None)
        if found is None:
            raise PersonaError("persona.gone", name=persona_id[:40])
        return found

    def is_removed(self, name: str) -> bool:
        """Whether a persona of this name was removed, and no other has taken her name."""
        if self.named(name) is not None:
            return False
        with self._database.reading() as session:
            wanted = select(func.count()).where(PersonaRecord.name == name, PersonaRecord.removed.is_(True))
            return bool(session.scalar(wanted))

    def same(self, card: Card) -> Persona | None:
        """A persona whose card says the very same, whatever faces it brings along."""
        said = faceless(card)
        return next((one for one in self.list() if one.card is not None and faceless(one.card) == said), None)

    def removed(self) -> builtins.list[Persona]:
        """Those that can be had back, removed last first."""
        with self._database.reading() as session:
            wanted = select(PersonaRecord).where(PersonaRecord.removed.is_(True))
            return [_persona(one) for one in session.scalars(wanted.order_by(PersonaRecord.updated.desc()))]

    def revisions(self, persona_id: str) -> builtins.list[Revision]:
        """Former states of a card, newest first."""
        with self._database.reading() as session:
            wanted = select(PersonaRevisionRecord).where(PersonaRevisionRecord.persona_id == persona_id)
            found = session.scalars(wanted.order_by(PersonaRevisionRecord.number.desc()))
            return [Revision(one.number, Card(one.card), one.created) for one in found]

    def shown_picture(self, persona_id: str, person: str = OWNER) -> Path | None:
        """Where the picture lies that the page shows of her; None where she has none."""
        found = self.get(persona_id, person)
        if found.shipped:
            file = AVATARS / f"{found.id}.webp"
        else:
            with self._database.reading() as session:
                file = self._pictures / f"{_standing(session, persona_id).avatar}.webp"
        return file if file.is_file() else None

    def shown_face(self, persona_id: str, feeling: str, person: str = OWNER) -> Path | None:
        """Where her own picture of a feeling lies; her picture where she has none, None where she has none at all."""
        found = self.get(persona_id, person)
        return self.faces.path(found.id, feeling) or self.shown_picture(persona_id, person)

    def from_source(self, source: str) -> tuple[str, bool]:
        """The id of the persona that came from somewhere, and whether she was removed since; "" where there is none."""
        with self._database.reading() as session:
            wanted = select(PersonaRecord).where(PersonaRecord.source == source[:300])
            found = session.scalars(wanted.order_by(PersonaRecord.removed)).first()
            return (found.id, found.removed) if found else ("", False)

    def export(self, persona_id: str, form: str, own: Mapping[str, Any] | None = None) -> bytes:
        """Her card as a file; `form` one of `anime_ai.persona.files.FORMS`, `own`: more for its `extensions.anime_ai`.
        Raises PersonaError."""
        found = self.get(persona_id)
        assert found.card is not None
        card = found.card.changed(own) if own else found.card
        sprites = self.faces.contents(found.id, found.shipped and form != "json")
        if form == "json":
            return write(with_sprites(card, b"", {}, sprites, within=True)[0], form, b"")
        files = self._files(persona_id) if not found.shipped else {}
        card, picture, files = with_sprites(card, self._picture(found), files, sprites)
        return write(card, form, picture, files)

    # Changing

    def add(self, found: Found, source: str = "", person: str = OWNER) -> Persona:
        """Keep what a file held as a new persona; a name that is taken gets a number. Broken pictures are left out.

        Raises PersonaError for a file without a card, StorageError where the picture cannot be written.
        """
        if found.card is None:
            raise PersonaError("persona.no_data")
        avatar = self._keep_picture(found.picture)
        files = self._keep_files(found.files)
        sprites = sprites_of(found.card, found.picture, found.files)
        return self._insert(found.card, avatar, files, source, person, sprites)

    def create(self, name: str, person: str = OWNER) -> Persona:
        """A new persona with nothing but a name."""
        return self._insert(_blank(name), "", "", "new", person)

    def copy(self, persona_id: str, person: str = OWNER) -> Persona:
        """A persona of one's own with the same card and picture."""
        found = self.get(persona_id)
        assert found.card is not None
        files = self._keep_files(self._files(persona_id)) if not found.shipped else ""
        picture = self._picture(found) if self.shown_picture(persona_id) else b""
        sprites = self.faces.contents(found.id, found.shipped)
        return self._insert(found.card, self._keep_picture(picture), files, "copy", person, sprites)

    def save(self, persona_id: str, version: int, card: Card) -> Persona:
        """Replace a card; what it was is kept. Raises PersonaError where somebody else has saved since `version`."""
        checked, _ = card_of(card.value)
        with self._database.session() as session:
            record = _standing(session, persona_id)
            if record.version != version:
                raise PersonaError("persona.conflict", name=record.name)
            if record.card != checked.value:
                _replace(session, record, checked)
        return self._fresh(persona_id)

    def restore_revision(self, persona_id: str, number: int) -> Persona:
        """Make a former state the present one; the present one becomes a former one."""
        with self._database.session() as session:
            record = _standing(session, persona_id)
            old = session.get(PersonaRevisionRecord, (persona_id, number))
            if old is None:
                raise PersonaError("persona.no_revision")
            _replace(session, record, Card(old.card))
        return self._fresh(persona_id)

    def rename(self, persona_id: str, name: str) -> Persona:
        """Give a persona another name among conversations and rows; those of before keep hers."""
        with self._database.session() as session:
            record = _standing(session, persona_id)
            record.name = self._free_name(session, _checked_name(name), persona_id)
            _touch(session, record)
        return self._fresh(persona_id)

    def publish(self, persona_id: str, published: bool) -> Persona:
        """Let visitors talk to her, or no longer."""
        with self._database.session() as session:
            record = _standing(session, persona_id)
            record.published = published
            _touch(session, record)
        return self._fresh(persona_id)

    def set_picture(self, persona_id: str, picture: bytes) -> Persona:
        """Another picture. Raises VisionError for what is none."""
        avatar = self._keep_picture(picture, strict=True)
        with self._database.session() as session:
            record = _standing(session, persona_id)
            record.avatar = avatar
            _touch(session, record)
        return self._fresh(persona_id)

    def set_sprites(self, persona_id: str, sprites: Mapping[str, bytes]) -> Persona:
        """Other pictures of feelings than her card has. Raises VisionError for what is none, and keeps none then."""
        with self._database.reading() as session:
            _standing(session, persona_id)
        self.faces.put(persona_id, sprites)
        for feeling in sprites:
            self._forget_sprite(persona_id, feeling)
        return self._fresh(persona_id)

    def remove_sprite(self, persona_id: str, feeling: str) -> Persona:
        """Take away the picture of a feeling, out of her card too."""
        self._forget_sprite(persona_id, feeling)
        self.faces.remove(persona_id, feeling)
        return self._fresh(persona_id)

    def show_faces(self, persona_id: str, shown: bool) -> Persona:
        """Let her face change with what she says, or no longer; also hers who ships."""
        self.faces.show(self.get(persona_id).id, shown)
        return self._fresh(persona_id)

    def remove(self, persona_id: str) -> None:
        """Take a persona away; `restore` brings her back."""
        with self._database.session() as session:
            record = _standing(session, persona_id)
            record.removed = True
            _touch(session, record)
        self._forget_cache()

    def erase(self, persona_id: str) -> None:
        """Delete a persona and her pictures for good, as if she had never come."""
        with self._database.session() as session:
            record = _standing(session, persona_id)
            session.execute(delete(PersonaRevisionRecord).where(PersonaRevisionRecord.persona_id == persona_id))
            session.delete(record)
        self._forget_cache()
        self.faces.forget(persona_id)
        pictures = [f"{record.avatar}.png", f"{record.avatar}.webp"] if record.avatar else []
        for name in [*pictures, *([record.files] if record.files else [])]:
            with suppress(OSError):
                (self._pictures / name).unlink(missing_ok=True)

    def restore(self, persona_id: str) -> Persona:
        """Bring a removed persona back, under another name where hers is taken."""
        with self._database.session() as session:
            record = session.get(PersonaRecord, persona_id)
            if record is None or not record.removed:
                raise PersonaError("persona.gone", name=persona_id[:40])
            record.name = self._free_name(session, record.name, persona_id)
            record.removed = False
            _touch(session, record)
        return self._fresh(persona_id)

    # Parts

    def _insert(
        self, card: Card, avatar: str, files: str, source: str, person: str, sprites: Mapping[str, bytes] | None = None
    ) -> Persona:
        wanted = [str(card.own.get("persona") or ""), card.name]
        with self._database.session() as session:
            taken = self._taken(session, "")
            plain = next((one for one in map(_short, wanted) if one and one not in taken), "")
            record = PersonaRecord(
                id=new_id(),
                person=person,
                name=plain or self._free_name(session, _short(card.name) or "?", ""),
                card=dict(card.value),
                avatar=avatar,
                files=files,
                source=source[:300],
            )
            session.add(record)
            _touch(session, record)
        try:
            self.faces.put(record.id, sprites or {}, strict=False)
        except AnimeAIError:
            self.erase(record.id)
            raise
        return self._fresh(record.id)

    def _forget_sprite(self, persona_id: str, feeling: str) -> None:
        """Take the pictures of a feeling out of her card, and out of what lies beside it."""
        found = self.get(persona_id)
        assert found.card is not None
        with self._database.reading() as session:
            avatar = _standing(session, persona_id).avatar
        file = self._pictures / f"{avatar}.png"
        picture = file.read_bytes() if avatar and file.is_file() else b""
        card, bare, files = without_sprite(found.card, picture, self._files(persona_id), feeling)
        if card is found.card:
            return
        if bare != picture:
            write_bytes(file, bare)
        name = self._keep_files(files)
        with self._database.session() as session:
            record = _standing(session, persona_id)
            record.files = name
            _replace(session, record, card)

    def _fresh(self, persona_id: str) -> Persona:
        self._forget_cache()
        return self.get(persona_id)

    def _forget_cache(self) -> None:
        self._own = (0.0, (), [])

    def _taken(self, session: Session, but: str) -> set[str]:
        own = select(PersonaRecord.name).where(PersonaRecord.removed.is_(False), PersonaRecord.id != but)
        return {name for one in self._all for name in (one.id, one.name, one.character)} | set(session.scalars(own))

    def _free_name(self, session: Session, name: str, but: str) -> str:
        taken = self._taken(session, but)
        number, free = 1, name
        while free in taken:
            number += 1
            free = f"{name} ({number})"
        return free

    def _keep_picture(self, picture: bytes, strict: bool = False) -> str:
        """The stem of two new files: the picture as it came, as a PNG, and a smaller one to show. "" for none."""
        if not picture:
            return ""
        from anime_ai.vision.pictures import keep, read_picture

        stem = new_id()
        try:
            keep(read_picture(picture, SHOWN_SIDE), self._pictures / f"{stem}.webp")
            write_bytes(self._pictures / f"{stem}.png", as_png(picture))
        except AnimeAIError as error:
            for suffix in (".webp", ".png"):
                with suppress(OSError):
                    (self._pictures / f"{stem}{suffix}").unlink(missing_ok=True)
            if strict or not error.key.startswith("vision."):
                raise
            return ""
        return stem

    def _keep_files(self, files: Mapping[str, bytes]) -> str:
        if not files:
            return ""
        name = f"{new_id()}.zip"
        write_bytes(self._pictures / name, charx.pack(b"{}", files))
        return name

    def _picture(self, found: Persona) -> bytes:
        """Her picture as a PNG, a plain one where she has none."""
        if found.shipped:
            shown = self.shown_picture(found.id)
            return as_png(shown.read_bytes()) if shown else plain_picture(found.name)
        with self._database.reading() as session:
            avatar = _standing(session, found.id).avatar
        file = self._pictures / f"{avatar}.png"
        return file.read_bytes() if avatar and file.is_file() else plain_picture(found.name)

    def _files(self, persona_id: str) -> dict[str, bytes]:
        with self._database.reading() as session:
            name = _standing(session, persona_id).files
        file = self._pictures / name
        if not name or not file.is_file():
            return {}
        with zipfile.ZipFile(io.BytesIO(file.read_bytes())) as archive:
            return {one: archive.read(one) for one in archive.namelist() if one != charx.CARD}


def _standing(session: Session, persona_id: str) -> PersonaRecord:
    record = session.get(PersonaRecord, persona_id)
    if record is None or record.removed:
        raise PersonaError("persona.gone", name=persona_id[:40])
    return record


def _replace(session: Session, record: PersonaRecord, card: Card) -> None:
    session.add(PersonaRevisionRecord(persona_id=record.id, number=record.version, card=record.card))
    session.execute(
        delete(PersonaRevisionRecord).where(
            PersonaRevisionRecord.persona_id == record.id,
            PersonaRevisionRecord.number <= record.version - MOST_REVISIONS,
        )
    )
    record.card = dict(card.value)
    record.version += 1
    _touch(session, record)


def _touch(session: Session, record: PersonaRecord) -> None:
    """A time that no change had before, so that who looks at the newest one notices."""
    newest = session.scalar(select(func.max(PersonaRecord.updated))) or 0.0
    record.updated = max(time.time(), newest + 1e-4)


def _persona(record: PersonaRecord) -> Persona:
    card = Card(record.card)
    return Persona(
        id=record.id,
        name=record.name,
        character=card.name,
        system_line=str(card.own.get("system_line") or "").strip(),
        greetings=card.greetings,
        description=str(card.data["description"]),
        card=card,
        published=record.published,
        shipped=False,
        version=record.version,
        picture=record.avatar[:8],
    )


def _short(name: str) -> str:
    return shown_name(_storable(name))[:MOST_NAME]


def _storable(text: str) -> str:
    return text.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _checked_name(name: str) -> str:
    short = _short(name)
    if not short:
        raise PersonaError("persona.name", most=MOST_NAME)
    return short


def _blank(name: str) -> Card:
    data = {"name": _checked_name(name), "first_mes": "……"}
    return card_of({"spec": "chara_card_v3", "data": data})[0]
