"""The tab of this machine: the keys by which programs get in. Knows neither the doctor nor the endpoint's requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.ui.keys_panel import KeysPanel
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page
from anime_ai.ui.persons import Person

if TYPE_CHECKING:
    from anime_ai.studio import Studio


class MachineTab:
    """Handlers of the tab, and its components after `build`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.keys = KeysPanel(studio)

    def arrive(self, person: Person) -> list[Any]:
        return self.keys.shown(person)

    def build(self, page: Page, tab: Any, demo: gr.Blocks) -> None:
        with gr.Accordion(label("ui.machine.keys"), open=True):
            self.keys.build()
        self.keys.connect(page)
        page.on(tab.select, self.arrive, role="owner", outputs=self.keys.outputs, quiet=True)
