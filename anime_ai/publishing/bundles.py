"""A persona whole in one file: her card, her adapter, what she knows, whom she recognises, her scores. Out and in.

<bundle>.zip  bundle.json   card.png   adapter/…   knowledge/<base>-<document>.md   gallery/<character>-<picture>.webp

The card alone is a card for any program: its `extensions.anime_ai.adapter` names the adapter. What comes in is texts,
pictures and safetensors; vectors are made here. Knows no page and no hub.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anime_ai import __version__
from anime_ai.config import OWNER, Settings
from anime_ai.errors import AnimeAIError, KnowledgeError, PublishError
from anime_ai.files import replaced_folder, write_json
from anime_ai.knowledge.chunks import as_markdown
from anime_ai.models.adapters import CARD, WEIGHTS
from anime_ai.persona.files import Found, read
from anime_ai.persona.library import PersonaLibrary
from anime_ai.publishing.archive import Archive, Form, Tell, is_archive, opened, pack, sha256_of
from anime_ai.publishing.folders import CONFIG, write_adapter
from anime_ai.publishing.incoming import checked_notes, checked_scores, known_base, settle
from anime_ai.training import evaluating, runs
from anime_ai.training.recipe import Recipe
from anime_ai.vision.pictures import read_picture

if TYPE_CHECKING:
    from anime_ai.knowledge.service import Knowledge
    from anime_ai.persona.cards import Persona
    from anime_ai.publishing.trained import Trained
    from anime_ai.vision.service import Vision

SUFFIX = ".persona.zip"
PICTURE = "card.png"
MOST_BASES, MOST_DOCUMENTS, MOST_CHARACTERS = 20, 2_000, 200
MOST_NAME = 300
FORM = Form(
    kind="anime-ai-persona",
    manifest="bundle.json",
    names={
        r"card\.png": 32 * 2**20,
        r"adapter/adapter_model\.safetensors": 2 * 2**30,
        r"adapter/(adapter_config|anime_ai)\.json": 2**20,
        r"knowledge/\d{1,3}-\d{1,4}\.md": 8 * 2**20,
        r"gallery/\d{1,3}-\d{1,2}\.webp": 8 * 2**20,
    },
    most_files=5_000,
    most_bytes=3 * 2**30,
)


@dataclass(frozen=True)
class Taken:
    """What a bundle brought. `adapter`: the id of its choice in the chat, "" for none; `base`: what that was trained
    on; `left_out`: a text key under "notice." that says why the adapter was not taken; `again`: she was here before."""

    persona: Persona
    adapter: str = ""
    base: str = ""
    left_out: str = ""
    documents: int = 0
    characters: int = 0
    again: bool = False


@dataclass(frozen=True)
class _Read:
    """A bundle that was understood, before anything of it is kept."""

    card: Found
    notes: Mapping[str, Any] | None
    scores: Mapping[str, Any]
    knowledge: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...]
    gallery: tuple[tuple[str, tuple[bytes, ...]], ...]

    @property
    def base(self) -> str:
        """What the adapter was trained on, "" where there is none."""
        return str(self.notes["base"]) if self.notes else ""


def is_bundle(file: Path) -> bool:
    return is_archive(file, FORM)


class Bundles:
    """See the module."""

    def __init__(self, settings: Settings, personas: PersonaLibrary, knowledge: Knowledge, vision: Vision) -> None:
        self.settings, self.personas = settings, personas
        self.knowledge, self.vision = knowledge, vision

    # Out

    def of_persona(self, persona: Persona) -> tuple[list[str], list[str]]:
        """What goes with her unless somebody says otherwise: ids of the bases that are hers alone, and of the gallery's
        characters that bear her name."""
        bases = [one.id for one in self.knowledge.library.bases(persona=persona.name) if one.persona == persona.name]
        hers = {persona.name, persona.character}
        return bases, [one.id for one in self.vision.album.characters(OWNER) if one.name in hers]

    def pack(
        self,
        persona: Persona,
        target: Path,
        trained: Trained | None = None,
        bases: Sequence[str] = (),
        characters: Sequence[str] = (),
        tell: Tell | None = None,
    ) -> Path:
        """Write a bundle. Raises PublishError for too much in it, StorageError where it cannot be written."""
        files: dict[str, Path | bytes] = {}
        told: dict[str, Any] = {"name": persona.name, "made": __version__}
        own: dict[str, Any] = {"adapter": None}
        scratch = target.with_name(f".{uuid.uuid4().hex[:8]}.partial")
        try:
            if trained is not None:
                scratch.mkdir(parents=True)
                write_adapter(trained, scratch)
                files |= {f"adapter/{name}": scratch / name for name in (WEIGHTS, CONFIG, CARD)}
                named = {name: trained.notes.get(name) for name in ("base", "base_fingerprint", "layout")}
                own = {"adapter": {**named, "sha256": sha256_of(scratch / WEIGHTS)}}
                told["scores"] = trained.scores()
            told["knowledge"] = self._documents(bases, files)
            told["gallery"] = self._pictures(characters, files)
            card = self.personas.export(persona.id, "png", own)
            return pack(target, FORM, told, {PICTURE: card, **files}, tell)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _documents(self, bases: Sequence[str], files: dict[str, Path | bytes]) -> list[dict[str, Any]]:
        told = []
        for number, base_id in enumerate(dict.fromkeys(bases)):
            base = self.knowledge.library.base(base_id)
            documents: list[dict[str, str]] = []
            for one in self.knowledge.library.documents(base_id):
                said = as_markdown(self.knowledge.library.text(one.id), self.knowledge.library.chunks(one.id))
                if said:
                    name = f"knowledge/{number}-{len(documents)}.md"
                    files[name] = said.encode("utf-8", "replace")
                    documents.append({"name": one.title or one.name, "file": name})
            told.append({"name": base.name, "about": base.about, "documents": documents})
        if len(told) > MOST_BASES or sum(len(one["documents"]) for one in told) > MOST_DOCUMENTS:
            raise PublishError("publishing.too_many", count=len(files), most=MOST_DOCUMENTS)
        return told

    def _pictures(self, characters: Sequence[str], files: dict[str, Path | bytes]) -> list[dict[str, Any]]:
        wanted = list(dict.fromkeys(characters))[:MOST_CHARACTERS]
        known = self.vision.album.known_by(OWNER).values()
        told = []
        for number, id in enumerate(wanted):
            hers = [(one, path) for one, path in known if one.id == id and path.is_file()]
            names = [f"gallery/{number}-{place}.webp" for place in range(len(hers))]
            files |= {name: path for name, (_, path) in zip(names, hers, strict=True)}
            if hers:
                told.append({"name": hers[0][0].name, "files": names})
        return told

    # In

    def take(self, file: Path, published: bool = False) -> Taken:
        """Everything in a bundle, or nothing: a persona, her adapter as a finished run, her documents, her gallery.

        The same file again brings nothing new but an adapter whose base was unknown before. Raises PublishError,
        PersonaError, ModelError, VisionError and StorageError that say what is wrong; nothing of it stays then.
        """
        source = f"bundle:{sha256_of(file)}"
        there, removed = self.personas.from_source(source)
        with opened(file, FORM) as archive:
            found = _understood(archive)
            if there and not removed:
                persona = self.personas.get(there)
                held = found.base and self._holds(archive)
                run_id = "" if held else self._take_adapter(archive, found, persona.name)
                return Taken(persona, *_choice(found, run_id), again=True)
            with _undoing() as undo:
                persona = self.personas.add(found.card, source)
                undo(lambda: self.personas.erase(persona.id))
                run_id = self._take_adapter(archive, found, persona.name)
                if run_id:
                    undo(lambda: shutil.rmtree(self.settings.runs_dir / run_id, ignore_errors=True))
                documents = self._take_knowledge(found, persona.name, undo)
                characters = self._take_gallery(found, undo)
                if published:
                    persona = self.personas.publish(persona.id, True)
        return Taken(persona, *_choice(found, run_id), documents, characters)

    def take_once(self, file: Path) -> Persona | None:
        """Like `take`, for a file that is named at every start: None where its persona was removed since."""
        there, removed = self.personas.from_source(f"bundle:{sha256_of(file)}")
        if there:
            return None if removed else self.personas.get(there)
        return self.take(file, published=True).persona

    def _take_adapter(self, archive: Archive, found: _Read, persona: str) -> str:
        """A finished run that holds the adapter; its id, "" where there is none or its base is unknown."""
        if not found.base or not known_base(found.base):
            return ""
        run_id = uuid.uuid4().hex
        with replaced_folder(self.settings.runs_dir / run_id) as folder:
            for name in (WEIGHTS, CONFIG, CARD):
                archive.copy(f"adapter/{name}", folder / runs.FINAL / name)
            notes = settle(folder / runs.FINAL, self.settings, persona)
            recipe = Recipe.from_values({"persona": persona, "base": notes["base"]}, self.settings)
            steps = int(notes.get("steps") or 0)
            config = {"id": run_id, "name": persona, "dataset": "", "dataset_sha256": "", "snapshot": ""}
            made = {"created": time.time(), "version": str(notes.get("version", "")), "recipe": recipe.as_json()}
            write_json(folder / runs.CONFIG, {**config, **made})
            state = {"state": "finished", "step": steps, "total": steps, "eta_s": None, "error": None, "notices": []}
            runs.write_status(folder, **state, base=notes["base"], checkpoint=steps)
            if found.scores:
                told = {"state": "done", "checkpoint": steps, "figures": found.scores}
                write_json(folder / evaluating.FILE, told)
        return run_id

    def _holds(self, archive: Archive) -> bool:
        """Whether a run has the archive's adapter already."""
        size, sha256 = archive.told(f"adapter/{WEIGHTS}")
        held = self.settings.runs_dir.glob(f"*/{runs.FINAL}/{WEIGHTS}")
        return any(one.stat().st_size == size and sha256_of(one) == sha256 for one in held)

    def _take_knowledge(self, found: _Read, persona: str, undo: Callable[[Callable[[], None]], None]) -> int:
        library, count = self.knowledge.library, 0
        for name, about, documents in found.knowledge:
            base_id = _named(name, partial(library.create, persona=persona, about=about))
            undo(partial(self.knowledge.remove_base, base_id))
            for title, said in documents:
                self.knowledge.paste(base_id, title, said)
                count += 1
        return count

    def _take_gallery(self, found: _Read, undo: Callable[[Callable[[], None]], None]) -> int:
        """Characters that the gallery does not know by name yet."""
        known = {one.name for one in self.vision.album.characters(OWNER)}
        new = [one for one in found.gallery if one[0] not in known]
        for name, pictures in new:
            id = self.vision.album.enrol(OWNER, name, [read_picture(one) for one in pictures])
            undo(partial(self.vision.album.forget, OWNER, id))
        return len(new)


