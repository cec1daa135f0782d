"""Personas out of character cards (Character Card V3 JSON files). Knows neither prompts nor models.

Specification: character-card-spec-v3, https://github.com/kwaroran/character-card-spec-v3
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from anime_ai.config import DATA
from anime_ai.errors import PersonaError
from anime_ai.files import read_json


@dataclass(frozen=True)
class Persona:
    """A voice and who speaks with it. `name` is the dataset's persona, `character` her own name.

    `system_line` is the short line that stands at the head of every prompt, in training and in the chat.
    """

    id: str
    name: str
    character: str
    system_line: str
    greetings: tuple[str, ...] = ()
    description: str = ""
    differs: str = ""

    @property
    def greeting(self) -> str:
        """What she says first, the card's macros filled in; empty where the card has no greeting."""
        return self.said_first[0] if self.greetings else ""

    @property
    def said_first(self) -> tuple[str, ...]:
        """All greetings, the card's macros filled in."""
        return tuple(one.replace("{{user}}", "你").replace("{{char}}", self.character) for one in self.greetings)


class Personas:
    """The cards of one folder, read once, in the order of their file names with the default persona first."""

    def __init__(self, folder: Path = DATA / "personas") -> None:
        self.folder = folder

    @cached_property
    def _all(self) -> list[Persona]:
        cards = [_read(path) for path in sorted(self.folder.glob("*.json"))]
        return sorted(cards, key=lambda persona: persona.id != "tsundere")

    def list(self) -> list[Persona]:
        return list(self._all)

    def find(self, name: str) -> Persona:
        """By id, persona name or her own name. Raises PersonaError that lists what there is."""
        found = self._named(name)
        if found is not None:
            return found
        known = "、".join(persona.name for persona in self._all)
        raise PersonaError("persona.unknown", name=name, known=known)

    def system_line(self, name: str) -> str:
        """The line of a persona; one that has no card gets a line made of its name, and no name none."""
        found = self._named(name)
        if found is not None:
            return found.system_line
        return f"你是一个{name}的动漫角色。" if name else ""

    def greeting(self, name: str) -> str:
        """What a persona says first; empty for one without a card."""
        return next(iter(self.greetings(name)), "")

    def greetings(self, name: str) -> tuple[str, ...]:
        """All that a persona may say first; none for one without a card."""
        found = self._named(name)
        return found.said_first if found is not None else ()

    def _named(self, name: str) -> Persona | None:
        return next((one for one in self._all if name in (one.id, one.name, one.character)), None)


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
    )


def _part(path: Path, value: dict[str, Any], field: str, kind: type) -> Any:
    """One field of a card. Raises PersonaError where it is missing, of another type, or an empty name."""
    found = value.get(field)
    if not isinstance(found, kind) or (field in ("id", "persona", "name") and not str(found).strip()):
        raise PersonaError("persona.broken_card", path=path, field=field)
    return found
