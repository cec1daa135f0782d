"""A file or a pasted text on its way into a dataset: what it is taken for, what can be chosen, then its rows.

Knows no grid. A file waits under an id of ours until it is imported or given up.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.dataset.files import Reading, good_rows, read_content
from anime_ai.dataset.formats import Mapping
from anime_ai.dataset.intake import Choices, Preview, look, read
from anime_ai.dataset.pages import Filter
from anime_ai.dataset.rows import Row
from anime_ai.errors import AnimeAIError, DatasetError
from anime_ai.files import write_bytes
from anime_ai.texts import text
from anime_ai.ui.editing import SHOWN, Editing, View
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, chooser, note, skipped
from anime_ai.ui.persons import Person
from anime_ai.ui.row_editor import EDITOR_PARTS
from anime_ai.ui.rows import bubbles

if TYPE_CHECKING:
    from anime_ai.studio import Studio

MOST_PROBLEMS = 12
PASTED = "txt"
ENCODINGS = ("utf-8", "utf-16", "gb18030", "big5", "shift_jis")
KINDS = ("", "chat", "story", "subtitles")
"""What a text may be that no format tells; "" leaves it to its looks."""
FIELDS = tuple(field.name for field in fields(Mapping))
HOUR = 3600.0


class Importing:
    """Handlers, and the components after `build`. The state is the id and the name of the file that waits."""

    def __init__(self, studio: Studio, editing: Editing) -> None:
        self.studio, self.editing = studio, editing
        self.uploads = studio.settings.studio_dir / "uploads"

    # The file that waits

    def _take(self, file: Path) -> dict[str, str]:
        """Move an upload out of Gradio's cache, where files have no owner, under an id of ours."""
        cache = Path(os.environ.get("GRADIO_TEMP_DIR") or self.uploads).resolve()
        if "GRADIO_TEMP_DIR" in os.environ and cache not in file.resolve().parents:
            raise DatasetError("ui.upload_lost")
        kept = self._fresh()
        try:
            shutil.move(file, kept)
        except OSError as error:
            raise DatasetError("ui.upload_lost") from error
        return {"id": kept.name, "name": file.name[:200]}

    def _fresh(self) -> Path:
        """Where a new file waits; what was forgotten for hours goes away."""
        self.uploads.mkdir(parents=True, exist_ok=True)
        for old in self.uploads.iterdir():
            with suppress(OSError):
                if time.time() - old.stat().st_mtime > HOUR:
                    old.unlink()
        return self.uploads / uuid.uuid4().hex

    def _waiting(self, pending: Any) -> tuple[Path, str]:
        id = str(pending.get("id", "")) if isinstance(pending, dict) else ""
        kept = self.uploads / id
        if len(id) != 32 or not id.isalnum() or not kept.is_file():
            raise DatasetError("ui.upload_lost")
        return kept, str(pending.get("name") or "dataset")

    def _choices(self, values: Sequence[Any]) -> Choices:
        """What the page sent: encoding, kind of text, speaker, each answer, persona, then a column for every field."""
        encoding, kind, her, each, persona, *columns = values
        told = {name: str(column) for name, column in zip(FIELDS, columns, strict=False) if column}
        return Choices(
            encoding=str(encoding) if encoding else None,
            kind=next((one for one in KINDS if one == kind), None) or None,
            mapping=Mapping(**told) if told else None,
            each_answer=bool(each),
            her=str(her) if her else None,
            persona=str(persona or "").strip(),
        )

    # Handlers

    def upload(self, person: Person, file: str | None) -> list[Any]:
        """Take a file in and say what it is."""
        if not file:
            return list(skipped(12 + len(FIELDS)))
        return [*self._looked(person, self._take(Path(file)), None), None]

    def paste(self, person: Person, written: str) -> list[Any]:
        """The same for a text that was pasted."""
        if not str(written or "").strip():
            raise DatasetError("ui.nothing_pasted")
        kept = self._fresh()
        write_bytes(kept, str(written).encode("utf-8", "surrogatepass"))
        name = f"{text('ui.import.pasted', person.language)}.{PASTED}"
        return [*self._looked(person, {"id": kept.name, "name": name}, None), None]

    def look_again(self, person: Person, pending: Any, *values: Any) -> list[Any]:
        """What the file is under other choices."""
        return [*self._looked(person, pending, self._choices(values)), gr.skip()]

    def _looked(self, person: Person, pending: Any, choices: Choices | None) -> list[Any]:
        """Updates of `outputs` but the last one, the drop."""
        kept, name = self._waiting(pending)
        language = person.language
        hidden = gr.update(visible=False)
        try:
            found = look(read_content(kept), name, choices or Choices(persona=self.studio.settings.persona))
        except AnimeAIError as error:
            box = fault(error, name, language)
            ask_encoding = error.key in ("dataset.wrong_encoding", "dataset.not_utf8", "dataset.unknown_encoding")
            if not ask_encoding and choices is None:
                kept.unlink(missing_ok=True)
                pending = {}
            encoding = gr.update(visible=ask_encoding)
            still = [gr.skip() for _ in range(4 + len(FIELDS))]
            return [pending, box, gr.update(visible=bool(pending)), encoding, *still, hidden, unticked(), gr.skip()]
        offered = [("", ""), *((column, column) for column in found.columns)]
        columns = [
            gr.update(choices=offered, value=getattr(found.mapping, field), visible=bool(found.columns))
            for field in FIELDS
        ]
        unknown = text("ui.import.nobody", language)
        speakers = [(f"{who or unknown} · {count}", who) for who, count in found.speakers]
        talks = bool(found.speakers) or found.format in ("sharegpt", "messages", "tavern")
        return [
            pending,
            preview_box(found, name, language),
            gr.update(visible=True),
            gr.update(value=found.encoding.encoding or None, visible=not found.encoding.sure),
            gr.update(visible=found.container == "text"),
            gr.update(choices=speakers, value=found.her if speakers else None, visible=bool(speakers)),
            gr.update(visible=talks),
            gr.skip(),
            *columns,
            gr.update(visible=bool(found.columns)),
            unticked(),
            Path(name).stem[:200],
        ]

    def make(self, person: Person, pending: Any, name: str, good_only: Any, *values: Any) -> list[Any]:
        """A new dataset of the file that waits."""
        kept, file = self._waiting(pending)
        choices = self._choices(values)
        reading = read(read_content(kept), file, choices)
        # The same file under other choices is another dataset.
        sha256 = hashlib.sha256(f"{reading.sha256} {choices}".encode()).hexdigest()
        known = self.studio.datasets.by_sha256(sha256)
        if known is not None:
            return self._done(person, kept, known.id, text("ui.upload.known", person.language, name=known.name))
        if asked := self._asked(person, reading, good_only):
            return asked
        rows = good_rows(reading, file, bool(good_only))
        named = str(name or "").strip() or Path(file).stem or "dataset"
        made = self.studio.datasets.create(named, rows, source=file, sha256=sha256)
        return self._done(person, kept, made, text("ui.upload.done", person.language, count=len(rows)))

    def append(self, person: Person, pending: Any, dataset: str, good_only: Any, *values: Any) -> list[Any]:
        """The rows of the file that waits, behind those of the dataset that is open."""
        kept, file = self._waiting(pending)
        reading = read(read_content(kept), file, self._choices(values))
        if asked := self._asked(person, reading, good_only):
            return asked
        rows = good_rows(reading, file, bool(good_only))
        self.studio.datasets.extend(str(dataset or ""), rows, source=file)
        return self._done(person, kept, str(dataset), text("ui.upload.done", person.language, count=len(rows)))

    def forget(self, person: Person, pending: Any) -> list[Any]:
        with suppress(DatasetError):
            self._waiting(pending)[0].unlink(missing_ok=True)
        return [{}, "", gr.update(visible=False), unticked()]

    def _asked(self, person: Person, reading: Reading, good_only: Any) -> list[Any]:
        """Updates that ask whether the good rows are enough, where there are bad ones and nobody has said so."""
        if not reading.problems or good_only:
            return []
        box = problems_box(reading.problems, len(reading.rows), person.language)
        return [
            *skipped(SHOWN + EDITOR_PARTS),
            gr.skip(),
            box,
            gr.skip(),
            gr.update(visible=bool(reading.rows), value=False),
            gr.skip(),
        ]

    def _done(self, person: Person, kept: Path, dataset: str, said: str) -> list[Any]:
        kept.unlink(missing_ok=True)
        note(said, person.language)
        shown = self.editing.shown(person, View(dataset, 1, Filter()))
        box = f'<div class="plain">{escape(said)}</div>'
        closed = gr.update(visible=False)
        opened = gr.update(selected="rows")
        return [*shown, *self.editing.editor.shown(None, person.language), {}, box, closed, unticked(), opened]

    # Components

    def build(self) -> None:
        self.pending = gr.State({})
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                self.file = gr.File(label=label("ui.import.drop"), height=120, elem_id="import-file")
                gr.HTML(f'<p class="who">{label("ui.import.kinds")}</p>')
                with gr.Accordion(label("ui.import.paste"), open=False):
                    self.pasted = gr.Textbox(
                        label=label("ui.import.text"),
                        placeholder=label("ui.import.text.help"),
                        lines=5,
                        max_lines=14,
                        elem_id="import-text",
                    )
                    self.paste_button = gr.Button(label("ui.import.look"), size="sm", elem_id="import-look")
            with gr.Column(scale=3, min_width=300):
                self.box = gr.HTML(elem_id="upload-box")
                with gr.Column(visible=False, elem_id="import-choices") as self.asking:
                    self._build_choices()

    def _build_choices(self) -> None:
        with gr.Row(equal_height=True):
            self.encoding = chooser(
                label=label("ui.import.encoding"),
                choices=[(one, one) for one in ENCODINGS],
                visible=False,
                min_width=120,
            )
            kinds = [(label(f"format.{one or 'any'}"), one) for one in KINDS]
            self.kind = chooser(label=label("ui.import.kind"), choices=kinds, value="", visible=False, min_width=110)
            self.her = chooser(label=label("ui.import.her"), visible=False, min_width=140, elem_id="import-her")
            self.each = gr.Checkbox(label=label("ui.import.each"), visible=False, min_width=160)
            self.persona = gr.Textbox(
                label=label("ui.import.persona"), value=self.studio.settings.persona, max_lines=1, min_width=120
            )
        with gr.Accordion(label("ui.import.mapping"), open=False, visible=False) as self.mapping, gr.Row():
            self.columns = [chooser(label=label(f"ui.import.field.{name}"), min_width=110) for name in FIELDS]
        with gr.Row(equal_height=True):
            self.name = gr.Textbox(label=label("ui.import.name"), max_lines=1, max_length=300, min_width=160)
            self.good_only = gr.Checkbox(
                label=label("ui.upload.good_only"), visible=False, min_width=160, elem_id="good-only"
            )
        with gr.Row():
            self.make_button = gr.Button(
                label("ui.import.make"), variant="primary", min_width=120, elem_id="import-make"
            )
            self.append_button = gr.Button(label("ui.import.append"), min_width=120, elem_id="import-append")
            self.drop_button = gr.Button(label("ui.upload.forget"), size="sm", min_width=80)

    @property
    def choices(self) -> list[Any]:
        return [self.encoding, self.kind, self.her, self.each, self.persona, *self.columns]

    @property
    def outputs(self) -> list[Any]:
        shown = [self.pending, self.box, self.asking, self.encoding, self.kind, self.her, self.each]
        shown.append(self.persona)
        return [*shown, *self.columns, self.mapping, self.good_only, self.name, self.file]

    def connect(self, page: Page) -> None:
        editing = self.editing
        page.on(self.file.upload, self.upload, role="owner", inputs=[self.file], outputs=self.outputs)
        page.on(self.paste_button.click, self.paste, role="owner", inputs=[self.pasted], outputs=self.outputs)
        page.on(
            [self.each.input, *(one.input for one in (self.encoding, self.kind, self.her, *self.columns))],
            self.look_again,
            role="owner",
            inputs=[self.pending, *self.choices],
            outputs=self.outputs,
        )
        done = [*editing.outputs, *editing.editor.outputs, self.pending, self.box, self.asking, self.good_only]
        done.append(editing.parts)
        page.on(
            self.make_button.click,
            self.make,
            role="owner",
            inputs=[self.pending, self.name, self.good_only, *self.choices],
            outputs=done,
        )
        page.on(
            self.append_button.click,
            self.append,
            role="owner",
            inputs=[self.pending, editing.dataset, self.good_only, *self.choices],
            outputs=done,
        )
        page.on(
            self.drop_button.click,
            self.forget,
            role="owner",
            inputs=[self.pending],
            outputs=[self.pending, self.box, self.asking, self.good_only],
        )


