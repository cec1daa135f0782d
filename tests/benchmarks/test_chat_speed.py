"""What the app adds to an answer, against the bare engine in the same run; twenty visitors; 2,000 conversations.

pytest -m benchmark -s tests/benchmarks/test_chat_speed.py

The starter in both engines: the bare engine on the prompt that the chat makes, the whole way through the chat's
service, and the page's own generator, in turns. Visitors are served over HTTP by an engine that only waits.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import paced_engine
import psutil
import pytest
from paced_engine import PacedEngine
from people import Browser

from anime_ai.chat.turns import How
from anime_ai.config import ROOT, Settings
from anime_ai.models.engine import Sampling
from anime_ai.processes import usable_cpus
from anime_ai.studio import Studio
from anime_ai.ui.chat_tab import ChatTab
from anime_ai.ui.persons import Person
from anime_ai.ui.sampling_form import SamplingForm

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]
ROUNDS = 15
ADDED_MS, ADDED_SHARE = 8.0, 0.03
VISITORS, PACE, LONGEST_GAP_MS = 20, 50.0, 150.0
CONVERSATIONS, GROWTH = 2000, 1.05
QUESTION = "今天天气真好，出去走走吗？"
UNLIMITED = (
    *("visitor_messages_per_minute", "visitor_messages_per_hour", "visitor_tokens_per_day"),
    *("visitors_messages_per_minute", "visitors_tokens_per_day"),
    *("visitor_changes_per_hour", "visitors_changes_per_hour", "visitor_conversations"),
)
OWNER = Person("owner", "owner", "zh", "session")


@dataclass(frozen=True)
class Answer:
    """Milliseconds until the first words and, of them, those that this thread computed; tokens a second from there to
    the last words; milliseconds from those until it is over, kept where it is kept."""

    first: float
    own: float
    pace: float
    ending: float


class Bare:
    """The engine of a studio, and the prompt that its chat asked it with."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.given = engine, ()
        self._stream = engine.stream
        engine.stream = self._noted

    def _noted(self, *given: Any) -> Any:
        self.given = given
        return self._stream(*given)

    def answer(self) -> Iterator[int]:
        """Tokens so far, each time that there is more to read."""
        *given, _ = self.given
        tokens = 0
        for piece in self._stream(*given, threading.Event()):
            tokens += piece.tokens
            if piece.text:
                yield tokens


def timed(answer: Iterator[int]) -> Answer:
    began, computed = time.perf_counter(), time.thread_time()
    first = last = next(answer)
    at = told = time.perf_counter()
    own = time.thread_time() - computed
    for tokens in answer:
        if tokens > last:
            last, told = tokens, time.perf_counter()
    return Answer((at - began) * 1e3, own * 1e3, (last - first) / (told - at), (time.perf_counter() - told) * 1e3)


@pytest.mark.parametrize("engine", ["llamacpp", "transformers"])
def test_what_the_app_adds_to_an_answer(engine: str, tmp_path: Path) -> None:
    settings = Settings.load(output_dir=tmp_path / "studio", model_name="starter", engine=engine)
    with Studio.open(settings) as studio:
        talk = studio.chat.start("owner", settings.persona)
        adapter = studio.chat.adapters(settings.persona)[0].id
        sampling = Sampling(max_new_tokens=64, seed=1)
        how = How(adapter, sampling)
        page = ChatTab(studio)
        knobs = [False, *SamplingForm._set(sampling)[1:]]

        def service() -> Iterator[int]:
            yield from (reply.tokens for reply in studio.chat.reply("owner", talk.id, QUESTION, how))

        def drawn() -> Iterator[int]:
            steps = page.talking.send(OWNER, QUESTION, talk.id, adapter, *knobs, "", [], "")
            waiting = next(steps)[1]  # the question, and that she is being waited for
            for number, step in enumerate(steps):
                if isinstance(step[1], str) and step[1] not in ("", waiting):
                    yield number

        list(service())
        bare = Bare(studio.chat._engine)
        list(service())
        seen: dict[str, list[Answer]] = {"bare engine": [], "chat service": [], "page": []}
        for _ in range(ROUNDS):
            seen["bare engine"].append(timed(bare.answer()))
            seen["chat service"].append(timed(service()))
            seen["page"].append(timed(drawn()))
    print(f"\nthe starter in {engine}, {ROUNDS} rounds in turns, {usable_cpus()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{'':<16}{'first words ms':>16}{'added ms':>10}{'computed ms':>13}", end="")
    print(f"{'tokens/s':>10}{'share':>8}{'ending ms':>11}")
    reference = seen["bare engine"]
    added: dict[str, float] = {}
    shares: dict[str, float] = {}
    for name, answers in seen.items():
        added[name] = median(one.first - other.first for one, other in zip(answers, reference, strict=True))
        shares[name] = median(one.pace / other.pace for one, other in zip(answers, reference, strict=True))
        figures = f"{median(one.first for one in answers):>16.1f}{added[name]:>10.1f}"
        figures += f"{median(one.own for one in answers):>13.1f}"
        if name != "page":  # which is told of an answer so often, not of every token
            figures += f"{median(one.pace for one in answers):>10.0f}{shares[name]:>8.3f}"
            figures += f"{median(one.ending for one in answers):>11.1f}"
        print(f"{name:<16}{figures}")
    assert added["chat service"] <= ADDED_MS
    assert added["page"] <= ADDED_MS
    assert shares["chat service"] >= 1 - ADDED_SHARE


