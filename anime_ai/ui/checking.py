"""The checks of a dataset: every finding with its row and sentence, mended by one click where it can be."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.dataset.checks import Finding, check, mended
from anime_ai.dataset.profile import Length, lengths
from anime_ai.dataset.rows import Row
from anime_ai.errors import DatasetError, ModelError
from anime_ai.texts import text
from anime_ai.ui.editing import Editing, View
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, note
from anime_ai.ui.persons import Person

if TYPE_CHECKING:
    from anime_ai.dataset.records import StoredRow
    from anime_ai.studio import Studio

MOST_SHOWN = 200
MOST_MEASURED = 10_000
"""Rows whose tokens are counted on the page; the command line counts those of every row."""
CHOOSE = """
const choose = (event) => {
  const mend = event.target.closest("[data-mend]");
  const row = event.target.closest("[data-row]");
  if (mend) {
    const { of, mend: key, field } = mend.dataset;
    trigger("select", { row: of, key, field });
  } else if (row) {
    trigger("click", { row: row.dataset.row });
    document.querySelector("button[role=tab][data-tab-id=rows]")?.click();
  }
};
element.addEventListener("click", choose);
element.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.isComposing && !event.target.closest("button")) choose(event);
});
"""
"""A click on a finding opens its row for editing, a click on its button mends it."""


@dataclass(frozen=True)
class Found:
    """A finding and the row that it is about."""

    stored: StoredRow
    finding: Finding


class Checking:
    """Handlers, and the components after `build`."""

    def __init__(self, studio: Studio, editing: Editing) -> None:
        self.studio, self.editing = studio, editing

    def found(self, dataset: str) -> list[Found]:
        """All findings of a dataset; its rows are numbered as the grid numbers them."""
        there = self.studio.datasets.all(dataset)
        rows, most = [one.row for one in there], self.studio.settings.max_length
        measured: Sequence[Length | None] = ()
        if len(rows) <= MOST_MEASURED:
            with suppress(ModelError):  # without a base on this disk nothing is said about tokens
                measured = lengths(rows, self.studio.personas, self.studio.layout()[1], most)
        findings = check(rows, lengths=measured, max_length=most)
        return [Found(there[finding.row - 1], finding) for finding in findings]

    # Handlers

    def run(self, person: Person, dataset: str) -> str:
        if not dataset:
            raise DatasetError("ui.no_dataset")
        return findings_box(self.found(str(dataset)), person.language)

    def open_row(self, person: Person, happened: gr.EventData) -> list[Any]:
        data = happened._data if isinstance(happened._data, dict) else {}
        return self.editing.editor.shown(self.studio.datasets.row(str(data.get("row", ""))), person.language)

    def mend(self, person: Person, happened: gr.EventData, *values: Any) -> list[Any]:
        """Mend what one finding says."""
        data = happened._data if isinstance(happened._data, dict) else {}
        view = View.of(values)
        wanted = (str(data.get("row", "")), str(data.get("key", "")), str(data.get("field", "")))
        meant = [
            one
            for one in self.found(view.dataset)
            if (one.stored.id, one.finding.key, one.finding.field) == wanted and one.finding.mend
        ]
        return self._mended(person, view, meant[:1])

    def mend_all(self, person: Person, *values: Any) -> list[Any]:
        """Mend everything that one step can mend."""
        view = View.of(values)
        return self._mended(person, view, [one for one in self.found(view.dataset) if one.finding.mend])

    def _mended(self, person: Person, view: View, meant: Sequence[Found]) -> list[Any]:
        """Updates of the grid, the editor and the findings. Everything is one step, which can be undone."""
        if not meant:
            raise DatasetError("ui.nothing_to_mend")
        rows: dict[str, Row | None] = {}
        versions = {one.stored.id: one.stored.version for one in meant}
        for one in meant:
            before = rows.get(one.stored.id, one.stored.row)
            rows[one.stored.id] = None if before is None else mended(before, one.finding)
        count = self.studio.datasets.save_all(view.dataset, "mend", rows, versions)
        note(text("ui.bulk.done", person.language, count=count), person.language)
        shown = self.editing.shown(person, view)
        found = findings_box(self.found(view.dataset), person.language)
        return [*shown, *self.editing.editor.shown(None, person.language), found]

    # Components

    def build(self) -> None:
        with gr.Row(equal_height=True):
            self.run_button = gr.Button(label("ui.check.run"), variant="primary", min_width=120, elem_id="check-run")
            self.all_button = gr.Button(label("ui.check.mend_all"), min_width=120, elem_id="mend-all")
        self.box = gr.HTML(f'<p class="who">{label("ui.check.about")}</p>', elem_id="findings", js_on_load=CHOOSE)

    def connect(self, page: Page) -> None:
        editing = self.editing
        outputs = [*editing.outputs, *editing.editor.outputs, self.box]
        page.on(self.run_button.click, self.run, role="owner", inputs=[editing.dataset], outputs=[self.box])
        page.on(self.box.click, self.open_row, role="owner", event=True, outputs=editing.editor.outputs)
        page.on(self.box.select, self.mend, role="owner", event=True, inputs=editing.view, outputs=outputs)
        page.on(self.all_button.click, self.mend_all, role="owner", inputs=editing.view, outputs=outputs)


def findings_box(found: Sequence[Found], language: str) -> str:
    """All findings as a list, errors first."""
    if not found:
        return f'<p class="empty">{escape(text("ui.check.clean", language))}</p>'
    errors = [one for one in found if one.finding.severity == "error"]
    ordered = [*errors, *(one for one in found if one.finding.severity != "error")]
    count = {"errors": len(errors), "warnings": len(found) - len(errors)}
    head = escape(text("ui.check.head", language, **count))
    lines = "".join(_line(one, language) for one in ordered[:MOST_SHOWN])
    left = len(ordered) - MOST_SHOWN
    more = f"<li>{escape(text('ui.upload.more_problems', language, count=left))}</li>" if left > 0 else ""
    return f'<div class="findings"><b>{head}</b><ul>{lines}{more}</ul></div>'


def _line(one: Found, language: str) -> str:
    finding, id = one.finding, escape(one.stored.id)
    button = ""
    if finding.mend:
        button = (
            f'<button type="button" data-mend="{escape(finding.key)}" data-field="{escape(finding.field)}" '
            f'data-of="{id}">{escape(finding.offer(language))}</button>'
        )
    return (
        f'<li class="{finding.severity}" data-row="{id}" tabindex="0"><span>{escape(finding.say(language))}</span>'
        f"<q>{escape(one.stored.row.output[:80])}</q>{button}</li>"
    )
