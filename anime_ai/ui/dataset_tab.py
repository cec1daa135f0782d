"""The dataset tab: rows to edit, files to import, checks, snapshots, figures. Knows no database and no file format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.ui.bulk import Bulk
from anime_ai.ui.checking import Checking
from anime_ai.ui.drafting import Drafting
from anime_ai.ui.editing import Editing
from anime_ai.ui.importing import Importing
from anime_ai.ui.keeping import Keeping
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, chooser
from anime_ai.ui.seeing import Seeing

if TYPE_CHECKING:
    from anime_ai.studio import Studio


class DatasetTab:
    """The tab's parts, which share what the first of them shows."""

    def __init__(self, studio: Studio) -> None:
        self.editing = Editing(studio)
        self.bulk = Bulk(studio, self.editing)
        self.drafting = Drafting(studio, self.editing)
        self.importing = Importing(studio, self.editing)
        self.checking = Checking(studio, self.editing)
        self.keeping = Keeping(studio, self.editing)
        self.seeing = Seeing(studio, self.editing)

    def build(self, page: Page, tab: Any, demo: gr.Blocks) -> None:
        editing = self.editing
        with gr.Row(equal_height=True):
            editing.dataset = chooser(label=label("ui.dataset.name"), scale=4, min_width=180, elem_id="dataset-name")
            editing.exports = gr.HTML(elem_id="download", min_width=120)
        with gr.Tabs(elem_id="dataset-parts", overflow_behavior="wrap") as editing.parts:
            with gr.Tab(label("ui.dataset.editing"), id="rows"):
                editing.build()
                with editing.bulk:
                    self.drafting.build()
                    self.bulk.build()
            with gr.Tab(label("ui.import"), id="import"):
                self.importing.build()
            with gr.Tab(label("ui.check"), id="check"):
                self.checking.build()
            with gr.Tab(label("ui.snapshot"), id="snapshots") as keeping:
                self.keeping.build()
            with gr.Tab(label("ui.seeing"), id="seeing") as seeing:
                self.seeing.build()
        editing.connect(page, tab, demo)
        self.bulk.connect(page)
        self.drafting.connect(page)
        self.importing.connect(page)
        self.checking.connect(page)
        self.keeping.connect(page, keeping)
        self.seeing.connect(page, seeing)
