"""Reading a dataset: what is accepted, and what each broken file is answered with."""

from __future__ import annotations

import json
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from anime_ai.dataset import files
from anime_ai.dataset.files import good_rows, read_rows, write_rows
from anime_ai.dataset.rows import MAX_CELL, Problem, Row, check_row, check_rows
from anime_ai.errors import DatasetError

GOOD = '[{"input": "在吗", "output": "哼，不在。"}]'
SHIPPED = Path(__file__).resolve().parents[1] / "data" / "dataset.json"
TRADITIONAL = '[{"input": "你喜歡什麼動畫？", "output": "哼，才不會隨便告訴你呢！不過這部還算不錯吧。"}]'
JAPANESE = '[{"input": "好きなアニメは何ですか？", "output": "ふん、別に教えてあげないんだからね！"}]'


def put(folder: Path, content: bytes | str, name: str = "对话 data.json") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def refused(path: Path, encoding: str | None = None) -> DatasetError:
    """The refusal of a file; it names the file, in both languages, in one line, and is no English in Chinese."""
    with pytest.raises(DatasetError) as caught:
        good_rows(read_rows(path, encoding=encoding), path)
    for language in ("zh", "en"):
        said = caught.value.say(language)
        assert "\n" not in said
        assert "{" not in said.replace("{'", "").replace('[{"input"', "").replace('{"input"', "")
        assert path.name in said or "encoding" in caught.value.key
    assert caught.value.say("zh") != caught.value.say("en")
    return caught.value


# What is accepted


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_unicode_is_recognised(tmp_path: Path, encoding: str) -> None:
    assert read_rows(put(tmp_path, GOOD.encode(encoding))).rows == (Row("在吗", "哼，不在。"),)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gb18030"])
def test_a_byte_order_mark_does_not_matter_where_the_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    path = put(tmp_path, ("\ufeff" + GOOD).encode(encoding))
    assert read_rows(path, encoding=encoding).rows == (Row("在吗", "哼，不在。"),)


@pytest.mark.parametrize(
    ("text", "encoding", "alias"),
    [(GOOD, "gb18030", "gbk"), (TRADITIONAL, "big5", "cp950"), (JAPANESE, "shift_jis", "cp932")],
)
def test_another_encoding_is_asked_for_and_then_read(tmp_path: Path, text: str, encoding: str, alias: str) -> None:
    path = put(tmp_path, text.encode(alias))
    error = refused(path)
    assert (error.key, error.values["guess"]) == ("dataset.not_utf8", encoding)
    assert path.read_bytes()[: error.values["position"]].isascii()
    assert all(f"--encoding {encoding}" in error.say(language) for language in ("zh", "en"))
    expected = json.loads(text)[0]
    assert read_rows(path, encoding=encoding).rows == (Row(expected["input"], expected["output"]),)


def test_the_guess_on_a_whole_file(tmp_path: Path) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    assert refused(put(tmp_path, text.encode("gbk"))).values["guess"] == "gb18030"
    traditional = json.dumps(json.loads(TRADITIONAL) * 500, ensure_ascii=False)
    assert refused(put(tmp_path, traditional.encode("big5"))).values["guess"] == "big5"


def test_the_fields_of_a_row(tmp_path: Path) -> None:
    value = [
        {
            "input": " 在吗 \n",
            "output": "哼",
            "persona": " 傲娇 ",
            "history": [["a", "b"], {"input": "c", "output": "d"}],
        },
        {"input": "x", "output": "y", "inner": "其实很高兴", "note": 5, "score": 10**400},
        {"input": "x", "output": "y", "persona": None, "history": None, "inner": None},
    ]
    reading = read_rows(put(tmp_path, json.dumps(value)), "默认")
    assert reading.problems == ()
    assert reading.rows == (
        Row("在吗", "哼", "傲娇", (("a", "b"), ("c", "d"))),
        Row("x", "y", "默认", (), "其实很高兴"),
        Row("x", "y", "默认"),
    )
    assert len(reading.sha256) == 64


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    rows = (Row('a\n"b"\u2028c', "😀\\", "傲娇", (("c", "d"),), "e"), Row("问", "答"))
    write_rows(tmp_path / "out.json", rows)
    assert read_rows(tmp_path / "out.json").rows == rows
    assert (tmp_path / "out.json").read_bytes().count(b"\n") == 4
    write_rows(tmp_path / "none.json", [])
    assert json.loads((tmp_path / "none.json").read_text(encoding="utf-8")) == []
    assert read_rows(tmp_path / "out.json").sha256 != read_rows(put(tmp_path, GOOD)).sha256


