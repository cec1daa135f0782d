"""Which encoding a text is in, decoded strictly: nothing is ever replaced in silence. Knows no files."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from zipfile import ZipInfo

GUESSES = {"gb18030": ("gb2312", 0xB0, 0xD7), "big5": ("big5", 0xA4, 0xC6), "shift_jis": ("shift_jis", 0x88, 0x98)}
"""What a file that is not UTF-8 may be in, and where that encoding keeps its everyday characters: a codec and the
range of its first bytes. Nearly every Big5 or Shift-JIS file is also valid GB18030, so validity alone tells nothing."""


_WIDER = {"big5": ("big5hkscs", "cp950"), "shift_jis": ("cp932",)}
"""Supersets that Windows writes under these names, tried where the standard itself does not decode."""
_FOREIGN = re.compile("[^\\x00-\\x7f]+")
_SHARE, _CLEAR, _ENOUGH = 0.5, 0.8, 20
"""A guess needs this share of everyday characters; it is sure from the second share and this many characters on."""


@dataclass(frozen=True)
class Decoded:
    """A text, its encoding, whether that is `sure`, and what else it may be: (encoding, how its text then begins)."""

    text: str
    encoding: str
    sure: bool = True
    others: tuple[tuple[str, str], ...] = ()


def decode(content: bytes, encoding: str | None = None) -> Decoded:
    """Text in `encoding`, else in what it is found to be, in this order: UTF-8, UTF-16 and UTF-32 with or without a
    mark, GB 18030, Big5, Shift JIS.

    Raises UnicodeDecodeError for what is none of these or is not in `encoding`, LookupError or ValueError for an
    encoding that is none.
    """
    if encoding:
        return Decoded(content.decode(encoding).removeprefix("\ufeff"), encoding)
    unicode: str = json.detect_encoding(content)
    if unicode.startswith("utf-16-"):  # told by a zero at the beginning, which may also be that of 一 (U+4E00)
        unicode = _without_mark(content) or unicode
    if not unicode.startswith("utf-8"):
        return Decoded(content.decode(unicode).removeprefix("\ufeff"), unicode)
    try:
        return Decoded(content.decode("utf-8").removeprefix("\ufeff"), "utf-8")
    except UnicodeDecodeError:
        if unmarked := _without_mark(content):
            return Decoded(content.decode(unmarked), unmarked)
        best, *others = _candidates(content) or [_Candidate("", "", 0, 0)]
        if best.share <= _SHARE:
            raise
    sure = best.share >= _CLEAR and best.foreign >= _ENOUGH and all(one.share < best.share / 2 for one in others)
    begun = tuple((one.encoding, _beginning(one.text)) for one in others)
    return Decoded(best.text.removeprefix("\ufeff"), best.encoding, sure, begun)


def guess(content: bytes) -> str:
    """The encoding under which most of the foreign characters are everyday ones, "" where there is no such."""
    found = _candidates(content)
    return found[0].encoding if found and found[0].share > _SHARE else ""


def zipped_name(entry: ZipInfo) -> str:
    """Names without the mark of UTF-8, which Python reads as code page 437: macOS writes UTF-8 all the same, a Chinese
    Windows GBK. Few names in GBK are UTF-8 by chance, but nearly all in UTF-8 are GB 18030."""
    if not entry.flag_bits & 0x800:
        for encoding in ("utf-8", "gb18030"):
            with suppress(UnicodeError):
                return entry.filename.encode("cp437").decode(encoding)
    return entry.filename


@dataclass(frozen=True)
class _Candidate:
    encoding: str
    text: str
    share: float
    """Of everyday characters among the foreign ones."""
    foreign: int


def _candidates(content: bytes) -> list[_Candidate]:
    """All `GUESSES` that decode the content, the likeliest first."""
    found: list[_Candidate] = []
    for name, (codec, first, last) in GUESSES.items():
        for encoding in (name, *_WIDER.get(name, ())):
            with suppress(UnicodeDecodeError):
                text = content.decode(encoding)
                foreign = "".join(run.group() for run in islice(_FOREIGN.finditer(text), 5_000))[:20_000]
                everyday = sum(_everyday(character, codec, first, last) for character in foreign)
                found.append(_Candidate(encoding, text, everyday / max(1, len(foreign)), len(foreign)))
                break
    return sorted(found, key=lambda one: -one.share)


def _without_mark(content: bytes) -> str:
    """Which UTF-16 it is where that can be told without a mark, else "".

    Where it begins with a Chinese character, there is no zero among its first bytes, but a line break has one, and so
    has 一 (U+4E00), in the other half: the order of the bytes is the one that makes more everyday characters.
    """
    if len(content) % 2 or 0 not in content[:65_536]:
        return ""
    found = []
    for named in ("utf-16-le", "utf-16-be"):
        with suppress(UnicodeDecodeError):
            begun = content.decode(named)[:10_000]
            if all(character >= " " or character in "\t\r\n" for character in begun):
                found.append((sum(one < "\x7f" or _everyday(one, *GUESSES["gb18030"]) for one in begun), named))
    return max(found)[1] if found else ""


def _beginning(text: str) -> str:
    """Some characters of the text from shortly before the first that is not ASCII: that is where encodings differ."""
    first = next((place for place, character in enumerate(text) if character > "\x7f"), 0)
    return " ".join(text[max(0, first - 10) : first + 50].split())


def _everyday(character: str, codec: str, first: int, last: int) -> bool:
    if "\u3000" <= character <= "\u30ff" or "\uff01" <= character <= "\uff5e":  # punctuation and kana, full width
        return True
    return "\u4e00" <= character <= "\u9fff" and first <= character.encode(codec, "replace")[0] <= last
