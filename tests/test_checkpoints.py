"""Checkpoints of a run: kept lean, chosen by a score or by hand, and an adapter at once whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from anime_ai.dataset.rows import Row
from anime_ai.errors import TrainingError
from anime_ai.files import read_json, write_json
from anime_ai.models.bases import Base
from anime_ai.training import checkpoints, runs, trainer
from anime_ai.training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_probe")
ROWS = [Row(f"{word}怎么样？", f"{word}啊，还不错吧。", "傲娇") for word in "天地山水花鸟云"]


def prepared(folder: Path, base: Base, **values: object) -> Path:
    told = {"base": base.path, "steps": 30, "batch_size": 6, "learning_rate": 0.01, "evaluations": 5, **values}
    runs.create(folder, Recipe.from_values(told), run_id="x", name="", dataset="test", rows=ROWS)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, base: Base) -> Path:
    folder = prepared(tmp_path_factory.mktemp("checkpoints") / "run", base)
    trainer.train(folder, resume=False)
    return folder


def test_every_evaluation_leaves_an_adapter_and_the_newest_what_going_on_needs(trained: Path) -> None:
    there = checkpoints.of_run(trained)
    assert [one.step for one in there] == [6, 12, 18, 24, 30]
    assert [one.resumable for one in there] == [False, False, False, True, True]
    assert all(one.eval_loss is not None for one in there)
    for one in there:
        whole = read_json(one.folder / runs.WHOLE)["files"]
        assert set(checkpoints.ADAPTER) <= set(whole)
        assert ("optimizer.pt" in whole) == one.resumable
        assert {str(file.relative_to(one.folder)) for file in one.folder.rglob("*") if file.is_file()} == {
            *whole,
            runs.WHOLE,
        }
    last = runs.last_checkpoint(trained)
    assert last is not None
    assert last.name == "checkpoint-30"


def test_the_best_is_the_lowest_loss_or_the_highest_score(trained: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    told = [{"step": step, "eval_loss": loss, "style": style} for step, loss, style in ((6, 3.0, 0.1), (12, 2.0, 0.9))]
    told += [{"step": 18, "eval_loss": 2.5, "style": 0.9}, {"step": 24, "eval_loss": 4.0}]
    (folder / runs.METRICS).write_text("", encoding="utf-8")
    for line in told:
        runs.append_line(folder / runs.METRICS, line)
    chosen = {by: checkpoints.best(folder, by) for by in ("last", "eval_loss", "style")}
    assert {by: one.step for by, one in chosen.items() if one} == {"last": 30, "eval_loss": 12, "style": 18}
    (folder / runs.METRICS).write_text("", encoding="utf-8")
    unmeasured = checkpoints.best(folder, "style")
    assert unmeasured is not None
    assert unmeasured.step == 30, "where nothing was measured, the last one"
    shutil.rmtree(folder / runs.CHECKPOINTS)
    assert checkpoints.best(folder, "eval_loss") is None


def test_any_checkpoint_becomes_the_adapter_by_hand(trained: Path) -> None:
    assert runs.read_run(trained).checkpoint == 30
    checkpoints.promote(trained, 12)
    final = trained / runs.FINAL
    chosen = trained / runs.CHECKPOINTS / "checkpoint-12"
    assert (final / checkpoints.ADAPTER[0]).read_bytes() == (chosen / checkpoints.ADAPTER[0]).read_bytes()
    card = read_json(final / "anime_ai.json")
    assert (card["steps"], card["of_steps"]) == (12, 30)
    assert card["eval_loss"] == checkpoints.of_run(trained)[1].eval_loss
    assert runs.read_run(trained).checkpoint == 12
    assert (final / "tokenizer.json").is_file()
    for step in (7, 0, -1):
        with pytest.raises(TrainingError) as caught:
            checkpoints.promote(trained, step)
        assert caught.value.key == "training.no_checkpoint"
    assert read_json(final / "anime_ai.json") == card
    checkpoints.promote(trained, 30)


def test_what_the_recipe_asks_for_is_kept(tmp_path: Path, base: Base) -> None:
    folder = prepared(tmp_path / "run", base, keep="eval_loss", learning_rate=0.05)
    trainer.train(folder, resume=False)
    run, best = runs.read_run(folder), checkpoints.best(folder, "eval_loss")
    assert best is not None
    assert run.checkpoint == best.step
    assert best.eval_loss == min(one.eval_loss for one in checkpoints.of_run(folder) if one.eval_loss is not None)


def test_it_ends_early_where_nothing_gets_better(tmp_path: Path, base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    from anime_ai.training import loop

    evaluate, told = loop.StepTrainer.prediction_step, iter((5.0, 4.0, 4.5, 4.6, 4.7, 4.8, 4.9, 5.0))

    def worse(self: Any, *given: Any, **named: Any) -> Any:
        loss, *others = evaluate(self, *given, **named)
        return (loss * 0 + next(told), *others)

    monkeypatch.setattr(loop.StepTrainer, "prediction_step", worse)
    folder = prepared(tmp_path / "run", base, patience=2, keep="eval_loss")
    trainer.train(folder, resume=False)
    run = runs.read_run(folder)
    assert run.state == "finished"
    assert [notice["key"] for notice in run.notices] == ["training.stopped_early"]
    assert 18 <= run.step < 24, "two evaluations after the best one at step 6"
    assert run.checkpoint == 6


def test_half_a_checkpoint_is_none(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    half = folder / runs.CHECKPOINTS / "checkpoint-5"
    half.mkdir(parents=True)
    (half / checkpoints.ADAPTER[0]).write_bytes(b"")
    assert checkpoints.of_run(folder) == []
    write_json(half / runs.WHOLE, {"step": 5, "files": {}, "resumable": False})
    assert [one.step for one in checkpoints.of_run(folder)] == [5]
    assert runs.last_checkpoint(folder) is None


@pytest.mark.parametrize(
    "values",
    [
        {"rslora": "on", "lora_plus": 16, "targets": "attention"},
        {"dora": "on", "targets": "mlp", "lora_dropout": 0.1},
        {"targets": "outputs", "layers": 1},
        {"layers": 1},
        {"neftune": 5, "schedule": "linear", "warmup": 0.2},
        {"schedule": "constant", "packing": "off", "optimiser": "adamw_8bit"},
    ],
    ids=lambda values: "+".join(values),
)
def test_what_a_recipe_can_ask_for_is_done(tmp_path: Path, base: Base, values: dict[str, Any]) -> None:
    from anime_ai.models.engine import GREEDY, Adapter
    from anime_ai.models.transformers_engine import TransformersEngine
    from anime_ai.prompting import Dialogue

    folder = prepared(tmp_path / "run", base, steps=12, evaluations=2, **values)
    trainer.train(folder, resume=False)
    run = runs.read_run(folder)
    assert (run.state, run.error) == ("finished", None)
    losses = [line["loss"] for line in runs.metrics(folder) if "loss" in line]
    rates = [line["learning_rate"] for line in runs.metrics(folder) if "learning_rate" in line]
    assert losses[-1] < losses[0]
    assert (rates[-1] == max(rates)) == (values.get("schedule") == "constant")
    config = read_json(folder / runs.FINAL / "adapter_config.json")
    assert config["use_rslora"] == ("rslora" in values)
    assert config["use_dora"] == ("dora" in values)
    modules = {name.rpartition(".")[2] for name in config["target_modules"]}
    assert ("q_proj" in modules) == (values.get("targets") in (None, "attention"))
    assert ("up_proj" in modules) == (values.get("targets") in (None, "mlp"))
    added = [name for name in load_file(folder / runs.FINAL / "adapter_model.safetensors") if ".lora_" in name]
    layers = {int(name.partition(".layers.")[2].partition(".")[0]) for name in added}
    assert layers == set(range(values.get("layers", base.config()["num_hidden_layers"])))
    assert [one["key"] for one in run.notices] == ["training.no_eight_bit"] * ("optimiser" in values)
    engine = TransformersEngine(base)
    try:
        prompt = engine.layout("auto", "silent").prompt(Dialogue(question="天怎么样？"))
        assert list(engine.stream(prompt, Adapter(folder / runs.FINAL), "x", GREEDY, None))
    finally:
        engine.close()
