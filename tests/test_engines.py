"""Which engine a setting opens."""

from __future__ import annotations

import pytest

from anime_ai.config import Settings
from anime_ai.errors import SettingsError
from anime_ai.models.bases import STARTER, find_base
from anime_ai.models.engines import engine_name, open_engine
from anime_ai.models.transformers_engine import TransformersEngine


def test_the_named_engine_is_opened_and_loads_nothing(settings: Settings) -> None:
    named, base = settings.model_copy(update={"engine": "transformers"}), find_base(STARTER, settings)
    engine = open_engine(named, base)
    assert engine_name(named, base) == "transformers"
    assert isinstance(engine, TransformersEngine)
    assert engine.base == base
    assert not engine.loaded


def test_an_engine_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingsError, match="ENGINE"):
        Settings.load(engine="warp")
