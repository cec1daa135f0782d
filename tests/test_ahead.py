"""What is read while nobody waits: the history that a coming turn is cut to, what a persona's conversations share."""

from __future__ import annotations

import random
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from tiny_models import change_json

from anime_ai.chat.ahead import Ahead
from anime_ai.chat.conversations import Conversations
from anime_ai.chat.model import EngineChatModel, to_dialogue
from anime_ai.chat.service import Chat
from anime_ai.config import STARTER_LM, Settings
from anime_ai.knowledge.service import Knowledge
from anime_ai.models.bases import Base
from anime_ai.models.engine import Sampling
from anime_ai.models.ggufs import Ggufs
from anime_ai.models.llama_server import LlamaServer
from anime_ai.models.llamacpp_engine import LlamaCppEngine
from anime_ai.models.transformers_engine import TransformersEngine
from anime_ai.persona.cards import Personas
from anime_ai.prompting import Prompt
from anime_ai.storage import Database

SHORT = Sampling(temperature=0.0, max_new_tokens=16)


class Reading:
    """A real engine with a small context that remembers what it was asked to read ahead."""

    def __init__(self, base: Base) -> None:
        self.engine = TransformersEngine(base)
        self.read: list[tuple[Prompt, str]] = []
        self.done = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def context_length(self) -> int:
        return 1500

    def prepare(self, prompt: Prompt, adapter: Any, cache_key: str, stop: threading.Event) -> None:
        self.read.append((prompt, cache_key))
        self.done.set()


@pytest.fixture(scope="module")
def reading(base: Base) -> Reading:
    return Reading(base)


@pytest.fixture
def engine(reading: Reading) -> Reading:
    reading.read.clear()
    reading.done.clear()
    return reading


def test_the_cut_history_is_read_once_and_is_what_the_next_turn_stands_behind(engine: Reading) -> None:
    model = EngineChatModel(engine=engine, sampling=SHORT, cache_key="talk")
    told: list[BaseMessage] = [SystemMessage("你是她。")]
    cuts = []
    for turn in range(60):
        told += [HumanMessage(f"第{turn}天怎么样？" * 4), AIMessage("还不错，你呢？" * 4)]
        before = len(engine.read)
        model.read_ahead(told, threading.Event())
        if len(engine.read) > before:
            cuts.append(turn)
            prompt, key = engine.read[-1]
            assert key == "talk"
            coming = model._prompt(to_dialogue([*told, HumanMessage("好" * 48)]))
            assert coming.dropped
            same = next(n for n, (a, b) in enumerate(zip(prompt.ids, coming.ids, strict=False)) if a != b)
            assert len(prompt.ids) - same < 12, "all but the end of the empty question"
    real = {model._prompt(to_dialogue(told[: 2 * turn])).dropped for turn in range(1, 60)}
    assert len(real) > 2
    assert len(real) - 2 <= len(cuts) <= 2 * len(real)