async def streamed(one: Browser) -> list[float]:
    """Seconds from asking until each time that a visitor was told of more of an answer."""
    knobs, stamps, began = [False, *SamplingForm._set(Sampling())[1:]], [], time.perf_counter()
    async with aclosing(one.events(one.index("send"), [QUESTION, None, "", *knobs, None, [], ""])) as told:
        async for event in told:
            if event["msg"] == "process_generating":
                stamps.append(time.perf_counter() - began)
    return stamps[1:]  # the first says that she is being waited for


def gaps(stamps: list[float]) -> list[float]:
    return [(later - earlier) * 1e3 for earlier, later in zip(stamps, stamps[1:], strict=False)]


def test_twenty_visitors_at_once(tmp_path: Path) -> None:
    async def crowd(address: str) -> tuple[list[float], list[list[float]]]:
        config = await Browser.config_of(address)
        people = [Browser(address, config) for _ in range(VISITORS)]
        for one in people:
            await one.open()
            await one.call(one.index("arrive"))
        for one in people[:2]:  # the first answer imports what it needs
            alone = await streamed(one)
        began = computed()
        told = await asyncio.gather(*map(streamed, people))
        cores.append((computed() - began) / max(stamps[-1] for stamps in told))
        for one in people:
            await one.close()
            await one.http.aclose()
        return alone, told

    def computed() -> float:
        spent = psutil.Process(child.pid).cpu_times()
        return spent.user + spent.system

    cores: list[float] = []

    command = [sys.executable, paced_engine.__file__, str(tmp_path / "studio"), str(PACE)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            alone, crowded = asyncio.run(crowd(child.stdout.readline().strip()))
        finally:
            child.terminate()
    whole = paced_engine.TOKENS / PACE
    waited = max(stamps[0] for stamps in crowded)
    one, all_of_them = gaps(alone), [gap for stamps in crowded for gap in gaps(stamps)]
    spans = [stamps[-1] - stamps[0] for stamps in crowded]
    print(f"\n{VISITORS} visitors of an engine of {PACE:.0f} tokens/s each, {whole:.0f} s an answer, over HTTP")
    print(f"{'':<10}{'median gap':>12}{'19 of 20':>10}{'longest':>10}{'slowest answer':>16}")
    for name, found, longest in (("alone", one, alone[-1] - alone[0]), ("at once", all_of_them, max(spans))):
        figures = (
            f"{median(found):>9.0f} ms{quantiles(found, n=20)[-1]:>7.0f} ms{max(found):>7.0f} ms{longest:>14.1f} s"
        )
        print(f"{name:<10}{figures}")
    load = os.getloadavg()[0]
    print(f"first words after {waited:.1f} s at most; computed on {cores[0]:.2f} cores, load {load:.1f}")
    assert waited <= whole / 2, "somebody waits for another one's answer to end"
    assert quantiles(all_of_them, n=20)[-1] <= LONGEST_GAP_MS
    assert min(map(len, crowded)) >= 0.5 * len(alone), "somebody starves"
    assert max(spans) <= 1.5 * whole


def test_memory_is_flat_over_two_thousand_conversations(tmp_path: Path) -> None:
    everything = dict.fromkeys(UNLIMITED, 0)
    settings = Settings.load(output_dir=tmp_path / "studio", model_name="starter", **everything)
    with Studio.open(settings) as studio:
        studio.chat._engine = PacedEngine(studio.chat.engine(paced_engine.base_of(settings)), pace=0.0)
        sizes: dict[int, float] = {}
        for number in range(1, CONVERSATIONS + 1):
            person = f"v{number % 100}"
            talk = studio.chat.start(person, settings.persona)
            short = How("", Sampling(max_new_tokens=20))
            assert [*studio.chat.reply(person, talk.id, QUESTION, short)][-1].done
            if number in (CONVERSATIONS // 4, CONVERSATIONS):
                gc.collect()
                sizes[number] = psutil.Process().memory_info().rss / 1e6
    early, late = sizes.values()
    told = f"{early:.0f}, {late:.0f} MB = {late / early:.3f}"
    print(f"\nmemory after {CONVERSATIONS // 4} and {CONVERSATIONS} conversations: {told}")
    assert late <= GROWTH * early
