"""The colours and shapes that Gradio asks for; `style.css` does the rest. Nothing comes from another host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

STYLE = Path(__file__).with_name("style.css")
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


def theme() -> Any:
    """The Gradio theme: violet ink on warm paper, and a night sky in the dark."""
    import gradio as gr

    violet = gr.themes.Color(
        name="dusk",
        c50="#f6f4fd",
        c100="#ece8fb",
        c200="#dbd3f7",
        c300="#c1b4f0",
        c400="#a18de5",
        c500="#8169d8",
        c600="#6d52c8",
        c700="#5b42aa",
        c800="#4b398a",
        c900="#3d316d",
        c950="#261e47",
    )
    ink = gr.themes.Color(
        name="ink",
        c50="#faf9fc",
        c100="#f3f1f7",
        c200="#e6e3ee",
        c300="#cfcadb",
        c400="#a49db6",
        c500="#7b738f",
        c600="#5d566f",
        c700="#443e54",
        c800="#2a2637",
        c900="#1d1a27",
        c950="#14121c",
    )
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
