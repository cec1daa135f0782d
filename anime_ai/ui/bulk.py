"""What is done to several rows at once: tags, find and replace, drafts, merging, the bin. Knows no file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.dataset.rows import Row
from anime_ai.errors import DatasetError
from anime_ai.texts import text
from anime_ai.ui.editing import Editing, View
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, chooser, note
from anime_ai.ui.persons import Person
from anime_ai.ui.row_editor import tags_of

if TYPE_CHECKING:
    from anime_ai.studio import Studio

MOST_SHOWN = 30
"""Rows of a preview."""
FIELDS = ("both", "output", "input", "inner")
"""Where to replace: text keys under "field."."""


class Bulk:
    """Handlers, and the components after `build`. What is meant are the picked rows, or all that the filter finds."""

    def __init__(self, studio: Studio, editing: Editing) -> None:
        self.studio, self.editing = studio, editing

    def _meant(self, everything: Any, view: View) -> list[str]:
        """The ids of the rows that are meant. Raises DatasetError where there are none."""
        ids = self.studio.datasets.ids(view.dataset, view.wanted) if everything else list(view.picked)
        if not ids:
            raise DatasetError("ui.nothing_picked")
        return ids

    def _changed(
        self, person: Person, kind: str, everything: Any, view: View, change: Callable[[Row], Row]
    ) -> list[Any]:
        there = self.studio.datasets.some(view.dataset, self._meant(everything, view))
        wanted = {one.id: change(one.row) for one in there}
        versions = {one.id: one.version for one in there}
        count = self.studio.datasets.save_all(view.dataset, kind, wanted, versions)
        note(text("ui.bulk.done", person.language, count=count), person.language)
        return self._after(person, view)

    def _after(self, person: Person, view: View) -> list[Any]:
        """Updates of the grid, the editor, the preview."""
        shown = self.editing.shown(person, view)
        return [*shown, *self.editing.editor.shown(None, person.language), ""]

    # Handlers.

    def tag(self, person: Person, everything: Any, written: str, *values: Any) -> list[Any]:
        tags = tags_of(str(written or ""))
        if not tags:
            raise DatasetError("ui.no_tag")

        def tagged(row: Row) -> Row:
            return replace(row, tags=tuple(dict.fromkeys((*row.tags, *tags))))

        return self._changed(person, "tag", everything, View.of(values), tagged)

    def untag(self, person: Person, everything: Any, written: str, *values: Any) -> list[Any]:
        tags = set(tags_of(str(written or "")))

        def bare(row: Row) -> Row:
            return replace(row, tags=tuple(tag for tag in row.tags if tags and tag not in tags))

        return self._changed(person, "untag", everything, View.of(values), bare)

    def set_persona(self, person: Person, everything: Any, name: str, *values: Any) -> list[Any]:
        def given(row: Row) -> Row:
            return replace(row, persona=str(name or "").strip())

        return self._changed(person, "persona", everything, View.of(values), given)

    def accept(self, person: Person, everything: Any, *values: Any) -> list[Any]:
        def accepted(row: Row) -> Row:
            return replace(row, draft=False)

        return self._changed(person, "accept", everything, View.of(values), accepted)

    def preview(self, person: Person, everything: Any, find: str, put: str, field: str, *values: Any) -> str:
        """The rows that a replacement would change, before and after."""
        view, change = View.of(values), replacing(str(find or ""), str(put or ""), str(field))
        there = self.studio.datasets.some(view.dataset, self._meant(everything, view))
        changed = [(one.row, new) for one in there if (new := change(one.row)) != one.row]
        if not changed:
            return f'<p class="empty">{escape(text("ui.bulk.no_match", person.language))}</p>'
        head = escape(text("ui.bulk.preview", person.language, count=len(changed)))
        lines = "".join(
            f'<li><span class="removed">{escape(old)}</span><span class="added">{escape(new)}</span></li>'
            for row, after in changed[:MOST_SHOWN]
            for old, new in _different(row, after)
        )
        return f'<div class="diff"><h4>{head}</h4><ul>{lines}</ul></div>'

    def replace_all(self, person: Person, everything: Any, find: str, put: str, field: str, *values: Any) -> list[Any]:
        change = replacing(str(find or ""), str(put or ""), str(field))
        return self._changed(person, "replace", everything, View.of(values), change)

    def merge(self, person: Person, *values: Any) -> list[Any]:
        view = View.of(values)
        stored = self.studio.datasets.merge(view.dataset, self._meant(False, view))
        shown = self.editing.shown(person, view, stored.id)
        return [*shown, *self.editing.editor.shown(stored, person.language), ""]

    def duplicate(self, person: Person, *values: Any) -> list[Any]:
        view = View.of(values)
        self.studio.datasets.duplicate(view.dataset, self._meant(False, view))
        return self._after(person, view)

    def delete(self, person: Person, everything: Any, *values: Any) -> list[Any]:
        view = View.of(values)
        count = self.studio.datasets.delete_all(view.dataset, self._meant(everything, view))
        note(text("ui.bulk.deleted", person.language, count=count), person.language)
        return self._after(person, view)

    def restore(self, person: Person, everything: Any, *values: Any) -> list[Any]:
        view = View.of(values)
        count = self.studio.datasets.restore_all(view.dataset, self._meant(everything, view))
        note(text("ui.bulk.restored", person.language, count=count), person.language)
        return self._after(person, view)

    def empty_bin(self, person: Person, sure: Any, *values: Any) -> list[Any]:
        """Destroy what is in the bin, when somebody has said that they are sure."""
        view = View.of(values)
        if not sure:
            raise DatasetError("ui.not_sure")
        count = self.studio.datasets.empty_bin(view.dataset)
        note(text("ui.bulk.emptied", person.language, count=count), person.language)
        return [*self._after(person, view), False]

    # Components.

    def build(self) -> None:
        with gr.Accordion(label("ui.bulk"), open=False, elem_id="bulk"):
            self.everything = gr.Checkbox(label=label("ui.bulk.everything"), elem_id="bulk-all")
            with gr.Row(equal_height=True):
                self.tags = gr.Textbox(label=label("ui.row.tags"), max_lines=1, scale=2, min_width=120)
                self.tag_button = gr.Button(label("ui.bulk.tag"), size="sm", min_width=70)
                self.untag_button = gr.Button(label("ui.bulk.untag"), size="sm", min_width=70)
            with gr.Row(equal_height=True):
                self.name = gr.Textbox(label=label("ui.row.persona"), max_lines=1, scale=2, min_width=120)
                self.persona_button = gr.Button(label("ui.bulk.persona"), size="sm", min_width=70)
                self.accept_button = gr.Button(label("ui.bulk.accept"), size="sm", min_width=70, elem_id="accept")
            with gr.Row(equal_height=True):
                self.find = gr.Textbox(label=label("ui.bulk.find"), max_lines=1, min_width=110, elem_id="bulk-find")
                self.put = gr.Textbox(label=label("ui.bulk.put"), max_lines=1, min_width=110, elem_id="bulk-put")
                fields = [(label(f"field.{name}"), name) for name in FIELDS]
                self.field = chooser(label=label("ui.bulk.where"), choices=fields, value="both", min_width=90)
            with gr.Row():
                self.preview_button = gr.Button(label("ui.bulk.look"), size="sm", min_width=70, elem_id="bulk-look")
                self.replace_button = gr.Button(
                    label("ui.bulk.replace"), size="sm", min_width=70, elem_id="bulk-replace"
                )
            self.found = gr.HTML(elem_id="bulk-found")
            with gr.Row():
                self.duplicate_button = gr.Button(label("ui.bulk.duplicate"), size="sm", min_width=70)
                self.merge_button = gr.Button(label("ui.bulk.merge"), size="sm", min_width=70)
                self.delete_button = gr.Button(label("ui.bulk.delete"), size="sm", variant="stop", min_width=70)
            with gr.Row(equal_height=True):
                self.restore_button = gr.Button(label("ui.bulk.restore"), size="sm", min_width=70)
                self.sure = gr.Checkbox(label=label("ui.bulk.sure"), min_width=140)
                self.empty_button = gr.Button(label("ui.bulk.empty"), size="sm", variant="stop", min_width=70)

    def connect(self, page: Page) -> None:
        editing = self.editing
        view, meant = editing.view, [self.everything]
        outputs = [*editing.outputs, *editing.editor.outputs, self.found]
        words = [self.find, self.put, self.field]
        for button, handler, inputs in (
            (self.tag_button, self.tag, [*meant, self.tags]),
            (self.untag_button, self.untag, [*meant, self.tags]),
            (self.persona_button, self.set_persona, [*meant, self.name]),
            (self.accept_button, self.accept, meant),
            (self.replace_button, self.replace_all, [*meant, *words]),
            (self.merge_button, self.merge, []),
            (self.duplicate_button, self.duplicate, []),
            (self.delete_button, self.delete, meant),
            (self.restore_button, self.restore, meant),
        ):
            page.on(button.click, handler, role="owner", inputs=[*inputs, *view], outputs=outputs)
        page.on(
            self.preview_button.click,
            self.preview,
            role="owner",
            inputs=[*meant, *words, *view],
            outputs=[self.found],
        )
        page.on(
            self.empty_button.click,
            self.empty_bin,
            role="owner",
            inputs=[self.sure, *view],
            outputs=[*outputs, self.sure],
        )


def replacing(find: str, put: str, field: str) -> Callable[[Row], Row]:
    """What puts one text in the place of another, to the letter, in one field of a row, or in what both say.

    Raises DatasetError where there is nothing to find.
    """
    if not find:
        raise DatasetError("ui.nothing_to_find")

    def changed(row: Row) -> Row:
        if field != "both":
            return replace(row, **{field: getattr(row, field).replace(find, put)}) if field in FIELDS else row
        history = tuple((said.replace(find, put), answer.replace(find, put)) for said, answer in row.history)
        return replace(row, input=row.input.replace(find, put), output=row.output.replace(find, put), history=history)

    return changed


def _different(row: Row, after: Row) -> list[tuple[str, str]]:
    """The cells that differ, cut to what a line shows."""
    pairs = [(getattr(row, name), getattr(after, name)) for name in ("input", "output", "inner")]
    pairs += list(zip(sum(row.history, ()), sum(after.history, ()), strict=True))
    return [(old[:160], new[:160]) for old, new in pairs if old != new]
