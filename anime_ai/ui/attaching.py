"""A picture on its way into the chat: what is seen in it, on a card that can be corrected. Knows no conversation."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.chat.turns import Attached
from anime_ai.texts import text
from anime_ai.ui.characters import Characters
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, held
from anime_ai.ui.persons import Person
from anime_ai.ui.uploads import discard
from anime_ai.vision.pictures import SUFFIXES
from anime_ai.vision.tags import word

if TYPE_CHECKING:
    from anime_ai.studio import Studio
    from anime_ai.vision.album import Shown


class Attachment:
    """Handlers of the card, and its components after `build_button` and `build_card`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.characters = Characters(studio)

    def attach(self, person: Person, file: Any) -> list[Any]:
        """Look at a picture: updates of picture, card, view, words, who."""
        paths = file if isinstance(file, list) else [file]
        path = next((Path(str(one)) for one in paths if one), None)
        if path is None:
            return self.none()
        try:
            self.studio.quotas.picture(person.id)
            return self._card(person, self.studio.vision.describe(person.id, path.name, path))
        finally:
            discard([path])

    def put_on(self, person: Person, picture_id: str) -> list[Any]:
        """The card with a picture that was shown already. Raises VisionError for one that is not theirs."""
        return self._card(person, self.studio.vision.album.get(person.id, picture_id))

    def _card(self, person: Person, shown: Shown) -> list[Any]:
        words = [word(tag.name, person.language) for tag in shown.seen.tags]
        said = escape(text("ui.pictures.seen", person.language))
        view = f'<figure class="attached"><img src="thumb/{escape(shown.id)}.webp" alt="{said}"></figure>'
        who = self.characters.who(person, shown.seen)
        return [shown.id, gr.update(visible=True), view, gr.update(choices=words, value=words), who]

    def detach(self, person: Person) -> list[Any]:
        return self.none()

    @staticmethod
    def none() -> list[Any]:
        return ["", gr.update(visible=False), "", gr.update(choices=[], value=[]), gr.update(choices=[], value=None)]

    @staticmethod
    def put(picture: str, visible: bool) -> list[Any]:
        """Take the card away while its message is sent, or back where that failed: it has kept what stands on it."""
        return [picture if visible else "", gr.update(visible=visible), gr.skip(), gr.skip(), gr.skip()]

    def taken(self, person: Person, picture: Any = "", words: Any = None, who: Any = None) -> Attached | None:
        """What goes with a message; what was corrected on the card is kept, and the gallery learns who it is.

        Raises VisionError for a picture that is not theirs.
        """
        if not picture:
            return None
        picture = str(picture)
        shown = self.studio.vision.album.get(person.id, picture)
        seen, named = shown.seen, str(who or "").strip()
        told = [str(one) for one in words] if isinstance(words, list) else None
        sure = next((one.name for one in seen.characters if one.sure), "")
        if told is not None and told != [word(tag.name, person.language) for tag in seen.tags]:
            seen = seen.told_anew(told, person.language)
        if seen is not shown.seen or (words is not None and named != sure):
            seen = self.studio.vision.correct(person.id, picture, seen, named).seen
        return Attached(picture, seen.sentence())

    # Components.

    def build_button(self) -> None:
        self.picture = held("")
        self.button = gr.UploadButton(
            label("ui.chat.attach"),
            visible=self.studio.vision.ready,
            file_count="single",
            file_types=list(SUFFIXES),
            scale=0,
            min_width=84,
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
                min_width=220,
            )
            self.who = gr.Dropdown(
                label=label("ui.characters.who"),
                info=label("ui.characters.who.help"),
                choices=[],
                allow_custom_value=True,
                scale=2,
                min_width=140,
                elem_id="attached-who",
            )
            self.away = gr.Button(label("ui.chat.detach"), size="sm", scale=0, min_width=72)

    @property
    def outputs(self) -> Sequence[Any]:
        return [self.picture, self.card, self.view, self.words, self.who]

    def connect(self, page: Page) -> None:
        page.on(self.button.upload, self.attach, role="visitor", inputs=[self.button], outputs=[*self.outputs])
        page.on(self.away.click, self.detach, role="visitor", outputs=[*self.outputs])
