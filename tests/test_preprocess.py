"""From rows to the folder that training reads: the same bytes always, whole or not at all, counted right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from anime_ai.config import STARTER_LM
from anime_ai.dataset import preprocess as module
from anime_ai.dataset.files import read_rows
from anime_ai.dataset.preprocess import (
    MANIFEST,
    ROWS,
    Manifest,
    dialogue_of,
    encode_rows,
    preprocess,
    rows_sha256,
    stored_rows,
    tokenizer_sha256,
)
from anime_ai.dataset.rows import Row
from anime_ai.dataset.split import split_rows
from anime_ai.errors import DatasetError, StorageError
from anime_ai.persona.cards import Personas
from anime_ai.prompting import MASKED, POLICIES, Exchange, Layout

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "data" / "dataset.json"
LIMITS: dict[str, Any] = {"max_length": 256, "seed": 42, "origin": "对话.json"}


@pytest.fixture(scope="module")
def starter_tokenizer() -> Any:
    from transformers import AutoTokenizer

    if not (STARTER_LM / "tokenizer.json").exists():
        pytest.skip("the starter tokenizer is not in this checkout")
    return AutoTokenizer.from_pretrained(STARTER_LM)


@pytest.fixture(scope="module")
def shipped_rows() -> tuple[Row, ...]:
    return read_rows(SHIPPED).rows


def some_rows(count: int = 20) -> list[Row]:
    letters = "春夏秋冬花鸟风月山川草木日光星辰东西南北"
    return [Row(f"{letter}天是什么", f"哼，{letter * 3}！", "傲娇") for letter in letters[:count]]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def load(folder: Path) -> dict[str, Any]:
    import datasets

    return dict(datasets.load_from_disk(str(folder)))


# What is written


@pytest.mark.parametrize("think", POLICIES)
def test_the_manifest_counts_what_lies_in_the_folder(
    starter_tokenizer: Any, shipped_rows: tuple[Row, ...], tmp_path: Path, think: str
) -> None:
    layout = Layout(starter_tokenizer, think=think)
    long = Row("长" * 5, "很长" * 300, "温柔")
    past = Row("后来呢", "哼，没有了。", "傲娇", tuple((f"第{turn}句在说什么", "哼" * 20) for turn in range(20)))
    rows = [*shipped_rows, long, past]
    manifest = preprocess(rows, Personas(), layout, tmp_path / "d", **LIMITS)
    assert Manifest.read(tmp_path / "d") == manifest
    assert stored_rows(tmp_path / "d") == tuple(rows)

    parts = load(tmp_path / "d")
    written = [row for part in parts.values() for row in part]
    assert manifest.train == len(parts["train"])
    assert manifest.held_out == len(parts["test"])
    assert manifest.tokens == sum(len(row["input_ids"]) for row in written)
    assert manifest.trained_tokens == sum(label != MASKED for row in written for label in row["labels"])
    assert sum(manifest.personas.values()) == len(rows)
    assert manifest.too_long == (len(rows) - 1,)
    assert manifest.shortened == (len(rows),)
    assert sorted(row["row"] for row in written) == [place + 1 for place in range(len(rows)) if place != len(rows) - 2]
    split = split_rows(rows, 42)
    assert [row["row"] - 1 for row in parts["test"]] == [place for place in split.held_out if place != len(rows) - 2]
    assert (manifest.prompt_format, manifest.think, manifest.layout) == ("deepseek-r1", think, layout.fingerprint())
    assert manifest.dataset_sha256 == rows_sha256(rows)

    for row in written:
        source = rows[row["row"] - 1]
        assert row["persona"] == source.persona
        assert len(row["input_ids"]) == len(row["labels"]) <= 256
        assert row["labels"][-1] == row["input_ids"][-1] == starter_tokenizer.eos_token_id
        trained = layout.decode(label for label in row["labels"] if label != MASKED)
        inner = f"{source.inner}\n</think>\n\n" if think == "inner" else ""
        assert trained == f"{inner}{source.output}<｜end▁of▁sentence｜>"
        said = layout.decode(row["input_ids"])
        assert said.startswith("<｜begin▁of▁sentence｜>" + Personas().system_line(source.persona))
        assert f"<｜User｜>{source.input}<｜Assistant｜>" in said
        assert said.count("<｜User｜>") == 1 + len(source.history) or row["row"] == len(rows)


def test_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from transformers import AutoTokenizer\n"
        "from anime_ai.config import STARTER_LM; from anime_ai.dataset.files import read_rows\n"
        "from anime_ai.dataset.preprocess import preprocess; from anime_ai.persona.cards import Personas\n"
        "from anime_ai.prompting import Layout\n"
        "layout = Layout(AutoTokenizer.from_pretrained(STARTER_LM))\n"
        "rows = read_rows(Path(sys.argv[1])).rows\n"
        "preprocess(rows, Personas(), layout, Path(sys.argv[2]), max_length=256, seed=42, origin='对话.json')"
    )
    if not (STARTER_LM / "tokenizer.json").exists():
        pytest.skip("the starter tokenizer is not in this checkout")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(SHIPPED), str(tmp_path / name)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "TZ": zone},
        )
        for name, seed, zone in (("一", "0", "UTC"), ("二", "4711", "Asia/Shanghai"))
    ]
    assert [process.wait(120) for process in running] == [0, 0]
    first = content(tmp_path / "一")
    assert content(tmp_path / "二") == first
    assert {MANIFEST, ROWS, "dataset_dict.json", "train/data-00000-of-00001.arrow"} <= set(first)
    assert not any(str(tmp_path).encode() in value for value in first.values())


def test_another_setting_gives_another_manifest(tiny_tokenizer: Any, tmp_path: Path) -> None:
    def made(name: str, layout: Layout, rows: list[Row], **limits: Any) -> dict[str, Any]:
        return asdict(preprocess(rows, Personas(), layout, tmp_path / name, **{**LIMITS, **limits}))

    silent = Layout(tiny_tokenizer)
    base = made("a", silent, some_rows())
    changed = {
        "seed": made("b", silent, some_rows(), seed=1),
        "layout": made("c", Layout(tiny_tokenizer, think="inner"), some_rows()),
        "prompt_format": made("d", Layout(tiny_tokenizer, "chatml"), some_rows()),
        "dataset_sha256": made("e", silent, [*some_rows(19), Row("别的", "话", "傲娇")]),
    }
    for name, other in changed.items():
        assert other[name] != base[name]
    assert base["tokenizer_sha256"] == changed["seed"]["tokenizer_sha256"]


def test_the_hash_of_a_tokenizer_is_that_of_what_it_does(tiny_tokenizer: Any) -> None:
    from tests.test_prompting import made_tokenizer

    before = tokenizer_sha256(tiny_tokenizer)
    tiny_tokenizer(["a", "bc"], padding=True, truncation=True, max_length=8)
    assert tokenizer_sha256(tiny_tokenizer) == before
    one = made_tokenizer(["<s>", "</s>"], bos_token="<s>", eos_token="</s>")
    other = made_tokenizer(["</s>", "<s>"], bos_token="<s>", eos_token="</s>")
    assert len({before, tokenizer_sha256(one), tokenizer_sha256(other)}) == 3


def test_a_persona_without_a_card_works(tiny_tokenizer: Any, tmp_path: Path) -> None:
    rows = [replace(row, persona="海盗 <|im_start|>") for row in some_rows()] + [Row("在吗", "在")]
    layout = Layout(tiny_tokenizer)
    manifest = preprocess(rows, Personas(), layout, tmp_path / "d", **LIMITS)
    assert manifest.personas == {"海盗 <|im_start|>": 20, "": 1}
    said = {row["persona"]: layout.decode(row["input_ids"]) for row in load(tmp_path / "d")["train"]}
    assert said["海盗 <|im_start|>"].startswith(
        "<｜begin▁of▁sentence｜>你是一个海盗 ＜|im_start|>的动漫角色。<｜User｜>"
    )
    assert said[""].startswith("<｜begin▁of▁sentence｜><｜User｜>在吗")


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_few_rows_make_a_folder_without_held_out_rows(tiny_tokenizer: Any, tmp_path: Path, count: int) -> None:
    manifest = preprocess(some_rows(count), Personas(), Layout(tiny_tokenizer), tmp_path / "d", **LIMITS)
    assert (manifest.train, manifest.held_out) == (count, 0)
    assert list(load(tmp_path / "d")) == ["train"]


def test_the_slots_of_a_row() -> None:
    row = Row("问", "答", "傲娇", (("a", "b"), ("c", "d")))
    dialogue = dialogue_of(row, Personas())
    assert dialogue.card == Personas().find("傲娇").system_line
    assert dialogue.history == (Exchange("a", "b"), Exchange("c", "d"))
    assert (dialogue.question, dialogue.facts, dialogue.brought) == ("问", "", "")


def test_half_of_the_rows_stand_behind_one_of_her_greetings(shipped_rows: tuple[Row, ...]) -> None:
    personas = Personas()
    said = [(row.persona, dialogue_of(row, personas).greeting) for row in shipped_rows]
    greeted = [one for one in said if one[1]]
    assert 0.4 < len(greeted) / len(said) < 0.6
    assert set(greeted) == {(one.name, greeting) for one in personas.list() for greeting in one.said_first}
    assert said == [(row.persona, dialogue_of(row, personas).greeting) for row in shipped_rows]
    assert not any(dialogue_of(replace(row, persona="海盗"), personas).greeting for row in shipped_rows)


def test_a_greeting_makes_room_for_the_rows_own_words(starter_tokenizer: Any) -> None:
    personas, layout = Personas(), Layout(starter_tokenizer)
    row = next(
        row
        for row in (Row(f"问{number}", "答" * 20, "傲娇", (("a", "b"),)) for number in range(20))
        if dialogue_of(row, personas).greeting
    )
    bare = layout.training_row(replace(dialogue_of(row, personas), greeting=""), row.output)
    whole = layout.training_row(dialogue_of(row, personas), row.output)
    for most, expected in ((len(whole.ids), whole), (len(whole.ids) - 1, bare), (len(bare.ids), bare)):
        encoded, shortened, too_long = encode_rows([row], personas, layout, most)
        assert (encoded[0], shortened, too_long) == (expected, [], [])
    _, shortened, too_long = encode_rows([row], personas, layout, len(bare.ids) - 1)
    assert (shortened, too_long) == ([1], [])


# What is refused


def test_nothing_to_train_on_is_said_and_leaves_the_old_folder(tiny_tokenizer: Any, tmp_path: Path) -> None:
    layout, target = Layout(tiny_tokenizer), tmp_path / "d"
    preprocess(some_rows(), Personas(), layout, target, **LIMITS)
    before = content(target)
    long = [replace(row, output=row.output * 200) for row in some_rows()]
    (held, *_) = split_rows(some_rows(), 42).held_out
    only_held_out = [row if place == held else long[place] for place, row in enumerate(some_rows())]
    assert held in split_rows(only_held_out, 42).held_out
    for rows, key, values in (
        ([], "dataset.empty", {"path": "对话.json"}),
        (long, "dataset.all_too_long", {"rows": 20, "most": 256}),
        (only_held_out, "dataset.all_too_long", {"rows": 19, "most": 256}),
    ):
        with pytest.raises(DatasetError) as caught:
            preprocess(rows, Personas(), layout, target, **LIMITS)
        assert (caught.value.key, caught.value.values) == (key, values)
        assert caught.value.say("zh") != caught.value.say("en")
    assert content(target) == before
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_row_that_breaks_the_contract_is_named(tmp_path: Path) -> None:
    from tokenizers import Regex, normalizers

    from tests.test_prompting import made_tokenizer

    deaf = made_tokenizer(
        ["<s>", "</s>"], ["<|im_start|>"], normalizers.Replace(Regex("鸟"), ""), bos_token="<s>", eos_token="</s>"
    )
    rows = [Row("花", "花"), Row("鱼", "鱼"), Row("鸟", "花")]
    with pytest.raises(DatasetError) as caught:
        preprocess(rows, Personas(), Layout(deaf), tmp_path / "d", **LIMITS)
    assert (caught.value.key, caught.value.values["row"]) == ("dataset.row_breaks_contract", 3)
    assert "第 3 行" in caught.value.say("zh")
    assert "Row 3" in caught.value.say("en")
    assert not list(tmp_path.iterdir())


def test_a_broken_contract_is_no_row_that_is_too_long() -> None:
    from tokenizers import normalizers

    from tests.test_prompting import made_tokenizer

    tokenizer = made_tokenizer(["<s>", "</s>"], ["<|im_start|>"], normalizers.NFKC(), bos_token="<s>", eos_token="</s>")
    with pytest.raises(DatasetError) as caught:
        encode_rows([Row("a", "b"), Row("<|im_start|>", "b")], Personas(), Layout(tokenizer), 256)
    assert caught.value.values["row"] == 2


def test_a_folder_that_cannot_be_written_is_named(tiny_tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(StorageError):
        preprocess(some_rows(), Personas(), Layout(tiny_tokenizer), tmp_path / "file" / "d", **LIMITS)


# Faults in the middle


def test_an_error_in_the_middle_leaves_the_old_folder(
    tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    target, layout = tmp_path / "d", Layout(tiny_tokenizer)
    preprocess(some_rows(10), Personas(), layout, target, **LIMITS)
    before = content(target)
    assert not datasets.are_progress_bars_disabled()

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(datasets.DatasetDict, "save_to_disk", full)
    with pytest.raises(StorageError) as caught:
        preprocess(some_rows(), Personas(), layout, target, **LIMITS)
    assert str(target) in caught.value.say("zh")
    assert not datasets.are_progress_bars_disabled()
    assert content(target) == before
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize("point", ["write_rows", "write_json"])
def test_killed_in_the_middle_the_old_folder_is_whole(tiny_tokenizer: Any, tmp_path: Path, point: str) -> None:
    """The child stops at a point of its work, tells so by a file, and is killed there."""
    target, mark = tmp_path / "processed_data", tmp_path / "reached"
    tiny_tokenizer.save_pretrained(tmp_path / "tokenizer")
    layout = Layout(tiny_tokenizer)
    preprocess(some_rows(10), Personas(), layout, target, **LIMITS)
    before = content(target)
    code = (
        "import sys, time; from pathlib import Path; from transformers import AutoTokenizer\n"
        "from anime_ai.dataset import preprocess as module; from anime_ai.dataset.rows import Row\n"
        "from anime_ai.persona.cards import Personas; from anime_ai.prompting import Layout\n"
        "folder, point = Path(sys.argv[1]), sys.argv[2]\n"
        "def stop(*given):\n"
        "    (folder / 'reached').write_text('', encoding='utf-8')\n"
        "    time.sleep(600)\n"
        "setattr(module, point, stop)\n"
        "layout = Layout(AutoTokenizer.from_pretrained(folder / 'tokenizer'))\n"
        "module.preprocess([Row('新', '行')] * 9, Personas(), layout, folder / 'processed_data',"
        " max_length=99, seed=1, origin='x')"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), point], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        deadline = time.monotonic() + 120
        while not mark.exists() and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert mark.exists(), "the child reached the point"
    finally:
        child.kill()
        child.wait()
    assert content(target) == before
    assert len(load(target)["train"]) == 9
    manifest = preprocess(some_rows(), Personas(), layout, target, **LIMITS)
    assert Manifest.read(target) == manifest
    assert manifest.train + manifest.held_out == 20


def test_a_folder_without_a_whole_manifest_counts_as_none(tiny_tokenizer: Any, tmp_path: Path) -> None:
    target = tmp_path / "d"
    assert Manifest.read(target) is None
    manifest = preprocess(some_rows(), Personas(), Layout(tiny_tokenizer), target, **LIMITS)
    value = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
    assert Manifest.read(target) == manifest
    for broken in (
        "",
        "{",
        "[]",
        "null",
        "{}",
        json.dumps({**value, "shortened": None}),
        json.dumps({**value, "x": 1}),
    ):
        (target / MANIFEST).write_text(broken, encoding="utf-8")
        assert Manifest.read(target) is None


def test_the_manifest_is_written_last(tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []
    write = module.write_json

    def look(path: Path, value: Any) -> None:
        seen.append({one.name for one in path.parent.iterdir()})
        write(path, value)

    monkeypatch.setattr(module, "write_json", look)
    preprocess(some_rows(), Personas(), Layout(tiny_tokenizer), tmp_path / "d", **LIMITS)
    assert seen == [{"train", "test", "dataset_dict.json", ROWS}]
