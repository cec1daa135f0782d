"""The page: `create_app(studio)` builds it, `anime_ai.ui.launch` serves it. Only they and `app.py` import Gradio."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gradio as gr

    from anime_ai.studio import Studio
    from anime_ai.ui.health import Health

log = logging.getLogger("anime_ai.ui")
OWNERS = ("personas", "dataset", "training", "pictures", "models", "publish", "machine")
"""Tabs that a visitor sees closed."""


def create_app(studio: Studio, health: Health | None = None) -> gr.Blocks:
    """The whole page over an open studio. A tab that cannot be built says so, and the others work.

    Its handlers trust the guard of `anime_ai.ui.launch`: served without it, everybody is nobody and may do nothing.
    """
    import gradio as gr

    from anime_ai.ui.blocks import Blocks
    from anime_ai.ui.chat_tab import ChatTab
    from anime_ai.ui.dataset_tab import DatasetTab
    from anime_ai.ui.knowledge_tab import KnowledgeTab
    from anime_ai.ui.labels import label
    from anime_ai.ui.machine_tab import MachineTab
    from anime_ai.ui.models_tab import ModelsTab
    from anime_ai.ui.origin import Origins
    from anime_ai.ui.page import Page
    from anime_ai.ui.persona_tab import PersonaTab
    from anime_ai.ui.pictures_tab import PicturesTab
    from anime_ai.ui.publishing_tab import PublishingTab
    from anime_ai.ui.shell import Gate, build_header
    from anime_ai.ui.training_tab import TrainingTab

    page, gate = Page(studio.quotas.change), Gate(health)
    tabs = {
        "chat": ChatTab,
        "personas": PersonaTab,
        "dataset": DatasetTab,
        "training": TrainingTab,
        "knowledge": KnowledgeTab,
        "pictures": PicturesTab,
        "models": ModelsTab,
        "publish": PublishingTab,
        "machine": MachineTab,
    }
    if not studio.vision.ready:  # what cannot look does not offer to
        del tabs["pictures"]
    with Blocks(title="Anime AI Studio", analytics_enabled=False, delete_cache=(3600, 3600)) as demo:
        build_header()
        built = {}
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as whole:
            for name, make in tabs.items():
                with gr.Tab(label(f"ui.tab.{name}"), id=name, elem_id=name) as tab:
                    notice = gr.HTML()
                    with gr.Column() as inside:
                        built[name] = _build(make, studio, page, tab, demo)
                    gate.add(name, tab, notice, inside if name in OWNERS else None)
        if isinstance(talking := built.get("chat"), ChatTab):
            gate.keep(talking.gathering.accordion)
        gate.connect(page, demo)
        chat, pictures, personas = (built.get(name) for name in ("chat", "pictures", "personas"))
        if isinstance(chat, ChatTab) and isinstance(personas, PersonaTab):
            personas.connect_chat(page, chat, gate.tabs["chat"][0], whole)
        if isinstance(chat, ChatTab) and isinstance(pictures, PicturesTab):
            pictures.connect_chat(page, chat.attachment, whole)
        if isinstance(rows := built.get("dataset"), DatasetTab):
            Origins(studio).connect(page, rows.editing)
        models, training = built.get("models"), built.get("training")
        if isinstance(models, ModelsTab) and isinstance(training, TrainingTab):
            models.connect_training(page, gate.tabs["training"][0], training.form.fields["base"])
    return demo


def _build(make: Any, studio: Studio, page: Any, tab: Any, demo: Any) -> Any:
    """Build one tab; what breaks in it stays in it, and None comes back."""
    import gradio as gr

    from anime_ai.ui.labels import label

    try:
        made = make(studio)
        made.build(page, tab, demo)
        return made
    except Exception as error:
        log.exception("a tab cannot be built")
        package = error.name if isinstance(error, ImportError) and error.name else type(error).__name__
        gr.HTML(f'<div class="plain fault"><b>{package}</b> {label("ui.tab.broken")}</div>')
        return None
