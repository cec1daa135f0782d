"""The same chat on another engine: what it says there, what is left of it, what there is no memory for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from anime_ai.chat import beside
from anime_ai.chat.beside import Beside
from anime_ai.config import Settings
from anime_ai.errors import ModelError
from anime_ai.models.engine import GREEDY
from anime_ai.studio import Studio

pytestmark = [pytest.mark.slow]


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with Studio.open(Settings(output_dir=tmp_path, model_name="starter", engine="transformers")) as found:
        yield found


def test_two_engines_say_the_same_where_nothing_is_drawn(studio: Studio) -> None:
    there = Beside(lambda: studio.chat)
    adapter = studio.chat.adapters("傲娇")[0].id
    assert there.current(adapter) == "transformers"
    answers = {}
    for engine in ("", "llamacpp"):
        with there.on(engine, adapter) as chat:
            answers[engine] = list(chat.ask("你喜欢什么动漫？", "傲娇", adapter, GREEDY))[-1].text
            opened = chat._engine
            assert opened is not None
            assert opened.name == {"": "transformers", "llamacpp": "llama.cpp"}[engine]
    assert answers[""] == answers["llamacpp"] == "哼，才不会随便告诉你呢！不过《EVA》还算不错吧。"
    assert not opened.loaded, "the other one is let go of"
    assert studio.chat._engine is not None
    assert studio.chat._engine.loaded


def test_what_there_is_no_memory_for_is_said_before_anything_is_loaded(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "free_memory", lambda: 10**8)
    with pytest.raises(ModelError) as caught, Beside(lambda: studio.chat).on("llamacpp", ""):
        pass
    assert caught.value.key == "compare.no_memory"
    with Beside(lambda: studio.chat).on("transformers", "") as chat:
        assert chat is studio.chat, "the engine that is there needs none"
