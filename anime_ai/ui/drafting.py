"""Writing with help: the model that answers in the chat drafts more rows like the picked ones. Knows no grid."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.dataset.drafting import SOURCE, draft
from anime_ai.dataset.rows import Row
from anime_ai.errors import DatasetError
from anime_ai.models.engine import Sampling
from anime_ai.texts import text
from anime_ai.ui.editing import SHOWN, Editing, View, whole
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, skipped
from anime_ai.ui.persons import Person

if TYPE_CHECKING:
    from anime_ai.studio import Studio

MOST_EACH = 5
SAMPLING = Sampling(temperature=0.9, top_p=0.95)
"""Livelier than in the chat: variations are wanted."""


class Drafting:
    """Handlers, and the components after `build`."""

    def __init__(self, studio: Studio, editing: Editing) -> None:
        self.studio, self.editing = studio, editing
        self._stops: dict[str, threading.Event] = {}

    def write(self, person: Person, each: Any, *values: Any) -> Iterator[list[Any]]:
        """Draft rows like the picked ones; a line says how far it is, at the end the grid shows them."""
        view = View.of(values)
        if not view.picked:
            raise DatasetError("ui.nothing_picked")
        chosen = [one.row for one in self.studio.datasets.some(view.dataset, list(view.picked))]
        answers = [row.output for row in self.studio.datasets.rows(view.dataset)]
        stop = self._stops[person.session] = threading.Event()
        count = min(MOST_EACH, max(1, whole(each)))
        try:
            for done in draft(chosen, answers, self._ask, count, stop):
                if not done.done:
                    line = text("ui.draft.line", person.language, written=done.written, wanted=done.wanted)
                    yield [*skipped(SHOWN), self._said(line), gr.update(visible=True)]
        finally:
            self._stops.pop(person.session, None)
        if done.rows:
            self.studio.datasets.extend(view.dataset, done.rows, "draft", SOURCE)
        line = text("ui.draft.done", person.language, kept=len(done.rows), thrown=done.written - len(done.rows))
        if self.studio.chat.answering(self._adapter(chosen[0].persona), person.language).starter:
            line += text("ui.draft.starter", person.language)
        yield [*self.editing.shown(person, view), self._said(line), gr.update(visible=False)]

    def stop(self, person: Person) -> None:
        if (event := self._stops.get(person.session)) is not None:
            event.set()

    def _ask(self, row: Row) -> str:
        answer = ""
        persona = row.persona or self.studio.settings.persona
        for reply in self.studio.chat.ask(row.input, persona, self._adapter(persona), SAMPLING):
            answer = reply.text
        return answer

    def _adapter(self, persona: str) -> str:
        return self.studio.chat.own_adapter(persona)

    @staticmethod
    def _said(line: str) -> str:
        return f'<div class="plain">{escape(line)}</div>'

    def build(self) -> None:
        with gr.Row(equal_height=True):
            self.each = gr.Number(
                label=label("ui.draft.each"), minimum=1, maximum=MOST_EACH, precision=0, value=2, min_width=140
            )
            self.button = gr.Button(label("ui.draft"), size="sm", min_width=110, elem_id="draft")
            self.stop_button = gr.Button(label("ui.draft.stop"), size="sm", visible=False, min_width=70)
        self.line = gr.HTML(elem_id="draft-line")

    def connect(self, page: Page) -> None:
        editing = self.editing
        page.on(
            self.button.click,
            self.write,
            role="owner",
            inputs=[self.each, *editing.view],
            outputs=[*editing.outputs, self.line, self.stop_button],
        )
        page.on(self.stop_button.click, self.stop, role="owner")
