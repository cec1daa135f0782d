"""World book files: V3's `lorebook_v3`, a bare `character_book`, SillyTavern's world file. Knows no matching.

Kept is a book as a V3 card holds one. What SillyTavern has beyond that stands in each entry's `extensions`, under the
names that SillyTavern itself gives it there when it packs a world into a card.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from anime_ai.persona.card import Mend, book_of, check_depth

EXTENSIONS = {
    "position": "position",
    "excludeRecursion": "exclude_recursion",
    "preventRecursion": "prevent_recursion",
    "delayUntilRecursion": "delay_until_recursion",
    "probability": "probability",
    "useProbability": "useProbability",
    "depth": "depth",
    "selectiveLogic": "selectiveLogic",
    "role": "role",
    "scanDepth": "scan_depth",
    "caseSensitive": "case_sensitive",
    "matchWholeWords": "match_whole_words",
    "group": "group",
    "displayIndex": "display_index",
    "sticky": "sticky",
    "cooldown": "cooldown",
    "delay": "delay",
    "vectorized": "vectorized",
}
"""SillyTavern's name in a world file: its name in a card."""
FIELDS = {
    "key": "keys",
    "keysecondary": "secondary_keys",
    "comment": "comment",
    "content": "content",
    "constant": "constant",
    "selective": "selective",
    "order": "insertion_order",
    "uid": "id",
}


def is_world(value: Any) -> bool:
    """Whether a JSON value is a world book of a kind that is known here."""
    if not isinstance(value, dict):
        return False
    data = value.get("data")
    inside = data if isinstance(data, dict) else value
    return isinstance(inside.get("entries"), (dict, list))


def world_of(value: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Mend, ...]]:
    """A book's JSON out of a world file's, and what was mended. Raises PersonaError for too many entries, and
    for what is nested too deeply."""
    check_depth(value)
    whole: dict[str, Any] = copy.deepcopy(dict(value))
    data = whole.get("data")
    inside: dict[str, Any] = data if isinstance(data, dict) else whole
    entries = inside["entries"]
    told = list(entries.values()) if isinstance(entries, dict) else entries
    inside["entries"] = [_from_silly(one) if _is_silly(one) else one for one in told]
    for name in ("scan_depth", "token_budget", "recursive_scanning"):
        silly = {"scan_depth": "scanDepth", "token_budget": "tokenBudget", "recursive_scanning": "recursiveScanning"}
        if silly[name] in inside and name not in inside:
            inside[name] = inside.pop(silly[name])
    return book_of(inside)


def world_file(book: Mapping[str, Any]) -> dict[str, Any]:
    """A book as a file: V3's form, which SillyTavern reads too."""
    return {"spec": "lorebook_v3", "data": copy.deepcopy(dict(book))}


def _is_silly(entry: Any) -> bool:
    return isinstance(entry, dict) and "key" in entry and "keys" not in entry


def _from_silly(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of a SillyTavern world as one of a card; fields that neither knows stay."""
    made: dict[str, Any] = {new: entry.pop(old) for old, new in FIELDS.items() if old in entry}
    extensions = entry.pop("extensions", None)
    made["extensions"] = extensions if isinstance(extensions, dict) else {}
    for old, new in EXTENSIONS.items():
        if old in entry:
            made["extensions"].setdefault(new, entry.pop(old))
    disabled = entry.pop("disable", False)
    made["enabled"] = str(disabled).lower() not in ("true", "1")
    made["position"] = "before_char" if made["extensions"].get("position", 0) == 0 else "after_char"
    return {**entry, **made}
