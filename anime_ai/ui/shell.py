"""What stands around the tabs: the name, the first walk, and what a visitor sees of the owner's tabs. Knows no service."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from anime_ai.texts import text
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page
from anime_ai.ui.persons import Person

STEPS = (("chat", "talk"), ("dataset",), ("training",), ("chat", "compare"))
"""The newcomer's walk: see her answer, change three rows, train two minutes, compare."""

MARK = Path(__file__).with_name("mark.svg")


def build_header() -> None:
    """The header and the walk."""
    steps = "".join(
        f'<li><button type="button" data-go="{" ".join(go)}"><b>{label(f"ui.walk.{number}")}</b>'
        f"<span>{label(f'ui.walk.{number}.help')}</span></button></li>"
        for number, go in enumerate(STEPS, 1)
    )
    mark = MARK.read_text(encoding="utf-8")
    gr.HTML(
        f'<header class="hello">{mark}<div><h1>Anime AI Studio</h1>'
        f"<p>{label('ui.tagline')}</p></div>"
        f'<nav><button type="button" class="again" data-walked="no">{label("ui.walk.again")}</button>'
        f'<a href="?lang={label("ui.other_language.code")}">{label("ui.other_language")}</a></nav></header>',
        elem_id="hello",
    )
    gr.HTML(
        f'<section class="walk"><strong>{label("ui.walk.title")}</strong>'
        f'<button type="button" class="away" data-walked="yes">{label("ui.walk.away")}</button>'
        f"<ol>{steps}</ol></section>",
        elem_id="walk",
    )


class Gate:
    """Shows a tab's inside to the owner, and to a visitor the reason why there is nothing to do."""

    def __init__(self) -> None:
        self.notices: list[gr.HTML] = []
        self.insides: list[Any] = []

    def arrive(self, person: Person) -> list[Any]:
        """Updates of the notices, then of the insides of the owner's tabs."""
        if person.is_owner:
            return [*("" for _ in self.notices), *(gr.update(visible=True) for _ in self.insides)]
        say = escape(text("ui.gate.closed", person.language))
        way = escape(text("ui.gate.login", person.language))
        closed = f'<div class="plain empty">{say} <a href="login">{way}</a></div>'
        return [*(closed for _ in self.notices), *(gr.update(visible=False) for _ in self.insides)]

    def connect(self, page: Page, demo: gr.Blocks) -> None:
        page.on(demo.load, self.arrive, role="visitor", outputs=[*self.notices, *self.insides])
