"""The persona tab: cards in and out, who is published, a card and its lorebook edited. Knows no file format."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.dataset.card_rows import card_rows
from anime_ai.errors import AnimeAIError, PersonaError
from anime_ai.persona.files import SUFFIXES, Found, read
from anime_ai.persona.sprites import sprites_of
from anime_ai.publishing.bundles import is_bundle
from anime_ai.texts import text
from anime_ai.ui.book_editor import BookEditor, book_changed, entry_changed, with_entry, without_entry
from anime_ai.ui.card_editor import CardEditor
from anime_ai.ui.card_routes import downloads, who_asks
from anime_ai.ui.faces_panel import FacesPanel
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, chooser, held, note
from anime_ai.ui.persona_view import CHOOSE, bundle_lines, persona_head, persona_list
from anime_ai.ui.persons import Person
from anime_ai.ui.uploads import read_once
from anime_ai.ui.worlds_panel import WorldsPanel
from anime_ai.vision.pictures import SUFFIXES as PICTURES

if TYPE_CHECKING:
    from anime_ai.persona.cards import Persona
    from anime_ai.studio import Studio

OWNED = 5
"""Components that a persona of one's own has beyond one that ships."""
MOST_MENDS = 12
"""Lines of what was mended that are shown for one file."""


class PersonaTab:
    """Handlers of the tab, and its components after `build`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.library = studio.personas
        self.editor = CardEditor(studio)
        self.book = BookEditor("card-book")
        self.worlds = WorldsPanel(studio)
        self.faces = FacesPanel(studio, self._asked, self._own)

    # What the handlers answer with.

    def _opened(self, person: Person, persona_id: str, entry: int = -1) -> list[Any]:
        """Updates of everything that shows a persona: see `opened`."""
        found = next((one for one in self.library.list() if one.id == persona_id), None) or self.library.list()[0]
        own = not found.shipped
        card = found.card
        rows = len(card_rows(found))
        datasets = [(one.name, one.id) for one in self.studio.datasets.list()]
        return [
            {"id": found.id, "version": found.version},
            persona_list(self.library.list(), person.language, found.id),
            persona_head(found, person.language),
            downloads(found, person.language),
            *(gr.update(visible=own) for _ in range(OWNED)),
            gr.update(value=found.published, interactive=own),
            gr.update(value=found.name, interactive=own),
            *self.editor.shown(found),
            *self.book.shown(card.book if card else None, person.language, entry),
            gr.update(visible=own),
            gr.update(choices=datasets, value=datasets[0][1] if datasets else None),
            escape(text("ui.rows.count", person.language, count=rows)),
            self._revisions(found, person),
            *self.faces.shown(found, person.language),
            *self._bin(),
        ]

    def _bin(self) -> list[Any]:
        """Updates of the bin and of the field of what lies in it."""
        removed = [(one.name, one.id) for one in self.library.removed()[:100]]
        return [gr.update(visible=bool(removed)), gr.update(choices=removed, value=None)]

    def _revisions(self, found: Persona, person: Person) -> Any:
        kept = self.library.revisions(found.id) if not found.shipped else []
        named = [(text("ui.persona.revision", person.language, number=one.number), one.number) for one in kept[:30]]
        return gr.update(choices=named, value=None)

    def _asked(self, state: Any) -> Persona:
        """The persona that the page has open. Raises PersonaError."""
        return self.library.get(str(state.get("id", "")) if isinstance(state, dict) else "")

    def _own(self, state: Any) -> Persona:
        """Like `_asked`, for a change. Raises PersonaError for one that ships."""
        found = self._asked(state)
        if found.shipped:
            raise PersonaError("persona.shipped", name=found.name)
        return found

    # Handlers.

    def look_over(self, person: Person, state: Any) -> list[Any]:
        shown = str(state.get("id", "")) if isinstance(state, dict) else ""
        return [*self._opened(person, shown), *self.worlds.shown(person)]

    def choose_card(self, person: Person, happened: gr.EventData) -> list[Any]:
        data = happened._data if isinstance(happened._data, dict) else {}
        return self._opened(person, str(data.get("persona") or ""))

    def import_files(self, person: Person, files: Sequence[str] | None, state: Any) -> list[Any]:
        """Cards and world books, each by itself: updates of the files, what was said of them, undo, and the rest."""
        shown = str(state.get("id", "")) if isinstance(state, dict) else ""
        paths = [Path(str(file)) for file in files or ()]
        with read_once(*paths):
            lines, shown = self._taken(person, paths, shown)
        told = f'<ul class="progress">{"".join(lines)}</ul>' if lines else ""
        return [None, told, *self._opened(person, shown), *self.worlds.shown(person)]

    def _taken(self, person: Person, paths: Sequence[Path], shown: str) -> tuple[list[str], str]:
        """What became of each file, a line or more, and the persona that is open then."""
        lines = []
        for path in paths:
            try:
                if is_bundle(path):
                    taken = self.studio.bundles.take(path)
                    shown = taken.persona.id
                    lines += bundle_lines(taken, person.language)
                    continue
                found = read(path.read_bytes())
                if found.card is None:
                    assert found.world is not None
                    named = self.studio.worlds.add(found.world, path.stem).name
                elif same := self.library.same(found.card):
                    shown = same.id
                    told = text("ui.persona.same", person.language, file=path.name, name=same.name)
                    lines.append(f"<li>{escape(told)}</li>")
                    continue
                else:
                    persona = self.library.add(found, path.name)
                    shown, named = persona.id, persona.name
            except AnimeAIError as error:
                said = text("ui.persona.failed", person.language, file=path.name, why=error.say(person.language))
                lines.append(f'<li class="bad">{escape(said)}</li>')
                continue
            lines.append(f'<li class="good">{escape(text("ui.persona.imported", person.language, name=named))}</li>')
            lines += [f"<li>{escape(one.say(person.language))}</li>" for one in found.mends[:MOST_MENDS]]
            if found.card is not None:
                lines += self._faces_told(found, persona, person.language)
            if len(found.mends) > MOST_MENDS:
                more = text("ui.persona.more_mends", person.language, count=len(found.mends) - MOST_MENDS)
                lines.append(f"<li>{escape(more)}</li>")
        return lines, shown

    @staticmethod
    def _faces_told(found: Found, persona: Persona, language: str) -> list[str]:
        """What a card's faces came to."""
        assert found.card is not None
        brought, kept = len(sprites_of(found.card, found.picture, found.files)), len(persona.sprites)
        told = [f"<li>{escape(text('ui.faces.came', language, count=kept))}</li>"] if kept else []
        if brought > kept:
            told.append(f'<li class="bad">{escape(text("ui.faces.broken", language, count=brought - kept))}</li>')
        return told

    def create_persona(self, person: Person) -> list[Any]:
        return self._opened(person, self.library.create(text("ui.persona.new_name", person.language)).id)

    def copy_persona(self, person: Person, state: Any) -> list[Any]:
        return self._opened(person, self.library.copy(self._asked(state).id).id)

    def save_card(self, person: Person, state: Any, name: str, *fields: Any) -> list[Any]:
        found = self._own(state)
        card = self.editor.card(found, fields)
        if " ".join(str(name or "").split()) not in ("", found.name):
            self.library.rename(found.id, str(name))
        self.library.save(found.id, int(state.get("version", 0)), card)
        note(text("ui.persona.saved", person.language), person.language)
        return self._opened(person, found.id)

    def publish_card(self, person: Person, state: Any, published: bool) -> list[Any]:
        return self._opened(person, self.library.publish(self._own(state).id, bool(published)).id)

    def set_picture(self, person: Person, state: Any, file: Any) -> list[Any]:
        found = self._own(state)
        with read_once(Path(str(file))):
            self.library.set_picture(found.id, Path(str(file)).read_bytes())
        return self._opened(person, found.id)

    def restore_revision(self, person: Person, state: Any, number: Any) -> list[Any]:
        found = self._own(state)
        if not isinstance(number, (int, float)):
            raise PersonaError("persona.no_revision")
        return self._opened(person, self.library.restore_revision(found.id, int(number)).id)

    def remove_persona(self, person: Person, state: Any) -> list[Any]:
        """Take a persona away: updates of the undo button and its state, then of the rest."""
        found = self._own(state)
        self.library.remove(found.id)
        undo = text("ui.persona.undo", person.language, name=found.name[:30])
        return [found.id, gr.update(visible=True, value=undo), *self._opened(person, "")]

    def bring_back(self, person: Person, removed: str) -> list[Any]:
        return ["", gr.update(visible=False), *self._opened(person, self.library.restore(str(removed or "")).id)]

    # The card's lorebook.

    def choose_entry(self, person: Person, happened: gr.EventData, state: Any) -> list[Any]:
        data = happened._data if isinstance(happened._data, dict) else {}
        place = str(data.get("entry") or "")
        card = self._asked(state).card
        return self.book.shown(card.book if card else None, person.language, int(place) if place.isdigit() else -1)

    def _book_saved(self, person: Person, state: Any, book: dict[str, Any], entry: int) -> list[Any]:
        found = self._own(state)
        assert found.card is not None
        saved = self.library.save(found.id, int(state.get("version", 0)), found.card.changed(character_book=book))
        assert saved.card is not None
        shown = {"id": saved.id, "version": saved.version}
        return [shown, *self.book.shown(saved.card.book, person.language, entry), self._revisions(saved, person)]

    def add_entry(self, person: Person, state: Any) -> list[Any]:
        card = self._own(state).card
        assert card is not None
        book = with_entry(card.book, person.language)
        return self._book_saved(person, state, book, len(book["entries"]) - 1)

    def save_entry(self, person: Person, state: Any, place: Any, *fields: Any) -> list[Any]:
        card = self._own(state).card
        book = card.book if card else None
        number = place if isinstance(place, int) else -1
        changed = entry_changed(book or {}, number, self.book.told(fields))
        note(text("ui.persona.saved", person.language), person.language)
        return self._book_saved(person, state, changed, number)

    def remove_entry(self, person: Person, state: Any, place: Any) -> list[Any]:
        card = self._own(state).card
        book = card.book if card else None
        return self._book_saved(person, state, without_entry(book or {}, place if isinstance(place, int) else -1), -1)

    def save_book(self, person: Person, state: Any, place: Any, depth: Any, budget: Any, recursive: Any) -> list[Any]:
        card = self._own(state).card
        told = {"scan_depth": depth, "token_budget": budget, "recursive_scanning": recursive}
        book = book_changed((card.book if card else None) or {"extensions": {}, "entries": []}, told)
        note(text("ui.persona.saved", person.language), person.language)
        return self._book_saved(person, state, book, place if isinstance(place, int) else -1)

    # What is made of a card.

    def preview_prompt(self, person: Person, state: Any, said: str) -> str:
        return self.editor.preview(self._asked(state), str(said or "")[:2000], person.language)

    def add_rows(self, person: Person, state: Any, dataset: str) -> None:
        """The card's dialogues and greetings as rows of a dataset, one step that can be undone there."""
        found = self._asked(state)
        rows = card_rows(found)
        if not rows:
            raise PersonaError("persona.no_rows", name=found.name)
        info = self.studio.datasets.find(str(dataset or ""))
        self.studio.datasets.extend(info.id, rows, source=f"card: {found.name}"[:300])
        told = text("ui.rows.added", person.language, count=len(rows), dataset=info.name)
        note(told, person.language)

    # Components.

    def build(self, page: Page, tab: Any, demo: gr.Blocks) -> None:
        self.state, self.removed = held({}), held("")
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                self._build_list()
            with gr.Column(scale=3, min_width=300):
                self._build_persona()
        self._connect(page, tab)

    def _build_list(self) -> None:
        self.files = gr.File(
            label=label("ui.persona.drop"),
            file_count="multiple",
            file_types=list(SUFFIXES),
            height=132,
            elem_id="card-drop",
        )
        self.told = gr.HTML(elem_id="card-told")
        self.undo_button = gr.Button(visible=False, size="sm", elem_id="persona-undo")
        self.list = gr.HTML(elem_id="personas-list", js_on_load=CHOOSE)
        self.create_button = gr.Button(label("ui.persona.create"), size="sm")
        with gr.Accordion(label("ui.world"), open=False):
            self.worlds.build()
        with gr.Accordion(label("ui.persona.bin"), open=False, visible=False) as self.bin:
            with gr.Row(equal_height=True):
                self.binned = chooser(show_label=False, container=False, scale=3, min_width=140)
                self.back_button = gr.Button(label("ui.persona.back"), size="sm", min_width=90)

    def _build_persona(self) -> None:
        self.head = gr.HTML(elem_id="persona-head")
        with gr.Row(equal_height=True, elem_id="persona-does"):
            self.talk_button = gr.Button(
                label("ui.persona.talk"), variant="primary", size="sm", min_width=90, elem_id="persona-talk"
            )
            self.export = gr.HTML(elem_id="persona-export")
            self.copy_button = gr.Button(label("ui.persona.copy"), size="sm", min_width=80, elem_id="persona-copy")
            self.picture = gr.UploadButton(
                label("ui.persona.picture"), file_types=list(PICTURES), size="sm", min_width=80
            )
            self.remove_button = gr.Button(
                label("ui.persona.remove"), variant="stop", size="sm", min_width=80, elem_id="persona-remove"
            )
        self.published = gr.Checkbox(label=label("ui.persona.publish"), elem_id="persona-published")
        with gr.Tabs(elem_id="persona-parts", overflow_behavior="wrap"):
            with gr.Tab(label("ui.persona.card"), id="card"):
                self.name = gr.Textbox(
                    label=label("ui.persona.name"), info=label("ui.persona.name.help"), max_lines=1, max_length=80
                )
                self.editor.build()
                self.save_button = gr.Button(label("ui.persona.save"), variant="primary", elem_id="persona-save")
            with gr.Tab(label("ui.faces"), id="faces"):
                self.faces.build()
            with gr.Tab(label("ui.book"), id="book"):
                self.book.build()
            with gr.Tab(label("ui.preview"), id="preview"):
                self._build_preview()
            with gr.Tab(label("ui.rows"), id="dialogues"):
                self._build_rows()
            with gr.Tab(label("ui.persona.revisions"), id="revisions"):
                self.revision = chooser(label=label("ui.persona.revisions"), info=label("ui.persona.revisions.help"))
                self.revision_button = gr.Button(label("ui.persona.restore"), size="sm")

    def _build_preview(self) -> None:
        with gr.Row(equal_height=True):
            self.said = gr.Textbox(
                show_label=False,
                label=label("ui.preview.said"),
                placeholder=label("ui.preview.said.help"),
                max_lines=1,
                container=False,
                scale=4,
                min_width=160,
                elem_id="preview-said",
            )
            self.preview_button = gr.Button(label("ui.preview.show"), size="sm", min_width=90, elem_id="preview-show")
        self.prompt = gr.HTML(elem_id="persona-prompt")

    def _build_rows(self) -> None:
        self.count = gr.HTML(elem_id="card-rows")
        with gr.Row(equal_height=True):
            self.dataset = chooser(label=label("ui.rows.dataset"), scale=3, min_width=160)
            self.rows_button = gr.Button(label("ui.rows.add"), min_width=120, elem_id="card-rows-add")

    @property
    def owned(self) -> list[Any]:
        """What only a persona of one's own has: `OWNED` of them."""
        return [self.picture, self.remove_button, self.save_button, self.book.add_button, self.book.book_button]

    @property
    def opened(self) -> list[Any]:
        """What shows a persona."""
        book = self.book
        return [
            *(self.state, self.list, self.head, self.export, *self.owned, self.published, self.name),
            *(*self.editor.fields, *book.outputs, book.save_button, self.dataset, self.count, self.revision),
            *(*self.faces.outputs, self.bin, self.binned),
        ]

    def _connect(self, page: Page, tab: Any) -> None:
        opened, state = self.opened, self.state
        worlds = self.worlds.outputs
        page.on(tab.select, self.look_over, role="owner", quiet=True, inputs=[state], outputs=[*opened, *worlds])
        page.on(self.list.click, self.choose_card, role="owner", event=True, outputs=opened)
        page.on(
            self.files.upload,
            self.import_files,
            role="owner",
            inputs=[self.files, state],
            outputs=[self.files, self.told, *opened, *worlds],
        )
        page.on(self.create_button.click, self.create_persona, role="owner", outputs=opened)
        page.on(self.copy_button.click, self.copy_persona, role="owner", inputs=[state], outputs=opened)
        saved = [state, self.name, *self.editor.fields]
        page.on(self.save_button.click, self.save_card, role="owner", inputs=saved, outputs=opened)
        page.on(self.published.input, self.publish_card, role="owner", inputs=[state, self.published], outputs=opened)
        page.on(self.picture.upload, self.set_picture, role="owner", inputs=[state, self.picture], outputs=opened)
        undone = [self.removed, self.undo_button, *opened]
        page.on(self.remove_button.click, self.remove_persona, role="owner", inputs=[state], outputs=undone)
        page.on(self.undo_button.click, self.bring_back, role="owner", inputs=[self.removed], outputs=undone)
        page.on(self.back_button.click, self.bring_back, role="owner", inputs=[self.binned], outputs=undone)
        page.on(
            self.revision_button.click,
            self.restore_revision,
            role="owner",
            inputs=[state, self.revision],
            outputs=opened,
        )
        page.on(
            [self.preview_button.click, self.said.submit],
            self.preview_prompt,
            role="owner",
            inputs=[state, self.said],
            outputs=[self.prompt],
        )
        page.on(self.rows_button.click, self.add_rows, role="owner", inputs=[state, self.dataset])
        self._connect_book(page)
        self.faces.connect(page, state)
        self.worlds.connect(page)

    def _connect_book(self, page: Page) -> None:
        book, state = self.book, self.state
        saved = [state, *book.outputs, self.revision]
        entry = [state, book.place]
        page.on(book.list.click, self.choose_entry, role="owner", event=True, inputs=[state], outputs=book.outputs)
        page.on(book.add_button.click, self.add_entry, role="owner", inputs=[state], outputs=saved)
        page.on(book.save_button.click, self.save_entry, role="owner", inputs=[*entry, *book.fields], outputs=saved)
        page.on(book.remove_button.click, self.remove_entry, role="owner", inputs=entry, outputs=saved)
        told = [*entry, *book.numbers, book.recursive]
        page.on(book.book_button.click, self.save_book, role="owner", inputs=told, outputs=saved)

    def connect_chat(self, page: Page, chat: Any, chat_tab: Any, tabs: gr.Tabs) -> None:
        """The way to a talk with a persona, and a chat that offers those who have come meanwhile."""

        def talk_to(person: Person, state: Any) -> list[Any]:
            found = self._asked(state)
            return [*chat.choose_persona(person, found.name), gr.Tabs(selected="chat")]

        def offer_personas(person: Person, persona: str) -> Any:
            if not persona:  # the page is only being loaded, and will be told
                return gr.skip()
            known = self.library.list(who_asks(person))
            return gr.update(choices=[(chat.called(one), one.name) for one in known], value=persona)

        page.on(self.talk_button.click, talk_to, role="owner", inputs=[self.state], outputs=[*chat.opened, tabs])
        page.on(chat_tab.select, offer_personas, role="visitor", inputs=[chat.persona], outputs=[chat.persona])
