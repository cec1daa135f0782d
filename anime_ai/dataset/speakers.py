"""Chats, pasted text, stories and subtitles: who says what, and rows of what one of them answers the others.

A story's speakers are told by the words around its quotes, which is a guess: its rows are drafts for somebody to read
over. Knows nothing of files and their encodings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from anime_ai.dataset.formats import Note, spread
from anime_ai.dataset.rows import Problem, Row
from anime_ai.errors import DatasetError, KnowledgeError

UNKNOWN = ""
"""The speaker of what nobody is named for."""
MOST_CHARACTERS = 5_000_000
"""Of a text whose speakers are looked for."""
PAUSE = 20_000
"""Milliseconds without a subtitle after which another scene begins."""
_TIME = r"(?:[\[（(]?\d[\d\-/:. 年月日]*\d[\]）)]?\s+)?"
_SAID = re.compile(
    rf"^\s*{_TIME}(?:[-*•>]\s*)?(?P<name>[^\s:：,，。！？!?“”「」\"\t|=<>{{}}][^:：,，。！？!?“”「」\"\t|=<>{{}}]{{0,23}})"
    r"\s*[:：]\s*(?P<said>.*)$"
)
_NO_NAME = re.compile(r"^(?:https?|ftp|file|[\d\W_]+)$", re.IGNORECASE)
_BRACKETED = re.compile(r"^[（(【\[](?P<name>[^（）()【】\[\]]{1,16})[）)】\]]\s*(?P<said>\S.*)$")
_RULE = re.compile(r"([-=*#_~—…])(\s*\1){2,}")
"""A line of dashes, stars and the like, behind which another scene begins."""
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")


@dataclass(frozen=True)
class Line:
    """What `speaker` says in line (or paragraph, or subtitle) `number` from 1. `scene` counts from 0."""

    number: int
    speaker: str
    text: str
    scene: int = 0
    is_user: bool = False


@dataclass(frozen=True)
class Script:
    """Lines in order. `guessed`: speakers or scenes were guessed. `her`: whom the rows are likely wanted of, or ""."""

    format: str
    lines: tuple[Line, ...]
    guessed: bool = False
    her: str = ""
    notes: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()

    def speakers(self) -> tuple[tuple[str, int], ...]:
        """Everybody who speaks with the number of their lines, most first; UNKNOWN is among them."""
        return tuple(Counter(line.speaker for line in self.lines).most_common())


# A text to a script


def read_script(text: str, name: str = "", kind: str | None = None) -> Script:
    """The script of subtitles, a pasted chat or a story, told by what is in the text unless `kind` says it.

    `kind`: "subtitles", "chat" or "story". Raises DatasetError for a text that is none of them, or too long.
    """
    from anime_ai.dataset.messengers import is_messenger, messenger_chat
    from anime_ai.dataset.stories import has_quotes, story

    if len(text) > MOST_CHARACTERS:
        raise DatasetError("dataset.text_too_long", path=name, most=MOST_CHARACTERS)
    written = subtitle_kind(text)
    if written and kind in (None, "subtitles"):
        return _subtitles(text, written, name)
    headed = kind in (None, "chat") and is_messenger(text)
    if headed or kind == "chat" or (kind is None and is_chat(text)):
        script = messenger_chat(text) if headed else _chat(text)
        script = replace(script, her=_answering(script.lines))
        if script.lines or script.problems:
            return script
    elif kind in (None, "story") and has_quotes(text):
        script = story(text)
        if script.lines:
            return script
    raise DatasetError("dataset.unknown_format", path=name)


def subtitle_kind(text: str) -> str:
    """ "vtt", "ass" or "srt", "" for a text that is none of them."""
    start = text.lstrip("\ufeff \t\r\n")[:200]
    if start.startswith("WEBVTT"):
        return "vtt"
    if start.lower().startswith("[script info]"):
        return "ass"
    return "srt" if re.match(r"(?:\d+\s*\n)?\s*\d{1,2}:\d\d:\d\d[,.]\d{1,3}\s*-->", start) else ""


def said_by(line: str) -> tuple[str, str] | None:
    """Speaker and text of a line "A：…", with a half or full width colon; None for any other line."""
    found = _SAID.match(line)
    if not found or _NO_NAME.match(name := found["name"].strip()) or found["said"].startswith("//"):
        return None
    return name, found["said"].strip()


def is_chat(text: str) -> bool:
    """Whether a text is turns "A：…", "B：…": its first line is, and names come again, in more than half of the lines
    that follow or always the same two or three. A line without a name goes on with the one before.
    """
    lines = [line for line in text[:50_000].split("\n")[:200] if line.strip()]
    names = [said[0] for said in map(said_by, lines) if said]
    if len(names) < 2 or not said_by(lines[0]):
        return False
    often = len(names) == 2 or len(set(names)) < len(names)
    counts = Counter(names)
    same = len(counts) in (2, 3) and min(counts.values()) > 1
    turns = same or (often and len(names) * 2 > len(lines))
    return turns and not all("“" in line or "「" in line for line in lines)


def _chat(text: str) -> Script:
    found: list[tuple[Line, list[str]]] = []
    unnamed: list[int] = []
    scene = blank = 0
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            blank += 1
            continue
        if _RULE.fullmatch(line.strip()):
            scene += 1
        elif said := said_by(line):
            found.append((Line(number, said[0], "", scene), [said[1]]))
        elif not found:
            unnamed.append(number)
        else:
            found[-1][1].extend(["", line.strip()] if blank else [line.strip()])
        blank = 0
    lines = [replace(line, text="\n".join(parts).strip()) for line, parts in found]
    kept = tuple(line for line in lines if line.text)
    problems = tuple(Problem(line.number, line.speaker, "blank") for line in lines if not line.text)
    notes = (Note("unnamed", rows=tuple(unnamed)),) if unnamed else ()
    return Script("chat", kept, notes=notes, problems=problems)


def _answering(lines: Sequence[Line]) -> str:
    """Of those who are not named as a user, the one who speaks second: the first asks."""
    users = {"用户", "user", "human", "me", "you", "我", "你", "ユーザー", "问", "q"}
    names = list(dict.fromkeys(line.speaker for line in lines))
    others = [name for name in names if name.casefold() not in users]
    if len(others) == len(names):
        others = others[1:] or others
    return others[0] if others else ""


def _subtitles(text: str, kind: str, name: str) -> Script:
    from anime_ai.knowledge.parsing import subtitle_lines

    text = _VOICE.sub(r"\1：", text) if kind == "vtt" else text
    try:
        found = subtitle_lines(text, kind)
    except KnowledgeError as error:
        raise DatasetError("dataset.broken_file", path=name, kind=kind, why=error.values.get("why", "")) from error
    lines: list[Line] = []
    scene = before = 0
    for number, (start, speaker, said) in enumerate(found, 1):
        scene += bool(lines) and start - before > PAUSE
        before = start
        named = said_by(said) or ((one["name"], one["said"]) if (one := _BRACKETED.match(said)) else None)
        if not speaker and named:
            speaker, said = named
        if said.strip():
            lines.append(Line(number, speaker.strip(), said.strip(" -–"), scene))
    if not lines:
        raise DatasetError("dataset.empty", path=name)
    named_lines = Counter(line.speaker for line in lines if line.speaker)
    her = named_lines.most_common(1)[0][0] if named_lines else ""
    return Script("subtitles", tuple(lines), guessed=True, her=her)


# SillyTavern


def is_tavern(records: Sequence[tuple[int, Any]]) -> bool:
    """Whether records are a chat as SillyTavern saves it: a first line about the chat, then messages."""
    values = [value for _, value in records[:2]]
    if not all(isinstance(value, dict) for value in values) or not values:
        return False
    head = {"user_name", "character_name", "chat_metadata"} & values[0].keys()
    return bool(head) and "mes" not in values[0] and all("mes" in value for value in values[1:])


def tavern(records: Sequence[tuple[int, Any]]) -> Script:
    """The messages that are shown: the chosen one of several swipes, none that is hidden or of the system."""
    head = records[0][1]
    lines: list[Line] = []
    problems: list[Problem] = []
    hidden, swiped = [], []
    for number, value in records[1:]:
        if not isinstance(value, dict) or not isinstance(value.get("mes"), str):
            problems.append(Problem(number, "mes", "not_text" if isinstance(value, dict) else "not_object"))
        elif value.get("is_system"):
            hidden.append(number)
        elif not value["mes"].strip():
            problems.append(Problem(number, "mes", "blank"))
        else:
            is_user = bool(value.get("is_user"))
            speaker = value.get("name") if isinstance(value.get("name"), str) else ""
            named = speaker or str(head.get("user_name" if is_user else "character_name") or "")
            lines.append(Line(number, named, value["mes"].strip(), is_user=is_user))
            if isinstance(value.get("swipes"), list) and len(value["swipes"]) > 1:
                swiped.append(number)
    noted = (("hidden", hidden), ("swipes", swiped))
    notes = tuple(Note(key, rows=tuple(rows)) for key, rows in noted if rows)
    hers = Counter(line.speaker for line in lines if not line.is_user)
    her = str(head.get("character_name") or "")
    her = her if her in hers or not hers else hers.most_common(1)[0][0]
    return Script("tavern", tuple(lines), her=her, notes=notes, problems=tuple(problems))


# A script to rows


def script_rows(
    script: Script, her: str, persona: str = "", each_answer: bool = False, others: Iterable[str] | None = None
) -> tuple[tuple[Row, ...], tuple[Problem, ...], tuple[Note, ...]]:
    """Rows of what `her` answers to everybody else, or to `others`; one of every scene, or with `each_answer` of every
    answer. Their persona is `persona`, else her name.

    Consecutive lines of one side are one turn. What she says before anybody else does in a scene and what is said after
    her last answer are in no row: notes say where. Raises DatasetError where nobody of her name speaks.
    """
    if her not in {line.speaker for line in script.lines}:
        known = "、".join(name for name, _ in script.speakers() if name)[:200] or "-"
        raise DatasetError("dataset.no_speaker", name=her, known=known)
    heard = None if others is None else {her, *others}
    scenes: dict[int, list[Line]] = {}
    for line in script.lines:
        if heard is None or line.speaker in heard:
            scenes.setdefault(line.scene, []).append(line)
    rows: list[Row] = []
    problems = list(script.problems)
    noted: dict[str, list[int]] = {}
    for lines in scenes.values():
        turns = _sides(lines, her)
        if turns[0][0]:
            noted.setdefault("speaks_first", []).append(turns.pop(0)[1].number)
        if turns and not turns[-1][0]:
            noted.setdefault("unanswered", []).append(turns.pop()[1].number)
        said = [turn.text for _, turn in turns]
        if pairs := list(zip(said[::2], said[1::2], strict=True)):
            number = turns[0][1].number
            made = spread({"draft": script.guessed}, pairs, number, persona or her, each_answer)
            rows.extend(made.rows)
            problems.extend([made.problem] if made.problem else [])
            for key in made.notes:
                noted.setdefault(key, []).append(number)
    notes = (Note(key, rows=tuple(numbers)) for key, numbers in noted.items())
    guessed = (Note("guessed"),) if script.guessed else ()
    return tuple(rows), tuple(problems), (*script.notes, *guessed, *notes)


def _sides(lines: Sequence[Line], her: str) -> list[tuple[bool, Line]]:
    """Whether it is hers, and the turn, whose number is that of its first line."""
    groups = [(hers, list(group)) for hers, group in groupby(lines, key=lambda line: line.speaker == her)]
    return [(hers, replace(group[0], text="\n".join(line.text for line in group))) for hers, group in groups]
