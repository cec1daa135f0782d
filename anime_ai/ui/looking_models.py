"""The panel of the models that look: their licences and sizes, which are here, which look; a click fetches the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.texts import text
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, chooser, note
from anime_ai.ui.persons import Person
from anime_ai.vision.models import KNOWN, known

if TYPE_CHECKING:
    from anime_ai.studio import Studio

POLL_S = 1.0


class LookingModels:
    """Handlers of the panel, and its components after `build`."""

    def __init__(self, studio: Studio) -> None:
        self.vision = studio.vision
        self.downloads = studio.downloads

    def shown(self, person: Person, line: str = "") -> list[Any]:
        """Updates of the table and of the choice."""
        lines = []
        choices = self.vision.models()
        for one in choices:
            state = "chosen" if one.chosen else "present" if one.present else "absent"
            told = text(f"ui.pictures.model.{state}", person.language)
            kind = text(f"ui.pictures.kind.{one.model.kind}", person.language)
            size = text(
                "ui.pictures.model.size", person.language, licence=one.model.licence, megabytes=one.model.megabytes
            )
            lines.append(
                f'<li class="{state}"><b>{escape(one.model.id)}</b><span>{escape(kind)}</span>'
                f"<small>{escape(size)} · {escape(told)}</small></li>"
            )
        progress = f"<p>{escape(line)}</p>" if line else ""
        chosen = [one.model.id for one in choices if one.chosen]
        return [f'<ul class="models">{"".join(lines)}</ul>{progress}', gr.update(value=chosen)]

    def use(self, person: Person, ids: Sequence[str] | None) -> Iterator[list[Any]]:
        """Fetch what is not here, then let the chosen ones look."""
        wanted = [known(str(id)) for id in ids or ()]
        present = {one.model.id for one in self.vision.models() if one.present}
        for model in wanted:
            if model.id in present:
                continue
            self.downloads.start(model.id)
            for now in self.downloads.watch(model.id, POLL_S):
                got = min(99, now.done * 100 // now.total) if now.total else 0
                line = text("ui.pictures.fetching", person.language, name=model.id, percent=got)
                yield [self.shown(person, line)[0], gr.skip()]
        self.vision.use([model.id for model in wanted])
        note(text("ui.pictures.using", person.language), person.language)
        yield self.shown(person)

    @property
    def outputs(self) -> list[Any]:
        return [self.table, self.chosen]

    def build(self) -> None:
        self.table = gr.HTML(elem_id="looking-models")
        self.chosen = chooser(
            label=label("ui.pictures.model.choose"),
            choices=[model.id for model in KNOWN],
            multiselect=True,
            elem_id="looking-choice",
        )
        self.use_button = gr.Button(label("ui.pictures.model.use"), size="sm")

    def connect(self, page: Page) -> None:
        page.on(
            self.use_button.click,
            self.use,
            role="owner",
            inputs=[self.chosen],
            outputs=self.outputs,
            concurrency_limit=1,
        )