@pytest.mark.slow
def test_sixty_turns_through_a_context_read_no_more_than_what_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The starter over 4,096 tokens, with questions and answers of any length: the cut history is there already."""
    shutil.copytree(STARTER_LM, tmp_path / "long")
    change_json(tmp_path / "long" / "config.json", max_position_embeddings=8192)
    read: list[int] = []
    plain = LlamaServer.complete

    def watched(self: Any, slot: int, ids: tuple[int, ...], scales: list[float], options: dict[str, Any]) -> Any:
        waited = options["n_predict"] > 1
        for said in plain(self, slot, ids, scales, options):
            if waited and not said.ids:
                read.append(len(ids) - said.reused)
                waited = False
            yield said

    monkeypatch.setattr(LlamaServer, "complete", watched)
    chance, sea = random.Random(0), "海边的风很大，她把帽子按住，回头看了一眼走得很慢的人，又装作什么也没有看见。" * 9
    told: list[BaseMessage] = [SystemMessage(sea)]
    asked, dropped = [], [0]
    ggufs = Ggufs(tmp_path / "gguf")
    with closing(LlamaCppEngine(Base("long", tmp_path / "long"), ggufs, tmp_path / "llama", "f16")) as engine:
        model = EngineChatModel(engine=engine, sampling=replace(SHORT, max_new_tokens=64), cache_key="talk")
        for _turn in range(60):
            begins, length = chance.randrange(30), chance.choice([3, 8, 20, 45])
            told.append(HumanMessage(sea[begins : begins + length]))
            prompt = model._prompt(to_dialogue(told))
            list(engine.stream(prompt, None, "talk", replace(SHORT, max_new_tokens=2)))
            asked.append(len(model._prompt(to_dialogue(told[-1:])).ids))
            dropped.append(prompt.dropped)
            told.append(AIMessage(sea[begins : begins + chance.randint(40, 240)]))
            # What she says is drawn; here it is read as if said.
            history = to_dialogue(told).history[prompt.dropped :]
            said = model._prompt(replace(to_dialogue(told), history=history, question=""))
            list(engine.stream(said, None, "talk", replace(SHORT, max_new_tokens=1)))
            model.read_ahead(told, threading.Event())
    assert len(set(dropped)) - 1 >= 3, "cuts"
    assert len(read) == len(asked) == 60
    assert sum(new > own + 8 for new, own in zip(read, asked, strict=True)) <= 4


def test_what_goes_wrong_is_noted_and_the_next_is_read(engine: Reading) -> None:
    ahead, read = Ahead(), threading.Event()
    ahead.start(lambda stop: 1 / 0)  # type: ignore[arg-type, return-value]
    ahead.start(lambda stop: read.set())
    assert read.wait(30)
    ahead.close()


def test_closing_ends_what_is_read_and_begins_nothing_more() -> None:
    ahead, began, late = Ahead(), threading.Event(), threading.Event()

    def endless(stop: threading.Event) -> None:
        began.set()
        assert stop.wait(60)

    ahead.start(endless)
    assert began.wait(30)
    ahead.start(lambda stop: late.set())
    ahead.close()
    assert not late.is_set()


def test_whoever_ends_a_reading_ends_that_one_alone() -> None:
    ahead, began, read = Ahead(), threading.Event(), threading.Event()

    def ended_by_who_asks(stop: threading.Event) -> None:
        stop.set()  # as an engine does when somebody asks in the same conversation
        began.set()

    ahead.start(ended_by_who_asks)
    assert began.wait(30)
    ahead.start(lambda stop: read.set())
    assert read.wait(30)
    ahead.close()


def test_what_is_read_about_something_can_be_ended_before_it_begins() -> None:
    ahead, began, read = Ahead(), threading.Event(), []

    def endless(stop: threading.Event) -> None:
        began.set()
        assert stop.wait(60)

    ahead.start(endless, "one")
    assert began.wait(30)
    ahead.start(lambda stop: read.append("two"), "two")
    ahead.start(lambda stop: read.append("three"), "three")
    ahead.stop("two")
    waiting = list(ahead._threads)
    ahead.stop("one")
    for thread in waiting:
        thread.join(30)
    assert read == ["three"]
    ahead.close()


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    with Database.open(settings) as database:
        yield database


@pytest.mark.parametrize("named", ["llamacpp", "transformers"])
def test_a_conversation_that_is_opened_has_its_shared_part_read(
    settings: Settings, database: Database, engine: Reading, base: Base, named: str, tmp_path: Path
) -> None:
    own = settings.model_copy(update={"model_name": str(base.path), "engine": named})
    chat = Chat(own, Conversations(database), Personas(), Knowledge(own, database), list)
    chat._engine = engine  # type: ignore[assignment]
    chat.warm(chat.open("me", "傲娇"))
    for thread in list(chat.ahead._threads):
        thread.join()
    if named == "transformers":
        assert not engine.read
        return
    ((prompt, key),) = engine.read
    assert key == ""
    said = engine.tokenizer().decode(prompt.ids[: prompt.shared])
    assert Personas().system_line("傲娇") in said
