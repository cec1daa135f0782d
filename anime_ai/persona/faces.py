"""The faces of the personas: for each feeling a picture of her own, and whether her face changes at all.

Also of those that ship, who are drawn (`anime_ai.persona.feelings.DRAWN`) where they have none. Knows no card and no
page.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from anime_ai.config import AVATARS
from anime_ai.errors import AnimeAIError, PersonaError
from anime_ai.persona.feelings import FEELINGS, drawn
from anime_ai.storage import Database
from anime_ai.tables import PersonaFacesRecord, new_id

SIDE = 640
"""Pixels of the longer side of what is kept."""
LOOK_EVERY = 0.5
"""Seconds after which it is looked whether another process has changed something."""

_STAMP = select(func.count(), func.max(PersonaFacesRecord.updated))
"""Made once: it is run for nearly every answer."""


@dataclass(frozen=True)
class Faces:
    """One persona's. `sprites`: by feeling the stem of her own picture's file; `shown`: whether her face changes."""

    sprites: Mapping[str, str] = field(default_factory=dict)
    shown: bool = True


class FaceBook:
    """Everybody's. `folder`: where the pictures lie, as WebP. Threads may share it."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database, self._folder = database, folder
        self._looked: tuple[float, tuple[Any, ...], dict[str, Faces]] = (0.0, (), {})

    def of(self, persona_id: str) -> Faces:
        looked, stamp, known = self._looked
        if time.monotonic() - looked > LOOK_EVERY or not looked:
            known = self._read(stamp, known)
        return known.get(persona_id, Faces())

    def path(self, persona_id: str, feeling: str) -> Path | None:
        """Where her own picture of a feeling lies; None where she has none."""
        stem = self.of(persona_id).sprites.get(feeling)
        file = self._folder / f"{stem}.webp"
        return file if stem and file.is_file() else None

    def drawing(self, persona_id: str, feeling: str) -> Path | None:
        """Where a drawing of one who ships lies; None for anybody else."""
        file = AVATARS / persona_id / f"{drawn(persona_id, feeling)}.webp"
        return file if persona_id.isalnum() and file.is_file() else None

    def contents(self, persona_id: str, shipped: bool = False) -> dict[str, bytes]:
        """Her pictures as WebP by feeling; of one who `shipped` also the drawings."""
        found = {}
        for feeling in FEELINGS:
            path = self.path(persona_id, feeling) or (self.drawing(persona_id, feeling) if shipped else None)
            if path is not None:
                found[feeling] = path.read_bytes()
        return found

    def put(self, persona_id: str, sprites: Mapping[str, bytes], strict: bool = True) -> int:
        """Keep pictures of feelings, checked and encoded anew; how many were broken, which are left out.

        Raises VisionError for the first broken one where that is `strict`, and keeps none then; StorageError where
        nothing can be written, and PersonaError for a feeling that is none.
        """
        from anime_ai.vision.pictures import keep, read_picture

        if unknown := [feeling for feeling in sprites if feeling not in FEELINGS]:
            raise PersonaError("persona.no_feeling", name=unknown[0][:40])
        made: dict[str, str] = {}
        broken = 0
        try:
            for feeling, content in sprites.items():
                stem = new_id()
                try:
                    picture = read_picture(content, SIDE)
                except AnimeAIError:
                    if strict:
                        raise
                    broken += 1
                    continue
                keep(picture, self._folder / f"{stem}.webp")
                made[feeling] = stem
        except AnimeAIError:
            self._drop(made.values())
            raise
        if made:
            self._drop(self._change(persona_id, lambda kept: {**kept, **made}))
        return broken

    def remove(self, persona_id: str, feeling: str) -> None:
        """Forget her picture of a feeling; nothing happens where she has none."""
        self._drop(
            self._change(persona_id, lambda kept: {name: stem for name, stem in kept.items() if name != feeling})
        )

    def forget(self, persona_id: str) -> None:
        """Delete all of hers for good."""
        with self._database.session() as session:
            record = session.get(PersonaFacesRecord, persona_id)
            stems = list(record.sprites.values()) if record else []
            if record:
                session.delete(record)
        self._looked = (0.0, (), {})
        self._drop(stems)

    def show(self, persona_id: str, shown: bool) -> None:
        """Let her face change, or no longer."""
        with self._database.session() as session:
            record = _record(session, persona_id)
            record.shown = shown
            _touch(session, record)
        self._looked = (0.0, (), {})

    def _change(self, persona_id: str, change: Any) -> set[str]:
        """The stems of files that nobody names any more."""
        with self._database.session() as session:
            record = _record(session, persona_id)
            before = dict(record.sprites)
            record.sprites = change(before)
            _touch(session, record)
            gone = {*before.values()} - {*record.sprites.values()}
        self._looked = (0.0, (), {})
        return gone

    def _drop(self, stems: Any) -> None:
        for stem in stems:
            with suppress(OSError):
                (self._folder / f"{stem}.webp").unlink(missing_ok=True)

    def _read(self, stamp: tuple[Any, ...], known: dict[str, Faces]) -> dict[str, Faces]:
        with self._database.reading() as session:
            now = tuple(session.connection().execute(_STAMP).one())
            if now != stamp:
                known = {one.persona_id: _faces(one) for one in session.scalars(select(PersonaFacesRecord))}
        self._looked = (time.monotonic(), now, known)
        return known


def _faces(record: PersonaFacesRecord) -> Faces:
    named = {name: str(stem) for name, stem in record.sprites.items() if name in FEELINGS and str(stem).isalnum()}
    return Faces(named, record.shown)


def _record(session: Any, persona_id: str) -> PersonaFacesRecord:
    found = session.get(PersonaFacesRecord, persona_id)
    if found is None:
        found = PersonaFacesRecord(persona_id=persona_id, shown=True, sprites={})
        session.add(found)
    return found


def _touch(session: Any, record: PersonaFacesRecord) -> None:
    """A time that no change had before, so that who looks at the newest one notices."""
    newest = session.scalar(select(func.max(PersonaFacesRecord.updated))) or 0.0
    record.updated = max(time.time(), newest + 1e-4)