def test_the_shipped_dataset_is_good() -> None:
    reading = read_rows(SHIPPED)
    assert not reading.problems
    assert len(reading.rows) == len(json.loads(SHIPPED.read_text(encoding="utf-8")))


# Files that are refused as a whole


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ('[{"input": "a", "output": "b"},\n {"input": "c", "outp', 2, 17),
        ('[{"input": "a", "output": "b"}', 1, 31),
        ('[{"input": "a"\n "output": "b"}]', 2, 2),
        (GOOD + "\n" + GOOD, 2, 1),
        ("{'input': 'a'}", 1, 2),
        ('[{"input": "a\nb", "output": "c"}]', 1, 14),
        ('[{"input": "NaN", "output": "b"},\n{"input": "c", "output": "\\"", "persona": NaN}]', 2, 43),
        ('[{"input": "-Infinity",\n"output": -Infinity}]', 2, 11),
        ("[Infinity]", 1, 2),
        ("hello", 1, 1),
        ("input,output\na,b", 1, 1),
    ],
)
def test_broken_json_is_refused_with_line_and_column(tmp_path: Path, text: str, line: int, column: int) -> None:
    error = refused(put(tmp_path, text))
    assert (error.key, error.values["line"], error.values["column"]) == ("dataset.not_json", line, column)
    assert f"第 {line} 行第 {column} 列" in error.say("zh")
    assert f"line {line}, column {column}" in error.say("en")


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (b"", "empty"),
        (b" \n\t ", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"[]", "empty"),
        (b"{}", "not_list"),
        (b"null", "not_list"),
        (b'"text"', "not_list"),
        (b"3", "not_list"),
        (b'{"data": [{"input": "a", "output": "b"}]}', "not_list"),
        (b'[{"input": "a", "output": "b", "input": "c"}]', "duplicate_key"),
        (b"[" * 200_000, "too_deep"),
        (b'[{"a":' * 100_000, "too_deep"),
        (b"PAR1" + bytes(100) + b"PAR1", "foreign"),
        (b"\x1f\x8b\x08\x00" + bytes(20), "foreign"),
        (b"SQLite format 3\x00" + bytes(20), "foreign"),
        (b"\x89PNG\r\n\x1a\n", "foreign"),
        (pickle.dumps([{"input": "a"}], protocol=2), "foreign"),
        (pickle.dumps([{"input": "a"}], protocol=3), "foreign"),
        (pickle.dumps([{"input": "a"}]), "foreign"),
        (GOOD.encode()[:20] + b"\xff\xff" + GOOD.encode()[20:], "not_text"),
        (GOOD.encode()[:13] + GOOD.encode()[14:], "not_text"),
        (bytes(range(1, 256)), "not_text"),
        (b"\xff\xfe[\x00{", "wrong_encoding"),
    ],
)
def test_files_that_are_no_dataset(tmp_path: Path, content: bytes, key: str) -> None:
    assert refused(put(tmp_path, content)).key == f"dataset.{key}"


def test_a_damaged_utf8_file_is_not_taken_for_another_encoding(tmp_path: Path) -> None:
    """Its bytes may well be valid GB18030, but read as that they are no text."""
    valid = 0
    for row in json.loads(SHIPPED.read_text(encoding="utf-8")):
        whole = json.dumps([{"input": row["input"], "output": row["output"]}], ensure_ascii=False).encode()
        cut = whole[: whole.rindex(row["output"][-1].encode()) + 2]
        assert refused(put(tmp_path, cut)).key == "dataset.not_text"
        with suppress(UnicodeDecodeError):
            cut.decode("gb18030")
            valid += 1
    assert valid


