"""What a record of another project means: which of its columns is which of our fields.

A record is the value of one JSON object, table row or Parquet row. Knows nothing of bytes, files and encodings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from anime_ai.dataset.rows import Problem, Row, check_row
from anime_ai.dataset.turns import HER, SYSTEM, USER, arrange, opened, read_turns, worse_answer

MOST_HISTORY = 32
"""Earlier pairs that a row keeps where each answer is a row: with all of them a long chat would grow by its square."""
SHOWN_ROWS = 5
"""Row numbers that a note lists."""
BETWEEN = "\n\n"
"""What stands between an instruction and its input; an instruction's own line breaks are nearly always single ones."""
_LISTS = ("conversations", "messages", "conversation", "dialogue", "dialog", "turns")
_NAMES: dict[str, tuple[str, ...]] = {
    "input": ("input", "prompt", "question", "query", "user", "human", "ask", "instruction")
    + ("用户", "用户说", "提问", "问题", "问", "输入", "質問", "ユーザー", "入力"),
    "output": ("output", "response", "answer", "completion", "reply", "assistant", "bot", "target")
    + ("她说", "她的回答", "回答", "答案", "回复", "答", "输出", "返事", "応答", "出力"),
    "persona": ("persona", "character", "角色", "人物", "人设", "キャラクター"),
    "history": ("history", "历史", "履歴"),
    "inner": ("inner", "thought", "inner_monologue", "内心", "内心独白", "心の声"),
    "system": ("system", "system_prompt", "系统提示", "システム"),
    "rejected": ("rejected", "rejected_response", "worse", "差的回答", "拒绝"),
    "tags": ("tags", "标签", "タグ"),
    "draft": ("draft", "草稿"),
}
"""Names of columns, the likeliest first; our own name is the first of all."""


@dataclass(frozen=True)
class Note:
    """What was done with a file, or could not be kept of it: a text key under "dataset.note." and its values.

    `rows` are the numbers of the records that it is about, empty where it is about all.
    """

    key: str
    values: tuple[tuple[str, Any], ...] = ()
    rows: tuple[int, ...] = ()

    def say(self, language: str | None = None) -> str:
        from anime_ai.texts import text

        values = {name: value.say(language) if hasattr(value, "say") else value for name, value in self.values}
        said = text(f"dataset.note.{self.key}", language, **values)
        if not self.rows:
            return said
        shown = ", ".join(map(str, self.rows[:SHOWN_ROWS])) + ("…" if len(self.rows) > SHOWN_ROWS else "")
        return text("dataset.note.of_rows", language, note=said, rows=shown, count=len(self.rows))


@dataclass(frozen=True)
class Mapping:
    """The column that each of our fields is read from, "" for none.

    Where `input` or `output` holds a list of turns, the turns give input, output and history. The text of `more`
    follows that of `input`, as Alpaca's `input` follows its `instruction`.
    """

    input: str = ""
    output: str = ""
    persona: str = ""
    history: str = ""
    inner: str = ""
    system: str = ""
    rejected: str = ""
    tags: str = ""
    draft: str = ""
    more: str = ""

    def columns(self) -> tuple[str, ...]:
        """The columns that are read, each once."""
        return tuple(dict.fromkeys(column for column in vars(self).values() if column))


@dataclass(frozen=True)
class Converted:
    """The rows of one record, or why it has none, and the keys of the notes that it is worth."""

    rows: tuple[Row, ...] = ()
    problem: Problem | None = None
    notes: tuple[str, ...] = ()


