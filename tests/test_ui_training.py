"""The training tab's handlers, called as functions on real run folders; and the charts that they draw."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import Any

import pytest
from ui_fakes import OWNER

from anime_ai.errors import DatasetError, ModelError, SettingsError, TrainingError
from anime_ai.files import write_json
from anime_ai.models.device import Device
from anime_ai.studio import Studio
from anime_ai.training import checkpoints, runs
from anime_ai.training.evaluating import FILE
from anime_ai.training.recipe import MEMORY, PRESETS, Recipe
from anime_ai.ui import training_tab
from anime_ai.ui.chart import Series, line_chart, thin
from anime_ai.ui.run_view import duration, smoothed
from anime_ai.ui.training_tab import TrainingTab

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(training_tab, "note", lambda line, language: said.append(line))
    return said


@pytest.fixture
def tab(studio: Studio, notes: list[str]) -> TrainingTab:
    return TrainingTab(studio)


def values_of(tab: TrainingTab, **changes: Any) -> list[Any]:
    recipe = {**Recipe.from_values({}, tab.studio.settings).as_json(), **changes}
    return [recipe[name] for name in tab.names]


def started(tab: TrainingTab, name: str = "三行", **changes: Any) -> runs.Run:
    dataset = tab.studio.datasets.list()[0].id
    return tab.studio.runs.get(tab.start(OWNER, dataset, name, *values_of(tab, **changes))[0]["value"])


def test_the_form_has_every_field_of_the_recipe_the_basic_ones_first(tab: TrainingTab) -> None:
    assert tab.names[: len(Recipe.BASIC)] == list(Recipe.BASIC)
    assert sorted(tab.names) == sorted(one.name for one in fields(Recipe))


def test_before_the_first_run_the_page_says_what_to_do(tab: TrainingTab) -> None:
    dataset, base, persona, run, seen, state, *_ = tab.arrive(OWNER, None, None)
    assert dataset["value"] == tab.studio.datasets.list()[0].id
    assert "auto" in [value for _, value in base["choices"]]
    assert persona["value"] == "傲娇"
    assert run["value"] is None
    assert "开始训练" in state
    assert seen == {}


def test_a_run_is_queued_on_the_dataset_as_it_is(tab: TrainingTab, notes: list[str]) -> None:
    run = started(tab, lora_r=8)
    assert run.state == "queued"
    assert run.name == "三行"
    assert run.persona == "傲娇"
    assert notes
    assert tab.arrive(OWNER, None, None)[3]["value"] == run.id, "a new page load finds it"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 1e9),
        ("lora_r", 0),
        ("epochs", -1),
        ("batch_size", "two"),
        ("think", "loud"),
        ("epochs", float("nan")),
    ],
)
def test_absurd_numbers_are_refused_by_the_server(tab: TrainingTab, name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=name):
        started(tab, **{name: value})
    assert tab.studio.runs.list() == []


def test_a_persona_without_rows_and_a_dataset_that_is_gone_are_said(tab: TrainingTab) -> None:
    with pytest.raises(DatasetError):
        started(tab, persona="不存在")
    with pytest.raises(DatasetError):
        tab.start(OWNER, None, "", *values_of(tab))
    with pytest.raises(DatasetError):
        tab.start(OWNER, "gone", "", *values_of(tab))


def test_a_page_that_has_seen_everything_is_told_nothing(tab: TrainingTab) -> None:
    run = started(tab)
    first = tab.tick(OWNER, run.id, {})
    again = tab.tick(OWNER, run.id, first[1])
    assert [part for part in again if part != {"__type__": "update"}] == []
    runs.write_status(run.folder, state="running", step=3, total=60)
    runs.append_line(run.folder / runs.METRICS, {"step": 3, "loss": 4.5, "learning_rate": 1e-3, "time": 1})
    news = tab.tick(OWNER, run.id, first[1])
    assert "3 / 60" in news[2]
    assert "4.5" in news[3]
    assert "0.001" in news[4]


def test_the_curve_grows_with_what_is_on_disk(tab: TrainingTab) -> None:
    run, counts = started(tab), []
    runs.write_status(run.folder, state="running", step=0, total=60)
    for step in range(1, 6):
        runs.append_line(run.folder / runs.METRICS, {"step": step, "loss": 5 - step / 2})
        runs.append_line(run.folder / runs.METRICS, {"step": step, "eval_loss": 5 - step / 3})
        counts.append(tab.choose_run(OWNER, run.id)[3].count("<circle"))
    assert counts == [2, 4, 6, 8, 10]


def test_the_end_is_said_once_and_in_the_state(tab: TrainingTab, notes: list[str]) -> None:
    run = started(tab)
    runs.write_status(run.folder, state="running", step=60, total=60)
    seen = tab.tick(OWNER, run.id, {})[1]
    runs.write_status(run.folder, state="finished")
    notes.clear()
    last = tab.tick(OWNER, run.id, seen)
    assert "已完成" in last[2]
    assert len(notes) == 1
    tab.tick(OWNER, run.id, last[1])
    assert len(notes) == 1
    assert not last[9].active, "nothing goes on: the timer rests"


def test_a_failure_is_said_in_words_and_as_text(tab: TrainingTab) -> None:
    run = started(tab, name=f"名{EVIL}")
    error = {"key": "training.crashed", "values": {"why": EVIL}}
    runs.write_status(run.folder, state="failed", error=error, notices=[{"key": "no.such"}, "junk"])
    shown = tab.choose_run(OWNER, run.id)
    assert "训练意外停下" in shown[2]
    assert "<img" not in shown[2]
    assert shown[7]["visible"], "it can be resumed"


def test_what_she_answers_shows_the_change_as_text(tab: TrainingTab) -> None:
    run = started(tab)
    for step in range(0, 100, 10):
        runs.append_line(run.folder / runs.SAMPLES, {"step": step, "prompt": "你好", "reply": f"第{step}步{EVIL}"})
    cards = tab.choose_run(OWNER, run.id)[5]
    assert "训练前" in cards
    assert "第 90 步" in cards
    assert cards.count("<dt>") == 6
    assert "<img" not in cards


def test_stopping_resuming_and_removing_follow_the_runs_state(tab: TrainingTab) -> None:
    run = started(tab)
    shown = tab.choose_run(OWNER, run.id)
    assert [part["visible"] for part in shown[6:9]] == [True, False, False]
    stopped = tab.stop(OWNER, run.id)
    assert [part["visible"] for part in stopped[6:9]] == [False, True, True]
    with pytest.raises(TrainingError):
        tab.resume(OWNER, run.id)
    assert tab.remove(OWNER, run.id)[0]["value"] is None
    for handler in (tab.stop, tab.resume, tab.remove):
        for id in (run.id, "", None, "../../etc"):
            with pytest.raises(TrainingError):
                handler(OWNER, id)  # type: ignore[arg-type]


def test_a_run_that_was_removed_elsewhere_ends_the_look_quietly(tab: TrainingTab) -> None:
    assert "开始训练" in tab.tick(OWNER, "f" * 32, {"run": "f" * 32})[2]


@pytest.mark.parametrize(("seconds", "said"), [(5, "5 秒"), (125.4, "2 分 5 秒"), (7500, "2 小时 5 分"), (-3, "0 秒")])
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds, "zh") == said


# Presets, what it needs, an earlier run again.


def told(tab: TrainingTab, updates: list[Any]) -> dict[str, Any]:
    """The fields that updates set."""
    return {name: update["value"] for name, update in zip(tab.names, updates, strict=True) if "value" in update}


def test_a_preset_fills_the_form_with_what_the_recipe_takes(tab: TrainingTab) -> None:
    for name, values in {**PRESETS, **MEMORY}.items():
        assert told(tab, tab.form.preset(OWNER, name)) == values
    assert told(tab, tab.form.preset(OWNER, "no such preset")) == {}


def test_what_it_needs_is_said_before_it_starts(tab: TrainingTab) -> None:
    dataset = tab.studio.datasets.list()[0].id
    line = tab.form.weigh(OWNER, dataset, *values_of(tab, base="starter", steps=77))
    assert "77 步" in line
    assert "GB" in line
    with pytest.raises(DatasetError):
        tab.form.weigh(OWNER, None, *values_of(tab))
    with pytest.raises(SettingsError):
        tab.form.weigh(OWNER, dataset, *values_of(tab, steps=7, epochs=7))
    with pytest.raises(ModelError):
        tab.form.weigh(OWNER, dataset, *values_of(tab, base="nobody/has-this"))


def test_too_large_a_training_says_what_would_fit(tab: TrainingTab, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Device("cpu", "CPU", int(1.3e9), bf16=False, fp16=False)
    monkeypatch.setattr("anime_ai.models.device.pick_device", lambda: small)
    dataset = tab.studio.datasets.list()[0].id
    line = tab.form.weigh(OWNER, dataset, *values_of(tab, base="starter"))
    assert "内存不够" in line
    assert "why" in line


def test_an_earlier_run_fills_the_form_and_has_another_name(tab: TrainingTab) -> None:
    run = started(tab, lora_r=8, epochs=3)
    name, *fields_of_it = tab.again(OWNER, run.id)
    assert name["value"] == "三行 +"
    assert told(tab, fields_of_it)["lora_r"] == 8
    renamed = tab.rename(OWNER, run.id, f"  新的{EVIL}\n名字 ")
    assert tab.studio.runs.get(run.id).name == f"新的{EVIL} 名字"
    assert "<img" not in renamed[2]
    with pytest.raises(TrainingError):
        tab.rename(OWNER, run.id, " \n ")
    with pytest.raises(TrainingError):
        tab.again(OWNER, "f" * 32)
    with pytest.raises(TrainingError):
        tab.use_checkpoint(OWNER, "f" * 32, 3)


def test_a_checkpoint_is_chosen_by_hand(tab: TrainingTab) -> None:
    run = started(tab)
    with pytest.raises(TrainingError):
        tab.use_checkpoint(OWNER, run.id, 3)
    runs.write_status(run.folder, state="finished", checkpoint=6)
    for step in (3, 6):
        folder = run.folder / runs.CHECKPOINTS / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / checkpoints.ADAPTER[0]).write_bytes(bytes([step]))
        (folder / checkpoints.ADAPTER[1]).write_text("{}")
        checkpoints.seal(run.folder, step)
        runs.append_line(run.folder / runs.METRICS, {"step": step, "eval_loss": 1.5 + step, "style": 0.25})
    (run.folder / checkpoints.TOKENIZER).mkdir()
    told = ("base", "persona", "version", "prompt_format", "think", "layout", "system_line", "rows", "of_steps")
    notes = dict.fromkeys((*told, "learning_rate", "precision", "dataset_sha256"), "x")
    (run.folder / checkpoints.NOTES).write_text(json.dumps(notes))
    choices = dict((step, line) for line, step in tab.choose_run(OWNER, run.id)[10]["choices"])
    assert set(choices) == {3, 6}
    assert "4.500" in choices[3]
    assert "正在用" in choices[6]
    assert "正在用" not in choices[3]
    shown = tab.use_checkpoint(OWNER, run.id, "3")
    assert shown[10]["value"] == 3
    assert (run.folder / runs.FINAL / checkpoints.ADAPTER[0]).read_bytes() == bytes([3])
    for junk in (None, "three", 99, float("inf")):
        with pytest.raises(TrainingError):
            tab.use_checkpoint(OWNER, run.id, junk)


# Comparing and evaluating.


def test_runs_are_compared_by_curves_and_by_what_differs(tab: TrainingTab) -> None:
    first, second = started(tab, name=f"甲{EVIL}", lora_r=4), started(tab, name="乙", lora_r=64)
    for run in (first, second):
        runs.append_line(run.folder / runs.METRICS, {"step": 1, "loss": 4.5})
    shown = tab.comparing.compare(OWNER, [first.id, second.id])
    assert "<img" not in shown
    assert "LoRA 秩" in shown
    assert "<td>4</td><td>64</td>" in shown
    assert "学习率" not in re.sub("<figure.*?</figure>", "", shown)
    assert shown.count("<circle") == 2
    same = tab.comparing.compare(OWNER, [first.id, first.id])
    assert "都一样" in same
    assert "两次" in tab.comparing.compare(OWNER, [first.id])
    assert "两次" in tab.comparing.compare(OWNER, None)
    with pytest.raises(TrainingError):
        tab.comparing.compare(OWNER, [first.id, "../../etc"])
    assert {value for _, value in tab.comparing.offer(OWNER)["choices"]} == {first.id, second.id}


def test_what_an_adapter_was_measured_to_do_is_shown_with_its_interval(tab: TrainingTab) -> None:
    run = started(tab)
    assert "还没评测" in tab.evaluating.look(OWNER, run.id)[0]
    assert "还没评测" in tab.evaluating.look(OWNER, "gone")[0]
    with pytest.raises(TrainingError) as caught:
        tab.evaluating.begin(OWNER, run.id)
    assert caught.value.key == "training.no_adapter"
    figures = {
        "style": {"base": 0.1, "adapter": 0.8, "low": 0.7, "high": 0.9},
        "held_out_loss": {"base": 8.0, "adapter": 6.4, "low": 6.1, "high": 6.6},
        EVIL: {"base": 0, "adapter": 0, "low": 0, "high": 0},
    }
    write_json(run.folder / FILE, {"state": "done", "checkpoint": 12, "figures": figures})
    shown, timer = tab.evaluating.look(OWNER, run.id)
    assert "70%–90%" in shown
    assert "[6.1, 6.6]" in shown
    assert "第 12 步" in shown
    assert "<img" not in shown
    assert not timer.active
    write_json(run.folder / FILE, {"state": "running", "pid": 2**22 - 3, "started": 1.0})
    assert "训练意外停下" in tab.evaluating.look(OWNER, run.id)[0], "its process is gone"


def test_the_smoothed_curve_begins_where_the_raw_one_does() -> None:
    raw = [(float(step), 5.0) for step in range(20)]
    assert [value for _, value in smoothed(raw)] == pytest.approx([5.0] * 20)
    assert [step for step, _ in smoothed(raw)] == [step for step, _ in raw]
    noisy = [(float(step), 5.0 + (-1) ** step) for step in range(40)]
    values = [value for _, value in smoothed(noisy)]
    assert max(values[5:]) - min(values[5:]) < 0.5


# Charts.


def test_a_long_curve_is_thinned_to_a_thousand_points_with_both_ends() -> None:
    points = [(float(step), 1.0 / (step + 1)) for step in range(50_000)]
    kept = thin(points)
    assert len(kept) == 1000
    assert kept[0] == points[0]
    assert kept[-1] == points[-1]
    assert kept == sorted(kept)


def test_points_are_ordered_by_step_and_what_is_no_number_is_left_out() -> None:
    assert thin([(3, 1.0), (1, float("nan")), (2, 2.0), (float("inf"), 1)]) == [(2, 2.0), (3, 1.0)]


@pytest.mark.parametrize(
    "points", [[(0, 1.0)], [(0, 1.0), (10, 1.0)], [(5, -3.0), (6, 1e9)], [(1, 1e-12), (2, 2e-12)], [(0, 0.0), (1, 0.0)]]
)
def test_any_curve_stays_inside_the_picture(points: list[tuple[float, float]]) -> None:
    chart = line_chart([Series("x", "train", points)], "标题", "空", 100)
    path = re.search(r'points="([^"]*)"', chart)
    assert path
    for pair in path[1].split():
        x, y = map(float, pair.split(","))
        assert 0 <= x <= 640
        assert 0 <= y <= 240


def test_an_empty_chart_says_so_and_names_are_escaped() -> None:
    assert "还没有" in line_chart([Series("x", "train", [])], "标题", "还没有")
    assert "<img" not in line_chart([Series(EVIL, "train", [(1, 1)])], EVIL, EVIL)
