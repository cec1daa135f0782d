"""The figures of `evaluate`: counted by hand where that can be done, and against rows whose answer is known."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anime_ai.chat.answers import Speaker
from anime_ai.config import DATA, Settings
from anime_ai.dataset.files import read_rows
from anime_ai.dataset.preprocess import stored_rows
from anime_ai.dataset.rows import Row
from anime_ai.dataset.split import split_rows
from anime_ai.errors import DatasetError, TrainingError
from anime_ai.files import read_json, write_json
from anime_ai.training.evaluation import (
    COPIED,
    SCRIPT,
    Figure,
    _figure,
    _late,
    _share,
    _stored_split,
    distinct_2,
    evaluate_run,
    grams,
    loops,
    reply_to,
    voice_verifier,
)
from anime_ai.training.runs import Run
from anime_ai.training.style import train_verifier

SHIPPED = read_rows(DATA / "dataset.json").rows
NEUTRAL = read_rows(DATA / "neutral.json").rows
PERSONAS = sorted({row.persona for row in SHIPPED})


def test_distinct_2_counts_different_bigrams() -> None:
    assert distinct_2(["哼哼哼"]) == 1 / 2  # 哼哼, 哼哼
    assert distinct_2(["你好", "你好"]) == 1 / 2
    assert distinct_2(["你好呀", "好呀你"]) == 3 / 4  # 你好 好呀 好呀 呀你
    assert distinct_2(["你", ""]) == 0
    assert distinct_2([]) == 0


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("知道你怕黑吗？知道你怕黑吗？知道你怕黑吗？", True),
        ("知道你怕黑吗？知道你怕黑吗？", False),
        ("啊啊啊啊啊啊啊啊啊啊啊", False),
        ("………………………………", False),
        ("哼哼啊啊哼哼啊啊哼哼啊啊", True),
        ("", False),
        ("好。", False),
    ],
)
def test_a_loop_is_a_stretch_that_comes_three_times(reply: str, expected: bool) -> None:
    assert loops(reply) is expected


def test_an_interval_holds_the_figure_and_is_wider_for_fewer_rows() -> None:
    few, many = _figure([0.0] * 5, [0.0, 0.0, 1.0, 1.0, 1.0]), _figure([0.0] * 500, [0.0, 0.0, 1.0, 1.0, 1.0] * 100)
    assert few.adapter == many.adapter == 0.6
    assert few.low < many.low < 0.6 < many.high < few.high
    assert few == _figure([0.0] * 5, [0.0, 0.0, 1.0, 1.0, 1.0]), "the same figures on the same rows"
    assert _figure([2.0], [3.0]) == Figure(2.0, 3.0, 3.0, 3.0)


def sides(rows: list[Row], persona: str) -> tuple[list[str], list[str], list[str], list[str]]:
    """Replies to fit on and held-out ones, this persona's and the others'."""
    split, calm = split_rows(rows, 42), split_rows(NEUTRAL, 42)
    fitted, held = [rows[place] for place in split.train], [rows[place] for place in split.held_out]
    own, others = ([row.output for row in fitted if (row.persona == persona) is same] for same in (True, False))
    held_own, held_others = ([row.output for row in held if (row.persona == persona) is same] for same in (True, False))
    return (
        own,
        others + [NEUTRAL[place].output for place in calm.train],
        held_own,
        held_others + [NEUTRAL[place].output for place in calm.held_out],
    )


def balanced_accuracy(persona: str, rows: list[Row]) -> float:
    own, others, held_own, held_others = sides(rows, persona)
    # Calibration sees half of the held-out replies, the accuracy is that of the other half, and the other way round.
    found: dict[bool, list[bool]] = {True: [], False: []}
    for first in (0, 1):
        verifier = train_verifier(own, others, held_own[first::2], held_others[first::2], 42)
        found[True] += (verifier.scores(held_own[1 - first :: 2]) > 0.5).tolist()
        found[False] += (verifier.scores(held_others[1 - first :: 2]) <= 0.5).tolist()
    return float(np.mean([np.mean(found[True]), np.mean(found[False])]))


def test_the_verifier_tells_the_shipped_voices_apart_on_rows_it_never_saw() -> None:
    rows = list(SHIPPED)
    scores = {persona: balanced_accuracy(persona, rows) for persona in PERSONAS}
    assert np.mean(list(scores.values())) > 0.75, scores
    assert min(scores.values()) > 0.6, scores


def test_the_verifier_finds_nothing_where_there_is_nothing() -> None:
    rows = list(SHIPPED)
    labels = [row.persona for row in rows]
    drawn = []
    for seed in range(3):
        random.Random(seed).shuffle(labels)
        shuffled = [replace(row, persona=label) for row, label in zip(rows, labels, strict=True)]
        # Among the personas alone: neutral replies could still be told from them.
        split = split_rows(shuffled, 42)
        for persona in PERSONAS[:2]:
            parts = [
                [shuffled[place].output for place in places if (shuffled[place].persona == persona) is same]
                for places in (split.train, split.held_out)
                for same in (True, False)
            ]
            verifier = train_verifier(parts[0], parts[1], [], [], 42)
            own, others = verifier.scores(parts[2]), verifier.scores(parts[3])
            drawn.append(np.mean([float(mine > other) for mine in own for other in others]))
    assert 0.35 < np.mean(drawn) < 0.65, drawn


def test_too_few_replies_cannot_be_verified_and_an_empty_one_has_no_style() -> None:
    with pytest.raises(TrainingError) as caught:
        train_verifier(["哼"] * 9, ["好"] * 50, [], [], 42)
    assert caught.value.key == "training.too_few_to_verify"
    own, others, _, _ = sides(list(SHIPPED), "傲娇")
    verifier = train_verifier(own, others, [], [], 42)
    scores = verifier.scores(["哼，才不是为了你呢！", "", "  "])
    assert scores[0] > 0.5
    assert scores[1] == scores[2] == 0
    assert verifier.scores([]).shape == (0,)


def test_an_interval_of_variety_holds_the_variety() -> None:
    replies = ["今天下雨了。", "我也想吃面。", "别闹了，快睡。", "今天天气真好。"]
    figure = _share(replies, replies, distinct_2)
    assert 0 < figure.low < figure.adapter == round(distinct_2(replies), 4) <= figure.high <= 1


def test_the_figures_of_a_trained_adapter(trained_run: Run) -> None:
    told: list[str] = []
    report = evaluate_run(trained_run.folder, Settings.load(), told.append)
    shares = {"style", "style_of_the_rows", "true_reply", "copied", "distinct_2", "loop_rate", "end_rate"}
    assert set(report) == {"held_out_loss", "likelier_rows", "likelier_neutral", "drift", *shares}
    for name, figure in report.items():
        assert figure.low <= figure.high, name
        assert all(np.isfinite([figure.base, figure.adapter, figure.low, figure.high])), name
        if name in shares:
            assert 0 <= figure.low <= figure.high <= 1, name
            assert 0 <= figure.base <= 1, name
            assert 0 <= figure.adapter <= 1, name
    assert report["held_out_loss"].base > 0
    settings, folder = Settings.load(engine="transformers"), trained_run.folder
    rows, split = stored_rows(folder / "processed_data"), _stored_split(folder / "processed_data")
    held = [rows[place] for place in split.held_out if rows[place].persona == "傲娇"]
    speaker = Speaker.open(settings, folder / "final_model", persona="傲娇")
    for alone, told_of in ((True, report["style"].base), (False, report["style"].adapter)):
        replies = [reply_to(speaker, row, alone)[0] for row in held]
        scores = voice_verifier(rows, split, "傲娇", settings).scores(replies)
        assert told_of == pytest.approx(float(scores.mean()), abs=1e-3)
    loss = report["held_out_loss"]
    assert report["likelier_rows"].adapter == pytest.approx(loss.base - loss.adapter, abs=2e-4)
    assert report["likelier_rows"].base == report["likelier_neutral"].base == 0
    assert len(told) == 2


def test_a_copy_is_twelve_characters_in_a_row() -> None:
    row = "哼，才不会随便告诉你呢！不过《EVA》还算不错吧。"
    known = grams([row], COPIED)
    assert grams(["我说：" + row[3:15] + "？"], COPIED) & known
    assert not grams([row[3:14] + "？" + row[20:]], COPIED) & known
    assert not grams(["短"], COPIED)


def test_later_turns_are_told_from_earlier_ones() -> None:
    assert _late([0.5, 0.5, 0.9, 0.1]) == pytest.approx([0.4, -0.4])
    assert len(SCRIPT) == 10


def test_what_cannot_be_evaluated_is_said(trained_run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained_run.folder, folder, ignore=shutil.ignore_patterns("checkpoints", "final_model"))
    with pytest.raises(TrainingError) as caught:
        evaluate_run(folder, Settings.load())
    assert caught.value.key == "training.no_adapter"
    assert trained_run.adapter is not None
    shutil.copytree(trained_run.adapter, folder / "final_model")
    card = read_json(folder / "final_model" / "anime_ai.json")
    write_json(folder / "final_model" / "anime_ai.json", {**card, "persona": "没有这个人"})
    with pytest.raises(TrainingError) as caught:
        evaluate_run(folder, Settings.load())
    assert caught.value.key == "training.nothing_held_out"
    (folder / "processed_data" / "rows.json").unlink()
    with pytest.raises(DatasetError):
        evaluate_run(folder, Settings.load())
