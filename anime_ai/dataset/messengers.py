"""Chats copied or exported from QQ, WeChat and the like: a line with a name and a time, below it what was said."""

from __future__ import annotations

import re
from dataclasses import replace

from anime_ai.dataset.formats import Note
from anime_ai.dataset.rows import Problem
from anime_ai.dataset.speakers import Line, Script

_DAY = r"(?P<day>\d{2,4}[-/.年]\d{1,2}[-/.月]\d{1,2}日?)"
_CLOCK = r"(?:上午|下午|[AaPp][Mm])?\s?\d{1,2}[:：]\d{2}(?:[:：]\d{2})?(?:\s?[AaPp][Mm])?"
_NAME = r"[^\s:：](?:[^:：\t]{0,38}[^\s:：])?"
_TIMES = (rf"{_DAY}\s+{_CLOCK}", r"\d{1,2}:\d{2}:\d{2}")
"""A bare "12:00" is what people write in a sentence."""
_HEADINGS = tuple(
    re.compile(form)
    for time in _TIMES
    for form in (rf"\s*{time}\s+(?P<name>{_NAME})\s*", rf"\s*(?P<name>{_NAME})\s+{time}\s*")
)
_NUMBER = re.compile(r"\s*(?:[(（]\d{4,}[)）]|<[^<>\s]+@[^<>\s]+>)$|^【[^【】]{1,12}】")
"""What QQ puts around a name: the account, a title in the group."""
_LEFT_OUT = re.compile(r"\[(?:图片|表情|动画表情|语音|视频|文件|链接|红包|聊天记录)\]")
_PROBED = 200
"""Lines by which a text is told."""


def heading(line: str) -> tuple[str, str] | None:
    """Name and day ("" where only a time stands) of the line above a message; None for any other line."""
    for form in _HEADINGS:
        if found := form.fullmatch(line):
            name = _NUMBER.sub("", found["name"]).strip()
            return (name, found.groupdict().get("day") or "") if name else None
    return None


def is_messenger(text: str) -> bool:
    """Whether two headings stand in a text, and something below the first of them."""
    lines = [line for line in text[:50_000].split("\n")[:_PROBED] if line.strip()]
    places = [place for place, line in enumerate(lines) if heading(line)]
    return len(places) > 1 and places[1] > places[0] + 1


def messenger_chat(text: str) -> Script:
    """Every message is a line; another day is another scene. Pictures and the like are left out."""
    found: list[tuple[Line, list[str]]] = []
    before: list[int] = []
    scene, today = 0, ""
    for number, line in enumerate(text.split("\n"), 1):
        if told := heading(line):
            name, day = told
            scene += bool(day and today and day != today)
            today = day or today
            found.append((Line(number, name, "", scene), []))
        elif not line.strip():
            continue
        elif found:
            found[-1][1].append(line.strip())
        else:
            before.append(number)
    lines = [replace(line, text=_LEFT_OUT.sub("", "\n".join(parts)).strip()) for line, parts in found]
    problems = tuple(Problem(line.number, line.speaker, "blank") for line in lines if not line.text)
    notes = (Note("unnamed", rows=tuple(before)),) if before else ()
    return Script("chat", tuple(line for line in lines if line.text), notes=notes, problems=problems)