def test_a_zip_and_a_parquet_named_json_are_refused_by_content(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    with zipfile.ZipFile(tmp_path / "zip.json", "w") as archive:
        archive.writestr("data.json", GOOD)
    assert refused(tmp_path / "zip.json").values["kind"] == "ZIP"
    pyarrow.parquet.write_table(pyarrow.table({"input": ["a"]}), tmp_path / "parquet.json")
    assert refused(tmp_path / "parquet.json", "gb18030").values["kind"] == "Parquet"


def test_huge_numbers_cost_no_time_and_are_no_text(tmp_path: Path) -> None:
    error = refused(put(tmp_path, '[{"input": ' + "9" * 1_000_000 + ', "output": "b"}]'))
    assert error.values["first"] == Problem(1, "input", "not_text")


def test_caps_are_held_before_the_file_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, GOOD)
    monkeypatch.setattr(files, "MAX_ROWS", 1)
    assert read_rows(path).rows
    two = put(tmp_path, json.dumps(json.loads(GOOD) * 2), "two.json")
    error = refused(two)
    assert (error.key, error.values["rows"]) == ("dataset.too_many_rows", 2)
    monkeypatch.setattr(files, "MAX_BYTES", 20)
    opened: list[Any] = []
    monkeypatch.setattr("builtins.open", lambda *given, **named: opened.append(given))
    assert refused(path).key == "dataset.too_large"
    assert not opened


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    assert refused(tmp_path / "gone.json").key == "dataset.unreadable"
    assert refused(tmp_path).key == "dataset.unreadable"
    with pytest.raises(DatasetError):
        read_rows("a\0b.json")


@pytest.mark.parametrize("encoding", ["klingon", "hex", "rot13", "idna", "utf-8\0"])
def test_an_encoding_that_is_none(tmp_path: Path, encoding: str) -> None:
    error = refused(put(tmp_path, TRADITIONAL), encoding)
    assert error.key in ("dataset.unknown_encoding", "dataset.wrong_encoding")


@pytest.mark.parametrize("encoding", ["ascii", "shift_jis"])
def test_a_wrong_encoding_is_told_with_the_position(tmp_path: Path, encoding: str) -> None:
    path = put(tmp_path, GOOD.encode("gbk") if encoding == "ascii" else b'["\x81\x00"]')
    error = refused(path, encoding)
    assert (error.key, error.values["position"]) == ("dataset.wrong_encoding", 12 if encoding == "ascii" else 2)


# Rows that are refused


BAD_ROWS: list[tuple[Any, str, str]] = [
    (5, "-", "not_object"),
    (None, "-", "not_object"),
    (["a", "b"], "-", "not_object"),
    ({}, "input", "missing"),
    ({"output": "b"}, "input", "missing"),
    ({"input": "a"}, "output", "missing"),
    ({"input": "", "output": "b"}, "input", "blank"),
    ({"input": "a", "output": " \n\u3000"}, "output", "blank"),
    ({"input": "a", "output": "\u200b\u2060\ufeff"}, "output", "blank"),
    ({"input": None, "output": "b"}, "input", "blank"),
    ({"input": 5, "output": "b"}, "input", "not_text"),
    ({"input": "a", "output": ["b"]}, "output", "not_text"),
    ({"input": "a", "output": "b", "persona": {}}, "persona", "not_text"),
    ({"input": "a", "output": "b", "inner": False}, "inner", "not_text"),
    ({"input": "a\ud800", "output": "b"}, "input", "broken_text"),
    ({"input": "a", "output": "b\0"}, "output", "broken_text"),
    ({"input": "a", "output": "b", "persona": "\udfff"}, "persona", "broken_text"),
    ({"input": "a", "output": "b" * (MAX_CELL + 1)}, "output", "too_long"),
    ({"input": "a", "output": "b", "history": "c"}, "history", "history_shape"),
    ({"input": "a", "output": "b", "history": [["c"]]}, "history", "history_shape"),
    ({"input": "a", "output": "b", "history": [["c", "d", "e"]]}, "history", "history_shape"),
    ({"input": "a", "output": "b", "history": ["cd"]}, "history", "history_shape"),
    ({"input": "a", "output": "b", "history": [{"user": "c", "her": "d"}]}, "history", "history_shape"),
    ({"input": "a", "output": "b", "history": [["c", None]]}, "history", "history_shape"),
    ({"input": "a", "output": "b", "history": [["c", " "]]}, "history", "blank"),
    ({"input": "a", "output": "b", "history": [["c\ud800", "d"]]}, "history", "broken_text"),
    ({"input": "a", "output": "b", "system": 5}, "system", "not_text"),
    ({"input": "a", "output": "b", "rejected": "b\0"}, "rejected", "broken_text"),
    ({"input": "a", "output": "b", "tags": 5}, "tags", "tags_shape"),
    ({"input": "a", "output": "b", "tags": [5]}, "tags", "tags_shape"),
    ({"input": "a", "output": "b", "tags": ["长" * 41]}, "tags", "tags_bounds"),
    ({"input": "a", "output": "b", "tags": [str(n) for n in range(21)]}, "tags", "tags_bounds"),
    ({"input": "a", "output": "b", "draft": "yes"}, "draft", "not_yes_or_no"),
    ({"instruction": "译", "input": "a", "output": "b"}, "instruction", "other_format"),
    ({"conversations": [{"from": "human", "value": "a"}]}, "conversations", "other_format"),
    ({"messages": [{"role": "user", "content": "a"}]}, "messages", "other_format"),
]


