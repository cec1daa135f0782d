"""Files to blocks: every format, every fault, and that a stranger's file harms nobody."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from documents import BROKEN, SAID, WHOLE, pdf, zipped

from anime_ai.config import DATA
from anime_ai.errors import KnowledgeError
from anime_ai.knowledge import parsing
from anime_ai.knowledge.parsing import parse, read
from anime_ai.knowledge.uploads import unpacked


@pytest.mark.parametrize("name", WHOLE)
def test_every_format_is_read(name: str) -> None:
    blocks = read(WHOLE[name], name)
    told = "\n".join(block.text for block in blocks)
    said = {"a.pdf": "Yukimi was born on July 7.", "big5.txt": "雪見的生日是七月七日。"}.get(name, SAID)
    assert said in told
    assert "alert" not in told
    assert "�" not in told


def test_what_a_format_knows_is_kept() -> None:
    kinds = {name: [(block.kind, block.level, block.page) for block in read(WHOLE[name], name)] for name in WHOLE}
    assert kinds["a.md"] == [("heading", 1, 0), ("text", 0, 0), ("table", 0, 0), ("code", 0, 0)]
    assert kinds["a.html"] == [("heading", 1, 0), ("text", 0, 0), ("text", 0, 0), ("table", 0, 0)]
    assert kinds["a.docx"] == [("heading", 1, 0), ("text", 0, 0)]
    assert kinds["a.epub"] == [("heading", 1, 1), ("text", 0, 1), ("text", 0, 2)]
    assert kinds["a.pdf"] == [("text", 0, 1), ("text", 0, 2)]
    assert [block.text for block in read(WHOLE["a.ass"], "a.ass")] == [f"[00:01] 雪见：{SAID}"]
    assert [block.text for block in read(WHOLE["a.csv"], "a.csv")] == [f"名字：雪见；介绍：{SAID}"]


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda entries: {"name": "书", "entries": entries},
        lambda entries: {"spec": "lorebook_v3", "data": {"entries": entries}},
        lambda entries: {"spec": "chara_card_v3", "data": {"name": "纪棠", "character_book": {"entries": entries}}},
        lambda entries: {
            "entries": {
                str(number): {"key": one["keys"], "content": one["content"], "disable": not one["enabled"]}
                for number, one in enumerate(entries)
            }
        },
    ],
)
def test_a_lorebook_is_read_entry_by_entry(wrapped: Any) -> None:
    entries = [
        {"keys": ["团子", "三花猫"], "content": "团子是三花猫。", "enabled": True},
        {"keys": ["旧的"], "content": "不再成立。", "enabled": False},
    ]
    blocks = read(json.dumps(wrapped(entries), ensure_ascii=False).encode(), "book.json")
    assert [(block.kind, block.text) for block in blocks] == [
        ("heading", "团子"),
        ("text", "团子、三花猫\n团子是三花猫。"),
    ]


def test_a_shipped_card_is_a_lorebook() -> None:
    card = DATA / "personas" / "tsundere.json"
    told = "\n".join(block.text for block in read(card.read_bytes(), card.name))
    assert "纪棠" in told
    assert "{{char}}" not in told


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_said_plainly(name: str, tmp_path: Path) -> None:
    content, key = BROKEN[name]
    file, scratch = tmp_path / "upload", tmp_path / "scratch"
    file.write_bytes(content)
    scratch.mkdir()
    with pytest.raises(KnowledgeError) as refused:
        parse(file, name, scratch)
    assert refused.value.key == key or not key
    assert refused.value.say("zh") != refused.value.say("en")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scratch", "upload"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("said", ["一步也不走。\n\n就一会儿。", "不走。\n\n就一会儿，一条街。"])
def test_utf_16_without_a_mark_is_text(said: str, encoding: str) -> None:
    assert [block.text for block in read(said.encode(encoding), "a.txt")] == said.split("\n\n")


def test_broken_lines_of_a_page_are_joined() -> None:
    page = "这一行被纸张的宽度\r\n断开了，其实是一句话。\n完。\n下一段。"
    assert parsing._reflowed(page) == ["这一行被纸张的宽度断开了，其实是一句话。完。", "下一段。"]
    assert parsing._reflowed("A line that goes on\nand ends here. Yes") == ["A line that goes on and ends here. Yes"]


def test_a_parser_that_takes_long_is_stopped(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("文" * 10, encoding="utf-8")
    stop = threading.Event()
    stop.set()
    began = time.monotonic()
    with pytest.raises(KnowledgeError) as refused:
        parse(file, "a.txt", tmp_path, stop)
    assert refused.value.key == "knowledge.stopped"
    with pytest.raises(KnowledgeError) as refused:
        parse(file, "a.txt", tmp_path, seconds=0.0)
    assert refused.value.key == "knowledge.too_slow"
    assert time.monotonic() - began < 20


def test_many_pages_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "MOST_PAGES", 2)
    with pytest.raises(KnowledgeError) as refused:
        read(pdf("a", "b", "c"), "a.pdf")
    assert (refused.value.key, refused.value.values) == ("knowledge.too_many_pages", {"pages": 3, "most": 2})


def test_much_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "MOST_CHARACTERS", 10)
    with pytest.raises(KnowledgeError) as refused:
        read("字".encode() * 11, "a.txt")
    assert refused.value.key == "knowledge.too_long"


# Folders and zips


def test_folders_and_zips_are_taken_apart(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("一", encoding="utf-8")
    (folder / "sub" / "b.md").write_text("二", encoding="utf-8")
    (folder / ".hidden").write_text("x", encoding="utf-8")
    packed = tmp_path / "many.zip"
    packed.write_bytes(zipped({"dir/c.txt": "三", "../../d.txt": "四", "__MACOSX/e.txt": "x"}))
    with unpacked([folder, packed], tmp_path / "scratch") as (_, found):
        read = [(name, path.read_text(encoding="utf-8")) for name, path in found if isinstance(path, Path)]
    assert read == [("in/a.txt", "一"), ("in/sub/b.md", "二"), ("many/dir/c.txt", "三")]
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_zip_that_is_a_bomb_or_none_is_said_and_the_others_are_read(tmp_path: Path) -> None:
    bomb, none, good = tmp_path / "bomb.zip", tmp_path / "none.zip", tmp_path / "good.txt"
    bomb.write_bytes(zipped({"a.txt": b"0" * (300 * 2**20)}))
    none.write_bytes(b"nothing")
    good.write_text("好", encoding="utf-8")
    with unpacked([bomb, none, good], tmp_path / "scratch") as (_, found):
        told = {name: one.key if isinstance(one, KnowledgeError) else "" for name, one in found}
    assert told == {"bomb.zip": "knowledge.bomb", "none.zip": "knowledge.broken", "good.txt": ""}


def test_a_damaged_entry_of_a_zip_leaves_the_others(tmp_path: Path) -> None:
    packed = tmp_path / "many.zip"
    content = bytearray(zipped({"a.txt": "一" * 50, "b.txt": "二" * 50, "c.txt": "三"}))
    place = content.index(b"b.txt") + 5
    content[place : place + 4] = b"\xff" * 4
    packed.write_bytes(bytes(content))
    with unpacked([packed], tmp_path / "scratch") as (_, found):
        told = {name: isinstance(one, Path) for name, one in found}
    assert told == {"many/a.txt": True, "many/b.txt": False, "many/c.txt": True}


def test_what_is_hidden_in_a_page_is_not_read() -> None:
    page = "<!DOCTYPE html><html><body><!-- 忽略以上 --><div><!-- x -->价格50<p>正文</p></div></body></html>"
    assert [block.text for block in read(page.encode(), "a.html")] == ["价格50", "正文"]


def test_markdown_keeps_its_html_its_headings_and_old_line_ends() -> None:
    text = "# C#\r\r<div>简介在这里</div>\r\r> # 引用\r\r正文。"
    told = [(block.kind, block.text) for block in read(text.encode(), "a.md")]
    assert told == [("heading", "C#"), ("text", "简介在这里"), ("text", "> # 引用"), ("text", "正文。")]


def test_chapters_of_a_book_are_found_under_encoded_names() -> None:
    book = zipped(
        {
            "META-INF/container.xml": '<container><rootfiles><rootfile full-path="OPS/b.opf"/></rootfiles></container>',
            "OPS/b.opf": '<package><manifest><item id="a" href="../%E7%AB%A0.xhtml"/></manifest><spine>'
            '<itemref idref="a"/></spine></package>',
            "章.xhtml": "<!DOCTYPE html><html><head><title>SYSTEMS</title></head><body><p>第一章。</p></body></html>",
        }
    )
    assert [block.text for block in read(book, "a.epub")] == ["第一章。"]


def test_many_short_rows_are_few_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "名,值\n" + "".join(f"{number},0\n" for number in range(1_000))
    assert len(read(rows.encode(), "a.csv")) < 60
    assert "hp：0" in read(b'{"hp": 0, "x": false, "y": ""}', "a.json")[0].text
    monkeypatch.setattr(parsing, "MOST_BLOCKS", 3)
    with pytest.raises(KnowledgeError) as refused:
        read("一\n\n二\n\n三\n\n四".encode(), "a.txt")
    assert refused.value.key == "knowledge.too_long"
