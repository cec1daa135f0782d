"""Which encoding a text that is not in UTF-8 is in. Knows no files."""

from __future__ import annotations

GUESSES = {"gb18030": ("gb2312", 0xB0, 0xD7), "big5": ("big5", 0xA4, 0xC6), "shift_jis": ("shift_jis", 0x88, 0x98)}
"""What a file that is not UTF-8 may be in, and where that encoding keeps its everyday characters: a codec and the
range of its first bytes. Nearly every Big5 or Shift-JIS file is also valid GB18030, so validity alone tells nothing."""


def guess(content: bytes) -> str:
    """The encoding under which most of the foreign characters are everyday ones, "" where there is no such."""
    found: dict[str, float] = {}
    for name, (codec, first, last) in GUESSES.items():
        try:
            foreign = [character for character in content.decode(name)[:20_000] if character > "\x7f"]
        except UnicodeDecodeError:
            continue
        found[name] = sum(_everyday(character, codec, first, last) for character in foreign) / max(1, len(foreign))
    best = max(found, key=lambda name: found[name], default="")
    return best if found.get(best, 0) > 0.5 else ""


def _everyday(character: str, codec: str, first: int, last: int) -> bool:
    if "\u3000" <= character <= "\u30ff" or "\uff01" <= character <= "\uff5e":  # punctuation and kana, full width
        return True
    return "\u4e00" <= character <= "\u9fff" and first <= character.encode(codec, "replace")[0] <= last
