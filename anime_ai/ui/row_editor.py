"""The editor of one row: its fields, its dialogue as bubbles, both texts of a conflict. Knows no dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.dataset.rows import Row
from anime_ai.errors import DatasetError
from anime_ai.texts import text
from anime_ai.ui.labels import label
from anime_ai.ui.page import held
from anime_ai.ui.rows import bubbles, conflict_box, history_text, parse_history
from anime_ai.ui.whence import whence

if TYPE_CHECKING:
    from anime_ai.chat.feedback import Trace
    from anime_ai.dataset.records import StoredRow
    from anime_ai.dataset.store import ConflictError

EDITOR_PARTS = 13
"""Updates of what the editor shows."""
FRESH = {"new": True}
"""The state of an editor in which a new row is written."""
CELLS = ("input", "output", "persona", "inner", "history", "system", "rejected", "tags", "draft")


class RowEditor:
    """Its components after `build`, and what they show. Its state is a row's id and version, or FRESH. `trace` tells of
    a row's id what it was made of."""

    def __init__(self, trace: Callable[[str], Trace | None]) -> None:
        self._trace = trace

    def build(self, persona: str) -> None:
        """`persona`: whose a new row is."""
        self.state = held(FRESH)
        self.talk = gr.HTML(elem_id="row-talk")
        with gr.Group(elem_id="editor"):
            self.input = gr.Textbox(
                label=label("ui.row.input"), placeholder=label("ui.row.input.help"), lines=2, max_lines=8
            )
            self.output = gr.Textbox(
                label=label("ui.row.output"), placeholder=label("ui.row.output.help"), lines=3, max_lines=12
            )
            with gr.Row():
                self.persona = gr.Dropdown(
                    label=label("ui.row.persona"), choices=[], allow_custom_value=True, value=persona, min_width=120
                )
                self.tags = gr.Textbox(
                    label=label("ui.row.tags"), placeholder=label("ui.row.tags.help"), max_lines=1, min_width=120
                )
            with gr.Accordion(label("ui.row.more"), open=False):
                self.inner = gr.Textbox(
                    label=label("ui.row.inner"), info=label("ui.row.inner.help"), lines=2, max_lines=8
                )
                self.history = gr.Textbox(
                    label=label("ui.row.history"), info=label("ui.row.history.help"), lines=2, max_lines=10
                )
                self.system = gr.Textbox(
                    label=label("ui.row.system"), info=label("ui.row.system.help"), lines=1, max_lines=6
                )
                self.rejected = gr.Textbox(
                    label=label("ui.row.rejected"), info=label("ui.row.rejected.help"), lines=1, max_lines=8
                )
                self.draft = gr.Checkbox(label=label("ui.row.draft"), info=label("ui.row.draft.help"))
        self.conflict = gr.HTML(elem_id="conflict")
        with gr.Row(visible=False) as self.resolving:
            self.mine = gr.Button(label("ui.conflict.keep_mine"), variant="primary", size="sm", elem_id="keep-mine")
            self.theirs = gr.Button(label("ui.conflict.keep_theirs"), size="sm", elem_id="keep-theirs")

    @property
    def cells(self) -> list[Any]:
        return [getattr(self, name) for name in CELLS]

    @property
    def outputs(self) -> list[Any]:
        return [self.state, *self.cells, self.talk, self.conflict, self.resolving]

    def shown(self, stored: StoredRow | None, language: str) -> list[Any]:
        """Updates of `outputs`; without a row an empty editor, whose persona stays as it is."""
        if stored is None:
            return [FRESH, "", "", gr.skip(), "", "", "", "", "", False, "", "", gr.update(visible=False)]
        row = stored.row
        state = {"id": stored.id, "version": stored.version}
        cells = [row.input, row.output, row.persona, row.inner, history_text(row.history), row.system, row.rejected]
        talk = bubbles(row, language) if row.history or row.system or row.inner or row.rejected else ""
        if stored.source:
            talk += f'<p class="who">{escape(text("ui.row.source", language, source=stored.source))}</p>'
        if (trace := self._trace(stored.id)) is not None:
            talk += whence(trace, language)
        return [state, *cells, "，".join(row.tags), row.draft, talk, "", gr.update(visible=False)]

    @staticmethod
    def conflicting(conflict: ConflictError, language: str) -> list[Any]:
        """Updates of `outputs`: what was written stays; both texts stand below, to choose from."""
        again = {"id": conflict.theirs.id, "version": conflict.theirs.version}
        skipped = [gr.skip() for _ in (*CELLS, "talk")]
        return [again, *skipped, conflict_box(conflict, language), gr.update(visible=True)]


def opened(state: Any) -> tuple[str, int]:
    """The id and the version of the row in the editor. Raises DatasetError where there is none."""
    if not (isinstance(state, dict) and state.get("id")):
        raise DatasetError("ui.no_row")
    version = state.get("version")
    return str(state["id"]), version if isinstance(version, int) else 0


def row_of(cells: Sequence[Any]) -> Row:
    """A row out of the editor's cells, in the order of CELLS. Raises DatasetError for a history that cannot be read."""
    told = dict(zip(CELLS, cells, strict=False))
    texts = {name: str(value if value is not None else "").strip() for name, value in told.items() if name != "draft"}
    tags = tuple(dict.fromkeys(tag for tag in tags_of(texts.pop("tags", "")) if tag))
    history = parse_history(texts.pop("history", ""))
    return Row(history=history, tags=tags, draft=bool(told.get("draft")), **texts)


def tags_of(written: str) -> list[str]:
    """Tags as a person writes them, with commas of any kind between."""
    for mark in "，、;；":
        written = written.replace(mark, ",")
    return [tag.strip() for tag in written.split(",") if tag.strip()]
