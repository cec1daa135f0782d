"""What a run's adapter was measured to do, as bars with their intervals; the measuring goes on without the page."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.errors import TrainingError
from anime_ai.texts import catalogue, text
from anime_ai.training.evaluating import Evaluation, read_evaluation, start_evaluation
from anime_ai.training.queue import accelerator_lock
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page
from anime_ai.ui.persons import Person
from anime_ai.ui.run_view import step_name, told

if TYPE_CHECKING:
    from anime_ai.studio import Studio

EVERY = 2.0
SHARES = ("style", "style_of_the_rows", "true_reply", "copied", "distinct_2", "loop_rate", "end_rate")
"""Figures between 0 and 1, which have bars; the others are numbers."""


class Evaluating:
    """Handlers, and the components after `build`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def begin(self, person: Person, run_id: str) -> list[Any]:
        run = self.studio.runs.get(str(run_id or ""))
        start_evaluation(run, accelerator_lock(self.studio.settings))
        return self.look(person, run_id)

    def look(self, person: Person, run_id: str) -> list[Any]:
        """Updates of the figures and of the timer."""
        try:
            found = read_evaluation(self.studio.runs.get(str(run_id or "")).folder)
        except TrainingError:
            found = Evaluation()
        return [figures_card(found, person.language), gr.Timer(active=found.state == "running")]

    def build(self) -> None:
        self.timer = gr.Timer(EVERY, active=False)
        with gr.Accordion(label("ui.evaluate"), open=False, elem_id="evaluation") as self.accordion:
            self.button = gr.Button(label("ui.evaluate.start"), size="sm", elem_id="evaluate")
            self.shown = gr.HTML(elem_id="evaluated")

    def connect(self, page: Page, run: Any) -> None:
        outputs = [self.shown, self.timer]
        page.on(self.button.click, self.begin, role="owner", inputs=[run], outputs=outputs)
        page.on(
            [run.change, self.accordion.expand, self.timer.tick],
            self.look,
            role="owner",
            quiet=True,
            inputs=[run],
            outputs=outputs,
        )


def figures_card(found: Evaluation, language: str) -> str:
    if not found.state:
        return f'<p class="empty">{escape(text("ui.evaluate.none", language))}</p>'
    if found.state == "running":
        return f'<p class="who">{escape(text("ui.evaluate.running", language))}</p>'
    if found.state != "done":
        lines = [text(f"error.{one['key']}", language, **one.get("values", {})) for one in told([found.error], "error")]
        return f'<p class="why">{escape(" ".join(lines))}</p>'
    head = text("ui.evaluate.of", language, step=step_name(found.checkpoint, language))
    columns = "".join(f"<th>{escape(text(f'ui.evaluate.{name}', language))}</th>" for name in ("base", "adapter"))
    rows = "".join(_row(name, one, language) for name, one in (found.figures or {}).items())
    return (
        f'<p class="who">{escape(head)}</p><table class="plain-table measured"><thead><tr><th></th>{columns}</tr>'
        f"</thead><tbody>{rows}</tbody></table>"
    )


def _row(name: str, one: Mapping[str, float], language: str) -> str:
    if f"metric.{name}" not in catalogue("zh"):
        return ""
    help = text(f"metric.{name}.help", language)
    title = f"<b>{escape(text(f'metric.{name}', language))}</b><small>{escape(help)}</small>"
    base, adapter, low, high = (float(one.get(key, 0.0)) for key in ("base", "adapter", "low", "high"))
    if name in SHARES:
        bars = (
            f'<i class="bar-base" style="width:{base * 100:.0f}%"></i>'
            f'<i class="bar-adapter" style="width:{adapter * 100:.0f}%"></i>'
            f'<i class="bar-range" style="left:{low * 100:.0f}%;width:{max(0.0, high - low) * 100:.0f}%"></i>'
        )
        said = f"{adapter:.0%} <small>{low:.0%}–{high:.0%}</small>"
        return f'<tr><th>{title}<div class="bars">{bars}</div></th><td>{base:.0%}</td><td>{said}</td></tr>'
    return f"<tr><th>{title}</th><td>{base:.3g}</td><td>{adapter:.3g} <small>[{low:.3g}, {high:.3g}]</small></td></tr>"
