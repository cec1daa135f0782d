"""What a run's folder says, as HTML: state, curves, what she answers along the way, checkpoints. Knows no component."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from anime_ai.texts import catalogue, text
from anime_ai.training.recipe import Recipe
from anime_ai.ui.chart import Series, line_chart

if TYPE_CHECKING:
    from anime_ai.training.checkpoints import Checkpoint
    from anime_ai.training.runs import Run

MARKS = {
    "queued": "◌",
    "starting": "◐",
    "running": "●",
    "stopping": "◐",
    "finished": "✓",
    "stopped": "■",
    "failed": "✕",
    "interrupted": "✕",
}
SMOOTHING = 0.8
"""Weight of what was before in the smoothed curve."""
MOST_ANSWERS = 7
COLOURS = ("train", "eval", "rate", "fourth", "fifth", "sixth")
"""Classes of curves that lie over each other."""


def seen_of(run: Run, lines: int, answers: int) -> dict[str, Any]:
    """What a page has to have seen of a run; plain data, compared at every look."""
    told = {"run": run.id, "state": run.state, "step": run.step, "total": run.total, "checkpoint": run.checkpoint}
    return {**told, "lines": lines, "answers": answers, "name": run.name}


def state_card(run: Run, snapshot: str, lines: Sequence[dict[str, Any]], language: str) -> str:
    """State, progress, time left, pace, and what went wrong in words. `snapshot`: the name of what it is trained on."""
    share = min(1.0, run.step / run.total) if run.total else (1.0 if run.state == "finished" else 0.0)
    line = text(f"ui.state.{run.state}", language)
    steps = text("ui.training.steps", language, step=run.step, total=run.total) if run.total else ""
    left = text("ui.training.left", language, time=duration(run.eta_s, language)) if run.eta_s is not None else ""
    about = " · ".join(part for part in (run.persona, run.dataset, run.base, snapshot) if part)
    notes = [text(f"notice.{one['key']}", language, **one.get("values", {})) for one in told(run.notices, "notice")]
    notes += [text(f"error.{one['key']}", language, **one.get("values", {})) for one in told([run.error], "error")]
    if run.state == "finished":
        notes.append(text("ui.training.try_it", language))
    said = "".join(
        f'<p class="{"empty" if run.state == "finished" else "why"}">{escape(one)}</p>' for one in notes if one
    )
    return (
        f'<div class="state {escape(run.state)}"><div class="line"><b>{MARKS.get(run.state, "")} {escape(line)}</b>'
        f"<span>{escape(steps)}</span><span>{escape(left)}</span></div>"
        f'<div class="who">{escape(about)}</div>'
        f'<div class="bar"><i style="width:{share * 100:.1f}%"></i></div>{_pace(lines, language)}{said}</div>'
    )


def _pace(lines: Sequence[dict[str, Any]], language: str) -> str:
    """Tokens a second and memory, as they were told last."""
    found = [line for line in lines if isinstance(line.get("tokens_per_s"), (int, float))]
    if not found:
        return ""
    values = {"pace": f"{found[-1]['tokens_per_s']:,.0f}", "memory": f"{found[-1].get('memory_mb', 0) / 1024:.1f}"}
    return f'<div class="who">{escape(text("ui.training.pace", language, **values))}</div>'


def told(entries: Any, kind: str) -> list[dict[str, Any]]:
    """The entries of a status file that a text exists for; a file is not to be believed blindly."""
    known = catalogue("zh")
    return [one for one in entries if isinstance(one, dict) and f"{kind}.{one.get('key')}" in known]


def duration(seconds: float, language: str) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return text("ui.time.hours", language, hours=hours, minutes=minutes)
    return (
        text("ui.time.minutes", language, minutes=minutes, seconds=rest)
        if minutes
        else text("ui.time.seconds", language, seconds=rest)
    )


# Curves


def points(lines: Sequence[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    return [
        (float(line["step"]), float(line[name]))
        for line in lines
        if isinstance(line.get(name), (int, float)) and isinstance(line.get("step"), (int, float))
    ]


def smoothed(raw: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """An exponential mean whose first values are not drawn to zero (Kingma & Ba 2015, bias correction)."""
    found, mean = [], 0.0
    for number, (step, value) in enumerate(raw, 1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        found.append((step, mean / (1 - SMOOTHING**number)))
    return found


def loss_chart(run: Run, lines: Sequence[dict[str, Any]], language: str) -> str:
    raw = points(lines, "loss")
    train = Series(text("ui.chart.train", language), "train", raw)
    smooth = Series(text("ui.chart.smooth", language), "smooth", smoothed(raw) if len(raw) > 8 else [])
    held_out = Series(text("ui.chart.eval", language), "eval", points(lines, "eval_loss"))
    empty = text("ui.chart.waiting" if run.active else "ui.chart.none", language)
    return line_chart([train, smooth, held_out], text("ui.chart.loss", language), empty, run.total)


def small_charts(run: Run, lines: Sequence[dict[str, Any]], language: str) -> str:
    """Learning rate, gradient norm and how much she sounds like herself, where something was told of them."""
    drawn = []
    for name, key, kind in (
        ("style", "ui.chart.style", "eval"),
        ("learning_rate", "ui.chart.rate", "rate"),
        ("grad_norm", "ui.chart.norm", "train"),
        ("margin", "ui.chart.margin", "rate"),
    ):
        told = points(lines, name)
        if told:
            title = text(key, language)
            drawn.append(line_chart([Series(title, kind, told)], title, "", run.total))
    return f'<div class="small-charts">{"".join(drawn)}</div>' if drawn else ""


def compared_chart(told: Sequence[tuple[Run, Sequence[dict[str, Any]]]], name: str, language: str) -> str:
    """One figure of several runs over each other."""
    series = [
        Series(run.name or run.persona, COLOURS[place % len(COLOURS)], points(lines, name))
        for place, (run, lines) in enumerate(told)
    ]
    key = "ui.chart.eval" if name == "eval_loss" else "ui.chart.train"
    return line_chart(series, text(key, language), text("ui.chart.none", language))


def settings_diff(recipes: Sequence[tuple[str, dict[str, Any]]], language: str) -> str:
    """The settings in which some runs differ, a column a run."""
    names = list(Recipe.__dataclass_fields__)
    different = [name for name in names if len({repr(recipe.get(name)) for _, recipe in recipes}) > 1]
    if not different:
        return f'<p class="empty">{escape(text("ui.compare.same", language))}</p>'
    head = "".join(f"<th>{escape(name)}</th>" for name, _ in recipes)
    rows = "".join(
        f"<tr><th>{escape(text(f'recipe.{name}', language))}</th>"
        + "".join(f"<td>{escape(str(recipe.get(name, '—')))}</td>" for _, recipe in recipes)
        + "</tr>"
        for name in different
    )
    return f'<table class="plain-table"><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>'


# What she answers, and checkpoints


def samples_cards(answers: Sequence[dict[str, Any]], language: str) -> str:
    """What she answered to the same questions before and along the training: one sees the persona appear."""
    by_prompt: dict[str, dict[int, str]] = {}
    for answer in answers:
        by_prompt.setdefault(str(answer.get("prompt", "")), {})[int(answer.get("step", 0))] = str(
            answer.get("reply", "")
        )
    cards = []
    for prompt, told in by_prompt.items():
        replies = sorted(told.items())
        # The first, the last, and some between them: enough to see the change.
        inner = replies[1:-1]
        every = max(1, -(-len(inner) // (MOST_ANSWERS - 2)))
        shown = [replies[0], *inner[::every], *replies[1:][-1:]]
        lines = "".join(
            f"<dt>{escape(step_name(step, language))}</dt><dd>{escape(reply) or '—'}</dd>" for step, reply in shown
        )
        cards.append(f"<article><h4>{escape(prompt)}</h4><dl>{lines}</dl></article>")
    if not cards:
        return ""
    return f'<h3>{escape(text("ui.training.samples", language))}</h3><div class="samples">{"".join(cards)}</div>'


def step_name(step: int, language: str) -> str:
    return text("ui.training.before", language) if step == 0 else text("ui.training.step", language, step=step)


def checkpoint_choices(run: Run, there: Sequence[Checkpoint], language: str) -> list[tuple[str, int]]:
    """Checkpoints with what was measured, the one in use marked."""
    found = []
    for one in there:
        parts = [text("ui.training.step", language, step=one.step)]
        if one.eval_loss is not None:
            parts.append(text("ui.training.held_out", language, loss=f"{one.eval_loss:.3f}"))
        if one.style is not None:
            parts.append(text("ui.training.like_her", language, score=f"{one.style:.2f}"))
        if one.step == run.checkpoint:
            parts.append(text("ui.training.in_use", language))
        found.append((" · ".join(parts), one.step))
    return found


def base_label(base: Any, language: str) -> str:
    key = "ui.base.starter" if base.starter else ("ui.base.present" if base.present else "ui.base.absent")
    return text(key, language, name=base.id)
