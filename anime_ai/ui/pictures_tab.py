"""The picture tab: pictures in, what is seen in them, corrections, characters to recognise, models. Knows no model.

Everything in it belongs to the person who is asking; a picture's address is no secret, so the route checks it too.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.texts import text
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, note
from anime_ai.ui.persons import Person
from anime_ai.vision.pictures import SUFFIXES
from anime_ai.vision.tags import GROUPS, table, word

if TYPE_CHECKING:
    from anime_ai.studio import Studio
    from anime_ai.vision.album import Shown
    from anime_ai.vision.service import Looked

CARDS = (
    "people",
    "hair_colour",
    "hair_style",
    "eyes",
    "expression",
    "clothes",
    "accessories",
    "pose",
    "scene",
    "style",
)
"""Groups that the card shows one by one; the others share the last field."""
OFFERED = 80
"""Words of a group that its field offers; any other may be typed."""
SHELF = 60
CHOOSE = """
const choose = (event) => {
  const found = event.target.closest("[data-picture]");
  if (found) trigger("click", { picture: found.dataset.picture });
};
element.addEventListener("click", choose);
element.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.isComposing) choose(event); });
"""


class PicturesTab:
    """Handlers of the tab, and its components after `build`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.vision = studio.vision
        self._adding: dict[str, threading.Event] = {}

    # What the handlers answer with.

    def _shelf(self, person: Person, chosen: str = "") -> str:
        shown = self.vision.album.latest(person.id, SHELF)
        if not shown:
            return f'<p class="empty">{escape(text("ui.pictures.empty", person.language))}</p>'
        return f'<div class="shelf">{"".join(_thumb(one, person.language, one.id == chosen) for one in shown)}</div>'

    def _opened(self, person: Person, picture_id: str) -> list[Any]:
        """Updates of chosen picture, its view, its sentence, the fields, the card's row."""
        shown = self.vision.album.get(person.id, picture_id)
        grouped = shown.seen.grouped()
        fields = []
        for group in CARDS:
            words = [word(tag.name, person.language) for tag in grouped.get(group, ())]
            fields.append(gr.update(choices=_offered(group, person.language, words), value=words))
        others = [tag for group in GROUPS if group not in CARDS for tag in grouped.get(group, ())]
        rest = [word(tag.name, person.language) for tag in others]
        fields.append(gr.update(choices=rest, value=rest))
        return [picture_id, _view(shown, person.language), shown.seen.sentence(person.language), *fields, _there(True)]

    @staticmethod
    def _closed(language: str) -> list[Any]:
        empty = f'<p class="empty">{escape(text("ui.pictures.choose", language))}</p>'
        return ["", empty, "", *(gr.skip() for _ in (*CARDS, "others")), _there(False)]

    # Handlers.

    def arrive(self, person: Person) -> list[Any]:
        return [self._shelf(person), self.models_html(person.language)]

    def upload(self, person: Person, files: Sequence[str] | None) -> Iterator[list[Any]]:
        """Look at the files one after the other: updates of progress, stop button, files, shelf, then of `_opened`."""
        still = [gr.skip() for _ in range(len(CARDS) + 5)]
        paths = [Path(file) for file in files or ()]
        stop = self._adding[person.session] = threading.Event()
        done: list[Looked] = []
        try:
            yield [self._progress(done, len(paths), person), _there(True), gr.skip(), gr.skip(), *still]
            for one in self.vision.describe_all(person.id, [(path.name, path) for path in paths], stop):
                done.append(one)
                yield [self._progress(done, len(paths), person), gr.skip(), gr.skip(), gr.skip(), *still]
        finally:
            self._adding.pop(person.session, None)
        last = next((one.shown for one in reversed(done) if one.shown), None)
        opened = self._opened(person, last.id) if last else still
        told = self._progress(done, len(done), person)
        yield [told, _there(False), None, self._shelf(person, last.id if last else ""), *opened]

    def stop(self, person: Person) -> None:
        stop = self._adding.get(person.session)
        if stop is not None:
            stop.set()

    def choose(self, person: Person, happened: gr.EventData) -> list[Any]:
        data = happened._data if isinstance(happened._data, dict) else {}
        picture = str(data.get("picture") or "")
        return [self._shelf(person, picture), *self._opened(person, picture)]

    def correct(self, person: Person, picture: str, *fields: Any) -> list[Any]:
        """Keep what the person says is to be seen."""
        seen = self.vision.album.get(person.id, str(picture)).seen
        before = seen.grouped()
        for group, words in zip(CARDS, fields, strict=False):
            told = [word(tag.name, person.language) for tag in before.get(group, ())]
            if isinstance(words, list) and words != told:
                seen = seen.corrected(group, map(str, words))
        self.vision.album.correct(person.id, str(picture), seen)
        note(text("ui.pictures.corrected", person.language), person.language)
        return [self._shelf(person, str(picture)), *self._opened(person, str(picture))]

    def remove(self, person: Person, picture: str) -> list[Any]:
        self.vision.album.remove(person.id, str(picture))
        return [self._shelf(person), *self._closed(person.language)]

    def models_html(self, language: str) -> str:
        lines = []
        for one in self.vision.models():
            state = "chosen" if one.chosen else "present" if one.present else "absent"
            told = text(f"ui.pictures.model.{state}", language)
            size = text("ui.pictures.model.size", language, licence=one.model.licence, megabytes=one.model.megabytes)
            lines.append(
                f"<tr><td><div>{escape(one.model.id)}</div></td><td>{escape(size)}</td><td>{escape(told)}</td></tr>"
            )
        return f'<table class="rows"><tbody>{"".join(lines)}</tbody></table>'

    def _progress(self, done: Sequence[Looked], count: int, person: Person) -> str:
        lines = []
        for one in done:
            if one.error is not None:
                why = one.error.say(person.language)
                lines.append(f'<li class="bad">{escape(one.name)}：{escape(why)}</li>')
        head = text("ui.pictures.done", person.language, done=len(done), count=count)
        return f'<ul class="progress"><li>{escape(head)}</li>{"".join(lines)}</ul>'

    # Components.

    def build(self, page: Page, tab: Any, demo: gr.Blocks) -> None:
        self.picture = gr.State("")
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                self.files = gr.File(
                    label=label("ui.pictures.drop"),
                    file_count="multiple",
                    file_types=list(SUFFIXES),
                    height=132,
                    elem_id="picture-drop",
                )
                self.progress = gr.HTML()
                self.stop_button = gr.Button(label("ui.pictures.stop"), visible=False, size="sm")
                self.shelf = gr.HTML(elem_id="shelf", js_on_load=CHOOSE)
                with gr.Accordion(label("ui.pictures.models"), open=False):
                    self.models = gr.HTML()
            with gr.Column(scale=3, min_width=300):
                self.view = gr.HTML(elem_id="picture-view")
                with gr.Group(visible=False, elem_id="seen") as self.card:
                    self.sentence = gr.Textbox(
                        label=label("ui.pictures.seen"), interactive=False, lines=2, buttons=["copy"]
                    )
                    with gr.Row():
                        self.fields = [
                            gr.Dropdown(
                                label=label(f"ui.pictures.group.{group}"),
                                multiselect=True,
                                allow_custom_value=True,
                                choices=[],
                                min_width=160,
                            )
                            for group in (*CARDS, "others")
                        ]
                    with gr.Row():
                        self.correct_button = gr.Button(label("ui.pictures.correct"), variant="primary", size="sm")
                        self.remove_button = gr.Button(label("ui.pictures.remove"), variant="stop", size="sm")
        self._connect(page, tab)

    def _connect(self, page: Page, tab: Any) -> None:
        opened = [self.picture, self.view, self.sentence, *self.fields, self.card]
        page.on(tab.select, self.arrive, role="owner", outputs=[self.shelf, self.models])
        page.on(
            self.files.upload,
            self.upload,
            role="owner",
            inputs=[self.files],
            outputs=[self.progress, self.stop_button, self.files, self.shelf, *opened],
        )
        page.on(self.stop_button.click, self.stop, role="owner")
        page.on(self.shelf.click, self.choose, role="owner", event=True, outputs=[self.shelf, *opened])
        page.on(
            self.correct_button.click,
            self.correct,
            role="owner",
            inputs=[self.picture, *self.fields],
            outputs=[self.shelf, *opened],
        )
        page.on(
            self.remove_button.click, self.remove, role="owner", inputs=[self.picture], outputs=[self.shelf, *opened]
        )


def _there(visible: bool) -> Any:
    return gr.update(visible=visible)


def _thumb(shown: Shown, language: str, chosen: bool) -> str:
    kind = ' class="chosen"' if chosen else ""
    said = escape(shown.seen.sentence(language))
    return (
        f'<img data-picture="{escape(shown.id)}" tabindex="0"{kind} src="picture/{escape(shown.id)}.webp" alt="{said}">'
    )


def _view(shown: Shown, language: str) -> str:
    said = escape(shown.seen.sentence(language))
    return f'<figure class="seen"><img src="picture/{escape(shown.id)}.webp" alt="{said}"></figure>'


def _offered(group: str, language: str, words: Sequence[str]) -> list[str]:
    """The words that a field offers: those that were seen, then others of its group."""
    others = (meaning.word(language) for meaning in table().values() if meaning.group == group)
    return list(dict.fromkeys((*words, *others)))[:OFFERED]
