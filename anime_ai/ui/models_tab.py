"""The models tab: what there is, fetching it, the base to use, a person's own. Knows neither sources nor files.

Downloads go on behind the page: it polls them, and every page sees the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.models.bases import DEFAULT, find_base, names_gguf, on_disk
from anime_ai.models.catalogue import CATALOGUE, STARTER, chat_bytes, small_chat_bytes
from anime_ai.models.conversions import Conversion
from anime_ai.models.device import Device
from anime_ai.models.engines import gguf_type
from anime_ai.models.fetching import cache
from anime_ai.models.shelf import Held
from anime_ai.models.sources import SOURCES
from anime_ai.processes import usable_memory
from anime_ai.texts import text
from anime_ai.training.estimate import planned_bytes
from anime_ai.training.recipe import Recipe
from anime_ai.ui.labels import label
from anime_ai.ui.model_cards import Needs, cards
from anime_ai.ui.page import Page, chooser, note
from anime_ai.ui.persons import Person

if TYPE_CHECKING:
    from anime_ai.studio import Studio

BUSY, IDLE = 1.0, 5.0
"""Seconds between two looks at the downloads, while there is one and else."""
ACT = """
element.addEventListener("click", (event) => {
  const found = event.target.closest("button[data-act]");
  if (found) trigger("click", { act: found.dataset.act, id: found.dataset.id });
});
"""


class ModelsTab:
    """Handlers of the tab, and its components after `build`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.shelf, self.downloads = studio.shelf, studio.downloads

    @cached_property
    def needs(self) -> dict[str, Needs]:
        """Memory of each base that the catalogue knows."""
        recipe = Recipe.from_values({}, self.studio.settings)
        processor = Device("cpu", "", 24 * 10**9, bf16=True, fp16=False)
        room = usable_memory()
        return {
            one.id: Needs(
                chat_bytes(one), small_chat_bytes(one), int(planned_bytes(one.architecture, recipe, processor)), room
            )
            for one in CATALOGUE
            if one.architecture
        }

    @property
    def base(self) -> str:
        """The base that chats and is trained on."""
        named = self.studio.settings.model_name
        return (DEFAULT if on_disk(DEFAULT) else STARTER) if named == "auto" else named

    # What the handlers answer with.

    def _seen(self) -> list[Any]:
        """What a page has to have seen: plain data, compared at every look."""
        going = [[one.id, one.state, one.done, one.total] for one in self.downloads.list()]
        now = self.studio.conversions.now
        turning = [now.base.id, now.done, now.running] if now else []
        return [going, self.base, self.shelf.changed, turning]

    def _shown(self, person: Person, asking: str = "") -> list[Any]:
        """Updates of cards, room on the disk, seen, asking, timer."""
        language = person.language
        downloads = {one.id: one for one in self.downloads.list()}
        shelf = self.shelf.list()
        made = cards(shelf, downloads, self.needs, self.base, asking, language, self._converting(shelf))
        now = self.studio.conversions.now
        busy = any(one.active for one in downloads.values()) or (now is not None and now.running)
        return [made, self._room(language), self._seen(), asking, gr.Timer(BUSY if busy else IDLE, active=True)]

    def _converting(self, shelf: Sequence[Held]) -> dict[str, Conversion | None]:
        """The bases here that could be GGUF files and are not yet, each with its conversion."""
        now = self.studio.conversions.now
        found: dict[str, Conversion | None] = {}
        for one in shelf:
            if one.entry.kind == "base" and one.present and one.entry.id != STARTER:
                base = find_base(str(one.path or one.entry.id), self.studio.settings)
                if not self.studio.conversions.ggufs.has(base, gguf_type(self.studio.settings, base)):
                    found[one.entry.id] = now if now is not None and now.base.path == base.path else None
        return found

    @staticmethod
    def _room(language: str) -> str:
        folder = cache()
        there = next((one for one in (folder, *folder.parents) if one.exists()), folder)
        free = f"{shutil.disk_usage(there).free / 1e9:.0f}"
        return f'<div class="who">{escape(text("ui.models.room", language, path=folder, free=free))}</div>'

    # Handlers.

    def arrive(self, person: Person, asking: str) -> list[Any]:
        """The opened tab: the source, then what `_shown` shows."""
        names = [(text(f"ui.models.from.{name}", person.language), name) for name in SOURCES]
        return [gr.update(choices=names, value=self.downloads.chosen), *self._shown(person, str(asking or ""))]

    def tick(self, person: Person, seen: Any, asking: str) -> list[Any]:
        """Look at the downloads; say nothing when there is nothing new."""
        if seen == self._seen():
            return [gr.skip() for _ in range(5)]
        return self._shown(person, str(asking or ""))

    def choose_source(self, person: Person, name: str) -> None:
        self.downloads.choose(str(name or ""))

    def act(self, person: Person, happened: gr.EventData, asking: str) -> list[Any]:
        """What a button of a card does."""
        data = happened._data if isinstance(happened._data, dict) else {}
        act, id = str(data.get("act") or ""), str(data.get("id") or "")
        if act == "download":
            kind = next((one.kind for one in self.downloads.list() if one.id == id), "base")
            self.downloads.start(id, kind=kind)
        elif act == "stop":
            self.downloads.stop(id)
        elif act == "use":
            self.studio.use_base(id)
            key = "ui.models.using_chat" if names_gguf(id) else "ui.models.using"
            note(text(key, person.language, name=id), person.language)
        elif act in ("convert", "unconvert"):
            self._convert(id, act == "convert")
        elif act == "delete" and asking == id:
            self._delete(id)
        return self._shown(person, id if act == "ask" else "")

    def _convert(self, id: str, begin: bool) -> None:
        """Begin to make a GGUF file of a base that is here, or end it."""
        held = next((one for one in self.shelf.list() if one.entry.id == id and one.present), None)
        if not begin:
            self.studio.conversions.cancel()
        elif held is not None:
            base = find_base(str(held.path or id), self.studio.settings)
            self.studio.conversions.start(base, gguf_type(self.studio.settings, base))

    def _delete(self, id: str) -> None:
        """Remove a model, or what has arrived of it."""
        self.downloads.discard(id)
        if any(one.entry.id == id and (one.present or one.own) for one in self.shelf.list()):
            self.studio.remove_model(id)

    def fetch(self, person: Person, id: str, kind: str) -> list[Any]:
        """Fetch a model that the catalogue does not know, by its id."""
        self.downloads.start(str(id or "").strip(), kind="embedding" if kind == "embedding" else "base")
        return [*self._shown(person), ""]

    def add(self, person: Person, path: str) -> list[Any]:
        """List a folder or a GGUF file of this machine."""
        self.shelf.add(str(path or ""))
        return [*self._shown(person), ""]

    # Components.

    def build(self, page: Page, tab: Any, demo: gr.Blocks) -> None:
        self.seen, self.asking = gr.State([]), gr.State("")
        self.timer = gr.Timer(IDLE, active=False)
        with gr.Row(equal_height=True):
            self.source = chooser(label=label("ui.models.from"), elem_id="model-source", min_width=260)
            with gr.Column(min_width=280):
                self.room = gr.HTML(elem_id="model-room")
        self.cards = gr.HTML(elem_id="shelf-models", js_on_load=ACT)
        with gr.Accordion(label("ui.models.more"), open=False, elem_id="more-models"), gr.Row():
            with gr.Column(min_width=280):
                self.id = gr.Textbox(
                    label=label("ui.models.id"), info=label("ui.models.id.help"), max_lines=1, max_length=200
                )
                kinds = [(label(f"model.kind.{kind}"), kind) for kind in ("base", "embedding")]
                self.kind = chooser(label=label("ui.models.kind"), choices=kinds, value="base")
                self.fetch_button = gr.Button(label("ui.models.download"), size="sm")
            with gr.Column(min_width=280):
                self.path = gr.Textbox(
                    label=label("ui.models.path"), info=label("ui.models.path.help"), max_lines=1, max_length=1000
                )
                self.add_button = gr.Button(label("ui.models.add"), size="sm")
        self._connect(page, tab)

    def _connect(self, page: Page, tab: Any) -> None:
        """Everything here is the owner's. Nothing is read before the tab is shown."""
        shown = [self.cards, self.room, self.seen, self.asking, self.timer]
        quiet = {"role": "owner", "quiet": True}
        page.on(tab.select, self.arrive, inputs=[self.asking], outputs=[self.source, *shown], **quiet)  # type: ignore
        page.on(self.timer.tick, self.tick, inputs=[self.seen, self.asking], outputs=shown, **quiet)  # type: ignore
        page.on(self.source.input, self.choose_source, role="owner", inputs=[self.source])
        page.on(self.cards.click, self.act, role="owner", event=True, inputs=[self.asking], outputs=shown)
        page.on(
            [self.fetch_button.click, self.id.submit],
            self.fetch,
            role="owner",
            inputs=[self.id, self.kind],
            outputs=[*shown, self.id],
        )
        page.on(
            [self.add_button.click, self.path.submit],
            self.add,
            role="owner",
            inputs=[self.path],
            outputs=[*shown, self.path],
        )

    def connect_training(self, page: Page, tab: Any, base: Any) -> None:
        """Let the form of a training begin with the base that was chosen here."""

        def preferred(person: Person, now: str) -> Any:
            named = self.studio.settings.model_name
            return named if now in ("", None, "auto") and not names_gguf(named) else gr.skip()

        page.on(tab.select, preferred, role="owner", quiet=True, inputs=[base], outputs=[base])
