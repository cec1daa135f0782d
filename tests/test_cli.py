"""The command line as a user meets it: child processes, their exit status, what they print and where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_models import hub_that_answers, silent_hub

from anime_ai.config import DATA, ROOT, Settings
from anime_ai.dataset.rows import Row
from anime_ai.errors import DatasetError
from anime_ai.files import read_json
from anime_ai.models.bases import Base
from anime_ai.training import runs
from anime_ai.training.recipe import Recipe
from anime_ai.training.runs import Run

Call = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def call(tmp_path: Path) -> Call:
    """`python -m anime_ai …` in an empty folder, without anything of the developer's but Python."""

    def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ANIME_AI_")}
        return subprocess.run(
            [sys.executable, "-m", "anime_ai", *map(str, arguments)],
            cwd=tmp_path,
            env={**kept, "PYTHONPATH": str(ROOT), "ANIME_AI_LANGUAGE": "zh", **variables},
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
        )

    return run


def refused(done: subprocess.CompletedProcess[str], *words: str) -> str:
    """The one line with which a command failed."""
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in lines[0]
    for word in words:
        assert word in lines[0]
    return lines[0]


def nothing_written(folder: Path) -> bool:
    return not [path for path in folder.rglob("*") if path.is_file()]


BAD = {
    "malformed": (b'[{"input": "a", "output": "b"},\n {"input": ]', ["2", "12"]),
    "truncated": (b'[{"input": "a", "output": "b"}', ["1"]),
    "missing field": ('[{"input": "只有问题"}]'.encode(), ["1", "output"]),
    "blank answer": ('[{"input": "问", "output": "  \\n "}]'.encode(), ["1", "output"]),
    "empty": (b"", []),
    "no rows": (b"[]", []),
    "gbk": ('[{"input": "你好", "output": "哼"}]'.encode("gb18030"), ["--encoding", "gb18030"]),
    "not a list": (b'{"input": "a", "output": "b"}', []),
    "parquet": (b"PAR1" + bytes(64), ["Parquet"]),
    "deep": (b"[" * 100_000, []),
}


@pytest.mark.parametrize("kind", list(BAD))
def test_a_bad_dataset_is_one_line_and_leaves_nothing(call: Call, tmp_path: Path, kind: str) -> None:
    content, words = BAD[kind]
    path = tmp_path / "我的 rows.json"
    path.write_bytes(content)
    out = tmp_path / "out"
    done = call("preprocess", "--dataset", path, "--output-dir", out, "--json")
    refused(done, *words)
    assert not out.exists()


def test_a_training_on_a_bad_dataset_or_for_nobody_leaves_nothing(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(BAD["missing field"][0])
    refused(call("train", "--dataset", path, "--output-dir", "out"), "output")
    assert nothing_written(tmp_path / "out")
    refused(call("train", "--dataset", "no/such.json", "--output-dir", "out"), "no/such.json")
    refused(call("train", "--output-dir", "out", "--resume"), "train")
    refused(call("train", "--output-dir", "out", "--model", "no-such-model"), "no-such-model", "starter")
    assert nothing_written(tmp_path / "out")


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("epochs=-1", ["epochs", "-1"]),
        ("learning_rate=1e9", ["learning_rate", "0.05"]),
        ("lora_r=0", ["lora_r"]),
        ("batch_size=two", ["batch_size", "two"]),
        ("nonsense=1", ["nonsense", "epochs"]),
        ("epochs", ["epochs"]),
    ],
)
def test_a_setting_that_makes_no_sense_is_one_line(call: Call, tmp_path: Path, pair: str, words: list[str]) -> None:
    refused(call("train", "--set", pair, "--output-dir", "out"), *words)
    assert nothing_written(tmp_path / "out")


