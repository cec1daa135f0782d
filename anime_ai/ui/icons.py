"""Small signs of the buttons, drawn in lines of the text's own colour. Knows no button."""

from __future__ import annotations

DRAWN = {
    "copy": "M9 9h10v11H9z M5 15V4h10",
    "edit": "M4 20l1-4L16 5l3 3L8 19z",
    "again": "M20 12a8 8 0 1 1-2.5-5.8 M20 3v5h-5",
    "go_on": "M4 12h12 M12 7l5 5-5 5 M20 6v12",
    "branch": "M7 5v14 M7 15c0-5 10-3 10-8 M14 8l3-3 3 3",
    "delete": "M5 7h14 M10 7V4h4v3 M7 7l1 13h8l1-13",
    "undo": "M9 7L4 12l5 5 M4 12h10a5 5 0 0 1 0 8h-3",
    "up": "M7 11v9H4v-9z M7 11l4-8c2 0 3 1 2.5 3L13 9h6l-1.5 11H7",
    "down": "M7 13V4H4v9z M7 13l4 8c2 0 3-1 2.5-3L13 15h6L17.5 4H7",
    "pin": "M9 4h6l-1 7 3 3H7l3-3z M12 14v6",
    "rename": "M4 20l1-4L16 5l3 3L8 19z",
    "export": "M12 4v11 M8 11l4 4 4-4 M5 20h14",
    "origin": "M10 4a6 6 0 1 1 0 12 6 6 0 0 1 0-12z M14.5 14.5L20 20 M8 10h4",
    "keep": "M5 12l5 5L19 7",
    "menu": "M4 7h16 M4 12h16 M4 17h16",
}
"""Paths in a square of 24."""


def icon(name: str) -> str:
    """The sign of a name in `DRAWN`, as inline SVG."""
    return f'<svg class="sign" viewBox="0 0 24 24" aria-hidden="true"><path d="{DRAWN[name]}"/></svg>'
