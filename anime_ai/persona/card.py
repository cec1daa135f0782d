"""A character card out of whatever JSON somebody has, and strictly back. Knows no file format and no database.

Kept is the JSON of a V3 card. V1, V2, Pygmalion and Gradio cards become one; a field of a wrong type is mended where
its meaning is plain, and that is told. What no specification knows stays as it is, in `extensions` and elsewhere.
Specifications: character-card-spec-v2, https://github.com/malfoyslastname/character-card-spec-v2; V3,
https://github.com/kwaroran/character-card-spec-v3
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from anime_ai.errors import PersonaError
from anime_ai.texts import text

SPEC, VERSION = "chara_card_v3", "3.0"
OLDER, OLDER_VERSION = "chara_card_v2", "2.0"
TEXTS = (
    *("name", "description", "personality", "scenario", "first_mes", "mes_example", "creator_notes"),
    *("system_prompt", "post_history_instructions", "creator", "character_version"),
)
LISTS = ("alternate_greetings", "tags", "group_only_greetings")
FLAT = ("name", "description", "personality", "scenario", "first_mes", "mes_example")
"""All that a V1 card has, at its top."""
OTHERS = (
    # Pygmalion and its web interface
    {
        "char_name": "name",
        "char_persona": "description",
        "world_scenario": "scenario",
        "char_greeting": "first_mes",
        "example_dialogue": "mes_example",
    },
    # Gradio: text-generation-webui
    {"name": "name", "context": "description", "greeting": "first_mes", "example_dialogue": "mes_example"},
)
"""Other programs' names of the fields; the first two tell the format."""
ENTRY_LISTS = ("keys", "secondary_keys")
ENTRY_NUMBERS = ("insertion_order", "priority", "id")
ENTRY_SWITCHES = ("enabled", "constant", "selective", "case_sensitive", "use_regex")
ENTRY_TEXTS = ("content", "name", "comment")
NEEDED: dict[str, Callable[[], Any]] = {
    "keys": list,
    "content": str,
    "extensions": dict,
    "enabled": lambda: True,
    "insertion_order": lambda: 100,
}
"""Fields that every lorebook entry has, and what they are where they were not."""
BOOK_NUMBERS = ("scan_depth", "token_budget")
MOST_ENTRIES = 5_000
MOST_DEPTH = 100
_LONE = re.compile("[\0\ud800-\udfff]")
"""What no page shows and not every database takes."""
_YES, _NO = ("true", "yes", "1", "on"), ("false", "no", "0", "off", "")


@dataclass(frozen=True)
class Mend:
    """Something that was put right: the field, and the key of a text that says how."""

    field: str
    how: str

    def say(self, language: str | None = None) -> str:
        return text(f"persona.mend.{self.how}", language, field=self.field)


@dataclass(frozen=True)
class Card:
    """A V3 card. `value` is its JSON; nobody changes it, `changed` makes another one."""

    value: Mapping[str, Any]

    @property
    def data(self) -> Mapping[str, Any]:
        return self.value["data"]

    @property
    def name(self) -> str:
        return str(self.data["name"])

    @property
    def own(self) -> Mapping[str, Any]:
        """What this app adds to a card: `extensions.anime_ai`."""
        found = self.data["extensions"].get("anime_ai")
        return found if isinstance(found, dict) else {}

    @property
    def greetings(self) -> tuple[str, ...]:
        return tuple(one for one in (self.data["first_mes"], *self.data["alternate_greetings"]) if one.strip())

    @property
    def book(self) -> Mapping[str, Any] | None:
        return self.data.get("character_book")

    def changed(self, own: Mapping[str, Any] | None = None, **fields: Any) -> Card:
        """The card with other fields in `data`, and others in `extensions.anime_ai`; None takes a field away."""
        value = copy.deepcopy(dict(self.value))
        data = value["data"]
        if own:
            kept = {**self.own, **own}
            data["extensions"]["anime_ai"] = {name: one for name, one in kept.items() if one is not None}
        data.update(fields)
        for name in [name for name, one in fields.items() if one is None]:
            del data[name]
        return Card(value)

    def as_v2(self) -> dict[str, Any]:
        """The same card for programs that know no V3: they keep what they do not know."""
        return {**copy.deepcopy(dict(self.value)), "spec": OLDER, "spec_version": OLDER_VERSION}