def propose(columns: Sequence[str], records: Iterable[Any]) -> tuple[str, Mapping]:
    """The format ("rows", "alpaca", "sharegpt", "messages", "preference", "table") and what its columns likely are.

    `records` are some of the file's, looked at where a column's name does not say what it holds. In a "table" fields
    may be without a column: then somebody has to say which they are.
    """
    known = {column.strip().casefold(): column for column in reversed(columns)}
    some = [record for record in records if isinstance(record, dict)]
    found = {name: next((known[one] for one in names if one in known), "") for name, names in _NAMES.items()}
    mapping = Mapping(**found)
    turns = next((known[one] for one in _LISTS if one in known and _style(some, known[one])), "")
    chosen = known.get("chosen", "")
    if chosen and mapping.rejected:
        return "preference", replace(_prompted(mapping, known, turns), output=chosen)
    if turns:
        mapping = replace(_prompted(mapping, known, turns), output="")
        return ("preference" if mapping.rejected else _style(some, turns)), mapping
    if "instruction" in known:
        return "alpaca", _prompted(mapping, known, "")
    exact = mapping.input == "input" and mapping.output == "output"
    return ("rows" if exact else "table"), mapping


def _prompted(mapping: Mapping, known: dict[str, str], turns: str) -> Mapping:
    """The mapping where what is asked stands in turns, or in an instruction with or without an input."""
    if turns or "instruction" not in known:
        return replace(mapping, input=turns or mapping.input)
    return replace(mapping, input=known["instruction"], more=known.get("input", ""))


def _style(records: Sequence[dict[str, Any]], column: str) -> str:
    """How the turns of a column are written, "" where there are none."""
    for record in records:
        turns = opened(record.get(column))
        if isinstance(turns, list) and turns and isinstance(turns[0], dict):
            if "from" in turns[0] or "role" in turns[0]:
                return "sharegpt" if "from" in turns[0] else "messages"
    return ""


def convert(record: Any, number: int, mapping: Mapping, persona: str = "", each_answer: bool = False) -> Converted:
    """The rows of record `number` (from 1) under a mapping; `persona` is that of rows which name none.

    A conversation is one row, whose last answer is `output`, or with `each_answer` as many rows as it has answers.
    """
    if not isinstance(record, dict):
        return Converted(problem=Problem(number, "-", "not_object"))
    cells = {name: record.get(column) if column else None for name, column in vars(mapping).items()}
    value = {name: cells[name] for name in ("persona", "inner", "system")}
    if isinstance(value["system"], str):
        value["system"] = value["system"].strip()
    value["tags"] = _listed(cells["tags"])
    value["draft"] = _yes_or_no(cells["draft"])
    asked = _asked(cells, mapping)
    answered, worse = _answers(cells, mapping)
    if isinstance(asked, list) or isinstance(answered, list):
        pairs = _pairs((asked, answered, worse), value, number, mapping)
        if isinstance(pairs, Converted):
            return pairs
        return spread(value, pairs[0], number, persona, each_answer, pairs[1])
    for name in ("input", "output"):
        if getattr(mapping, name) not in record:
            return Converted(problem=Problem(number, getattr(mapping, name) or name, "missing"))
    if isinstance(worse, list):
        turns = read_turns(worse, mapping.rejected, number)
        if isinstance(turns, Problem):
            return Converted(problem=turns)
        worse = turns[-1].text if turns else None
    value.update(input=asked, output=answered, rejected=worse, history=_listed(cells["history"]))
    checked = check_row(value, number, persona)
    if isinstance(checked, Problem):
        return Converted(problem=replace(checked, field=getattr(mapping, checked.field, "") or checked.field))
    return Converted((checked,))


def _asked(cells: dict[str, Any], mapping: Mapping) -> Any:
    asked, more = _turns_of(cells["input"], mapping.input), cells["more"]
    if not (isinstance(more, str) and more.strip()) or not isinstance(asked, str):
        return asked
    return asked + BETWEEN + more if asked.strip() else more


