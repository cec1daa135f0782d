"""Personas, their prompts and what their books say as HTML; text only, nothing in them is markup. Knows no handler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from anime_ai.persona.cards import Persona
from anime_ai.persona.world_books import WorldBook
from anime_ai.texts import text
from anime_ai.ui.card_routes import avatar_url

if TYPE_CHECKING:
    from anime_ai.publishing.bundles import Taken

CHOOSE = """
const choose = (event) => {
  const found = event.target.closest("[data-persona],[data-entry],[data-world]");
  if (!found) return;
  trigger("click", { persona: found.dataset.persona, entry: found.dataset.entry, world: found.dataset.world });
  // On a phone what is opened stands below the list.
  if (found.dataset.persona && window.innerWidth < 640)
    document.getElementById("persona-head")?.scrollIntoView({ behavior: "smooth" });
};
element.addEventListener("click", choose);
element.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.isComposing) choose(event); });
"""


def persona_list(personas: Sequence[Persona], language: str, chosen: str = "") -> str:
    lines = []
    for one in personas:
        kind = ' class="chosen"' if one.id == chosen else ""
        marks = [text("ui.persona.shipped", language)] if one.shipped else []
        if not one.published:
            marks.append(text("ui.persona.private", language))
        shown = "".join(f"<i>{escape(mark)}</i>" for mark in marks)
        called = one.name if one.name == one.character else f"{one.name} · {one.character}"
        lines.append(
            f'<li data-persona="{escape(one.id)}" tabindex="0"{kind}>{_face(one)}<div><b>{escape(called)}</b>'
            f"<small>{shown}{escape(' '.join(_about(one).split())[:80])}</small></div></li>"
        )
    return f'<ul class="personas">{"".join(lines)}</ul>'


def persona_head(persona: Persona, language: str) -> str:
    about = text("ui.persona.copy_to_edit" if persona.shipped else "ui.persona.about", language)
    return (
        f'<div class="persona-head">{_face(persona)}<div><h3>{escape(persona.character)}</h3>'
        f"<small>{escape(about)}</small></div></div>"
    )


def _about(persona: Persona) -> str:
    notes = str(persona.card.data["creator_notes"]) if persona.card else ""
    return persona.differs or notes or persona.description


def _face(persona: Persona) -> str:
    url = avatar_url(persona)
    if url:
        return f'<img loading="lazy" src="{escape(url)}" alt="">'
    return f'<span class="face" aria-hidden="true">{escape(persona.character[:1] or "?")}</span>'


def world_list(worlds: Sequence[WorldBook], language: str, chosen: str = "") -> str:
    if not worlds:
        return f'<p class="empty">{escape(text("ui.world.empty", language))}</p>'
    lines = []
    for one in worlds:
        kind = ' class="chosen"' if one.id == chosen else ""
        whose = one.persona or text("ui.world.everybody", language)
        off = "" if one.enabled else f"<i>{escape(text('ui.world.off', language))}</i>"
        about = text("ui.world.count", language, count=one.entries)
        lines.append(
            f'<li data-world="{escape(one.id)}" tabindex="0"{kind}><div><b>{escape(one.name)}</b>'
            f"<small>{off}{escape(about)} · {escape(whose)}</small></div></li>"
        )
    return f'<ul class="personas">{"".join(lines)}</ul>'


def entry_list(entries: Sequence[Mapping[str, Any]], language: str, chosen: int = -1) -> str:
    if not entries:
        return f'<p class="empty">{escape(text("ui.entry.none", language))}</p>'
    lines = []
    for place, one in enumerate(entries):
        kinds = ["chosen"] * (place == chosen) + ["off"] * (not one.get("enabled", True))
        keys = "、".join(str(key) for key in one.get("keys") or ())
        called = str(one.get("name") or one.get("comment") or "")
        named, why = (called, keys) if called else (keys or "—", "")
        why = text("ui.lore.constant", language) if one.get("constant") else why
        about = escape(str(one.get("content", ""))[:120])
        lines.append(
            f'<tr data-entry="{place}" tabindex="0" class="{" ".join(kinds)}"><td><div><b>{escape(named[:60])}</b> '
            f"<small>{escape(why[:80])}</small></div></td><td><div>{about}</div></td></tr>"
        )
    return f'<table class="rows entries"><tbody>{"".join(lines)}</tbody></table>'


def lore_lines(found: Mapping[str, Any], language: str) -> list[str]:
    """What fired, why, and how many tokens it takes: a line each, plain text."""
    lines = []
    for hit in found.get("hits", ()):
        why = text(f"ui.lore.{hit['why']}", language)
        if hit["why"] != "constant":
            why = text("ui.lore.by", language, why=why, by=hit["by"])
        if hit["through"]:
            why = text("ui.lore.through", language, why=why, through=hit["through"])
        mark = "·" if hit["left_out"] else "✓"
        line = text("ui.lore.line", language, mark=mark, name=hit["name"], why=why, tokens=hit["tokens"])
        if hit["left_out"]:
            line += " " + text(f"ui.lore.left_out.{hit['left_out']}", language)
        elif where := _where(hit.get("place"), language):
            line += f" {where}"
        lines.append(line if hit["left_out"] else f"{line}\n{hit['content']}")
    lines += [text("ui.lore.slow", language, pattern=one) for one in found.get("slow", ())]
    lines += [text("ui.lore.broken", language, pattern=one) for one in found.get("broken", ())]
    return lines


def _where(place: Mapping[str, Any] | None, language: str) -> str:
    """Where an entry stands that asked for a place, and what of that could not be."""
    if not place:
        return ""
    key = f"ui.lore.place.{place['role']}_{place['side']}"
    said = text(key, language, back=place["back"])
    if place["wanted"] != place["role"]:
        said += text("ui.lore.place.system" if place["wanted"] == "system" else "ui.lore.place.nobody", language)
    return said


def bundle_lines(taken: Taken, language: str) -> list[str]:
    """What a persona's bundle brought, as lines of a list."""
    counts = {"documents": taken.documents, "characters": taken.characters}
    said = text("ui.persona.took", language, name=taken.persona.name, **counts)
    if taken.again:
        said = text("ui.persona.took_before", language, name=taken.persona.name)
    lines = [f'<li class="good">{escape(said)}</li>']
    if taken.adapter:
        lines.append(f"<li>{escape(text('ui.persona.took_adapter', language, base=taken.base))}</li>")
    if taken.left_out:
        lines.append(f'<li class="bad">{escape(text(f"notice.{taken.left_out}", language, base=taken.base))}</li>')
    return lines
