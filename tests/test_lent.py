"""A GPU that is lent for a call: what is asked for, by whom, and that nothing else goes there than can go there."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from test_parallel import ROWS

from anime_ai.config import Settings
from anime_ai.models.bases import Base
from anime_ai.models.engine import GREEDY, Sampling
from anime_ai.models.engines import open_engine
from anime_ai.models.lent import LEAST_S, MOST_S, LentEngine, lender, seconds
from anime_ai.prompting import Prompt
from anime_ai.studio import Studio
from anime_ai.training.queue import wait
from anime_ai.training.recipe import Recipe


class Spaces(ModuleType):
    """The package as a ZeroGPU Space has it: a call's arguments and what it gives go to another process and back, so
    they are pickled here; `asked` holds the seconds of every call, `made` the functions that were decorated."""

    def __init__(self) -> None:
        super().__init__("spaces")
        self.__spec__ = __import__("importlib.util").util.spec_from_loader("spaces", None)
        self.asked: list[int] = []
        self.made: list[str] = []

    def GPU(self, duration: int | Callable[..., int]) -> Callable[..., Any]:
        def decorate(call: Callable[..., Any]) -> Callable[..., Any]:
            self.made.append(call.__name__)

            def lent(*given: Any) -> Any:
                there = pickle.loads(pickle.dumps(given))
                self.asked.append(duration(*there) if callable(duration) else duration)
                made = call(*there)
                return made if isinstance(made, bool) else (pickle.loads(pickle.dumps(one)) for one in made)

            return lent

        return decorate


@pytest.fixture
def spaces(monkeypatch: pytest.MonkeyPatch) -> Spaces:
    found = Spaces()
    monkeypatch.setitem(sys.modules, "spaces", found)
    return found


def prompt_of(length: int) -> Prompt:
    return Prompt(tuple(range(1, length + 1)), 0, (), frozenset())


def test_an_answer_asks_for_as_long_as_its_tokens_take() -> None:
    def asked(length: int, most: int) -> int:
        return seconds(prompt_of(length), None, "", Sampling(max_new_tokens=most))

    assert asked(100, 16) == LEAST_S
    assert LEAST_S < asked(100, 256) < asked(100, 512) < MOST_S
    assert asked(8000, 256) > asked(100, 256)
    assert asked(8000, 4096) == MOST_S


def test_without_the_package_nothing_is_lent(base: Base) -> None:
    assert lender(60) is None
    engine = open_engine(Settings(engine="transformers"), base)
    assert not isinstance(engine, LentEngine)


def test_an_answer_is_lent_and_equal_to_one_of_this_machine(base: Base, spaces: Spaces) -> None:
    prompt, sampling = prompt_of(24), Sampling(temperature=0, max_new_tokens=12, repetition_penalty=1.0)
    engine = open_engine(Settings(engine="transformers"), base)
    assert isinstance(engine, LentEngine)
    assert spaces.made == ["answer"]
    said = [one for piece in engine.stream(prompt, sampling=sampling) for one in piece.ids]
    assert spaces.asked == [seconds(prompt, None, "", sampling)]
    here = [one for piece in engine._engine.stream(prompt, sampling=sampling) for one in piece.ids]
    assert said == here
    assert len(said) == 12
    engine.close()
    assert not engine.loaded


def test_a_stopped_answer_ends_the_call_and_frees_the_engine(base: Base, spaces: Spaces) -> None:
    engine, stop = open_engine(Settings(engine="transformers"), base), threading.Event()
    pieces = engine.stream(prompt_of(24), sampling=Sampling(max_new_tokens=200, temperature=0), stop=stop)
    next(pieces)
    waiting = engine.stream(prompt_of(8), sampling=GREEDY, stop=stop)
    stop.set()
    assert list(waiting) == [], "who waits for the one GPU and is stopped asks for nothing"
    assert list(pieces) == []
    assert len(spaces.asked) == 1
    assert list(engine.stream(prompt_of(8), sampling=Sampling(max_new_tokens=3))), "the next one gets it"
    engine.close()


@pytest.mark.slow
def test_a_training_of_the_studio_runs_in_lent_slices(
    base: Base, spaces: Spaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anime_ai.training.probing.PROBES", ("你好",))
    with Studio.open(Settings(output_dir=tmp_path / "out", model_name=str(base.path))) as studio:
        assert spaces.made[0] == "train_slice", "lent before the page opens, else the Space is not started"
        recipe = Recipe.from_values({"base": base.path, "steps": 4, "batch_size": 5, "learning_rate": 0.01})
        done = wait(studio.runs.submit(ROWS, recipe, "slices", "test").folder)
        assert (done.state, done.error) == ("finished", None)
    assert set(spaces.asked) == {120}
