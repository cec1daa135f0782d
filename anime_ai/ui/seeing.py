"""A dataset in figures: who says how much, how long rows are in tokens, how each persona speaks, one row as the model
reads it. Knows no grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.dataset.modelview import Token, tokens_of
from anime_ai.dataset.profile import Histogram, Length, Voice, histogram, lengths, profile
from anime_ai.dataset.rows import Row
from anime_ai.errors import DatasetError
from anime_ai.texts import text
from anime_ai.training.estimate import pace_of
from anime_ai.training.recipe import Recipe, plan
from anime_ai.ui.editing import Editing
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, chooser
from anime_ai.ui.persons import Person
from anime_ai.ui.row_editor import opened

if TYPE_CHECKING:
    from anime_ai.models.bases import Base
    from anime_ai.studio import Studio

HEIGHT, WIDTH = 150, 720
MOST_TOKENS = 4_000


class Seeing:
    """Handlers, and the components after `build`."""

    def __init__(self, studio: Studio, editing: Editing) -> None:
        self.studio, self.editing = studio, editing

    # Handlers

    def arrive(self, person: Person) -> Any:
        """The bases whose tokenizer is on this disk."""
        names = [base.id for base in self.studio.bases() if base.present]
        return gr.update(choices=[(name, name) for name in names], value=names[0] if names else None)

    def look(self, person: Person, dataset: str, base: str) -> str:
        if not dataset:
            raise DatasetError("ui.no_dataset")
        rows = self.studio.datasets.rows(str(dataset))
        most = self.studio.settings.max_length
        found, layout = self.studio.layout(str(base or ""))
        measured = lengths(rows, self.studio.personas, layout, most)
        tokens = [one.tokens for one in measured if one is not None and one.tokens]
        language, voices = person.language, profile(rows)
        parts = [
            f"<p>{escape(self._summary(rows, measured, found, language))}</p>",
            shares(voices, language),
            bars(histogram(tokens, most), most, language) if tokens else "",
            *(voice(one, language) for one in voices),
        ]
        return f'<div class="figures">{"".join(parts)}</div>'

    def row(self, person: Person, state: Any, base: str) -> str:
        """The row in the editor as the model reads it."""
        row = self.studio.datasets.row(opened(state)[0]).row
        most = self.studio.settings.max_length
        _, layout = self.studio.layout(str(base or ""))
        return coloured(tokens_of(row, self.studio.personas, layout, most), person.language)

    def _summary(self, rows: Sequence[Row], measured: Sequence[Length | None], base: Base, language: str) -> str:
        """How much there is to train her on whose rows are most, and how long that takes at the last run's speed."""
        counted = [(row, one) for row, one in zip(rows, measured, strict=True) if one is not None and one.kept]
        if not counted:
            return text("ui.seeing.nothing", language)
        (persona, count), *_ = Counter(row.persona for row, _ in counted).most_common(1)
        tokens = sum(one.kept for row, one in counted if row.persona == persona)
        planned = plan(Recipe.from_values({}, self.studio.settings), count, base.parameters())
        values = {"rows": len(counted), "persona": persona or text("ui.seeing.nobody", language), "hers": count}
        values |= {"tokens": tokens, "epochs": f"{planned.epochs:.1f}", "steps": planned.steps}
        said = text("ui.seeing.summary", language, **values)
        pace = pace_of(self.studio.runs.list(), base.id)
        if not pace:
            return said + text("ui.seeing.no_pace", language)
        minutes = max(1, round(tokens * planned.epochs / pace / 60))
        return said + text("ui.seeing.pace", language, pace=round(pace), minutes=minutes)

    # Components

    def build(self) -> None:
        with gr.Row(equal_height=True):
            self.base = chooser(label=label("ui.seeing.base"), scale=3, min_width=200)
            self.look_button = gr.Button(label("ui.seeing.look"), variant="primary", min_width=120, elem_id="seeing")
            self.row_button = gr.Button(label("ui.seeing.row"), min_width=120, elem_id="seeing-row")
        self.tokens = gr.HTML(elem_id="row-tokens")
        self.figures = gr.HTML(f'<p class="who">{label("ui.seeing.about")}</p>', elem_id="figures")

    def connect(self, page: Page, tab: Any) -> None:
        page.on(tab.select, self.arrive, role="owner", quiet=True, outputs=[self.base])
        page.on(
            self.look_button.click,
            self.look,
            role="owner",
            inputs=[self.editing.dataset, self.base],
            outputs=[self.figures],
            show_progress="minimal",
        )
        page.on(
            self.row_button.click,
            self.row,
            role="owner",
            inputs=[self.editing.editor.state, self.base],
            outputs=[self.tokens],
        )


