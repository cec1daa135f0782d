"""The tab of this machine: what works here, the settings in force, and the keys by which programs get in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.ui.doctor_panel import DoctorPanel
from anime_ai.ui.keys_panel import KeysPanel
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page
from anime_ai.ui.persons import Person
from anime_ai.ui.settings_panel import settings_table

if TYPE_CHECKING:
    from anime_ai.studio import Studio


class MachineTab:
    """Handlers of the tab, and its components after `build`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.doctor = DoctorPanel(studio)
        self.keys = KeysPanel(studio)

    def arrive(self, person: Person) -> list[Any]:
        """Updates of the settings, then of the keys."""
        return [settings_table(self.studio.settings, person.language), *self.keys.shown(person)]

    def build(self, page: Page, tab: Any, demo: gr.Blocks) -> None:
        with gr.Row():
            with gr.Column(scale=3, min_width=300), gr.Accordion(label("ui.machine.doctor"), open=True):
                self.doctor.build()
            with gr.Column(scale=3, min_width=300), gr.Accordion(label("ui.machine.keys"), open=True):
                self.keys.build()
        with gr.Accordion(label("ui.machine.settings"), open=False):
            self.settings = gr.HTML(elem_id="settings")
        self.doctor.connect(page)
        self.keys.connect(page)
        outputs = [self.settings, *self.keys.outputs]
        page.on(tab.select, self.arrive, role="owner", outputs=outputs, quiet=True)
