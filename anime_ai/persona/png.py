"""The chunks of a PNG, read and written by hand: what a card stands in, and the picture without it. Knows no card.

Pillow tells no text behind the picture's data before that is decoded, and one of two chunks of one name. Specification:
PNG, third edition, https://www.w3.org/TR/png-3/ (APNG's chunks are in it).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from anime_ai.errors import PersonaError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_TEXT = 8 * 2**20
"""Bytes of a text chunk, unpacked where it is packed."""
MOST_FILE = 64 * 2**20
"""Bytes of a text chunk that is a file of the card."""
MOST_TEXTS = 512
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_DRAWN = (b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"bKGD", b"pHYs", b"acTL", b"fcTL", b"fdAT", b"cICP")
"""Beside the critical chunks, what a picture needs to look as it did. The rest may tell a place or a prompt."""
ASSET = b"chara-ext-asset_"
"""How the keyword of a file begins that a V3 card has beside its picture."""


@dataclass(frozen=True)
class Text:
    """A text chunk: its keyword and its bytes, unpacked."""

    keyword: str
    content: bytes


def texts(content: bytes) -> Iterator[Text]:
    """Every text chunk of a PNG in the order of the file, before and behind the picture's data.

    A file that ends in the middle gives what was whole. Raises PersonaError for a chunk that is too large.
    """
    for number, (kind, data) in enumerate(one for one in _chunks(content) if one[0] in _TEXTS):
        if number >= MOST_TEXTS:
            raise PersonaError("persona.too_many", count=f"{number + 1}+", most=MOST_TEXTS)
        keyword, _, rest = data.partition(b"\0")
        yield Text(keyword.decode("latin-1").strip(), _unpacked(kind, rest))


def bare(content: bytes, files: bool = True) -> bytes:
    """The picture alone, to the byte as it was: no metadata, no text but, with `files`, those that belong to a card."""
    kept = [(kind, data) for kind, data in _chunks(content) if _stays(kind, data)]
    return _written([(kind, data) for kind, data in kept if files or kind not in _TEXTS])


def with_texts(content: bytes, told: list[tuple[str, bytes]]) -> bytes:
    """A PNG with texts (keyword, Latin-1 bytes) before the picture's data."""
    chunks = list(_chunks(content))
    first = next((place for place, (kind, _) in enumerate(chunks) if kind == b"IDAT"), len(chunks))
    texts = [(b"tEXt", keyword.encode("latin-1") + b"\0" + text) for keyword, text in told]
    return _written([*chunks[:first], *texts, *chunks[first:]])


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not content.startswith(SIGNATURE):
        raise PersonaError("persona.not_whole")
    place = len(SIGNATURE)
    while place + 8 <= len(content):
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        data = content[place + 8 : place + 8 + length]
        if len(data) < length or not kind.isalpha():
            return
        if kind in _TEXTS and length > (MOST_FILE if data.startswith(ASSET) else MOST_TEXT):
            raise PersonaError("persona.chunk", size=length // 2**20, most=MOST_TEXT // 2**20)
        yield kind, data
        if kind == b"IEND":
            return
        place += 12 + length


def _stays(kind: bytes, data: bytes) -> bool:
    critical = not kind[0] & 0x20
    return critical or kind in _DRAWN or (kind in _TEXTS and data.startswith(ASSET))


def _unpacked(kind: bytes, rest: bytes) -> bytes:
    if kind == b"tEXt":
        return rest
    if kind == b"zTXt":
        return _inflated(rest[1:])
    packed = rest[:1] == b"\1"
    _language, _, rest = rest[2:].partition(b"\0")
    _translated, _, text = rest.partition(b"\0")
    return _inflated(text) if packed else text


def _inflated(packed: bytes) -> bytes:
    """What zlib packed; a broken end gives what was whole before it. Raises PersonaError for a bomb."""
    opened = zlib.decompressobj()
    try:
        found = opened.decompress(packed, MOST_TEXT + 1)
    except zlib.error:
        return b""
    if len(found) > MOST_TEXT:
        raise PersonaError("persona.chunk", size=f"{MOST_TEXT // 2**20}+", most=MOST_TEXT // 2**20)
    return found


def _written(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = [SIGNATURE]
    for kind, data in chunks:
        parts += [struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(kind + data))]
    if not chunks or chunks[-1][0] != b"IEND":
        parts.append(b"\0\0\0\0IEND" + struct.pack(">I", zlib.crc32(b"IEND")))
    return b"".join(parts)
