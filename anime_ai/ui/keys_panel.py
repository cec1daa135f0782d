"""The panel of the open endpoint's keys: made, shown once, revoked. Knows no request."""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.errors import SettingsError
from anime_ai.serving.keys import MOST_NAME, PER_DAY, PER_MINUTE
from anime_ai.texts import text
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, chooser, note
from anime_ai.ui.persons import Person

if TYPE_CHECKING:
    from anime_ai.serving.keys import ApiKey
    from anime_ai.studio import Studio


class KeysPanel:
    """Handlers of the panel, and its components after `build`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def shown(self, person: Person, secret: str = "") -> list[Any]:
        """Updates of the list, of the new key's place and of the choice to revoke."""
        language = person.language
        keys = self.studio.keys.list()
        lines = "".join(_line(key, language) for key in keys)
        about = escape(text("ui.keys.about", language))
        none = f'<p class="empty">{escape(text("ui.keys.none", language))}</p>'
        made = ""
        if secret:
            made = (
                f'<p class="made">{escape(text("ui.keys.made", language))}</p><code class="key">{escape(secret)}</code>'
            )
        choices = [(f"{key.name} · …{key.tail}", key.id) for key in keys]
        return [
            f'<p class="about">{about}</p>' + (f'<ul class="models">{lines}</ul>' if keys else none),
            made,
            gr.update(choices=choices, value=None),
        ]

    def make(self, person: Person, name: Any, per_minute: Any, per_day: Any, private: Any) -> list[Any]:
        _, secret = self.studio.keys.make(
            str(name or ""), private is True, _whole("per_minute", per_minute), _whole("per_day", per_day)
        )
        return [*self.shown(person, secret), ""]

    def revoke(self, person: Person, key: Any) -> list[Any]:
        self.studio.keys.revoke(str(key or ""))
        note(text("ui.keys.revoked", person.language), person.language)
        return self.shown(person)

    @property
    def outputs(self) -> list[Any]:
        return [self.table, self.new, self.chosen]

    def build(self) -> None:
        self.table = gr.HTML(elem_id="keys")
        self.new = gr.HTML(elem_id="new-key")
        self.name = gr.Textbox(
            label=label("ui.keys.name"), info=label("ui.keys.name.help"), max_lines=1, max_length=MOST_NAME
        )
        limits: dict[str, Any] = {"info": label("ui.keys.no_limit"), "precision": 0, "min_width": 140}
        with gr.Row():
            self.per_minute = gr.Number(PER_MINUTE, label=label("ui.keys.per_minute"), **limits)
            self.per_day = gr.Number(PER_DAY, label=label("ui.keys.per_day"), **limits)
        self.private = gr.Checkbox(label=label("ui.keys.private"))
        self.make_button = gr.Button(label("ui.keys.make"), variant="primary", size="sm", elem_id="make-key")
        with gr.Row(equal_height=True):
            self.chosen = chooser(label=label("ui.keys.which"), scale=4, elem_id="revoke-which")
            self.revoke_button = gr.Button(label("ui.keys.revoke"), size="sm", scale=1, min_width=84)

    def connect(self, page: Page) -> None:
        page.on(
            [self.make_button.click, self.name.submit],
            self.make,
            role="owner",
            inputs=[self.name, self.per_minute, self.per_day, self.private],
            outputs=[*self.outputs, self.name],
        )
        page.on(self.revoke_button.click, self.revoke, role="owner", inputs=[self.chosen], outputs=self.outputs)


def _whole(name: str, value: Any) -> int:
    """A whole number out of a number field; whether it makes sense is looked at further in."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise SettingsError("settings.bounds", name=name, value=value, least=0, most=10**9)
    return int(value)


def _line(key: ApiKey, language: str) -> str:
    unlimited = text("ui.keys.unlimited", language)
    limits = text(
        "ui.keys.limits",
        language,
        minute=key.per_minute or unlimited,
        today=key.today,
        day=key.per_day or unlimited,
    )
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(key.used))
    used = text("ui.keys.used", language, when=when) if key.used else text("ui.keys.never", language)
    parts = [limits, used, *([text("ui.keys.whole", language)] if key.private else [])]
    small = escape(" · ".join(parts))
    return f"<li><b>{escape(key.name)}</b><span>sk-anime-…{escape(key.tail)}</span><small>{small}</small></li>"
