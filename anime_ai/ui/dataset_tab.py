"""The dataset tab: browse by page, edit beside the grid, upload, download. Knows no database and no file format."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import gradio as gr

from anime_ai.dataset.files import good_rows, read_rows
from anime_ai.dataset.rows import Row
from anime_ai.dataset.store import ConflictError
from anime_ai.errors import AnimeAIError, DatasetError
from anime_ai.texts import text
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, chooser, note
from anime_ai.ui.persons import Person

if TYPE_CHECKING:
    from anime_ai.dataset.store import Page as RowPage
    from anime_ai.dataset.store import StoredRow
    from anime_ai.studio import Studio

SIZE = 25
MOST_PROBLEMS = 12
SPEAKER = {
    "user": ("用户：", "用户:", "User:", "user:", "U:", "ユーザー：", "ユーザー:"),
    "her": ("她：", "她:", "Her:", "her:", "A:", "キャラ：", "キャラ:"),
}
CHOOSE_ROW = """
const choose = (event) => {
  const row = event.target.closest("[data-row]");
  if (row) trigger("click", { row: row.dataset.row });
};
element.addEventListener("click", choose);
element.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.isComposing) choose(event); });
"""


class DatasetTab:
    """Handlers of the tab, and its components after `build`. The editor's state is a row's id and version."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.uploads = studio.settings.studio_dir / "uploads"

    # What the handlers answer with.

    def _choices(self) -> list[tuple[str, str]]:
        return [(f"{info.name} · {info.rows}", info.id) for info in self.studio.datasets.list()]

    def _shown(
        self, person: Person, dataset: str, number: int = 1, search: str = "", persona: str = "", chosen: str = ""
    ) -> list[Any]:
        """Updates of dataset, persona filter, grid, page number, pager line, download link."""
        choices = self._choices()
        known = [id for _, id in choices]
        if dataset not in known:
            dataset = known[0] if known else ""
        if not dataset:
            empty = f'<p class="empty">{escape(text("ui.dataset.empty", person.language))}</p>'
            return [gr.update(choices=[], value=None), gr.update(choices=[], value=""), empty, 1, "", ""]
        info = self.studio.datasets.find(dataset)
        everyone = [(text("ui.dataset.all_personas", person.language), "")] + [(name, name) for name in info.personas]
        persona = persona if persona in info.personas else ""
        page = self.studio.datasets.page(dataset, number, SIZE, search, persona)
        line = text("ui.dataset.page", person.language, number=page.number, pages=page.pages, total=page.total)
        return [
            gr.update(choices=choices, value=dataset),
            gr.update(choices=everyone, value=persona),
            grid(page, person.language, chosen),
            page.number,
            f'<div class="who">{escape(line)}</div>',
            download_link(dataset, info.name, person.language),
        ]

    def _editor(self, stored: StoredRow | None = None) -> list[Any]:
        """Updates of the editing state, input, output, persona, inner, history, message."""
        if stored is None:
            return [{}, "", "", gr.update(), "", "", ""]
        row = stored.row
        state = {"id": stored.id, "version": stored.version}
        return [state, row.input, row.output, row.persona, row.inner, history_text(row.history), ""]

    # Handlers.

    def arrive(self, person: Person, dataset: str | None) -> list[Any]:
        names = [persona.name for persona in self.studio.personas.list()]
        return [*self._shown(person, str(dataset or "")), gr.update(choices=names)]

    def choose_dataset(self, person: Person, dataset: str) -> list[Any]:
        return [*self._shown(person, str(dataset)), *self._editor()]

    def look(self, person: Person, dataset: str, search: str, persona: str) -> list[Any]:
        """Search or filter: back to the first page."""
        return self._shown(person, str(dataset or ""), 1, str(search or ""), str(persona or ""))

    def earlier(self, person: Person, dataset: str, number: Any, search: str, persona: str) -> list[Any]:
        return self._shown(person, str(dataset or ""), whole(number) - 1, str(search or ""), str(persona or ""))

    def later(self, person: Person, dataset: str, number: Any, search: str, persona: str) -> list[Any]:
        return self._shown(person, str(dataset or ""), whole(number) + 1, str(search or ""), str(persona or ""))

    def choose_row(self, person: Person, happened: gr.EventData) -> list[Any]:
        data = happened._data if isinstance(happened._data, dict) else {}
        return self._editor(self.studio.datasets.row(str(data.get("row", ""))))

    def save(
        self, person: Person, state: dict[str, Any], dataset: str, number: Any, search: str, persona: str, *cells: Any
    ) -> list[Any]:
        """Save the row in the editor; without one, add a new row."""
        row = row_of(*cells)
        if not state.get("id"):
            return self.add(person, dataset, *cells)
        try:
            stored = self.studio.datasets.save(str(state["id"]), whole(state.get("version")), row)
        except ConflictError as conflict:
            # Both texts: mine stays in the editor, theirs stands below it; saving again puts mine in its place.
            again = {"id": conflict.theirs.id, "version": conflict.theirs.version}
            return [*self._still(6), again, *(gr.skip() for _ in range(5)), conflict_box(conflict, person.language)]
        note(text("ui.dataset.saved", person.language), person.language)
        shown = self._shown(person, str(dataset), whole(number), str(search or ""), str(persona or ""), stored.id)
        return [*shown, *self._editor(stored)]

    def add(self, person: Person, dataset: str, *cells: Any) -> list[Any]:
        """Add what stands in the editor as a new row, and show it: the last page."""
        stored = self.studio.datasets.add(str(dataset), row_of(*cells))
        note(text("ui.dataset.added", person.language), person.language)
        return [*self._shown(person, str(dataset), 10**9, chosen=stored.id), *self._editor(stored)]

    def delete(
        self, person: Person, state: dict[str, Any], dataset: str, number: Any, search: str, persona: str
    ) -> list[Any]:
        if not state.get("id"):
            raise DatasetError("ui.no_row")
        gone = str(state["id"])
        self.studio.datasets.delete(gone, whole(state.get("version")))
        shown = self._shown(person, str(dataset), whole(number), str(search or ""), str(persona or ""))
        return [*shown, *self._editor(), gone, gr.update(visible=True)]

    def undo(self, person: Person, gone: str, dataset: str, number: Any, search: str, persona: str) -> list[Any]:
        stored = self.studio.datasets.restore(str(gone))
        shown = self._shown(person, str(dataset), whole(number), str(search or ""), str(persona or ""), stored.id)
        return [*shown, *self._editor(stored), "", gr.update(visible=False)]

    def fresh(self, person: Person) -> list[Any]:
        return self._editor()

    def upload(self, person: Person, file: str | None, dataset: str) -> list[Any]:
        """Take an uploaded file into the database; with bad rows, ask first."""
        if not file:
            return self._still(10)
        name = Path(file).stem[:200] or "dataset"
        kept = self._take(Path(file))
        try:
            return self._import(person, kept, name, dataset, skip_bad=False)
        except AnimeAIError as error:
            kept.unlink(missing_ok=True)
            if "path" in error.values:
                error.values["path"] = Path(file).name
            box = f'<div class="plain fault">{escape(error.say(person.language))}</div>'
            return [*self._still(6), box, {}, gr.update(visible=False), gr.update(visible=False)]

    def import_good(self, person: Person, pending: dict[str, Any], dataset: str) -> list[Any]:
        """The good rows of the file that was asked about."""
        kept = self._pending(pending)
        return self._import(person, kept, str(pending.get("name") or "dataset"), dataset, skip_bad=True)

    def forget(self, person: Person, pending: dict[str, Any]) -> list[Any]:
        with suppress(DatasetError):
            self._pending(pending).unlink(missing_ok=True)
        return ["", {}, gr.update(visible=False), gr.update(visible=False)]

    def _import(self, person: Person, kept: Path, name: str, dataset: str, skip_bad: bool) -> list[Any]:
        """Updates of the six of `_shown`, box, pending, its two buttons."""
        reading = read_rows(kept, self.studio.settings.persona)
        known = self.studio.datasets.by_sha256(reading.sha256)
        if known is not None:
            kept.unlink(missing_ok=True)
            box = f'<div class="plain">{escape(text("ui.upload.known", person.language, name=known.name))}</div>'
            return [*self._shown(person, known.id), box, {}, gr.update(visible=False), gr.update(visible=False)]
        if reading.problems and not skip_bad:
            box = problems_box(reading.problems, len(reading.rows), person.language)
            pending = {"id": kept.stem, "name": name} if reading.rows else {}
            ask = gr.update(visible=bool(reading.rows))
            return [*self._still(6), box, pending, ask, ask]
        rows = good_rows(reading, kept, skip_bad)
        made = self.studio.datasets.create(name, rows, source=f"{name}.json", sha256=reading.sha256)
        kept.unlink(missing_ok=True)
        note(text("ui.upload.done", person.language, count=len(rows)), person.language)
        return [*self._shown(person, made), "", {}, gr.update(visible=False), gr.update(visible=False)]

    def _take(self, file: Path) -> Path:
        """Move an upload out of Gradio's cache, where files have no owner, under an id of ours."""
        cache = Path(os.environ.get("GRADIO_TEMP_DIR") or self.uploads).resolve()
        if "GRADIO_TEMP_DIR" in os.environ and cache not in file.resolve().parents:
            raise DatasetError("ui.upload_lost")
        self.uploads.mkdir(parents=True, exist_ok=True)
        for old in self.uploads.glob("*.json"):
            old.unlink(missing_ok=True)
        kept = self.uploads / f"{uuid.uuid4().hex}.json"
        try:
            shutil.move(file, kept)
        except OSError as error:
            raise DatasetError("ui.upload_lost") from error
        return kept

    def _pending(self, pending: Any) -> Path:
        id = str(pending.get("id", "")) if isinstance(pending, dict) else ""
        kept = self.uploads / f"{id}.json"
        if len(id) != 32 or not id.isalnum() or not kept.is_file():
            raise DatasetError("ui.upload_lost")
        return kept

    @staticmethod
    def _still(count: int) -> list[Any]:
        return [gr.skip() for _ in range(count)]

    # Components.

    def build(self, page: Page, tab: Any, demo: gr.Blocks) -> None:
        self.state, self.gone, self.pending = gr.State({}), gr.State(""), gr.State({})
        with gr.Row(equal_height=True):
            self.dataset = chooser(label=label("ui.dataset.name"), scale=4, min_width=180, elem_id="dataset")
            self.file = gr.UploadButton(
                label("ui.upload"), file_types=[".json"], scale=1, min_width=120, elem_id="upload"
            )
            self.link = gr.HTML(elem_id="download", min_width=120)
        self.box = gr.HTML(elem_id="upload-box")
        with gr.Row():
            self.take = gr.Button(label("ui.upload.good_only"), variant="primary", visible=False, size="sm")
            self.drop = gr.Button(label("ui.upload.forget"), visible=False, size="sm")
        with gr.Row():
            with gr.Column(scale=3, min_width=300):
                self._build_grid()
            with gr.Column(scale=2, min_width=280, elem_id="editor-side"):
                self._build_editor()
        self._connect(page, tab, demo)

    def _build_grid(self) -> None:
        with gr.Row(equal_height=True):
            self.search = gr.Textbox(
                label=label("ui.dataset.search"),
                placeholder=label("ui.dataset.search.help"),
                max_lines=1,
                scale=3,
                min_width=150,
            )
            self.filter = chooser(label=label("ui.dataset.persona"), scale=2, min_width=120)
        self.grid = gr.HTML(elem_id="grid", js_on_load=CHOOSE_ROW)
        with gr.Row(equal_height=True):
            self.back = gr.Button(label("ui.dataset.earlier"), size="sm", min_width=80, scale=1)
            self.pager = gr.HTML(elem_id="pager")
            self.next = gr.Button(label("ui.dataset.later"), size="sm", min_width=80, scale=1)
        self.number = gr.State(1)

    def _build_editor(self) -> None:
        with gr.Group(elem_id="editor"):
            self.input = gr.Textbox(
                label=label("ui.row.input"), placeholder=label("ui.row.input.help"), lines=2, max_lines=8
            )
            self.output = gr.Textbox(
                label=label("ui.row.output"), placeholder=label("ui.row.output.help"), lines=3, max_lines=12
            )
            self.persona = gr.Dropdown(
                label=label("ui.row.persona"), choices=[], allow_custom_value=True, value=self.studio.settings.persona
            )
            with gr.Accordion(label("ui.row.more"), open=False):
                self.inner = gr.Textbox(
                    label=label("ui.row.inner"), info=label("ui.row.inner.help"), lines=2, max_lines=8
                )
                self.history = gr.Textbox(
                    label=label("ui.row.history"), info=label("ui.row.history.help"), lines=2, max_lines=10
                )
        self.conflict = gr.HTML(elem_id="conflict")
        with gr.Row():
            self.save_button = gr.Button(label("ui.row.save"), variant="primary", min_width=80, elem_id="save-row")
            self.add_button = gr.Button(label("ui.row.add"), min_width=80, elem_id="add-row")
        with gr.Row():
            self.fresh_button = gr.Button(label("ui.row.fresh"), size="sm", min_width=80)
            self.delete_button = gr.Button(
                label("ui.row.delete"), variant="stop", size="sm", min_width=80, elem_id="delete-row"
            )
            self.undo_button = gr.Button(
                label("ui.row.undo"), visible=False, size="sm", min_width=80, elem_id="undo-row"
            )

    def _connect(self, page: Page, tab: Any, demo: gr.Blocks) -> None:
        shown = [self.dataset, self.filter, self.grid, self.number, self.pager, self.link]
        editor = [self.state, self.input, self.output, self.persona, self.inner, self.history, self.conflict]
        cells: Sequence[Any] = editor[1:6]
        view = [self.dataset, self.number, self.search, self.filter]
        asked = [self.box, self.pending, self.take, self.drop]
        for trigger in (demo.load, tab.select):
            page.on(
                trigger, self.arrive, role="owner", quiet=True, inputs=[self.dataset], outputs=[*shown, self.persona]
            )
        page.on(self.dataset.input, self.choose_dataset, role="owner", inputs=[self.dataset], outputs=[*shown, *editor])
        page.on(
            [self.search.submit, self.search.blur, self.filter.input],
            self.look,
            role="owner",
            inputs=[self.dataset, self.search, self.filter],
            outputs=shown,
        )
        page.on(self.back.click, self.earlier, role="owner", inputs=view, outputs=shown)
        page.on(self.next.click, self.later, role="owner", inputs=view, outputs=shown)
        page.on(self.grid.click, self.choose_row, role="owner", event=True, outputs=editor)
        page.on(
            self.save_button.click,
            self.save,
            role="owner",
            inputs=[self.state, *view, *cells],
            outputs=[*shown, *editor],
        )
        page.on(self.add_button.click, self.add, role="owner", inputs=[self.dataset, *cells], outputs=[*shown, *editor])
        undone = [*shown, *editor, self.gone, self.undo_button]
        page.on(self.delete_button.click, self.delete, role="owner", inputs=[self.state, *view], outputs=undone)
        page.on(self.undo_button.click, self.undo, role="owner", inputs=[self.gone, *view], outputs=undone)
        page.on(self.fresh_button.click, self.fresh, role="owner", outputs=editor)
        page.on(self.file.upload, self.upload, role="owner", inputs=[self.file, self.dataset], outputs=[*shown, *asked])
        page.on(
            self.take.click,
            self.import_good,
            role="owner",
            inputs=[self.pending, self.dataset],
            outputs=[*shown, *asked],
        )
        page.on(self.drop.click, self.forget, role="owner", inputs=[self.pending], outputs=asked)


