"""Browsing and editing the rows of a dataset: filters, the grid, one row beside it, undo and redo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.config import OWNER
from anime_ai.dataset.pages import SORTS, STATUSES, Choices, Filter
from anime_ai.dataset.store import ConflictError
from anime_ai.texts import text
from anime_ai.ui.dataset_route import exports
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, chooser, held, note, skipped
from anime_ai.ui.persons import Person
from anime_ai.ui.row_editor import FRESH, RowEditor, opened, row_of
from anime_ai.ui.rows import GRID, grid

if TYPE_CHECKING:
    from anime_ai.dataset.records import StoredRow
    from anime_ai.dataset.store import DatasetInfo
    from anime_ai.studio import Studio

SIZE = 25
PARTS = 9
"""Values of the page that a view is made of."""
SHOWN = 11
"""Updates of what `shown` shows."""
LAST = 10**9
"""A number beyond every last page."""


@dataclass(frozen=True)
class View:
    """What a person looks at: a dataset, a page and a filter, and the rows that are picked there, out of what the page
    sent."""

    dataset: str
    number: int
    wanted: Filter
    picked: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Sequence[Any]) -> View:
        picked, dataset, number, *told = values
        rows = tuple(str(one) for one in picked) if isinstance(picked, list) else ()
        return cls(str(dataset or ""), whole(number), Filter(*(str(one or "") for one in told)), rows)

    def at(self, number: int) -> View:
        return replace(self, number=number)


def whole(value: Any) -> int:
    """A whole number out of what a client sent; what is none counts as 1."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 1


