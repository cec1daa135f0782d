"""Archives of dialogues: what leads out of them, what is too much, what is damaged, and what is read."""

from __future__ import annotations

import io
import stat
import struct
import zipfile

import pytest
from test_sources import GOOD, ROWS, as_json, as_lines, as_zip, refused

from anime_ai.dataset import files
from anime_ai.dataset.archives import MOST_FILES
from anime_ai.dataset.formats import Mapping
from anime_ai.dataset.intake import Choices, read
from anime_ai.dataset.rows import Row


@pytest.mark.parametrize("name", ["../a.json", "a/../../b.json", "/etc/passwd", "..\\a.json", "C:\\a.json"])
def test_a_zip_whose_names_lead_out_is_refused(name: str) -> None:
    assert refused(as_zip({"good.json": as_json(GOOD), name: as_json(GOOD)})).key == "dataset.zip_path"


def test_links_nested_zips_and_office_files_are_refused() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        link = zipfile.ZipInfo("link.json")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert refused(target.getvalue()).key == "dataset.zip_link"
    inner = as_zip({"a.json": as_json(GOOD)})
    assert refused(as_zip({"inner.json": inner})).key == "dataset.zip_nested"
    assert refused(as_zip({"[Content_Types].xml": b"<x/>"})).key == "dataset.kind"


def test_bombs_are_refused_as_declared_and_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = as_zip({"a.json": b" " * (20 * 2**20)})
    error = refused(bomb)
    assert error.key == "dataset.zip_ratio"
    assert error.values["ratio"] > 200
    many = as_zip({f"{number}.json": b"[]" for number in range(MOST_FILES + 1)}, zipfile.ZIP_STORED)
    assert refused(many).key == "dataset.zip_many"
    # A header that declares less than there is: nothing beyond what is declared is unpacked.
    lies = bytearray(as_zip({"a.json": as_json(GOOD * 500)}))
    place = lies.rindex(b"PK\x01\x02") + 24
    lies[place : place + 4] = struct.pack("<I", 10)
    assert refused(bytes(lies)).key == "dataset.broken_file"
    monkeypatch.setattr(files, "MAX_BYTES", 10_000)
    assert refused(as_zip({"a.json": as_json(GOOD * 500)})).key == "dataset.unpacks_too_large"


def test_a_damaged_or_locked_zip_says_so() -> None:
    whole = as_zip({"a.json": as_json(GOOD * 50)}, zipfile.ZIP_STORED)
    broken = bytearray(whole)
    broken[60] ^= 0xFF
    assert refused(bytes(broken)).key == "dataset.broken_file"
    assert refused(whole[:-10]).key == "dataset.broken_file"
    locked = bytearray(whole)
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    assert refused(bytes(locked)).key == "dataset.zip_locked"


def test_what_is_no_data_in_a_zip_is_named_and_the_rest_is_read() -> None:
    content = as_zip({"README.md": "小明说：“你好。”".encode(), "a.json": as_json(GOOD), "b.png": b"\x89PNG\r\n\x1a\n"})
    reading = read(content, "x.zip")
    assert reading.rows == ROWS
    assert [(note.key, dict(note.values)["name"]) for note in reading.notes] == [
        ("not_data", "README.md"),
        ("skipped", "b.png"),
    ]
    assert "b.png" in reading.notes[1].say("zh")
    assert reading.notes[1].say("zh") != reading.notes[1].say("en")
    assert refused(as_zip({"b.png": b"\x89PNG\r\n\x1a\n"})).key == "dataset.kind"
    assert refused(as_zip({})).key == "dataset.zip_empty"


def test_every_file_of_a_zip_has_its_own_format_and_problems_name_it() -> None:
    alpaca = [{"instruction": "a", "input": "", "output": "b"}, {"instruction": "a", "input": "", "output": ""}]
    content = as_zip({"一.jsonl": as_lines(GOOD), "二.json": as_json(alpaca)})
    reading = read(content, "x.zip")
    assert reading.rows == (*ROWS, Row("a", "b"))
    assert reading.format == "mixed"
    assert [(one.row, one.field, one.key) for one in reading.problems] == [(2, "二.json: output", "blank")]
    mapped = read(content, "x.zip", Choices(mapping=Mapping(input="output", output="instruction")))
    assert mapped.rows[2] == Row("b", "a")
    assert mapped.rows[:2] == ROWS


def test_a_zip_that_windows_wrote_in_chinese() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("XXXX.json", as_json([{"input": "a", "output": ""}]))
        archive.writestr("b.json", as_json(GOOD))
    content = target.getvalue().replace(b"XXXX", "对话".encode("gbk"))
    assert read(content, "x.zip").problems[0].field == "对话.json: output"
