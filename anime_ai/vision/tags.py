"""What the tags of anime pictures mean, in three languages and by groups. Knows no picture and no model.

`tags.tsv` holds a tag a line: its name as Danbooru has it, its group, the words for it in Chinese and Japanese. The
English words are the name's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("tags.tsv")
GROUPS = (
    *("people", "hair_colour", "hair_style", "eyes", "expression", "body", "clothes", "accessories", "pose", "object"),
    *("scene", "framing", "style"),
)
"""In the order in which a person tells them."""
OTHER = "object"
"""The group of a word that the table does not have."""


@dataclass(frozen=True)
class Meaning:
    """A tag's name, its group, and the words for it in Chinese, Japanese and English."""

    name: str
    group: str
    zh: str
    ja: str

    @property
    def en(self) -> str:
        return self.name.replace("_", " ") if len(self.name) > 3 else self.name

    def word(self, language: str) -> str:
        return str(getattr(self, language))


@cache
def table() -> Mapping[str, Meaning]:
    """Every tag that has a meaning here, by its name."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return {meaning.name: meaning for meaning in (Meaning(*line.split("\t")) for line in lines)}


def word(name: str, language: str) -> str:
    """The word for a tag; its own name where the table does not have it."""
    found = table().get(name)
    return found.word(language) if found else name.replace("_", " ")


def named(said: str, group: str = "") -> str:
    """The name of the tag that `said` means in any of the languages; `said` itself where none does.

    Where several do, one of `group` goes first, then the Chinese word: 和服 is a kimono here, and Japanese dress there.
    """
    said = " ".join(said.split())
    found = _words().get(said.casefold(), ())
    best = min(found, key=lambda one: (one.group != group, one.zh != said), default=None)
    return best.name if best else said


@cache
def _words() -> Mapping[str, tuple[Meaning, ...]]:
    known: dict[str, tuple[Meaning, ...]] = {}
    for meaning in table().values():
        for said in {meaning.zh, meaning.ja, meaning.en, meaning.name}:
            known[said.casefold()] = (*known.get(said.casefold(), ()), meaning)
    return known
