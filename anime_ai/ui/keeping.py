"""Snapshots of a dataset: made, compared, brought back. Knows no grid."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.errors import DatasetError
from anime_ai.texts import text
from anime_ai.ui.editing import Editing, View
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, chooser, note
from anime_ai.ui.persons import Person
from anime_ai.ui.rows import diff_box

if TYPE_CHECKING:
    from anime_ai.studio import Studio


class Keeping:
    """Handlers, and the components after `build`."""

    def __init__(self, studio: Studio, editing: Editing) -> None:
        self.studio, self.editing = studio, editing

    def _lists(self, person: Person, dataset: str, chosen: str = "") -> list[Any]:
        """Updates of the list and of what it is compared with."""
        found = self.studio.snapshots.list(dataset) if dataset else []
        choices = [
            (
                text(
                    "ui.snapshot.line",
                    person.language,
                    name=one.name,
                    rows=one.rows,
                    when=time.strftime("%m-%d %H:%M", time.localtime(one.created)),
                ),
                one.id,
            )
            for one in found
        ]
        ids = [one.id for one in found]
        chosen = chosen if chosen in ids else (ids[0] if ids else "")
        now = (text("ui.snapshot.now", person.language), "")
        return [gr.update(choices=choices, value=chosen or None), gr.update(choices=[now, *choices], value="")]

    def arrive(self, person: Person, dataset: str) -> list[Any]:
        return [*self._lists(person, str(dataset or "")), ""]

    def make(self, person: Person, dataset: str, name: str) -> list[Any]:
        named = str(name or "").strip() or time.strftime("%Y-%m-%d %H:%M")
        made = self.studio.snapshots.make(str(dataset or ""), named)
        note(text("ui.snapshot.made", person.language, rows=made.rows), person.language)
        return [*self._lists(person, str(dataset), made.id), "", ""]

    def compare(self, person: Person, older: str, newer: str) -> str:
        return diff_box(self.studio.snapshots.diff(self._named(older), str(newer or "")), person.language)

    def restore(self, person: Person, chosen: str, *values: Any) -> list[Any]:
        """Bring the dataset back to what it was; an undo takes that back."""
        count = self.studio.snapshots.restore(self._named(chosen))
        note(text("ui.snapshot.restored", person.language, count=count), person.language)
        shown = self.editing.shown(person, View.of(values))
        return [*shown, *self.editing.editor.shown(None, person.language), ""]

    def remove(self, person: Person, dataset: str, chosen: str) -> list[Any]:
        self.studio.snapshots.remove(self._named(chosen))
        return [*self._lists(person, str(dataset or "")), ""]

    @staticmethod
    def _named(chosen: Any) -> str:
        if not chosen:
            raise DatasetError("ui.no_snapshot")
        return str(chosen)

    def build(self) -> None:
        with gr.Row(equal_height=True):
            self.name = gr.Textbox(
                label=label("ui.snapshot.name"),
                placeholder=label("ui.snapshot.name.help"),
                max_lines=1,
                max_length=200,
                scale=4,
                elem_id="snapshot-name",
            )
            self.make_button = gr.Button(
                label("ui.snapshot.make"), variant="primary", scale=1, min_width=110, elem_id="snapshot-make"
            )
        with gr.Row(equal_height=True):
            self.chosen = chooser(label=label("ui.snapshot.chosen"), scale=3, min_width=200, elem_id="snapshot")
            self.other = chooser(label=label("ui.snapshot.other"), scale=3, min_width=200)
        with gr.Row():
            self.compare_button = gr.Button(label("ui.snapshot.compare"), size="sm", elem_id="snapshot-compare")
            self.restore_button = gr.Button(label("ui.snapshot.restore"), size="sm", elem_id="snapshot-restore")
            self.remove_button = gr.Button(label("ui.snapshot.remove"), size="sm", variant="stop")
        self.diff = gr.HTML(elem_id="snapshot-diff")

    def connect(self, page: Page, tab: Any) -> None:
        editing, lists = self.editing, [self.chosen, self.other]
        page.on(
            [tab.select, editing.dataset.input],
            self.arrive,
            role="owner",
            quiet=True,
            inputs=[editing.dataset],
            outputs=[*lists, self.diff],
        )
        page.on(
            self.make_button.click,
            self.make,
            role="owner",
            inputs=[editing.dataset, self.name],
            outputs=[*lists, self.diff, self.name],
        )
        page.on(self.compare_button.click, self.compare, role="owner", inputs=lists, outputs=[self.diff])
        page.on(
            self.restore_button.click,
            self.restore,
            role="owner",
            inputs=[self.chosen, *editing.view],
            outputs=[*editing.outputs, *editing.editor.outputs, self.diff],
        )
        page.on(
            self.remove_button.click,
            self.remove,
            role="owner",
            inputs=[editing.dataset, self.chosen],
            outputs=[*lists, self.diff],
        )