def _understood(archive: Archive) -> _Read:
    """Everything but the weights, read and held against its bounds."""
    told = archive.manifest
    card = read(archive.read(PICTURE))
    if card.card is None:
        raise PublishError("publishing.manifest", name=PICTURE)
    has_adapter = any(name.startswith("adapter/") for name in archive.names)
    notes = checked_notes(_json(archive.read(f"adapter/{CARD}"))) if has_adapter else None
    used = {PICTURE, *(name for name in archive.names if name.startswith("adapter/"))}
    knowledge = []
    for one in _list(told.get("knowledge"), MOST_BASES):
        documents = [(_name(each), _text(archive, each, used)) for each in _list(one.get("documents"), MOST_DOCUMENTS)]
        knowledge.append((_name(one), str(one.get("about") or "")[:MOST_NAME], tuple(documents)))
    gallery = []
    for one in _list(told.get("gallery"), MOST_CHARACTERS):
        names = one.get("files")
        pictures = [archive.read(str(name)) for name in (names if isinstance(names, list) else [])[:10]]
        used.update(map(str, names if isinstance(names, list) else []))
        for picture in pictures:
            read_picture(picture, 64)
        if pictures:
            gallery.append((_name(one), tuple(pictures)))
    if unused := sorted(set(archive.names) - used):
        raise PublishError("publishing.foreign", name=unused[0])
    return _Read(card, notes, checked_scores(told.get("scores")), tuple(knowledge), tuple(gallery))


