"""Conversations written as turns: the roles' names, what is in order, and what is wrong with the rest.

Knows neither columns nor files. A place is where a turn stood in its record, "conversations[2]", for a problem to name.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from anime_ai.dataset.rows import Problem

USER, HER, SYSTEM, TOOL = "user", "assistant", "system", "tool"
ROLES = {
    **dict.fromkeys(("user", "human", "prompter", "customer", "用户", "人类", "ユーザー"), USER),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model", "ai", "char", "character", "助手", "角色"), HER),
    **dict.fromkeys(("system", "developer", "系统"), SYSTEM),
    **dict.fromkeys(("tool", "function", "function_call", "observation", "ipython"), TOOL),
}
"""Names of roles in the wild. What a tool was asked and said is no dialogue of a character."""


@dataclass(frozen=True)
class Turn:
    """What somebody said: one of USER, HER, SYSTEM, TOOL, and where it stood, for a problem to name it."""

    role: str
    text: str
    place: str


@dataclass(frozen=True)
class Talk:
    """A conversation in order: what the system said first, pairs of what the user and she said, and notes' keys."""

    system: str
    pairs: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def arrange(turns: Sequence[Turn], number: int) -> Talk | Problem:
    """Turns as pairs of what the user and she said. Two of the same in a row are one: their texts are joined by a line
    break, which a note says. Every other disorder is a problem that names the turn."""
    if not turns:
        return Problem(number, "-", "no_turns")
    groups: list[list[Turn]] = []
    for turn in turns:
        if not turn.text.strip():
            return Problem(number, turn.place, "blank")
        if groups and groups[-1][0].role == turn.role:
            groups[-1].append(turn)
        else:
            groups.append([turn])
    joined = [replace(group[0], text="\n".join(turn.text for turn in group)) for group in groups]
    notes = ("joined",) if len(joined) < len(turns) else ()
    system = joined.pop(0).text if joined[0].role == SYSTEM else ""
    for turn in joined:
        if turn.role == TOOL:
            return Problem(number, turn.place, "tool_turn")
        if turn.role == SYSTEM:
            return Problem(number, turn.place, "system_in_middle")
    if not joined or joined[-1].role == USER:
        return Problem(number, joined[-1].place if joined else turns[-1].place, "no_answer")
    if joined[0].role == HER:
        return Problem(number, joined[0].place, "assistant_first")
    said = [turn.text for turn in joined]
    return Talk(system, tuple(zip(said[::2], said[1::2], strict=True)), notes)


def worse_answer(turns: Sequence[Any], talk: Talk, number: int, column: str) -> str | Problem:
    """The last of the turns, where those before it are the same as those of the better answer."""
    read = read_turns(turns, column, number)
    if isinstance(read, Problem):
        return read
    if not read or read[-1].role != HER or not read[-1].text.strip():
        return Problem(number, column, "no_answer")
    if len(read) > 1:
        other = arrange(read, number)
        if isinstance(other, Problem):
            return other
        if (*other.pairs[:-1], other.pairs[-1][0]) != (*talk.pairs[:-1], talk.pairs[-1][0]):
            return Problem(number, column, "other_question")
    return read[-1].text


def read_turns(values: Sequence[Any], column: str, number: int) -> list[Turn] | Problem:
    """Turns out of {"from", "value"} as ShareGPT has them or {"role", "content"} as OpenAI has them, else the problem.

    A content may be a list of texts; one that holds a picture is none.
    """
    turns: list[Turn] = []
    for place, value in enumerate(values):
        where = f"{column}[{place}]"
        if not isinstance(value, dict):
            return Problem(number, where, "turn_shape")
        named = value.get("from", value.get("role"))
        said = value.get("value", value.get("content"))
        role = ROLES.get(named.strip().casefold()) if isinstance(named, str) else None
        if named is None or ("value" not in value and "content" not in value):
            return Problem(number, where, "turn_shape")
        if role is None:
            return Problem(number, where, "turn_role", {"role": str(named)[:40], "known": "user, assistant, system"})
        if value.get("tool_calls") or value.get("function_call"):
            role, said = TOOL, said or "-"
        if isinstance(said, list) and said and all(isinstance(one, dict) and one.get("type") == "text" for one in said):
            texts = [one.get("text") for one in said]
            said = "".join(texts) if all(isinstance(one, str) for one in texts) else None
        if not isinstance(said, str):
            return Problem(number, where, "not_text")
        turns.append(Turn(role, said, where))
    return turns


def opened(cell: Any) -> Any:
    """The turns that a text holds as JSON, as a table's cell does; anything else as it is."""
    if isinstance(cell, str) and cell.lstrip()[:1] == "[":
        with suppress(ValueError, RecursionError):
            value = json.loads(cell)
            if isinstance(value, list) and value and all(isinstance(one, dict) and _is_turn(one) for one in value):
                return value
    return cell


def _is_turn(value: dict[str, Any]) -> bool:
    return bool({"from", "role"} & value.keys()) and bool({"value", "content"} & value.keys())
