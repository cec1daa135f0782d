"""What the dataset tab's handlers answer, and what its page sends them, by names."""

from __future__ import annotations

from typing import Any

from anime_ai.dataset.pages import Filter

EVIL = '<img src=x onerror="alert(1)"> ${alert(1)} {{constructor}}'


SHOWN = ("dataset", "persona", "tag", "source", "grid", "number", "pager", "undo", "redo", "picked", "exports")
EDITOR = (
    *("state", "input", "output", "persona", "inner", "history", "system", "rejected", "tags", "draft"),
    *("talk", "conflict", "resolving"),
)


def told(answer: list[Any], *more: str) -> dict[str, Any]:
    """A handler's updates by the names of what they update."""
    names = [*SHOWN, *(f"editor.{name}" for name in EDITOR), *more]
    return dict(zip(names, answer, strict=False))


def view(dataset: str, number: Any = 1, picked: Any = (), **wanted: str) -> list[Any]:
    """What the page sends: the picked rows, the dataset, the page's number, and the filters."""
    chosen = Filter(**wanted)
    filters = [chosen.search, chosen.persona, chosen.tag, chosen.status, chosen.source, chosen.sort]
    return [list(picked), dataset, number, *filters]
