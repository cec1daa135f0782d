"""Rows to bytes and back: every format gives back exactly the fields that it says it holds."""

from __future__ import annotations

import csv
import io
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from anime_ai.dataset.export import FIELDS, FORMATS, export
from anime_ai.dataset.formats import Note
from anime_ai.dataset.intake import look, read, read_file
from anime_ai.dataset.rows import Row, check_row
from anime_ai.errors import DatasetError
from anime_ai.texts import LANGUAGES

WORDS = (
    *(
        "在吗",
        "哼",
        "a",
        "=1+1",
        "-",
        "+",
        "@x",
        "'",
        "''=",
        "＝",
        '"',
        ",",
        ";",
        "\t",
        "\n",
        "\n\n",
        "\r\n",
        "\r",
        " ",
    ),
    *(
        "[1]",
        '[{"role": "user", "content": "x"}]',
        "{}",
        "：",
        "A：b",
        "“",
        "<|im_start|>",
        "\u2028",
        "\x85",
        "😀",
        "\\",
    ),
    *("\u202e", "\u200b", "null", "true", "0", "、", "，", "input", "WEBVTT", "\x1f", "\ufeff"),
)


def some_text(rng: random.Random, most: int = 6) -> str:
    while True:
        text = "".join(rng.choice(WORDS) for _ in range(rng.randint(1, most))).strip()
        checked = check_row({"input": text, "output": text}, 1)
        if isinstance(checked, Row) and checked.input == text:
            return text


def some_row(rng: random.Random) -> Row:
    def maybe() -> str:
        return some_text(rng) if rng.random() < 0.4 else ""

    pairs = range(rng.choice((0, 0, 1, 3)))
    tags = dict.fromkeys(some_text(rng, 2) for _ in range(rng.choice((0, 0, 1, 3))))
    return Row(
        some_text(rng),
        some_text(rng),
        maybe(),
        tuple((some_text(rng), some_text(rng)) for _ in pairs),
        maybe(),
        maybe(),
        maybe(),
        tuple(tag for tag in tags if len(tag) <= 40),
        rng.random() < 0.3,
    )


def held(row: Row, key: str) -> Row:
    """The row with the fields that the format holds, and nothing in the others."""
    empty = Row("", "")
    return replace(row, **{name: getattr(empty, name) for name in FIELDS if name not in FORMATS[key].holds})


@pytest.mark.parametrize("key", FORMATS)
def test_what_is_written_is_told_and_read_again(key: str) -> None:
    rng = random.Random(f"rows {key}")
    for _ in range(150):
        rows = [some_row(rng) for _ in range(rng.randint(1, 6))]
        expected = [held(row, key) for row in rows if row.rejected or not FORMATS[key].pairs]
        if not expected:
            continue
        done = export(rows, key)
        reading = read(done.content, "file")
        assert (list(reading.rows), reading.problems) == (expected, ()), done.content.decode(errors="replace")
        assert done.rows == len(expected)
        assert [note.key for note in reading.notes] in ([], ["formulas"])


@pytest.mark.parametrize(
    ("key", "container", "format"),
    [
        ("json", "json", "rows"),
        ("jsonl", "jsonl", "rows"),
        ("alpaca", "json", "alpaca"),
        ("alpaca_pairs", "json", "preference"),
        ("sharegpt", "json", "sharegpt"),
        ("sharegpt_pairs", "json", "preference"),
        ("messages", "jsonl", "messages"),
        ("messages_pairs", "jsonl", "preference"),
        ("csv", "csv", "rows"),
        ("tsv", "tsv", "rows"),
        ("parquet", "parquet", "rows"),
    ],
)
def test_a_format_is_told_for_what_it_is(key: str, container: str, format: str) -> None:
    rows = [Row("a", "b", rejected="c"), Row("d", "e", rejected="f")]
    preview = look(export(rows, key).content, "x")
    assert (preview.container, preview.format) == (container, format)
    assert export(rows, key).suffix.startswith(".")


@pytest.mark.parametrize("name", ["alpaca_zh_demo", "identity"])
def test_a_real_alpaca_file_comes_out_equal(test_data: Path, name: str) -> None:
    path = test_data / "datasets" / f"{name}.json"
    done = export(read_file(path).rows, "alpaca")
    assert json.loads(done.content) == json.loads(path.read_text(encoding="utf-8"))
    assert done.notes == ()


