"""What works on this machine and what does not, with the mend, as the doctor finds it. Repairs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.texts import text
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page
from anime_ai.ui.persons import Person

if TYPE_CHECKING:
    from anime_ai.config import Settings
    from anime_ai.doctor import Check
    from anime_ai.studio import Studio


class DoctorPanel:
    """Handlers of the panel, and its components after `build`. `ask`: the doctor, which takes seconds."""

    def __init__(self, studio: Studio, ask: Callable[[Settings, str], list[Check]] | None = None) -> None:
        self.studio = studio
        self._ask = ask

    def check(self, person: Person) -> Iterator[list[Any]]:
        """Updates of the findings and of the button, first that it is being looked."""
        looking = escape(text("ui.machine.looking", person.language))
        yield [f'<p class="empty">{looking}</p>', gr.update(interactive=False)]
        try:
            found = self._doctor()(self.studio.settings, person.language)
        except Exception:
            yield ["", gr.update(interactive=True)]
            raise
        yield [findings(found, person.language), gr.update(interactive=True)]

    def _doctor(self) -> Callable[[Settings, str], list[Check]]:
        if self._ask is not None:
            return self._ask
        from anime_ai.doctor import check_all

        return check_all

    def build(self) -> None:
        self.button = gr.Button(label("ui.machine.check"), variant="primary", size="sm", elem_id="check-machine")
        self.found = gr.HTML(f'<p class="empty">{label("ui.machine.unchecked")}</p>', elem_id="findings")

    def connect(self, page: Page) -> None:
        page.on(
            self.button.click,
            self.check,
            role="owner",
            outputs=[self.found, self.button],
            concurrency_limit=1,
            concurrency_id="doctor",
        )


def findings(found: Sequence[Check], language: str) -> str:
    """What does not work first; text only, nothing in it is markup."""
    broken = [one for one in found if not one.ok]
    key = "ui.machine.broken" if broken else "ui.machine.well"
    head = f"<p><b>{escape(text(key, language, count=len(broken), all=len(found)))}</b></p>"
    lines = []
    for one in sorted(found, key=lambda one: one.ok):
        mend = f'<small class="mend">{escape(one.mend)}</small>' if one.mend else ""
        told = text("ui.machine.ok" if one.ok else "ui.machine.not_ok", language)
        lines.append(
            f'<li class="{"present" if one.ok else "fault"}"><b>{escape(one.name)}</b>'
            f"<span>{escape(told)} · {escape(one.found)}</span>{mend}</li>"
        )
    return f'{head}<ul class="models checks">{"".join(lines)}</ul>'
