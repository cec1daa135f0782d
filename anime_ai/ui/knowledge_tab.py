"""The knowledge tab: bases, documents, a document's chunks, a search that shows its reasons. Knows no index.

A visitor may read and search; what changes something is the owner's.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import wait
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.errors import AnimeAIError, KnowledgeError, PersonaError
from anime_ai.knowledge.embedding import OFFERED, folder_of
from anime_ai.knowledge.parsing import READERS
from anime_ai.models.hub import is_hub_id
from anime_ai.texts import text
from anime_ai.ui.card_routes import who_asks
from anime_ai.ui.documents import chunk_list, document_list, results
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, chooser, note
from anime_ai.ui.persons import Person
from anime_ai.ui.uploads import discard, read_once

if TYPE_CHECKING:
    from anime_ai.knowledge.service import Added
    from anime_ai.studio import Studio

MOST_RESULTS = 8
MOST_ASKED = 1_000
POLL_S = 1.0
LISTED_AT_ONCE = 20
"""Files of an upload up to which the list of documents is drawn after each."""
CHOOSE = """
const choose = (event) => {
  const found = event.target.closest("[data-document],[data-chunk]");
  if (found) trigger("click", { document: found.dataset.document || "", chunk: found.dataset.chunk || "" });
};
element.addEventListener("click", choose);
element.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.isComposing) choose(event); });
"""
OPEN = """
const open = () => {
  const chunk = window.animeOpen;
  window.animeOpen = "";
  if (chunk) trigger("click", { document: "", chunk });
};
window.addEventListener("anime:open", open);
setTimeout(open, 200);
"""
"""A citation anywhere on the page asks for its place in this way; the page's head says it. A tab that was never shown
is built only now, and finds what was asked for meanwhile."""
SHOW = (
    CHOOSE
    + """
new MutationObserver(() => element.querySelector(".chosen")?.scrollIntoView({ block: "center" }))
  .observe(element, { childList: true, subtree: true });
