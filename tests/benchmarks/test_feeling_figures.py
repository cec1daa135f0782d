"""What the classifier of feelings gets right, against naming the commonest feeling, and the milliseconds that it takes.

pytest -m benchmark -s tests/benchmarks/test_feeling_figures.py
"""

from __future__ import annotations

import time

import pytest

from anime_ai.persona.feelings import FEELINGS
from anime_ai.persona.tone import Tone, tone_of
from anime_ai.starter.feelings import accuracy, figures, labelled


@pytest.mark.benchmark
def test_feelings_of_held_out_answers() -> None:
    rows = labelled()
    trained, held = [row for row in rows if not row.held_out], [row for row in rows if row.held_out]
    tone = Tone.load()
    print("\n| held out | answers | right | macro-F1 | commonest | its F1 | her commonest | its F1 |")
    for name, written in (("answers of the datasets", False), ("lines written for this", True)):
        found = figures(tone, trained, [row for row in held if row.written is written])
        shown = (found.right, found.f1, found.common, found.common_f1, found.hers, found.hers_f1)
        print(f"| {name} | {found.count} | {' | '.join(f'{one:.3f}' for one in shown)} |")
        assert found.right > found.common
        assert found.f1 > max(found.common_f1, found.hers_f1)
    for feeling in FEELINGS:
        true = [row.feeling for row in held if row.feeling == feeling]
        told = [tone_of(row.text) for row in held if row.feeling == feeling]
        print(f"{feeling:10} {len(true):4} found {accuracy(true, told):.2f}")


@pytest.mark.benchmark
def test_milliseconds_an_answer() -> None:
    said = [row.text for row in labelled()]
    tone_of(said[0])
    began = time.perf_counter()
    for one in said:
        tone_of(one)
    plain = (time.perf_counter() - began) / len(said) * 1000
    began = time.perf_counter()
    for _ in range(100):
        tone_of(said[0] * 10_000)
    long = (time.perf_counter() - began) * 10
    print(f"\n{plain:.2f} ms an answer of the datasets, {long:.2f} ms one of 170,000 letters")
    assert plain > 0
