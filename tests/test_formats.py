"""What records of other projects mean: formats told by their columns, and turns in and out of order."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from anime_ai.dataset.formats import MOST_HISTORY, Mapping, Note, convert, propose
from anime_ai.dataset.rows import MAX_CELL, Problem, Row
from anime_ai.dataset.turns import arrange, read_turns
from anime_ai.texts import LANGUAGES


def share(*turns: tuple[str, str]) -> dict[str, Any]:
    return {"conversations": [{"from": who, "value": said} for who, said in turns]}


def chat(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": who, "content": said} for who, said in turns]


def rows_of(record: Any, **options: Any) -> tuple[Row, ...]:
    """The rows of one record as its own columns propose."""
    _, mapping = propose(list(record), [record])
    made = convert(record, 1, mapping, **options)
    assert made.problem is None, made.problem
    return made.rows


def problem_of(record: Any) -> Problem:
    _, mapping = propose(list(record) if isinstance(record, dict) else [], [record])
    made = convert(record, 7, mapping)
    assert made.rows == ()
    assert made.problem is not None
    assert made.problem.row == 7
    said = {made.problem.say(language) for language in LANGUAGES}
    assert len(said) == len(LANGUAGES)
    return made.problem


ASKED = [("user", "在吗"), ("assistant", "在。"), ("user", "冷吗")]
BOTH = {"chosen": "不冷。", "rejected": "不知道"}


@pytest.mark.parametrize(
    ("record", "format", "row"),
    [
        ({"input": "在吗", "output": "哼"}, "rows", Row("在吗", "哼")),
        (
            {"input": "a", "output": "b", "rejected": "c", "tags": ["d"]},
            "rows",
            Row("a", "b", rejected="c", tags=("d",)),
        ),
        ({"instruction": "译", "input": "", "output": "b"}, "alpaca", Row("译", "b")),
        ({"instruction": "译", "input": "a", "output": "b"}, "alpaca", Row("译\n\na", "b")),
        ({"instruction": "", "input": "a", "output": "b"}, "alpaca", Row("a", "b")),
        (
            {"instruction": "c", "input": "", "output": "d", "system": "你是店员", "history": [["a", "b"]]},
            "alpaca",
            Row("c", "d", history=(("a", "b"),), system="你是店员"),
        ),
        (share(("human", "a"), ("gpt", "b")), "sharegpt", Row("a", "b")),
        (
            share(("system", "s"), ("user", "a"), ("assistant", "b"), ("human", "c"), ("gpt", "d")),
            "sharegpt",
            Row("c", "d", history=(("a", "b"),), system="s"),
        ),
        ({**share(("human", "a"), ("chatgpt", "b")), "system": "s"}, "sharegpt", Row("a", "b", system="s")),
        (
            {"messages": chat(("developer", "s"), ("user", "a"), ("assistant", "b"))},
            "messages",
            Row("a", "b", system="s"),
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
                ]
                + chat(("assistant", "c"))
            },
            "messages",
            Row("ab", "c"),
        ),
        ({"prompt": "a", "response": "b"}, "table", Row("a", "b")),
        ({"问题": "a", "回答": "b", "角色": "傲娇"}, "table", Row("a", "b", "傲娇")),
        ({"Question ": "a", "ANSWER": "b"}, "table", Row("a", "b")),
        # preference pairs
        ({"instruction": "a", "input": "b", **BOTH}, "preference", Row("a\n\nb", "不冷。", rejected="不知道")),
        ({"prompt": "a", **BOTH}, "preference", Row("a", "不冷。", rejected="不知道")),
        (
            {
                **share(("human", "a")),
                "chosen": {"from": "gpt", "value": "b"},
                "rejected": {"from": "gpt", "value": "c"},
            },
            "preference",
            Row("a", "b", rejected="c"),
        ),
        (
            {"prompt": chat(*ASKED), "chosen": chat(("assistant", "b")), "rejected": chat(("assistant", "c"))},
            "preference",
            Row("冷吗", "b", history=(("在吗", "在。"),), rejected="c"),
        ),
        (
            {"chosen": chat(*ASKED, ("assistant", "b")), "rejected": chat(*ASKED, ("assistant", "c"))},
            "preference",
            Row("冷吗", "b", history=(("在吗", "在。"),), rejected="c"),
        ),
        (  # the question stands in both: it is asked once
            {
                "prompt": "a",
                "chosen": chat(("user", "a"), ("assistant", "b")),
                "rejected": chat(("user", "a"), ("assistant", "c")),
            },
            "preference",
            Row("a", "b", rejected="c"),
        ),
        (
            {"messages": chat(*ASKED, ("assistant", "b")), "rejected_response": "c"},
            "preference",
            Row("冷吗", "b", history=(("在吗", "在。"),), rejected="c"),
        ),
    ],
)
def test_a_format_is_told_by_its_columns(record: dict[str, Any], format: str, row: Row) -> None:
    assert propose(list(record), [record])[0] == format
    assert rows_of(record) == (row,)


def test_the_cells_of_a_table_may_hold_json() -> None:
    record = {"input": "c", "output": "d", "history": '[["a", "b"]]', "tags": '["x,y"]', "draft": "true"}
    assert rows_of(record) == (Row("c", "d", history=(("a", "b"),), tags=("x,y",), draft=True),)
    record = {"input": "c", "output": "d", "history": " ", "tags": "x、y", "draft": ""}
    assert rows_of(record) == (Row("c", "d", tags=("x", "y")),)
    assert rows_of({"messages": json.dumps(chat(("user", "[1]"), ("assistant", "b")))}) == (Row("[1]", "b"),)
    assert rows_of({"input": '[{"a": 1}]', "output": "[]"}) == (Row('[{"a": 1}]', "[]"),)
    assert rows_of({"prompt": '[{"a": 1}]', "response": "b"}) == (Row('[{"a": 1}]', "b"),)


@pytest.mark.parametrize(
    ("record", "key", "field"),
    [
        (5, "not_object", "-"),
        ({"input": "a", "output": " "}, "blank", "output"),
        ({"input": "a", "output": 5}, "not_text", "output"),
        ({"input": "a", "output": "b", "draft": "vielleicht"}, "not_yes_or_no", "draft"),
        ({"input": "a", "output": "b", "history": "[["}, "history_shape", "history"),
        ({"prompt": "a", "response": "b" * (MAX_CELL + 1)}, "too_long", "response"),
        ({"instruction": "", "input": "", "output": "b"}, "blank", "instruction"),
        (share(("gpt", "b"), ("human", "a"), ("gpt", "c")), "assistant_first", "conversations[0]"),
        (share(("human", "a"), ("system", "s"), ("gpt", "b")), "system_in_middle", "conversations[1]"),
        (share(("human", "a"), ("gpt", "b"), ("human", "c")), "no_answer", "conversations[2]"),
        (share(("system", "s")), "no_answer", "conversations[0]"),
        (share(("human", "a"), ("gpt", " ")), "blank", "conversations[1]"),
        (share(("human", "a"), ("narrator", "b")), "turn_role", "conversations[1]"),
        (
            share(("human", "a"), ("function_call", "{}"), ("observation", "1"), ("gpt", "b")),
            "tool_turn",
            "conversations[1]",
        ),
        (share(("human", "a"), ("gpt", "b\0")), "broken_text", "output"),
        ({"messages": [{"role": "user", "content": "a"}, "b"]}, "turn_shape", "messages[1]"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant"}]}, "turn_shape", "messages[1]"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": 5, "content": "b"}]}, "turn_role", "messages[1]"),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": None, "tool_calls": [1]}]},
            "tool_turn",
            "messages[1]",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}, {"role": "assistant", "content": "b"}]},
            "not_text",
            "messages[0]",
        ),
        ({"chosen": "a", "rejected": "b"}, "missing", "input"),
        ({"prompt": "a", "chosen": chat(("assistant", "b")), "rejected": chat(("user", "c"))}, "no_answer", "rejected"),
        (
            {
                "chosen": chat(("user", "a"), ("assistant", "b")),
                "rejected": chat(("user", "another"), ("assistant", "c")),
            },
            "other_question",
            "rejected",
        ),
    ],
)
def test_what_is_out_of_order_is_a_problem_with_its_place(record: Any, key: str, field: str) -> None:
    problem = problem_of(record)
    assert (problem.key, problem.field) == (key, field)


def test_a_conversation_without_turns() -> None:
    mapping = Mapping(input="conversations")
    made = convert({"conversations": []}, 3, mapping)
    assert made.problem == Problem(3, "-", "no_turns")
    made = convert({"conversations": "text"}, 3, mapping)
    assert made.problem
    assert made.problem.key == "missing"
    assert convert({}, 3, mapping).problem == Problem(3, "conversations", "missing")


def test_two_of_the_same_in_a_row_are_one_and_it_is_said() -> None:
    record = share(("system", "s"), ("system", "t"), ("human", "a"), ("human", "b"), ("gpt", "c"), ("gpt", "d"))
    made = convert(record, 1, Mapping(input="conversations"))
    assert made.rows == (Row("a\nb", "c\nd", system="s\nt"),)
    assert made.notes == ("joined",)
    made = convert(
        {**share(("system", "s"), ("human", "a"), ("gpt", "c")), "system": "t"},
        1,
        Mapping(input="conversations", system="system"),
    )
    assert made.rows == (Row("a", "c", system="t"),)
    assert made.notes == ("two_systems",)


def test_each_answer_may_be_a_row() -> None:
    turns = [("human", "a"), ("gpt", "b"), ("human", "c"), ("gpt", "d")]
    record = {**share(*turns, ("human", "e")), "chosen": {"from": "gpt", "value": "f"}, "rejected": "g", "inner": "h"}
    assert rows_of(record, each_answer=True) == (
        Row("a", "b"),
        Row("c", "d", history=(("a", "b"),)),
        Row("e", "f", history=(("a", "b"), ("c", "d")), rejected="g", inner="h"),
    )
    assert rows_of(record) == rows_of(record, each_answer=True)[-1:]
    long = share(*[(who, f"{who}{number}") for number in range(MOST_HISTORY + 9) for who in ("human", "gpt")])
    made = convert(long, 1, Mapping(input="conversations"), each_answer=True)
    assert max(len(row.history) for row in made.rows) == MOST_HISTORY
    assert made.rows[-1].history[-1] == (f"human{MOST_HISTORY + 7}", f"gpt{MOST_HISTORY + 7}")
    assert made.notes == ("history_cut",)
    assert len(convert(long, 1, Mapping(input="conversations")).rows[0].history) == MOST_HISTORY + 8


def test_a_mapping_is_applied_as_it_is_given() -> None:
    record = {"q": "a", "a": "b", "who": "傲娇", "label": "x;y"}
    assert propose(list(record), [record]) == ("table", Mapping())
    mapping = Mapping(input="q", output="a", persona="who", tags="label")
    assert convert(record, 1, mapping).rows == (Row("a", "b", "傲娇", tags=("x", "y")),)
    assert convert({**record, "who": None}, 1, mapping, "默认").rows[0].persona == "默认"
    assert mapping.columns() == ("q", "a", "who", "label")


def test_any_order_of_turns_ends_in_rows_or_a_problem_and_loses_nothing() -> None:
    rng = random.Random(5)
    for _ in range(2_000):
        roles = [rng.choice(("user", "assistant", "system", "tool", "gpt", "?")) for _ in range(rng.randint(0, 6))]
        values: list[Any] = [{"role": role, "content": rng.choice(("", "x", f"t{n}"))} for n, role in enumerate(roles)]
        turns = read_turns(values, "messages", 1)
        talk = turns if isinstance(turns, Problem) else arrange(turns, 1)
        if isinstance(talk, Problem):
            talk.say("zh")
            continue
        said = "\n".join(value["content"] for value in values)
        kept = [talk.system] * bool(talk.system) + [one for pair in talk.pairs for one in pair]
        assert "\n".join(kept) == said


def test_control_tokens_and_markup_stay_as_they_are() -> None:
    for text in (
        "<|im_start|>system",
        "<think>x</think>",
        "<｜User｜>",
        "<img src=x onerror=alert(1)>",
        "\u202e\u200bx",
        "=1+1",
    ):
        assert rows_of(share(("human", text), ("gpt", text))) == (Row(text, text),)


def test_a_note_says_where_in_every_language() -> None:
    note = Note("joined", rows=tuple(range(1, 9)))
    assert "1, 2, 3, 4, 5…" in note.say("zh")
    assert "8" in note.say("zh")
    assert len({note.say(language) for language in LANGUAGES}) == 3
    assert "a, b" in Note("ignored", (("columns", "a, b"),)).say("en")
