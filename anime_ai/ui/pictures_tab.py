"""The picture tab: pictures in, what is seen in them, corrections, finding them again. Knows no model.

Everything in it belongs to the person who is asking; a picture's address is no secret, so the routes check it too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.errors import AnimeAIError
from anime_ai.texts import text
from anime_ai.ui.characters import Characters
from anime_ai.ui.labels import label
from anime_ai.ui.looking_models import LookingModels
from anime_ai.ui.page import Page, note
from anime_ai.ui.persons import Person
from anime_ai.ui.uploads import discard
from anime_ai.vision.export import FORMS, caption
from anime_ai.vision.observation import RATINGS
from anime_ai.vision.pictures import SUFFIXES
from anime_ai.vision.tags import table, word

if TYPE_CHECKING:
    from anime_ai.studio import Studio
    from anime_ai.ui.attaching import Attachment
    from anime_ai.vision.album import Shown
    from anime_ai.vision.service import Looked

CARDS = (
    *("people", "hair_colour", "hair_style", "eyes", "expression"),
    *("clothes", "accessories", "pose", "scene", "style"),
)
"""Groups that the card shows one by one; the others share the last field."""
OFFERED = 80
"""Words of a group that its field offers; any other may be typed."""
SHELF = 60
TOLD_S = 0.4
"""Seconds between two words about a batch: a page that is told of every picture has no time for anything else."""
REFRESH_S = 0.7
"""How often the shelf is drawn anew while pictures stream in."""
MOST_ASKED = 200
CHOOSE = """
const choose = (event) => {
  const found = event.target.closest("[data-picture]");
  if (!found) return;
  element.querySelector(".chosen")?.classList.remove("chosen");
  found.classList.add("chosen");
  trigger("click", { picture: found.dataset.picture });
  // On a phone the picture stands below all of them.
  if (window.innerWidth < 640) document.getElementById("picture-view")?.scrollIntoView({ behavior: "smooth" });
};
element.addEventListener("click", choose);
element.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.isComposing) choose(event); });
"""


class PicturesTab:
    """Handlers of the tab, and its components after `build`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.vision = studio.vision
        self.characters = Characters(studio)
        self.models = LookingModels(studio)
        self._adding: dict[str, threading.Event] = {}

    # What the handlers answer with.

    def _shelf(self, person: Person, chosen: str = "") -> str:
        return shelf(self.vision.album.latest(person.id, SHELF), person.language, chosen, "ui.pictures.empty")

    def _opened(self, person: Person, picture_id: str) -> list[Any]:
        """Updates of chosen picture, its view, its sentence, who it is, the fields, the card, its tags to copy."""
        shown = self.vision.album.get(person.id, picture_id)
        grouped = shown.seen.grouped()
        fields = []
        for group in CARDS:
            words = [word(tag.name, person.language) for tag in grouped.get(group, ())]
            fields.append(gr.update(choices=_offered(group, person.language, words), value=words))
        rest = [word(tag.name, person.language) for tag in shown.seen.outside(CARDS)]
        fields.append(gr.update(choices=rest, value=rest))
        who = self.characters.who(person, shown.seen)
        sentence, tags = shown.seen.sentence(person.language), caption(shown.seen, "tags")
        return [picture_id, _view(shown, person.language), sentence, who, *fields, _there(True), tags]

    @staticmethod
    def _closed(language: str) -> list[Any]:
        empty = f'<p class="empty">{escape(text("ui.pictures.choose", language))}</p>'
        return ["", empty, "", gr.skip(), *(gr.skip() for _ in (*CARDS, "others")), _there(False), ""]

    # Handlers.

    def arrive(self, person: Person) -> list[Any]:
        return [self._shelf(person), *self.characters.shown(person), *self.models.shown(person)]

    def upload(self, person: Person, files: Sequence[str] | None) -> Iterator[list[Any]]:
        """Look at the files one after the other: updates of progress, stop button, files, shelf, then of `_opened`."""
        still = [gr.skip() for _ in range(len(CARDS) + 7)]
        paths = [Path(file) for file in files or ()]
        stop = self._adding[person.session] = threading.Event()
        done: list[Looked] = []
        drawn = seen = 0.0
        try:
            yield [self._progress(done, len(paths), person), _there(True), gr.skip(), gr.skip(), *still]
            for one in self.vision.describe_all(person.id, [(path.name, path) for path in paths], stop):
                done.append(one)
                now = time.monotonic()
                if now - seen < TOLD_S:
                    continue
                seen, told = now, gr.skip()
                if now - drawn > REFRESH_S:
                    drawn, told = now, self._shelf(person)
                yield [self._progress(done, len(paths), person), gr.skip(), gr.skip(), told, *still]
        finally:
            self._adding.pop(person.session, None)
            discard(paths)
        last = next((one.shown for one in reversed(done) if one.shown), None)
        opened = self._opened(person, last.id) if last else still
        progress = self._progress(done, len(done), person)
        yield [progress, _there(False), None, self._shelf(person, last.id if last else ""), *opened]

    def stop(self, person: Person) -> None:
        stop = self._adding.get(person.session)
        if stop is not None:
            stop.set()

    def choose(self, person: Person, happened: gr.EventData) -> list[Any]:
        data = happened._data if isinstance(happened._data, dict) else {}
        return self._opened(person, str(data.get("picture") or ""))

    def find(self, person: Person, said: str) -> str:
        """The shelf with what fits, or with all where nothing was asked."""
        asked = str(said or "").strip()
        if not asked:
            return self._shelf(person)
        if len(asked) > MOST_ASKED:
            raise AnimeAIError("ui.too_long", length=len(asked), most=MOST_ASKED)
        found = [one.shown for one in self.vision.find(person.id, asked)]
        return shelf(found, person.language, "", "ui.pictures.nothing")

    def similar(self, person: Person, picture: str) -> str:
        found = [one.shown for one in self.vision.like(person.id, str(picture))]
        return shelf(found, person.language, "", "ui.pictures.nothing")

    def correct(self, person: Person, picture: str, who: Any, *fields: Any) -> list[Any]:
        """Keep what the person says is to be seen, and who it is."""
        seen = self.vision.album.get(person.id, str(picture)).seen
        before = seen.grouped()
        for group, words in zip(CARDS, fields, strict=False):
            told = [word(tag.name, person.language) for tag in before.get(group, ())]
            if isinstance(words, list) and words != told:
                seen = seen.corrected(group, map(str, words))
        if len(fields) > len(CARDS) and isinstance(fields[-1], list):
            seen = seen.corrected_outside(CARDS, map(str, fields[-1]), person.language)
        self.vision.correct(person.id, str(picture), seen, str(who or ""))
        note(text("ui.pictures.corrected", person.language), person.language)
        return [self._shelf(person, str(picture)), *self.characters.shown(person), *self._opened(person, str(picture))]

    def again(self, person: Person, picture: str) -> list[Any]:
        """Look once more: with the models that are chosen now and the characters that are known now."""
        return self._opened(person, self.vision.again(person.id, str(picture)).id)

    def remove(self, person: Person, picture: str) -> list[Any]:
        self.vision.album.remove(person.id, str(picture))
        return [self._shelf(person), *self._closed(person.language)]

    def _progress(self, done: Sequence[Looked], count: int, person: Person) -> str:
        lines = []
        for one in done:
            if one.error is not None:
                why = one.error.say(person.language)
                lines.append(f'<li class="bad">{escape(one.name)}：{escape(why)}</li>')
        head = text("ui.pictures.done", person.language, done=len(done), count=count)
        if done and done[-1].shown:
            newest = done[-1].shown
            lines.append(f"<li>{escape(newest.name)}：{escape(newest.seen.sentence(person.language))}</li>")
        return f'<ul class="progress"><li>{escape(head)}</li>{"".join(lines)}</ul>'

    # Components.

    def build(self, page: Page, tab: Any, demo: gr.Blocks) -> None:
        self.picture = gr.State("")
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                self._build_shelf()
            with gr.Column(scale=3, min_width=300):
                self.view = gr.HTML(f'<p class="empty">{label("ui.pictures.choose")}</p>', elem_id="picture-view")
                with gr.Group(visible=False, elem_id="seen") as self.card:
                    self._build_card()
        self._connect(page, tab)

    def _build_shelf(self) -> None:
        self.files = gr.File(
            label=label("ui.pictures.drop"),
            file_count="multiple",
            file_types=list(SUFFIXES),
            height=132,
            elem_id="picture-drop",
        )
        self.progress = gr.HTML(elem_id="looking")
        self.stop_button = gr.Button(label("ui.pictures.stop"), visible=False, size="sm")
        self.said = gr.Textbox(
            show_label=False,
            label=label("ui.pictures.find"),
            placeholder=label("ui.pictures.find.help"),
            max_lines=1,
            max_length=MOST_ASKED,
            container=False,
            elem_id="picture-search",
        )
        self.shelf = gr.HTML(elem_id="shelf", js_on_load=CHOOSE)
        with gr.Accordion(label("ui.characters"), open=False):
            self.characters.build()
        with gr.Accordion(label("ui.pictures.export"), open=False):
            gr.HTML(_export_form())
        with gr.Accordion(label("ui.pictures.models"), open=False):
            self.models.build()

    def _build_card(self) -> None:
        self.sentence = gr.Textbox(label=label("ui.pictures.seen"), interactive=False, lines=2, buttons=["copy"])
        self.tags = gr.Textbox(label=label("ui.pictures.tags"), interactive=False, lines=1, buttons=["copy"])
        self.who = gr.Dropdown(
            label=label("ui.characters.who"),
            info=label("ui.characters.who.help"),
            choices=[],
            allow_custom_value=True,
            elem_id="who",
        )
        with gr.Row():
            self.fields = [
                gr.Dropdown(
                    label=label(f"ui.pictures.group.{group}"),
                    multiselect=True,
                    allow_custom_value=True,
                    choices=[],
                    min_width=200,
                )
                for group in (*CARDS, "others")
            ]
        with gr.Row():
            self.correct_button = gr.Button(label("ui.pictures.correct"), variant="primary", size="sm", min_width=96)
            self.talk_button = gr.Button(label("ui.pictures.talk"), size="sm", min_width=96)
            self.similar_button = gr.Button(label("ui.pictures.similar"), size="sm", min_width=96)
            self.again_button = gr.Button(label("ui.pictures.again"), size="sm", min_width=96)
            self.remove_button = gr.Button(label("ui.pictures.remove"), variant="stop", size="sm", min_width=96)

    def _connect(self, page: Page, tab: Any) -> None:
        opened = [self.picture, self.view, self.sentence, self.who, *self.fields, self.card, self.tags]
        page.on(
            tab.select,
            self.arrive,
            role="owner",
            quiet=True,
            outputs=[self.shelf, *self.characters.outputs, *self.models.outputs],
        )
        page.on(
            self.files.upload,
            self.upload,
            role="owner",
            inputs=[self.files],
            outputs=[self.progress, self.stop_button, self.files, self.shelf, *opened],
        )
        page.on(self.stop_button.click, self.stop, role="owner")
        page.on(self.said.submit, self.find, role="owner", inputs=[self.said], outputs=[self.shelf])
        page.on(self.similar_button.click, self.similar, role="owner", inputs=[self.picture], outputs=[self.shelf])
        page.on(self.shelf.click, self.choose, role="owner", event=True, outputs=opened)
        page.on(
            self.correct_button.click,
            self.correct,
            role="owner",
            inputs=[self.picture, self.who, *self.fields],
            outputs=[self.shelf, *self.characters.outputs, *opened],
        )
        page.on(self.again_button.click, self.again, role="owner", inputs=[self.picture], outputs=opened)
        page.on(
            self.remove_button.click, self.remove, role="owner", inputs=[self.picture], outputs=[self.shelf, *opened]
        )
        self.characters.connect(page)
        self.models.connect(page)

    def connect_chat(self, page: Page, card: Attachment, tabs: gr.Tabs) -> None:
        """The way from a picture into the chat, where both tabs could be built."""

        def to_chat(person: Person, picture: str) -> list[Any]:
            return [*card.put_on(person, str(picture)), gr.Tabs(selected="chat")]

        page.on(self.talk_button.click, to_chat, role="owner", inputs=[self.picture], outputs=[*card.outputs, tabs])