def unticked() -> Any:
    """Update of the box that lets bad rows be left out: who has said so of one file has not said it of the next."""
    return gr.update(value=False, visible=False)


def fault(error: AnimeAIError, name: str, language: str) -> str:
    """Why a file cannot be read; it is named as its owner named it."""
    if "path" in error.values:
        error.values["path"] = name
    return f'<div class="plain fault">{escape(error.say(language))}</div>'


def preview_box(found: Preview, name: str, language: str) -> str:
    """What a file is taken for, and its first rows."""
    kind = text(f"format.{found.format or 'rows'}", language)
    head = text("ui.import.found", language, name=name, kind=kind, count=found.count)
    notes = "".join(f"<li>{escape(one.say(language))}</li>" for one in found.notes)
    shown = "".join(
        bubbles(one, language)
        if isinstance(one, Row)
        else f'<div class="plain fault">{escape(one.say(language))}</div>'
        for one in found.rows
    )
    notes = f"<ul>{notes}</ul>" if notes else ""
    return f'<div class="preview"><b>{escape(head)}</b>{notes}<div class="first">{shown}</div></div>'


def problems_box(problems: Sequence[Any], good: int, language: str) -> str:
    """The first problems of a file, and what can be done."""
    lines = [problem.say(language) for problem in problems[:MOST_PROBLEMS]]
    if len(problems) > MOST_PROBLEMS:
        lines.append(text("ui.upload.more_problems", language, count=len(problems) - MOST_PROBLEMS))
    head = text("ui.upload.problems", language, bad=len(problems), good=good)
    return f'<div class="plain fault"><b>{escape(head)}</b>\n{escape(chr(10).join(lines))}</div>'
