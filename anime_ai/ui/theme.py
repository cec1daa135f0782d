"""The colours and shapes that Gradio asks for; the files of `style/` do the rest. Nothing comes from another host."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

STYLES = tuple(
    Path(__file__).with_name("style") / f"{name}.css"
    for name in (
        *("base", "shell", "dataset", "training", "knowledge", "phone", "pictures", "personas", "chat", "beside"),
        "models",
    )
)
"""In this order: of two rules that are as exact the later one holds."""
HEAD = Path(__file__).with_name("head.html")
SANS = (
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "PingFang SC",
    "Hiragino Sans GB",
    "Hiragino Sans",
    "Microsoft YaHei UI",
    "Microsoft YaHei",
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "sans-serif",
)
MONO = ("ui-monospace", "SFMono-Regular", "Consolas", "Noto Sans Mono CJK SC", "monospace")


DUSK = "#f6f4fd #ece8fb #dbd3f7 #c1b4f0 #a18de5 #8169d8 #6d52c8 #5b42aa #4b398a #3d316d #261e47".split()
INK = "#faf9fc #f3f1f7 #e6e3ee #cfcadb #a49db6 #7b738f #5d566f #443e54 #2a2637 #1d1a27 #14121c".split()
"""Violet ink and warm paper, from the lightest shade to the darkest."""
STEPS = (50, *range(100, 1000, 100), 950)


def theme() -> Any:
    """The Gradio theme: violet ink on warm paper, and a night sky in the dark."""
    import gradio as gr

    violet, ink = _colour("dusk", DUSK), _colour("ink", INK)
    base = gr.themes.Base(
        primary_hue=violet,
        secondary_hue=violet,
        neutral_hue=ink,
        font=SANS,
        font_mono=MONO,
        radius_size=gr.themes.sizes.radius_lg,
    )
    return base.set(
        body_background_fill="#f8f6fb",
        body_background_fill_dark="#15131d",
        block_background_fill="white",
        block_background_fill_dark="#1f1c2a",
        block_border_color="#e9e5f2",
        block_border_color_dark="#322d42",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        body_text_color_subdued="#665f7a",
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="#665f7a",
        block_info_text_color_dark="*neutral_400",
        input_placeholder_color="#706985",
        input_placeholder_color_dark="#9790aa",
        input_border_color_focus="*primary_500",
        input_border_color_focus_dark="*primary_400",
        block_label_text_color="*neutral_600",
        block_title_text_color="*neutral_600",
        block_title_text_color_dark="*neutral_300",
        block_title_text_weight="500",
        block_shadow="0 1px 2px rgba(70, 50, 120, .05)",
        input_background_fill="#fbfafd",
        input_background_fill_dark="#18151f",
        input_border_color="#ddd8ea",
        input_border_color_dark="#3a3450",
        button_primary_background_fill="linear-gradient(135deg, #7459d2, #6048bd)",
        button_primary_background_fill_hover="linear-gradient(135deg, #684dc6, #543ca6)",
        button_primary_background_fill_dark="linear-gradient(135deg, #7459d2, #6048bd)",
        button_primary_text_color="white",
        button_primary_shadow="0 4px 14px rgba(109, 82, 200, .25)",
        button_secondary_background_fill="#f1eef9",
        button_secondary_background_fill_hover="#e7e1f6",
        button_secondary_background_fill_dark="#2a2538",
        button_secondary_text_color="*primary_800",
        button_secondary_text_color_dark="*primary_200",
    )


def _colour(name: str, shades: Sequence[str]) -> Any:
    """A scale of Gradio's, a shade for each of `STEPS`."""
    import gradio as gr

    named = {f"c{step}": shade for step, shade in zip(STEPS, shades, strict=True)}
    return gr.themes.Color(name=name, **named)