def test_a_dataset_of_the_app_goes_by_whatever_name_it_has(settings: Settings) -> None:
    from anime_ai.cli_shared import stored_dataset
    from anime_ai.dataset.store import Datasets
    from anime_ai.storage import Database

    assert stored_dataset("x.alpaca", settings) is None, "the app was never started"
    rows = [Row("你好", "哼。", "傲娇")]
    with Database.open(settings) as database:
        Datasets(database).create("x.alpaca", rows)
    assert stored_dataset("x.alpaca", settings) == rows
    assert stored_dataset("no/such.json", settings) is None, "a file is said to be missing where it is read"
    for name in ("对话", "很长" * 60):
        with pytest.raises(DatasetError) as caught:
            stored_dataset(name, settings)
        assert caught.value.key == "dataset.unknown"


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--set", "epochs=2"], "epochs"),
        (["--persona", "三无"], "persona"),
        (["--model", "starter"], "base"),
        (["--dataset", "rows.json"], "--dataset"),
    ],
)
def test_going_on_takes_no_other_settings(call: Call, tmp_path: Path, more: list[str], word: str) -> None:
    recipe = Recipe(persona="傲娇", base="auto", epochs=3)
    runs.create(tmp_path / "out", recipe, run_id="cli", name="", dataset="", rows=[Row("问", "答", "傲娇")])
    runs.write_status(tmp_path / "out", state="stopped")
    refused(call("train", "--resume", *more, "--output-dir", "out"), "--resume", word)
    refused(call("train", "--resume", "--set", "epochs=3", "--persona", "傲娇", "--output-dir", "out"), "检查点")


