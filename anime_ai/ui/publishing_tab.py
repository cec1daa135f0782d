"""The publishing tab: what is to be published, of what, where to; how far it is. Knows neither weights nor the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.config import OWNER
from anime_ai.errors import PublishError
from anime_ai.models.gguf_files import KINDS as GGUF_TYPES
from anime_ai.publishing.publisher import WHATS, Order, Progress
from anime_ai.texts import text
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, chooser
from anime_ai.ui.persons import Person

if TYPE_CHECKING:
    from anime_ai.studio import Studio

EVERY = 1.0
MOST_NAME, MOST_TOKEN = 200, 400
WITH_ADAPTER = ("adapter", "merged", "gguf", "bundle", "space")
WITH_PERSONA = ("bundle", "space")


@dataclass(frozen=True)
class Asked:
    """What the page sends with an order, in the order of its fields. Nothing of it has been looked at."""

    what: Any
    adapter: Any
    persona: Any
    dataset: Any
    bases: Any
    characters: Any
    gguf_type: Any
    repository: Any
    public: Any
    token: Any = field(repr=False)


class PublishingTab:
    """Handlers of the tab, and its components after `build`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.publisher = studio.publisher

    # Handlers.

    def arrive(self, person: Person, adapter: str | None, persona: str | None, dataset: str | None) -> list[Any]:
        """A page load or the opened tab: what there is to publish, and how far it is. Who was not chosen yet is the one
        whose adapter it is."""
        adapters = [(one.label, one.id) for one in self.studio.chat.adapters() if one.id and one.path]
        personas = [(one.name, one.id) for one in self.studio.personas.list()]
        datasets = [(f"{one.name} · {one.rows}", one.id) for one in self.studio.datasets.list()]
        adapter = _standing(adapter, adapters)
        chosen = _standing(persona or self._voice(adapter or ""), personas)
        return [
            gr.update(choices=adapters, value=adapter),
            gr.update(choices=personas, value=chosen),
            gr.update(choices=datasets, value=_standing(dataset, datasets)),
            *self._hers(chosen or ""),
            *self._shown(person),
        ]

    def choose_what(self, person: Person, what: str) -> list[Any]:
        """Which fields matter: updates of `fields`, then what is said of it."""
        what = str(what)
        return [*(gr.update(visible=one) for one in _visible(what)), self._about(what, person.language)]

    def choose_adapter(self, person: Person, adapter: str) -> list[Any]:
        """The persona whose adapter it is, and what goes with her."""
        hers = self._voice(str(adapter or ""))
        return [gr.update(value=hers), *self._hers(hers)] if hers else [gr.skip() for _ in range(3)]

    def choose_persona(self, person: Person, persona: str) -> list[Any]:
        return self._hers(str(persona or ""))

    def start(self, person: Person, *values: Any) -> list[Any]:
        """Begin what was chosen, of `Asked`. The token leaves the page with this call and is kept nowhere."""
        self.publisher.start(self._order(Asked(*values)))
        return ["", *self._shown(person)]

    def stop(self, person: Person) -> list[Any]:
        self.publisher.stop()
        return self._shown(person)

    def look(self, person: Person) -> list[Any]:
        return self._shown(person)

    # What they answer with.

    def _order(self, asked: Asked) -> Order:
        """The order that the fields make. Raises AnimeAIError for what is not there."""
        what = str(asked.what)
        if what not in WHATS:
            raise PublishError("publishing.kind", kind=what[:20], known="、".join(WHATS))
        choice = self.studio.chat.choice(str(asked.adapter)) if what in WITH_ADAPTER and asked.adapter else None
        hers = self.studio.personas.get(str(asked.persona or "")) if what in WITH_PERSONA else None
        info = self.studio.datasets.find(str(asked.dataset or "")) if what == "dataset" else None
        return Order(
            what=what,
            adapter=choice.path if choice else None,
            persona=hers,
            dataset=(info.name, self.studio.datasets.rows(info.id)) if info else ("", ()),
            bases=self._known_bases(asked.bases) if hers else (),
            characters=[str(one) for one in asked.characters or ()] if hers else (),
            gguf_type=str(asked.gguf_type or "q8_0"),
            repository=str(asked.repository or "").strip()[:MOST_NAME],
            public=bool(asked.public),
            token=str(asked.token or "").strip()[:MOST_TOKEN],
        )

    def _voice(self, adapter: str) -> str:
        """The id of the persona whom an adapter speaks for, "" where she is not here."""
        choice = next((one for one in self.studio.chat.adapters() if one.id == adapter), None)
        persona = self.studio.personas.named(choice.persona) if choice and choice.persona else None
        return persona.id if persona else ""

    def _known_bases(self, bases: Sequence[str] | None) -> list[str]:
        there = {one.id for one in self.studio.knowledge.library.bases()}
        return [str(one) for one in bases or () if str(one) in there]

    def _hers(self, persona_id: str) -> list[Any]:
        """Updates of the knowledge and the gallery that go with a persona."""
        bases = [(one.name, one.id) for one in self.studio.knowledge.library.bases()]
        known = [(f"{one.name} · {one.pictures}", one.id) for one in self.studio.vision.album.characters(OWNER)]
        persona = next((one for one in self.studio.personas.list() if one.id == persona_id), None)
        chosen = self.studio.bundles.of_persona(persona) if persona else ([], [])
        pairs = zip((bases, known), chosen, strict=True)
        return [gr.update(choices=choices, value=value) for choices, value in pairs]

    def _shown(self, person: Person) -> list[Any]:
        """Updates of the progress, of both buttons and of the timer."""
        now = self.publisher.now()
        return [
            progress_card(now, person.language),
            gr.update(interactive=not now.active),
            gr.update(visible=now.active),
            gr.Timer(active=now.active),
        ]

    @staticmethod
    def _about(what: str, language: str) -> str:
        said = text(f"ui.publish.about.{what}", language) if what in WHATS else ""
        return f'<p class="who">{escape(said)}</p>'

    # Components.

    def build(self, page: Page, tab: Any, demo: gr.Blocks) -> None:
        with gr.Row():
            with gr.Column(scale=3, min_width=300):
                self._build_what()
            with gr.Column(scale=2, min_width=280):
                self._build_where()
        self._connect(page, tab, demo)

    def _build_what(self) -> None:
        choices = [(label(f"ui.publish.what.{what}"), what) for what in WHATS]
        self.what = gr.Radio(choices, value="bundle", label=label("ui.publish.what"), elem_id="publish-what")
        self.about = gr.HTML(elem_id="publish-about")
        self.adapter = chooser(label=label("ui.publish.adapter"), elem_id="publish-adapter")
        self.persona = chooser(label=label("ui.publish.persona"), elem_id="publish-persona")
        self.dataset = chooser(label=label("ui.publish.dataset"), visible=False, elem_id="publish-dataset")
        self.bases = chooser(label=label("ui.publish.bases"), multiselect=True, elem_id="publish-bases")
        self.characters = chooser(label=label("ui.publish.gallery"), multiselect=True, elem_id="publish-gallery")
        self.gguf_type = chooser(
            label=label("ui.publish.type"),
            choices=list(GGUF_TYPES),
            value="q8_0",
            visible=False,
            elem_id="publish-type",
        )

    def _build_where(self) -> None:
        with gr.Group(elem_id="publish-where") as self.where:
            self.repository = gr.Textbox(
                label=label("ui.publish.repository"),
                info=label("ui.publish.repository.help"),
                max_lines=1,
                max_length=MOST_NAME,
            )
            self.public = gr.Checkbox(label=label("ui.publish.public"), value=False)
            self.token = gr.Textbox(
                label=label("ui.publish.token"),
                info=label("ui.publish.token.help"),
                type="password",
                max_lines=1,
                max_length=MOST_TOKEN,
                elem_id="publish-token",
            )
        self.start_button = gr.Button(label("ui.publish.start"), variant="primary", elem_id="publish-start")
        self.stop_button = gr.Button(
            label("ui.publish.stop"), variant="stop", visible=False, size="sm", elem_id="publish-stop"
        )
        self.progress = gr.HTML(elem_id="publish-progress")
        self.timer = gr.Timer(EVERY, active=False)

    def _connect(self, page: Page, tab: Any, demo: gr.Blocks) -> None:
        shown = [self.progress, self.start_button, self.stop_button, self.timer]
        hers = [self.bases, self.characters]
        fields = [self.adapter, self.persona, self.dataset, *hers, self.gguf_type, self.where]
        chosen = [self.adapter, self.persona, self.dataset]
        for trigger in (demo.load, tab.select):
            page.on(trigger, self.arrive, role="owner", quiet=True, inputs=chosen, outputs=[*chosen, *hers, *shown])
        page.on(
            [self.what.change, demo.load],
            self.choose_what,
            role="owner",
            quiet=True,
            inputs=[self.what],
            outputs=[*fields, self.about],
        )
        page.on(
            self.adapter.input,
            self.choose_adapter,
            role="owner",
            inputs=[self.adapter],
            outputs=[self.persona, *hers],
        )
        page.on(self.persona.input, self.choose_persona, role="owner", inputs=[self.persona], outputs=hers)
        asked = [self.what, *chosen, *hers, self.gguf_type, self.repository, self.public, self.token]
        page.on(
            self.start_button.click,
            self.start,
            role="owner",
            inputs=asked,
            outputs=[self.token, *shown],
        )
        page.on(self.stop_button.click, self.stop, role="owner", outputs=shown)
        page.on(self.timer.tick, self.look, role="owner", quiet=True, outputs=shown)


