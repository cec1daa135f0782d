"""The report on what ships under `assets/starter/`: figures, and conversations to read. Knows no training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from anime_ai.config import ASSETS, STARTER_LM, Settings
from anime_ai.files import write_bytes
from anime_ai.persona.cards import Personas
from anime_ai.starter import measures, voices
from anime_ai.starter.card import greedy

REPORT = ASSETS / "starter" / "REPORT.md"


def make(say: Callable[[str], None], path: Path = REPORT) -> None:
    """Measure base and adapters and write the report."""
    settings = Settings.load()
    text = "\n\n".join(
        [
            HEAD,
            base_table(measures.figures(greedy(STARTER_LM))[0]),
            voice_table(voices.voice(persona, settings)[0] for persona in Personas().list()),
            "## Forty conversations\n\nThe number behind a reply is the style verifier's, for her own voice.",
            *_conversations(settings),
        ]
    )
    write_bytes(path, (text + "\n").encode())
    say(path.name)


def base_table(found: measures.Figures) -> str:
    rows = [
        (f"small talk, {found.prompts} prompts: on topic (shuffled)", f"{found.on_topic:.0%} ({found.shuffled:.0%})"),
        ("their replies that end by themselves within 80 tokens", f"{found.ended:.0%}"),
        ("their replies that say four characters three times", f"{found.looped:.0%}"),
        ("passages: the right span", f"{found.spans:.0%}"),
        ("passages that do not say it: told so", f"{found.refusals:.0%}"),
        ("pictures: the attribute asked for", f"{found.attributes:.0%}"),
    ]
    return "\n".join(["## The base", "", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def voice_table(found: Iterable[voices.Voice]) -> str:
    head = "persona | prompts | style | rows' own | base | distinct-2 | rows' own | copied | ended | loops | original"
    rows = [
        f"{one.persona} | {one.prompts} | {one.style:.2f} | {one.style_of_rows:.2f} | {one.style_of_base:.2f} | "
        f"{one.distinct:.2f} | {one.distinct_of_rows:.2f} | {one.copied:.0%} | {one.ended:.0%} | {one.looped:.0%} | "
        f"{one.original[0]} of {one.original[1]}"
        for one in found
    ]
    lines = [f"| {head} |", "|" + "---|" * (head.count("|") + 1), *(f"| {row} |" for row in rows)]
    return "\n".join(["## The personas", "", *lines])


def _conversations(settings: Settings) -> Iterator[str]:
    for persona, turns in voices.conversations(settings):
        lines = [f"- {turn.said} → **{turn.reply}** {turn.style:.2f}" for turn in turns]
        yield "\n".join([f"### {persona.character} ({persona.name})", "", *lines])


HEAD = """# What the starter models were measured to do

    python -m anime_ai.starter --only report

Prompts, passages and questions stand in `anime_ai/starter/held_out/` and are not in the corpus; the personas answer the
rows of `data/dataset.json` that their adapters were not trained on. `pytest -m benchmark -s
tests/benchmarks/test_starter_models.py` holds the figures to their bars. Style is the mean score of a verifier
(character n-grams, calibrated on the same held-out rows) for generated replies, for the replies that stand in the rows,
and for the base without the adapter; "copied" are replies that some training row has to the letter; "original" are the
original project's two questions with their answers, at once and behind her greeting. The conversations are drawn as
the page draws them, with seed 0."""
