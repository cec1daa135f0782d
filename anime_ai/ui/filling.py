"""What fills the context, shown when it is asked for. Knows no tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.chat.context import Filling
from anime_ai.texts import text
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page
from anime_ai.ui.persons import Person

if TYPE_CHECKING:
    from anime_ai.studio import Studio


class ContextPanel:
    """Handlers, and the components after `build`. `how` reads how an answer is to be made from what the page sent."""

    def __init__(self, studio: Studio, how: Callable[..., Any]) -> None:
        self.studio, self.how = studio, how

    def count_tokens(self, person: Person, message: str, conversation_id: str, *how: Any) -> str:
        conversation = self.studio.conversations.get(person.id, str(conversation_id))
        made = self.how(person, conversation, None, *how)
        answers = self.studio.rounds if conversation.members else self.studio.chat
        found = answers.filling(person.id, conversation.id, str(message or "").strip(), made)
        return filling_bar(found, person.language)

    def build(self) -> None:
        with gr.Accordion(label("context.title"), open=False, elem_id="context") as self.accordion:
            self.bar = gr.HTML(elem_id="filling")

    def connect(self, page: Page, inputs: list[Any]) -> None:
        page.on(self.accordion.expand, self.count_tokens, role="visitor", inputs=inputs, outputs=[self.bar])


def filling_bar(found: Filling, language: str) -> str:
    """A bar as wide as the context, and a line for each part."""
    parts = {**found.parts, "answer": found.answer, "left": max(0, found.left)}
    shown = {name: count for name, count in parts.items() if count}
    bars = "".join(
        f'<i class="{name}" style="width:{100 * count / found.context:.2f}%" '
        f'title="{escape(text(f"context.{name}", language))}"></i>'
        for name, count in shown.items()
    )
    lines = "".join(
        f'<li><i class="{name}"></i>{escape(text(f"context.{name}", language))}<b>{count}</b></li>'
        for name, count in shown.items()
    )
    head = text("context.used", language, used=found.used, context=found.context)
    if found.dropped:
        head += " " + text("context.dropped", language, count=found.dropped)
    return f'<div class="filling"><p>{escape(head)}</p><div class="whole">{bars}</div><ul>{lines}</ul></div>'
