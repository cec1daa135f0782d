"""A picture on its way into the chat: what is seen in it, on a card that can be corrected. Knows no conversation."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.chat.service import Attached
from anime_ai.texts import text
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page
from anime_ai.ui.persons import Person
from anime_ai.vision.pictures import SUFFIXES
from anime_ai.vision.tags import word

if TYPE_CHECKING:
    from anime_ai.studio import Studio


class Attachment:
    """Handlers of the card, and its components after `build_button` and `build_card`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def attach(self, person: Person, file: Any) -> list[Any]:
        """Look at a picture: updates of picture, card, view, words."""
        paths = file if isinstance(file, list) else [file]
        path = next((Path(str(one)) for one in paths if one), None)
        if path is None:
            return self.none()
        shown = self.studio.vision.describe(person.id, path.name, path)
        words = [word(tag.name, person.language) for tag in shown.seen.tags]
        said = escape(text("ui.pictures.seen", person.language))
        view = f'<figure class="attached"><img src="picture/{escape(shown.id)}.webp" alt="{said}"></figure>'
        return [shown.id, gr.update(visible=True), view, gr.update(choices=words, value=words)]

    def detach(self, person: Person) -> list[Any]:
        return self.none()

    @staticmethod
    def none() -> list[Any]:
        return ["", gr.update(visible=False), "", gr.update(choices=[], value=[])]

    @staticmethod
    def put(picture: str, visible: bool) -> list[Any]:
        """Take the card away while its message is sent, or back where that failed: it has kept what stands on it."""
        return [picture if visible else "", gr.update(visible=visible), gr.skip(), gr.skip()]

    def taken(self, person: Person, picture: Any = "", words: Any = None) -> Attached | None:
        """What goes with a message; what was corrected on the card is kept.

        Raises VisionError for a picture that is not theirs.
        """
        if not picture:
            return None
        picture = str(picture)
        shown = self.studio.vision.album.get(person.id, picture)
        told = [str(one) for one in words] if isinstance(words, list) else None
        seen = shown.seen
        if told is not None and told != [word(tag.name, person.language) for tag in seen.tags]:
            seen = seen.told_anew(told, person.language)
            self.studio.vision.album.correct(person.id, picture, seen)
        return Attached(picture, seen.sentence())

    # Components.

    def build_button(self) -> None:
        self.picture = gr.State("")
        self.button = gr.UploadButton(
            label("ui.chat.attach"),
            visible=self.studio.vision.ready,
            file_count="single",
            file_types=list(SUFFIXES),
            scale=0,
            min_width=56,
            elem_id="attach",
        )

    def build_card(self) -> None:
        with gr.Row(visible=False, elem_id="attached") as self.card:
            self.view = gr.HTML()
            self.words = gr.Dropdown(
                label=label("ui.pictures.seen"),
                info=label("ui.chat.attached.help"),
                multiselect=True,
                allow_custom_value=True,
                choices=[],
                scale=5,
            )
            self.away = gr.Button(label("ui.chat.detach"), size="sm", scale=0, min_width=72)

    @property
    def outputs(self) -> Sequence[Any]:
        return [self.picture, self.card, self.view, self.words]

    def connect(self, page: Page) -> None:
        page.on(self.button.upload, self.attach, role="owner", inputs=[self.button], outputs=[*self.outputs])
        page.on(self.away.click, self.detach, role="owner", outputs=[*self.outputs])
