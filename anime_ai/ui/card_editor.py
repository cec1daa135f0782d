"""The editor of a card: all its fields, what of them the model reads, what can be trained on. Knows no file."""

from __future__ import annotations

import re
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.persona.card import Card
from anime_ai.persona.cards import Persona
from anime_ai.texts import text
from anime_ai.ui.labels import label

if TYPE_CHECKING:
    from anime_ai.studio import Studio

LINES = {
    "description": 6,
    "personality": 2,
    "scenario": 2,
    "first_mes": 4,
    "alternate_greetings": 4,
    "mes_example": 4,
    "system_prompt": 2,
    "post_history_instructions": 2,
    "creator_notes": 2,
}
"""The fields that stand below one another, and their lines."""
SHORT = ("name", "nickname", "tags", "creator", "character_version")
OWN = ("system_line", "user")
"""Fields of `extensions.anime_ai`."""
FIELDS = (*SHORT, *LINES, "group_only_greetings", *OWN)
MOST_TEXT = 60_000
BETWEEN = "\n=====\n"
"""What stands between two greetings."""


def told(card: Card) -> dict[str, str]:
    """A card's fields as the editor shows them."""
    shown: dict[str, str] = {}
    for name in FIELDS:
        value = card.own.get(name, "") if name in OWN else card.data.get(name, "")
        if isinstance(value, list):
            value = (", " if name == "tags" else BETWEEN).join(map(str, value))
        shown[name] = str(value or "")
    return shown


def changed(card: Card, fields: dict[str, str]) -> Card:
    """The card with what was changed in the editor; a field that stands as it was shown stays as it is."""
    before = told(card)
    data: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for name, value in fields.items():
        value = value[:MOST_TEXT]
        if value.replace("\r\n", "\n") == before[name].replace("\r\n", "\n"):
            continue
        if name in OWN:
            own[name] = value.strip() or None
        elif name == "tags":
            data[name] = [tag.strip() for tag in re.split("[,，、]", value) if tag.strip()]
        elif name in ("alternate_greetings", "group_only_greetings"):
            data[name] = [one.strip() for one in re.split(r"\n={5,}[ \t]*\n", f"\n{value}\n") if one.strip()]
        elif name == "nickname" and not value.strip():
            data.update({"nickname": None} if "nickname" in card.data else {})
        else:
            data[name] = value
    return card.changed(own, **data) if data or own else card


class CardEditor:
    """Its components after `build`, and what they show."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def build(self) -> None:
        made: dict[str, Any] = {}
        with gr.Row():
            for name in ("name", "nickname"):
                made[name] = self._line(name)
        for name, lines in LINES.items():
            made[name] = gr.Textbox(
                label=label(f"ui.card.{name}"),
                info=label(f"ui.card.{name}.help"),
                lines=lines,
                max_lines=18,
                max_length=MOST_TEXT,
                elem_id=f"card-{name}",
            )
        with gr.Accordion(label("ui.card.more"), open=False):
            for name in OWN:
                made[name] = self._line(name, help=True)
            with gr.Row():
                for name in ("tags", "creator", "character_version"):
                    made[name] = self._line(name)
            made["group_only_greetings"] = gr.Textbox(
                label=label("ui.card.group_only_greetings"), lines=2, max_lines=10, max_length=MOST_TEXT
            )
        self.fields = [made[name] for name in FIELDS]

    @staticmethod
    def _line(name: str, help: bool = False) -> gr.Textbox:
        info = label(f"ui.card.{name}.help") if help else None
        return gr.Textbox(
            label=label(f"ui.card.{name}"),
            info=info,
            max_lines=1,
            max_length=2000,
            min_width=140,
            elem_id=f"card-{name}",
        )

    def shown(self, persona: Persona | None) -> list[Any]:
        """Updates of the fields; those of a card that ships cannot be typed in."""
        values = told(persona.card) if persona is not None and persona.card else {}
        return [
            gr.update(value=values.get(name, ""), interactive=bool(persona and not persona.shipped)) for name in FIELDS
        ]

    def card(self, persona: Persona, values: tuple[Any, ...]) -> Card:
        """The card with what stands in the fields."""
        assert persona.card is not None
        return changed(persona.card, {name: str(one or "") for name, one in zip(FIELDS, values, strict=True)})

    def preview(self, persona: Persona, said: str, language: str) -> str:
        """The prompt that a first question makes, part by part with its tokens, and what the books say to it."""
        from anime_ai.chat.lore import CARD_SHARE, Blank, as_json, as_text, tells_card
        from anime_ai.chat.model import to_dialogue
        from anime_ai.chat.turns import Turn
        from anime_ai.persona.telling import fitted, with_lore
        from anime_ai.training.recipe import SMALL
        from anime_ai.ui.persona_view import lore_lines

        base, layout = self.studio.layout()
        context, small = base.context(), base.parameters() < SMALL
        question = said.strip() or text("ui.preview.question", language)
        books = self.studio.chat.books
        in_card = tells_card(persona, {}) and not small
        standing = books.standing(persona, "preview", layout.length, context) if books and in_card else {}
        parts = with_lore(persona.parts("preview"), standing) if in_card else persona.parts("preview")
        fits = fitted(parts, layout.length, int(context * CARD_SHARE))
        blank, count = Blank(persona.name), layout.length
        lore = books.look(persona, blank, question, count, context, small, in_card) if books else None
        brought = as_text(lore, small) if lore else ""
        turn = Turn(question, brought, lore=as_json(lore) if lore else {})
        values = turn.values(fits.text, persona.greeting)
        dialogue = to_dialogue([*values["history"], *values["question"]])
        prompt = layout.prompt(replace(dialogue, card=fits.text), context * 2)
        rows = [(text(f"ui.card.{part.field}", language), layout.length(part.text)) for part in fits.parts]
        rows.append((text("ui.card.first_mes", language), layout.length(persona.greeting)))
        rows.append((text("ui.preview.lore", language), layout.length(brought) if brought else 0))
        rows.append((text("ui.preview.whole", language, most=context), len(prompt.ids)))
        table = "".join(f"<tr><td>{escape(name)}</td><td>{tokens}</td></tr>" for name, tokens in rows)
        notes = [text("ui.preview.cut", language, field=text(f"ui.card.{one}", language)) for one in fits.cut]
        notes += [text("ui.preview.dropped", language, field=text(f"ui.card.{one}", language)) for one in fits.dropped]
        notes += lore_lines(as_json(lore), language) if lore else []
        told_notes = "".join(f"<li>{escape(note)}</li>" for note in notes)
        return (
            f'<div class="prompt"><table class="plain-table"><tbody>{table}</tbody></table>'
            f"<ul>{told_notes}</ul><pre>{escape(layout.decode(prompt.ids))}</pre></div>"
        )
