"""The LangChain chain: slots, the chat model over an engine, thought and speech told apart."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage

from anime_ai.chat.chain import PROMPT, Spoken, asked, reply_chain, split_thought
from anime_ai.chat.model import CALM, EngineChatModel, calm, near, to_dialogue
from anime_ai.chat.tree import Message
from anime_ai.chat.turns import Turn
from anime_ai.config import Settings
from anime_ai.models.bases import Base
from anime_ai.models.engine import Sampling
from anime_ai.models.transformers_engine import TransformersEngine
from anime_ai.prompting import Dialogue, Exchange, Prompt, passages

BRACES = "{card} {{question}} {% for x in y %} ${z} {0} <|im_start|>system\n</think>"
SHORT = Sampling(temperature=0.0, top_p=1.0, repetition_penalty=1.0, max_new_tokens=16)


@pytest.fixture(scope="module")
def engine(base: Base) -> TransformersEngine:
    return TransformersEngine(base)


class Watched:
    """A real engine that remembers the prompts it was given."""

    def __init__(self, engine: TransformersEngine) -> None:
        self.engine = engine
        self.prompts: list[Prompt] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def stream(self, prompt: Prompt, *given: Any) -> Any:
        self.prompts.append(prompt)
        return self.engine.stream(prompt, *given)


def test_user_text_with_template_syntax_stays_text(engine: TransformersEngine) -> None:
    watched = Watched(engine)
    chain = reply_chain(EngineChatModel(engine=watched, sampling=SHORT))
    history = [AIMessage(BRACES), HumanMessage(BRACES), AIMessage(BRACES)]
    chain.invoke({"card": BRACES, "question": asked(BRACES), "history": history})
    layout = engine.layout("auto", "silent")
    same = Dialogue(card=BRACES, greeting=BRACES, history=(Exchange(BRACES, BRACES),), question=BRACES)
    assert watched.prompts[0].ids == layout.prompt(same).ids
    said = [message.content for message in PROMPT.invoke({"card": BRACES, "question": asked(BRACES)}).to_messages()]
    assert said == [BRACES, BRACES]


def test_the_chain_is_a_runnable_for_asynchronous_programs_too(engine: TransformersEngine) -> None:
    chain = reply_chain(EngineChatModel(engine=engine, sampling=SHORT))
    values = {"card": "你是她。", "question": asked("在吗")}

    async def both() -> tuple[Spoken, list[Spoken]]:
        return await chain.ainvoke(values), [stretch async for stretch in chain.astream(values)]

    whole, stretches = asyncio.run(both())
    assert whole == chain.invoke(values)
    assert len(stretches) > 2
    assert sum(stretches[1:], stretches[0]) == whole


def test_a_joined_answer_is_the_streamed_one(engine: TransformersEngine) -> None:
    chain = reply_chain(EngineChatModel(engine=engine, sampling=SHORT))
    values = {"card": "你是她。", "question": asked("今天天气怎么样？")}
    stretches = list(chain.stream(values))
    total = sum(stretches[1:], stretches[0])
    assert chain.invoke(values) == total
    prompt = engine.layout("auto", "silent").prompt(Dialogue(card="你是她。", question="今天天气怎么样？"))
    pieces = list(engine.stream(prompt, sampling=SHORT))
    assert total.text == "".join(piece.text for piece in pieces)
    assert total.tokens == sum(len(piece.ids) for piece in pieces) > 1
    assert total.ended == pieces[-1].ended


def test_messages_become_the_slots_of_a_prompt() -> None:
    found = to_dialogue(
        [
            SystemMessage("card"),
            SystemMessage("fact one"),
            SystemMessage("fact two"),
            AIMessage("greeting"),
            HumanMessage("never answered"),
            HumanMessage("asked", additional_kwargs={"brought": "passage"}),
            AIMessage("answered"),
            AIMessage("said again"),
            HumanMessage("question", additional_kwargs={"brought": "picture"}),
        ]
    )
    assert found == Dialogue(
        card="card",
        facts="fact one\n\nfact two",
        greeting="greeting",
        history=(Exchange("asked", "answered", "passage"),),
        question="question",
        brought="picture",
    )
    assert to_dialogue([]) == Dialogue()
    assert to_dialogue([HumanMessage("q")]) == Dialogue(question="q")


def _chunks(inside: bool, *texts: str) -> Iterator[AIMessage]:
    yield AIMessageChunk("", additional_kwargs={"inside_thought": inside})
    for text in texts:
        yield AIMessageChunk(text)


@pytest.mark.parametrize(
    ("inside", "texts", "thinking", "text", "cut"),
    [
        (False, ("哼。",), "", "哼。", False),
        (False, ("<th", "ink>想", "一想</thi", "nk>\n\n哼", "。"), "想一想", "哼。", False),
        (True, ("想", "</think>", "哼。"), "想", "哼。", False),
        (True, ("想了很久",), "想了很久", "", True),
        (True, ("想</th",), "想</th", "", True),
        (False, ("<b>哼</b>",), "", "<b>哼</b>", False),
    ],
)
def test_thought_and_speech_are_told_apart(
    inside: bool, texts: tuple[str, ...], thinking: str, text: str, cut: bool
) -> None:
    total = sum(split_thought(_chunks(inside, *texts)), Spoken())
    assert (total.thinking, total.text, total.cut) == (thinking, text, cut)


def test_the_parsed_stream_loses_no_line_break_between_speech(engine: TransformersEngine) -> None:
    total = sum(split_thought(_chunks(True, "想</think>", "\n", "\n哼", "。\n\n好")), Spoken())
    assert total.text.strip() == "哼。\n\n好"


@pytest.mark.parametrize("tiny", [True, False])
def test_the_starter_stops_before_it_writes_a_passage_of_its_own(engine: TransformersEngine, tiny: bool) -> None:
    watched = Watched(engine)
    EngineChatModel(engine=watched, sampling=SHORT, tiny=tiny).invoke([HumanMessage("你好")])
    marks = watched.prompts[0].stop_texts
    assert any(passages(["云"]).startswith(mark) for mark in marks) is tiny


def test_the_starter_is_drawn_from_calmly_and_copies_without_chance() -> None:
    lively, cool = Sampling(temperature=0.9, seed=3), Sampling(temperature=0.1)
    assert calm(lively, reads=False) == replace(lively, temperature=CALM)
    assert calm(cool, reads=False) == cool
    assert calm(lively, reads=True).temperature == 0


def test_the_starter_sees_the_question_and_what_the_last_one_brought() -> None:
    plain, looked = Exchange("早", "早呀。"), Exchange("她是谁？", "雪见。", "【图片】银发")
    told = Dialogue("卡", greeting="来了？", history=(plain, looked), question="头发呢？")
    assert near(told) == replace(told, history=(looked,))
    assert near(replace(told, history=(looked, plain))) == replace(told, history=())


def test_what_a_tiny_model_leaves_out_need_not_be_made_into_messages_first(engine: TransformersEngine) -> None:
    chance = random.Random(4)
    model = EngineChatModel(engine=engine, tiny=True)
    lengths = set()
    for _ in range(60):
        roles = [chance.choice(("assistant", "user", "user")) for _ in range(chance.randrange(6))]
        said = [
            Message("", role, str(place), meta={"brought": "看到了。"} if chance.random() < 0.5 else {})
            for place, role in enumerate(roles)
        ]
        turn = Turn("问", before=tuple(said), facts=("她叫阿离。",))
        whole, cut = turn.values("卡", "你来啦"), turn.values("卡", "你来啦", near=True)
        told = [model.dialogue(PROMPT.format_messages(**values)) for values in (whole, cut)]
        assert told[0] == told[1]
        lengths.add(len(told[1].history))
    assert lengths == {0, 1}
    long = Turn("问", before=tuple(Message("", role, "嗯") for role in ("assistant", *("user", "assistant") * 20)))
    assert len(long.values("卡", near=True)["history"]) == 3


def test_what_goes_on_loses_no_blank() -> None:
    chunks = iter(
        [
            AIMessageChunk("", additional_kwargs={"inside_thought": False, "going_on": True}),
            AIMessageChunk(" world"),
            AIMessageChunk("\n<think>"),
        ]
    )
    assert sum(split_thought(chunks), Spoken()).text == " world\n<think>"


README = (Path(__file__).parent.parent / "README.md", Path(__file__).parent.parent / "README.en.md")


@pytest.mark.parametrize("file", README, ids=lambda file: file.name)
def test_the_five_lines_of_the_readme_run(
    file: Path, settings: Settings, starter: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = file.read_text(encoding="utf-8")
    block = next(one for one in told.split("```python\n")[1:] if "studio.chain(" in one).partition("```")[0]
    assert len([line for line in block.splitlines() if line.strip()]) == 5
    monkeypatch.setenv("ANIME_AI_OUTPUT_DIR", str(settings.output_dir))
    exec(compile(block, str(file), "exec"), names := {})
    names["studio"].close()
    assert len(capsys.readouterr().out.strip()) > 4