def _pairs(
    talk: tuple[Any, Any, Any], value: dict[str, Any], number: int, mapping: Mapping
) -> Converted | tuple[Sequence[tuple[str, str]], tuple[str, ...]]:
    """The pairs of a conversation and the notes on it. Puts its system and its worse answer into `value`.

    `talk`: what was asked, the answer and the worse answer, each a list of turns, a text or None. An answer that begins
    with a question is the whole conversation, as Hugging Face's preference sets have it.
    """
    asked, answered, worse = talk
    parts = [(asked, mapping.input, USER), (answered, mapping.output, HER)]
    if isinstance(answered, list):
        turns = read_turns(answered, mapping.output, number)
        if isinstance(turns, list) and turns and turns[0].role in (USER, SYSTEM):
            parts = parts[1:]
    turns = []
    for said, column, role in parts:
        if said is None:
            continue
        more = read_turns(said if isinstance(said, list) else [{"role": role, "content": said}], column, number)
        if isinstance(more, Problem):
            return Converted(problem=more)
        turns.extend(more)
    ordered = arrange(turns, number)
    if isinstance(ordered, Problem):
        return Converted(problem=ordered)
    if worse:
        worst = worse if isinstance(worse, list) else [{"role": HER, "content": worse}]
        last = worse_answer(worst, ordered, number, mapping.rejected)
        if isinstance(last, Problem):
            return Converted(problem=last)
        value["rejected"] = last
    notes = ordered.notes + (("two_systems",) if ordered.system and value["system"] else ())
    value["system"] = value["system"] or ordered.system
    return ordered.pairs, notes


def spread(
    value: dict[str, Any],
    pairs: Sequence[tuple[str, str]],
    number: int,
    persona: str,
    each_answer: bool,
    notes: tuple[str, ...] = (),
) -> Converted:
    """One row of the last of `pairs`, or a row of each. `value` holds the other fields, of which `inner` and `rejected`
    are those of the last answer."""
    rows: list[Row] = []
    for end in range(1 if each_answer else len(pairs), len(pairs) + 1):
        said, answer = pairs[end - 1]
        start = max(0, end - 1 - MOST_HISTORY) if each_answer else 0
        before = pairs[start : end - 1]
        if start:
            notes = tuple(dict.fromkeys((*notes, "history_cut")))
        only_last = {} if end == len(pairs) else {"inner": "", "rejected": ""}
        row = {**value, "input": said, "output": answer, "history": [list(pair) for pair in before], **only_last}
        checked = check_row(row, number, persona)
        if isinstance(checked, Problem):
            return Converted(problem=checked)
        rows.append(checked)
    return Converted(tuple(rows), notes=notes)


def _turns_of(cell: Any, column: str) -> Any:
    """A list of turns where the cell holds one, as values or, in a table, written as JSON; else the cell."""
    if isinstance(cell, dict):
        return [cell]
    return opened(cell) if column.strip().casefold() in (*_LISTS, "prompt") else cell


def _answers(cells: dict[str, Any], mapping: Mapping) -> tuple[Any, Any]:
    """The better and the worse answer, each as `_turns_of` has them. Texts are turns only where both are: an answer may
    quote such a thing."""
    better, worse = _turns_of(cells["output"], mapping.output), _turns_of(cells["rejected"], mapping.rejected)
    if mapping.output.strip().casefold() == "chosen" and isinstance(better, str) and isinstance(worse, str):
        both = opened(better), opened(worse)
        if isinstance(both[0], list) and isinstance(both[1], list):
            return both
    return better, worse


def _listed(cell: Any) -> Any:
    """A list that a table's cell holds written as JSON; any other cell as it is, for `check_row` to judge."""
    if isinstance(cell, str) and not cell.strip():
        return None
    if isinstance(cell, str) and cell.lstrip()[:1] == "[":
        with suppress(ValueError, RecursionError):
            return json.loads(cell)
    return cell


def _yes_or_no(cell: Any) -> Any:
    if isinstance(cell, str):
        return {
            "": None,
            "true": True,
            "1": True,
            "yes": True,
            "是": True,
            "false": False,
            "0": False,
            "no": False,
        }.get(cell.strip().casefold(), cell)
    return cell