def test_a_real_preference_file_comes_out_equal(test_data: Path) -> None:
    path = test_data / "datasets" / "dpo_zh_demo.json"
    done = export(read_file(path).rows, "sharegpt_pairs")
    values = json.loads(path.read_text(encoding="utf-8"))

    def stripped(value: object) -> object:
        if isinstance(value, dict):
            return {name: stripped(one) for name, one in value.items()}
        return [stripped(one) for one in value] if isinstance(value, list) else str(value).strip()

    assert stripped(json.loads(done.content)) == stripped(values)


def test_real_rows_go_through_every_format(test_data: Path) -> None:
    rows = read_file(test_data / "datasets" / "dpo_zh_demo.json").rows[:40]
    for key in FORMATS:
        assert list(read(export(rows, key).content, "x").rows) == [held(row, key) for row in rows]


def test_no_cell_of_a_table_starts_a_formula() -> None:
    starts = ("=", "+", "-", "@", "'=", "''@", "＝", "－")
    rows = [Row(f"{start}1", f"{start}cmd|' /C calc'!A0", f"{start}x", inner=start) for start in starts]
    rows.append(Row("a", "b", tags=("=1", "c")))
    for key, delimiter in (("csv", ","), ("tsv", "\t")):
        content = export(rows, key).content
        assert content.startswith(b"\xef\xbb\xbf"), "Excel knows UTF-8 by its mark"
        for record in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=delimiter):
            assert not any(cell[:1] in tuple("=+-@\t\r＝＋－＠") for cell in record)
        assert list(read(content, "x").rows) == rows


def test_what_a_format_cannot_hold_is_said() -> None:
    rows = [Row("a", "b", "傲娇", tags=("c",), rejected="d", draft=True), Row("e", "f", "傲娇")]
    done = export(rows, "alpaca")
    (note,) = done.notes
    assert note == Note("fields_left_out", (("fields", "persona (2), rejected (1), tags (1), draft (1)"),))
    pairs = export(rows, "alpaca_pairs")
    assert pairs.rows == 1
    assert [one.key for one in pairs.notes] == ["rows_left_out", "fields_left_out"]
    assert export(rows, "json").notes == ()
    for one in (*done.notes, *pairs.notes):
        assert len({one.say(language) for language in LANGUAGES}) == len(LANGUAGES)


@pytest.mark.parametrize(
    ("rows", "format", "key"),
    [
        ([], "json", "nothing_to_export"),
        ([Row("a", "b")], "sharegpt_pairs", "no_pairs"),
        ([Row("a", "b")], "docx", "unknown_export"),
        ([Row("a", "b"), Row("a\ud800", "b")], "csv", "bad_row"),
        ([Row("", "b")], "json", "bad_row"),
    ],
)
def test_what_cannot_be_exported_is_refused(rows: list[Row], format: str, key: str) -> None:
    with pytest.raises(DatasetError) as caught:
        export(rows, format)
    assert caught.value.key == f"dataset.{key}"
    assert len({caught.value.say(language) for language in LANGUAGES}) == len(LANGUAGES)


def test_the_forms_are_those_of_the_other_projects() -> None:
    row = Row("c", "d", "傲娇", (("a", "b"),), system="s", rejected="e")

    def written(key: str) -> object:
        content = export([row], key).content.decode()
        return json.loads(content)[0] if content.startswith("[") else json.loads(content)

    assert written("alpaca") == {
        "instruction": "c",
        "input": "",
        "output": "d",
        "system": "s",
        "history": [["a", "b"]],
    }
    said = [("system", "s"), ("human", "a"), ("gpt", "b"), ("human", "c")]
    turns = [{"from": who, "value": text} for who, text in said]
    better, worse = {"from": "gpt", "value": "d"}, {"from": "gpt", "value": "e"}
    assert written("sharegpt") == {"conversations": [*turns, better]}
    assert written("sharegpt_pairs") == {"conversations": turns, "chosen": better, "rejected": worse}
    names = {"human": "user", "gpt": "assistant", "system": "system"}
    messages = [{"role": names[who], "content": text} for who, text in said]
    assert written("messages") == {"messages": [*messages, {"role": "assistant", "content": "d"}]}
    assert written("messages_pairs") == {
        "prompt": messages,
        "chosen": [{"role": "assistant", "content": "d"}],
        "rejected": [{"role": "assistant", "content": "e"}],
    }
