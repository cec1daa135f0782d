"""How personas speak and how long rows are, against counting by hand and against preprocessing."""

from __future__ import annotations

import math
import random
import re
from typing import Any

import pytest

from anime_ai.config import DATA
from anime_ai.dataset.files import read_rows
from anime_ai.dataset.preprocess import encode_rows
from anime_ai.dataset.profile import (
    ENDS,
    LONGEST,
    OFTENER,
    OTHER,
    PRIOR,
    SHORTEST,
    catchphrases,
    histogram,
    lengths,
    profile,
)
from anime_ai.dataset.rows import Row
from anime_ai.persona.cards import Personas
from anime_ai.prompting import Layout


def test_a_voice_by_hand() -> None:
    rows = [
        Row("早", "早。", "甲"),
        Row("晚", "晚安！", "甲", history=(("a", "b"),)),
        Row("吃", "豆浆😀～", "甲", inner="想"),
        Row("走", "走吧走吧……", "甲"),
        Row("看", "好♡", "乙"),
    ]
    first, second = profile(rows)
    assert (first.persona, first.rows, second.persona, second.rows) == ("甲", 4, "乙", 1)
    assert first.mean == (2 + 3 + 4 + 6) / 4
    assert first.quantiles == (2, 4, 6)
    assert first.ends == {"。": 0.25, "！": 0.25, "？": 0, "…": 0.25, "～": 0.25, OTHER: 0}
    assert (first.emoji, first.history, first.inner) == (0.25, 0.25, 0.25)
    assert (second.emoji, second.ends[OTHER]) == (0, 1)
    assert profile([]) == ()


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        ("哼。", "。"),
        ("哼!", "！"),
        ("哼？」", "？"),
        ("（哼……）", "…"),
        ("hm...", "…"),
        ("hm.", "。"),
        ("好呀〜 ", "～"),
        ("好呀♪", OTHER),
        ("「」", OTHER),
        ("好", OTHER),
    ],
)
def test_how_an_answer_ends(answer: str, end: str) -> None:
    (voice,) = profile([Row("在吗", answer, "甲")])
    assert voice.ends[end] == 1
    assert set(voice.ends) == {*ENDS, OTHER}


@pytest.mark.parametrize(
    ("answer", "emoji"), [("好😀", 1), ("好❤️", 1), ("✨", 1), ("好♡", 0), ("☆好♪", 0), ("(｡•̀ω-)", 0), ("→好①", 0)]
)
def test_what_is_an_emoji(answer: str, emoji: int) -> None:
    assert profile([Row("在吗", answer, "甲")])[0].emoji == emoji


def some_answers(count: int, chance: random.Random, phrase: str = "", share: float = 0.0) -> list[str]:
    letters = "春夏秋冬花鸟风月山川草木日光星辰东西南北中发白红绿蓝"
    answers = []
    for _ in range(count):
        text = "".join(chance.choices(letters, k=12))
        answers.append(f"{text}，{phrase}。" if chance.random() < share else f"{text}。")
    return answers


def test_a_planted_catchphrase_is_found_and_what_all_say_is_not() -> None:
    chance = random.Random(1)
    own = [f"{one}是这样呢。" for one in some_answers(200, chance, "才不是呢", 0.2)]
    others = [f"{one}是这样呢。" for one in some_answers(400, chance, "豆浆真好喝", 0.2)]
    found = catchphrases({"甲": own, "乙": others})
    assert (found["甲"][0].text, found["乙"][0].text) == ("才不是呢", "豆浆真好喝")
    told = [one.text for phrases in found.values() for one in phrases]
    assert not any(part in one for one in told for part in ("这样", "样呢", "是这"))
    phrase = found["甲"][0]
    assert len(found["甲"]) == 1 or phrase.z > found["甲"][1].z + 1
    assert phrase.count == sum("才不是呢" in one for one in own)
    assert phrase.elsewhere == 0


def test_the_log_odds_are_those_of_the_paper() -> None:
    own = ["哼哼，" + str(number) for number in range(30)] + ["好，" + str(number) for number in range(70)]
    others = ["哼哼，" + str(number) for number in range(5)] + ["好，" + str(number) for number in range(195)]
    phrase = catchphrases({"甲": own, "乙": others})["甲"][0]
    assert (phrase.text, phrase.count, phrase.elsewhere) == ("哼哼", 30, 5)
    prior, whole = PRIOR * 35 / 300, PRIOR
    delta = math.log((30 + prior) / (100 + whole - 30 - prior)) - math.log((5 + prior) / (200 + whole - 5 - prior))
    assert phrase.z == pytest.approx(delta / math.sqrt(1 / (30 + prior) + 1 / (5 + prior)))


