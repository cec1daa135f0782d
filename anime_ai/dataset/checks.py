"""What is wrong with rows that can be read: findings, each with its row, its field, a sentence and often a mend.

Errors teach her something that she must not say, or do not train at all; warnings are for somebody to look at. The
texts are "check.<key>" and "check.mend.<mend>". Knows neither files nor databases, and tokens only as they were
measured; `anime_ai.dataset.patterns` knows what to look for in a text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as default
from typing import Any, Literal

from anime_ai.dataset import patterns
from anime_ai.dataset.near import fold, near
from anime_ai.dataset.profile import Length
from anime_ai.dataset.rows import CELLS, NEEDED, Row
from anime_ai.texts import text

Severity = Literal["error", "warning"]
SHOWN = 3
"""Places of one field that a finding names."""
ECHO = 5
"""Letters from which an answer that repeats the input is no greeting any more."""
DROP = "drop"
DUPLICATES = frozenset({"duplicate", "near_duplicate"})
_EVERYWHERE = (*CELLS, "history")
_HERS = ("output", "inner")


@dataclass(frozen=True)
class Finding:
    """Row number `row` (from 1; `line` of its file from 1, 0 where unknown) and what is the matter with its `field`.

    `key` names the sentence, `values` fill it, `mend` is the one step that mends it, or empty: see `mended`.
    """

    row: int
    line: int
    field: str
    key: str
    severity: Severity
    values: dict[str, Any] = default(default_factory=dict)
    mend: str = ""

    def message(self, language: str | None = None) -> str:
        """The sentence, without row and field."""
        values = {name: value.say(language) if hasattr(value, "say") else value for name, value in self.values.items()}
        return text(f"check.{self.key}", language, **values)

    def say(self, language: str | None = None) -> str:
        return text("problem.line", language, row=self.row, field=self.field, why=self.message(language))

    def offer(self, language: str | None = None) -> str:
        """What the one-step mend does, in words; empty where there is none."""
        return text(f"check.mend.{self.mend}", language) if self.mend else ""


@dataclass(frozen=True)
class _Rule:
    """What is looked for in which fields, and how a text is without it."""

    key: str
    severity: Severity
    fields: tuple[str, ...]
    find: Callable[[str], list[str]]
    mend: str = ""
    mended: Callable[[str], str] | None = None


RULES = (
    _Rule("control_token", "error", _EVERYWHERE, patterns.control_tokens, "strip_marks", patterns.without_tokens),
    _Rule("assistant_claim", "error", _HERS, patterns.claims, "cut", patterns.without_claims),
    _Rule("ai_voice", "error", _HERS, patterns.ai_voice, "cut", patterns.without_ai_voice),
    _Rule("assistant_name", "warning", _HERS, patterns.names),
    _Rule("ai_tone", "warning", _HERS, patterns.ai_tone, "cut", patterns.without_ai_tone),
    _Rule("id_number", "warning", _EVERYWHERE, patterns.id_numbers, "mask", patterns.without_id_numbers),
    _Rule("bank_card", "warning", _EVERYWHERE, patterns.bank_cards, "mask", patterns.without_bank_cards),
    _Rule("phone", "warning", _EVERYWHERE, patterns.phones, "mask", patterns.without_phones),
    _Rule("email", "warning", _EVERYWHERE, patterns.emails, "mask", patterns.without_emails),
    _Rule("bidi", "warning", _EVERYWHERE, patterns.bidi, "strip_invisible", patterns.without_bidi),
    _Rule("invisible", "warning", _EVERYWHERE, patterns.invisible, "strip_invisible", patterns.without_invisible),
)


def check(
    rows: Sequence[Row],
    *,
    numbers: Sequence[int] = (),
    lines: Sequence[int] = (),
    lengths: Sequence[Length | None] = (),
    max_length: int = 0,
    alike: bool = True,
) -> tuple[Finding, ...]:
    """All findings in the order of the rows, those of a row in the order of `RULES` and what is after them.

    `numbers` are the rows' numbers where bad rows between them were left out; `lines` the line of every number (see
    `row_lines`); `lengths` those that `anime_ai.dataset.profile.lengths` measured with `max_length`, without which
    nothing is said about tokens. `alike`: whether rows are compared with each other.
    """
    numbers = numbers or range(1, len(rows) + 1)
    found: list[list[Finding]] = [[] for _ in rows]

    def add(place: int, field: str, key: str, severity: Severity, values: dict[str, Any], mend: str = "") -> None:
        number = numbers[place]
        line = lines[number - 1] if number <= len(lines) else 0
        found[place].append(Finding(number, line, field, key, severity, values, mend))

    for place, row in enumerate(rows):
        for finding in _of_row(row):
            add(place, *finding)
    for place, length in enumerate(lengths):
        if length is not None:
            for finding in _of_length(length, max_length):
                add(place, *finding)
    for place, key, other, share in _repeated(rows) if alike else ():
        values = {"other": numbers[other], "percent": round(100 * share)}
        add(place, "output", key, "warning", values, DROP if key == "duplicate" else "")
    return tuple(finding for row in found for finding in row)


def mended(row: Row, finding: Finding) -> Row | None:
    """The row without what was found in the finding's field; None where it is to be dropped.

    A row stays as it is where nothing would be left to say, as after another finding's mend took the other sentence.
    Raises ValueError where the finding has no mend.
    """
    if finding.mend == DROP:
        return None
    rule = next((rule for rule in RULES if rule.key == finding.key), None)
    if not finding.mend or rule is None or rule.mended is None:
        raise ValueError(f"{finding.key} cannot be mended in one step")
    before = _texts(row, finding.field)
    texts: list[Any] = [rule.mended(one) for one in before]
    if _is_blank(finding.field, before, texts):
        return row
    if finding.field == "history":
        return replace(row, history=tuple(zip(texts[::2], texts[1::2], strict=True)))
    return replace(row, **{finding.field: texts[0]})


def row_lines(content: str) -> tuple[int, ...]:
    """The line (from 1) on which each row of a JSON list or of JSON lines begins, as far as the text can be read."""
    decoder = json.JSONDecoder()
    content = content.removeprefix("\ufeff")
    place = len(content) - len(content.lstrip())
    if not content.startswith("[", place):
        begun = content.startswith("{", place)
        return tuple(number for number, line in enumerate(content.split("\n"), 1) if begun and line.strip())
    lines: list[int] = []
    line, counted = 1, 0
    place += 1
    while True:
        while place < len(content) and content[place] in " \t\r\n,":
            place += 1
        try:
            _, end = decoder.raw_decode(content, place)
        except (ValueError, RecursionError):
            return tuple(lines)
        line += content.count("\n", counted, place)
        lines.append(line)
        counted, place = place, end


def _texts(row: Row, field: str) -> tuple[str, ...]:
    return tuple(said for pair in row.history for said in pair) if field == "history" else (getattr(row, field),)


def _of_row(row: Row) -> Iterator[tuple[str, str, Severity, dict[str, Any], str]]:
    for rule in RULES:
        for field in rule.fields:
            texts = _texts(row, field)
            places = [one for said in texts for one in rule.find(said)] if any(texts) else []
            if places:
                told = list(dict.fromkeys(places))
                values = {"found": "、".join(told[:SHOWN]) + (" …" if len(told) > SHOWN else "")}
                yield field, rule.key, rule.severity, values, rule.mend if _leaves_enough(rule, field, texts) else ""
    if not row.persona:
        yield "persona", "no_persona", "warning", {}, ""
    said = fold(row.output)
    if len(said) >= ECHO and said == fold(row.input):
        yield "output", "echo", "warning", {}, ""


def _leaves_enough(rule: _Rule, field: str, texts: Sequence[str]) -> bool:
    """Whether the mend takes all away that was found, and leaves words where a row needs some."""
    if rule.mended is None:
        return False
    left = [rule.mended(said) for said in texts]
    return not _is_blank(field, texts, left) and not any(rule.find(said) for said in left)


def _is_blank(field: str, before: Sequence[str], after: Sequence[str]) -> bool:
    """Whether a text lost its last letter where a row needs something said. What had none, such as "……", needs none."""
    pairs = zip(before, after, strict=True) if field in (*NEEDED, "history") else ()
    return any(not left or (any(map(str.isalnum, said)) and not any(map(str.isalnum, left))) for said, left in pairs)


def _of_length(length: Length, max_length: int) -> Iterator[tuple[str, str, Severity, dict[str, Any], str]]:
    if length.broken is not None:
        yield "output", "contract", "error", {"why": length.broken}, ""
    elif not length.kept:
        yield "output", "too_long", "error", {"tokens": length.tokens, "most": max_length}, ""
    elif length.dropped:
        values = {"tokens": length.tokens, "most": max_length, "turns": length.dropped}
        yield "history", "shortened", "warning", values, ""


def _repeated(rows: Sequence[Row]) -> Iterator[tuple[int, str, int, float]]:
    """Places, and the earlier ones that they repeat: word for word, or nearly, and how much in [0, 1]."""
    first: dict[Row, int] = {}
    bare = [replace(row, rejected="", tags=(), draft=False) for row in rows]
    same = [first.setdefault(row, place) for place, row in enumerate(bare)]
    # What she said last belongs to it: the same short exchange is another one somewhere else in a conversation.
    said = [f"{row.history[-1][1] if row.history else ''}{row.input}{row.output}" for row in rows]
    like = near(said).like
    for place in range(len(rows)):
        if same[place] != place:
            yield place, "duplicate", same[place], 1.0
        elif place in like:
            yield place, "near_duplicate", *like[place]
