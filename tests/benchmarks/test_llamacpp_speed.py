"""Chatting with the 1.5B in llama.cpp on this machine: tokens a second, first tokens, memory, conversions.

ANIME_AI_TEST_DATA=… pytest -m benchmark -s tests/benchmarks/test_llamacpp_speed.py

On the full-size stand-in at Q4_0, the model loaded, against references in the same run, in turns where they are quick:
xllamacpp itself on the same file; transformers in fp32, as the original recipe runs it, and in bf16 without a cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest
import standin
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from anime_ai.chat.machine import legible
from anime_ai.chat.model import EngineChatModel
from anime_ai.config import ROOT
from anime_ai.models.bases import Base
from anime_ai.models.engine import GREEDY, Engine
from anime_ai.models.ggufs import Ggufs
from anime_ai.models.llamacpp_engine import LlamaCppEngine
from anime_ai.models.transformers_engine import TransformersEngine
from anime_ai.processes import usable_cpus
from anime_ai.prompting import Dialogue, Exchange, Prompt, passages

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(5400)]
WORDS = "海边的风很大，她把帽子按住，回头看了一眼走得很慢的人，又装作什么也没有看见。"
KIND = "q4_0"

RAW = """
import json, sys, time
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.warmup, params.verbosity = sys.argv[1], 4096, 1, False, 1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(sys.argv[2])
server = xllamacpp.Server(params)
for line in sys.stdin:
    ids, stamps = json.loads(line), []
    def said(event):
        stamps.append(time.monotonic())
        return False
    told = {"prompt": ids, "n_predict": 64, "temperature": 0, "stream": True, "ignore_eos": True}
    server.handle_completions(told, said)
    print(json.dumps(stamps), flush=True)
"""

CONVERT = """
import sys, time
from pathlib import Path
from anime_ai.models.bases import Base
from anime_ai.models.gguf_files import convert
from anime_ai.processes import peak_memory
began = time.monotonic()
convert(Base("stand-in", Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3])
print(time.monotonic() - began, peak_memory())
"""


@dataclass(frozen=True)
class Line:
    name: str
    figure: str
    bar: str


def text(engine: Engine, tokens: int) -> str:
    """So many tokens of words, give or take a sentence's."""
    layout = engine.layout("auto", "silent")
    return WORDS * max(1, round(tokens / layout.length(WORDS)))


def ask(engine: Engine, question: str, **slots: Any) -> Prompt:
    prompt = engine.layout("auto", "silent").prompt(Dialogue(question=question, **slots))
    return replace(prompt, stop_ids=frozenset())  # random weights may end anywhere


def first_token(engine: Engine, prompt: Prompt, key: str = "") -> float:
    """Seconds until the first token; the answer is two tokens long."""
    began = time.monotonic()
    with closing(engine.stream(prompt, None, key, replace(GREEDY, max_new_tokens=2))) as pieces:
        next(piece for piece in pieces if piece.ids)
        return time.monotonic() - began


def pace(stamps: list[float]) -> float:
    return (len(stamps) - 1) / (stamps[-1] - stamps[0])


def stamps(engine: Engine, prompt: Prompt, tokens: int, key: str = "") -> list[float]:
    pieces = engine.stream(prompt, None, key, replace(GREEDY, max_new_tokens=tokens))
    return [time.monotonic() for piece in pieces if piece.ids]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("llamacpp")


@pytest.fixture(scope="module")
def base(folder: Path, test_data: Path) -> Base:
    named = os.environ.get("STANDIN")
    return Base("stand-in", standin.make(Path(named) if named else folder / "stand-in", test_data / "tokenizer"))


@pytest.fixture(scope="module")
def table(base: Base) -> Iterator[list[Line]]:
    lines: list[Line] = []
    yield lines
    print(f"\nthe 1.5B at {KIND}, {usable_cpus()} cores")
    for line in lines:
        print(f"  {line.name:<62}{line.figure:<44}{line.bar}")


@pytest.fixture(scope="module")
def conversion(base: Base, folder: Path) -> tuple[Path, float, int]:
    """The converted stand-in, made in a process of its own: the file, seconds, and bytes of memory at most."""
    file = Ggufs(folder / "gguf").file(base, KIND)
    file.parent.mkdir()
    command = [sys.executable, "-c", CONVERT, str(base.path), str(file), KIND]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    return file, float(told[0]), int(told[1])


@pytest.fixture(scope="module")
def gguf(conversion: tuple[Path, float, int]) -> Path:
    return conversion[0]


def test_conversion(conversion: tuple[Path, float, int], table: list[Line]) -> None:
    _, seconds, peak = conversion
    most = 1.5 * 151_936 * 1536 * 2 + 2**30  # of the largest tensor, in 16 bits
    table.append(Line("conversion", f"{seconds:.0f} s, {peak / 2**30:.2f} GiB", f"90 s, {most / 2**30:.2f} GiB"))
    assert peak <= most
    assert seconds <= 90


def opened(base: Base, folder: Path) -> LlamaCppEngine:
    engine = LlamaCppEngine(base, Ggufs(folder / "gguf"), folder / "llama", KIND)
    stamps(engine, ask(engine, "你好"), 2)
    return engine


@pytest.fixture
def engine(base: Base, folder: Path, gguf: Path) -> Iterator[LlamaCppEngine]:
    with closing(opened(base, folder)) as started:
        yield started


