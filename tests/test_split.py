"""Holding rows out: how many, which together, always the same."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from anime_ai.dataset import split as module
from anime_ai.dataset.files import read_rows
from anime_ai.dataset.rows import Row
from anime_ai.dataset.split import NEAR, ORIGINAL, near_duplicates, personas_of, split_rows

SHIPPED = Path(__file__).resolve().parents[1] / "data" / "dataset.json"
LETTERS = "春夏秋冬花鸟风月山川草木日光星辰东西南北"


def some_rows(count: int, seed: int = 0, personas: str = "甲乙") -> list[Row]:
    chance = random.Random(seed)

    def say(most: int) -> str:
        return "".join(chance.choices(LETTERS, k=chance.randint(1, most)))

    return [Row(say(12), say(20), chance.choice(personas)) for _ in range(count)]


def trigrams(row: Row) -> set[str]:
    text = f"\x02{row.input}{row.output}\x03"
    return {text[place : place + 3] for place in range(len(text) - 2)}


def similarity(one: Row, other: Row) -> float:
    a, b = trigrams(one), trigrams(other)
    return len(a & b) / len(a | b)


def test_about_a_tenth_of_each_persona_of_the_shipped_rows() -> None:
    rows = read_rows(SHIPPED).rows
    for seed in (0, 42, 2**32 - 1):
        split = split_rows(rows, seed)
        assert sorted((*split.train, *split.held_out)) == list(range(len(rows)))
        assert list(split.train) == sorted(split.train)
        assert list(split.held_out) == sorted(split.held_out)
        held = Counter(rows[place].persona for place in split.held_out)
        for persona, count in Counter(row.persona for row in rows).items():
            assert 0.05 <= held[persona] / count <= 0.12
        originals = {place for place, row in enumerate(rows) if row.input in ORIGINAL}
        assert len(originals) >= 2
        assert originals <= set(split.train)


def test_the_share_and_the_seed_count(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = some_rows(300)
    assert len(split_rows(rows, 1, share=0.3).held_out) == pytest.approx(90, abs=3)
    assert split_rows(rows, 1) == split_rows(list(rows), 1)
    assert split_rows(rows, 1) != split_rows(rows, 2)


def test_the_split_is_the_same_in_every_process() -> None:
    code = (
        "import json, sys; from pathlib import Path\n"
        "from anime_ai.dataset.files import read_rows; from anime_ai.dataset.split import split_rows\n"
        "print(split_rows(read_rows(Path(sys.argv[1])).rows, 42).held_out)"
    )
    import os

    said = {
        subprocess.run(
            [sys.executable, "-c", code, str(SHIPPED)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(SHIPPED.parents[1])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "77")
    }
    assert said == {f"{split_rows(read_rows(SHIPPED).rows, 42).held_out}\n"}


@pytest.mark.parametrize("seed", range(6))
def test_groups_are_those_of_comparing_every_pair(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prefix filter loses nothing: groups by brute force are the same, however small the blocks."""
    if seed % 2:
        monkeypatch.setattr(module, "PAIRS", 400)
    chance = random.Random(seed)
    rows = some_rows(120, seed)
    for _copy in range(80):
        like = chance.choice(rows)
        output = like.output
        for _edit in range(chance.randint(1, 4)):
            cut = chance.randint(0, len(output))
            output = output[:cut] + chance.choice(LETTERS) + output[cut + chance.randint(0, 1) :]
        rows.append(Row(like.input, output, chance.choice("甲乙")))
    chance.shuffle(rows)
    group = list(range(len(rows)))

    def root(place: int) -> int:
        while group[place] != place:
            place = group[place]
        return place

    for one in range(len(rows)):
        for other in range(one):
            same = rows[one].persona == rows[other].persona and rows[one].input == rows[other].input
            if same or similarity(rows[one], rows[other]) >= NEAR:
                group[max(root(one), root(other))] = min(root(one), root(other))
    expected: dict[int, list[int]] = {}
    for place in range(len(rows)):
        expected.setdefault(root(place), []).append(place)
    assert sorted(near_duplicates(rows)) == sorted(expected.values())
    assert len(expected) < len(rows)


@pytest.mark.parametrize("seed", range(5))
def test_near_duplicates_never_straddle_the_split(seed: int) -> None:
    rows = some_rows(200, seed)
    for row in list(rows):
        rows.append(Row(row.input + "！", row.output + "……", row.persona))
        rows.append(Row(row.input, "完全不同的回答" + row.output[::-1], row.persona))
    split = split_rows(rows, seed)
    held = [rows[place] for place in split.held_out]
    assert 40 <= len(held) <= 66
    asked = {(row.persona, row.input) for row in (rows[place] for place in split.train)}
    assert not any((row.persona, row.input.removesuffix("！")) in asked for row in held)
    assert not any(similarity(one, rows[place]) >= NEAR for one in held for place in split.train)


def test_what_is_like_an_original_row_trains() -> None:
    rows = [Row(question, f"回答{number}", "傲娇") for number, question in enumerate(sorted(ORIGINAL) * 5)]
    rows += [Row("可以 帮我写作业吗?", "哼", "傲娇"), *some_rows(40, personas="甲")]
    split = split_rows(rows, 3)
    assert set(range(11)) <= set(split.train)
    assert len(split.held_out) == 4


@pytest.mark.parametrize(("count", "held"), [(0, 0), (1, 0), (2, 0), (4, 0), (5, 1), (10, 1), (14, 1), (16, 2)])
def test_tiny_sets(count: int, held: int) -> None:
    rows = [Row(f"{letter}{letter}", letter * 3, "甲") for letter in LETTERS[:count]]
    split = split_rows(rows, 42)
    assert len(split.held_out) == held
    assert len(split.train) == count - held


def test_rows_of_one_template_all_train() -> None:
    rows = [Row("你好", f"哼，我是第{number}号，才不理你呢", "甲") for number in range(30)]
    assert split_rows(rows, 1).held_out == ()


def test_rows_without_letters_are_told_apart() -> None:
    rows = [Row(mark * 2, mark, "甲") for mark in "？！😀😭～…。、，♪"]
    assert len(near_duplicates(rows)) == 10
    assert len(near_duplicates([*rows, Row("？？", "♥", "甲"), Row("??", "♦", "乙")])) == 11
    assert near_duplicates([Row("a", "b"), Row("Ａ ", "ｂ！")]) == [[0, 1]]


def test_personas_in_order_of_appearance() -> None:
    assert personas_of([Row("a", "b", "乙"), Row("a", "b"), Row("a", "b", "甲"), Row("c", "d", "乙")]) == [
        "乙",
        "",
        "甲",
    ]


@pytest.mark.timeout(60)
def test_twenty_thousand_rows_and_as_many_alike() -> None:
    """Neither many different rows nor many equal ones take minutes or gigabytes (a quadratic list of pairs did)."""
    chance = random.Random(1)
    seed = [row for row in read_rows(SHIPPED).rows]
    rows = [
        Row(
            chance.choice(seed).input[:5] + chance.choice(seed).input[2:],
            chance.choice(seed).output + str(number),
            "甲",
        )
        for number in range(8_000)
    ]
    rows += [Row("你好", "哼！", "甲")] * 6_000
    rows += [Row(f"第{number}题怎么做呢老师", "自己想一想吧你这个笨蛋哼", "乙") for number in range(6_000)]
    split = split_rows(rows, 5)
    assert len(split.train) + len(split.held_out) == 20_000
    assert all(rows[place].persona == "甲" and rows[place].input != "你好" for place in split.held_out)
    assert len(split.held_out) == 1_400
