"""What is wrong with a page as it stands: room, names, contrast, the keyboard's way, targets for a finger.

Sources: WCAG 2.2, success criteria 1.4.3, 1.4.10, 2.1.1, 2.4.7, 2.5.8 and 4.1.2; the names are those that Chromium
itself computes for a screen reader.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

SAID = (
    *(
        "button",
        "link",
        "textbox",
        "searchbox",
        "combobox",
        "listbox",
        "option",
        "checkbox",
        "radio",
        "switch",
        "slider",
    ),
    *("spinbutton", "tab", "menuitem", "img", "image", "meter", "progressbar", "DisclosureTriangle"),
)
"""Roles that have to be called something."""
LOOK, KEYS = (Path(__file__).with_name(f"page_{name}.js").read_text(encoding="utf-8") for name in ("look", "keys"))


def audit(page: Any) -> list[str]:
    """Everything that is wrong with what the page shows now, a line each."""
    page.keyboard.press("Shift")  # what follows is the keyboard's: its focus has to be seen
    return [*page.evaluate(LOOK), *page.evaluate(KEYS), *nameless(page)]


def nameless(page: Any) -> list[str]:
    """Controls and pictures for which a screen reader has no words."""
    session = page.context.new_cdp_session(page)
    try:
        nodes = session.send("Accessibility.getFullAXTree")["nodes"]
        found = []
        for node in nodes:
            role = node.get("role", {}).get("value", "")
            if node.get("ignored") or role not in SAID or node.get("name", {}).get("value", "").strip():
                continue
            told = session.send("DOM.describeNode", {"backendNodeId": node["backendDOMNodeId"]})["node"]
            given = told.get("attributes", [])
            pairs = dict(zip(given[::2], given[1::2], strict=True))
            if told["localName"] == "svg" and "role" not in pairs:  # a sign beside words
                continue
            about = {key: value for key, value in pairs.items() if key in ("id", "class", "type", "data-testid", "src")}
            found.append(f"nameless {role}: {told['localName']} {about}")
        return found
    finally:
        session.detach()
