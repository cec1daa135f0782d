"""Line charts as inline SVG: small, sharp on a phone, in the page's own colours. Knows nothing of runs or Gradio."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 66, 14, 16, 32
MOST_POINTS = 1000


@dataclass(frozen=True)
class Series:
    """A named line: (step, value) points in the order of their steps. `kind` is its CSS class."""

    name: str
    kind: str
    points: Sequence[tuple[float, float]]


def thin(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """At most `most` finite points in the order of their steps, evenly taken, the first and the last among them."""
    good = sorted((step, value) for step, value in points if math.isfinite(step) and math.isfinite(value))
    if len(good) <= most:
        return good
    return [good[round(index * (len(good) - 1) / (most - 1))] for index in range(most)]


def line_chart(series: Sequence[Series], title: str, empty: str, last_step: float = 0) -> str:
    """An HTML figure of the series over steps; with no point at all, the sentence `empty` in its place.

    `last_step` fixes the right end, so that the line grows towards it instead of the axis running away.
    """
    drawn = [Series(one.name, one.kind, thin(one.points)) for one in series]
    drawn = [one for one in drawn if one.points]
    if not drawn:
        caption = f"<figcaption>{escape(title)}</figcaption>"
        return f'<figure class="chart">{caption}<p class="empty">{escape(empty)}</p></figure>'
    steps = [step for one in drawn for step, _ in one.points]
    values = [value for one in drawn for _, value in one.points]
    x_low, x_high = min(0.0, *steps), max(*steps, last_step, 1.0)
    ticks = _ticks(min(values), max(values))
    y_low, y_high = min(ticks[0], min(values)), max(ticks[-1], max(values))

    def x(step: float) -> float:
        return LEFT + (step - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{_number(tick)}</text>'
        for tick in ticks
    ]
    parts += [
        f'<text x="{x(tick):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{tick:g}</text>'
        for tick in _ticks(x_low, x_high)
        if x_low <= tick <= x_high and tick == int(tick)
    ]
    for one in drawn:
        path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in one.points)
        parts.append(f'<polyline class="{one.kind}" points="{path}"/>')
        # Points are few on a short run: show each, with its value for the pointer.
        shown = one.points if len(one.points) <= 60 else one.points[-1:]
        parts += [
            f'<circle class="{one.kind}" cx="{x(step):.1f}" cy="{y(value):.1f}" r="2.5">'
            f"<title>{escape(one.name)} · {step:g} · {_number(value)}</title></circle>"
            for step, value in shown
        ]
    legend = "".join(
        f'<span class="{one.kind}">{escape(one.name)} <b>{_number(one.points[-1][1])}</b></span>' for one in drawn
    )
    return (
        f'<figure class="chart"><figcaption>{escape(title)}<span class="legend">{legend}</span></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title, quote=True)}">'
        f"{''.join(parts)}</svg></figure>"
    )


def _ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that span [low, high]; two at least."""
    if high <= low:
        spread = abs(low) * 0.1 or 1.0
        low, high = low - spread, high + spread
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((power * factor for factor in (1, 2, 2.5, 5) if power * factor >= rough), power * 10)
    first = math.floor(low / step)
    return [index * step for index in range(first, math.ceil(high / step - 1e-9) + 1)]


def _number(value: float) -> str:
    return f"{value:.3g}"
