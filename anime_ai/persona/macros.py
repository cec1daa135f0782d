"""The macros of character cards: `{{char}}`, `{{user}}`, dice and picks. Knows neither cards nor prompts.

Specification: character-card-spec-v3, "Curly Braced Syntaxes", https://github.com/kwaroran/character-card-spec-v3;
`<USER>`, `<BOT>`, the `::` form of lists and `{{original}}` are SillyTavern's. What is no macro stays as it is written.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

_OLD = re.compile("<(USER|BOT|CHAR)>", re.IGNORECASE)
_DICE = re.compile(r"(?:(\d{1,3})?d)?(\d{1,6})([+-]\d{1,6})?", re.IGNORECASE)
_LISTED = re.compile(r"(?<!\\),")
_HIDDEN = re.compile(r"\{\{\s*hidden_key\s*:([^{}]*)\}\}", re.IGNORECASE)
DEEPEST = 8
"""Macros inside macros."""


@dataclass(frozen=True)
class Macros:
    """Fills macros. The same `seed`, that of a conversation, draws the same from the same text.

    `original`: what `{{original}}` stands for, the app's own instruction.
    """

    char: str
    user: str
    seed: str = ""
    original: str = ""

    def fill(self, text: str) -> str:
        """`text` with its macros filled in. What they are filled with is not read again: a name may hold braces."""
        return self._filled(text, text, 0) if "{{" in text or "<" in text else text

    def _filled(self, text: str, whole: str, deep: int) -> str:
        parts: list[str] = []
        place = 0
        while (start := text.find("{{", place)) >= 0:
            end = _closing(text, start)
            if end < 0:
                break
            body = text[start + 2 : end]
            value = self._value(body, f"{whole}\0{start}\0{deep}", deep)
            parts.append(self._old(text[place:start]))
            if value is None:  # unknown ones stay, what is inside them is filled
                inside = self._filled(body, whole, deep + 1) if deep < DEEPEST else body
                value = "{{" + inside + "}}"
            parts.append(value)
            place = end + 2
        return "".join([*parts, self._old(text[place:])])

    def _old(self, text: str) -> str:
        return _OLD.sub(lambda found: self.user if found[1].upper() == "USER" else self.char, text)

    def _value(self, body: str, where: str, deep: int) -> str | None:
        """What a macro stands for; None for one that nobody knows."""
        name, colon, rest = body.partition(":")
        name = name.strip().lower()
        if body.lstrip().startswith("//") or (colon and name in ("comment", "hidden_key")):
            return ""
        if not colon:
            return {"char": self.char, "user": self.user, "original": self.original}.get(name)
        if name in ("random", "pick") and deep < DEEPEST:
            choices = _choices(rest)
            # A pick is the same wherever the same list stands; a random one is drawn anew in every place.
            drawn = self._chance(f"pick\0{body}" if name == "pick" else where).choice(choices)
            return self._filled(drawn, where, deep + 1)
        if name == "roll":
            return self._roll(rest, where)
        if name == "reverse" and deep < DEEPEST:
            return self._filled(rest, where, deep + 1)[::-1]
        return None

    def _roll(self, dice: str, where: str) -> str | None:
        found = _DICE.fullmatch(dice.strip())
        if found is None or int(found[2]) < 1:
            return None
        chance = self._chance(where)
        return str(sum(chance.randint(1, int(found[2])) for _ in range(int(found[1] or 1))) + int(found[3] or 0))

    def _chance(self, where: str) -> random.Random:
        return random.Random(f"{self.seed}\0{where}".encode("utf-8", "surrogatepass"))


def hidden_keys(text: str) -> tuple[str, ...]:
    """The words of `{{hidden_key:…}}`: a lorebook that scans its own entries sees them, a prompt does not."""
    return tuple(one.strip() for one in _HIDDEN.findall(text))


def _choices(rest: str) -> list[str]:
    """The list of a random macro: `a,b` with `\\,` for a comma, or `:a::b`."""
    if rest.startswith(":"):
        return [one.strip() for one in rest[1:].split("::")]
    return [one.replace("\\,", ",").strip() for one in _LISTED.split(rest)]


def _closing(text: str, start: int) -> int:
    """Where the braces that open at `start` are closed, those inside them left out; -1 where they are not."""
    deep = 0
    for found in re.finditer(r"\{\{|\}\}", text[start:]):
        deep += 1 if found[0] == "{{" else -1
        if deep == 0:
            return start + found.start()
    return -1
