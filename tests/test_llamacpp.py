"""llama.cpp in its child: the same words as transformers, adapters apart, stops, deaths, states that are kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tiny_models import make_adapter

from anime_ai.chat.service import SHIPPED
from anime_ai.config import Settings
from anime_ai.errors import ModelError
from anime_ai.models import llama_host, llamacpp_engine
from anime_ai.models.bases import STARTER, Base, find_base
from anime_ai.models.engine import GREEDY, Adapter, Engine, Piece, Sampling
from anime_ai.models.ggufs import Ggufs
from anime_ai.models.llamacpp_engine import Bounds, LlamaCppEngine
from anime_ai.models.transformers_engine import TransformersEngine
from anime_ai.persona.cards import Personas
from anime_ai.prompting import Dialogue, Exchange, Prompt

SHORT = replace(GREEDY, max_new_tokens=32)
ASKED = ("你喜欢什么动漫？", "可以帮我写作业吗？", "今天好累啊。", "晚饭吃什么呢？")
TSUNDERE, GENKI = (Adapter(SHIPPED / name) for name in ("tsundere", "genki"))
ALONG = "从前有一个人，他每天都在海边走很长的路。" * 60


@pytest.fixture(scope="module")
def starter() -> Base:
    return find_base(STARTER, Settings())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("llama 文件夹")


@pytest.fixture(scope="module")
def shared_engine(starter: Base, folder: Path) -> Iterator[LlamaCppEngine]:
    with closing(LlamaCppEngine(starter, Ggufs(folder / "gguf"), folder / "llama", "f16")) as engine:
        yield engine


@pytest.fixture
def engine(shared_engine: LlamaCppEngine) -> Iterator[LlamaCppEngine]:
    """One child for all tests; each must leave its seats free."""
    yield shared_engine
    assert not any(seat.busy for seat in shared_engine._seats.all)


@pytest.fixture(scope="module")
def torch_engine(starter: Base) -> TransformersEngine:
    return TransformersEngine(starter)


def fresh(starter: Base, folder: Path, **bounds: int) -> LlamaCppEngine:
    """An engine with states of its own, over the converted file of the others."""
    return LlamaCppEngine(starter, Ggufs(folder.parent / "gguf"), folder, "f16", Bounds(**bounds))


def ask(engine: Engine, question: str, persona: str = "傲娇", history: tuple[Exchange, ...] = ()) -> Prompt:
    card = Personas().system_line(persona)
    return engine.layout("auto", "silent").prompt(Dialogue(card=card, history=history, question=question))


def ids(pieces: Iterator[Piece]) -> list[int]:
    return [token for piece in pieces for token in piece.ids]


def child(engine: LlamaCppEngine) -> psutil.Process:
    server = engine._host._server
    assert server is not None
    assert server._process is not None
    return psutil.Process(server._process.pid)


@pytest.mark.parametrize("adapter", [None, TSUNDERE, GENKI], ids=["base", "tsundere", "genki"])
def test_greedy_says_what_transformers_says(
    engine: LlamaCppEngine, torch_engine: TransformersEngine, adapter: Adapter | None
) -> None:
    for question in ASKED:
        prompt = ask(engine, question)
        assert ids(engine.stream(prompt, adapter, "", SHORT)) == ids(torch_engine.stream(prompt, adapter, "", SHORT))


def test_text_and_end_are_told(engine: LlamaCppEngine) -> None:
    pieces = list(engine.stream(ask(engine, "你喜欢什么动漫？"), TSUNDERE, "", SHORT))
    assert "".join(piece.text for piece in pieces) == "哼，才不会随便告诉你呢！不过《EVA》还算不错吧。"
    assert pieces[-1].ended
    assert not any(piece.ended for piece in pieces[:-1])


@pytest.mark.parametrize("kind", ["llamacpp", "transformers"])
def test_interleaved_answers_equal_lonely_ones(
    engine: LlamaCppEngine, torch_engine: TransformersEngine, kind: str
) -> None:
    asked: Engine = engine if kind == "llamacpp" else torch_engine
    long = replace(GREEDY, max_new_tokens=64)
    prompts = [ask(asked, question) for question in ASKED]

    def answers(adapter: Adapter | None, key: str) -> list[list[int]]:
        return [ids(asked.stream(prompt, adapter, f"{key}{n}", long)) for n, prompt in enumerate(prompts)]

    lonely = {str(adapter): answers(adapter, "lonely") for adapter in (None, TSUNDERE, GENKI)}
    assert len({str(said) for said in lonely.values()}) == 3
    together: dict[str, list[list[int]]] = {}
    threads = [
        threading.Thread(target=lambda one=adapter: together.update({str(one): answers(one, "together")}))
        for adapter in (None, TSUNDERE, GENKI)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == lonely


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Sampling:
    """A sampling under which no answer ends by itself."""
    plain = llamacpp_engine.options
    monkeypatch.setattr(llamacpp_engine, "options", lambda *told: {**plain(*told), "ignore_eos": True})
    return replace(GREEDY, max_new_tokens=400)


def test_an_answer_pauses_for_one_under_another_adapter(engine: LlamaCppEngine, endless: Sampling) -> None:
    prompt = ask(engine, "讲个故事吧。")
    with closing(engine.stream(prompt, TSUNDERE, "long", endless)) as long:
        next(long)
        other: list[int] = []
        waiting = threading.Thread(
            target=lambda: other.extend(ids(engine.stream(ask(engine, "你好"), GENKI, "o", SHORT)))
        )
        waiting.start()
        said = 0
        for _ in long:
            said += 1
            if not waiting.is_alive():
                break
        waiting.join()
    assert other
    assert said < endless.max_new_tokens - 1


def test_a_seed_repeats_and_another_does_not(engine: LlamaCppEngine) -> None:
    prompt = ask(engine, "今天天气怎么样？")
    hot = Sampling(temperature=1.2, top_p=1.0, max_new_tokens=24, seed=7)
    first = ids(engine.stream(prompt, None, "", hot))
    assert ids(engine.stream(prompt, None, "", hot)) == first
    assert any(ids(engine.stream(prompt, None, "", replace(hot, seed=seed))) != first for seed in range(8, 14))


def test_dry_and_likelihoods_are_those_of_transformers(
    engine: LlamaCppEngine, torch_engine: TransformersEngine
) -> None:
    once = "".join(piece.text for piece in engine.stream(ask(engine, "背一首诗吧"), None, "", SHORT))
    prompt = ask(engine, "背一首诗吧", history=(Exchange("背一首诗吧", once),) * 4)
    dry = replace(GREEDY, max_new_tokens=40, dry_multiplier=10.0, dry_allowed_length=1, logprobs=3)
    ours, theirs = (list(one.stream(prompt, None, "", dry)) for one in (engine, torch_engine))
    assert (
        ids(iter(ours)) == ids(iter(theirs)) != ids(engine.stream(prompt, None, "", replace(GREEDY, max_new_tokens=40)))
    )
    for mine, told in zip(ours[0].likelihoods, theirs[0].likelihoods, strict=True):
        assert mine.id == told.id
        assert mine.logprob == pytest.approx(told.logprob, abs=0.02)
        assert [one.id for one in mine.best] == [one.id for one in told.best]


def test_stop_ends_within_a_token_and_while_the_prompt_is_read(engine: LlamaCppEngine, endless: Sampling) -> None:
    stop = threading.Event()
    pieces = engine.stream(ask(engine, "你好"), None, "s", endless, stop)
    next(pieces)
    stop.set()
    assert len(list(pieces)) <= 1
    reading = threading.Event()
    threading.Timer(0.02, reading.set).start()
    assert list(engine.stream(ask(engine, ALONG), None, "s", endless, reading)) == []
    assert ids(engine.stream(ask(engine, "你好"), None, "s", SHORT))


def test_each_stop_stops_its_own(engine: LlamaCppEngine, endless: Sampling) -> None:
    lonely = ids(engine.stream(ask(engine, "晚饭吃什么呢？"), None, "mine", SHORT))
    assert len(lonely) > 8, "it goes on behind the stop of the other"
    theirs = engine.stream(ask(engine, "你好"), None, "theirs", endless)
    mine = engine.stream(ask(engine, "晚饭吃什么呢？"), None, "mine", SHORT)
    next(theirs)
    first = list(next(mine).ids)
    theirs.close()
    assert first + ids(mine) == lonely


def test_a_killed_child_is_one_line_and_starts_again(engine: LlamaCppEngine, endless: Sampling) -> None:
    pieces = engine.stream(ask(engine, "你好"), None, "k", endless)
    said = [next(pieces), next(pieces)]
    child(engine).send_signal(signal.SIGKILL)
    with pytest.raises(ModelError) as caught:
        said.extend(pieces)
    assert caught.value.key == "model.llama_gone"
    assert "\n" not in str(caught.value)
    assert len(said) >= 2
    assert not engine.loaded
    assert ids(engine.stream(ask(engine, "你好"), None, "k", SHORT))
    assert engine.loaded


def test_the_child_ends_with_the_app(starter: Base, folder: Path, tmp_path: Path) -> None:
    script = """
        import sys, time
        from pathlib import Path
        from anime_ai.models.llama_server import LlamaServer, Loaded
        server = LlamaServer(Loaded(Path(sys.argv[1])), Path(sys.argv[2]))
        server.start()
        print(server._process.pid, flush=True)
        time.sleep(600)
    """
    gguf = Ggufs(folder / "gguf").make(starter, "f16")
    app = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(gguf), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with app:
        assert app.stdout is not None
        started = psutil.Process(int(app.stdout.readline()))
        app.kill()
    started.wait(timeout=30)


def test_the_listener_is_closed_to_who_has_no_key(engine: LlamaCppEngine) -> None:
    list(engine.stream(ask(engine, "你好"), None, "", SHORT))
    server = engine._host.ready("").server
    foreign = {"Origin": "http://evil.example"}
    asked = (("POST", "completion"), ("GET", "slots"), ("GET", "v1/models"), ("POST", "slots/0?action=save"))
    for method, path in asked:
        answer = httpx.request(method, f"{server._address}/{path}", headers=foreign, json={})
        assert answer.status_code == 401, path
    assert httpx.get(server._address, headers=foreign).status_code == 404
    own = {**foreign, "Authorization": f"Bearer {server._key}"}
    allowed = httpx.get(f"{server._address}/v1/models", headers=own)
    assert allowed.status_code == 200
    assert allowed.headers.get("Access-Control-Allow-Origin") not in ("*", foreign["Origin"])
    assert server._key not in " ".join(child(engine).cmdline())


def reused(engine: LlamaCppEngine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collects, for every answer from now on, how many prompt tokens were there already."""
    from anime_ai.models.llama_server import LlamaServer

    told: list[int] = []
    plain = LlamaServer.complete

    def watched(self: Any, slot: int, tokens: tuple[int, ...], scales: list[float], options: dict[str, Any]) -> Any:
        first = True
        for said in plain(self, slot, tokens, scales, options):
            if first and options["n_predict"]:
                told.append(said.reused)
            first = False
            yield said

    monkeypatch.setattr(LlamaServer, "complete", watched)
    return told


