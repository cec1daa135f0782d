"""A run's settings and what they come to: bounds, defaults, and how often something is recorded."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest

from anime_ai.config import Settings
from anime_ai.errors import SettingsError
from anime_ai.texts import LANGUAGES, catalogue
from anime_ai.training.recipe import MEMORY, MIN_STEPS, PLOTTED_POINTS, PRESETS, Recipe, plan

NUMBERS = [one for one in fields(Recipe) if "min" in one.metadata]
CHOICES = [one for one in fields(Recipe) if "choices" in one.metadata]


def refusal(values: dict[str, Any], settings: Settings) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        Recipe.from_values(values, settings)
    name = next(iter(values))
    assert all(name in caught.value.say(language) for language in LANGUAGES)
    return caught.value


def test_every_field_has_its_texts_and_keeps_its_own_bounds(settings: Settings) -> None:
    for language in LANGUAGES:
        for one in fields(Recipe):
            assert {f"recipe.{one.name}", f"recipe.{one.name}.help"} <= set(catalogue(language))
    for one in NUMBERS:
        for end in ("min", "max"):
            # As many evaluations without a better one as there are evaluations is never reached, and refused.
            needed = {"evaluations": 1000} if one.name == "patience" else {}
            value = one.metadata[end] - (one.name == "patience" and end == "max")
            recipe = Recipe.from_values({one.name: str(value), **needed}, settings)
            if one.name == "patience":
                continue
            assert getattr(recipe, one.name) == one.metadata[end]
            assert type(getattr(recipe, one.name)).__name__ == one.type
    for one in CHOICES:
        for choice in one.metadata["choices"]:
            needed = {"start_from": "an adapter"} if choice == "dpo" else {}
            assert getattr(Recipe.from_values({one.name: choice, **needed}, settings), one.name) == choice
    assert set(Recipe.BASIC) <= {one.name for one in fields(Recipe)}


@pytest.mark.parametrize(
    "value", ["nan", "NaN", "inf", "-inf", "1e9", 1e9, -1, "-1", "abc", "", float("nan"), [], {}, True]
)
@pytest.mark.parametrize("name", [one.name for one in NUMBERS])
def test_absurd_numbers_are_refused(settings: Settings, name: str, value: Any) -> None:
    if name == "seed" and value in ("1e9", 1e9):
        assert Recipe.from_values({name: value}, settings).seed == 10**9
        return
    error = refusal({name: value}, settings)
    assert error.key in ("settings.not_a_number", "settings.bounds")


@pytest.mark.parametrize("name", [one.name for one in NUMBERS if one.type == "int"])
def test_half_a_row_is_refused(settings: Settings, name: str) -> None:
    assert refusal({name: "2.5"}, settings).key == "settings.not_a_number"
    assert refusal({name: "9" * 5000}, settings).key in ("settings.not_a_number", "settings.bounds")
    for value in (2.5, True):
        with pytest.raises(SettingsError):
            Recipe(**{name: value})


@pytest.mark.parametrize("name", [one.name for one in CHOICES])
def test_unknown_choices_are_refused(settings: Settings, name: str) -> None:
    for value in ("", "loud", "AUTO", 5, ["auto"]):
        error = refusal({name: value}, settings)
        assert error.key == "settings.choice"
        (field,) = [one for one in CHOICES if one.name == name]
        assert all(choice in error.say("zh") for choice in field.metadata["choices"])


@pytest.mark.parametrize(
    ("values", "other"),
    [
        ({"steps": 10, "epochs": 2}, "epochs"),
        ({"neftune": 5, "method": "dpo", "start_from": "x"}, "method"),
        ({"patience": 6, "evaluations": 6}, "evaluations"),
    ],
)
def test_settings_that_contradict_each_other_are_both_named(
    settings: Settings, values: dict[str, Any], other: str
) -> None:
    error = refusal(values, settings)
    assert error.key == "settings.contradiction"
    assert all(other in error.say(language) for language in LANGUAGES)


def test_preferences_need_an_adapter_to_start_from(settings: Settings) -> None:
    assert refusal({"start_from": " ", "method": "dpo"}, settings).key == "settings.dpo_needs_an_adapter"


def test_presets_are_recipes_and_have_names(settings: Settings) -> None:
    for presets in (PRESETS, MEMORY):
        assert len({frozenset(values) for values in presets.values()}) == 1
        for name, values in presets.items():
            assert {key: getattr(Recipe.from_values(values, settings), key) for key in values} == values
            assert all(f"preset.{name}" in catalogue(language) for language in LANGUAGES)


def test_steps_may_be_named(settings: Settings) -> None:
    made = plan(Recipe(steps=7, evaluations=3, warmup=0), 1000, 4_000_000)
    assert (made.steps, made.eval_every, made.warmup) == (7, 2, 0)


def test_unknown_fields_and_blank_names_are_refused(settings: Settings) -> None:
    error = refusal({"learning_rat": 1}, settings)
    assert error.key == "settings.unknown"
    assert "learning_rate" in error.say("zh")
    for name in ("__class__", "BASIC", "as_json"):
        assert refusal({name: "x"}, settings).key == "settings.unknown"
    for name in ("persona", "base"):
        assert refusal({name: " \u3000"}, settings).key == "settings.blank"


def test_defaults_come_from_the_settings_and_none_means_not_named() -> None:
    settings = Settings.load(
        model_name="some/model", persona="三无", batch_size=7, max_length=64, seed=5, fp16=False, think="inner"
    )
    recipe = Recipe.from_values({}, settings)
    assert (recipe.base, recipe.persona, recipe.batch_size, recipe.max_length) == ("some/model", "三无", 7, 64)
    assert (recipe.seed, recipe.precision, recipe.think) == (5, "fp32", "inner")
    assert Recipe.from_values({one.name: None for one in fields(Recipe)}, settings) == recipe
    assert Recipe.from_values({"persona": " 温柔 ", "batch_size": "３"}, settings).persona == "温柔"


def test_a_recipe_survives_its_file() -> None:
    recipe = Recipe(epochs=2.5, batch_size=3, think="inner")
    assert Recipe(**recipe.as_json()) == recipe


@pytest.mark.parametrize("batch", [1, 2, 256])
@pytest.mark.parametrize("parameters", [4_000_000, 1_777_000_000])
def test_every_number_of_rows_is_enough_for_a_plot(batch: int, parameters: int) -> None:
    for rows in range(1, 5001):
        for epochs in (0, 0.001, 7.3):
            recipe = Recipe(batch_size=batch, accumulation=3, epochs=epochs)
            made = plan(recipe, rows, parameters)
            assert made.steps >= MIN_STEPS == 60
            assert made.steps // made.log_every >= PLOTTED_POINTS == 30
            assert made.steps // made.eval_every >= recipe.evaluations == 6
            assert 1 <= made.warmup < made.steps
            assert made.epochs == pytest.approx(made.steps / math.ceil(rows / (batch * 3)))
            assert made.epochs >= epochs - 1e-9


def test_what_is_named_is_done_and_what_is_not_depends_on_rows_and_size() -> None:
    large = 1_777_000_000
    assert plan(Recipe(epochs=4, learning_rate=1e-3), 1000, large).learning_rate == 1e-3
    assert plan(Recipe(epochs=4), 1000, large).steps == 2000
    assert plan(Recipe(epochs=0.5), 1000, large).steps == 250
    assert plan(Recipe(), 1000, large).learning_rate < plan(Recipe(), 1000, 4_000_000).learning_rate
    passes = [plan(Recipe(), rows, large).epochs for rows in (60, 1000, 5000)]
    assert passes == sorted(passes, reverse=True)
    assert plan(Recipe(), 0, large).steps == MIN_STEPS
