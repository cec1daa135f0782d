"""Documents to chunks: whole sentences, their headings above them, every character in its place."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from anime_ai.config import DATA, ROOT
from anime_ai.knowledge.chunks import (
    LEAST,
    MOST,
    MOST_WHOLE,
    OVERLAP,
    Block,
    Chunk,
    as_markdown,
    chunked,
    joined,
    sentences,
)
from anime_ai.knowledge.parsing import read
from anime_ai.knowledge.store import StoredChunk


def texts(blocks: list[Block]) -> list[str]:
    whole = joined(blocks)
    return [whole[one.start : one.end] for one in chunked(blocks)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("今天下雨。没带伞！怎么办？", ["今天下雨。", "没带伞！", "怎么办？"]),
        ("她说：“走吧。”然后走了。", ["她说：“走吧。”", "然后走了。"]),
        ("「行くぞ！」と言った。", ["「行くぞ！」", "と言った。"]),
        ("真的吗？！……好吧。", ["真的吗？！……", "好吧。"]),
        ("一行\n两行\n\n三行", ["一行", "两行", "三行"]),
        ("It is 3.5 m long. Really.", ["It is 3.5 m long.", "Really."]),
        ("没有句号", ["没有句号"]),
        ("  \n ", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in sentences(text)] == expected


def test_chunks_are_whole_sentences_that_overlap_by_one() -> None:
    said = [f"第{number}句话说的是一件很小很小的事情，编号{number}。" for number in range(60)]
    found = texts([Block("text", "".join(said))])
    assert len(found) > 3
    for before, after in zip(found, found[1:], strict=False):
        last = said[max(place for place, one in enumerate(said) if one in before)]
        assert after.startswith(last)
    for one in found[:-1]:
        assert LEAST <= len(one) <= MOST + OVERLAP
        assert one.endswith("。")
    assert "".join(said) == found[0] + "".join(one[one.index("。") + 1 :] for one in found[1:])


def test_headings_stand_above_and_are_no_chunks() -> None:
    blocks = [
        Block("heading", "书", 1),
        Block("text", "序。"),
        Block("heading", "第一章", 2),
        Block("text", "正文。"),
        Block("heading", "第二章", 2),
        Block("heading", "小节", 3),
        Block("text", "末尾。"),
        Block("heading", "附录", 1),
        Block("text", "完。"),
    ]
    whole = joined(blocks)
    assert [(one.heading, whole[one.start : one.end]) for one in chunked(blocks)] == [
        ("书", "序。"),
        ("书 › 第一章", "正文。"),
        ("书 › 第二章 › 小节", "末尾。"),
        ("附录", "完。"),
    ]


def test_tables_and_code_stay_whole_until_they_are_too_long() -> None:
    table = "\n".join(f"行{number} | 值{number}" for number in range(40))
    assert texts([Block("text", "前。"), Block("table", table), Block("text", "后。")]) == ["前。", table, "后。"]
    long = "\n".join(f"print({number})" for number in range(1_000))
    parts = texts([Block("code", long)])
    assert all(len(part) <= MOST_WHOLE for part in parts)
    assert "".join(parts) == long
    assert all(part.endswith("\n") for part in parts[:-1])


def test_a_short_end_joins_the_chunk_before() -> None:
    said = "这句话有二十个字左右，刚好用来数一数。" * 17
    found = texts([Block("text", said + "完。")])
    assert len(found) == 1


def test_pages_are_those_where_a_chunk_begins() -> None:
    blocks = [Block("text", "一。" * 170, page=1), Block("text", "二。" * 170, page=2)]
    assert [one.page for one in chunked(blocks)] == [1, 2]


def test_nothing_is_lost_whatever_the_document_is() -> None:
    chance = random.Random(4)
    signs = "天地人。！？；…”」\n\n .a1|"
    for _ in range(200):
        blocks = [
            Block(chance.choice(("heading", "text", "text", "table", "code")), made, chance.randint(1, 3))
            for _ in range(chance.randint(1, 8))
            if (made := "".join(chance.choice(signs) for _ in range(chance.randint(1, 900))).strip())
        ]
        whole, covered = joined(blocks), set()
        found = list(chunked(blocks))
        for one in found:
            assert 0 <= one.start < one.end <= len(whole)
            covered.update(range(one.start, one.end))
        place = 0
        for block in blocks:
            inside = range(place, place + len(block.text))
            if block.kind != "heading":
                assert not [at for at in inside if at not in covered and not whole[at].isspace()]
            place += len(block.text) + 2
        assert [one.start for one in found] == sorted(one.start for one in found)


def test_an_empty_document_has_no_chunks() -> None:
    assert list(chunked([])) == []
    assert list(chunked([Block("heading", "只有标题", 1)])) == []
    assert list(chunked([Block("text", "字")])) == [Chunk(0, 1, "", 0)]


def stored(blocks: Sequence[Block]) -> tuple[str, list[StoredChunk]]:
    """A document's text and its chunks as they lie in the database."""
    text = joined(blocks)
    return text, [
        StoredChunk(
            str(place), "", "", place, one.start, one.end, 0, one.heading, text[one.start : one.end], False, False
        )
        for place, one in enumerate(chunked(blocks))
    ]


def said(markdown: str) -> list[tuple[str, str]]:
    return [(one.heading, one.text) for one in stored(list(read(markdown.encode(), "x.md")))[1]]


def test_a_document_that_is_told_again_has_the_same_chunks() -> None:
    files = [*sorted((DATA / "knowledge" / "series").glob("*.md"))[::6], ROOT / "README.md"]
    for file in files:
        text, chunks = stored(list(read(file.read_bytes(), file.name)))
        assert said(as_markdown(text, chunks)) == [(one.heading, one.text) for one in chunks], file.name


def test_what_is_told_again_is_what_was_corrected() -> None:
    long = "".join(f"第{number}句话说的是一件很小很小的事情。" for number in range(60))
    headings = [Block("heading", "海棠", 1), Block("text", "一。"), Block("heading", "家", 3), Block("text", "二。")]
    text, chunks = stored([*headings, Block("heading", "海棠", 1), Block("text", "三。"), Block("text", long)])
    first, second, *rest = chunks
    told = as_markdown(text, [replace(first, off=True), replace(second, text="两。", edited=True), *rest])
    assert told == f"# 海棠\n\n## 家\n\n两。\n\n# 海棠\n\n三。\n\n{long}", (
        "levels follow the path, no sentence comes twice"
    )
    assert as_markdown(text, [replace(one, off=True) for one in chunks]) == ""
    deep = [Block("heading", str(level), level) for level in range(1, 7)] + [Block("text", "深。")]
    assert as_markdown(*stored(deep)).endswith("###### 6\n\n深。")
