"""How the page looks: colours, shapes, the head script. No file and no font comes from another host."""

from __future__ import annotations

from typing import Any

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
        block_label_text_color="*neutral_500",
        block_title_text_color="*neutral_600",
        block_title_text_color_dark="*neutral_300",
        block_title_text_weight="500",
        block_shadow="0 1px 2px rgba(70, 50, 120, .05)",
        input_background_fill="#fbfafd",
        input_background_fill_dark="#18151f",
        input_border_color="#ddd8ea",
        input_border_color_dark="#3a3450",
        button_primary_background_fill="linear-gradient(135deg, #8169d8, #6d52c8)",
        button_primary_background_fill_hover="linear-gradient(135deg, #7459d2, #5f45b8)",
        button_primary_background_fill_dark="linear-gradient(135deg, #8169d8, #6d52c8)",
        button_primary_text_color="white",
        button_primary_shadow="0 4px 14px rgba(109, 82, 200, .25)",
        button_secondary_background_fill="#f1eef9",
        button_secondary_background_fill_hover="#e7e1f6",
        button_secondary_background_fill_dark="#2a2538",
        button_secondary_text_color="*primary_800",
        button_secondary_text_color_dark="*primary_200",
    )


CSS = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; padding: 18px 20px 40px !important; }
footer { display: none !important; }
.hello { display: flex; align-items: center; gap: 14px; padding: 2px 2px 6px; }
.hello .mark { width: 44px; height: 44px; flex: none; }
.hello h1 { font-size: 1.45rem; line-height: 1.2; margin: 0; letter-spacing: .01em; color: var(--body-text-color); }
.hello p { margin: 2px 0 0; color: var(--body-text-color-subdued); font-size: .92rem; }
.hello nav { margin-left: auto; display: flex; gap: 10px; align-items: center; font-size: .86rem; white-space: nowrap; }
.hello nav a, .hello nav button { color: var(--primary-600); text-decoration: none; background: none; border: 0; cursor: pointer; font: inherit; padding: 4px 6px; }
.dark .hello nav a, .dark .hello nav button { color: var(--primary-300); }
.walk { border: 1px solid var(--border-color-primary); border-radius: 16px; padding: 14px 18px 12px; position: relative;
  background: linear-gradient(120deg, rgba(129,105,216,.10), rgba(244,143,177,.10)); }
.walk strong { font-size: .98rem; }
.walk ol { display: grid; grid-template-columns: repeat(4, 1fr); gap: 12px; margin: 10px 0 0; padding: 0; list-style: none; counter-reset: step; }
.walk li { counter-increment: step; margin: 0; }
.walk li button { all: unset; cursor: pointer; display: block; box-sizing: border-box; width: 100%; height: 100%; padding: 10px 12px 10px 44px; position: relative;
  border-radius: 12px; background: var(--block-background-fill); border: 1px solid var(--block-border-color); color: var(--body-text-color); }
.walk li button:hover, .walk li button:focus-visible { border-color: var(--primary-400); }
.walk li button::before { content: counter(step); position: absolute; left: 12px; top: 12px; width: 22px; height: 22px; border-radius: 50%;
  background: var(--primary-500); color: white; font-size: .8rem; line-height: 22px; text-align: center; }