def shelf(pictures: Sequence[Shown], language: str, chosen: str, empty: str) -> str:
    """Pictures as small ones that can be chosen; `empty` is the key of what is said where there are none."""
    if not pictures:
        return f'<p class="empty">{escape(text(empty, language))}</p>'
    return f'<div class="shelf">{"".join(_thumb(one, language, one.id == chosen) for one in pictures)}</div>'


def _there(visible: bool) -> Any:
    return gr.update(visible=visible)


def _thumb(shown: Shown, language: str, chosen: bool) -> str:
    kind = ' class="chosen"' if chosen else ""
    said = escape(shown.seen.sentence(language))
    return (
        f'<img data-picture="{escape(shown.id)}" tabindex="0"{kind} loading="lazy" '
        f'src="thumb/{escape(shown.id)}.webp" alt="{said}" title="{said}">'
    )


def _view(shown: Shown, language: str) -> str:
    said = escape(shown.seen.sentence(language))
    colours = "".join(f'<i style="background:{escape(colour)}"></i>' for colour in shown.seen.colours)
    judged = shown.seen.rating in RATINGS
    rating = text(f"ui.pictures.rating.{shown.seen.rating}", language) if judged else ""
    models = text("ui.pictures.by", language, models="、".join(shown.seen.models)) if shown.seen.models else ""
    about = " · ".join(part for part in (shown.name, rating, models) if part)
    return (
        f'<figure class="seen"><img src="picture/{escape(shown.id)}.webp" alt="{said}">'
        f'<figcaption><span class="colours">{colours}</span> {escape(about)}</figcaption></figure>'
    )


def _offered(group: str, language: str, words: Sequence[str]) -> list[str]:
    """The words that a field offers: those that were seen, then others of its group."""
    others = (meaning.word(language) for meaning in table().values() if meaning.group == group)
    return list(dict.fromkeys((*words, *others)))[:OFFERED]


def _export_form() -> str:
    """A plain form: what it asks for is a file."""
    forms = "".join(f'<option value="{form}">{label(f"ui.pictures.export.{form}")}</option>' for form in FORMS)
    return (
        f'<form action="pictures.zip" method="get" class="export"><p>{label("ui.pictures.export.help")}</p>'
        f'<label>{label("ui.pictures.export.form")} <select name="form">{forms}</select></label>'
        f'<label>{label("ui.pictures.export.trigger")} <input name="trigger" maxlength="80"></label>'
        f'<button type="submit">{label("ui.pictures.export.get")}</button></form>'
    )
