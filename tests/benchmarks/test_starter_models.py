"""What the shipped starter models can do, on prompts that they never saw; the report is in assets/starter/REPORT.md.

pytest -m benchmark -s tests/benchmarks/test_starter_models.py
"""

from __future__ import annotations

import pytest

from anime_ai.config import STARTER_LM, Settings
from anime_ai.persona.cards import Persona, Personas
from anime_ai.starter import measures, report, voices
from anime_ai.starter.card import greedy
from anime_ai.training.evaluation import loops

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]


def test_the_base() -> None:
    found, _ = measures.figures(greedy(STARTER_LM))
    print("\n" + report.base_table(found))
    assert found.prompts >= 120
    assert found.ended >= 0.95
    assert found.looped == 0
    assert found.on_topic >= 0.8
    assert found.shuffled <= 0.15
    assert found.spans >= 0.8
    assert found.refusals >= 0.8
    assert found.attributes >= 0.8


@pytest.mark.parametrize("persona", Personas().list(), ids=lambda persona: persona.id)
def test_a_persona(persona: Persona) -> None:
    found, said = voices.voice(persona, Settings.load())
    print("\n" + report.voice_table([found]))
    for question, reply in said:
        print(f"{question} → {reply}")
    assert found.style >= 0.9 * found.style_of_rows
    assert found.style_of_base <= 0.3
    assert found.distinct >= 0.8 * found.distinct_of_rows
    assert found.copied <= 0.25
    assert found.ended >= 0.95
    assert found.looped == 0
    assert found.original == (2, 2)


def test_the_first_five_minutes() -> None:
    turns = [turn for _, talk in voices.conversations(Settings.load()) for turn in talk]
    assert len(turns) == 240
    for turn in turns:
        print(f"{turn.said} → {turn.reply} ({turn.style:.2f})")
    assert all(turn.reply and turn.ended and not loops(turn.reply) for turn in turns)
