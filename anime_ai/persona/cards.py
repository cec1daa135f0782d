"""Personas, and those that ship as Character Card V3 JSON files. Knows neither tokens nor models.

Specification: character-card-spec-v3, https://github.com/kwaroran/character-card-spec-v3
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from anime_ai.config import DATA, OWNER
from anime_ai.errors import PersonaError
from anime_ai.files import read_json, write_json
from anime_ai.persona.card import Card, card_of
from anime_ai.persona.macros import Macros
from anime_ai.persona.telling import Part, greetings_of, parts_of

KEPT = "personas.json"
"""Beside a run: the personas of one's own that it trains."""


@dataclass(frozen=True)
class Persona:
    """A voice and who speaks with it. `name` is the dataset's persona, `character` her own name.

    `system_line` is the short line that stands at the head of every prompt, in training and in the chat; "" for one
    whose whole card is told in the chat. `shipped`: she comes with the program, her file is not changed.
    `picture`: which of her pictures it is, "" for none of her own. `sprites`: which picture it is of each feeling that
    she has one of; `expressive`: whether her face changes with what she says.
    """

    id: str
    name: str
    character: str
    system_line: str
    greetings: tuple[str, ...] = ()
    description: str = ""
    differs: str = ""
    card: Card | None = field(default=None, compare=False, repr=False)
    published: bool = field(default=True, compare=False)
    shipped: bool = field(default=True, compare=False)
    version: int = field(default=0, compare=False)
    picture: str = field(default="", compare=False)
    sprites: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    expressive: bool = field(default=True, compare=False)

    @property
    def greeting(self) -> str:
        """What she says first, the card's macros filled in; empty where the card has no greeting."""
        return next(iter(self.said_first), "")

    @property
    def said_first(self) -> tuple[str, ...]:
        """All greetings, the card's macros filled in."""
        if self.card is not None and self.card.greetings:
            return greetings_of(self.card)
        macros = Macros(self.character, "你")
        return tuple(macros.fill(one) for one in self.greetings)

    def parts(self, seed: str = "") -> tuple[Part, ...]:
        """What of her a prompt tells in the conversation `seed`: her line, else her card."""
        if self.system_line or self.card is None:
            return (Part("system_line", self.system_line),)
        return parts_of(self.card, seed)


class Personas:
    """The cards of one folder, read once, in the order of their file names with the default persona first, and
    `others` behind them."""

    def __init__(self, folder: Path = DATA / "personas", others: Sequence[Persona] = ()) -> None:
        self.folder = folder
        self._others = others

    @classmethod
    def of_run(cls, folder: Path) -> Personas:
        """Those that ship, and those of one's own as they were when the run in `folder` was made."""
        told = read_json(folder / KEPT)
        others = [
            Persona(str(name), str(name), str(one["character"]), str(one["line"]), tuple(one["greetings"]))
            for name, one in (told.items() if isinstance(told, dict) else ())
        ]
        return cls(others=others)

    def keep(self, folder: Path, names: Iterable[str]) -> None:
        """Write beside a run what its training has to know of personas of one's own. Raises StorageError."""
        own = [one for one in self.list() if not one.shipped and one.name in set(names)]
        told = {
            one.name: {"character": one.character, "line": self.system_line(one.name), "greetings": one.said_first}
            for one in own
        }
        if told or (folder / KEPT).exists():
            write_json(folder / KEPT, told)

    @cached_property
    def _all(self) -> list[Persona]:
        cards = [_read(path) for path in sorted(self.folder.glob("*.json"))]
        return sorted(cards, key=lambda persona: persona.id != "tsundere")

    def _known(self) -> list[Persona]:
        """Everybody who can be asked for by name."""
        return [*self._all, *self._others]

    def list(self, person: str = OWNER) -> list[Persona]:
        """Those whom a person may talk to: the owner to all, others to those that are published."""
        return [one for one in self._known() if person == OWNER or one.published]

    def is_removed(self, name: str) -> bool:
        """Whether a persona of this name was there once."""
        return False

    def find(self, name: str, person: str = OWNER) -> Persona:
        """By id, persona name or her own name. Raises PersonaError that lists what there is."""
        found = self.named(name)
        if found is not None and (person == OWNER or found.published):
            return found
        known = "、".join(persona.name for persona in self.list(person))
        raise PersonaError("persona.unknown", name=name[:80], known=known)

    def system_line(self, name: str) -> str:
        """The line of a persona; one that has none gets a line made of its name, and no name none."""
        found = self.named(name)
        if found is not None and found.system_line:
            return found.system_line
        return f"你是一个{name}的动漫角色。" if name else ""

    def greeting(self, name: str) -> str:
        """What a persona says first; empty for one without a card."""
        return next(iter(self.greetings(name)), "")

    def greetings(self, name: str) -> tuple[str, ...]:
        """All that a persona may say first; none for one without a card."""
        found = self.named(name)
        return found.said_first if found is not None else ()

    def called(self, name: str) -> str:
        """How somebody calls a persona: by her own name, where she is known."""
        found = self.named(name)
        return found.character if found is not None else name

    def meant(self, name: str) -> str:
        """The persona of any of her names; what nobody is called is its own."""
        found = self.named(name)
        return found.name if found is not None else name

    def named(self, name: str) -> Persona | None:
        """By any of her names, None where nobody has it."""
        return by_name(self._known(), name)


def by_name(known: Iterable[Persona], name: str) -> Persona | None:
    """Whom somebody means by a name: her persona's before her id, and that before what she is called."""
    by = ((one for one in known if name == getattr(one, way)) for way in ("name", "id", "character"))
    return next((one for ways in by for one in ways), None)


def _read(path: Path) -> Persona:
    card = read_json(path)
    if not isinstance(card, dict):
        raise PersonaError("persona.not_a_card", path=path)
    data = _part(path, card, "data", dict)
    own = _part(path, _part(path, data, "extensions", dict), "anime_ai", dict)
    greetings = [_part(path, data, "first_mes", str), *(data.get("alternate_greetings") or ())]
    if not all(isinstance(greeting, str) for greeting in greetings):
        raise PersonaError("persona.broken_card", path=path, field="alternate_greetings")
    named = {name: _part(path, own, name, str) for name in ("id", "persona", "system_line")}
    return Persona(
        id=named["id"],
        name=named["persona"],
        character=_part(path, data, "name", str),
        system_line=named["system_line"],
        greetings=tuple(greeting for greeting in greetings if greeting),
        description=_part(path, data, "description", str),
        differs=str(own.get("differs") or ""),
        card=card_of(card)[0],
    )


def _part(path: Path, value: dict[str, Any], field: str, kind: type) -> Any:
    """One field of a card. Raises PersonaError where it is missing, of another type, or an empty name."""
    found = value.get(field)
    if not isinstance(found, kind) or (field in ("id", "persona", "name") and not str(found).strip()):
        raise PersonaError("persona.broken_card", path=path, field=field)
    return found
