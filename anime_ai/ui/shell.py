"""What stands around the tabs: the name, the first walk, what a visitor sees of the owner's tabs. Knows no service."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from anime_ai.texts import text
from anime_ai.ui.health import Health
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page
from anime_ai.ui.persons import Person

STEPS = (("chat", "talk"), ("dataset",), ("training",), ("chat", "compare"))
"""The newcomer's walk: see her answer, change three rows, train two minutes, compare."""

MARK = Path(__file__).with_name("mark.svg")


def build_header() -> None:
    """The header and the walk."""
    steps = "".join(
        f'<li><button type="button" data-go="{" ".join(go)}"><b>{label(f"ui.walk.{number}")}</b>'
        f"<span>{label(f'ui.walk.{number}.help')}</span></button></li>"
        for number, go in enumerate(STEPS, 1)
    )
    mark = MARK.read_text(encoding="utf-8")
    gr.HTML(
        f'<header class="hello">{mark}<div><h1>Anime AI Studio</h1>'
        f"<p>{label('ui.tagline')}</p></div>"
        f'<nav><button type="button" class="again" data-walked="no">{label("ui.walk.again")}</button>'
        f'<a href="?lang={label("ui.other_language.code")}">{label("ui.other_language")}</a>'
        f'<a href="?lang={label("ui.third_language.code")}">{label("ui.third_language")}</a></nav></header>',
        elem_id="hello",
    )
    gr.HTML(
        f'<section class="walk"><strong>{label("ui.walk.title")}</strong>'
        f'<button type="button" class="away" data-walked="yes">{label("ui.walk.away")}</button>'
        f"<ol>{steps}</ol></section>",
        elem_id="walk",
    )


class Gate:
    """Opens the owner's tabs to the owner and tells a visitor why not; says in each tab what is broken beneath it."""

    def __init__(self, health: Health | None = None) -> None:
        self.health = health
        self.tabs: dict[str, tuple[Any, gr.HTML, Any]] = {}
        self.parts: list[Any] = []

    def add(self, name: str, tab: Any, notice: gr.HTML, inside: Any) -> None:
        """`inside` is None where the tab is everybody's."""
        self.tabs[name] = (tab, notice, inside)

    def keep(self, part: Any) -> None:
        """A part of everybody's tab that is the owner's alone."""
        self.parts.append(part)

    def arrive(self, person: Person) -> list[Any]:
        """Updates of each tab's notice, then of the insides of the owner's tabs and of the owner's parts of others."""
        owned = [name for name, (_, _, inside) in self.tabs.items() if inside is not None]
        notices = [self.notice(person, name, closed=name in owned and not person.is_owner) for name in self.tabs]
        return [*notices, *(gr.update(visible=person.is_owner) for _ in (*owned, *self.parts))]

    def notice(self, person: Person, name: str, closed: bool) -> str:
        """What stands above a tab's inside, "" when all is well."""
        if closed:
            say, way = (escape(text(f"ui.gate.{key}", person.language)) for key in ("closed", "login"))
            return f'<div class="plain empty">{say} <a href="login">{way}</a></div>'
        broken = self.health.broken(name) if self.health else {}
        lines = [text("ui.gate.broken", person.language, package=package, why=why) for package, why in broken.items()]
        return f'<div class="plain fault">{escape(chr(10).join(lines))}</div>' if lines else ""

    def connect(self, page: Page, demo: gr.Blocks) -> None:
        notices = [notice for _, notice, _ in self.tabs.values()]
        insides = [inside for _, _, inside in self.tabs.values() if inside is not None]
        for trigger in (demo.load, *(tab.select for tab, _, _ in self.tabs.values())):
            page.on(trigger, self.arrive, role="visitor", outputs=[*notices, *insides, *self.parts])