def parse_json(content: str) -> Any:
    """Any JSON; NaN and Infinity, which are none, and what is as large become null. Raises PersonaError."""
    try:
        return json.loads(content, parse_constant=lambda name: None, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise PersonaError("persona.not_json", why=str(error)[:120]) from error


def _finite(written: str) -> float | None:
    found = float(written)
    return found if math.isfinite(found) else None


def dump_json(value: Any) -> bytes:
    """Strict JSON in UTF-8; escaped where a text cannot be encoded."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False).encode()


def is_card(value: Any) -> bool:
    """Whether a JSON value is a card of any kind, as far as its keys tell."""
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("data"), dict):
        return "entries" not in value["data"]
    if "entries" in value and "first_mes" not in value:
        return False
    return ("name" in value and bool({*FLAT[1:]} & value.keys())) or any(_is_other(value, names) for names in OTHERS)


def card_of(value: Any) -> tuple[Card, tuple[Mend, ...]]:
    """The card in a JSON value, and what had to be mended.

    Raises PersonaError for what is no card, holds nothing, or is nested too deeply.
    """
    mends: list[Mend] = []
    check_depth(value)
    if not is_card(value):
        raise PersonaError("persona.no_data")
    top, data = _parts(copy.deepcopy(value), mends)
    _mend_data(data, mends)
    if not data["name"].strip():
        data["name"] = str(data.get("nickname") or "").strip() or "?"
        mends.append(Mend("name", "no_name"))
    if not any(str(data[name]).strip() for name in TEXTS[1:] if name != "creator_notes") and not data.get(
        "character_book"
    ):
        raise PersonaError("persona.empty_card", name=data["name"][:40])
    return Card({**top, "spec": SPEC, "spec_version": VERSION, "data": data}), tuple(mends)


def book_of(value: Any) -> tuple[dict[str, Any], tuple[Mend, ...]]:
    """A lorebook's JSON as V3 has it, out of a `character_book`'s; `anime_ai.persona.worlds` knows files."""
    mends: list[Mend] = []
    return _book(copy.deepcopy(value), mends), tuple(mends)


def _parts(value: dict[str, Any], mends: list[Mend]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What stands at the top of a card, and its data."""
    if isinstance(value.get("data"), dict):
        data = value.pop("data")
        # SillyTavern writes the V1 fields above a V2 card once more; the data says what is true.
        for name in FLAT:
            older = value.pop(name, None)
            if name not in data and older is not None:
                data[name] = older
        return value, data
    for names in OTHERS:
        if _is_other(value, names):
            mends.append(Mend("-", "other_format"))
            return value, {new: value.pop(old) for old, new in names.items() if old in value}
    data = {name: value.pop(name) for name in (*TEXTS, *LISTS) if name in value}
    data |= {name: value.pop(name) for name in ("extensions", "character_book") if isinstance(value.get(name), dict)}
    return value, data


def _is_other(value: Mapping[str, Any], names: Mapping[str, str]) -> bool:
    first, second, *_ = names
    return first in value and second in value and "first_mes" not in value


def _mend_data(data: dict[str, Any], mends: list[Mend]) -> None:
    for name in TEXTS:
        data[name] = _text(data.get(name, ""), name, mends)
    for name in LISTS:
        data[name] = _texts(data.get(name, []), name, mends)
    for name in ("nickname",):
        if name in data:
            data[name] = _text(data[name], name, mends)
    if "source" in data:
        data["source"] = _texts(data["source"], "source", mends)
    for name in ("creation_date", "modification_date"):
        if name in data:
            _put(data, name, _number(data[name], name, mends))
    data["extensions"] = _object(data.get("extensions", {}), "extensions", mends)
    if "creator_notes_multilingual" in data:
        notes = _object(data["creator_notes_multilingual"], "creator_notes_multilingual", mends)
        data["creator_notes_multilingual"] = {
            language: _text(note, f"creator_notes_multilingual.{language}", mends) for language, note in notes.items()
        }
    if "assets" in data and not isinstance(data["assets"], list):
        mends.append(Mend("assets", "dropped"))
        del data["assets"]
    if data.get("character_book", 0) is None:
        del data["character_book"]
    if "character_book" in data:
        data["character_book"] = _book(data["character_book"], mends)


def _book(book: Any, mends: list[Mend]) -> dict[str, Any]:
    if isinstance(book, list):
        mends.append(Mend("character_book", "list_of_entries"))
        book = {"entries": book}
    book = _object(book, "character_book", mends)
    book["extensions"] = _object(book.get("extensions", {}), "character_book.extensions", mends)
    for name in ("name", "description"):
        if name in book:
            book[name] = _text(book[name], f"character_book.{name}", mends)
    for name in BOOK_NUMBERS:
        if name in book:
            _put(book, name, _number(book[name], f"character_book.{name}", mends))
    if "recursive_scanning" in book:
        found = _switch(book["recursive_scanning"], "character_book.recursive_scanning", mends)
        _put(book, "recursive_scanning", found)
    entries = book.get("entries", [])
    if isinstance(entries, dict):
        mends.append(Mend("character_book.entries", "numbered"))
        entries = list(entries.values())
    if not isinstance(entries, list):
        mends.append(Mend("character_book.entries", "dropped"))
        entries = []
    if len(entries) > MOST_ENTRIES:
        raise PersonaError("persona.too_many", count=len(entries), most=MOST_ENTRIES)
    whole = [one for one in entries if isinstance(one, dict)]
    if len(whole) < len(entries):
        mends.append(Mend("character_book.entries", "some_dropped"))
    book["entries"] = [_entry(one, f"character_book.entries[{place}]", mends) for place, one in enumerate(whole)]
    return book


def _entry(entry: dict[str, Any], where: str, mends: list[Mend]) -> dict[str, Any]:
    for name, empty in NEEDED.items():
        entry.setdefault(name, empty())
    mending: tuple[tuple[tuple[str, ...], Callable[[Any, str, list[Mend]], Any]], ...] = (
        (ENTRY_LISTS, _texts),
        (ENTRY_TEXTS, _text),
        (ENTRY_NUMBERS, _number),
        (ENTRY_SWITCHES, _switch),
        (("extensions",), _object),
    )
    for names, mend in mending:
        for name in names:
            if name == "id" and isinstance(entry.get("id"), str):  # V3 allows both
                continue
            if name in entry:
                _put(entry, name, mend(entry[name], f"{where}.{name}", mends))
                if name in NEEDED:
                    entry.setdefault(name, NEEDED[name]())
    position = entry.get("position")
    if position is not None and position not in ("before_char", "after_char"):
        # SillyTavern's number; its meaning is kept where SillyTavern itself looks for it.
        entry["extensions"].setdefault("position", position)
        entry["position"] = "after_char" if position in (1, "1") else "before_char"
        mends.append(Mend(f"{where}.position", "position"))
    return entry


def _put(target: dict[str, Any], name: str, value: Any) -> None:
    """Set a field, or take it away where nothing could be made of it."""
    if value is None:
        target.pop(name, None)
    else:
        target[name] = value


def _text(value: Any, field: str, mends: list[Mend]) -> str:
    if isinstance(value, str):
        whole = _LONE.sub("\ufffd", value)
        if whole != value:
            mends.append(Mend(field, "lone"))
        return whole
    if value is None:
        return ""
    mends.append(Mend(field, "text"))
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return "\n".join(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list, bool)) else str(value)


