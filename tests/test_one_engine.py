"""Another base takes the engine's place only when nobody is answered by it any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from anime_ai.chat import one_engine
from anime_ai.chat.one_engine import OneEngine
from anime_ai.config import Settings
from anime_ai.errors import ModelError
from anime_ai.models.bases import Base

FIRST, SECOND, BROKEN = (Base(name, Path(name)) for name in ("first", "second", "broken"))


class Opened:
    """An engine that only knows whether it is open."""

    def __init__(self, base: Base, device: Any) -> None:
        self.base, self.device, self.closed = base, device, False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> OneEngine:
    def opened(settings: Settings, base: Base, device: Any) -> Opened:
        if base is BROKEN:
            raise ModelError("model.unknown_adapter", adapter="x")
        return Opened(base, device)

    monkeypatch.setattr(one_engine, "open_engine", opened)
    return OneEngine(settings, lambda base: False)


@contextmanager
def waiting(engines: OneEngine, base: Base, stop: threading.Event | None = None) -> Iterator[list[Any]]:
    """Somebody else who wants to be answered by a base, and what they got; at the end they have."""
    got: list[Any] = []
    stop = stop or threading.Event()

    def ask() -> None:
        with engines.held(base, stop) as engine:
            got.append(engine)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    yield got
    thread.join(10)
    assert not thread.is_alive()


def test_an_answer_is_not_ended_by_another_ones_base(engines: OneEngine) -> None:
    with ExitStack() as others:
        with engines.held(FIRST, threading.Event()) as first:
            got = others.enter_context(waiting(engines, SECOND))
            for _ in range(20):  # also while somebody waits the first one may ask for its tokens
                assert engines.of(FIRST) is first
                time.sleep(0.01)
            assert got == []
            assert not first.closed  # type: ignore[union-attr]
    assert [one.base for one in got] == [SECOND]
    assert first.closed  # type: ignore[union-attr]


def test_two_answers_of_one_base_share_it(engines: OneEngine) -> None:
    with engines.held(FIRST, threading.Event()) as one, engines.held(FIRST, threading.Event()) as two:
        assert one is two
    assert engines.of(FIRST) is one


def test_who_waits_can_stop_waiting(engines: OneEngine) -> None:
    stop = threading.Event()
    with engines.held(FIRST, threading.Event()) as first:
        with waiting(engines, SECOND, stop) as got:
            stop.set()
        assert got == [None]
        assert engines.engine is first
    assert engines.of(SECOND).base is SECOND, "who stopped holds nothing"


def test_who_comes_later_comes_behind_who_waits(engines: OneEngine) -> None:
    with ExitStack() as others:
        with engines.held(FIRST, threading.Event()) as first:
            second = others.enter_context(waiting(engines, SECOND))
            time.sleep(0.1)
            late = others.enter_context(waiting(engines, FIRST))
            time.sleep(0.1)
            assert second == late == []
    assert [one.base for one in (*second, *late)] == [SECOND, FIRST]
    assert late[0] is not first


def test_who_comes_behind_who_waits_can_stop_waiting(engines: OneEngine) -> None:
    stop = threading.Event()
    with ExitStack() as others:
        with engines.held(FIRST, threading.Event()):
            others.enter_context(waiting(engines, SECOND))
            time.sleep(0.1)
            with waiting(engines, FIRST, stop) as late:
                stop.set()
            assert late == [None]


def test_to_let_go_waits_for_no_answer(engines: OneEngine) -> None:
    with ExitStack() as others:
        with engines.held(FIRST, threading.Event()) as first:
            others.enter_context(waiting(engines, SECOND))
            time.sleep(0.1)
            engines.close()
            assert first.closed  # type: ignore[union-attr]
            assert engines.of(SECOND).base is SECOND, "nobody waits for what is closed"


def test_what_is_new_to_choose_from_ends_no_answer(engines: OneEngine) -> None:
    with engines.held(FIRST, threading.Event()) as first:
        engines.choose_again()
        assert not first.closed  # type: ignore[union-attr]
    assert engines.of(FIRST) is not first
    assert first.closed  # type: ignore[union-attr]
    again = engines.of(FIRST)
    engines.choose_again()
    assert again.closed  # type: ignore[attr-defined]
    assert engines.engine is None


def test_a_base_that_cannot_be_opened_leaves_none_and_holds_nothing(engines: OneEngine) -> None:
    engines.of(FIRST)
    with pytest.raises(ModelError), engines.held(BROKEN, threading.Event()):
        raise AssertionError("it was opened")
    assert engines.engine is None
    assert engines.of(SECOND).base is SECOND