def whole(value: Any) -> int:
    """A whole number out of what a client sent; what is none counts as 1."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 1


def row_of(input: Any, output: Any, persona: Any, inner: Any, history: Any) -> Row:
    """A row out of the editor's texts. Raises DatasetError for a history that cannot be read."""
    cells = [str(cell if cell is not None else "").strip() for cell in (input, output, persona, inner)]
    return Row(cells[0], cells[1], cells[2], parse_history(str(history or "")), cells[3])


def history_text(history: Sequence[tuple[str, str]]) -> str:
    """The turns before, a speech a paragraph: "用户：…" and "她：…"."""
    return "\n".join(f"{SPEAKER['user'][0]}{said}\n{SPEAKER['her'][0]}{answer}" for said, answer in history)


def parse_history(written: str) -> tuple[tuple[str, str], ...]:
    """What `history_text` writes, read back; a line without a speaker belongs to the speech above it."""
    speeches: list[tuple[str, str]] = []
    for line in written.strip().splitlines():
        who = next((who for who, marks in SPEAKER.items() if line.strip().startswith(marks)), "")
        if who:
            mark = next(mark for mark in SPEAKER[who] if line.strip().startswith(mark))
            speeches.append((who, line.strip()[len(mark) :].strip()))
        elif speeches:
            speeches[-1] = (speeches[-1][0], f"{speeches[-1][1]}\n{line}")
        elif line.strip():
            raise DatasetError("ui.history")
    if [who for who, _ in speeches] != ["user", "her"] * (len(speeches) // 2):
        raise DatasetError("ui.history")
    return tuple((speeches[at][1].strip(), speeches[at + 1][1].strip()) for at in range(0, len(speeches), 2))


def grid(page: RowPage, language: str, chosen: str = "") -> str:
    """One page of rows as a table whose rows carry their ids; long texts are cut to what two lines show."""
    if not page.rows:
        return f'<p class="empty">{escape(text("ui.dataset.nothing", language))}</p>'
    heads = "".join(
        f'<th class="{kind}">{escape(text(f"ui.grid.{name}", language))}</th>'
        for name, kind in (("number", "number"), ("input", ""), ("output", ""), ("persona", "voice"))
    )
    lines = []
    for stored in page.rows:
        kind = ' class="chosen"' if stored.id == chosen else ""
        cells = f'<td class="number">{stored.position + 1}</td>'
        cells += "".join(f"<td><div>{escape(cell[:160])}</div></td>" for cell in (stored.row.input, stored.row.output))
        lines.append(
            f'<tr data-row="{escape(stored.id)}" tabindex="0"{kind}>{cells}'
            f'<td class="voice"><div>{escape(stored.row.persona[:40])}</div></td></tr>'
        )
    return f'<table class="rows"><thead><tr>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def download_link(dataset: str, name: str, language: str) -> str:
    say, named = escape(text("ui.dataset.download", language)), escape(name, quote=True)
    return f'<a class="download" href="download/{quote(dataset)}.json" download="{named}.json">{say}</a>'


def conflict_box(conflict: ConflictError, language: str) -> str:
    return (
        f'<div class="plain fault">{escape(conflict.say(language))}\n{escape(text("ui.row.conflict", language))}</div>'
    )


def problems_box(problems: Sequence[Any], good: int, language: str) -> str:
    """The first problems of a file, and what can be done."""
    lines = [problem.say(language) for problem in problems[:MOST_PROBLEMS]]
    if len(problems) > MOST_PROBLEMS:
        lines.append(text("ui.upload.more_problems", language, count=len(problems) - MOST_PROBLEMS))
    head = text("ui.upload.problems", language, bad=len(problems), good=good)
    return f'<div class="plain fault"><b>{escape(head)}</b>\n{escape(chr(10).join(lines))}</div>'
