"""A file that somebody brings: first looked at, then read, with what they chose in between.

    look(content, name)                  what it is, what its columns likely mean, the first rows
    read(content, name, Choices(...))    every row, under the same or another mapping

Knows neither the database nor who asks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from anime_ai.dataset.files import Reading, read_content
from anime_ai.dataset.formats import Mapping, Note, convert, propose
from anime_ai.dataset.rows import Problem, Row
from anime_ai.dataset.sources import SAMPLE, Part, check_count, load
from anime_ai.dataset.speakers import Script, is_tavern, read_script, script_rows, tavern
from anime_ai.encodings import Decoded
from anime_ai.errors import DatasetError

SHOWN = 5
"""Records that a preview shows as rows."""


@dataclass(frozen=True)
class Choices:
    """What somebody may choose for a file; None leaves it to what was found."""

    encoding: str | None = None
    """A codec's name such as "gb18030"."""
    kind: str | None = None
    """What a text is where somebody knows: "chat", "story" or "subtitles"."""
    mapping: Mapping | None = None
    """Which column is which field. Of a zip it holds for the files that have these columns."""
    each_answer: bool | None = None
    """Every answer of a conversation is a row; otherwise a conversation is one. A story's answers are rows anyway."""
    her: str | None = None
    """Of a chat, a story or subtitles: whose answers are wanted."""
    others: tuple[str, ...] | None = None
    """Whose lines are the user's ("" for the unknown ones); None takes everybody else's."""
    persona: str = ""
    """Of rows that name none."""


@dataclass(frozen=True)
class Preview:
    """What a file is taken for. `format`: what its records mean; `container`: how they are written.

    `count` is the number of records, or of lines where there are `speakers` (name, lines; "" for the unknown ones)
    instead of `columns`. `rows` are the first as they would become, a Problem in the place of one that cannot.
    `encoding` has the alternatives where it is not sure, and the name "" where bytes are no text.
    """

    format: str
    container: str
    encoding: Decoded
    count: int
    rows: tuple[Row | Problem, ...]
    columns: tuple[str, ...] = ()
    mapping: Mapping = Mapping()
    speakers: tuple[tuple[str, int], ...] = ()
    her: str = ""
    notes: tuple[Note, ...] = ()
    sha256: str = ""


@dataclass(frozen=True)
class _Read:
    format: str
    mapping: Mapping
    made: tuple[Row | Problem, ...]
    """In the order of the file."""
    notes: tuple[Note, ...]
    script: Script | None = None
    her: str = ""


