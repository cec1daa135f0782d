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
from anime_ai.chat.turns import Turn
from anime_ai.models.bases import Base
from anime_ai.persona.lorebook import Entry
from anime_ai.persona.placing import Place, place_of
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
