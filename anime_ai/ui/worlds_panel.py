"""The panel of world books: whose they are, whether they are looked into, their entries. Knows no matching."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.texts import text
from anime_ai.ui.book_editor import BookEditor, book_changed, entry_changed, with_entry, without_entry
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, chooser
from anime_ai.ui.persona_view import CHOOSE, world_list
from anime_ai.ui.persons import Person

if TYPE_CHECKING:
    from anime_ai.persona.world_books import WorldBook
    from anime_ai.studio import Studio


class WorldsPanel:
    """Handlers of the panel, and its components after `build`. Its state is the id of the book that is open, and when
    what is shown of it was changed last."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.worlds = studio.worlds
        self.book = BookEditor("world-book")

    def shown(self, person: Person, world: str = "", entry: int = -1) -> list[Any]:
        """Updates of `outputs`."""
        known = self.worlds.list()
        found = next((one for one in known if one.id == world), None)
        everybody = (text("ui.world.everybody", person.language), "")
        names = [everybody, *((one.name, one.name) for one in self.studio.personas.list())]
        persona = found.persona if found else ""
        if persona and persona not in [name for _, name in names]:
            names.append((persona, persona))
        return [
            {"id": found.id, "updated": found.updated} if found else {},
            world_list(known, person.language, world),
            gr.update(visible=found is not None),
            gr.update(choices=names, value=persona),
            found.enabled if found else True,
            _link(found.id, person.language) if found else "",
            *self.book.shown(found.book if found else None, person.language, entry),
        ]

    def _asked(self, world: Any) -> WorldBook:
        """The book that the page has open. Raises PersonaError."""
        return self.worlds.get(str(world.get("id", "")) if isinstance(world, dict) else "")

    def _saved(self, person: Person, world: Any, book: dict[str, Any], entry: int = -1) -> list[Any]:
        """Keep what was changed of the open book. Raises PersonaError where it was changed elsewhere meanwhile: an
        entry's place would be another one's."""
        saved = self.worlds.save(self._asked(world).id, float(world.get("updated", 0)), book)
        return self.shown(person, saved.id, entry)

    # Handlers.

    def choose_world(self, person: Person, happened: gr.EventData) -> list[Any]:
        data = happened._data if isinstance(happened._data, dict) else {}
        return self.shown(person, str(data.get("world") or ""))

    def create_world(self, person: Person) -> list[Any]:
        made = self.worlds.add({"entries": []}, text("ui.world.new_name", person.language))
        return self.shown(person, made.id)

    def bind_world(self, person: Person, world: Any, persona: str | None, enabled: bool) -> list[Any]:
        known = [one.name for one in self.studio.personas.list()]
        old = self._asked(world)
        bound = str(persona or "")
        self.worlds.bind(old.id, bound if bound in ("", old.persona, *known) else old.persona, bool(enabled))
        return self.shown(person, old.id)

    def remove_world(self, person: Person, world: Any) -> list[Any]:
        """Updates of the undo button and its state, then of `outputs`."""
        found = self._asked(world)
        self.worlds.remove(found.id)
        undo = text("ui.persona.undo", person.language, name=found.name[:30])
        return [found.id, gr.update(visible=True, value=undo), *self.shown(person)]

    def undo_world(self, person: Person, removed: str) -> list[Any]:
        return ["", gr.update(visible=False), *self.shown(person, self.worlds.restore(str(removed)).id)]

    def choose_world_entry(self, person: Person, happened: gr.EventData, world: Any) -> list[Any]:
        data = happened._data if isinstance(happened._data, dict) else {}
        place = str(data.get("entry") or "")
        return self.shown(person, self._asked(world).id, int(place) if place.isdigit() else -1)

    def add_world_entry(self, person: Person, world: Any) -> list[Any]:
        book = with_entry(self._asked(world).book, person.language)
        return self._saved(person, world, book, len(book["entries"]) - 1)

    def save_world_entry(self, person: Person, world: Any, place: Any, *fields: Any) -> list[Any]:
        number = place if isinstance(place, int) else -1
        return self._saved(
            person, world, entry_changed(self._asked(world).book, number, self.book.told(fields)), number
        )

    def remove_world_entry(self, person: Person, world: Any, place: Any) -> list[Any]:
        number = place if isinstance(place, int) else -1
        return self._saved(person, world, without_entry(self._asked(world).book, number))

    def save_world(self, person: Person, world: Any, depth: Any, budget: Any, recursive: Any) -> list[Any]:
        told = {"scan_depth": depth, "token_budget": budget, "recursive_scanning": recursive}
        return self._saved(person, world, book_changed(self._asked(world).book, told))

    # Components.

    @property
    def outputs(self) -> list[Any]:
        return [self.world, self.list, self.inside, self.whose, self.enabled, self.link, *self.book.outputs]

    def build(self) -> None:
        self.world, self.removed = gr.State({}), gr.State("")
        gr.HTML(f'<div class="who">{label("ui.world.help")}</div>')
        self.undo_button = gr.Button(visible=False, size="sm")
        self.list = gr.HTML(elem_id="worlds-list", js_on_load=CHOOSE)
        self.create_button = gr.Button(label("ui.world.create"), size="sm")
        with gr.Column(visible=False) as self.inside:
            with gr.Row(equal_height=True):
                self.whose = chooser(label=label("ui.world.whose"), min_width=140)
                self.enabled = gr.Checkbox(label=label("ui.world.enabled"), min_width=110)
            with gr.Row(equal_height=True):
                self.link = gr.HTML()
                self.remove_button = gr.Button(label("ui.world.remove"), variant="stop", size="sm", min_width=90)
            self.book.build()

    def connect(self, page: Page) -> None:
        outputs, world, book = self.outputs, self.world, self.book
        undone = [self.removed, self.undo_button, *outputs]
        entry = [world, book.place]
        page.on(self.list.click, self.choose_world, role="owner", event=True, outputs=outputs)
        page.on(self.create_button.click, self.create_world, role="owner", outputs=outputs)
        for changed in (self.whose, self.enabled):
            page.on(
                changed.input,
                self.bind_world,
                role="owner",
                inputs=[world, self.whose, self.enabled],
                outputs=outputs,
            )
        page.on(self.remove_button.click, self.remove_world, role="owner", inputs=[world], outputs=undone)
        page.on(self.undo_button.click, self.undo_world, role="owner", inputs=[self.removed], outputs=undone)
        page.on(book.list.click, self.choose_world_entry, role="owner", event=True, inputs=[world], outputs=outputs)
        page.on(book.add_button.click, self.add_world_entry, role="owner", inputs=[world], outputs=outputs)
        fields = [*entry, *book.fields]
        page.on(book.save_button.click, self.save_world_entry, role="owner", inputs=fields, outputs=outputs)
        page.on(book.remove_button.click, self.remove_world_entry, role="owner", inputs=entry, outputs=outputs)
        told = [world, *book.numbers, book.recursive]
        page.on(book.book_button.click, self.save_world, role="owner", inputs=told, outputs=outputs)


def _link(world: str, language: str) -> str:
    return f'<a class="get" href="world/{escape(world)}.json" download>{escape(text("ui.world.get", language))}</a>'
