"""What the ready adapters sound like, measured on rows that they were not trained on. Knows no training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anime_ai.chat.answers import Speaker
from anime_ai.config import DATA, Settings
from anime_ai.dataset.files import good_rows, read_rows
from anime_ai.dataset.rows import Row
from anime_ai.dataset.split import ORIGINAL, split_rows
from anime_ai.models.engine import Sampling
from anime_ai.persona.cards import Persona, Personas
from anime_ai.starter.adapters import ADAPTERS
from anime_ai.starter.measures import held_out
from anime_ai.training.evaluation import distinct_2, loops, reply_to, voice_verifier


@dataclass(frozen=True)
class Voice:
    """Mean scores of the style verifier (0 to 1): of generated replies, of the rows' own, of the base's; distinct-2 of
    generated and written replies; share of replies that some training row has to the letter, that ended by themselves
    and that turn in circles; `original`: how many of the original project's questions get the original answer, both at
    once and behind her greeting, of how many."""

    persona: str
    prompts: int
    style: float
    style_of_rows: float
    style_of_base: float
    distinct: float
    distinct_of_rows: float
    copied: float
    ended: float
    looped: float
    original: tuple[int, int]


@dataclass(frozen=True)
class Answered:
    """A line of a conversation, the reply, and what the verifier of her persona gives it."""

    said: str
    reply: str
    ended: bool
    style: float


def speaker(persona: Persona, settings: Settings, adapters: Path = ADAPTERS) -> Speaker:
    return Speaker.open(settings, adapters / persona.id, persona=persona.name)


def voice(persona: Persona, settings: Settings, adapters: Path = ADAPTERS) -> tuple[Voice, list[tuple[str, str]]]:
    """The figures of a persona's adapter, and the prompts with the replies that they were counted from."""
    rows, speaks = _rows(), speaker(persona, settings, adapters)
    split = split_rows(rows, settings.seed)
    verifier = voice_verifier(rows, split, persona.name, settings)
    held = [rows[place] for place in split.held_out if rows[place].persona == persona.name]
    trained = {rows[place].output for place in split.train if rows[place].persona == persona.name}
    replies = [reply_to(speaks, row) for row in held]
    texts = [text for text, _ in replies]
    originals = [row for row in rows if row.persona == persona.name and row.input in ORIGINAL and not row.history]
    found = Voice(
        persona=persona.name,
        prompts=len(held),
        style=float(verifier.scores(texts).mean()),
        style_of_rows=float(verifier.scores([row.output for row in held]).mean()),
        style_of_base=float(verifier.scores([reply_to(speaks, row, alone=True)[0] for row in held]).mean()),
        distinct=distinct_2(texts),
        distinct_of_rows=distinct_2([row.output for row in held]),
        copied=_part([text in trained for text in texts]),
        ended=_part([ended for _, ended in replies]),
        looped=_part([loops(text) for text in texts]),
        original=(sum(_says(speaks, row, persona.greeting) for row in originals), len(originals)),
    )
    return found, [(row.input, text) for row, text in zip(held, texts, strict=True)]


def _says(speaks: Speaker, row: Row, greeting: str) -> bool:
    """Whether she gives a row's question the row's answer, at once and behind her greeting."""
    from langchain_core.messages import AIMessage

    greeted, _ = speaks.ended(row.input, [AIMessage(greeting)], Sampling(temperature=0.0))
    return greeted == row.output == reply_to(speaks, row)[0]


def conversations(settings: Settings, adapters: Path = ADAPTERS) -> Iterator[tuple[Persona, list[Answered]]]:
    """The held-out conversations, dealt to the personas in turn, as the page would answer them with seed 0."""
    rows, personas = _rows(), Personas().list()
    split = split_rows(rows, settings.seed)
    speakers = {one.id: speaker(one, settings, adapters) for one in personas}
    verifiers = {one.id: voice_verifier(rows, split, one.name, settings) for one in personas}
    for place, lines in enumerate(held_out("conversations")):
        persona = personas[place % len(personas)]
        said = list(_answered(speakers[persona.id], persona, lines))
        scores = verifiers[persona.id].scores([reply for _, reply, _ in said])
        yield persona, [Answered(*turn, float(score)) for turn, score in zip(said, scores, strict=True)]


def _answered(speaks: Speaker, persona: Persona, lines: Sequence[str]) -> Iterator[tuple[str, str, bool]]:
    from langchain_core.messages import AIMessage, HumanMessage

    history: list[Any] = [AIMessage(persona.greeting)]
    for line in lines:
        reply, ended = speaks.ended(line, history, Sampling(seed=0))
        history += [HumanMessage(line), AIMessage(reply)]
        yield line, reply, ended


def _rows() -> list[Row]:
    path = DATA / "dataset.json"
    return list(good_rows(read_rows(path), path))


def _part(values: Sequence[bool]) -> float:
    return sum(values) / len(values)
