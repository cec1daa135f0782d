"""The same question with the same seed to two models, side by side. Knows no prompt."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.errors import AnimeAIError
from anime_ai.ui.generations import Generations
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page
from anime_ai.ui.persons import Person
from anime_ai.ui.said import side_by_side
from anime_ai.ui.sampling_form import SamplingForm
from anime_ai.ui.talking import MOST_CHARACTERS, checked

if TYPE_CHECKING:
    from anime_ai.studio import Studio


class Contrast:
    """Handlers, and the components after `build`."""

    def __init__(self, studio: Studio, generations: Generations) -> None:
        self.studio, self.generations = studio, generations

    def compare(self, person: Person, message: str, persona: str, adapter: str, *sampling: Any) -> Iterator[list[Any]]:
        """One question with one seed to the base and to the adapter: updates of both answers and two buttons."""
        chosen = SamplingForm.of(sampling)
        if chosen.seed is None:
            chosen = replace(chosen, seed=random.randrange(2**31))
        asked, adapter = checked(str(message or "").strip()), str(adapter or "")
        if not adapter:
            raise AnimeAIError("ui.compare_alone")
        answers = {"": "…", adapter: "…"}
        names = {id: self.studio.chat.answering(id, person.language).label for id in answers}
        busy, free = (
            [gr.update(visible=False), gr.update(visible=True)],
            [gr.update(visible=True), gr.update(visible=False)],
        )
        with self.generations.one(f"compare:{person.id}", person.session) as stop:
            try:
                yield [side_by_side(names, answers), *busy]
                for id in answers:
                    for reply in self.studio.chat.ask(asked, str(persona), id, chosen, stop):
                        answers[id] = reply.text or "…"
                        yield [side_by_side(names, answers), *busy]
            except Exception:
                yield [side_by_side(names, answers), *free]
                raise
        yield [side_by_side(names, answers), *free]

    def stop_comparing(self, person: Person) -> None:
        self.generations.stop(f"compare:{person.id}")

    def build(self) -> None:
        self.answers = gr.HTML(f'<p class="empty">{label("ui.compare.empty")}</p>', elem_id="answers")
        with gr.Row(equal_height=True):
            self.question = gr.Textbox(
                show_label=False,
                label=label("ui.chat.message"),
                placeholder=label("ui.compare.placeholder"),
                lines=1,
                max_lines=4,
                max_length=MOST_CHARACTERS,
                scale=8,
                min_width=160,
                container=False,
                elem_id="question",
            )
            self.ask_button = gr.Button(
                label("ui.compare.ask"), variant="primary", scale=1, min_width=100, elem_id="ask"
            )
            self.halt_button = gr.Button(label("ui.chat.stop"), variant="stop", scale=1, min_width=100, visible=False)

    def connect(self, page: Page, persona: Any, adapter: Any, sampling: list[Any]) -> None:
        page.on(
            [self.question.submit, self.ask_button.click],
            self.compare,
            role="visitor",
            inputs=[self.question, persona, adapter, *sampling],
            outputs=[self.answers, self.ask_button, self.halt_button],
            concurrency_limit=16,
        )
        page.on(self.halt_button.click, self.stop_comparing, role="visitor")