def _visible(what: str) -> list[bool]:
    """Whether adapter, persona, dataset, knowledge, gallery, type and the repository matter."""
    bundle = what in WITH_PERSONA
    return [what in WITH_ADAPTER, bundle, what == "dataset", bundle, bundle, what == "gguf", what != "studio"]


def _standing(chosen: str | None, choices: Sequence[tuple[str, str]]) -> str | None:
    """What was chosen where it is still there, else the first."""
    ids = [id for _, id in choices]
    return chosen if chosen in ids else (ids[0] if ids else None)


def progress_card(now: Progress, language: str) -> str:
    """How far an order is, what became of it, and where it can be had."""
    if not now.state:
        return f'<div class="state"><p class="empty">{escape(text("ui.publish.none", language))}</p></div>'
    what = text(f"ui.publish.what.{now.what}", language)
    state = text(f"ui.publish.state.{now.state}", language)
    share = 100 * now.done // now.total if now.total else 0
    parts = [f'<div class="line"><b>{escape(what)}</b><span>{escape(state)}</span></div>']
    if now.active:
        parts.append(f'<div class="bar"><i style="width:{share}%"></i></div>')
        if now.state == "sending" and now.total:
            parts.append(f'<p class="who">{now.done / 1e6:.1f} / {now.total / 1e6:.1f} MB</p>')
    if now.asked:
        said = text("ui.publish.proved", language, equal=now.equal, total=now.asked)
        parts.append(f'<p class="who">{escape(said)}</p>')
    if now.error is not None:
        parts.append(f'<p class="why">{escape(now.error.say(language))}</p>')
    parts += _had(now, language)
    return f'<div class="state">{"".join(parts)}</div>'


def _had(now: Progress, language: str) -> list[str]:
    """Links and paths of what was made and sent."""
    parts = []
    if now.sent is not None:
        said = text("ui.publish.sent", language)
        address = escape(now.sent.address, quote=True)
        parts.append(
            f'<p class="who">{escape(said)} <a href="{address}" target="_blank" rel="noreferrer">{address}</a></p>'
        )
    if now.made is not None and now.state == "finished":
        size = f"{now.bytes / 1e6:.1f} MB"
        if now.made.is_file():
            said = text("ui.publish.download", language)
            parts.append(f'<p class="who"><a href="published" download>{escape(said)} ({size})</a></p>')
        said = text("ui.publish.folder", language, path=str(now.made), size=size)
        parts.append(f'<p class="who">{escape(said)}</p>')
    return parts
