"""What was said, as the chatbot shows it: text that stays text, marks, thoughts, pictures, what was looked up."""

from __future__ import annotations

import re
from html import escape
from typing import Any

from anime_ai.texts import text
from anime_ai.ui.persona_view import lore_lines

NUMBERS = "⓪①②③④⑤⑥⑦⑧⑨"


def inert(said: str) -> str:
    """Text that the chatbot shows as it stands. It takes every message for HTML, also without Markdown: what could open
    a tag or an entity is escaped, and only that, because the copy button copies what we send."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", re.sub(r"&(?=[A-Za-z0-9#])", "&amp;", said))


def with_picture(said: str, meta: dict[str, Any]) -> str:
    """What a person said, below the picture that they showed with it."""
    picture = meta.get("picture")
    if not picture:
        return inert(said)
    alt = escape(str(picture.get("sentence", "")))
    return (
        f'<img class="shown" src="picture/{escape(str(picture.get("picture_id", "")))}.webp" alt="{alt}">{inert(said)}'
    )


def thought(thinking: str, language: str) -> dict[str, Any]:
    """Her thoughts as a folded message."""
    title = text("ui.chat.thinking", language)
    return {"role": "assistant", "content": inert(thinking.strip()), "metadata": {"title": title, "status": "done"}}


def with_marks(said: str, meta: dict[str, Any], found: dict[str, Any]) -> str:
    """Her answer, behind each sentence that rests on a passage a mark that leads to it."""
    used = [one for one in found.get("passages", ()) if one.get("used")]
    parts, place = [], 0
    for _, end, number in meta.get("cited", ()):
        if number <= len(used):
            link = f'<a class="cite" href="#chunk-{used[number - 1]["chunk_id"]}">{NUMBERS[number]}</a>'
            parts.append(inert(said[place:end]) + link)
            place = end
    return "".join(parts) + inert(said[place:])


def sources(found: dict[str, Any], language: str) -> dict[str, Any]:
    """What was looked up for a question, folded: both ranks, the cut, and why something was left out."""
    lines, number = [text("ui.chat.looked_for", language, question=found["question"])], 0
    for one in found["passages"]:
        number += bool(one["used"])
        values = {"document": one["document"], "coverage": f"{one['coverage']:.0%}"}
        values |= {"lexical": one["lexical_rank"] or "—", "dense": one["dense_rank"] or "—"}
        line = text("ui.chat.source", language, mark=NUMBERS[number] if one["used"] else "·", **values)
        if not one["used"]:
            line += " " + text("ui.chat.left_out", language, why=text(one["why"], language))
        lines.append(f"{line}\n{one['text']}" if one["used"] else line)
    title = text("ui.chat.sources" if number else "ui.chat.no_sources", language)
    return {"role": "assistant", "content": inert("\n".join(lines)), "metadata": {"title": title, "status": "done"}}


def side_by_side(names: dict[str, str], answers: dict[str, str]) -> str:
    """Both answers as two cards; text only, nothing in it is markup."""
    cards = "".join(
        f'<div class="{"trained" if id else "alone"}"><h3>{escape(names[id])}</h3><p>{escape(answer)}</p></div>'
        for id, answer in answers.items()
    )
    return f'<div class="two">{cards}</div>'


def fired(found: dict[str, Any], language: str) -> dict[str, Any]:
    """Which entries of her books a question called up, folded: why, their tokens, and what was left out."""
    told = [hit for hit in found.get("hits", ()) if not hit["left_out"]]
    tokens = sum(int(hit["tokens"]) for hit in told)
    title = text("ui.chat.lore", language, count=len(told), tokens=tokens)
    lines = "\n".join(lore_lines(found, language))
    return {"role": "assistant", "content": inert(lines), "metadata": {"title": title, "status": "done"}}
