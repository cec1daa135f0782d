"""Bytes to rows: what a file is by its content, tables, limits, and what each broken file is answered."""

from __future__ import annotations

import csv
import io
import json
import pickle
import random
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from anime_ai.dataset import files
from anime_ai.dataset.files import good_rows
from anime_ai.dataset.formats import Mapping, Note
from anime_ai.dataset.intake import Choices, look, read, read_file
from anime_ai.dataset.rows import Problem, Row
from anime_ai.errors import DatasetError
from anime_ai.texts import LANGUAGES

GOOD: list[dict[str, Any]] = [{"input": "在吗", "output": "哼，不在。"}, {"input": "冷吗", "output": "不冷。"}]
ROWS = (Row("在吗", "哼，不在。"), Row("冷吗", "不冷。"))


def as_json(values: Any) -> bytes:
    return json.dumps(values, ensure_ascii=False).encode()


def as_lines(values: list[Any]) -> bytes:
    return b"".join(as_json(value) + b"\n" for value in values)


def as_table(values: list[dict[str, Any]], delimiter: str = ",") -> bytes:
    target = io.StringIO(newline="")
    writer = csv.DictWriter(target, list(values[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(values)
    return target.getvalue().encode()


def as_parquet(values: list[dict[str, Any]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    target = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(values), target)
    return target.getvalue().to_pybytes()


def as_zip(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


def refused(content: bytes, choices: Choices | None = None, name: str = "对话 data.json") -> DatasetError:
    """The refusal, which says itself in every language, in one line and differently."""
    with pytest.raises(DatasetError) as caught:
        read(content, name, choices)
    said = {caught.value.say(language) for language in LANGUAGES}
    assert len(said) == len(LANGUAGES)
    assert not any("\n" in one for one in said)
    return caught.value


# Containers


CONTAINERS = [
    (as_json(GOOD), "json"),
    (as_json({"version": 1, "data": GOOD}), "json"),
    (as_lines(GOOD), "jsonl"),
    (as_lines(GOOD).replace(b"\n", b"\r\n\r\n"), "jsonl"),
    (as_table(GOOD), "csv"),
    (as_table(GOOD, ";"), "csv"),
    (as_table(GOOD, "\t"), "tsv"),
    (as_parquet(GOOD), "parquet"),
    (as_zip({"a/一.json": as_json(GOOD[:1]), "b.csv": as_table(GOOD[1:]), "__MACOSX/a": b"x", "c/": b""}), "zip"),
]


@pytest.mark.parametrize("name", ["x.json", "x.csv", "x.txt", "x"])
@pytest.mark.parametrize(("content", "container"), CONTAINERS)
def test_a_file_is_what_its_content_says(content: bytes, container: str, name: str) -> None:
    reading = read(content, name)
    assert reading.rows == ROWS
    assert reading.problems == ()
    assert reading.format == "rows"
    preview = look(content, name)
    assert (preview.container, preview.format, preview.count) == (container, "rows", 2)
    assert preview.rows == ROWS[: len(preview.rows)]
    assert preview.columns == ("input", "output")
    assert preview.mapping == Mapping("input", "output")
    assert preview.sha256 == reading.sha256
    assert len(reading.sha256) == 64


@pytest.mark.parametrize("name", ["alpaca_zh_demo", "identity", "dpo_zh_demo"])
def test_real_files_are_read_whole(test_data: Path, name: str) -> None:
    path = test_data / "datasets" / f"{name}.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    reading = read_file(path)
    assert (len(reading.rows), reading.problems, reading.notes) == (len(values), (), ())
    if name == "dpo_zh_demo":
        assert reading.format == "preference"
        assert [row.rejected for row in reading.rows] == [value["rejected"]["value"].strip() for value in values]
        assert sum(bool(row.system) for row in reading.rows) == 64
    else:
        assert reading.format == "alpaca"
        assert [row.output for row in reading.rows] == [value["output"] for value in values]
    preview = look(path.read_bytes(), path.name)
    assert preview.rows == reading.rows[:5]
    assert preview.count == len(values)


def test_one_record_is_enough() -> None:
    for content in (as_lines(GOOD[:1]), as_json(GOOD[0]), as_table(GOOD[:1]), as_json(GOOD[:1])):
        assert read(content, "x").rows == ROWS[:1]


def test_a_mapping_is_proposed_changed_and_applied() -> None:
    values = [{"q": "在吗", "a": "哼", "who": "傲娇"}, {"q": "冷吗", "a": "不冷", "who": ""}]
    for content in (as_json(values), as_table(values), as_parquet(values), as_lines(values)):
        assert refused(content).key == "dataset.unmapped"
        preview = look(content, "x")
        assert (preview.rows, preview.columns, preview.mapping) == ((), ("q", "a", "who"), Mapping())
        assert [note.key for note in preview.notes] == ["unmapped"]
        chosen = Choices(mapping=Mapping(input="q", output="a", persona="who"), persona="默认")
        expected = (Row("在吗", "哼", "傲娇"), Row("冷吗", "不冷", "默认"))
        assert read(content, "x", chosen).rows == expected
        assert look(content, "x", chosen).rows == expected
        assert refused(content, Choices(mapping=Mapping(input="q", output="nothing"))).key == "dataset.no_column"
    (note,) = read(as_json([{**GOOD[0], "score": 5, "id": 1}]), "x").notes
    assert note == Note("ignored", (("columns", "score, id"),))


def test_each_answer_and_problems_in_the_order_of_the_file() -> None:
    turns = [{"from": who, "value": who} for who in ("human", "gpt", "human", "gpt")]
    content = as_json([{"conversations": turns}, {"conversations": turns[1:]}, {"conversations": turns[:2]}])
    assert len(read(content, "x", Choices(each_answer=True)).rows) == 3
    reading = read(content, "x")
    assert len(reading.rows) == 2
    assert reading.problems == (Problem(2, "conversations[0]", "assistant_first"),)
    assert look(content, "x").rows == (reading.rows[0], reading.problems[0], reading.rows[1])
    joined = read(as_json([{"conversations": [turns[0], turns[0], turns[1]]}]), "x")
    assert joined.notes == (Note("joined", rows=(1,)),)


# JSON and JSON Lines


def test_bad_lines_are_named_and_the_good_ones_come_on_request_only() -> None:
    lines = [
        as_json(GOOD[0]),
        b'{"input": "a", "outp',
        b"",
        as_json(GOOD[1]),
        b'{"input": "a", "output": NaN}',
        b'{"input": "a", "input": "b", "output": "c"}',
        b"[" * 100_000,
        b"5",
    ]
    reading = read(b"\n".join(lines), "x.jsonl")
    assert reading.rows == ROWS
    assert [(problem.row, problem.key) for problem in reading.problems] == [
        (2, "bad_line"),
        (5, "bad_line"),
        (6, "bad_line"),
        (7, "bad_line"),
        (8, "not_object"),
    ]
    assert "第 2 行" in reading.problems[0].say("zh")
    with pytest.raises(DatasetError) as caught:
        good_rows(reading, "x.jsonl")
    assert caught.value.key == "dataset.bad_rows"
    assert good_rows(reading, "x.jsonl", skip_bad=True) == ROWS


@pytest.mark.parametrize("bad", [b'{"input": "a', b"xx", b'{"input": "a", "output": "b"'])
def test_the_first_line_may_be_the_bad_one(bad: bytes) -> None:
    reading = read(bad + b"\n" + as_json(GOOD[0]) + b"\n", "x")
    assert reading.rows == ROWS[:1]
    assert [problem.row for problem in reading.problems] == [1]


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (b"", "empty"),
        (b" \n\t ", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"[]", "empty"),
        (b"{}", "not_list"),
        (b'{"a": 1}', "not_list"),
        (b'[{"input": "a", "output": "b"},\n {"input": "c", "outp', "not_json"),
        (b'[{"input": "a", "output": "b"}]]', "not_json"),
        (b'[{"input": "a", "output": NaN}]', "not_json"),
        (b'[{"input": "a", "output": "b", "input": "c"}]', "duplicate_key"),
        (b"[" * 200_000, "too_deep"),
        (b'[{"a":' * 100_000, "too_deep"),
        (b"hello", "unknown_format"),
        (b"[hello", "unknown_format"),
        (b'"text"', "choose_speaker"),
        (b"3", "unknown_format"),
        (b"PAR1" + bytes(100) + b"PAR1", "broken_file"),
        (b"\x1f\x8b\x08\x00" + bytes(20), "kind"),
        (b"SQLite format 3\x00" + bytes(20), "kind"),
        (b"\x89PNG\r\n\x1a\n", "kind"),
        (b"%PDF-1.7\n", "kind"),
        *((pickle.dumps(GOOD, protocol=protocol), "kind") for protocol in range(6)),
        (b"cos\nsystem\n(S'echo'\ntR.", "kind"),
        (b"PK\x03\x04" + bytes(50), "broken_file"),
        (bytes(range(1, 256)), "not_text"),
        ("在吗".encode() + b"\xff\xff", "not_text"),
        (b"\xff\xfe[\x00{", "wrong_encoding"),
    ],
)
def test_files_that_are_no_dataset(content: bytes, key: str) -> None:
    assert refused(content).key == f"dataset.{key}"


def test_broken_json_names_line_and_column() -> None:
    error = refused(b'[{"input": "a", "output": "b"},\n {"input": "c", "outp')
    assert (error.values["line"], error.values["column"]) == (2, 17)


# Tables


def test_quotes_line_breaks_and_delimiters_in_cells() -> None:
    values = [{"input": 'a\n"b", c;\td', "output": "e\r\nf"}, {"input": "1;2;3", "output": "x\ty"}]
    for delimiter in ",;\t":
        rows = read(as_table(values, delimiter), "x").rows
        assert rows == tuple(Row(value["input"], value["output"]) for value in values)


def test_ragged_rows_blank_rows_and_names_of_columns() -> None:
    reading = read(b"\n input , output ,\n\na,b,\nc\nd,e,f,g\n,,\nh,i,j\n", "x.csv")
    assert reading.rows == (Row("a", "b"), Row("h", "i"))
    assert [(problem.row, problem.key) for problem in reading.problems] == [(2, "ragged"), (3, "ragged")]
    assert refused(b"input,output,input\na,b,c\n").key == "dataset.duplicate_column"


def test_a_table_with_a_broken_quote_is_refused_with_its_line() -> None:
    error = refused(b'input,output\na,b\nc,"d\ne,f\n')
    assert error.key == "dataset.bad_table"
    assert error.values["line"] == 4


def test_a_huge_cell_is_named_by_its_row() -> None:
    reading = read(b"input,output\na,b\nc," + b"d" * 200_000 + b"\n", "x")
    assert reading.rows == (Row("a", "b"),)
    assert [(problem.row, problem.key) for problem in reading.problems] == [(2, "too_long")]
    assert refused(b"input,output\na,b\nc," + b"d" * (4 * 2**20 + 1) + b"\n").key == "dataset.bad_table"


def test_apostrophes_that_guard_formulas_are_taken_away_and_it_is_said() -> None:
    reading = read(b"input,output\n'=1+1,'@x\na,'quoted' text\n'+1,''-2\n", "x")
    assert reading.rows == (Row("=1+1", "@x"), Row("a", "'quoted' text"), Row("+1", "'-2"))
    assert reading.notes == (Note("formulas", rows=(1, 3)),)


# Limits


def test_too_large_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(as_json(GOOD))
    monkeypatch.setattr(files, "MAX_BYTES", 20)
    with pytest.raises(DatasetError) as caught:
        read_file(path)
    assert caught.value.key == "dataset.too_large"
    assert refused(as_json(GOOD)).key == "dataset.too_large"


@pytest.mark.parametrize("write", [as_json, as_lines, as_table, as_parquet])
def test_too_many_rows_are_refused_with_their_count(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_ROWS", 3)
    error = refused(write(GOOD * 3))
    assert (error.key, error.values["rows"]) == ("dataset.too_many_rows", 6)
    assert len(read(write((GOOD * 2)[:3]), "x").rows) == 3
    assert refused(as_zip({"a.json": as_json(GOOD), "b.json": as_json(GOOD)})).key == "dataset.too_many_rows"


def test_many_answers_of_few_records_are_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_ROWS", 3)
    turns = [{"from": who, "value": "x"} for _ in range(4) for who in ("human", "gpt")]
    assert refused(as_json([{"conversations": turns}]), Choices(each_answer=True)).key == "dataset.too_many_rows"


# Parquet


def test_parquet_with_turns_and_types_that_are_no_text() -> None:
    values = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "id": 5}]
    assert read(as_parquet(values), "x.json").rows == (Row("a", "b"),)
    reading = read(as_parquet([{"input": "a", "output": 5}]), "x")
    assert [problem.key for problem in reading.problems] == ["not_text"]


def test_parquet_that_unpacks_too_large_or_is_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    content = as_parquet([{"input": "a" * 1_000, "output": "b"}] * 2_000)
    assert len(content) < 100_000
    assert refused(content[: len(content) // 2] + content[-8:]).key == "dataset.broken_file"
    monkeypatch.setattr(files, "MAX_BYTES", 100_000)
    assert refused(content).key == "dataset.unpacks_too_large"


def test_a_text_that_stands_in_every_row_of_parquet_is_refused_before_it_is_copied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import pyarrow

    long = "啊" * 30_000
    flat = as_parquet([{"input": long, "output": "b"}] * 1_000)
    nested = as_parquet(
        [{"messages": [{"role": "user", "content": long}, {"role": "assistant", "content": "b"}]}] * 900
    )
    assert len(flat) + len(nested) < 20_000
    monkeypatch.setattr(files, "MAX_BYTES", 10_000_000)
    pool = pyarrow.proxy_memory_pool(pyarrow.default_memory_pool())
    usual = pyarrow.default_memory_pool()
    pyarrow.set_memory_pool(pool)
    try:
        for content in (flat, nested):
            assert refused(content).key == "dataset.unpacks_too_large"
        assert pool.max_memory() < 5_000_000
        reading = read(as_parquet([{"input": long[:900], "output": "b"}] * 50), "x")
    finally:
        pyarrow.set_memory_pool(usual)
    assert [row.input for row in reading.rows] == [long[:900]] * 50


@pytest.mark.parametrize("content", [b"sep=,\n", b"sep=;\n\n\n"])
def test_a_table_without_a_header_is_empty(content: bytes) -> None:
    assert refused(content).key == "dataset.empty"


def test_any_bytes_end_in_rows_or_a_refusal() -> None:
    rng = random.Random(11)
    seeds = [content for content, _ in CONTAINERS]
    for _ in range(600):
        content = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 8)):
            place = rng.randrange(len(content))
            content[place : place + rng.choice((0, 1, 1, 5))] = bytes(
                rng.randrange(256) for _ in range(rng.choice((0, 1, 3)))
            )
        try:
            reading = read(bytes(content), "x")
        except DatasetError as error:
            error.say("zh")
            continue
        for one in (*reading.problems, *reading.notes):
            one.say("zh")


def test_a_table_may_name_its_delimiter_as_excel_has_it() -> None:
    assert read(b"sep=;\r\n" + as_table(GOOD, ";"), "x").rows == ROWS


def test_a_nul_is_a_bad_cell_and_no_other_encoding() -> None:
    reading = read(b'[{"input": "a", "output": "b\\u0000"}, {"input": "a", "output": "b"}]', "x")
    assert [(problem.row, problem.key) for problem in reading.problems] == [(1, "broken_text")]
    reading = read("input,output\n在吗,哼\0\na,b\n".encode(), "x")
    assert reading.rows[-1:] == (Row("a", "b"),)
    assert reading.encoding == "utf-8"
    assert [problem.key for problem in reading.problems] == ["broken_text"]


def test_many_rows_take_seconds_and_a_long_chat_does_not_grow_by_its_square() -> None:
    started = time.monotonic()
    assert len(read(as_json(GOOD * 20_000), "x").rows) == 40_000
    chat = "".join(f"{name}：{number}\n" for number in range(20_000) for name in ("甲", "乙"))
    assert len(read(chat.encode(), "x", Choices(each_answer=True)).rows) == 20_000
    (row,) = read(("甲：一\n乙：二\n" * 100 + "接着说\n" * 3_000).encode(), "x").rows
    assert len(row.output) > 9_000
    turns = [{"from": "human", "value": "x"}] * 9_000 + [{"from": "gpt", "value": "y"}]
    assert len(read(as_json([{"conversations": turns}]), "x").rows) == 1
    assert time.monotonic() - started < 60
