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
        for persona in self._all:
            if name in (persona.id, persona.name, persona.character):
                return persona
        known = "、".join(persona.name for persona in self._all)
        raise PersonaError("persona.unknown", name=name, known=known)

    def system_line(self, name: str) -> str:
        """The line of a persona; one that has no card gets a line made of its name, and no name none."""
        try:
            return self.find(name).system_line
        except PersonaError:
            return f"你是一个{name}的动漫角色。" if name else ""


def _read(path: Path) -> Persona:
    card = read_json(path)
    try:
        data: dict[str, Any] = card["data"]
        own: dict[str, Any] = data["extensions"]["anime_ai"]
        greetings = (data["first_mes"], *data.get("alternate_greetings", ()))
        return Persona(
            id=own["id"],
            name=own["persona"],
            character=data["name"],
            system_line=own["system_line"],
            greetings=tuple(greeting for greeting in greetings if greeting),
            description=data["description"],
            differs=own.get("differs", ""),
        )
    except (KeyError, TypeError) as error:
        raise PersonaError("persona.broken_card", path=path, why=error) from error
