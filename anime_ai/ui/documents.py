"""Documents, chunks and passages as HTML; text only, nothing in them is markup. Knows no handler."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from anime_ai.knowledge.passages import Passage, common
from anime_ai.knowledge.store import DocumentInfo, StoredChunk
from anime_ai.texts import text

DRAWN = 200
"""Chunks of a long document that are drawn at once, around the chosen one."""


def document_list(documents: Sequence[DocumentInfo], language: str, chosen: str = "") -> str:
    if not documents:
        return f'<p class="empty">{escape(text("ui.knowledge.empty", language))}</p>'
    lines = []
    for one in documents:
        kind = ' class="chosen"' if one.id == chosen else ""
        size = escape(text("ui.knowledge.size", language, count=one.chunks, size=one.characters))
        lines.append(
            f'<tr data-document="{escape(one.id)}" tabindex="0"{kind}><td><div>{escape(one.title)}</div></td>'
            f'<td class="number">{size}</td></tr>'
        )
    return f'<table class="rows documents"><tbody>{"".join(lines)}</tbody></table>'


def chunk_list(chunks: Sequence[StoredChunk], whole: str, language: str, chosen: str = "") -> str:
    """A document as its chunks: what a chunk says again of the one before it is paler."""
    told = []
    place = next((place for place, one in enumerate(chunks) if one.id == chosen), 0)
    first = max(0, min(place - DRAWN // 2, len(chunks) - DRAWN))
    before = chunks[first - 1].end if first else 0
    for one in chunks[first : first + DRAWN]:
        kinds = [name for name, on in (("chosen", one.id == chosen), ("off", one.off), ("edited", one.edited)) if on]
        again = "" if one.edited else whole[one.start : max(one.start, min(before, one.end))]
        rest = one.text if one.edited else whole[max(one.start, before) : one.end]
        marks = [one.heading, text("ui.knowledge.page", language, page=one.page) if one.page else ""]
        marks += [text(f"ui.knowledge.{name}", language) for name in ("off", "was_edited") if name in _states(one)]
        head = " · ".join(mark for mark in marks if mark)
        told.append(
            f'<article data-chunk="{escape(one.id)}" tabindex="0" class="{" ".join(kinds)}"><h4>{escape(head)}</h4>'
            f"<p>{f'<i>{escape(again)}</i>' if again else ''}{escape(rest)}</p></article>"
        )
        before = max(before, one.end)
    if len(chunks) > DRAWN:
        line = text("ui.knowledge.some", language, first=first + 1, last=first + len(told), count=len(chunks))
        earlier, later = range(max(0, first - DRAWN), first), range(first + DRAWN, min(first + 2 * DRAWN, len(chunks)))
        told.insert(0, _further("ui.knowledge.earlier", earlier, chunks, language))
        told += [_further("ui.knowledge.later", later, chunks, language), f'<p class="empty">{escape(line)}</p>']
    return f'<div class="chunks">{"".join(told)}</div>'


def results(passages: Sequence[Passage], question: str, language: str) -> str:
    """What a search found, with both ranks, the score, and what it has in common with the question marked."""
    if not passages:
        return f'<p class="empty">{escape(text("ui.knowledge.nothing", language))}</p>'
    told = []
    for number, one in enumerate(passages, 1):
        ranks = text(
            "ui.knowledge.ranks",
            language,
            lexical=one.lexical_rank or "—",
            dense=one.dense_rank or "—",
            score=f"{one.score:.1f}",
            coverage=f"{one.coverage:.0%}",
        )
        where = " · ".join(mark for mark in (one.document, one.heading) if mark)
        told.append(
            f'<article data-chunk="{escape(one.chunk_id)}" tabindex="0"><h4>{number}. {escape(where)}</h4>'
            f'<p>{marked(one.text, question)}</p><div class="who">{escape(ranks)}</div></article>'
        )
    return f'<div class="chunks">{"".join(told)}</div>'


def marked(said: str, question: str) -> str:
    """`said` escaped, what it has in common with `question` in marks."""
    parts, place = [], 0
    for start, end in common(said, question):
        parts.append(f"{escape(said[place:start])}<mark>{escape(said[start:end])}</mark>")
        place = end
    return "".join(parts) + escape(said[place:])


def _further(key: str, places: range, chunks: Sequence[StoredChunk], language: str) -> str:
    """What leads to the chunks at some places, around the one in their middle; nothing where there are none."""
    if not places:
        return ""
    line = text(key, language, first=places[0] + 1, last=places[-1] + 1)
    return (
        f'<p class="further" tabindex="0" data-chunk="{escape(chunks[places[len(places) // 2]].id)}">{escape(line)}</p>'
    )


def _states(one: StoredChunk) -> set[str]:
    return {name for name, on in (("off", one.off), ("was_edited", one.edited)) if on}
