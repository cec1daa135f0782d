"""How answers are drawn, as a form: three presets, all knobs below them. Kept for each persona. Knows no engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.chat.samplings import KNOBS, PRESETS, Knob, preset_of, sampling_of
from anime_ai.models.engine import Sampling
from anime_ai.texts import text
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, chooser, note
from anime_ai.ui.persons import Person

if TYPE_CHECKING:
    from anime_ai.chat.conversations import Conversation
    from anime_ai.studio import Studio


class SamplingForm:
    """Handlers, and the components after `build`. `inputs` are the knobs, whose values `of` reads."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    @staticmethod
    def of(values: Sequence[Any]) -> Sampling:
        """The sampling that the knobs say. Raises SettingsError that names the one that is out of its bounds."""
        return sampling_of(dict(zip(KNOBS, values, strict=True)))

    def shown(self, person: Person, conversation: Conversation) -> list[Any]:
        """Updates of `outputs`; in a conversation of several it can be chosen whose knobs they are."""
        members = [(self.studio.personas.called(one.persona), one.persona) for one in conversation.members]
        whose = gr.update(choices=members, value=conversation.persona if members else None, visible=bool(members))
        return [whose, *self._set(self.studio.samplings.get(person.id, conversation.persona))]

    @staticmethod
    def _set(sampling: Sampling) -> list[Any]:
        values = [getattr(sampling, name) for name in KNOBS]
        shown = ["" if value is None else Knob.shown(value) for value in values]
        return [preset_of(sampling), *shown]

    def keep_knobs(self, person: Person, persona: str, whose: Any, *values: Any) -> Any:
        """Keep the knobs for this persona; the preset that they are."""
        sampling = self.of(values)
        self.studio.samplings.keep(person.id, str(whose or persona), sampling)
        return preset_of(sampling)

    def choose_preset(self, person: Person, persona: str, whose: Any, name: str) -> list[Any]:
        """Take a preset, for this persona."""
        sampling = PRESETS[str(name)] if str(name) in PRESETS else Sampling()
        self.studio.samplings.keep(person.id, str(whose or persona), sampling)
        note(text("talk.preset.kept", person.language, persona=str(whose or persona)), person.language)
        return self._set(sampling)

    def choose_whose(self, person: Person, whose: Any) -> list[Any]:
        """The knobs of another one of several."""
        return self._set(self.studio.samplings.get(person.id, str(whose or "")))

    def build(self) -> None:
        self.whose = chooser(label=label("talk.preset.whose"), visible=False, elem_id="preset-whose")
        names = [(label(f"talk.preset.{name}"), name) for name in PRESETS]
        self.chosen = gr.Radio(
            names, value="standard", label=label("talk.preset"), info=label("talk.preset.help"), elem_id="preset"
        )
        with gr.Row(elem_id="knobs"):
            self.inputs = [self._knob(name) for name in KNOBS]

    @staticmethod
    def _knob(name: str) -> Any:
        knob, value = KNOBS[name], getattr(Sampling(), name)
        told: dict[str, Any] = {
            "label": label(f"ui.sampling.{name}"),
            "info": label(f"ui.sampling.{name}.help"),
            "min_width": 200,
        }
        if knob.step is None:
            shown = "" if value is None else knob.shown(value)
            return gr.Textbox(value=shown, max_lines=1, max_length=80, **told)
        return gr.Number(value=value, minimum=knob.least, maximum=knob.most, step=knob.step, **told)

    @property
    def outputs(self) -> list[Any]:
        return [self.whose, self.chosen, *self.inputs]

    def connect(self, page: Page, persona: Any) -> None:
        shown = [self.chosen, *self.inputs]
        page.on(self.whose.input, self.choose_whose, role="visitor", inputs=[self.whose], outputs=shown)
        for knob in self.inputs:
            page.on(
                knob.blur,
                self.keep_knobs,
                role="visitor",
                writes=True,
                inputs=[persona, self.whose, *self.inputs],
                outputs=[self.chosen],
                trigger_mode="always_last",
            )
        page.on(
            self.chosen.input,
            self.choose_preset,
            role="visitor",
            writes=True,
            inputs=[persona, self.whose, self.chosen],
            outputs=shown,
        )
