"""The form of a training: made out of the recipe, filled by presets or by an earlier run, with what it will need.

Knows no run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.errors import DatasetError, ModelError
from anime_ai.texts import catalogue, text
from anime_ai.training.estimate import Estimate, estimate, pace_of
from anime_ai.training.packing import Encoded, shared
from anime_ai.training.recipe import MEMORY, PRESETS, Recipe
from anime_ai.ui.labels import label
from anime_ai.ui.page import chooser
from anime_ai.ui.persons import Person
from anime_ai.ui.run_view import duration

if TYPE_CHECKING:
    from anime_ai.studio import Studio

GIGA = 1e9
SAMPLE = 32
"""Rows that are looked at for what they all begin with."""


class RecipeForm:
    """Handlers, and the components after `build`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        grouped = [name for names in Recipe.GROUPS.values() for name in names]
        self.names = [*Recipe.BASIC, *grouped]

    def recipe(self, values: Sequence[Any]) -> Recipe:
        """What the form says. Raises SettingsError."""
        given = {key: value for key, value in zip(self.names, values, strict=False) if value is not None}
        return Recipe.from_values(given, self.studio.settings)

    def filled(self, values: Mapping[str, Any]) -> list[Any]:
        """Updates of the fields: those of `values` are set."""
        return [gr.update(value=values[name]) if name in values else gr.skip() for name in self.names]

    # Handlers

    def preset(self, person: Person, name: str) -> list[Any]:
        return self.filled(PRESETS.get(str(name)) or MEMORY.get(str(name)) or {})

    def weigh(self, person: Person, dataset: str | None, *values: Any) -> str:
        """What a training by the form needs."""
        return self.card(self.estimate(dataset, self.recipe(values)), person.language)

    def estimate(self, dataset: str | None, recipe: Recipe) -> Estimate:
        """Raises DatasetError without rows, and ModelError for a base that is not on the disk or a lone GGUF."""
        from anime_ai.dataset.preprocess import encode_rows
        from anime_ai.dataset.profile import lengths
        from anime_ai.models.device import pick_device

        if not dataset:
            raise DatasetError("ui.no_dataset")
        base, layout = self.studio.layout(recipe.base)
        base.need_weights()
        rows = [row for row in self.studio.datasets.rows(str(dataset)) if row.persona == recipe.persona]
        measured = lengths(rows, self.studio.personas, layout, recipe.max_length)
        kept = [one.kept for one in measured if one is not None and one.kept]
        if not kept:
            raise DatasetError("dataset.no_persona_rows", persona=recipe.persona, known="-")
        pace = pace_of(self.studio.runs.list(), base.id)
        whole = [row for row, one in zip(rows, measured, strict=True) if one is not None and one.kept]
        chosen = whole[:: -(-len(whole) // SAMPLE)]
        few, _, _ = encode_rows(chosen, self.studio.personas, layout, recipe.max_length)
        common = shared([Encoded(one.ids, one.labels) for one in few.values()]) if few else 0
        return estimate(recipe, base, kept, pick_device(), pace, common)

    def warning(self, dataset: str | None, recipe: Recipe, language: str) -> str:
        """What would fit, where a training does not; "" where it does or nothing can be told."""
        try:
            found = self.estimate(dataset, recipe)
        except (ModelError, DatasetError):
            return ""
        return "" if found.fits else self._advice(found, language)

    def card(self, found: Estimate, language: str) -> str:
        values = {"rows": found.rows, "steps": found.steps, "epochs": f"{found.epochs:.1f}"}
        values |= {"memory": f"{found.memory / GIGA:.1f}", "room": f"{found.room / GIGA:.1f}"}
        line = text("ui.estimate.needs", language, **values)
        time = text("ui.estimate.no_pace", language)
        if found.seconds is not None:
            time = text("ui.estimate.time", language, time=duration(found.seconds, language))
        ways = [text(f"ui.estimate.{way}", language) for way in ("four_bit", "checkpointing") if getattr(found, way)]
        parts = [line, time, *ways]
        if not found.fits:
            return f'<div class="plain why">{escape(" ".join([*parts, self._advice(found, language)]))}</div>'
        return f'<div class="plain">{escape(" ".join(parts))}</div>'

    def _advice(self, found: Estimate, language: str) -> str:
        if not found.advice:
            return text("ui.estimate.too_large", language)
        changes = [f"{text(f'recipe.{name}', language)} = {value}" for name, value in found.advice.items()]
        return text("ui.estimate.advice", language, changes="，".join(changes))

    # Components

    def build(self) -> None:
        presets = [(label(f"preset.{name}"), name) for name in PRESETS]
        memory = [(label(f"preset.{name}"), name) for name in MEMORY]
        with gr.Row():
            self.pains = chooser(label=label("ui.training.preset"), choices=presets, value="standard", min_width=110)
            self.card_size = chooser(label=label("ui.training.card"), choices=memory, value=None, min_width=110)
        self.fields = {name: self._field(name) for name in Recipe.BASIC}
        with gr.Accordion(label("ui.training.more"), open=False):
            self.name = gr.Textbox(label=label("ui.training.name"), info=label("ui.training.name.help"), max_length=80)
            for group, names in Recipe.GROUPS.items():
                with gr.Accordion(label(f"recipe.group.{group}"), open=False):
                    self.fields |= {name: self._field(name) for name in names}
        self.weigh_button = gr.Button(label("ui.estimate"), size="sm", elem_id="weigh")
        self.needs = gr.HTML(elem_id="needs")

    @property
    def components(self) -> list[Any]:
        return [self.fields[name] for name in self.names]

    def _field(self, name: str) -> Any:
        """A component for one field of the recipe, by its type and bounds."""
        one = next(one for one in fields(Recipe) if one.name == name)
        told: dict[str, Any] = {"label": label(f"recipe.{name}"), "elem_id": f"recipe-{name}"}
        if f"recipe.{name}.help" in catalogue("zh"):
            told["info"] = label(f"recipe.{name}.help")
        default = getattr(Recipe.from_values({}, self.studio.settings), name)
        if one.metadata.get("choices"):
            known = catalogue("zh")
            choices = [
                (label(f"choice.{value}") if f"choice.{value}" in known else value, value)
                for value in one.metadata["choices"]
            ]
            return gr.Dropdown(choices, value=default, filterable=False, **told)
        if name == "start_from":  # a run, or a folder that is typed
            return gr.Dropdown([], value="", allow_custom_value=True, **told)
        if name == "base":  # a Hub id or a folder may be typed
            return gr.Dropdown([default], value=default, allow_custom_value=True, **told)
        if name == "persona":
            return chooser(choices=[default], value=default, **told)
        if str(one.type) in ("int", "float"):  # the recipe checks the bounds, in the reader's language
            return gr.Number(value=default, precision=0 if str(one.type) == "int" else None, **told)
        return gr.Textbox(value=str(default), max_lines=1, **told)