def _choice(found: _Read, run_id: str) -> tuple[str, str, str]:
    """What is to be told of the adapter: its choice in the chat, its base, and why it was left out."""
    unknown = found.base and not known_base(found.base)
    return f"run:{run_id}" if run_id else "", found.base, "publishing.unknown_base" if unknown else ""


def _list(told: object, most: int) -> list[dict[str, Any]]:
    found = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
    if len(found) > most:
        raise PublishError("publishing.too_many", count=len(found), most=most)
    return found


def _name(told: Mapping[str, Any]) -> str:
    return str(told.get("name") or "?").replace("\0", "")[: MOST_NAME - 8] or "?"


def _text(archive: Archive, told: Mapping[str, Any], used: set[str]) -> str:
    file = str(told.get("file"))
    used.add(file)
    try:
        return archive.read(file).decode("utf-8")
    except UnicodeDecodeError as error:
        raise PublishError("publishing.changed", name=file[:80]) from error


def _json(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _named(name: str, create: Callable[[str], str]) -> str:
    """What `create` makes under a name, numbered where that is taken."""
    for number in range(1, 1000):
        try:
            return create(name if number == 1 else f"{name} ({number})")
        except KnowledgeError as error:
            if error.key != "knowledge.base_taken":
                raise
    raise PublishError("publishing.too_many", count=1000, most=999)


@contextmanager
def _undoing() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Steps back, run in reverse where the block raises."""
    steps: list[Callable[[], None]] = []
    try:
        yield steps.append
    except BaseException:
        for step in reversed(steps):
            with suppress(AnimeAIError, OSError):
                step()
        raise