.walk li b { display: block; font-weight: 600; font-size: .92rem; }
.walk li span { font-size: .8rem; color: var(--body-text-color-subdued); }
.walk .away { all: unset; cursor: pointer; position: absolute; right: 12px; top: 10px; padding: 2px 8px; color: var(--body-text-color-subdued); font-size: .84rem; }
html.walked .walk { display: none; }
html:not(.walked) .again { display: none; }
.who { display: flex; align-items: baseline; gap: 8px; font-size: .86rem; color: var(--body-text-color-subdued); padding: 0 4px; flex-wrap: wrap; }
.who b { color: var(--body-text-color); font-weight: 600; }
.who .notice { color: #9a5b00; } .dark .who .notice { color: #f0c27a; }
.who .dot { width: 8px; height: 8px; border-radius: 50%; background: #58b37b; align-self: center; flex: none; }
.who .dot.starter { background: #e0a030; }
.empty { color: var(--body-text-color-subdued); padding: 26px 16px; text-align: center; margin: 0; line-height: 1.7; }
.plain { padding: 12px 16px; border-radius: 12px; border: 1px solid var(--block-border-color); background: var(--block-background-fill); }
.fault { border-color: #e3a6a1; background: #fff4f3; color: #8c1d18; white-space: pre-wrap; }
.dark .fault { background: #3a1f22; border-color: #6d3438; color: #ffb4ab; }
.chips { gap: 8px !important; flex-wrap: wrap !important; }
.chips button { min-width: 0 !important; flex: 0 1 auto !important; border-radius: 999px !important; font-size: .86rem !important; padding: 5px 14px !important; }
#talk .message { font-size: 1rem; line-height: 1.65; }
#talk .user { white-space: pre-wrap; }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 14px; }
.two > div { border: 1px solid var(--block-border-color); border-radius: 14px; padding: 12px 16px 14px; background: var(--block-background-fill); min-height: 120px; }
.two h3 { font-size: .84rem; font-weight: 600; color: var(--body-text-color-subdued); margin: 0 0 6px; }
.two p { margin: 0; white-space: pre-wrap; line-height: 1.7; overflow-wrap: anywhere; }
.two > div.trained { border-color: var(--primary-300); box-shadow: 0 0 0 3px rgba(129,105,216,.10); }
.rows { width: 100%; border-collapse: separate; border-spacing: 0; table-layout: fixed; font-size: .9rem; border: 1px solid var(--block-border-color);
  border-radius: 14px; overflow: hidden; background: var(--block-background-fill); }
.rows th { text-align: left; font-weight: 500; color: var(--body-text-color-subdued); padding: 8px 12px; background: var(--background-fill-secondary); border: 0; }
.rows td { padding: 8px 12px; border: 0; border-top: 1px solid var(--block-border-color); vertical-align: top; overflow: hidden; }
.rows td > div { display: -webkit-box; -webkit-line-clamp: 2; -webkit-box-orient: vertical; overflow: hidden; overflow-wrap: anywhere; line-height: 1.5; }
.rows .number { width: 3.4rem; color: var(--body-text-color-subdued); } .rows .voice { width: 5.6rem; }
.rows tbody tr[data-row] { cursor: pointer; } .rows tbody tr[data-row]:hover, .rows tbody tr[data-row]:focus { background: var(--background-fill-secondary); outline: none; }
.rows tr.chosen, .rows tr.chosen:hover { background: rgba(129,105,216,.14) !important; }
.chart { margin: 0; border: 1px solid var(--block-border-color); border-radius: 14px; padding: 10px 14px; background: var(--block-background-fill); }
.chart figcaption { font-size: .88rem; color: var(--body-text-color-subdued); display: flex; justify-content: space-between; flex-wrap: wrap; gap: 4px 14px; }
.chart svg { width: 100%; height: auto; display: block; }
.chart text { fill: var(--body-text-color-subdued); font-size: 12px; }
.chart .grid { stroke: var(--block-border-color); stroke-width: 1; }
.chart polyline { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.chart polyline.train { stroke: #8169d8; } .chart circle.train { fill: #8169d8; }
.chart polyline.eval { stroke: #e2709a; } .chart circle.eval { fill: #e2709a; }
.chart polyline.rate { stroke: #3fa39a; } .chart circle.rate { fill: #3fa39a; }
.chart .legend { display: flex; gap: 14px; } .chart .legend b { color: var(--body-text-color); font-weight: 600; }
.chart .legend span::before { content: ""; display: inline-block; width: 14px; height: 3px; border-radius: 2px; margin-right: 6px; vertical-align: middle; background: #8169d8; }
.chart .legend .eval::before { background: #e2709a; } .chart .legend .rate::before { background: #3fa39a; }
.state { border: 1px solid var(--block-border-color); border-radius: 14px; padding: 12px 16px; background: var(--block-background-fill); }
.state .line { display: flex; justify-content: space-between; gap: 12px; flex-wrap: wrap; } .state .line b { font-weight: 600; }
.state .bar { height: 6px; border-radius: 3px; background: var(--background-fill-secondary); margin-top: 10px; overflow: hidden; }
.state .bar i { display: block; height: 100%; border-radius: 3px; background: linear-gradient(90deg, #8169d8, #e2709a); transition: width .4s; }
.state .why { margin: 8px 0 0; color: #b3261e; white-space: pre-wrap; overflow-wrap: anywhere; } .dark .state .why { color: #ffb4ab; }
.samples { display: grid; gap: 10px; }
.samples article { border: 1px solid var(--block-border-color); border-radius: 14px; padding: 10px 14px; background: var(--block-background-fill); }
.samples h4 { margin: 0 0 6px; font-size: .9rem; font-weight: 600; } .samples dl { display: grid; grid-template-columns: 5.4rem 1fr; gap: 4px 10px; margin: 0; font-size: .9rem; }
.samples dt { color: var(--body-text-color-subdued); } .samples dd { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 640px) {
  .gradio-container { padding: 12px 10px 32px !important; }
  .hello { flex-wrap: wrap; gap: 10px; } .hello .mark { width: 36px; height: 36px; } .hello h1 { font-size: 1.2rem; } .hello nav { margin-left: 0; width: 100%; }
  .walk ol { grid-template-columns: 1fr 1fr; gap: 8px; } .walk li button { padding: 8px 10px 8px 38px; } .walk li button::before { left: 9px; top: 9px; } .walk li span { display: none; }
  .two { grid-template-columns: 1fr; }
  .rows .number { display: none; } .rows .voice { width: 4.4rem; } .rows td, .rows th { padding: 7px 8px; }
  .samples dl { grid-template-columns: 4.4rem 1fr; }
}
"""

HEAD = """
<script>
(() => {
  const root = document.documentElement;
  const kept = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
  const keep = (name, value) => { try { localStorage.setItem(name, value); } catch {} };
  if (kept("anime_ai_walked")) root.classList.add("walked");
  // Enter that ends a Chinese or Japanese composition must neither send a message nor close a cell.
  window.addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === 229) event.stopImmediatePropagation();
  }, true);
  window.addEventListener("click", (event) => {
    const element = event.target instanceof Element ? event.target.closest("[data-go],[data-walked]") : null;
    if (!element) return;
    if (element.dataset.walked) {
      const away = element.dataset.walked === "yes";
      root.classList.toggle("walked", away);
      keep("anime_ai_walked", away ? "yes" : "");
      return;
    }
    for (const name of element.dataset.go.split(" ")) {
      const tab = document.querySelector(`#${name}-tab-button, button[role=tab][id^="${name}-"]`);
      if (tab) tab.click();
    }
  });
})();
</script>
"""
