"""Regular expressions out of strangers' lorebooks, `/…/flags` as JavaScript writes them, within a time.

Such a pattern may run for years on a short text. The `regex` package looks at a clock while it backtracks and stops;
what of its syntax is no JavaScript (recursion, fuzzy matches, inline flags) is refused, because some of that is slow in
other ways. Knows no lorebook.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

MOST_PATTERN = 400
"""Characters of a pattern: the preparation of a long one takes time that no clock watches."""
MOST_TEXT = 20_000
"""Characters of a text that are looked at, the last ones."""
MOST_REPEAT = 1_000
SECONDS = 0.1
"""For one look of one pattern."""
_WRITTEN = re.compile(r"/((?:[^/\\\n]|\\.)+)/([a-z]*)", re.DOTALL)
_FLAGS = frozenset("dgimsuvy")
_GROUP = re.compile(r"\(\?(?!:|=|!|<=|<!|<[A-Za-z_]\w*>)")
_ESCAPE = re.compile(r"\\(?:([pP]\{[\w=]+\})|u\{([0-9A-Fa-f]{1,6})\}|k<(\w+)>|(.))", re.DOTALL)
_REPEAT = re.compile(r"\{(\d*),?(\d*)\}")


@dataclass(frozen=True)
class Pattern:
    """A pattern that can be looked for; `why` is "" where it can, else "broken" or, after a look, "slow"."""

    written: str
    compiled: Any = None
    why: str = ""

    def found_in(self, text: str) -> tuple[str, str]:
        """What it matched first, "" for nothing, and "slow" where the time was over before that was known."""
        if self.compiled is None:
            return "", self.why
        try:
            found = self.compiled.search(text[-MOST_TEXT:], timeout=SECONDS)
        except (TimeoutError, MemoryError):
            return "", "slow"
        return (found[0] or self.written, "") if found else ("", "")


def is_pattern(key: str) -> bool:
    """Whether a key is written as a regular expression."""
    if "/" not in key:
        return False
    found = _WRITTEN.fullmatch(key.strip())
    return bool(found) and _FLAGS.issuperset(found[2]) and len(set(found[2])) == len(found[2])  # type: ignore[index]


@lru_cache(maxsize=2048)
def pattern(key: str) -> Pattern:
    """The pattern of a key for which `is_pattern` holds."""
    import regex

    found = _WRITTEN.fullmatch(key.strip())
    assert found is not None
    body, flags = found[1], found[2]
    repeats = [int(number) for pair in _REPEAT.findall(body) for number in pair if number]
    if len(body) > MOST_PATTERN or _GROUP.search(body) or any(number > MOST_REPEAT for number in repeats):
        return Pattern(key, why="broken")
    told = 0 if {"u", "v"} & set(flags) else regex.ASCII
    told |= regex.IGNORECASE if "i" in flags else 0
    told |= regex.MULTILINE if "m" in flags else 0
    told |= regex.DOTALL if "s" in flags else 0
    try:
        return Pattern(key, regex.compile(_as_python(body), told | regex.VERSION0))
    except (regex.error, RecursionError, OverflowError, MemoryError):
        return Pattern(key, why="broken")


def _as_python(body: str) -> str:
    """JavaScript's syntax where it differs: a brace that counts nothing stands for itself."""
    parts: list[str] = []
    place = 0
    while place < len(body):
        sign = body[place]
        if sign == "\\":
            escape = _ESCAPE.match(body, place)
            assert escape is not None
            parts.append(_escaped(escape))
            place = escape.end()
            continue
        counts = sign == "{" and re.match(r"\{\d+(,\d*)?\}", body[place:])
        if counts:
            parts.append(counts[0])
            place += len(counts[0])
            continue
        named = re.match(r"\(\?<(?=[A-Za-z_])", body[place:])
        parts.append("(?P<" if named else "\\" + sign if sign in "{}" else sign)
        place += 3 if named else 1
    return "".join(parts)


def _escaped(escape: re.Match[str]) -> str:
    kind, code, name, sign = escape.groups()
    if code:
        return re.escape(chr(int(code, 16))) if int(code, 16) < 0x110000 else r"\b\B"
    if name:
        return f"(?P={name})"
    return "/" if sign == "/" else f"\\{kind or sign}"