def shares(voices: Sequence[Voice], language: str) -> str:
    """Rows per persona as bars."""
    most = max((one.rows for one in voices), default=1)
    lines = "".join(
        f"<li><span>{escape(one.persona or text('ui.seeing.nobody', language))}</span>"
        f'<i style="width:{100 * one.rows / most:.1f}%"></i><b>{one.rows}</b></li>'
        for one in voices
    )
    return f'<h4>{escape(text("ui.seeing.shares", language))}</h4><ul class="shares">{lines}</ul>'


def bars(found: Histogram, most: int, language: str) -> str:
    """Rows by their tokens as an SVG, with a line where rows are cut."""
    tallest, widest = max((*found.counts, 1)), max(found.edges[-1], 1)

    def across(edge: int) -> float:
        return WIDTH * edge / widest

    drawn = "".join(
        f'<rect x="{across(low) + 1:.1f}" y="{HEIGHT * (1 - count / tallest):.1f}" '
        f'width="{max(1.0, across(high) - across(low) - 2):.1f}" height="{HEIGHT * count / tallest:.1f}" '
        f'class="{"over" if low >= most else "in"}"><title>{low}–{high}: {count}</title></rect>'
        for low, high, count in zip(found.edges, found.edges[1:], found.counts, strict=False)
    )
    cut = across(most)
    line = f'<line x1="{cut:.1f}" y1="0" x2="{cut:.1f}" y2="{HEIGHT}" class="cut"/>' if most <= widest else ""
    head = escape(text("ui.seeing.histogram", language, most=most))
    ticks = "".join(
        f'<text class="tick" x="{across(edge):.1f}" y="{HEIGHT + 16}">{edge}</text>'
        for edge in found.edges[:: max(1, len(found.edges) // 8)]
    )
    return (
        f'<figure class="chart"><figcaption>{head}</figcaption>'
        f'<svg viewBox="-20 -4 {WIDTH + 44} {HEIGHT + 26}" role="img">{drawn}{line}{ticks}</svg></figure>'
    )


def voice(one: Voice, language: str) -> str:
    """How a persona speaks."""
    low, middle, high = one.quantiles
    ends = "、".join(
        f"{end if len(end) == 1 else text('ui.seeing.other_end', language)} {share:.0%}"
        for end, share in sorted(one.ends.items(), key=lambda pair: -pair[1])
        if share >= 0.01
    )
    values = {"low": low, "middle": middle, "high": high, "ends": ends}
    values |= {name: f"{getattr(one, name):.0%}" for name in ("emoji", "history", "inner")}
    phrases = "".join(f"<i>{escape(phrase.text)} ×{phrase.count}</i>" for phrase in one.catchphrases)
    name = escape(one.persona or text("ui.seeing.nobody", language))
    said = escape(text("ui.seeing.voice", language, **values))
    return f'<section><h4>{name}</h4><p>{said}</p><p class="phrases">{phrases}</p></section>'


def coloured(tokens: Sequence[Token], language: str) -> str:
    """Tokens one behind the other, the trained ones in colour."""
    trained = sum(one.trained for one in tokens)
    head = escape(text("ui.seeing.tokens", language, count=len(tokens), trained=trained))
    shown = "".join(
        f'<span class="{"trained" if one.trained else "read"}">{escape(one.text)}</span>'
        for one in tokens[:MOST_TOKENS]
    )
    return f'<figure class="tokens"><figcaption>{head}</figcaption><p>{shown}</p></figure>'
