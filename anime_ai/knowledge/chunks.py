"""A document in chunks: whole sentences under their headings. Knows no files and no index.

Chinese and Japanese sentences end at 。！？；… with what closes a quotation behind it; a line break ends one too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anime_ai.knowledge.store import StoredChunk

LEAST, MOST = 200, 350
"""Characters: a chunk is closed at the first sentence that would take it past MOST; a last one under LEAST joins the
one before where both fit into MOST and a half."""
MOST_WHOLE = 1_500
"""A table or a piece of code stays whole up to here."""
OVERLAP = 120
"""A sentence of up to this length is said again at the head of the next chunk."""
LEVELS = 6
"""Of Markdown's headings."""
_BELOW = " › "
_SENTENCE = re.compile(r"[^\n]*?(?:[。！？!?；;…]+[」』”’\"'）)】》〉]*|\.(?=\s|$)|\n+|$)")


@dataclass(frozen=True)
class Block:
    """A stretch of a document: a heading (`level` from 1), a paragraph, a table or code. `page` counts from 1, 0 where
    the format has none."""

    kind: str
    text: str
    level: int = 0
    page: int = 0


@dataclass(frozen=True)
class Chunk:
    """A stretch `start` to `end` (characters) of a document's text, the headings above it, and its page."""

    start: int
    end: int
    heading: str
    page: int


@dataclass(frozen=True)
class _Piece:
    start: int
    end: int
    page: int


def joined(blocks: Sequence[Block]) -> str:
    """The text of a document: its blocks, a blank line between them. The spans of chunks count in it."""
    return "\n\n".join(block.text for block in blocks)


def chunked(blocks: Sequence[Block], least: int = LEAST, most: int = MOST) -> Iterator[Chunk]:
    """The chunks of a document in order, of whole sentences; each but the first under a heading begins with the last
    sentence of the one before."""
    path: list[tuple[int, str]] = []
    section: list[_Piece] = []
    place = 0
    for block in blocks:
        end = place + len(block.text)
        if block.kind == "heading":
            yield from _packed(section, _heading(path), least, most)
            section = []
            path = [*((level, name) for level, name in path if level < block.level), (block.level, block.text)]
        elif block.kind in ("table", "code"):
            yield from _packed(section, _heading(path), least, most)
            section = []
            yield from (Chunk(one.start, one.end, _heading(path), one.page) for one in _whole(block, place))
        else:
            section += [_Piece(place + start, place + stop, block.page) for start, stop in sentences(block.text)]
        place = end + 2
    yield from _packed(section, _heading(path), least, most)


def as_markdown(text: str, chunks: Sequence[StoredChunk]) -> str:
    """A document as it stands now, `text` its own and `chunks` in order: its headings, what was edited, nothing that is
    off. Read again, it makes such chunks again."""
    parts: list[str] = []
    path: list[str] = []
    before: StoredChunk | None = None
    for one in chunks:
        if one.off:
            before = None
            continue
        names = _names(one.heading)
        if names != path:
            shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(names, path, strict=False)))
            first = min(shared, len(names) - 1)  # a heading stands above the text even where the path only goes up
            parts += [f"{'#' * level} {name}" for level, name in enumerate(names[first:], first + 1)]
        untouched = before is not None and names == path and not (before.edited or one.edited)
        if before is not None and untouched and not text[before.end : one.start].strip():
            parts[-1] += text[before.end : one.end]  # the sentence in which they overlap is told once
        else:
            parts.append(one.text)
        path, before = names, one
    return "\n\n".join(parts)


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """The spans of the sentences of `text`, blank ones left out, without the blanks around them."""
    for found in _SENTENCE.finditer(text):
        said = found.group().strip()
        if said:
            start = found.start() + found.group().index(said[0])
            yield start, start + len(said)


def _heading(path: Sequence[tuple[int, str]]) -> str:
    return _BELOW.join(name for _, name in path)


def _names(heading: str) -> list[str]:
    """The headings above a chunk, as many as Markdown has levels; the last one holds the rest."""
    return [" ".join(name.split()) for name in heading.split(_BELOW, LEVELS - 1)] if heading else []


def _whole(block: Block, place: int) -> Iterator[_Piece]:
    """The block, or, where it is too long, its lines in stretches of at most MOST_WHOLE characters."""
    start = 0
    while start < len(block.text):
        end = min(len(block.text), start + MOST_WHOLE)
        if end < len(block.text):
            end = block.text.rfind("\n", start, end) + 1 or end
        yield _Piece(place + start, place + end, block.page)
        start = end


def _packed(sentences: Sequence[_Piece], heading: str, least: int, most: int) -> Iterator[Chunk]:
    pieces = [part for piece in sentences for part in _cut(piece, most)]
    groups: list[list[_Piece]] = []
    for piece in pieces:
        if not groups or piece.end - groups[-1][0].start > most:
            groups.append([piece])
        else:
            groups[-1].append(piece)
    if len(groups) > 1:
        last, before = groups[-1], groups[-2]
        if last[-1].end - last[0].start < least and last[-1].end - before[0].start <= most * 3 // 2:
            groups[-2:] = [before + last]
    for number, group in enumerate(groups):
        start = group[0].start
        if number and (said := groups[number - 1][-1]).end - said.start <= OVERLAP:
            start = said.start
        yield Chunk(start, group[-1].end, heading, group[0].page)


def _cut(piece: _Piece, most: int) -> Iterator[_Piece]:
    """A sentence without end in stretches of at most `most` characters."""
    for start in range(piece.start, piece.end, most):
        yield _Piece(start, min(start + most, piece.end), piece.page)