class Editing:
    """Handlers, and the components after `build`. Other parts of the tab ask `shown` for what the grid shows.

    The tab puts `dataset` and `exports` above its `parts`.
    """

    dataset: Any
    exports: Any
    parts: Any

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.editor = RowEditor(lambda row: studio.feedback.trace(OWNER, row))  # who edits rows is the owner
        self._choices: dict[str, tuple[float, Choices]] = {}

    # What the handlers answer with.

    def shown(self, person: Person, view: View, chosen: str = "") -> list[Any]:
        """Updates of `outputs`. What was picked stays so as long as it is shown: never is a row picked unseen."""
        infos = self.studio.datasets.list()
        known = {info.id: info for info in infos}
        info = known.get(view.dataset) or (infos[0] if infos else None)
        choices = [(f"{one.name} · {one.rows}", one.id) for one in infos]
        idle = gr.update(interactive=False)
        if info is None:
            empty = f'<p class="empty">{escape(text("ui.dataset.empty", person.language))}</p>'
            nothing = gr.update(choices=[], value="")
            return [gr.update(choices=[], value=None), *[nothing] * 3, empty, 1, "", idle, idle, [], ""]
        language = person.language
        found = self._choices_of(info)
        offered = {"persona": info.personas, "tag": found.tags, "source": found.sources}
        filters, wanted = [], view.wanted
        for name, values in offered.items():
            value = getattr(wanted, name) if getattr(wanted, name) in values else ""
            wanted = replace(wanted, **{name: value})
            every = (text("ui.dataset.all", language), "")
            filters.append(gr.update(choices=[every, *((one, one) for one in values)], value=value))
        page = self.studio.datasets.page(info.id, view.number, SIZE, wanted)
        picked = [row.id for row in page.rows if row.id in view.picked]
        line = text("ui.dataset.page", language, number=page.number, pages=page.pages, total=page.total)
        if found.drafts or found.binned:
            line += text("ui.dataset.aside", language, drafts=found.drafts, binned=found.binned)
        steps = self.studio.datasets.steps(info.id)
        return [
            gr.update(choices=choices, value=info.id),
            *filters,
            grid(page, language, chosen, picked),
            page.number,
            f'<div class="who">{escape(line)}</div>',
            self._step(next((one.kind for one in steps if not one.undone), ""), "undo", language),
            self._step(next((one.kind for one in reversed(steps) if one.undone), ""), "redo", language),
            picked,
            exports(info.id, language),
        ]

    def _choices_of(self, info: DatasetInfo) -> Choices:
        """What the rows can be filtered by: looked through again only where the dataset has changed."""
        known = self._choices.get(info.id)
        if known is None or known[0] != info.updated:
            known = self._choices[info.id] = (info.updated, self.studio.datasets.choices(info.id))
        return known[1]

    @staticmethod
    def _step(kind: str, way: str, language: str) -> Any:
        name = text(f"ui.dataset.{way}", language)
        what = f"{name} · {text(f'edit.{kind}', language)}" if kind else name
        return gr.update(value=what, interactive=bool(kind))

    def _both(self, person: Person, view: View, stored: StoredRow | None) -> list[Any]:
        chosen = stored.id if stored else ""
        return [*self.shown(person, view, chosen), *self.editor.shown(stored, person.language)]

    # Handlers.

    def arrive(self, person: Person, *values: Any) -> list[Any]:
        names = [persona.name for persona in self.studio.personas.list()]
        return [*self.shown(person, View.of(values)), gr.update(choices=names)]

    def choose_dataset(self, person: Person, dataset: str) -> list[Any]:
        return self._both(person, View(str(dataset or ""), 1, Filter()), None)

    def look(self, person: Person, *values: Any) -> list[Any]:
        """Search, filter or sort: back to the first page."""
        return self.shown(person, View.of(values).at(1))

    def earlier(self, person: Person, *values: Any) -> list[Any]:
        view = View.of(values)
        return self.shown(person, view.at(view.number - 1))

    def later(self, person: Person, *values: Any) -> list[Any]:
        view = View.of(values)
        return self.shown(person, view.at(view.number + 1))

    def choose_row(self, person: Person, happened: gr.EventData) -> list[Any]:
        data = happened._data if isinstance(happened._data, dict) else {}
        return self.editor.shown(self.studio.datasets.row(str(data.get("row", ""))), person.language)

    def pick(self, person: Person, happened: gr.EventData) -> Any:
        data = happened._data if isinstance(happened._data, dict) else {}
        rows = data.get("rows")
        return [str(one) for one in rows][:SIZE] if isinstance(rows, list) else []

    def save(self, person: Person, state: Any, *values: Any) -> list[Any]:
        """Save the row in the editor; add one that is new there."""
        view, cells = View.of(values[:PARTS]), values[PARTS:]
        if state == FRESH:
            return self.add(person, *values)
        try:
            stored = self.studio.datasets.save(*opened(state), row_of(cells))
        except ConflictError as conflict:
            return [*skipped(SHOWN), *self.editor.conflicting(conflict, person.language)]
        note(text("ui.dataset.saved", person.language), person.language)
        return self._both(person, view, stored)

    def keep_theirs(self, person: Person, state: Any, *values: Any) -> list[Any]:
        """What stands there goes before what was written here."""
        return self._both(person, View.of(values), self.studio.datasets.row(opened(state)[0]))

    def add(self, person: Person, *values: Any) -> list[Any]:
        """Add what stands in the editor as a new row, and show it: the last page."""
        view, cells = View.of(values[:PARTS]), values[PARTS:]
        stored = self.studio.datasets.add(view.dataset, row_of(cells))
        note(text("ui.dataset.added", person.language), person.language)
        return self._both(person, View(view.dataset, LAST, Filter(), view.picked), stored)

    def delete(self, person: Person, state: Any, *values: Any) -> list[Any]:
        self.studio.datasets.delete(*opened(state))
        return self._both(person, View.of(values), None)

    def split(self, person: Person, state: Any, turn: Any, *values: Any) -> list[Any]:
        """Make two dialogues of one, after some turns."""
        stored = self.studio.datasets.split(*opened(state), whole(turn))
        return self._both(person, View.of(values), stored)

    def undo(self, person: Person, *values: Any) -> list[Any]:
        view = View.of(values)
        self.studio.datasets.undo(view.dataset)
        return self._both(person, view, None)

    def redo(self, person: Person, *values: Any) -> list[Any]:
        view = View.of(values)
        self.studio.datasets.redo(view.dataset)
        return self._both(person, view, None)

    def fresh(self, person: Person) -> list[Any]:
        return self.editor.shown(None, person.language)

    # Components.

    def build(self) -> None:
        self.picked, self.number = held([]), held("1")
        self._build_filters()
        with gr.Row():
            with gr.Column(scale=3, min_width=300):
                with gr.Row(equal_height=True, elem_id="steps"):
                    self.undo_button = gr.Button(label("ui.dataset.undo"), size="sm", min_width=90, elem_id="undo-row")
                    self.redo_button = gr.Button(label("ui.dataset.redo"), size="sm", min_width=90, elem_id="redo-row")
                self.grid = gr.HTML(elem_id="grid", js_on_load=GRID)
                with gr.Row(equal_height=True):
                    self.back = gr.Button(label("ui.dataset.earlier"), size="sm", min_width=80, scale=1)
                    self.pager = gr.HTML(elem_id="pager")
                    self.next = gr.Button(label("ui.dataset.later"), size="sm", min_width=80, scale=1)
                self.bulk = gr.Column()
            with gr.Column(scale=2, min_width=280, elem_id="editor-side"):
                self.editor.build(self.studio.settings.persona)
                self._build_buttons()

    def _build_filters(self) -> None:
        statuses = [(label(f"status.{name or 'all'}"), name) for name in STATUSES]
        sorts = [(label(f"sort.{name}"), name) for name in SORTS]
        with gr.Row(equal_height=True, elem_id="filters"):
            self.search = gr.Textbox(
                label=label("ui.dataset.search"),
                placeholder=label("ui.dataset.search.help"),
                max_lines=1,
                scale=3,
                min_width=150,
                elem_id="row-search",
            )
            self.persona = chooser(label=label("ui.dataset.persona"), scale=2, min_width=96)
            self.tag = chooser(label=label("ui.dataset.tag"), scale=2, min_width=96)
            self.status = chooser(label=label("ui.dataset.status"), choices=statuses, value="", scale=2, min_width=96)
            self.source = chooser(label=label("ui.dataset.source"), scale=2, min_width=96)
            self.sort = chooser(label=label("ui.dataset.sort"), choices=sorts, value="order", scale=2, min_width=130)

    def _build_buttons(self) -> None:
        with gr.Row():
            self.save_button = gr.Button(label("ui.row.save"), variant="primary", min_width=80, elem_id="save-row")
            self.add_button = gr.Button(label("ui.row.add"), min_width=80, elem_id="add-row")
        with gr.Row():
            self.fresh_button = gr.Button(label("ui.row.fresh"), size="sm", min_width=80, elem_id="fresh-row")
            self.delete_button = gr.Button(
                label("ui.row.delete"), variant="stop", size="sm", min_width=80, elem_id="delete-row"
            )
        with gr.Accordion(label("ui.row.split"), open=False), gr.Row(equal_height=True):
            self.turn = gr.Number(label=label("ui.row.split.turn"), value=1, precision=0, minimum=1, min_width=80)
            self.split_button = gr.Button(label("ui.row.split.do"), size="sm", min_width=80)
        gr.HTML(f'<p class="who keys">{label("ui.dataset.keys")}</p>')

    @property
    def view(self) -> list[Any]:
        """The components that a View is made of."""
        filters = [self.search, self.persona, self.tag, self.status, self.source, self.sort]
        return [self.picked, self.dataset, self.number, *filters]

    @property
    def outputs(self) -> list[Any]:
        shown = [self.dataset, self.persona, self.tag, self.source, self.grid, self.number, self.pager]
        return [*shown, self.undo_button, self.redo_button, self.picked, self.exports]

    def connect(self, page: Page, tab: Any, demo: gr.Blocks) -> None:
        view, editor = self.view, self.editor
        both = [*self.outputs, *editor.outputs]
        for trigger in (demo.load, tab.select):
            page.on(
                trigger, self.arrive, role="owner", quiet=True, inputs=view, outputs=[*self.outputs, editor.persona]
            )
        page.on(self.dataset.input, self.choose_dataset, role="owner", inputs=[self.dataset], outputs=both)
        changed = [one.input for one in (self.persona, self.tag, self.status, self.source, self.sort)]
        page.on(
            [self.search.submit, self.search.blur, *changed],
            self.look,
            role="owner",
            inputs=view,
            outputs=self.outputs,
        )
        page.on(self.back.click, self.earlier, role="owner", inputs=view, outputs=self.outputs)
        page.on(self.next.click, self.later, role="owner", inputs=view, outputs=self.outputs)
        page.on(self.grid.click, self.choose_row, role="owner", event=True, outputs=editor.outputs)
        page.on(self.grid.select, self.pick, role="owner", event=True, outputs=[self.picked])
        written = [*view, *editor.cells]
        page.on(
            [self.save_button.click, editor.mine.click],
            self.save,
            role="owner",
            inputs=[editor.state, *written],
            outputs=both,
        )
        page.on(editor.theirs.click, self.keep_theirs, role="owner", inputs=[editor.state, *view], outputs=both)
        page.on(self.add_button.click, self.add, role="owner", inputs=written, outputs=both)
        page.on(self.delete_button.click, self.delete, role="owner", inputs=[editor.state, *view], outputs=both)
        page.on(
            self.split_button.click, self.split, role="owner", inputs=[editor.state, self.turn, *view], outputs=both
        )
        page.on(self.undo_button.click, self.undo, role="owner", inputs=view, outputs=both)
        page.on(self.redo_button.click, self.redo, role="owner", inputs=view, outputs=both)
        page.on(self.fresh_button.click, self.fresh, role="owner", outputs=editor.outputs)
