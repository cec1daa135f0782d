"""The training tab: a form out of the recipe, the runs, and what their folders say meanwhile. Knows no trainer."""

from __future__ import annotations

from dataclasses import fields
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.errors import DatasetError, TrainingError
from anime_ai.texts import catalogue, text
from anime_ai.training.recipe import Recipe
from anime_ai.training.runs import metrics, samples
from anime_ai.ui.chart import Series, line_chart
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, chooser, note
from anime_ai.ui.persons import Person

if TYPE_CHECKING:
    from anime_ai.studio import Studio
    from anime_ai.training.runs import Run

EVERY = 1.0
"""Seconds between two looks at a run's folder."""
MARKS = {
    "queued": "◌",
    "starting": "◐",
    "running": "●",
    "stopping": "◐",
    "finished": "✓",
    "stopped": "■",
    "failed": "✕",
    "interrupted": "✕",
}
RESUMABLE = ("stopped", "failed", "interrupted")


class TrainingTab:
    """Handlers of the tab, and its components after `build`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.names = [*Recipe.BASIC, *(one.name for one in fields(Recipe) if one.name not in Recipe.BASIC)]

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
        """Updates of runs, seen, state, loss, rate, samples, stop, resume, remove, timer.

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
            empty = f'<div class="state"><p class="empty">{escape(text("ui.training.empty", language))}</p></div>'
            hidden = gr.update(visible=False)
            return [choices, {}, empty, "", "", "", hidden, hidden, hidden, gr.Timer(active=active)]
        lines, answers = metrics(run.folder), samples(run.folder)
        return [
            choices,
            seen_of(run, len(lines), len(answers)),
            state_card(run, self._snapshot(run), language),
            loss_chart(run, lines, language),
            rate_chart(run, lines, language),
            samples_cards(answers, language),
            gr.update(visible=run.active and run.state != "stopping"),
            gr.update(visible=run.state in RESUMABLE),
            gr.update(visible=not run.active),
            gr.Timer(active=active),
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
        given = {key: value for key, value in zip(self.names, values, strict=False) if value is not None}
        recipe = Recipe.from_values(given, self.studio.settings)
        info = self.studio.datasets.find(str(dataset))
        shown = str(name or "").strip() or f"{recipe.persona} · {info.name}"
        kept = self.studio.snapshots.of_now(info.id, text("ui.training.snapshot", person.language, name=shown))
        run = self.studio.runs.submit(self.studio.snapshots.rows(kept.id), recipe, shown, info.name, kept.id)
        note(text("ui.training.queued", person.language), person.language)
        return self._shown(person, run.id)

    def stop(self, person: Person, run_id: str) -> list[Any]:
        self.studio.runs.stop(str(run_id or ""))
        return self._shown(person, str(run_id))

    def resume(self, person: Person, run_id: str) -> list[Any]:
        return self._shown(person, self.studio.runs.resume(str(run_id or "")).id)

    def remove(self, person: Person, run_id: str) -> list[Any]:
        self.studio.runs.remove(str(run_id or ""))
        return self._shown(person, "", follow=True)

    def tick(self, person: Person, run_id: str, seen: dict[str, Any]) -> list[Any]:
        """Look at the folder; say nothing when it says nothing new."""
        try:
            run = self.studio.runs.get(str(run_id or ""))
        except TrainingError:  # none is chosen, or it was removed on another page
            return self._shown(person, "", follow=True)
        before = seen if isinstance(seen, dict) else {}
        now = seen_of(run, len(metrics(run.folder)), len(samples(run.folder)))
        if now == before:
            return [gr.skip() for _ in range(10)]
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
                self.fields = {name: self._field(name) for name in Recipe.BASIC}
                with gr.Accordion(label("ui.training.more"), open=False):
                    self.name = gr.Textbox(
                        label=label("ui.training.name"), info=label("ui.training.name.help"), max_length=80
                    )
                    self.fields |= {name: self._field(name) for name in self.names if name not in Recipe.BASIC}
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
                self.rate = gr.HTML(elem_id="rate")
                self.samples = gr.HTML(elem_id="samples")
        self._connect(page, tab, demo)

    def _field(self, name: str) -> Any:
        """A component for one field of the recipe, by its type and bounds."""
        one = next(one for one in fields(Recipe) if one.name == name)
        told: dict[str, Any] = {"label": label(f"recipe.{name}"), "elem_id": f"recipe-{name}"}
        if f"recipe.{name}.help" in catalogue("zh"):
            told["info"] = label(f"recipe.{name}.help")
        default = getattr(Recipe.from_values({}, self.studio.settings), name)
        if one.metadata.get("choices"):
            return gr.Dropdown(list(one.metadata["choices"]), value=default, **told)
        if name == "base":  # a Hub id or a folder may be typed
            return gr.Dropdown([default], value=default, allow_custom_value=True, **told)
        if name == "persona":
            return chooser(choices=[default], value=default, **told)
        if str(one.type) in ("int", "float"):  # the recipe checks the bounds, in the reader's language
            return gr.Number(value=default, precision=0 if str(one.type) == "int" else None, **told)
        return gr.Textbox(value=str(default), max_lines=1, **told)

    def _connect(self, page: Page, tab: Any, demo: gr.Blocks) -> None:
        shown = [self.run, self.seen, self.state, self.loss, self.rate, self.samples]
        shown += [self.stop_button, self.resume_button, self.remove_button, self.timer]
        arrived = [self.dataset, self.fields["base"], self.fields["persona"], *shown]
        for trigger in (demo.load, tab.select):
            page.on(trigger, self.arrive, role="owner", quiet=True, inputs=[self.dataset, self.run], outputs=arrived)
        page.on(
            self.dataset.input,
            self.choose_dataset,
            role="owner",
            inputs=[self.dataset],
            outputs=[self.fields["persona"]],
        )
        page.on(self.run.input, self.choose_run, role="owner", inputs=[self.run], outputs=shown)
        values = [self.fields[name] for name in self.names]
        page.on(
            self.start_button.click, self.start, role="owner", inputs=[self.dataset, self.name, *values], outputs=shown
        )
        page.on(self.stop_button.click, self.stop, role="owner", inputs=[self.run], outputs=shown)
        page.on(self.resume_button.click, self.resume, role="owner", inputs=[self.run], outputs=shown)
        page.on(self.remove_button.click, self.remove, role="owner", inputs=[self.run], outputs=shown)
        page.on(self.timer.tick, self.tick, role="owner", quiet=True, inputs=[self.run, self.seen], outputs=shown)


def seen_of(run: Run, lines: int, answers: int) -> dict[str, Any]:
    """What a page has to have seen of a run; plain data, compared at every look."""
    return {"run": run.id, "state": run.state, "step": run.step, "total": run.total, "lines": lines, "answers": answers}


def base_label(base: Any, language: str) -> str:
    key = "ui.base.starter" if base.starter else ("ui.base.present" if base.present else "ui.base.absent")
    return text(key, language, name=base.id)


def state_card(run: Run, snapshot: str, language: str) -> str:
    """State, progress, time left, and what went wrong in words. `snapshot`: the name of what it is trained on."""
    share = min(1.0, run.step / run.total) if run.total else (1.0 if run.state == "finished" else 0.0)
    line = text(f"ui.state.{run.state}", language)
    steps = text("ui.training.steps", language, step=run.step, total=run.total) if run.total else ""
    left = text("ui.training.left", language, time=duration(run.eta_s, language)) if run.eta_s is not None else ""
    about = " · ".join(part for part in (run.persona, run.dataset, run.base, snapshot) if part)
    notes = [text(f"notice.{one['key']}", language, **one.get("values", {})) for one in told(run.notices, "notice")]
    notes += [text(f"error.{one['key']}", language, **one.get("values", {})) for one in told([run.error], "error")]
    if run.state == "finished":
        notes.append(text("ui.training.try_it", language))
    said = "".join(
        f'<p class="{"empty" if run.state == "finished" else "why"}">{escape(one)}</p>' for one in notes if one
    )
    return (
        f'<div class="state {escape(run.state)}"><div class="line"><b>{MARKS.get(run.state, "")} {escape(line)}</b>'
        f"<span>{escape(steps)}</span><span>{escape(left)}</span></div>"
        f'<div class="who">{escape(about)}</div>'
        f'<div class="bar"><i style="width:{share * 100:.1f}%"></i></div>{said}</div>'
    )


def told(entries: Any, kind: str) -> list[dict[str, Any]]:
    """The entries of a status file that a text exists for; a file is not to be believed blindly."""
    known = catalogue("zh")
    return [one for one in entries if isinstance(one, dict) and f"{kind}.{one.get('key')}" in known]


def duration(seconds: float, language: str) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return text("ui.time.hours", language, hours=hours, minutes=minutes)
    return (
        text("ui.time.minutes", language, minutes=minutes, seconds=rest)
        if minutes
        else text("ui.time.seconds", language, seconds=rest)
    )


def points(lines: list[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    return [
        (float(line["step"]), float(line[name]))
        for line in lines
        if isinstance(line.get(name), (int, float)) and isinstance(line.get("step"), (int, float))
    ]


def loss_chart(run: Run, lines: list[dict[str, Any]], language: str) -> str:
    train = Series(text("ui.chart.train", language), "train", points(lines, "loss"))
    held_out = Series(text("ui.chart.eval", language), "eval", points(lines, "eval_loss"))
    empty = text("ui.chart.waiting" if run.active else "ui.chart.none", language)
    return line_chart([train, held_out], text("ui.chart.loss", language), empty, run.total)


def rate_chart(run: Run, lines: list[dict[str, Any]], language: str) -> str:
    rate = Series(text("ui.chart.rate", language), "rate", points(lines, "learning_rate"))
    return line_chart([rate], text("ui.chart.rate", language), "", run.total) if rate.points else ""


def samples_cards(answers: list[dict[str, Any]], language: str) -> str:
    """What she answered to the same questions before and along the training: one sees the persona appear."""
    by_prompt: dict[str, list[tuple[int, str]]] = {}
    for answer in answers:
        by_prompt.setdefault(str(answer.get("prompt", "")), []).append(
            (int(answer.get("step", 0)), str(answer.get("reply", "")))
        )
    cards = []
    for prompt, replies in by_prompt.items():
        replies.sort()
        # The first, the last, and at most three between them: enough to see the change.
        inner = replies[1:-1]
        shown = [replies[0], *inner[:: max(1, len(inner) // 3)][:3], *replies[1:][-1:]]
        lines = "".join(
            f"<dt>{escape(step_name(step, language))}</dt><dd>{escape(reply) or '—'}</dd>" for step, reply in shown
        )
        cards.append(f"<article><h4>{escape(prompt)}</h4><dl>{lines}</dl></article>")
    if not cards:
        return ""
    return f'<h3>{escape(text("ui.training.samples", language))}</h3><div class="samples">{"".join(cards)}</div>'


def step_name(step: int, language: str) -> str:
    return text("ui.training.before", language) if step == 0 else text("ui.training.step", language, step=step)