"""
)
"""The chosen chunk is brought into view whenever the list is drawn."""


class KnowledgeTab:
    """Handlers of the tab, and its components after `build`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.library = studio.knowledge.library
        self._adding: dict[str, set[threading.Event]] = {}

    # What the handlers answer with.

    def _shown(self, person: Person, base: str, document: str = "") -> list[Any]:
        """Updates of base, about, questions to try, documents."""
        bases = self.library.bases(person.id)
        chosen = next((one for one in bases if one.id == base), bases[0] if bases else None)
        if chosen is None:
            empty = f'<p class="empty">{escape(text("ui.knowledge.no_base", person.language))}</p>'
            return [gr.update(choices=[], value=None), "", gr.update(samples=[]), empty]
        names = [(" · ".join(filter(None, (one.name, one.persona, str(one.documents)))), one.id) for one in bases]
        about = f'<div class="who">{escape(chosen.about)}</div>' if chosen.about else ""
        listed = document_list(self.library.documents(chosen.id, person.id), person.language, document)
        samples = [[question] for question in chosen.questions]
        return [gr.update(choices=names, value=chosen.id), about, gr.update(samples=samples), listed]

    def _opened(self, person: Person, document: str, chunk: str = "") -> list[Any]:
        """Updates of chosen document, its head, its chunks, chosen chunk, the editor's text, its row."""
        info = self.library.document(document, person.id)
        chunks = self.library.chunks(document, person.id)
        chosen = next((one for one in chunks if one.id == chunk), None)
        head = text("ui.knowledge.document", person.language, name=info.title, count=info.chunks, size=info.characters)
        return [
            document,
            f'<div class="who"><b>{escape(head)}</b></div>',
            chunk_list(chunks, self.library.text(document, person.id), person.language, chunk),
            chunk if chosen else "",
            chosen.text if chosen else "",
            gr.update(visible=bool(chosen) and person.is_owner),
        ]

    @staticmethod
    def _closed(language: str) -> list[Any]:
        empty = f'<p class="empty">{escape(text("ui.knowledge.choose", language))}</p>'
        return ["", "", empty, "", "", gr.update(visible=False)]

    # Handlers.

    def arrive(self, person: Person, base: str | None) -> list[Any]:
        """What changes something is shown to the owner alone; the guard refuses it to others anyway."""
        owned = gr.update(visible=person.is_owner)
        names = [persona.name for persona in self.studio.personas.list(who_asks(person))]
        everybody = (text("ui.knowledge.everybody", person.language), "")
        whose = gr.update(choices=[everybody, *((name, name) for name in names)], value="")
        return [*self._shown(person, str(base or "")), owned, owned, self._embedding(person.language), whose]

    def choose_base(self, person: Person, base: str) -> list[Any]:
        return [*self._shown(person, str(base)), *self._closed(person.language)]

    def create(self, person: Person, name: str, private: bool, persona: str | None) -> list[Any]:
        """A new base: for all or for the owner alone, asked by every character or by one."""
        made = self.library.create(str(name or ""), person.id if private else "", self._known(persona))
        note(text("ui.knowledge.created", person.language), person.language)
        return [*self._shown(person, made), *self._closed(person.language), ""]

    def import_book(self, person: Person, file: str | None, private: bool, persona: str | None) -> list[Any]:
        """A base of a lorebook, for whom the form says."""
        if not file:
            raise KnowledgeError("knowledge.no_lorebook", name="—")
        whose = self._known(persona)
        with read_once(Path(file)):
            made = self.studio.knowledge.import_book(Path(file), Path(file).name, person.id if private else "", whose)
        note(text("ui.knowledge.created", person.language), person.language)
        return [*self._shown(person, made), *self._closed(person.language), None]

    def _known(self, persona: str | None) -> str:
        """A persona's name, "" for all. Raises PersonaError for one that is not there."""
        known = [one.name for one in self.studio.personas.list()]
        if persona and persona not in known:
            raise PersonaError("persona.unknown", name=str(persona)[:40], known="、".join(known))
        return str(persona or "")

    def _embedding(self, language: str) -> Any:
        """Update of the embedding's field: which is used, and whether it was tried at all."""
        semantic = self.studio.knowledge.semantic
        name = semantic.dense.embedding.name
        info = text("ui.knowledge.embedding.help", language)
        if semantic.untried:
            info = text("ui.knowledge.untried", language, name=name)
        return gr.update(value=name, info=info)

    def use(self, person: Person, name: str) -> Iterator[list[Any]]:
        """Switch the embedding: updates of its field and the progress. The old one answers until then, and the switch
        goes on when the page is closed."""
        name = str(name or "").strip()
        if is_hub_id(name) and folder_of(name) is None:
            self.studio.downloads.start(name, kind="embedding")
            for now in self.studio.downloads.watch(name, POLL_S):
                got = min(99, now.done * 100 // now.total) if now.total else 0
                said = text("ui.knowledge.fetching", person.language, name=name, percent=got)
                yield [gr.skip(), f'<ul class="progress"><li>{escape(said)}</li></ul>']
        done = self.studio.knowledge.semantic.switch(name)
        said = text("ui.knowledge.trying", person.language, name=name)
        yield [gr.skip(), f'<ul class="progress"><li>{escape(said)}</li></ul>']
        wait([done])
        try:
            dense = done.result()
        except Exception:
            yield [self._embedding(person.language), ""]
            raise
        key = "ui.knowledge.helps" if dense.trust > 0 else "ui.knowledge.helps_not"
        said = escape(text(key, person.language, name=dense.embedding.name, trust=dense.trust))
        yield [self._embedding(person.language), f'<ul class="progress"><li>{said}</li></ul>']

    def remove_base(self, person: Person, base: str) -> list[Any]:
        self.studio.knowledge.remove_base(str(base), person.id)
        return [*self._shown(person, ""), *self._closed(person.language)]

    def upload(self, person: Person, files: Sequence[str] | None, base: str) -> Iterator[list[Any]]:
        """Read the files one after the other: updates of progress, stop button, files, then of `_shown`."""
        still = [gr.skip() for _ in range(4)]
        paths = [Path(file) for file in files or ()]
        stop = threading.Event()
        self._adding.setdefault(person.session, set()).add(stop)
        done: list[Added] = []
        try:
            yield [self._progress(done, paths, person), gr.update(visible=True), gr.skip(), *still]
            for one in self.studio.knowledge.add(str(base or ""), paths, person.id, stop):
                done.append(one)
                shown = self._shown(person, str(base)) if len(done) <= LISTED_AT_ONCE else still
                yield [self._progress(done, paths, person), gr.skip(), gr.skip(), *shown]
        except Exception:
            yield [self._progress(done, paths, person, over=True), gr.update(visible=False), None, *still]
            raise
        finally:
            self._adding[person.session].discard(stop)
            discard(paths)
        told = self._progress(done, paths, person, over=True)
        yield [told, gr.update(visible=False), None, *self._shown(person, str(base))]

    def stop(self, person: Person) -> None:
        for stop in tuple(self._adding.get(person.session, ())):
            stop.set()

    def paste(self, person: Person, base: str, name: str, pasted: str) -> list[Any]:
        name = str(name or "").strip() or " ".join(str(pasted or "").split())[:20]
        made = self.studio.knowledge.paste(str(base or ""), name, str(pasted or ""), person.id)
        return [*self._shown(person, str(base), made), *self._opened(person, made), "", ""]

    def choose(self, person: Person, happened: gr.EventData, base: str) -> list[Any]:
        """Open what was clicked: a document, or a chunk in its document."""
        data = happened._data if isinstance(happened._data, dict) else {}
        chunk, document = str(data.get("chunk") or ""), str(data.get("document") or "")
        if chunk:
            document = self.library.chunk(chunk, person.id).document_id
        info = self.library.document(document, person.id)
        return [*self._shown(person, info.base_id, document), *self._opened(person, document, chunk)]

    def remove(self, person: Person, base: str, document: str) -> list[Any]:
        self.library.remove(str(document), person.id)
        return [*self._shown(person, str(base)), *self._closed(person.language)]

    def edit(self, person: Person, document: str, chunk: str, changed: str) -> list[Any]:
        made = self.library.edit(str(chunk), str(changed or ""), person.id)
        note(text("ui.knowledge.edited", person.language), person.language)
        return self._opened(person, str(document), made)

    def switch(self, person: Person, document: str, chunk: str) -> list[Any]:
        stored = self.library.chunk(str(chunk), person.id)
        self.library.switch(stored.id, stored.off, person.id)
        return self._opened(person, str(document), stored.id)

    def search(self, person: Person, question: str, base: str) -> str:
        asked = str(question or "").strip()
        if not asked:
            return ""
        if len(asked) > MOST_ASKED:
            raise AnimeAIError("ui.too_long", length=len(asked), most=MOST_ASKED)
        base_id = self.library.base(str(base or ""), person.id).id
        found = self.studio.knowledge.search(asked, [base_id], MOST_RESULTS)
        return results(found, asked, person.language)

    def try_out(self, person: Person, sample: Any, base: str) -> list[Any]:
        question = str(sample[0] if isinstance(sample, list) and sample else sample or "")
        return [question, self.search(person, question, base)]

    def _progress(self, done: Sequence[Added], paths: Sequence[Path], person: Person, over: bool = False) -> str:
        lines = []
        for one in done:
            if one.error is not None:
                why = one.error.say(person.language)
                kind, said = "bad", text("ui.knowledge.failed", person.language, name=one.name, why=why)
            else:
                key = "ui.knowledge.unchanged" if one.unchanged else "ui.knowledge.added"
                kind, said = "good", text(key, person.language, name=one.name)
            lines.append(f'<li class="{kind}">{escape(said)}</li>')
        if not over:
            lines.append(f"<li>{escape(text('ui.knowledge.reading', person.language, count=len(paths)))}</li>")
        return f'<ul class="progress">{"".join(lines)}</ul>' if lines else ""

    # Components.

    def build(self, page: Page, tab: Any, demo: gr.Blocks) -> None:
        self.document, self.chunk = gr.State(""), gr.State("")
        with gr.Row(equal_height=True):
            self.base = chooser(label=label("ui.knowledge.base"), scale=4, min_width=180, elem_id="base")
        self.about = gr.HTML()
        self.opener = gr.HTML(elem_id="opener", js_on_load=OPEN)
        with gr.Tabs():
            with gr.Tab(label("ui.knowledge.documents"), id="documents"):
                self._build_documents()
            with gr.Tab(label("ui.knowledge.search"), id="search"):
                self._build_search()
        self._connect(page, tab)

    def _build_documents(self) -> None:
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                with gr.Column(elem_id="adding") as self.adding:
                    self.files = gr.File(
                        label=label("ui.knowledge.drop"),
                        file_count="multiple",
                        file_types=[*sorted(READERS), ".zip"],
                        height=132,
                        elem_id="drop",
                    )
                    self.folder = gr.UploadButton(
                        label("ui.knowledge.folder"), file_count="directory", size="sm", elem_id="folder"
                    )
                    self.kinds = gr.HTML(f'<div class="who">{label("ui.knowledge.kinds")}</div>')
                    self.progress = gr.HTML(elem_id="progress")
                    self.stop_button = gr.Button(label("ui.knowledge.stop"), visible=False, size="sm")
                    with gr.Accordion(label("ui.knowledge.paste"), open=False):
                        self.name = gr.Textbox(label=label("ui.knowledge.name"), max_lines=1, max_length=300)
                        self.pasted = gr.Textbox(label=label("ui.knowledge.text"), lines=4, max_lines=12)
                        self.paste_button = gr.Button(label("ui.knowledge.keep"), size="sm")
                self.documents = gr.HTML(elem_id="documents-list", js_on_load=CHOOSE)
                with gr.Accordion(label("ui.knowledge.bases"), open=False) as self.managing:
                    self.fresh_name = gr.Textbox(
                        label=label("ui.knowledge.base_name"), max_lines=1, max_length=300, elem_id="base-name"
                    )
                    self.private = gr.Checkbox(label=label("ui.knowledge.private"), value=False)
                    self.whose = chooser(label=label("ui.knowledge.whose"))
                    with gr.Row():
                        self.create_button = gr.Button(label("ui.knowledge.create"), size="sm")
                        self.remove_base_button = gr.Button(
                            label("ui.knowledge.remove_base"), variant="stop", size="sm"
                        )
                    self.book = gr.UploadButton(
                        label("ui.knowledge.book"), file_types=[".json"], size="sm", elem_id="book"
                    )
                    gr.HTML(f'<div class="who">{label("ui.knowledge.book.help")}</div>')
                    self.embedding = gr.Dropdown(
                        label=label("ui.knowledge.embedding"),
                        info=label("ui.knowledge.embedding.help"),
                        choices=list(OFFERED),
                        value=self.studio.knowledge.semantic.dense.embedding.name,
                        allow_custom_value=True,
                    )
                    self.use_button = gr.Button(label("ui.knowledge.use"), size="sm")
            with gr.Column(scale=3, min_width=300):
                self.head = gr.HTML()
                self.chunks = gr.HTML(elem_id="chunks", js_on_load=SHOW)
                with gr.Group(visible=False, elem_id="chunk-editor") as self.editor:
                    self.text = gr.Textbox(label=label("ui.knowledge.chunk"), lines=4, max_lines=12)
                    with gr.Row():
                        self.edit_button = gr.Button(label("ui.knowledge.edit"), variant="primary", size="sm")
                        self.switch_button = gr.Button(label("ui.knowledge.switch"), size="sm")
                        self.remove_button = gr.Button(label("ui.knowledge.remove"), variant="stop", size="sm")

    def _build_search(self) -> None:
        with gr.Row(equal_height=True):
            self.question = gr.Textbox(
                show_label=False,
                label=label("ui.knowledge.question"),
                placeholder=label("ui.knowledge.question.help"),
                max_lines=1,
                container=False,
                scale=8,
                elem_id="search-question",
            )
            self.search_button = gr.Button(label("ui.knowledge.find"), variant="primary", scale=1, min_width=84)
        self.samples = gr.Dataset(
            components=[self.question], samples=[], label=label("ui.knowledge.try"), show_label=True, elem_id="try"
        )
        self.results = gr.HTML(elem_id="results", js_on_load=CHOOSE)

    def _connect(self, page: Page, tab: Any) -> None:
        """What everybody may do: look, and search. Nothing is read before the tab is shown."""
        shown = [self.base, self.about, self.samples, self.documents]
        opened = [self.document, self.head, self.chunks, self.chunk, self.text, self.editor]
        arrived = [*shown, self.adding, self.managing, self.embedding, self.whose]
        both = [*shown, *opened]
        page.on(tab.select, self.arrive, role="visitor", inputs=[self.base], outputs=arrived)
        page.on(self.base.input, self.choose_base, role="visitor", inputs=[self.base], outputs=both)
        for clicked in (self.documents, self.chunks, self.results, self.opener):
            page.on(clicked.click, self.choose, role="visitor", event=True, inputs=[self.base], outputs=both)
        page.on(
            [self.question.submit, self.search_button.click],
            self.search,
            role="visitor",
            inputs=[self.question, self.base],
            outputs=[self.results],
        )
        page.on(
            self.samples.click,
            self.try_out,
            role="visitor",
            inputs=[self.samples, self.base],
            outputs=[self.question, self.results],
        )
        self._connect_changes(page, shown, opened)

    def _connect_changes(self, page: Page, shown: list[Any], opened: list[Any]) -> None:
        """What the owner alone may do."""
        both, chunk = [*shown, *opened], [self.document, self.chunk]
        for dropped in (self.files, self.folder):
            page.on(
                dropped.upload,
                self.upload,
                role="owner",
                inputs=[dropped, self.base],
                outputs=[self.progress, self.stop_button, dropped, *shown],
            )
        page.on(self.stop_button.click, self.stop, role="owner")
        page.on(
            self.paste_button.click,
            self.paste,
            role="owner",
            inputs=[self.base, self.name, self.pasted],
            outputs=[*both, self.name, self.pasted],
        )
        page.on(
            self.create_button.click,
            self.create,
            role="owner",
            inputs=[self.fresh_name, self.private, self.whose],
            outputs=[*both, self.fresh_name],
        )
        page.on(
            self.book.upload,
            self.import_book,
            role="owner",
            inputs=[self.book, self.private, self.whose],
            outputs=[*both, self.book],
        )
        page.on(
            self.use_button.click,
            self.use,
            role="owner",
            inputs=[self.embedding],
            outputs=[self.embedding, self.progress],
            concurrency_limit=1,
        )
        page.on(self.remove_base_button.click, self.remove_base, role="owner", inputs=[self.base], outputs=both)
        page.on(self.edit_button.click, self.edit, role="owner", inputs=[*chunk, self.text], outputs=opened)
        page.on(self.switch_button.click, self.switch, role="owner", inputs=chunk, outputs=opened)
        page.on(self.remove_button.click, self.remove, role="owner", inputs=[self.base, self.document], outputs=both)