@pytest.mark.parametrize(("value", "field", "key"), BAD_ROWS)
def test_a_bad_row_is_named_with_its_field(tmp_path: Path, value: Any, field: str, key: str) -> None:
    path = put(tmp_path, json.dumps([{"input": "a", "output": "b"}, value]))
    reading = read_rows(path)
    assert reading.rows == (Row("a", "b"),)
    (problem,) = reading.problems
    assert (problem.row, problem.field, problem.key) == (2, field, key)
    assert "第 2 行" in problem.say("zh")
    assert field in problem.say("zh")
    assert "row 2" in problem.say("en")
    error = refused(path)
    assert error.key == "dataset.bad_rows"
    assert problem.say("zh") in error.say("zh")
    assert problem.say("en") in error.say("en")
    assert good_rows(reading, path, skip_bad=True) == (Row("a", "b"),)


def test_every_field_is_kept_and_tags_of_a_table_are_split(tmp_path: Path) -> None:
    row = Row("a", "b", "傲娇", (("c", "d"),), "想", "你是店员。", "坏答案", ("日常", "撒娇"), True)
    write_rows(tmp_path / "a.json", [row])
    assert read_rows(tmp_path / "a.json").rows == (row,)
    (read,) = read_rows(put(tmp_path, '[{"input": "a", "output": "b", "tags": "日常， 撒娇,日常"}]')).rows
    assert read.tags == ("日常", "撒娇")


def test_nothing_but_bad_rows_is_refused_even_when_they_may_be_skipped(tmp_path: Path) -> None:
    path = put(tmp_path, '[{"input": "a"}, 3]')
    with pytest.raises(DatasetError) as caught:
        good_rows(read_rows(path), path, skip_bad=True)
    assert caught.value.values["count"] == 2


def test_what_looks_odd_but_is_text_stays_as_it_is() -> None:
    for text in (
        "\u202eevil",
        "a\u200bb",
        "<img src=x onerror=alert(1)>",
        "<|im_start|>",
        "=1+1",
        "é́",
        "😊",
        "\U000e0001x",
    ):
        row = check_row({"input": text, "output": text, "persona": "../../etc"}, 1)
        assert row == Row(text, text, "../../etc")
    assert check_row({"input": "a" * MAX_CELL, "output": "b"}, 1) == Row("a" * MAX_CELL, "b")
    rows, problems = check_rows([{"input": "a", "output": "b"}, 5, {"input": "c", "output": "d"}], "傲娇")
    assert [row.persona for row in rows] == ["傲娇", "傲娇"]
    assert [problem.row for problem in problems] == [2]


@pytest.mark.parametrize(
    ("name", "field", "kind"),
    [
        ("alpaca_zh_demo", "instruction", "Alpaca"),
        ("identity", "instruction", "Alpaca"),
        ("dpo_zh_demo", "conversations", "ShareGPT"),
    ],
)
def test_real_files_in_other_formats_are_refused_clearly(test_data: Path, name: str, field: str, kind: str) -> None:
    path = test_data / "datasets" / f"{name}.json"
    reading = read_rows(path)
    assert reading.rows == (), "not one row is taken for what it is not"
    assert len(reading.problems) == len(json.loads(path.read_text(encoding="utf-8")))
    error = refused(path)
    for language, row in (("zh", "第 1 行"), ("en", "row 1")):
        assert all(part in error.say(language) for part in (row, field, kind))