def test_counts_are_those_of_looking_everywhere() -> None:
    rows = read_rows(DATA / "dataset.json").rows
    for voice in profile(rows, most=30):
        own = [row.output for row in rows if row.persona == voice.persona]
        others = [row.output for row in rows if row.persona != voice.persona]
        assert voice.catchphrases
        for one in voice.catchphrases:
            assert SHORTEST <= len(one.text) <= LONGEST
            alone = "" if one.text.isalpha() else r"(?<![^\W\d_])"
            told = re.compile(alone + re.escape(one.text))
            assert one.count == sum(bool(told.search(answer)) for answer in own)
            assert one.elsewhere == sum(bool(told.search(answer)) for answer in others)
            assert one.count / len(own) >= OFTENER * one.elsewhere / len(others)
        z = [one.z for one in voice.catchphrases]
        assert z == sorted(z, reverse=True)
        texts = [one.text for one in voice.catchphrases]
        assert not any(one != other and one in other for one in texts for other in texts)


def test_one_persona_is_compared_with_what_is_said_to_her() -> None:
    chance = random.Random(2)
    questions = [f"{one}是不是这样？" for one in some_answers(100, chance)]
    answers = [f"{one}是不是这样？笨蛋。" for one in some_answers(100, chance)]
    (voice,) = profile([Row(question, answer, "甲") for question, answer in zip(questions, answers, strict=True)])
    assert [one.text for one in voice.catchphrases] == ["笨蛋"]
    assert voice.catchphrases[0].elsewhere == 0
    assert profile([Row("笨蛋", "笨蛋", "甲")] * 2)[0].catchphrases == ()
    assert catchphrases({"甲": answers})["甲"] == ()


def test_an_interjection_of_one_letter_counts_with_its_sign() -> None:
    own = [f"哼，{one}" for one in some_answers(40, random.Random(3))]
    others = some_answers(40, random.Random(4))
    assert catchphrases({"甲": own, "乙": others})["甲"][0].text == "哼，"


@pytest.mark.parametrize("max_length", [96, 200, 4096])
def test_lengths_are_those_of_preprocessing(tiny_tokenizer: Any, max_length: int) -> None:
    layout, personas = Layout(tiny_tokenizer), Personas()
    chance = random.Random(5)
    rows = [
        Row(
            "问" * chance.randint(1, 9),
            "答" * chance.randint(1, 30),
            chance.choice(["傲娇", "温柔", "自己写的", ""]),
            history=tuple((f"第{turn}问", "嗯。") for turn in range(chance.randint(0, 4))),
            draft=number % 10 == 9,
        )
        for number in range(60)
    ]
    encoded, shortened, too_long = encode_rows(rows, personas, layout, max_length)
    measured = lengths(rows, personas, layout, max_length)
    assert [place for place, one in enumerate(measured) if one is None] == [*range(9, 60, 10)]
    told = {place: one for place, one in enumerate(measured) if one is not None}
    assert {place: (one.kept, one.trained) for place, one in told.items() if one.kept} == {
        place: (len(row.ids), row.trained) for place, row in encoded.items()
    }
    assert [place + 1 for place, one in told.items() if one.dropped] == shortened
    assert [place + 1 for place, one in told.items() if not one.kept] == too_long
    for one in told.values():
        cut = one.dropped or not one.kept
        assert one.tokens > max_length if cut else one.tokens == one.kept <= max_length


def test_a_row_that_breaks_the_contract_says_why(tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from anime_ai.errors import PromptError

    def broken(*_given: object) -> None:
        raise PromptError("prompt.contract", clause="text")

    monkeypatch.setattr(Layout, "check", broken)
    (one,) = lengths([Row("问", "答", "傲娇")], Personas(), Layout(tiny_tokenizer), 512)
    assert one is not None
    assert one.kept == 0
    assert one.broken is not None
    assert one.broken.key == "prompt.contract"


@pytest.mark.parametrize("max_length", [32, 100, 512])
def test_every_row_is_in_one_bin_on_its_side_of_the_line(max_length: int) -> None:
    chance = random.Random(max_length)
    tokens = [chance.randint(1, 3 * max_length) for _ in range(500)] + [max_length, max_length + 1, 1, 40 * max_length]
    bars = histogram(tokens, max_length)
    assert sum(bars.counts) == len(tokens)
    assert bars.edges[0] == 0
    assert list(bars.edges) == sorted(set(bars.edges))
    for count, low, high in zip(bars.counts, bars.edges, bars.edges[1:], strict=False):
        assert count == sum(low < one <= high for one in tokens)
    line = bars.edges.index(max_length)
    assert sum(bars.counts[line:]) == sum(one > max_length for one in tokens)
    assert len(bars.counts) <= 33


def test_no_row_over_the_line() -> None:
    bars = histogram([10, 32], 32)
    assert bars.edges[-1] == 32
    assert sum(bars.counts) == 2
    assert sum(histogram([], 512).counts) == 0
