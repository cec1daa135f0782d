"""Preferences: the loss against a plain computation, and a training on pairs upon an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anime_ai.dataset.rows import Row
from anime_ai.errors import ModelError, TrainingError
from anime_ai.models.bases import Base
from anime_ai.training import checkpoints, runs, trainer
from anime_ai.training.packing import Encoded, Packer, flat, tensors
from anime_ai.training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_probe")
PAIRS = [
    Row(f"{word}怎么样？", f"哼，{word}才不好。", "傲娇", rejected=f"{word}很好呀。")
    for word in ("天", "地", "山", "水", "花", "鸟")
]


def prepared(folder: Path, base: Base, rows: list[Row], **values: object) -> Path:
    recipe = Recipe.from_values({"base": base.path, "steps": 40, "batch_size": 6, "learning_rate": 0.01, **values})
    runs.create(folder, recipe, run_id="x", name="", dataset="test", rows=rows)
    return folder


def log_probability(model: Any, row: Encoded) -> float:
    """Of the row's trained tokens, by plain transformers."""
    import torch

    with torch.no_grad():
        ids = torch.tensor([row.ids])
        chances = model(input_ids=ids).logits[0].float().log_softmax(-1)
    return sum(float(chances[at - 1, row.ids[at]]) for at in range(1, len(row.ids)) if row.labels[at] != -100)


def test_the_loss_is_that_of_the_paper(starter: Path) -> None:
    """-log σ(β (log π(y)/π₀(y) - log π(y')/π₀(y'))), whatever shares a pack."""
    import math

    import torch
    from test_packing import adapted

    from anime_ai.training.preferences import Preference, references

    model = adapted(starter).eval()
    pairs = [
        tuple(
            Encoded((1, 5, 6, answer, answer + 1), (-100, -100, -100, answer, answer + 1)) for answer in (two, two + 9)
        )
        for two in (20, 40, 60)
    ]
    before = references(model, pairs, Packer(1024))
    plain_before = {row: log_probability(model, row) for row in flat(pairs)}
    assert before == pytest.approx({row: -value for row, value in plain_before.items()}, rel=1e-4)
    for weight in model.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.05)
    objective = Preference(0.3, before)
    expected = 0.0
    for better, worse in pairs:
        gained = [log_probability(model, row) - plain_before[row] for row in (better, worse)]
        expected += math.log1p(math.exp(-0.3 * (gained[0] - gained[1])))
    for budget in (1024, 1):
        told = sum(objective(model, tensors(flat(pack)), flat(pack)).item() for pack in Packer(budget)(pairs))
        assert told == pytest.approx(expected, rel=1e-4)
    assert set(objective.told()) == {"margin", "accuracy"}
    assert objective.told() == {}


def test_pairs_move_an_adapter_towards_the_better_answers(tmp_path: Path, base: Base) -> None:
    first = prepared(tmp_path / "first", base, PAIRS)
    trainer.train(first, resume=False)
    start = first / runs.FINAL
    folder = prepared(tmp_path / "dpo", base, PAIRS, method="dpo", start_from=str(start), learning_rate=0.003)
    trainer.train(folder, resume=False)
    run = runs.read_run(folder)
    assert run.state == "finished"
    told = [line for line in runs.metrics(folder) if "margin" in line]
    assert told[0]["loss"] == pytest.approx(0.693, abs=0.01), "it starts where the reference is: log 2"
    assert told[-1]["loss"] < 0.5 * told[0]["loss"]
    assert told[-1]["accuracy"] == 1.0
    assert told[-1]["margin"] > 0
    assert len(checkpoints.of_run(folder)) > 1


@pytest.mark.slow
def test_a_resumed_preference_training_goes_on_as_if_nothing_had_been(
    tmp_path: Path, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepared(tmp_path / "first", base, PAIRS)
    trainer.train(first, resume=False)
    losses = []
    for name, ends in (("whole", 10**9), ("in parts", 17)):
        told = {"method": "dpo", "start_from": str(first / runs.FINAL), "learning_rate": 0.003}
        folder = prepared(tmp_path / name, base, PAIRS, **told)
        calls = iter(range(10**9))
        if not trainer.train(folder, resume=False, time_is_up=lambda calls=calls, ends=ends: next(calls) >= ends):
            assert trainer.train(folder, resume=True)
        losses.append({line["step"]: line["loss"] for line in runs.metrics(folder) if "loss" in line})
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_what_preferences_need_is_said(tmp_path: Path, base: Base) -> None:
    plain = [Row(row.input, row.output, row.persona) for row in PAIRS]
    folder = prepared(tmp_path / "none", base, plain, method="dpo", start_from=str(tmp_path))
    with pytest.raises(TrainingError) as caught:
        trainer.train(folder, resume=False)
    assert caught.value.key == "training.no_pairs"
    folder = prepared(tmp_path / "gone", base, PAIRS, method="dpo", start_from=str(tmp_path / "nowhere"))
    with pytest.raises(ModelError) as refused:
        trainer.train(folder, resume=False)
    assert refused.value.key == "model.not_an_adapter"
