"""The curves of a training as a PNG: no browser and no drawing library is needed to see it. Knows no run."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 960, 420
LEFT, RIGHT, TOP, BOTTOM = 80, 24, 48, 48
COLOURS = {"loss": "#d6457a", "eval_loss": "#5b5bd6"}


def loss_plot(curves: Mapping[str, Sequence[tuple[float, float]]]) -> bytes:
    """(step, value) points of each named curve; no points give an empty frame."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(16)
    points = [point for curve in curves.values() for point in curve]
    most_x = max((x for x, _ in points), default=1.0) or 1.0
    low, high = min((y for _, y in points), default=0.0), max((y for _, y in points), default=1.0)
    spread = (high - low) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + x / most_x * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - (y - low) / spread * (HEIGHT - TOP - BOTTOM)

    for part in range(5):
        value = low + spread * part / 4
        _, height = place(0, value)
        draw.line([(LEFT, height), (WIDTH - RIGHT, height)], "#e6e6ee")
        draw.text((LEFT - 10, height), f"{value:.3g}", "#667", font, anchor="rm")
        step = most_x * part / 4
        across, _ = place(step, low)
        draw.text((across, HEIGHT - BOTTOM + 10), f"{step:.0f}", "#667", font, anchor="mt")
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS.get(name, "#333344")
        drawn = [place(x, y) for x, y in sorted(curve)]
        if len(drawn) > 1:
            draw.line(drawn, colour, 3, joint="curve")
        for x, y in drawn if len(drawn) <= 60 else []:
            draw.ellipse([x - 4, y - 4, x + 4, y + 4], colour)
        draw.text((LEFT + number * 150, 14), f"— {name}", colour, font)
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True)
    return content.getvalue()
