"""Entries of lorebooks that ask for a place: where they stand, in whose words, and that they stay there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ui_fakes import open_studio

from anime_ai.chat.lore import Blank, LoreBooks, as_json, as_text
from anime_ai.chat.model import to_dialogue
from anime_ai.chat.tree import Message
from anime_ai.chat.turns import How, Turn
from anime_ai.models.bases import Base
from anime_ai.persona.card import card_of
from anime_ai.persona.files import Found
from anime_ai.persona.lorebook import Entry
from anime_ai.persona.placing import Place, place_of
from anime_ai.persona.telling import Part, fitted, with_lore
from anime_ai.studio import Studio
from anime_ai.ui.persona_view import lore_lines

TALK = ("assistant", "user", "assistant", "user", "assistant", "user")
"""Her greeting, two exchanges, the question."""


@pytest.mark.parametrize(
    ("depth", "role", "expected"),
    [
        (None, "system", None),
        (1, "system", None),  # before the question: where all lore stands
        (1, "user", None),
        (0, "system", Place(0, "after", "user", "system")),
        (2, "system", Place(2, "after", "user", "system")),  # between a question and her answer to it
        (3, "user", Place(2, "before", "user", "user")),
        (4, "system", Place(4, "after", "user", "system")),
        (5, "system", Place(4, "before", "user", "system")),
        (6, "system", Place(4, "before", "user", "system")),  # above her greeting
        (99, "user", Place(4, "before", "user", "user")),
        (1, "assistant", Place(1, "after", "assistant", "assistant")),
        (2, "assistant", Place(1, "before", "assistant", "assistant")),
        (3, "assistant", Place(3, "after", "assistant", "assistant")),
        (6, "assistant", Place(5, "before", "assistant", "assistant")),
        (0, "assistant", Place(0, "after", "user", "assistant")),  # her answer is yet to come
    ],
)
def test_where_a_depth_and_a_role_put_an_entry(depth: int | None, role: str, expected: Place | None) -> None:
    assert place_of(Entry("1", "", "x", depth=depth, role=role), TALK) == expected


def test_a_first_question_has_nothing_of_hers_to_stand_in() -> None:
    asked = Entry("1", "", "x", depth=1, role="assistant")
    assert place_of(asked, ["user"]) == Place(0, "before", "user", "assistant")
    assert place_of(Entry("1", "", "x", depth=4), ["user"]) is None


def book(*contents: str) -> dict[str, Any]:
    entries = [
        {
            "keys": ["灯塔"],
            "content": one,
            "enabled": True,
            "insertion_order": place,
            "extensions": {},
            "name": one[-2:],
        }
        for place, one in enumerate(contents)
    ]
    return {"name": "海", "entries": entries, "extensions": {}}


@pytest.fixture
def studio(tmp_path: Path, base: Base) -> Iterator[Studio]:
    """A studio on a base that is not the starter, though as small: what a small model is told is asked elsewhere."""
    with open_studio(tmp_path, model_name=str(base.path)) as found:
        yield found


def line(*said: str) -> tuple[Message, ...]:
    roles = ("assistant", "user")
    return tuple(Message(str(place), roles[place % 2], words) for place, words in enumerate(said))


def test_entries_stand_where_the_book_wants_them_and_stay_there(studio: Studio) -> None:
    contents = (
        "@@depth 3\n甲",
        "@@depth 0\n@@role user\n乙",
        "@@depth 1\n@@role assistant\n丙",
        "@@depth 1\n丁",
        "戊",
    )
    studio.worlds.add(book(*contents), persona="傲娇")
    books = LoreBooks(studio.worlds)
    before = line("来了？", "早", "早什么早。", "吃了吗", "吃了。")
    found = books.look(None, Blank("傲娇", messages=before), "灯塔在哪", len, 4000)
    told = {hit.content: hit.place for hit in found.told}
    assert told == {
        "甲": Place(2, "before", "user", "system"),
        "乙": Place(0, "after", "user", "user"),
        "丙": Place(1, "after", "assistant", "assistant"),
        "丁": None,
        "戊": None,
    }
    kept = as_json(found)
    turn = Turn("灯塔在哪", as_text(found), before, lore=kept)

    def dialogue(turn: Turn) -> Any:
        values = turn.values("卡")
        return to_dialogue([*values["history"], *values["question"]])

    asked = dialogue(turn)
    assert asked.greeting == "来了？"
    assert (asked.history[0].user, asked.history[0].brought, asked.history[0].reply) == ("早", "", "早什么早。")
    assert (asked.history[1].user, asked.history[1].brought) == ("吃了吗", "【设定】甲")
    assert asked.history[1].reply == "吃了。\n\n丙"
    assert asked.question == "灯塔在哪\n\n【设定】乙"
    assert asked.brought == "【设定】戊\n【设定】丁"
    # A turn later all of it stands where it stood: the prompt has only grown.
    question = Message("q", "user", "灯塔在哪", meta={"brought": as_text(found), "lore": kept})
    later = dialogue(Turn("然后呢", "", (*before, question, Message("a", "assistant", "海边。"))))
    assert later.history[:2] == asked.history
    assert (later.history[2].user, later.history[2].brought) == (asked.question, asked.brought)
    notes = "\n".join(lore_lines(kept, "zh"))
    assert "往上第 2 条、你说的话之前" in notes
    assert "只有开头一处 system" in notes
    assert "往上第 1 条、她说的话末尾" in notes


def test_a_line_that_was_changed_since_and_nonsense_break_nothing() -> None:
    def place(back: int, side: str) -> dict[str, Any]:
        return {"back": back, "side": side, "role": "user", "wanted": "user"}

    hits = [
        {"content": "甲", "left_out": "", "place": place(9, "before")},
        {"content": "乙", "left_out": "", "place": place(1, "after")},
        {"content": "丙", "left_out": "budget", "place": place(0, "after")},
        {"content": "丁", "left_out": ""},
    ]
    values = Turn("灯塔在哪", "", line("来了？"), lore={"hits": hits}).values("卡")
    assert [one.content for one in (*values["history"], *values["question"])] == ["来了？", "灯塔在哪"]


def test_a_small_model_is_told_as_before(studio: Studio) -> None:
    studio.worlds.add(book("@@depth 4\n灯塔在月见港。"), persona="傲娇")
    found = LoreBooks(studio.worlds).look(None, Blank("傲娇"), "灯塔在哪里？", len, 4000, small=True)
    assert [hit.place for hit in found.told] == [None]
    assert as_text(found, small=True) == "【资料1】灯塔在月见港。"


def card_with(*contents: str) -> Found:
    entries = [{"keys": [], "constant": True, "content": one, "enabled": True} for one in contents]
    fields = {"name": "海棠", "description": "守塔人。", "scenario": "雨夜。", "character_book": {"entries": entries}}
    return Found(card_of({"spec": "chara_card_v3", "data": fields})[0])


def test_what_always_stands_by_a_part_of_the_card_stands_there_and_in_no_turn(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = studio.personas.add(
        card_with(
            "@@position before_desc\n塔在月见港。",
            "@@position after_desc\n{{char}}怕打雷。",
            "@@position personality\n嘴硬。",
            "@@position scenario\n灯坏了。",
            "@@position scenario\n@@activate_only_after 3\n船来了。",
            "没有位置。",
        ),
        "海棠.json",
    )
    monkeypatch.setattr(studio.chat, "_small", lambda base: False)
    talk = studio.conversations.start("owner", made.name)
    choice = studio.chat.choice("")
    _, values = studio.chat._asked(talk, Turn("在吗"), choice, How())
    lines = [line for line in values["card"].splitlines() if line][1:]
    assert lines == [
        "【设定】塔在月见港。",
        "守塔人。",
        "【设定】海棠怕打雷。",
        "【设定】嘴硬。",
        "场景：雨夜。",
        "【设定】灯坏了。",
    ]
    found = studio.chat.lore_of(talk, "在吗", choice)
    assert [hit.content for hit in found.told] == ["没有位置。"], "nothing is told twice"
    monkeypatch.setattr(studio.chat, "_small", lambda base: True)
    _, values = studio.chat._asked(talk, Turn("在吗"), choice, How())
    assert "设定" not in values["card"], "a small model's card is what it was"


def test_standing_lore_keeps_to_its_share_and_a_card_that_is_too_long_gives_up_its_examples_first() -> None:
    parts = (Part("description", "守塔人。"), Part("mes_example", "对话示例：\n用户：在吗\n你：在。"))
    told = with_lore(parts, {"before_desc": "【设定】塔。", "scenario": "【设定】灯。"})
    assert [one.field for one in told] == ["lore_before_desc", "description", "lore_scenario", "mes_example"]
    cut = fitted(told, len, 24)
    assert cut.text == "【设定】塔。\n\n守塔人。\n\n【设定】灯。"
    assert cut.dropped == ("mes_example",)


def test_a_book_beyond_the_share_of_lore_is_left_out(studio: Studio) -> None:
    long = [f"@@position after_desc\n{letter * 60}" for letter in "甲乙丙"]
    made = studio.personas.add(card_with(*long), "海棠.json")
    told = LoreBooks(studio.worlds).standing(made, "talk", len, 1000)
    assert told == {"after_desc": f"【设定】{'甲' * 60}\n【设定】{'乙' * 60}"}
