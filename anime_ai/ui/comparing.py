"""Some runs over each other: their curves, and the settings in which they differ."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.errors import TrainingError
from anime_ai.files import read_json
from anime_ai.texts import text
from anime_ai.training import runs
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page
from anime_ai.ui.persons import Person
from anime_ai.ui.run_view import compared_chart, settings_diff

if TYPE_CHECKING:
    from anime_ai.studio import Studio

MOST = 6


class Comparing:
    """Handlers, and the components after `build`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def offer(self, person: Person) -> Any:
        """The runs that can be compared."""
        there = self.studio.runs.list()
        return gr.update(choices=[(run.name or run.persona, run.id) for run in there])

    def compare(self, person: Person, ids: Any) -> str:
        chosen = [str(one) for one in ids][:MOST] if isinstance(ids, list) else []
        if len(chosen) < 2:
            return f'<p class="empty">{escape(text("ui.compare.two", person.language))}</p>'
        found = [self.studio.runs.get(id) for id in chosen]
        told = [(run, runs.metrics(run.folder)) for run in found]
        charts = "".join(compared_chart(told, name, person.language) for name in ("loss", "eval_loss"))
        return charts + settings_diff([(run.name or run.persona, recipe_of(run)) for run in found], person.language)

    def build(self) -> None:
        with gr.Accordion(label("ui.compare"), open=False) as self.accordion:
            self.chosen = gr.Dropdown(
                [], multiselect=True, max_choices=MOST, label=label("ui.compare.runs"), elem_id="compare-runs"
            )
            self.chosen.preprocess = lambda payload: payload  # type: ignore[method-assign]
            self.shown = gr.HTML(elem_id="compared")

    def connect(self, page: Page) -> None:
        page.on(self.accordion.expand, self.offer, role="owner", quiet=True, outputs=[self.chosen])
        page.on(self.chosen.input, self.compare, role="owner", inputs=[self.chosen], outputs=[self.shown])


def recipe_of(run: runs.Run) -> dict[str, Any]:
    """The recipe of a run as its folder says it. Raises TrainingError."""
    config = read_json(run.folder / runs.CONFIG)
    if not isinstance(config, dict) or not isinstance(config.get("recipe"), dict):
        raise TrainingError("training.no_run", path=run.folder)
    return config["recipe"]