def look(content: bytes, name: str, choices: Choices | None = None, shown: int = SHOWN) -> Preview:
    """What the file `name` with these bytes is, under the choices made so far. Raises DatasetError as `read` does, but
    for columns that nobody has mapped and a speaker whom nobody has chosen yet: then there are no rows."""
    choices = choices or Choices()
    parts = load(content, name, choices.encoding, choices.kind is not None)
    first, formats = parts[0], [_format(part, choices) for part in parts]
    done = _read_part(first, choices, len(parts), shown)
    unsure = next((part.encoding for part in parts if not part.encoding.sure), first.encoding)
    return Preview(
        format=formats[0] if len(set(formats)) == 1 else "mixed",
        container=first.container if len(parts) == 1 else "zip",
        encoding=unsure,
        count=len(done.script.lines) if done.script else sum(len(part.records) + len(part.problems) for part in parts),
        rows=done.made[:shown],
        columns=() if done.script else first.columns(),
        mapping=done.mapping,
        speakers=done.script.speakers() if done.script else (),
        her=done.her,
        notes=(*_encoding_notes(parts), *done.notes),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def read(content: bytes, name: str, choices: Choices | None = None) -> Reading:
    """Every row of a file, the problems of the others and notes on what was done.

    Raises DatasetError for a file that cannot be read as a whole, a mapping with columns that the file does not have,
    columns that nobody has mapped, or a speaker who does not speak.
    """
    choices = choices or Choices()
    parts = load(content, name, choices.encoding, choices.kind is not None)
    rows: list[Row] = []
    problems: list[Problem] = []
    notes: list[Note] = [*_encoding_notes(parts)]
    formats: list[str] = []
    for part in parts:
        done = _read_part(part, choices, len(parts), None)
        formats.append(done.format)
        notes.extend(done.notes)
        where = f"{part.name}: " if len(parts) > 1 else ""
        for one in done.made:
            if isinstance(one, Row):
                rows.append(one)
            else:
                problems.append(replace(one, field=where + one.field))
        check_count(len(rows), name)
    return Reading(
        tuple(rows),
        tuple(problems),
        hashlib.sha256(content).hexdigest(),
        formats[0] if len(set(formats)) == 1 else "mixed",
        next((part.encoding for part in parts if not part.encoding.sure), parts[0].encoding).encoding,
        tuple(notes),
    )


def read_file(path: Path, choices: Choices | None = None) -> Reading:
    """`read` of a file on disk, whose size is checked before it is read."""
    return read(read_content(path), path.name, choices)


def _format(part: Part, choices: Choices) -> str:
    if part.text:
        return read_script(part.text, part.name, choices.kind).format
    return "tavern" if is_tavern(part.records) else propose(part.columns(), _sample(part))[0]


def _sample(part: Part) -> list[Any]:
    return [value for _, value in part.records[:SAMPLE]]


def _read_part(part: Part, choices: Choices, parts: int, shown: int | None) -> _Read:
    """The rows of one part; with `shown`, those of so many records, and nothing is raised for unmapped columns."""
    if part.text or is_tavern(part.records):
        script = read_script(part.text, part.name, choices.kind) if part.text else tavern(part.records)
        return _read_script(script, part, choices, parts, shown)
    columns = part.columns()
    format, mapping = propose(columns, _sample(part))
    chosen = choices.mapping
    if chosen is not None:
        absent = [column for column in chosen.columns() if column not in columns]
        if absent and parts == 1:
            raise DatasetError("dataset.no_column", path=part.name, name=absent[0], known=", ".join(columns))
        mapping = mapping if absent else chosen
    unmapped = not (mapping.input or mapping.output) or (format == "table" and not (mapping.input and mapping.output))
    if unmapped and part.records and chosen is None:
        if shown is None:
            raise DatasetError("dataset.unmapped", path=part.name, columns=", ".join(columns)[:300] or "-")
        return _Read(format, mapping, part.problems, (*part.notes, Note("unmapped")))
    made, noted = _converted(part, mapping, choices, shown)
    unused = [column for column in columns if column not in mapping.columns()]
    ignored = (Note("ignored", (("columns", ", ".join(unused)[:300]),)),) if unused else ()
    notes = (Note(key, rows=tuple(numbers)) for key, numbers in noted.items())
    return _Read(format, mapping, made, (*part.notes, *ignored, *notes))


def _converted(
    part: Part, mapping: Mapping, choices: Choices, shown: int | None
) -> tuple[tuple[Row | Problem, ...], dict[str, list[int]]]:
    """The rows and problems of a part, and under the keys of notes the numbers of the records that they are about."""
    made: list[tuple[int, Row | Problem]] = [(problem.row, problem) for problem in part.problems]
    noted: dict[str, list[int]] = {}
    for number, value in islice(part.records, shown):
        done = convert(value, number, mapping, choices.persona, bool(choices.each_answer))
        made.extend((number, one) for one in (done.rows if done.problem is None else (done.problem,)))
        for key in done.notes:
            noted.setdefault(key, []).append(number)
    return tuple(one for _, one in sorted(made, key=lambda pair: pair[0])), noted


def _read_script(script: Script, part: Part, choices: Choices, parts: int, shown: int | None) -> _Read:
    speak = {name for name, _ in script.speakers()}
    # In one file of a zip another character may answer than the one who was chosen for all.
    her = choices.her if choices.her is not None and (parts == 1 or choices.her in speak) else script.her
    if not her and shown is not None:
        return _Read(script.format, Mapping(), script.problems, (*part.notes, *script.notes), script)
    if not her:
        known = "、".join(sorted(name for name in speak if name))[:200] or "-"
        raise DatasetError("dataset.choose_speaker", path=part.name, known=known)
    each = script.format == "story" or bool(choices.each_answer)
    rows, problems, notes = script_rows(script, her, choices.persona, each, choices.others)
    made: tuple[Row | Problem, ...] = (*part.problems, *problems, *rows)
    return _Read(script.format, Mapping(), made, (*part.notes, *notes), script, her)


def _encoding_notes(parts: Sequence[Part]) -> tuple[Note, ...]:
    unsure = [part for part in parts if not part.encoding.sure]
    return tuple(
        Note(
            "unsure_encoding",
            (
                ("name", part.name),
                ("encoding", part.encoding.encoding),
                ("others", "；".join(f"{encoding}：{begins}" for encoding, begins in part.encoding.others) or "-"),
            ),
        )
        for part in unsure
    )