def test_a_folder_that_cannot_be_made_is_one_line(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    refused(call("preprocess", "--output-dir", "file/out"), "file")
    refused(call("train", "--output-dir", "file/out"), "file")


def test_a_bad_variable_is_one_line(call: Call) -> None:
    refused(call("infer", ANIME_AI_MAX_LENGTH="many"), "MAX_LENGTH", "many")


def test_an_unknown_model_and_a_silent_hub_are_one_line(call: Call, tmp_path: Path) -> None:
    fast = {"ANIME_AI_HUB_TIMEOUT": "1"}
    with hub_that_answers(404) as endpoint:
        for command in ("preprocess", "train", "infer"):
            done = call(command, "--model", "nobody/nothing", "--output-dir", "out", HF_ENDPOINT=endpoint, **fast)
            refused(done, "nobody/nothing", "starter")
    with silent_hub() as endpoint:
        done = call("train", "--model", "nobody/nothing", "--output-dir", "out", HF_ENDPOINT=endpoint, **fast)
        refused(done, endpoint, "HF_ENDPOINT")
    assert nothing_written(tmp_path / "out")


@pytest.mark.parametrize(
    "arguments",
    [["no-such-command"], ["train", "--no-such-option"], ["preprocess", "--dataset"], ["infer", "one", "two"]],
)
def test_wrong_usage_is_status_2_without_a_traceback(call: Call, arguments: list[str]) -> None:
    done = call(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_the_help_is_in_the_readers_language(call: Call) -> None:
    chinese, english = call("train", "--help"), call("train", "--help", ANIME_AI_LANGUAGE="en")
    assert chinese.returncode == english.returncode == 0
    assert "训练" in chinese.stdout
    assert "训练" not in english.stdout
    assert "--resume" in english.stdout


def test_without_a_training_infer_and_evaluate_say_what_is_missing(call: Call, base: Base) -> None:
    refused(call("evaluate"), "train")
    refused(call("infer", "--adapter", "nowhere"), "nowhere")
    refused(call("infer", "--prompt", "  "))
    refused(call("infer", "--model", base.path / "config.json"), "starter")


def test_preprocess_train_resume_and_infer_speak_json(call: Call, tmp_path: Path, base: Base) -> None:
    rows = [{"input": f"第{number}问？", "output": f"第{number}答。"} for number in range(6)]
    (tmp_path / "rows.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="gb18030")
    options = ["--output-dir", "输出 out", "--model", base.path, "--json"]
    done = call("preprocess", "--dataset", "rows.json", "--encoding", "gb18030", *options)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    manifest = json.loads(done.stdout)
    assert (manifest["train"], manifest["held_out"], manifest["dataset"]) == (5, 1, "rows.json")
    refused(call("train", "--persona", "温柔", *options), "温柔", "傲娇")
    out = tmp_path / "输出 out"
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == []

    done = call("train", "--set", "epochs=1", *options)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert report == {"state": "finished", "step": 60, "total": 60, "final_model": str(Path("输出 out/final_model"))}
    assert {"checkpoints", "final_model", "processed_data"} <= {path.name for path in out.iterdir()}
    assert runs.read_run(out).persona == "傲娇"

    done = call("train", "--resume", *options)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["step"] == 60

    done = call("infer", "--prompt", "第1问？", "--prompt", "{braces}", "--output-dir", "输出 out", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    answers = json.loads(done.stdout)
    assert [answer["prompt"] for answer in answers] == ["第1问？", "{braces}"]
    assert all(set(answer) == {"prompt", "reply", "thinking", "tokens", "seconds"} for answer in answers)


def test_infer_prints_the_sample_conversation_in_the_original_layout(call: Call, trained_run: Run) -> None:
    from conftest import OTHER_ANSWERS

    done = call("infer", "--output-dir", trained_run.folder, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    blocks = [f"用户：{question}\nAI：{answer}\n{'=' * 30}\n" for question, answer in OTHER_ANSWERS.items()]
    assert done.stdout == "".join(blocks)
    assert len(done.stderr.splitlines()) == 1, "the line that says that a starter model answers"


def test_evaluate_gives_a_table_or_json(call: Call, trained_run: Run) -> None:
    done = call("evaluate", "--output-dir", trained_run.folder, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert {"held_out_loss", "style", "distinct_2", "loop_rate", "end_rate"} <= set(report)
    assert all(set(figure) == {"base", "adapter", "low", "high"} for figure in report.values())


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(f"[\n{lines}\n]", encoding="utf-8")
    return path


def test_dataset_check_finds_faults_and_says_where(call: Call, tmp_path: Path, base: Base) -> None:
    long = "今天的便当是我五点起床做的，才不是特意给你留的呢，只是做多了而已。"
    rows: list[dict[str, Any]] = [
        {"input": "吃什么？", "output": long, "persona": "傲娇"},
        {"input": "你是谁？", "output": "我是ChatGPT<|im_end|>。"},
        {"input": "只有问题"},
        {"input": "吃什么？", "output": long, "persona": "傲娇"},
        {"input": "吃什么？", "output": "哼" * 400, "persona": "傲娇"},
    ]
    path = written(tmp_path / "rows.json", rows)
    done = call("dataset", "check", path, "--model", base.path, "--json")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    told = json.loads(done.stdout)
    assert set(told) == {"rows", "ok", "errors", "warnings", "duplicates", "tokens"}
    assert (told["rows"], told["ok"]) == (5, False)
    places = [(one["row"], one["line"], one["field"]) for one in told["errors"]]
    assert places == [(2, 3, "output"), (2, 3, "output"), (3, 4, "output"), (5, 6, "output")]
    assert all(set(one) == {"row", "line", "field", "message"} for one in told["errors"] + told["warnings"])
    assert [one["field"] for one in told["warnings"]] == ["persona"]
    assert [(one["row"], one["line"], one["other"]) for one in told["duplicates"]] == [(4, 5, 1)]
    assert told["tokens"] > 100

    done = call("dataset", "check", path, "--model", base.path, "--persona", "三无")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert len(lines) == 6, "a line for each finding, and what they come to"
    assert [line[0] for line in lines[:-1]] == ["✗", "✗", "✗", "!", "✗"]
    assert "ChatGPT" in lines[1]


def test_dataset_check_of_json_lines_counts_lines(call: Call, tmp_path: Path, base: Base) -> None:
    rows = [
        '{"input": "早", "output": "早。", "persona": "三无"}',
        "",
        '{"input": ',
        '{"input": "晚", "output": "<think>"}',
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows), encoding="gb18030")
    done = call("dataset", "check", "rows.jsonl", "--model", base.path, "--encoding", "gb18030", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert [(one["row"], one["line"]) for one in told["errors"]] == [(3, 3), (4, 4)]
    assert told["rows"] == 3


def test_dataset_check_of_good_rows_is_silent(call: Call, tmp_path: Path, base: Base) -> None:
    path = written(tmp_path / "rows.json", [{"input": "早", "output": "早。", "persona": "三无"}])
    done = call("dataset", "check", path, "--model", base.path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
    refused(call("dataset", "check", "no/such.json"), "no/such.json")
    (tmp_path / "cut.json").write_text('[{"input": ', encoding="utf-8")
    refused(call("dataset", "stats", "cut.json"), "1")


def test_dataset_stats_of_a_file_and_of_a_dataset_by_name(call: Call, tmp_path: Path, base: Base) -> None:
    from anime_ai.config import Settings
    from anime_ai.dataset.rows import Row
    from anime_ai.dataset.store import Datasets
    from anime_ai.storage import Database

    rows = [Row(f"第{number}问？", f"哼，第{number}答。", "傲娇" if number % 2 else "三无") for number in range(12)]
    with Database.open(Settings.load(output_dir=tmp_path / "out")) as database:
        Datasets(database).create("我的对话", rows)
    path = written(tmp_path / "rows.json", [row.as_json() for row in rows])
    options = ["--model", base.path, "--output-dir", "out"]
    by_name, by_file = (call("dataset", "stats", given, *options, "--json") for given in ("我的对话", path))
    assert by_name.returncode == by_file.returncode == 0, by_name.stderr
    told = json.loads(by_name.stdout)
    assert told == json.loads(by_file.stdout)
    assert [(one["persona"], one["rows"]) for one in told["personas"]] == [("三无", 6), ("傲娇", 6)]
    assert told["personas"][0]["training"] == {"rows": 5, "epochs": 30.0, "steps": 90}
    assert sum(told["tokens"]["histogram"]["counts"]) == told["rows"] == 12
    assert told["tokens"]["left_out"] == 0
    shown = call("dataset", "stats", "我的对话", *options)
    assert shown.returncode == 0, shown.stderr
    assert "█" in shown.stdout
    assert "90" in shown.stdout
    assert call("dataset", "check", "我的对话", *options).returncode == 0
    refused(call("dataset", "check", "没有的", *options), "没有的")


def test_the_shipped_rows_answer_the_original_questions() -> None:
    rows = read_json(DATA / "dataset.json")
    assert rows[0] == {
        "input": "你喜欢什么动漫？",
        "output": "哼，才不会随便告诉你呢！不过《EVA》还算不错吧。",
        "persona": "傲娇",
    }
    assert rows[1]["output"] == "想让我帮你？哼，自己努力一点啦，我可不是你的保姆！"


def test_a_dataset_is_converted(call: Call, tmp_path: Path) -> None:
    source, target, other = tmp_path / "a.csv", tmp_path / "b.json", tmp_path / "c.json"
    source.write_text("input,output,tags\n早,哼,日常\n", encoding="utf-8")
    done = call("dataset", "convert", str(source), "--to", "sharegpt", "--out", str(target))
    assert done.returncode == 0
    value = json.loads(target.read_text(encoding="utf-8"))
    assert [turn["value"] for turn in value[0]["conversations"]] == ["早", "哼"]
    assert "tags" in done.stderr, "what the format cannot hold is said"
    refused(call("dataset", "convert", str(target), "--to", "nonsense", "--out", str(other)), "nonsense")
    assert not other.exists()


@pytest.mark.slow
def test_a_model_is_converted_and_compared(call: Call, tmp_path: Path) -> None:
    target = tmp_path / "starter.gguf"
    done = call("model", "convert", "starter", "--type", "f16", "--out", str(target), "--json")
    told = json.loads(done.stdout)
    assert (told["file"], told["equal"], told["total"]) == (str(target), 8, 8)
    assert target.stat().st_size == told["bytes"]
    assert [file.name for file in tmp_path.iterdir() if "check" in file.name] == []
