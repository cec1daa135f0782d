"""One dialogue row and its check. Knows neither files nor databases nor tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field as default
from typing import Any
from unicodedata import category

OTHER_FORMATS = {"instruction": "Alpaca", "conversations": "ShareGPT", "messages": "OpenAI"}
"""Fields by which other formats are known: their `input`, if any, is not what somebody says."""
INVISIBLE = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
"""Unicode categories that leave nothing on a screen: an answer of zero-width characters is none."""
MAX_CELL = 20_000
"""Characters that one cell may hold; a longer one is a document, not an utterance."""
CELLS = ("input", "output", "persona", "inner", "system", "rejected")
"""Fields that hold text."""
NEEDED = ("input", "output")
MOST_TAGS, LONGEST_TAG = 20, 40


@dataclass(frozen=True)
class Row:
    """What somebody says (`input`), what she answers (`output`), and what came before.

    `history` holds (user, her) pairs, oldest first. `inner` is her inner monologue of this answer. `system` stands in
    the place of her card. `rejected` is a worse answer, which is not trained on. A `draft` is not trained on either
    until somebody accepts it.
    """

    input: str
    output: str
    persona: str = ""
    history: tuple[tuple[str, str], ...] = ()
    inner: str = ""
    system: str = ""
    rejected: str = ""
    tags: tuple[str, ...] = ()
    draft: bool = False

    def as_json(self) -> dict[str, Any]:
        """The original project's form; fields that are empty are left out."""
        value: dict[str, Any] = {"input": self.input, "output": self.output}
        if self.persona:
            value["persona"] = self.persona
        if self.history:
            value["history"] = [list(pair) for pair in self.history]
        for name in ("inner", "system", "rejected"):
            if getattr(self, name):
                value[name] = getattr(self, name)
        if self.tags:
            value["tags"] = list(self.tags)
        if self.draft:
            value["draft"] = True
        return value


@dataclass(frozen=True)
class Problem:
    """Why row number `row` (from 1) cannot be used: the field, a text key under "problem." and its values."""

    row: int
    field: str
    key: str
    values: dict[str, Any] = default(default_factory=dict)

    def say(self, language: str | None = None) -> str:
        from anime_ai.texts import text

        why = text(f"problem.{self.key}", language, **self.values)
        return text("problem.line", language, row=self.row, field=self.field, why=why)


def check_row(value: Any, number: int, default_persona: str = "") -> Row | Problem:
    """A `Row` out of one JSON value, or the first problem that it has. `number` counts from 1."""
    if not isinstance(value, dict):
        return Problem(number, "-", "not_object")
    for name, kind in OTHER_FORMATS.items():
        if value.get(name):
            return Problem(number, name, "other_format", {"kind": kind})
    cells: dict[str, str] = {}
    for name in CELLS:
        needed = name in NEEDED
        cell = value.get(name)
        if name not in value and needed:
            return Problem(number, name, "missing")
        if cell is None:
            cell = ""
        if not isinstance(cell, str):
            return Problem(number, name, "not_text")
        fault = _check_text(cell, needed)
        if fault:
            return Problem(number, name, fault, {"most": MAX_CELL, "length": len(cell)})
        cells[name] = cell.strip()
    history = _check_history(value.get("history") or [], number)
    if isinstance(history, Problem):
        return history
    tags = _check_tags(value.get("tags") or [], number)
    if isinstance(tags, Problem):
        return tags
    draft = value.get("draft") or False
    if not isinstance(draft, bool):
        return Problem(number, "draft", "not_yes_or_no")
    cells["persona"] = cells["persona"] or default_persona
    return Row(history=history, tags=tags, draft=draft, **cells)


def _check_text(cell: str, needed: bool) -> str:
    if needed and all(category(character) in INVISIBLE for character in cell):
        return "blank"
    if len(cell) > MAX_CELL:
        return "too_long"
    if "\0" in cell or any("\ud800" <= character <= "\udfff" for character in cell):
        return "broken_text"
    return ""


def _check_tags(tags: Any, number: int) -> tuple[str, ...] | Problem:
    if isinstance(tags, str):  # as a table's cell holds them
        tags = re.split("[,，、;；]", tags)
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        return Problem(number, "tags", "tags_shape")
    kept = tuple(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    if len(kept) > MOST_TAGS or any(len(tag) > LONGEST_TAG or _check_text(tag, needed=True) for tag in kept):
        return Problem(number, "tags", "tags_bounds", {"most": MOST_TAGS, "longest": LONGEST_TAG})
    return kept


def _check_history(turns: Any, number: int) -> tuple[tuple[str, str], ...] | Problem:
    if not isinstance(turns, list):
        return Problem(number, "history", "history_shape")
    pairs: list[tuple[str, str]] = []
    for turn in turns:
        if isinstance(turn, dict):
            turn = [turn.get("input"), turn.get("output")]
        if not (isinstance(turn, (list, tuple)) and len(turn) == 2 and all(isinstance(said, str) for said in turn)):
            return Problem(number, "history", "history_shape")
        for said in turn:
            fault = _check_text(said, needed=True)
            if fault:
                return Problem(number, "history", fault, {"most": MAX_CELL, "length": len(said)})
        pairs.append((turn[0].strip(), turn[1].strip()))
    return tuple(pairs)


def check_rows(values: Iterable[Any], default_persona: str = "") -> tuple[list[Row], list[Problem]]:
    """Good rows and the problems of the others, in order."""
    rows: list[Row] = []
    problems: list[Problem] = []
    for number, value in enumerate(values, 1):
        result = check_row(value, number, default_persona)
        if isinstance(result, Row):
            rows.append(result)
        else:
            problems.append(result)
    return rows, problems
