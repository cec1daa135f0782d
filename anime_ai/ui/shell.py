"""What stands around the tabs: the name, the first walk, and who is looking. Knows no service but the studio's health."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from anime_ai.texts import text
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page
from anime_ai.ui.persons import Person

STEPS = (("chat", "talk"), ("dataset", ""), ("training", ""), ("chat", "compare"))
"""The newcomer's walk: see her answer, change three rows, train two minutes, compare."""

MARK = (
    '<svg class="mark" viewBox="0 0 48 48" aria-hidden="true"><defs><linearGradient id="dusk" x1="0" y1="0" x2="1" y2="1">'
    '<stop offset="0" stop-color="#8f78e6"/><stop offset="1" stop-color="#f08fb0"/></linearGradient></defs>'
    '<path d="M24 4c12 0 20 7.4 20 17.5S36 39 24 39c-2 0-4-.2-5.800-.7L9 43l1.900-7.600C6.600 32.200 4 27.300 4 21.500 4 11.400 12 4 24 4z" fill="url(#dusk)"/>'
    '<path d="M13 21c1.200-3 5-3 6.200 0M28.800 21c1.200-3 5-3 6.200 0" stroke="#fff" stroke-width="2.600" fill="none" stroke-linecap="round"/>'
    '<path d="M20.500 28.500c2 2 5 2 7 0" stroke="#fff" stroke-width="2.200" fill="none" stroke-linecap="round"/>'
    '<circle cx="12.500" cy="26.500" r="2.200" fill="#ffd0dd"/><circle cx="35.500" cy="26.500" r="2.200" fill="#ffd0dd"/></svg>'
)


def build_header() -> gr.HTML:
    """The header and the walk; the line about the person is filled in at the page's load."""
    steps = "".join(
        f'<li><button type="button" data-go="{" ".join(part for part in go if part)}"><b>{label(f"ui.walk.{number}")}</b>'
        f"<span>{label(f'ui.walk.{number}.help')}</span></button></li>"
        for number, go in enumerate(STEPS, 1)
    )
    gr.HTML(
        f'<header class="hello">{MARK}<div><h1>Anime AI Studio</h1><p>{label("ui.tagline")}</p></div>'
        f'<nav><button type="button" class="again" data-walked="no">{label("ui.walk.again")}</button>'
        f'<a href="?lang={label("ui.other_language.code")}">{label("ui.other_language")}</a></nav></header>',
        elem_id="hello",
    )
    gr.HTML(
        f'<section class="walk"><strong>{label("ui.walk.title")}</strong>'
        f'<button type="button" class="away" data-walked="yes">{label("ui.walk.away")}</button><ol>{steps}</ol></section>',
        elem_id="walk",
    )
    return gr.HTML(elem_id="person")


class Gate:
    """Shows a tab's inside to the owner, and to a visitor the reason why there is nothing to do."""

    def __init__(self) -> None:
        self.notices: list[gr.HTML] = []
        self.insides: list[Any] = []

    def arrive(self, person: Person) -> list[Any]:
        """Updates of the person's line, then of each owner's tab: its notice and its inside."""
        if person.is_owner:
            return ["", *("" for _ in self.notices), *(gr.update(visible=True) for _ in self.insides)]
        say = escape(text("ui.gate.closed", person.language))
        way = escape(text("ui.gate.login", person.language))
        closed = f'<div class="plain empty">{say} <a href="login">{way}</a></div>'
        return ["", *(closed for _ in self.notices), *(gr.update(visible=False) for _ in self.insides)]

    def connect(self, page: Page, demo: gr.Blocks, line: gr.HTML) -> None:
        page.on(demo.load, self.arrive, role="visitor", outputs=[line, *self.notices, *self.insides])
