"""The macros of cards: known ones filled, random ones fixed by the conversation, unknown ones untouched."""

from __future__ import annotations

import random

import pytest

from anime_ai.persona.macros import Macros, hidden_keys

HER = Macros("小花", "你", "conversation", "原来的")


@pytest.mark.parametrize(
    ("written", "filled"),
    [
        ("{{char}}和{{user}}", "小花和你"),
        ("{{ CHAR }}{{User}}", "小花你"),
        ("<USER>与<BOT>、<char>", "你与小花、小花"),
        ("{{// 只给作者看}}早", "早"),
        ("{{comment: x}}早", "早"),
        ("{{hidden_key:猫}}早", "早"),
        ("{{reverse:一二三}}", "三二一"),
        ("{{original}}。", "原来的。"),
        ("{{random:}}", ""),
        ("{{pick:一}}", "一"),
        ("{{roll:1}}", "1"),
        ("{{roll:d1}}", "1"),
        ("{{roll:3d1+2}}", "5"),
        ("{{time}} {{getvar::x}} {{unknown:a,b}}", "{{time}} {{getvar::x}} {{unknown:a,b}}"),
        ("{{unknown:{{char}}}}", "{{unknown:小花}}"),
        ("{{roll:d}} {{roll:0}}", "{{roll:d}} {{roll:0}}"),
        ("{{char", "{{char"),
        ("}}{{", "}}{{"),
        ("{char}", "{char}"),
        ("{{random:{{char}}}}", "小花"),
        ("{{random:a\\,b}}", "a,b"),
    ],
)
def test_what_a_macro_becomes(written: str, filled: str) -> None:
    assert HER.fill(written) == filled


def test_what_a_macro_is_filled_with_is_not_read_again() -> None:
    assert Macros("{{user}}<USER>", "{{char}}").fill("{{char}}|{{user}}") == "{{user}}<USER>|{{char}}"


def test_random_macros_are_fixed_per_conversation() -> None:
    text = "{{random:a,b,c,d,e,f,g,h}}{{random::i::j::k::l}}{{roll:20}}{{pick:m,n,o,p}}"
    assert HER.fill(text) == Macros("小花", "你", "conversation").fill(text)
    assert len({Macros("小花", "你", str(seed)).fill(text) for seed in range(50)}) > 20


def test_a_pick_is_the_same_everywhere_and_a_random_one_is_drawn_anew() -> None:
    picks = HER.fill("{{pick:a,b,c,d,e,f,g,h}}" * 20)
    assert len(set(picks)) == 1
    drawn = HER.fill("{{random:a,b,c,d,e,f,g,h}}" * 40)
    assert len(set(drawn)) > 3


def test_dice_stay_on_their_sides_and_reach_all_of_them() -> None:
    rolled = [int(Macros("", "", str(seed)).fill("{{roll:d6}}")) for seed in range(300)]
    assert set(rolled) == set(range(1, 7))
    assert {int(Macros("", "", str(seed)).fill("{{roll:2d6}}")) for seed in range(500)} == set(range(2, 13))
    assert {int(Macros("", "", str(seed)).fill("{{roll:20}}")) for seed in range(900)} == set(range(1, 21))


def test_hidden_keys_are_told_to_the_lorebook_alone() -> None:
    assert hidden_keys("早{{hidden_key: 猫 }}{{HIDDEN_KEY:狗}}") == ("猫", "狗")


@pytest.mark.parametrize("seed", range(200))
def test_any_text_can_be_filled(seed: int) -> None:
    chance = random.Random(seed)
    parts = ("{{", "}}", "char", "user", ":", "random", "pick", "roll", "a,b", "//", "\ud800", "<USER>", "猫", "\\,")
    text = "".join(chance.choice(parts) for _ in range(chance.randint(0, 40)))
    assert HER.fill(text) == HER.fill(text)
    if "{{" not in text and "<" not in text:
        assert HER.fill(text) == text


def test_macros_inside_macros_end() -> None:
    deep = "{{random:" * 3000 + "x" + "}}" * 3000
    assert HER.fill(deep).count("x") == 1
