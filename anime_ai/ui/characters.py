"""The gallery's panel: which characters are known, by which pictures; more of them, fewer of them. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.texts import text
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, chooser, note
from anime_ai.ui.persons import Person
from anime_ai.ui.uploads import discard
from anime_ai.vision.pictures import SUFFIXES

if TYPE_CHECKING:
    from anime_ai.studio import Studio
    from anime_ai.vision.observation import Observation


class Characters:
    """Handlers of the panel, and its components after `build`."""

    def __init__(self, studio: Studio) -> None:
        self.vision = studio.vision

    def who(self, person: Person, seen: Observation) -> Any:
        """An update of the field that names who is in a picture; who it may be is offered first, not set. Somebody whom
        the gallery does not know is said to be unknown."""
        sure = next((one.name for one in seen.characters if one.sure), None)
        perhaps = [one.name for one in seen.characters]
        names = [one.name for one in self.vision.album.characters(person.id)]
        if sure or not (names or perhaps):
            help = text("ui.characters.who.help", person.language)
        elif perhaps:
            help = text("ui.characters.who.perhaps", person.language, names="、".join(perhaps))
        else:
            help = text("ui.characters.who.unknown", person.language)
        return gr.update(choices=list(dict.fromkeys((*perhaps, *names))), value=sure, info=help)

    def shown(self, person: Person) -> list[Any]:
        """Updates of the list and of the field of whom to forget."""
        pictures: dict[str, list[str]] = {}
        for id, (character, _) in self.vision.album.known_by(person.id).items():
            pictures.setdefault(character.id, []).append(id)
        characters = self.vision.album.characters(person.id)
        lines = []
        for one in characters:
            thumbs = "".join(
                f'<img loading="lazy" src="character/{escape(id)}.webp" alt="{escape(one.name)}">'
                for id in pictures.get(one.id, ())
            )
            count = text("ui.characters.count", person.language, count=one.pictures)
            lines.append(f"<li><b>{escape(one.name)}</b> <small>{escape(count)}</small><div>{thumbs}</div></li>")
        empty = f'<p class="empty">{escape(text("ui.characters.empty", person.language))}</p>'
        told = f'<ul class="characters">{"".join(lines)}</ul>' if lines else empty
        return [told, gr.update(choices=[(one.name, one.id) for one in characters], value=None)]

    # Handlers.

    def enrol(self, person: Person, name: str, files: Sequence[str] | None) -> list[Any]:
        paths = [Path(str(file)) for file in files or ()]
        known = self.vision.enrol(person.id, str(name or ""), paths)
        discard(paths)
        note(text("ui.characters.known", person.language, name=known.name, count=known.pictures), person.language)
        return ["", None, *self.shown(person)]

    def forget(self, person: Person, character: str) -> list[Any]:
        self.vision.album.forget(person.id, str(character or ""))
        return self.shown(person)

    # Components.

    @property
    def outputs(self) -> list[Any]:
        return [self.list, self.whom]

    def build(self) -> None:
        gr.HTML(f'<div class="who">{label("ui.characters.help")}</div>')
        self.list = gr.HTML(elem_id="characters")
        self.name = gr.Textbox(label=label("ui.characters.name"), max_lines=1, max_length=300, elem_id="character-name")
        self.files = gr.File(
            label=label("ui.characters.drop"),
            file_count="multiple",
            file_types=list(SUFFIXES),
            height=110,
            elem_id="character-drop",
        )
        self.enrol_button = gr.Button(label("ui.characters.enrol"), size="sm", elem_id="enrol")
        with gr.Row(equal_height=True):
            self.whom = chooser(label=label("ui.characters.whom"), scale=3, min_width=140)
            self.forget_button = gr.Button(label("ui.characters.forget"), variant="stop", size="sm", min_width=80)

    def connect(self, page: Page) -> None:
        page.on(
            self.enrol_button.click,
            self.enrol,
            role="owner",
            inputs=[self.name, self.files],
            outputs=[self.name, self.files, *self.outputs],
        )
        page.on(self.forget_button.click, self.forget, role="owner", inputs=[self.whom], outputs=self.outputs)
