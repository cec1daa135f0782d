"""What the shipped starter models can do, on prompts that they never saw; the report is in assets/starter/REPORT.md.

pytest -m benchmark -s tests/benchmarks/test_starter_models.py
"""

from __future__ import annotations

import random

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from anime_ai.config import STARTER_LM, Settings
from anime_ai.persona.cards import Persona, Personas
from anime_ai.starter import corpus, measures, report, voices
from anime_ai.starter.card import greedy
from anime_ai.starter.speech import rough
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


def test_the_corpus_tells_the_topics() -> None:
    """A reference for the base: a linear classifier of the phrases it learns from, answering as their topic does."""
    chance, drawn = random.Random(1), corpus.source()
    said = {(drawn.grammar.expand(text, chance, {}), turn.name): turn for text, turn in drawn.phrases for _ in range(3)}
    talks = corpus.without(
        (corpus.Talk((corpus.Asked(rough(text, chance), "", about=name),)) for text, name in said), measures.questions()
    )
    asked = [talk.turns[0] for talk in talks]
    names = [getattr(turn, "about", "") for turn in asked]
    seen = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), sublinear_tf=True)
    told = LinearSVC(C=0.5).fit(seen.fit_transform([turn.user for turn in asked]), names)
    answers = {turn.name: turn.answers for turn in said.values()}
    rows = measures.held_out("small_talk")
    shares = []
    for row, name in zip(rows, told.predict(seen.transform([row["input"] for row in rows])), strict=True):
        replies = [drawn.grammar.expand(answer, chance, {}) for answer in answers[name]]
        shares.append(sum(any(word in reply for word in row["words"]) for reply in replies) / len(replies))
    print(f"\n{len(asked):,} phrases of {len(answers)} topics: {sum(shares) / len(shares):.1%} on topic")
    assert sum(shares) / len(shares) >= 0.8


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
