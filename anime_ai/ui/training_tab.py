"""The training tab: a form, the runs, and what their folders say meanwhile. Knows no trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.errors import DatasetError, TrainingError
from anime_ai.texts import text
from anime_ai.training import checkpoints
from anime_ai.training.runs import metrics, samples
from anime_ai.ui.comparing import Comparing, recipe_of
from anime_ai.ui.evaluating import Evaluating
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, chooser, note
from anime_ai.ui.persons import Person
from anime_ai.ui.recipe_form import RecipeForm
from anime_ai.ui.run_view import (
    MARKS,
    base_label,
    checkpoint_choices,
    loss_chart,
    samples_cards,
    seen_of,
    small_charts,
    state_card,
)

if TYPE_CHECKING:
    from anime_ai.studio import Studio
    from anime_ai.training.runs import Run

EVERY = 1.0
"""Seconds between two looks at a run's folder."""
RESUMABLE = ("stopped", "failed", "interrupted")
SHOWN = 12
"""Updates of what `_shown` shows."""


class TrainingTab:
    """Handlers of the tab, and its components after `build`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.form = RecipeForm(studio)
        self.comparing = Comparing(studio)
        self.evaluating = Evaluating(studio)
        self.names = self.form.names

    # What the handlers answer with.

    def _run_choices(self, runs: list[Run], language: str) -> list[tuple[str, str]]:
        return [
            (
                f"{MARKS.get(run.state, '·')} {run.name or run.persona} · {text(f'ui.state.{run.state}', language)}",
                run.id,
            )
            for run in runs
        ]

    def _shown(self, person: Person, run_id: str, follow: bool = False) -> list[Any]:
        """Updates of runs, seen, state, loss, curves, samples, stop, resume, remove, timer, checkpoints, keeping.

        `follow`: whichever run is going on, or else the newest, takes the place of a run that is not there.
        """
        language = person.language
        runs = self.studio.runs.list()
        run = next((one for one in runs if one.id == run_id), None)
        if run is None and follow:
            run = next((one for one in runs if one.active and one.state != "queued"), runs[0] if runs else None)
        choices = gr.update(choices=self._run_choices(runs, language), value=run.id if run else None)
        active = any(one.active for one in runs)
        if run is None:
            empty = f'<div class="state"><p class="empty">{text("ui.training.empty", language)}</p></div>'
            hidden = gr.update(visible=False)
            none = gr.update(choices=[], value=None)
            return [choices, {}, empty, "", "", "", *[hidden] * 3, gr.Timer(active=active), none, hidden]
        lines, answers = metrics(run.folder), samples(run.folder)
        there = checkpoints.of_run(run.folder)
        return [
            choices,
            seen_of(run, len(lines), len(answers)),
            state_card(run, self._snapshot(run), lines, language),
            loss_chart(run, lines, language),
            small_charts(run, lines, language),
            samples_cards(answers, language),
            gr.update(visible=run.active and run.state != "stopping"),
            gr.update(visible=run.state in RESUMABLE),
            gr.update(visible=not run.active),
            gr.Timer(active=active),
            gr.update(choices=checkpoint_choices(run, there, language), value=run.checkpoint or None),
            gr.update(visible=bool(there) and not run.active),
        ]

    def _snapshot(self, run: Run) -> str:
        """The name of the snapshot that a run is trained on, "" where it is gone."""
        found = self.studio.snapshots.find(run.snapshot) if run.snapshot else None
        return found.name if found else ""

    # Handlers.

    def arrive(self, person: Person, dataset: str | None, run_id: str | None) -> list[Any]:
        """A page load or the opened tab: the datasets, the bases, and the run that is going on."""
        infos = self.studio.datasets.list()
        known = [info.id for info in infos]
        chosen = dataset if dataset in known else (known[0] if known else None)
        choices = [(f"{info.name} · {info.rows}", info.id) for info in infos]
        bases = [(base_label(base, person.language), base.id) for base in self.studio.bases()]
        return [
            gr.update(choices=choices, value=chosen),
            gr.update(choices=bases),
            self._personas(chosen),
            *self._shown(person, str(run_id or ""), follow=True),
            gr.update(choices=[(one.name or one.id, one.id) for one in self.studio.runs.list() if one.adapter]),
        ]

    def _personas(self, dataset: str | None) -> Any:
        names = list(self.studio.datasets.find(dataset).personas) if dataset else []
        default = self.studio.settings.persona
        return gr.update(choices=names, value=default if default in names or not names else names[0])

    def choose_dataset(self, person: Person, dataset: str) -> Any:
        return self._personas(str(dataset))

    def choose_run(self, person: Person, run_id: str) -> list[Any]:
        return self._shown(person, str(run_id or ""))

    def start(self, person: Person, dataset: str | None, name: str, *values: Any) -> list[Any]:
        """Queue a run on the dataset as it is now."""
        if not dataset:
            raise DatasetError("ui.no_dataset")
        recipe = self.form.recipe(values)
        info = self.studio.datasets.find(str(dataset))
        shown = str(name or "").strip() or f"{recipe.persona} · {info.name}"
        kept = self.studio.snapshots.of_now(info.id, text("ui.training.snapshot", person.language, name=shown))
        run = self.studio.runs.submit(self.studio.snapshots.rows(kept.id), recipe, shown, info.name, kept.id)
        warning = self.form.warning(dataset, recipe, person.language)
        note(warning or text("ui.training.queued", person.language), person.language)
        return self._shown(person, run.id)

    def stop(self, person: Person, run_id: str) -> list[Any]:
        self.studio.runs.stop(str(run_id or ""))
        return self._shown(person, str(run_id))

    def resume(self, person: Person, run_id: str) -> list[Any]:
        return self._shown(person, self.studio.runs.resume(str(run_id or "")).id)

    def remove(self, person: Person, run_id: str) -> list[Any]:
        self.studio.runs.remove(str(run_id or ""))
        return self._shown(person, "", follow=True)

    def rename(self, person: Person, run_id: str, name: str) -> list[Any]:
        self.studio.runs.rename(str(run_id or ""), str(name or ""))
        return self._shown(person, str(run_id))

    def again(self, person: Person, run_id: str) -> list[Any]:
        """The form as it was for a run, to change something and train again."""
        run = self.studio.runs.get(str(run_id or ""))
        note(text("ui.training.filled", person.language), person.language)
        return [gr.update(value=f"{run.name} +"[:80]), *self.form.filled(recipe_of(run))]

    def use_checkpoint(self, person: Person, run_id: str, step: Any) -> list[Any]:
        """Make a checkpoint the run's adapter."""
        run = self.studio.runs.get(str(run_id or ""))
        if run.active:
            raise TrainingError("training.still_running")
        try:
            chosen = int(step)
        except (TypeError, ValueError, OverflowError) as error:
            raise TrainingError("training.no_checkpoint", step="—") from error
        checkpoints.promote(run.folder, chosen)
        note(text("ui.training.used", person.language, step=chosen), person.language)
        return self._shown(person, run.id)

    def tick(self, person: Person, run_id: str, seen: dict[str, Any]) -> list[Any]:
        """Look at the folder; say nothing when it says nothing new."""
        try:
            run = self.studio.runs.get(str(run_id or ""))
        except TrainingError:  # none is chosen, or it was removed on another page
            return self._shown(person, "", follow=True)
        before = seen if isinstance(seen, dict) else {}
        now = seen_of(run, len(metrics(run.folder)), len(samples(run.folder)))
        if now == before:
            return [gr.skip() for _ in range(SHOWN)]
        if run.state == "finished" and before.get("state") not in (None, "finished"):
            note(text("ui.training.finished", person.language, name=run.name or run.persona), person.language)
        return self._shown(person, run.id)

    # Components.

    def build(self, page: Page, tab: Any, demo: gr.Blocks) -> None:
        self.seen = gr.State({})
        self.timer = gr.Timer(EVERY, active=False)
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                self.dataset = chooser(label=label("ui.training.dataset"), elem_id="training-dataset")
                self.form.build()
                self.start_button = gr.Button(label("ui.training.start"), variant="primary", elem_id="start")
            with gr.Column(scale=3, min_width=320):
                self.run = chooser(label=label("ui.training.runs"), elem_id="runs")
                self.state = gr.HTML(elem_id="run-state")
                with gr.Row():
                    self.stop_button = gr.Button(
                        label("ui.training.stop"), variant="stop", visible=False, elem_id="stop-run"
                    )
                    self.resume_button = gr.Button(label("ui.training.resume"), visible=False, elem_id="resume-run")
                    self.remove_button = gr.Button(label("ui.training.remove"), visible=False, elem_id="remove-run")
                self.loss = gr.HTML(elem_id="loss")
                self.curves = gr.HTML(elem_id="rate")
                self.samples = gr.HTML(elem_id="samples")
                self._build_keeping()
                self.evaluating.build()
                self.comparing.build()
        self._connect(page, tab, demo)

    def _build_keeping(self) -> None:
        with gr.Row(equal_height=True, visible=False, elem_id="keeping") as self.keeping:
            self.checkpoint = chooser(label=label("ui.training.checkpoint"), scale=3, min_width=280)
            self.use_button = gr.Button(label("ui.training.use"), size="sm", min_width=90, elem_id="use-checkpoint")
        with gr.Accordion(label("ui.training.manage"), open=False), gr.Row(equal_height=True):
            self.new_name = gr.Textbox(label=label("ui.training.name"), max_length=80, max_lines=1, min_width=160)
            self.rename_button = gr.Button(label("ui.training.rename"), size="sm", min_width=80, elem_id="rename-run")
            self.again_button = gr.Button(label("ui.training.again"), size="sm", min_width=110, elem_id="again")

    def _connect(self, page: Page, tab: Any, demo: gr.Blocks) -> None:
        form, fields = self.form, self.form.components
        shown = [self.run, self.seen, self.state, self.loss, self.curves, self.samples]
        shown += [self.stop_button, self.resume_button, self.remove_button, self.timer, self.checkpoint, self.keeping]
        arrived = [self.dataset, form.fields["base"], form.fields["persona"], *shown, form.fields["start_from"]]
        for trigger in (demo.load, tab.select):
            page.on(trigger, self.arrive, role="owner", quiet=True, inputs=[self.dataset, self.run], outputs=arrived)
        page.on(
            self.dataset.input,
            self.choose_dataset,
            role="owner",
            inputs=[self.dataset],
            outputs=[form.fields["persona"]],
        )
        for presets in (form.pains, form.card_size):
            page.on(presets.input, form.preset, role="owner", inputs=[presets], outputs=fields)
        page.on(form.weigh_button.click, form.weigh, role="owner", inputs=[self.dataset, *fields], outputs=[form.needs])
        page.on(self.run.input, self.choose_run, role="owner", inputs=[self.run], outputs=shown)
        page.on(
            self.start_button.click, self.start, role="owner", inputs=[self.dataset, form.name, *fields], outputs=shown
        )
        for button, handler, more in (
            (self.stop_button, self.stop, []),
            (self.resume_button, self.resume, []),
            (self.remove_button, self.remove, []),
            (self.rename_button, self.rename, [self.new_name]),
            (self.use_button, self.use_checkpoint, [self.checkpoint]),
        ):
            page.on(button.click, handler, role="owner", inputs=[self.run, *more], outputs=shown)
        page.on(self.again_button.click, self.again, role="owner", inputs=[self.run], outputs=[form.name, *fields])
        page.on(self.timer.tick, self.tick, role="owner", quiet=True, inputs=[self.run, self.seen], outputs=shown)
        self.evaluating.connect(page, self.run)
        self.comparing.connect(page)
