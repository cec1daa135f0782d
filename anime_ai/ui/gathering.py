"""What has come together of feedback for a persona, and the way to train on with it. The owner's alone."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.errors import AnimeAIError
from anime_ai.models.adapters import read_card
from anime_ai.texts import text
from anime_ai.training.recipe import Recipe
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, note
from anime_ai.ui.persons import Person

if TYPE_CHECKING:
    from anime_ai.studio import Studio


class Gathering:
    """Handlers, and the components after `build`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def look_at_feedback(self, person: Person, persona: str) -> str:
        found = self.studio.feedback.gathered(str(persona or ""))
        if not found.dataset:
            return f'<div class="who">{escape(text("feedback.none", person.language))}</div>'
        counts = {"rows": found.rows, "pairs": found.pairs, "waiting": found.waiting}
        line = text("feedback.gathered", person.language, persona=persona, **counts)
        return (
            f'<div class="who">{escape(line)} '
            f'<button type="button" class="link" data-go="dataset">{escape(text("feedback.review", person.language))}'
            "</button></div>"
        )

    def train_on(self, person: Person, persona: str, adapter: str) -> str:
        """Queue a run on what was gathered, from the adapter that answers: preferences where there are pairs."""
        persona = str(persona or "")
        found = self.studio.feedback.gathered(persona)
        if not found.rows:
            raise AnimeAIError("feedback.nothing", persona=persona)
        choice = self.studio.chat.choice(str(adapter or ""))
        trained = read_card(choice.path) if choice.path else {}
        pairs = bool(found.pairs and choice.path)
        values: dict[str, Any] = {
            "base": choice.base,
            "persona": persona,
            "method": "dpo" if pairs else "sft",
            "start_from": self._start(choice),
            "prompt_format": trained.get("prompt_format"),
            "think": trained.get("think"),
        }
        recipe = Recipe.from_values(values, self.studio.settings)
        name = text("feedback.run", person.language, persona=persona)
        info = self.studio.datasets.find(found.dataset)
        kept = self.studio.snapshots.of_now(info.id, text("ui.training.snapshot", person.language, name=name))
        rows = [row for row in self.studio.snapshots.rows(kept.id) if not row.draft]
        self.studio.runs.submit(rows, recipe, name, info.name, kept.id)
        key = "feedback.started.dpo" if pairs else "feedback.started.sft"
        count = found.pairs if pairs else found.rows
        note(text(key, person.language, adapter=choice.label, count=count), person.language)
        return self.look_at_feedback(person, persona)

    @staticmethod
    def _start(choice: Any) -> str:
        """What a run starts from: another run by its id, else a folder; "" for the base alone."""
        if choice.id.startswith("run:") and "@" not in choice.id:
            return str(choice.id.removeprefix("run:"))
        return str(choice.path.resolve()) if choice.path else ""

    def build(self) -> None:
        with gr.Accordion(label("feedback.title"), open=False, visible=False, elem_id="feedback") as self.accordion:
            self.line = gr.HTML(elem_id="gathered")
            self.button = gr.Button(label("feedback.train"), size="sm", elem_id="train-on")

    def connect(self, page: Page, persona: Any, adapter: Any) -> None:
        page.on(
            self.accordion.expand,
            self.look_at_feedback,
            role="owner",
            quiet=True,
            inputs=[persona],
            outputs=[self.line],
        )
        page.on(self.button.click, self.train_on, role="owner", inputs=[persona, adapter], outputs=[self.line])