def test_decoding(engine: LlamaCppEngine, base: Base, gguf: Path, table: list[Line]) -> None:
    prompt = ask(engine, "讲个故事吧")
    ours, raws = [], []
    raw = subprocess.Popen(
        [sys.executable, "-c", RAW, str(gguf), str(usable_cpus())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with raw:
        assert raw.stdin is not None
        assert raw.stdout is not None
        for _ in range(3):
            raw.stdin.write(json.dumps(list(prompt.ids)) + "\n")
            raw.stdin.flush()
            raws.append(pace([stamp for stamp in json.loads(raw.stdout.readline())][-60:]))
            ours.append(pace(stamps(engine, prompt, 64)[-60:]))
        raw.stdin.close()
    original = TransformersEngine(base, sixteen=False)
    recipe = pace(stamps(original, prompt, 10))
    original.close()
    share, times = median(ours) / median(raws), median(ours) / recipe
    table.append(Line("tokens/s · xllamacpp itself", f"{median(ours):.1f} · {median(raws):.1f} = {share:.2f}", "0.95"))
    table.append(Line("tokens/s · transformers fp32", f"{median(ours):.1f} · {recipe:.2f} = {times:.1f} times", "8"))
    assert share >= 0.95
    assert times >= 8


def test_first_tokens(engine: LlamaCppEngine, base: Base, folder: Path, table: list[Line]) -> None:
    one = text(engine, 105)
    history = tuple(Exchange(one, one) for _ in range(9))
    tenth = ask(engine, "后来呢？", history=history)
    first_token(engine, ask(engine, one, history=history[:8]), "talk")
    list(engine.stream(ask(engine, "", history=history), None, "talk", replace(GREEDY, max_new_tokens=1)))
    ours = first_token(engine, tenth, "talk")
    plain = TransformersEngine(base)
    stamps(plain, ask(plain, "你好"), 1)
    theirs = first_token(plain, tenth)
    plain.close()
    named = f"first token of a tenth turn, {len(tenth.ids)} tokens · transformers, no cache"
    table.append(Line(named, f"{ours:.2f} · {theirs:.1f} s = {ours / theirs:.3f}", "0.6 s, 0.05"))
    # As the chat narrows them: by what is read while somebody waits.
    width = (legible(engine) or 0) // 3
    assert width
    told = passages(f"第{n}夜\n{(WORDS * 9)[:width]}" for n in "一二三")
    brought = ask(engine, "她看见谁了？", history=history, brought=told)
    third = first_token(engine, brought, "talk")
    table.append(
        Line(
            f"first token of a turn with three passages, {len(brought.ids) - len(tenth.ids)} more",
            f"{third:.2f} s",
            "4 s",
        )
    )
    assert ours <= 0.6
    assert ours <= 0.05 * theirs
    assert third <= 4


def test_a_card_is_read_once_in_its_life(base: Base, folder: Path, gguf: Path, table: list[Line]) -> None:
    with closing(opened(base, folder)) as engine:
        card = text(engine, 1000)
        fresh = first_token(engine, ask(engine, "你好", card=card), "one")
    with closing(opened(base, folder)) as engine:
        prompt = ask(engine, "早上好", card=card)
        again = first_token(engine, prompt, "two")
    table.append(
        Line(
            f"first token behind a card of {prompt.shared} tokens, after a restart · never read",
            f"{again:.2f} · {fresh:.1f} s",
            "1.5 s",
        )
    )
    assert again <= 1.5


def test_sixty_turns_through_a_context(engine: LlamaCppEngine, table: list[Line]) -> None:
    layout, budget = engine.layout("auto", "silent"), engine.context_length() - 64
    card, question, answer = text(engine, 900), WORDS[:24], text(engine, 130)
    model = EngineChatModel(engine=engine, cache_key="long", sampling=replace(GREEDY, max_new_tokens=64))
    history: tuple[Exchange, ...] = ()
    told: list[BaseMessage] = [SystemMessage(card)]
    seconds, dropped = [], [0]
    for _turn in range(60):
        prompt = layout.prompt(Dialogue(card, history=history, question=question), budget)
        seconds.append(first_token(engine, prompt, "long"))
        dropped.append(prompt.dropped)
        history = (*history, Exchange(question, answer))
        told += [HumanMessage(question), AIMessage(answer)]
        # Noise does not encode to the tokens that it was decoded from: the answer's tokens are read as if said.
        said = layout.prompt(Dialogue(card, history=history[prompt.dropped :], question=""))
        first_token(engine, said, "long")
        model.read_ahead(told, threading.Event())
    slow, cuts = sum(second > 1.5 for second in seconds), len(set(dropped)) - 1
    one, two = (len(layout.prompt(Dialogue(card, history=history[:count])).ids) for count in (1, 2))
    named = f"60 turns of {two - one} tokens through 4,096 ({cuts} cuts): slower than 1.5 s"
    table.append(Line(named, f"{slow}, median {median(seconds):.2f} s, slowest {max(seconds):.1f} s", "4"))
    assert cuts >= 3
    assert slow <= 4


def test_two_at_once_and_memory(engine: LlamaCppEngine, table: list[Line]) -> None:
    prompts = [ask(engine, question) for question in ("讲个故事吧", "说说海")]
    alone = median(pace(stamps(engine, prompts[0], 48, "a")) for _ in range(3))
    began, ends = time.monotonic(), []

    def work(place: int) -> None:
        stamps(engine, prompts[place], 48, "ab"[place])
        ends.append(time.monotonic())

    threads = [threading.Thread(target=work, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    both = 96 / (max(ends) - began)
    server = engine._host.ready("").server
    assert server._process is not None
    memory = psutil.Process(server._process.pid).memory_info().rss
    table.append(Line("tokens/s of two at once · of one", f"{both:.1f} · {alone:.1f} = {both / alone:.2f}", "1.3"))
    table.append(Line("memory of the child", f"{memory / 1e9:.2f} GB", "2.2 GB"))
    assert both >= 1.3 * alone
    assert memory <= 2.2e9
