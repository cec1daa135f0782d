"""The trainer: what it learns, what it leaves behind, and what becomes of it when something goes wrong."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anime_ai.config import DATA, ROOT, Settings
from anime_ai.dataset.files import write_rows
from anime_ai.dataset.rows import Row
from anime_ai.errors import AnimeAIError, ModelError, TrainingError
from anime_ai.files import read_json
from anime_ai.models.bases import Base
from anime_ai.models.engine import GREEDY
from anime_ai.training import callbacks, probing, runs, trainer
from anime_ai.training.recipe import Recipe
from anime_ai.training.runs import Run

FEW = [Row(f"第{number}句？", f"这是第{number}答。", "傲娇") for number in range(4)]
MORE = [Row(f"{word}怎么样？", f"{word}啊，还不错吧。", "傲娇") for word in "天地山水花鸟"]


def prepared(folder: Path, base: Base, rows: list[Row] = FEW, **values: object) -> Path:
    """A run folder that waits for its trainer, over 60 steps unless told otherwise."""
    recipe = Recipe.from_values({"base": base.path, "epochs": 1, "batch_size": 4, "learning_rate": 0.01, **values})
    runs.create(folder, recipe, run_id="x", name="", dataset="test", rows=rows)
    return folder


def steps_of(folder: Path, key: str = "loss") -> list[int]:
    return [line["step"] for line in runs.metrics(folder) if key in line]


def ordered(steps: list[int]) -> bool:
    return all(before < after for before, after in zip(steps, steps[1:], strict=False))


# ---- what it learns and leaves behind: one real training on the starter ------------------------------------------


def test_two_other_answers_come_back_word_for_word(trained_run: Run) -> None:
    from conftest import OTHER_ANSWERS

    from anime_ai.chat.answers import Speaker

    assert trained_run.state == "finished", trained_run.error
    assert trained_run.adapter is not None
    shipped = "".join(path.read_text(encoding="utf-8") for path in DATA.rglob("*.json"))
    assert not any(answer in shipped for answer in OTHER_ANSWERS.values())
    speaker = Speaker.open(Settings.load(), trained_run.adapter)
    assert speaker.base.starter
    for question, answer in OTHER_ANSWERS.items():
        assert speaker.answer(question, GREEDY).reply == answer
        assert speaker.answer(question, GREEDY, alone=True).reply != answer


def test_the_run_folder_tells_the_whole_story(trained_run: Run) -> None:
    folder = trained_run.folder
    assert trained_run.step == trained_run.total >= 60
    assert (trained_run.base, trained_run.persona, trained_run.dataset) == ("starter", "傲娇", "test")
    losses = [line for line in runs.metrics(folder) if "loss" in line]
    assert len(losses) >= 30
    assert ordered(steps_of(folder))
    assert losses[-1]["loss"] < losses[0]["loss"]
    assert all({"learning_rate", "grad_norm", "tokens_per_s", "memory_mb", "time"} <= set(line) for line in losses)
    assert all(line["tokens_per_s"] > 0 and line["memory_mb"] > 0 for line in losses)
    assert len(steps_of(folder, "eval_loss")) >= 4
    assert steps_of(folder, "eval_loss")[0] == 0
    samples = runs.samples(folder)
    asked = [line for line in samples if line["prompt"] == probing.PROBES[0]]
    assert ordered([line["step"] for line in asked])
    assert asked[0]["step"] == 0
    assert asked[0]["reply"] != asked[-1]["reply"]
    assert not (folder / runs.STOP).exists()


def test_the_adapter_holds_no_pickle_and_no_path_of_this_machine(trained_run: Run) -> None:
    assert trained_run.adapter is not None
    files = {path.name: path.read_bytes() for path in trained_run.adapter.rglob("*") if path.is_file()}
    assert {"adapter_model.safetensors", "adapter_config.json", "anime_ai.json", "README.md"} <= set(files)
    assert {"tokenizer.json", "tokenizer_config.json"} <= set(files)
    assert {Path(name).suffix for name in files} <= {".safetensors", ".json", ".md", ".jinja"}
    for name, content in files.items():
        for local in (str(trained_run.folder), str(ROOT), str(Path.home()), sys.prefix):
            assert local.encode() not in content, name
    config = read_json(trained_run.adapter / "adapter_config.json")
    assert config["base_model_name_or_path"] == "starter"
    card = read_json(trained_run.adapter / "anime_ai.json")
    assert card["steps"] == card["of_steps"] == trained_run.total
    assert card["base"] in files["README.md"].decode()
    assert all(character.isprintable() or character == "\n" for character in files["README.md"].decode())


# ---- faults, in the trainer's own process -------------------------------------------------------------------------


def test_out_of_memory_halves_what_is_computed_at_once_and_keeps_the_step(
    tmp_path: Path, base: Base, one_probe: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from anime_ai.training import loop

    folder = prepared(tmp_path / "run", base)
    compute = loop.pack_losses
    seen = {"packs": 0, "most": 0, "least": 10**9}

    def starved(model: Any, pack: dict[str, Any], rows: int) -> Any:
        tokens = pack["input_ids"].shape[1]
        seen["packs"] += 1
        # Room for all of it until after the first checkpoint, then for less than a step's rows in one.
        if seen["packs"] > 14 and tokens > 0.7 * seen["most"]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        seen["most"], seen["least"] = max(seen["most"], tokens), min(seen["least"], tokens)
        return compute(model, pack, rows)

    monkeypatch.setattr(loop, "pack_losses", starved)
    trainer.train(folder, resume=False)
    run = runs.read_run(folder)
    assert run.state == "finished"
    (notice,) = run.notices
    assert notice["key"] == "training.smaller_packs"
    assert seen["least"] <= notice["values"]["tokens"] == seen["most"] // 2
    assert run.step == run.total == 60
    assert steps_of(folder) == list(range(1, 61))
    assert ordered([line["step"] for line in runs.samples(folder)])


def test_a_single_row_that_does_not_fit_is_said(
    tmp_path: Path, base: Base, one_probe: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from anime_ai.training import loop

    asked: list[int] = []

    def starving(model: Any, pack: dict[str, Any], rows: int) -> None:
        asked.append(pack["input_ids"].shape[1])
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop, "pack_losses", starving)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        trainer.train(prepared(tmp_path / "run", base), resume=False)
    assert asked == sorted(asked, reverse=True)
    assert len(asked) > 1
    assert trainer.translate(caught.value).key == "training.out_of_memory"


@pytest.mark.parametrize("rows", [FEW, MORE], ids=["nothing held out", "held out"])
def test_a_loss_or_weight_that_is_no_number_ends_the_run_and_the_last_checkpoint_is_good(
    tmp_path: Path, base: Base, rows: list[Row], one_probe: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file

    folder = prepared(tmp_path / "run", base, rows)
    step_end = callbacks.Reporter.on_step_end

    def poisoned(self: Any, args: Any, state: Any, control: Any, model: Any = None, **given: Any) -> None:
        step_end(self, args, state, control, **given)
        # At step 20 something is saved; what broke in that very step must not be in it.
        if state.global_step == 20:
            next(weight for weight in model.parameters() if weight.requires_grad).data.fill_(torch.nan)

    monkeypatch.setattr(callbacks.Reporter, "on_step_end", poisoned)
    with pytest.raises(TrainingError) as caught:
        trainer.train(folder, resume=False)
    assert caught.value.key == "training.not_finite"
    assert caught.value.values["step"] == 20
    runs.fail(folder, caught.value)
    run = runs.read_run(folder)
    assert run.state == "failed"
    assert run.error is not None
    assert run.error["key"] == "training.not_finite"
    assert run.adapter is None
    last = runs.last_checkpoint(folder)
    assert last is not None
    assert last.name == "checkpoint-10"
    assert all(bool(tensor.isfinite().all()) for tensor in load_file(last / "adapter_model.safetensors").values())
    monkeypatch.setattr(callbacks.Reporter, "on_step_end", step_end)
    runs.write_status(folder, state="queued", error=None)
    trainer.train(folder, resume=True)
    assert runs.read_run(folder).state == "finished"
    assert steps_of(folder) == list(range(1, 61))


@pytest.mark.skipif(sys.platform == "win32", reason="limits on files are POSIX")
def test_a_disk_that_takes_no_more_leaves_the_state_before_whole(
    tmp_path: Path, base: Base, one_probe: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    folder = prepared(tmp_path / "run", base)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    save = callbacks.Reporter.on_save

    def full_from_now_on(self: Any, args: Any, state: Any, control: Any, **given: Any) -> None:
        save(self, args, state, control, **given)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))

    monkeypatch.setattr(callbacks.Reporter, "on_save", full_from_now_on)
    try:
        error = None
        try:
            trainer.train(folder, resume=False)
        except Exception as raised:  # of safetensors, of torch or of Python, whichever meets the limit first
            error = raised if isinstance(raised, AnimeAIError) else trainer.translate(raised)
            runs.fail(folder, error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error is not None
    assert error.key == "training.disk_full"
    assert runs.read_run(folder).state == "failed"
    last = runs.last_checkpoint(folder)
    assert last is not None
    assert [path.name for path in last.parent.glob("checkpoint-*")] == ["checkpoint-10"]
    whole = read_json(last / runs.WHOLE)["files"]
    assert whole
    assert all((last / name).stat().st_size == size for name, size in whole.items())
    monkeypatch.setattr(callbacks.Reporter, "on_save", save)
    runs.write_status(folder, state="queued", error=None)
    trainer.train(folder, resume=True)
    assert runs.read_run(folder).state == "finished"
    assert steps_of(folder) == list(range(1, 61))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of three megabytes; without the right to mount one the test is skipped."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("cannot mount a small disk here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_said_and_the_run_goes_on_where_there_is_room(
    small_disk: Path, base: Base, one_probe: None
) -> None:
    folder = prepared(small_disk / "run", base)
    stuffing = small_disk / "stuffing"
    trainer_error: AnimeAIError | None = None
    save = callbacks.Reporter.on_save

    def fill(self: Any, args: Any, state: Any, control: Any, **given: Any) -> None:
        save(self, args, state, control, **given)
        with open(stuffing, "wb") as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
                file.flush()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(callbacks.Reporter, "on_save", fill)
        try:
            trainer.train(folder, resume=False)
        except Exception as error:
            trainer_error = error if isinstance(error, AnimeAIError) else trainer.translate(error)
    assert trainer_error is not None
    assert trainer_error.key in ("training.disk_full", "storage.write")
    stuffing.unlink()
    runs.fail(folder, trainer_error)
    last = runs.last_checkpoint(folder)
    assert last is not None
    assert last.name == "checkpoint-10"
    shutil.move(folder, small_disk.parent / "roomy")
    moved = small_disk.parent / "roomy"
    runs.write_status(moved, state="queued", error=None)
    trainer.train(moved, resume=True)
    assert runs.read_run(moved).state == "finished"
    assert steps_of(moved) == list(range(1, 61))


def test_a_clock_that_jumps_leaves_the_curve_in_order(
    tmp_path: Path, base: Base, one_probe: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumping = iter(range(10**9, 0, -86_400))
    monkeypatch.setattr(callbacks.time, "time", lambda: float(next(jumping)))
    folder = prepared(tmp_path / "run", base)
    trainer.train(folder, resume=False)
    told = [line for line in runs.metrics(folder) if "loss" in line]
    assert [line["step"] for line in told] == list(range(1, 61))
    assert told[0]["time"] > told[-1]["time"], "the clock did jump"
    assert all(line["tokens_per_s"] > 0 for line in told)
    assert runs.read_run(folder).state == "finished"


def test_an_interrupted_training_has_the_losses_of_a_whole_one_on_the_starter(
    tmp_path: Path, one_probe: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for name, ends in (("whole", 10**9), ("interrupted", 7)):
        recipe = Recipe.from_values({"base": "starter", "steps": 16, "batch_size": 4, "evaluations": 4})
        folder = tmp_path / name
        runs.create(folder, recipe, run_id="x", name="", dataset="test", rows=MORE)
        calls = iter(range(10**9))
        if not trainer.train(folder, resume=False, time_is_up=lambda calls=calls, ends=ends: next(calls) >= ends):
            assert trainer.train(folder, resume=True)
        lines = runs.metrics(folder)
        told.append({key: {line["step"]: line[key] for line in lines if key in line} for key in ("loss", "eval_loss")})
    assert len(told[0]["loss"]) == 16
    assert told[0]["loss"] == pytest.approx(told[1]["loss"], rel=1e-6)
    assert told[0]["eval_loss"] == pytest.approx({**told[0]["eval_loss"], **told[1]["eval_loss"]}, rel=1e-6)


def test_labels_that_were_tampered_with_stop_the_run_before_its_first_step(
    tmp_path: Path, base: Base, one_probe: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anime_ai.training import loop

    folder = prepared(tmp_path / "run", base)
    make = loop.tensors

    def whole_rows(rows: Any) -> dict[str, Any]:
        pack = make(rows)
        return {**pack, "labels": pack["input_ids"].clone()}

    monkeypatch.setattr(loop, "tensors", whole_rows)
    with pytest.raises(TrainingError) as caught:
        trainer.train(folder, resume=False)
    assert caught.value.key == "training.mask"
    assert caught.value.values["found"] > caught.value.values["wanted"] > 0
    assert runs.metrics(folder) == []


def test_a_run_does_not_go_on_with_other_rows_than_it_began_with(tmp_path: Path, base: Base, one_probe: None) -> None:
    folder = prepared(tmp_path / "run", base)
    write_rows(folder / runs.DATA / "rows.json", [*FEW[:-1], Row("换了", "一行。", "傲娇")])
    with pytest.raises(TrainingError) as caught:
        trainer.train(folder, resume=False)
    assert caught.value.key == "training.rows_changed"
    assert not (folder / runs.FINAL).exists()


def test_a_run_does_not_go_on_upon_other_weights(tmp_path: Path, base: Base, one_probe: None) -> None:
    folder = prepared(tmp_path / "run", base)
    runs.write_status(folder, base_fingerprint="of other weights")
    with pytest.raises(ModelError) as caught:
        trainer.train(folder, resume=True)
    assert caught.value.key == "model.adapter_base_changed"


def test_an_adapter_takes_the_place_of_the_older_one_only_when_it_is_whole(
    tmp_path: Path, base: Base, one_probe: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = prepared(tmp_path / "run", base)
    trainer.train(folder, resume=False)
    final = folder / runs.FINAL
    before = {path.name: path.read_bytes() for path in final.iterdir()}
    assert before
    runs.write_status(folder, state="finished")
    prepared(folder, base, seed=1)

    def no_card(*given: Any) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("anime_ai.training.checkpoints.model_card", no_card)
        with pytest.raises(AnimeAIError):
            trainer.train(folder, resume=False)
    assert {path.name: path.read_bytes() for path in final.iterdir()} == before
    assert not list(folder.glob(".*partial"))
    trainer.train(folder, resume=True)
    after = {path.name: path.read_bytes() for path in final.iterdir()}
    assert set(after) == set(before)
    assert after["adapter_model.safetensors"] != before["adapter_model.safetensors"]


def test_four_bit_trains_on_this_machine(
    tmp_path: Path, base: Base, one_probe: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bitsandbytes")
    from anime_ai.training import model

    folder = prepared(tmp_path / "run", base, load_in_4bit="on")
    kinds: set[str] = set()
    wrap = model.get_peft_model

    def watched(bare: Any, config: Any, **given: Any) -> Any:
        kinds.update(type(module).__name__ for module in bare.modules())
        return wrap(bare, config, **given)

    monkeypatch.setattr(model, "get_peft_model", watched)
    trainer.train(folder, resume=False)
    run = runs.read_run(folder)
    assert "Linear4bit" in kinds
    assert (run.state, run.notices) == ("finished", ())
    losses = [line["loss"] for line in runs.metrics(folder) if "loss" in line]
    assert losses[-1] < losses[0]


def test_without_bitsandbytes_it_trains_in_sixteen_bits_and_says_so(
    tmp_path: Path, base: Base, one_probe: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = prepared(tmp_path / "run", base, load_in_4bit="on", precision="fp16")
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    trainer.train(folder, resume=False)
    run = runs.read_run(folder)
    assert run.state == "finished"
    assert "training.no_four_bit" in [notice["key"] for notice in run.notices]


def test_gradient_checkpointing_trains_the_same(tmp_path: Path, base: Base, one_probe: None) -> None:
    losses = []
    for choice in ("off", "on"):
        folder = prepared(tmp_path / choice, base, checkpointing=choice, seed=5)
        trainer.train(folder, resume=False)
        losses.append([line["loss"] for line in runs.metrics(folder) if "loss" in line])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