def _texts(value: Any, field: str, mends: list[Mend]) -> list[str]:
    if isinstance(value, list):
        return [_text(one, f"{field}[{place}]", mends) for place, one in enumerate(value) if one is not None]
    if value is None:
        return []
    mends.append(Mend(field, "list"))
    if isinstance(value, str) and field not in ("alternate_greetings", "group_only_greetings"):
        return [one.strip() for one in value.replace("，", ",").split(",") if one.strip()]
    if isinstance(value, dict):
        return [_text(one, field, mends) for one in value.values()]
    one = _text(value, field, [])
    return [one] if one.strip() else []


def _number(value: Any, field: str, mends: list[Mend]) -> int | float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if value is None:
        return None
    try:
        found = float(value.strip()) if isinstance(value, str) else float(value)
        whole = int(found)
    except (ValueError, TypeError, OverflowError):
        mends.append(Mend(field, "dropped"))
        return None
    mends.append(Mend(field, "number"))
    return whole if whole == found else found


def _switch(value: Any, field: str, mends: list[Mend]) -> bool | None:
    if isinstance(value, bool):
        return value
    if value is None:
        return None
    said = str(value).strip().lower()
    mends.append(Mend(field, "switch" if said in (*_YES, *_NO) else "dropped"))
    return said in _YES if said in (*_YES, *_NO) else None


def _object(value: Any, field: str, mends: list[Mend]) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    if value not in (None, [], ""):
        mends.append(Mend(field, "dropped"))
    return {}


def check_depth(value: Any) -> None:
    """Raise PersonaError for a value that is nested too deeply to be copied or written, without recursion."""
    deepest, level = 0, [value]
    while level:
        deepest += 1
        if deepest > MOST_DEPTH:
            raise PersonaError("persona.too_deep", most=MOST_DEPTH)
        level = [
            inner
            for one in level
            if isinstance(one, (dict, list))
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
