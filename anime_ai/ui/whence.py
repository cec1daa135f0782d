"""Where a row that was made of feedback comes from, as it stands beside the row. Knows no database."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from anime_ai.texts import text

if TYPE_CHECKING:
    from anime_ai.chat.feedback import Trace

LONGEST = 400
"""Characters of a question, or of what it brought along, that are shown."""
HASH = 12
"""Digits of a hash that one can compare by eye; the whole of it shows on pointing."""


def whence(trace: Trace, language: str) -> str:
    """What was asked, who answered with what seed, whose verdict it was, and the way back to the conversation."""
    told = trace.provenance
    kinds = {
        "up": text("whence.up", language),
        "edit": text("whence.edit", language),
        "pick": text("whence.pick", language),
    }
    who = text("whence.own" if trace.own else "whence.visitor", language)
    lines = [
        (text("whence.kind", language), f"{escape(kinds.get(trace.kind, trace.kind))} · {escape(who)}"),
        (text("whence.prompt", language), _cut(told.get("prompt"))),
        (text("whence.brought", language), _cut(told.get("brought"))),
        (text("whence.persona", language), _cut(told.get("persona"))),
    ]
    if trace.kind == "pick":
        for side, name in (("better", "whence.better"), ("worse", "whence.worse")):
            lines += [(text(name, language), _answered(told.get(side), language))]
    else:
        lines += [(text("whence.answered", language), _answered(told, language))]
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{value}</dd>" for name, value in lines if value)
    head = escape(text("whence.title", language))
    return f'<details class="whence" open><summary>{head}</summary><dl>{listed}</dl>{_back(trace, language)}</details>'


def _answered(told: Any, language: str) -> str:
    """Adapter, the hash of its weights, base, engine, seed and knobs of one answer."""
    if not isinstance(told, dict):
        return ""
    adapter = str(told.get("adapter") or "")
    parts = [escape(adapter or text("whence.no_adapter", language))]
    if sha := str(told.get("adapter_sha256") or ""):
        parts.append(f'<code title="{escape(sha)}">sha256 {escape(sha[:HASH])}</code>')
    if base := str(told.get("base") or ""):
        parts.append(escape(text("whence.base", language, base=base)))
    if engine := str(told.get("engine") or ""):
        parts.append(escape(text("whence.engine", language, engine=engine)))
    if told.get("seed") is not None:
        parts.append(escape(text("whence.seed", language, seed=told["seed"])))
    knobs = told.get("sampling")
    if isinstance(knobs, dict):
        drawn = [f"{name} {value:g}" for name, value in knobs.items() if _number(value) and name != "seed"]
        parts += [f"<small>{escape(', '.join(drawn))}</small>"] * bool(drawn)
    return " · ".join(parts)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _back(trace: Trace, language: str) -> str:
    if trace.conversation_id:
        return (
            f'<button type="button" class="link" data-go="chat talk" data-back-talk="{escape(trace.conversation_id)}" '
            f'data-at="{escape(trace.message_id)}">{escape(text("whence.open", language))}</button>'
        )
    if trace.kind == "pick":
        why = text("whence.compared", language)
    else:
        why = text("whence.gone" if trace.own else "whence.theirs", language)
    return f"<small>{escape(why)}</small>"


def _cut(told: Any) -> str:
    said = str(told or "")
    return escape(said if len(said) <= LONGEST else said[:LONGEST] + "…")
