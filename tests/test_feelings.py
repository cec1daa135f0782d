"""What an answer feels like: the vocabulary, the names of sprites, the classifier and how it is made."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from anime_ai.config import ASSETS
from anime_ai.persona.feelings import CALM, DRAWN_OF, FEELINGS, NAMES, drawn, feeling_named
from anime_ai.persona.tone import LENGTHS, MOST, WEIGHTS, Tone, grams, is_chinese, marked, tone_of
from anime_ai.starter.feelings import (
    HELD_OUT,
    LABELS,
    RAREST,
    Labelled,
    accuracy,
    figures,
    fit,
    labelled,
    macro_f1,
    write,
)

SILLYTAVERN = (
    "admiration amusement anger annoyance approval caring confusion curiosity desire disappointment disapproval "
    "disgust embarrassment excitement fear gratitude grief joy love nervousness neutral optimism pride realization "
    "relief remorse sadness surprise"
).split()


@pytest.fixture(scope="module")
def rows() -> list[Labelled]:
    return labelled()


def test_every_name_of_sillytavern_means_a_feeling_and_none_means_two() -> None:
    assert {name: feeling_named(name) for name in SILLYTAVERN if not feeling_named(name)} == {}
    assert {feeling_named(name) for name in SILLYTAVERN} == set(FEELINGS)
    names = Counter(name for all_names in NAMES.values() for name in {*all_names.split()})
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize(
    ("name", "feeling"),
    [
        *(("joy", "happy"), ("Joy.png", "happy"), ("JOY-2.webp", "happy"), ("joy_03", "happy"), ("小花_开心", "happy")),
        *(
            ("assets/emotion/image/anger.png", "angry"),
            ("害羞.jpg", "shy"),
            ("ＪＯＹ", "happy"),
            ("驚き", "surprised"),
        ),
        *(("enjoyment", ""), ("", ""), ("main", ""), ("../../etc/passwd", ""), ("..", ""), ("a" * 5000, "")),
    ],
)
def test_a_name_of_a_sprite_means_a_feeling_or_nothing(name: str, feeling: str) -> None:
    assert feeling_named(name) == feeling


def test_the_four_who_ship_are_drawn_with_every_feeling() -> None:
    for persona in ("tsundere", "genki", "gentle", "kuudere"):
        shown = [drawn(persona, feeling) for feeling in FEELINGS]
        assert len(set(shown)) == len(FEELINGS), persona
        assert all((ASSETS / "personas" / persona / f"{one}.webp").is_file() for one in shown)
    assert set(DRAWN_OF) <= {"tsundere", "genki", "gentle", "kuudere"}


@pytest.mark.parametrize(
    ("said", "feeling"),
    [
        ("太好了！我们赢了！", "happy"),
        ("呜……我的猫不见了，我好难过。", "sad"),
        ("诶？！真的假的？", "surprised"),
        ("谁允许你进来的！出去！", "angry"),
        ("你、你别看我啦……", "shy"),
        ("别怕，我陪着你，先喝口热水。", "caring"),
        ("哼哼，本小姐怎么可能会输。", "smug"),
        ("好的，明天下午三点见。", "calm"),
    ],
)
def test_plain_answers_are_told_right(said: str, feeling: str) -> None:
    assert tone_of(said) == feeling


@pytest.mark.parametrize(
    "said",
    [
        *("", " \n", "……", "！？", "😀😀", "12345", "I am so happy today! Yay!", "今日は楽しかったね、嬉しいな！"),
        *("오늘 너무 기뻐요!", "\0\ud800", "<img src=x onerror=alert(1)>", "\ue000\ue001\ue003", "—" * 90_000),
    ],
)
def test_what_is_no_chinese_answer_leaves_her_calm(said: str) -> None:
    assert not is_chinese(said)
    assert tone_of(said) == CALM


def test_a_long_answer_is_told_by_its_beginning_and_its_end() -> None:
    ends = "呜……我好难过，我好想哭。"
    assert tone_of(ends + "这本书一共三百页。" * 20_000 + ends) == tone_of(ends + "这本书一共三百页。" * 20 + ends)
    middle = "呜呜，我好难过，眼泪停不下来。" * 40
    plain = "这本书一共三百页。" * MOST
    assert tone_of(plain + middle + plain) == tone_of(plain) == CALM


def test_any_text_has_a_feeling() -> None:
    chance = random.Random(7)
    letters = "你我她笑哭哼！？，。…、（）*\n\0\ud83d\ue003aé𠮷ーあ"
    for _ in range(400):
        assert tone_of("".join(chance.choices(letters, k=chance.randint(0, 60)))) in FEELINGS


def test_signs_are_counted_beside_the_characters() -> None:
    assert set(marked("我、我才没有！")) - set("我、才没有！") == {"\ue000", "\ue001", "\ue002"}
    assert "\ue003" in marked("什么？！")
    assert "\ue004" in marked("“哇，好大”")
    assert "\ue005" in marked("（脸红）你好")
    assert grams("猫猫") == {"猫": 2, "猫猫": 1}


def test_the_labels_are_of_answers_that_are_there(rows: list[Labelled]) -> None:
    """A row that was changed has to be read and labelled again."""
    import json

    told = json.loads(LABELS.read_text(encoding="utf-8"))
    assert len(rows) == len(told["labels"]) + sum(map(len, told["written"].values()))
    assert {row.feeling for row in rows} == set(FEELINGS) == set(told["written"])
    assert len({row.text for row in rows}) == len(rows)
    assert sum(not row.written for row in rows) >= 1000
    held = sum(row.held_out for row in rows) / len(rows)
    assert abs(held - 1 / HELD_OUT) < 0.04


def test_what_ships_is_small_and_made_by_the_command(rows: list[Labelled], tmp_path: Path) -> None:
    assert WEIGHTS.stat().st_size < 200_000
    made = fit([row for row in rows if not row.held_out])
    write(made, tmp_path / "model.safetensors")
    again, ships = Tone.load(tmp_path / "model.safetensors"), Tone.load()
    assert again.places == ships.places
    np.testing.assert_allclose(again.weights, ships.weights, atol=0.02)
    said = [row.text for row in rows if row.held_out]
    right = [int(made.scores(one).argmax()) == int(ships.scores(one).argmax()) for one in said]
    assert sum(right) / len(right) > 0.98, "half precision, and another machine's arithmetic, change next to nothing"


def test_the_classifier_is_what_its_library_says(rows: list[Labelled]) -> None:
    """numpy alone gives the decisions of the pipeline that was fitted."""
    from sklearn.multiclass import OneVsRestClassifier

    from anime_ai.training.style import classifier

    some = [row for row in rows if not row.held_out][::4]
    counting, regression = classifier(0, max(LENGTHS), RAREST, preprocessor=marked)
    fitted = OneVsRestClassifier(regression).fit(
        counting.fit_transform([row.text for row in some]), [FEELINGS.index(row.feeling) for row in some]
    )
    tone = fit(some)
    said = [row.text for row in rows if row.held_out][:60]
    ours = np.stack([tone.scores(one) for one in said])
    np.testing.assert_allclose(ours, fitted.decision_function(counting.transform(said)), atol=1e-4)


def test_the_figures_are_those_of_what_was_held_out(rows: list[Labelled]) -> None:
    trained = [row for row in rows if not row.held_out]
    held = [row for row in rows if row.held_out and not row.written]
    found = figures(Tone.load(), trained, held)
    assert found.right > found.common + 0.25
    assert found.f1 > max(found.common_f1, found.hers_f1)
    card = WEIGHTS.with_name("README.md").read_text(encoding="utf-8")
    assert f"| {found.count} | {found.right:.3f} | {found.f1:.3f} |" in card, "make it again, the figures moved"


def test_macro_f1_is_the_mean_over_the_feelings() -> None:
    true, told = ["a", "a", "b", "c"], ["a", "b", "b", "a"]
    assert accuracy(true, told) == 0.5
    assert macro_f1(true, told) == pytest.approx((0.5 + 2 / 3 + 0) / 3)
    assert macro_f1(["a"], ["b"]) == 0.0
