"""Text to index terms, many texts at once in numpy: characters, pairs of neighbours, and words of letters and digits.

Chinese and Japanese have no spaces: every character is a term, and so is every pair of neighbours; a digit is both a
character and a part of a word, because 1998年 is asked as 98年. Width (NFKC), case and traditional characters are
folded, so that ＡＢ finds ab and 鐵道 finds 铁道. Knows no documents and no scores.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

TEXT_BITS = 22
"""The low bits of a key: which text. The high bits are the term."""
MOST_TEXTS = 1 << TEXT_BITS
_PLANES = 0x110000
_WORDS = _PLANES << 21
"""Terms from here on are hashes of words; below are one character, or two with the second in the low 21 bits."""
_WORD_SPAN = (1 << 42) - _WORDS
_LONGEST_WORD = 64
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_GAP, _CHARACTER, _WORD, _DIGIT = range(4)

Keys = NDArray[np.uint64]


def keys(texts: Sequence[str]) -> Keys:
    """A key for every occurrence of every term of every text: term above, place of the text below. Unsorted.

    Raises ValueError for more than `MOST_TEXTS` texts.
    """
    if len(texts) > MOST_TEXTS:
        raise ValueError(f"{len(texts)} texts, at most {MOST_TEXTS}")
    fold, kinds = _tables()
    joined = "\0".join([*texts, ""])
    read = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    codes = fold[read].astype(np.uint64)
    kind = kinds[read]
    lengths = np.fromiter(map(len, texts), np.int64, len(texts)) + 1
    places = np.repeat(np.arange(len(texts), dtype=np.uint64), lengths)

    alone = (kind == _CHARACTER) | (kind == _DIGIT)
    pairs = alone[:-1] & alone[1:]
    singles = codes[alone] << np.uint64(21)
    doubles = (codes[:-1][pairs] << np.uint64(21)) | codes[1:][pairs]
    words, word_places = _words(codes, kind >= _WORD, places)
    terms = np.concatenate([singles, doubles, words])
    of_text = np.concatenate([places[alone], places[:-1][pairs], word_places])
    return (terms << np.uint64(TEXT_BITS)) | of_text


def folded(text: str) -> str:
    """`text` character by character in the form in which terms are compared; as long as before."""
    fold, _ = _tables()
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return fold[codes].tobytes().decode("utf-32-le", "surrogatepass")


def _words(codes: Keys, inside: NDArray[np.bool_], places: Keys) -> tuple[Keys, Keys]:
    """Terms of the runs of word characters, by a polynomial hash, and the texts that they stand in."""
    starts = np.flatnonzero(inside & ~np.concatenate(([False], inside[:-1])))
    if not len(starts):
        return codes[:0], codes[:0]
    here = np.arange(len(codes))
    begun = np.zeros(len(codes), np.intp)
    begun[starts] = starts
    within = np.minimum(here - np.maximum.accumulate(begun), _LONGEST_WORD - 1)
    weighed = np.where(inside, (codes + np.uint64(1)) * _powers()[within], np.uint64(0))
    sums = np.add.reduceat(weighed, starts)  # what lies between two runs is nought
    hashed = (sums ^ (sums >> np.uint64(29))) % np.uint64(_WORD_SPAN)
    return (hashed + np.uint64(_WORDS)).astype(np.uint64), places[starts]


@cache
def _powers() -> Keys:
    with np.errstate(over="ignore"):
        return np.cumprod(np.full(_LONGEST_WORD, _MULTIPLIER, np.uint64), dtype=np.uint64)


@cache
def _tables() -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """For every code point: what it is folded to, and whether it is a term of its own, part of a word, or a gap."""
    from opencc import OpenCC

    fold = np.arange(_PLANES, dtype=np.uint32)
    kinds = np.zeros(_PLANES, np.uint8)
    for code in (*range(0xD800), *range(0xE000, 0x10000)):
        folded = unicodedata.normalize("NFKC", chr(code)).lower()
        if len(folded) == 1:
            fold[code] = ord(folded)
    ideographs = [chr(code) for code in range(0x3400, 0xA000)]
    simplified = OpenCC("t2s").convert("\n".join(ideographs)).split("\n")
    moved = np.arange(_PLANES, dtype=np.uint32)
    for traditional, simple in zip(ideographs, simplified, strict=True):
        moved[ord(traditional)] = ord(simple) if len(simple) == 1 else ord(traditional)
    moved[0x30A1:0x30F7] -= 0x60  # katakana and hiragana are one
    fold = moved[fold]
    for code in np.unique(fold[:0x10000]):
        if not 0xD800 <= code < 0xE000 and unicodedata.category(chr(code))[0] in "LN":
            own = 0x3040 <= code < 0xA000 or 0xAC00 <= code < 0xD7A4
            kinds[code] = _CHARACTER if own else _DIGIT if 0x30 <= code < 0x3A else _WORD
    kinds[0x20000:0x30000] = _CHARACTER
    return fold, kinds[fold]