@pytest.mark.parametrize("adapter", [None, TSUNDERE], ids=["base", "adapter"])
def test_the_shared_part_outlives_the_engine(
    starter: Base, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapter: Adapter | None
) -> None:
    states = folder / f"llama {tmp_path.name}"
    with closing(fresh(starter, states)) as first:
        prompt = ask(first, "你好")
        said = ids(first.stream(prompt, adapter, "one", SHORT))
    told = reused(first, monkeypatch)
    with closing(fresh(starter, states)) as second:
        assert ids(second.stream(prompt, adapter, "two", SHORT)) == said
        assert told == [prompt.shared]
        (kept,) = (states / "states").glob("shared-*.bin")
        kept.write_bytes(kept.read_bytes()[:-100])
    told.clear()
    with closing(fresh(starter, states)) as third:
        assert ids(third.stream(prompt, adapter, "three", SHORT)) == said
        assert third.loaded
        assert kept.stat().st_size > 100


def test_preparing_reads_the_shared_part_ahead(
    starter: Base, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(fresh(starter, folder / f"llama {tmp_path.name}")) as engine:
        prompt = ask(engine, "你好")
        engine.prepare(prompt, GENKI)
        assert len(list((engine._states.folder).glob("shared-*.bin"))) == 1
        told = reused(engine, monkeypatch)
        assert ids(engine.stream(prompt, GENKI, "new", SHORT))
        assert told == [prompt.shared]


def test_what_was_read_ahead_is_there_when_it_is_asked_for(
    engine: LlamaCppEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = tuple(Exchange(f"第{n}天怎么样？", "还不错，你呢？") for n in range(8))
    long, cut = ask(engine, "", history=history), ask(engine, "", history=history[4:])
    ids(engine.stream(long, None, "ahead", SHORT))
    engine.prepare(cut, None, "ahead")
    told = reused(engine, monkeypatch)
    # The question may need the cut, or not yet: either way nothing of the history is read now.
    for kept, asked in ((history[4:], "下雨了"), (history, "下雨了")):
        prompt = ask(engine, asked, history=kept)
        assert ids(engine.stream(prompt, None, "ahead" if len(kept) == 4 else "other", SHORT))
    assert told[0] >= len(cut.ids) - 8
    assert told[1] < len(cut.ids)


def test_the_pace_of_reading_is_measured(engine: LlamaCppEngine) -> None:
    long = ask(engine, ALONG[:1500])
    ids(engine.stream(long, None, "paced", SHORT))
    assert engine.reading_pace is not None
    assert engine.reading_pace > 10


def test_who_asks_ends_the_reading_ahead(engine: LlamaCppEngine) -> None:
    reading = threading.Thread(target=lambda: engine.prepare(ask(engine, ALONG), None, "hurry"))
    reading.start()
    assert ids(engine.stream(ask(engine, "你好"), None, "hurry", SHORT))
    reading.join(30)
    assert not reading.is_alive()


def test_conversations_beyond_the_slots_come_back_with_what_was_read(
    engine: LlamaCppEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = {f"talk {n}": ask(engine, f"我叫小{'甲乙丙丁戊己庚'[n]}，你好。") for n in range(7)}
    said = {key: ids(engine.stream(prompt, None, key, SHORT)) for key, prompt in prompts.items()}
    told = reused(engine, monkeypatch)
    for key, prompt in prompts.items():
        assert ids(engine.stream(prompt, None, key, SHORT)) == said[key]
    assert told == [len(prompt.ids) - 1 for prompt in prompts.values()]


def test_what_is_forgotten_is_in_no_slot_and_no_file_and_the_others_keep_theirs(
    starter: Base, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(fresh(starter, folder / f"llama {tmp_path.name}")) as engine:
        prompts = {f"talk {n}": ask(engine, f"我叫小{'甲乙丙丁戊'[n]}，你好。") for n in range(5)}
        for key, prompt in prompts.items():  # the first is on the disk by now, the others in slots
            assert ids(engine.stream(prompt, None, key, SHORT))
        assert ids(engine.stream(prompts["talk 4"], TSUNDERE, "talk 4", SHORT)), "a restart: all are on the disk"
        files = len(list(engine._states.folder.glob("talk-*.bin")))
        before = child(engine).pid
        engine.prepare(ask(engine, ALONG), None, "talk 4")
        engine.forget(["talk 0", "talk 4", "nobody's"])
        assert child(engine).pid == before
        assert engine._seats.owners(["talk 0", "talk 4", "\0talk 4"]) == []
        assert len(list(engine._states.folder.glob("talk-*.bin"))) == files - 2
        told = reused(engine, monkeypatch)
        for key in ("talk 0", "talk 4", "talk 1"):
            assert ids(engine.stream(prompts[key], None, key, SHORT))
        shared = prompts["talk 0"].shared
        assert told == [shared, shared, len(prompts["talk 1"].ids) - 1]


def test_a_slot_that_was_emptied_holds_no_tokens(engine: LlamaCppEngine) -> None:
    assert ids(engine.stream(ask(engine, "我住在海棠镇"), None, "secret", SHORT))
    seat = next(seat for seat in engine._seats.all if seat.owner == ("", "secret"))
    live = engine._host.ready("")
    engine.forget(["secret"])
    with closing(
        live.server.complete(seat.slot, ask(engine, "我住在海棠镇").ids, live.scales, {"n_predict": 0})
    ) as told:
        assert max(one.reused for one in told) == 0


def test_a_new_adapter_restarts_the_child_and_brings_the_slots_back(
    starter: Base, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(fresh(starter, folder / f"llama {tmp_path.name}")) as engine:
        prompt = ask(engine, "你好")
        said = ids(engine.stream(prompt, TSUNDERE, "talk", SHORT))
        before = child(engine).pid
        assert ids(engine.stream(prompt, GENKI, "other", SHORT))
        assert child(engine).pid != before
        told = reused(engine, monkeypatch)
        assert ids(engine.stream(prompt, TSUNDERE, "talk", SHORT)) == said
        assert told == [len(prompt.ids) - 1]


def test_states_are_bounded_and_a_full_disk_costs_no_answer(
    starter: Base, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = folder / f"llama {tmp_path.name}"
    with closing(fresh(starter, states, states=1)) as engine:
        for persona in ("傲娇", "活泼", "温柔"):
            assert ids(engine.stream(ask(engine, "你好", persona), None, persona, SHORT))
        assert len(list((states / "states").glob("*.bin"))) == 1
        monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError(28, "No space left")))
        assert ids(engine.stream(ask(engine, "你好", "三无"), None, "full", SHORT))
    assert not list((states / "states").glob("*.partial"))


def test_an_adapter_that_no_lora_file_holds_is_merged(
    starter: Base, folder: Path, tmp_path: Path, torch_engine: TransformersEngine
) -> None:
    tokens = Adapter(make_adapter(tmp_path / "tokens", starter, seed=2, tokens=True, spread=0.1))
    few = replace(GREEDY, max_new_tokens=8)  # random weights leave near ties, which 16 bits decide otherwise
    said = [ids(torch_engine.stream(ask(torch_engine, "你好"), one, "", few)) for one in (tokens, None)]
    assert said[0] != said[1]
    with closing(fresh(starter, folder / f"llama {tmp_path.name}")) as engine:
        prompt = ask(engine, "你好")
        for adapter in (tokens, TSUNDERE, None, tokens):
            assert ids(engine.stream(prompt, adapter, "", few)) == ids(torch_engine.stream(prompt, adapter, "", few))


@pytest.mark.parametrize("length", [0, 5, 100_000])
def test_a_broken_gguf_is_one_line(starter: Base, tmp_path: Path, length: int, folder: Path) -> None:
    whole = Ggufs(folder / "gguf").make(starter, "f16")
    ggufs = Ggufs(tmp_path / "gguf")
    ggufs.folder.mkdir()
    ggufs.file(starter, "f16").write_bytes(whole.read_bytes()[:length])
    with closing(LlamaCppEngine(starter, ggufs, tmp_path / "llama", "f16")) as engine:
        with pytest.raises(ModelError) as caught:
            list(engine.stream(ask(engine, "你好"), None, "", SHORT))
        assert caught.value.key == "model.llama_start"
        assert "\n" not in str(caught.value)
        assert str(tmp_path) not in str(caught.value)


def test_too_little_memory_is_told_before_anything_is_loaded(
    starter: Base, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_host, "free_memory", lambda: 100 * 2**20)
    with closing(fresh(starter, tmp_path / "llama")) as engine:
        engine._host.ggufs.folder = folder / "gguf"
        with pytest.raises(ModelError) as caught:
            list(engine.stream(ask(engine, "你好"), None, "", SHORT))
        assert caught.value.key == "model.llama_memory"
        assert not engine.loaded


def test_a_conversation_longer_than_the_context_is_refused_in_a_line(engine: LlamaCppEngine) -> None:
    prompt = ask(engine, ALONG * 4)
    assert len(prompt.ids) > engine.context_length()
    with pytest.raises(ModelError) as caught:
        list(engine.stream(prompt, None, "", SHORT))
    assert caught.value.key == "model.llama_refused"
    assert ids(engine.stream(ask(engine, "你好"), None, "", SHORT))


def test_who_waits_for_a_turn_can_give_up(engine: LlamaCppEngine, endless: Sampling) -> None:
    pieces = engine.stream(ask(engine, "你好"), None, "a", endless)
    next(pieces)
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    began = time.monotonic()
    # The first answer is not read on, so it never pauses.
    assert list(engine.stream(ask(engine, "你好"), TSUNDERE, "b", SHORT, stop)) == []
    assert time.monotonic() - began < 30
    pieces.close()
