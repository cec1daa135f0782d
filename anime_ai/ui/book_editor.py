"""The editor of a lorebook, a card's or one of its own: its entries and what it says of all of them. Knows no store."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import gradio as gr

from anime_ai.errors import PersonaError
from anime_ai.texts import text
from anime_ai.ui.labels import label
from anime_ai.ui.page import chooser
from anime_ai.ui.persona_view import CHOOSE, entry_list

SWITCHES = ("enabled", "constant", "selective", "case_sensitive")
NUMBERS = ("insertion_order", "priority")
FIELDS = ("name", "keys", "secondary_keys", "content", *SWITCHES, *NUMBERS, "position")
POSITIONS = ("before_char", "after_char")
BOOK_NUMBERS = ("scan_depth", "token_budget")
MOST_TEXT = 20_000


def entry_of(book: Mapping[str, Any], place: int) -> Mapping[str, Any]:
    """Raises PersonaError for an entry that is not there."""
    entries = book.get("entries") or ()
    if not 0 <= place < len(entries):
        raise PersonaError("persona.no_entry")
    found: Mapping[str, Any] = entries[place]
    return found


def entry_changed(book: Mapping[str, Any], place: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """The book with an entry's fields as the editor has them; what the editor does not know stays."""
    made = copy.deepcopy(dict(book))
    entry = dict(entry_of(made, place))
    for name in ("keys", "secondary_keys"):
        lines = [one.strip() for one in str(values.get(name) or "").splitlines() if one.strip()]
        if lines != entry.get(name, []):
            entry[name] = lines
    for name in ("name", "content"):
        value = str(values.get(name) or "")[:MOST_TEXT]
        if value.replace("\r\n", "\n") != str(entry.get(name, "")).replace("\r\n", "\n"):
            entry[name] = value
    for name in SWITCHES:
        if bool(values.get(name)) != bool(entry.get(name)):
            entry[name] = bool(values.get(name))
    for name in NUMBERS:
        number = values.get(name)
        if isinstance(number, (int, float)) and not isinstance(number, bool) and number != entry.get(name):
            entry[name] = int(number)
    if values.get("position") in POSITIONS and values["position"] != entry.get("position", "before_char"):
        entry["position"] = values["position"]
        entry["extensions"] = {**entry.get("extensions", {}), "position": POSITIONS.index(values["position"])}
    made["entries"][place] = entry
    return made


def with_entry(book: Mapping[str, Any] | None, language: str) -> dict[str, Any]:
    """The book with a new entry behind the others."""
    made = copy.deepcopy(dict(book or {"extensions": {}, "entries": []}))
    order = 10 * (len(made["entries"]) + 1)
    fresh = {"keys": [], "content": "", "extensions": {}, "enabled": True, "insertion_order": order}
    made["entries"].append({**fresh, "use_regex": False, "name": text("ui.entry.new", language)})
    return made


def without_entry(book: Mapping[str, Any], place: int) -> dict[str, Any]:
    entry_of(book, place)
    made = copy.deepcopy(dict(book))
    del made["entries"][place]
    return made


def book_changed(book: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The book with what holds for all entries."""
    made = copy.deepcopy(dict(book))
    for name in BOOK_NUMBERS:
        value = values.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
            if value != made.get(name):
                made[name] = int(value)
        else:
            made.pop(name, None)
    if bool(values.get("recursive_scanning")) != bool(made.get("recursive_scanning")):
        made["recursive_scanning"] = bool(values.get("recursive_scanning"))
    return made


class BookEditor:
    """Its components after `build`, and what they show. `mark` tells two editors on one page apart."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def build(self) -> None:
        self.place = gr.State(-1)
        self.list = gr.HTML(elem_id=f"{self.mark}-entries", js_on_load=CHOOSE)
        with gr.Row():
            self.add_button = gr.Button(label("ui.entry.add"), size="sm", elem_id=f"{self.mark}-add")
        with gr.Group(visible=False, elem_id=f"{self.mark}-entry") as self.group:
            self._build_entry()
        with gr.Accordion(label("ui.book.all"), open=False):
            with gr.Row():
                self.numbers = [
                    gr.Number(label=label(f"ui.book.{name}"), precision=0, minimum=0, min_width=120)
                    for name in BOOK_NUMBERS
                ]
            self.recursive = gr.Checkbox(label=label("ui.book.recursive_scanning"))
            self.book_button = gr.Button(label("ui.book.save"), size="sm")

    def _build_entry(self) -> None:
        made: dict[str, Any] = {"name": gr.Textbox(label=label("ui.entry.name"), max_lines=1, max_length=300)}
        with gr.Row():
            for name in ("keys", "secondary_keys"):
                made[name] = gr.Textbox(
                    label=label(f"ui.entry.{name}"),
                    info=label(f"ui.entry.{name}.help"),
                    lines=2,
                    max_lines=6,
                    min_width=160,
                    elem_id=f"{self.mark}-{name}",
                )
        made["content"] = gr.Textbox(
            label=label("ui.entry.content"),
            info=label("ui.entry.content.help"),
            lines=3,
            max_lines=12,
            max_length=MOST_TEXT,
            elem_id=f"{self.mark}-content",
        )
        with gr.Row():
            for name in SWITCHES:
                made[name] = gr.Checkbox(label=label(f"ui.entry.{name}"), min_width=110)
        with gr.Row():
            for name in NUMBERS:
                made[name] = gr.Number(label=label(f"ui.entry.{name}"), precision=0, min_width=110)
            made["position"] = chooser(
                label=label("ui.entry.position"),
                choices=[(label(f"ui.entry.position.{one}"), one) for one in POSITIONS],
                min_width=140,
            )
        self.fields = [made[name] for name in FIELDS]
        with gr.Row():
            self.save_button = gr.Button(
                label("ui.entry.save"), variant="primary", size="sm", elem_id=f"{self.mark}-save"
            )
            self.remove_button = gr.Button(label("ui.entry.remove"), variant="stop", size="sm")

    @property
    def outputs(self) -> list[Any]:
        return [self.list, self.place, self.group, *self.fields, *self.numbers, self.recursive]

    def shown(self, book: Mapping[str, Any] | None, language: str, place: int = -1) -> list[Any]:
        """Updates of `outputs`."""
        entries = (book or {}).get("entries") or ()
        place = place if 0 <= place < len(entries) else -1
        entry = entries[place] if place >= 0 else {}
        values: list[Any] = []
        for name in FIELDS:
            value = entry.get(name)
            if name in ("keys", "secondary_keys"):
                value = "\n".join(map(str, value or ()))
            elif name in SWITCHES:
                value = bool(value)
            elif name == "position":
                value = value if value in POSITIONS else POSITIONS[0]
            values.append(gr.update(value=value))
        about = [(book or {}).get(name) for name in BOOK_NUMBERS]
        recursive = bool((book or {}).get("recursive_scanning"))
        return [entry_list(entries, language, place), place, gr.update(visible=place >= 0), *values, *about, recursive]

    @staticmethod
    def told(values: tuple[Any, ...]) -> dict[str, Any]:
        """The entry's fields out of what the components hand over."""
        return dict(zip(FIELDS, values, strict=True))
