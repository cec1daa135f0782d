"""What was said, as the page shows it: a line of messages with what can be done to each. Knows no component.

Everything that a person or a model wrote is escaped here, and nowhere else on its way to the page.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

from anime_ai.chat.tree import Message
from anime_ai.knowledge.service import BEHIND
from anime_ai.texts import text
from anime_ai.ui.icons import icon
from anime_ai.ui.origin import origin_button
from anime_ai.ui.persona_view import lore_lines

NUMBERS = "⓪①②③④⑤⑥⑦⑧⑨"
VERDICTS = ("up", "down")
SHOWN = 60
"""Messages of a line that are shown at once; a button shows the others."""
_TAG = re.compile(r"(<[^>]*>)")
_ACT = re.compile(r"(?<![A-Za-z0-9*])\*(?![\s*])([^*\n]{0,400}[^*\s])\*(?![A-Za-z0-9*])")


@dataclass(frozen=True)
class Voice:
    """Who answers, as the page shows her: `face` is the address of her picture, "" for none; `faces` those of her
    feelings that have one of their own. `feeling` is what she shows while she speaks."""

    name: str
    face: str = ""
    greeting: str = ""
    faces: Mapping[str, str] = field(default_factory=dict)
    feeling: str = ""
    named: bool = False
    """Above her words, where several speak."""


@dataclass(frozen=True)
class Seen:
    """How a line is looked at. `ahead`: messages follow that were taken back; `whole`: all of it is wanted; `verdicts`:
    what this person thinks of answers, by message; `agreed`: whether they know that it is kept; `fresh`: the last
    answer has just come to its end."""

    language: str
    ahead: bool = False
    whole: bool = False
    verdicts: Mapping[str, str] = field(default_factory=dict)
    agreed: bool = True
    fresh: bool = False
    voices: Mapping[str, Voice] = field(default_factory=dict)
    """Of those who speak, where they are several."""


def line(messages: Sequence[Message], voice: Voice, seen: Seen) -> str:
    """The messages of a line, oldest first."""
    language = seen.language
    parts: list[str] = []
    hidden = 0 if seen.whole else max(0, len(messages) - SHOWN)
    if hidden:
        parts.append(_button("earlier", "", text("talk.earlier", language, count=hidden), wide=True))
    asked: dict[str, Any] = {}
    for place, message in enumerate(messages):
        if place >= hidden:
            parts.append(_message(message, voice, seen, asked, place == len(messages) - 1))
        asked = message.meta if message.role == "user" else {}
    if voice.greeting and not (messages and messages[0].role == "assistant"):
        parts.insert(0, _row("assistant", replace(voice, feeling=""), _content(escape(voice.greeting))))
    if seen.ahead:
        parts.append(_button("forward", "", text("talk.forward", language), wide=True))
    told = {name: text(f"talk.{name}", language) for name in ("save", "save_ask", "save_go_on", "cancel", "sure")}
    told |= {} if seen.agreed else {name: text(f"talk.{name}", language) for name in ("notice", "agree")}
    data = "".join(f' data-{name.replace("_", "-")}="{escape(said)}"' for name, said in told.items())
    return f'<div class="line{" fresh" if seen.fresh else ""}"{data}>{"".join(parts)}</div>'


def asking(asked: str, meta: dict[str, Any]) -> str:
    """What was asked, below the line, before it is known who answers."""
    return f'<div class="line streaming">{_row("user", Voice(""), _content(with_picture(asked, meta)))}</div>'


def speaking(
    voice: Voice, language: str, thinking: str, said: str, asked: str = "", meta: dict[str, Any] | None = None
) -> str:
    """What is being said now, below the line: perhaps a question, and her answer so far."""
    parts = [_row("user", voice, _content(with_picture(asked, meta or {})))] if asked else []
    inside = _thought(thinking, language, text("talk.thinking_now", language), is_open=not said) if thinking else ""
    waiting = f'<span class="waiting" aria-label="{escape(text("talk.waiting", language))}">…</span>'
    inside += _content(escape(said) if said else waiting) if said or not thinking else ""
    parts.append(_row("assistant", voice, inside))
    return f'<div class="line streaming" aria-live="polite">{"".join(parts)}</div>'


def _message(message: Message, voice: Voice, seen: Seen, asked: dict[str, Any], last: bool) -> str:
    """`asked`: what the question kept that this message answers."""
    language, voice, asked = seen.language, seen.voices.get(message.speaker, voice), message.meta.get("turn") or asked
    inside, found, lore = "", asked.get("retrieval") or {}, asked.get("lore") or {}
    if message.thinking.strip():
        inside = _thought(message.thinking, language, _thought_title(message.meta, language))
    if message.role == "user":
        inside += _content(with_picture(message.content, message.meta))
    elif message.content:
        inside += _content(with_marks(message.content, message.meta, found))
    if message.role == "assistant" and found:
        inside += sources(found, language)
    if message.role == "assistant" and lore:
        inside += fired(lore, language)
    acts = f'<div class="acts">{"".join(_acts(message, language, last, seen.verdicts.get(message.id, "")))}</div>'
    hers = replace(voice, feeling=str(message.meta.get("feeling", "")))
    return _row(message.role, hers, inside, acts, message.id, _how(message, language))


def _acts(message: Message, language: str, last: bool, verdict: str) -> list[str]:
    """What can be done to a message, in the order of its buttons."""
    user, answers = message.role == "user", bool(message.parent) and not message.meta.get("greeting")
    acts = []
    if len(message.siblings) > 1 or (last and answers and not user):
        acts.append(_swipe(message, language, last and answers and not user))
    names = ["copy", "edit"]
    names += ["undo"] if user else []
    names += ["again"] if answers or user else []
    names += ["go_on"] if last and answers and not user else []
    for name in [*names, "branch", "delete"]:
        acts.append(_button(name, message.id, text(f"talk.{name}", language)))
    if answers and not user and message.content:
        acts += [_button(name, message.id, text(f"talk.{name}", language), on=name == verdict) for name in VERDICTS]
    if answers and not user:
        acts.append(origin_button(message.id, language))
    return acts


def _swipe(message: Message, language: str, more: bool) -> str:
    """‹ 2/3 ›; behind the last alternative of the last answer comes a new one."""
    place = message.siblings.index(message.id)
    before = message.siblings[place - 1] if place else ""
    after = message.siblings[place + 1] if place + 1 < len(message.siblings) else ""
    left = _arrow("switch" if before else "", before, "‹", text("talk.before", language))
    act = "switch" if after else ("again" if more else "")
    right = _arrow(act, after or (message.id if more else ""), "›", text("talk.after", language))
    return f'<span class="swipe">{left}<small>{place + 1}/{len(message.siblings)}</small>{right}</span>'


def _arrow(act: str, id: str, sign: str, name: str) -> str:
    off, named = "" if act else " disabled", f'aria-label="{escape(name)}"'
    return f'<button type="button" data-act="{act}" data-id="{escape(id)}" {named}{off}>{sign}</button>'


def _button(act: str, id: str, name: str, wide: bool = False, on: bool = False) -> str:
    shown = escape(name) if wide else icon(act)
    kind = ' class="wide"' if wide else ' class="on" aria-pressed="true"' if on else ""
    said = escape(name)
    return (
        f'<button type="button"{kind} data-act="{act}" data-id="{escape(id)}" title="{said}" aria-label="{said}">'
        f"{shown}</button>"
    )


def _row(role: str, voice: Voice, inside: str, acts: str = "", id: str = "", how: str = "") -> str:
    kind = "user" if role == "user" else "bot"
    face = ""
    if kind == "bot":
        url = voice.faces.get(voice.feeling, voice.face)
        picture = f'<img src="{escape(url)}" alt="">' if url else escape(voice.name[:1])
        felt = f' data-feeling="{escape(voice.feeling)}"' if voice.feeling in voice.faces else ""
        face = f'<div class="face" aria-hidden="true"{felt}>{picture}</div>'
    named = f' data-message="{escape(id)}"' if id else ""
    told = f' title="{escape(how)}"' if how else ""
    name = f'<b class="speaker">{escape(voice.name)}</b>' if voice.named and kind == "bot" else ""
    return (
        f'<article class="message-row {kind}"{named}>{face}<div class="side">{name}<div class="message {kind}"{told}>'
        f"{inside}</div>{acts}</div></article>"
    )


def _content(inside: str) -> str:
    return f'<div class="message-content">{_acted(inside)}</div>'


def _acted(inside: str) -> str:
    """Escaped text with what is *done* rather than said set apart, as role-players write it. The text stays the same
    to the sign: the asterisks are there for who copies or edits it."""
    star = '<span class="star">*</span>'
    parts = _TAG.split(inside)
    parts[::2] = [_ACT.sub(rf"<em>{star}\1{star}</em>", part) for part in parts[::2]]
    return "".join(parts)


def _how(message: Message, language: str) -> str:
    """How an answer came about, for whoever points at it."""
    meta = message.meta
    if message.role == "user" or "tokens" not in meta:
        return ""
    seed = (meta.get("sampling") or {}).get("seed", "—")
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(message.created))
    who = meta.get("adapter") or meta.get("base", "")
    return text("talk.how", language, when=when, who=who, tokens=meta["tokens"], seed=seed)


def with_picture(said: str, meta: dict[str, Any]) -> str:
    """What a person said, below the picture that they showed with it."""
    picture = meta.get("picture")
    if not picture:
        return escape(said)
    alt = escape(str(picture.get("sentence", "")))
    address = f"picture/{escape(str(picture.get('picture_id', '')))}.webp"
    return f'<img class="shown" src="{address}" alt="{alt}">{escape(said)}'


def _thought(thinking: str, language: str, title: str, is_open: bool = False) -> str:
    """Her thoughts, folded."""
    kind = " open" if is_open else ""
    head = f"<summary>{escape(title)}</summary>"
    return f'<details class="thought"{kind}>{head}<div>{escape(thinking.strip())}</div></details>'


def _thought_title(meta: dict[str, Any], language: str) -> str:
    seconds = meta.get("thought_s")
    title = text("ui.chat.thinking", language)
    if isinstance(seconds, (int, float)):
        title = text("talk.thought_for", language, seconds=f"{seconds:.1f}")
    return title + (text("talk.cut", language) if meta.get("cut") else "")


def with_marks(said: str, meta: dict[str, Any], found: dict[str, Any]) -> str:
    """Her answer, behind each sentence that rests on a passage a mark that leads to it."""
    used = [one for one in found.get("passages", ()) if one.get("used")]
    parts, place = [], 0
    for _, end, number in meta.get("cited", ()):
        if number <= len(used):
            link = f'<a class="cite" href="#chunk-{escape(used[number - 1]["chunk_id"])}">{NUMBERS[number]}</a>'
            parts.append(escape(said[place:end]) + link)
            place = end
    return "".join(parts) + escape(said[place:])


def sources(found: dict[str, Any], language: str) -> str:
    """What was looked up for a question, folded: both ranks, the score and the cut, and why something was left out."""
    lines, number = [text("ui.chat.looked_for", language, question=found["question"])], 0
    nothing = found.get("why", "")
    if nothing:
        lines.append(text("ui.chat.left_out", language, why=text(nothing, language)))
    elif found.get("cut"):
        lines.append(text("ui.chat.cut", language, score=f"{found['cut']:.1f}", share=f"{BEHIND:.0%}"))
    for one in found["passages"]:
        number += bool(one["used"])
        values = {"document": one["document"], "score": f"{one['score']:.1f}", "coverage": f"{one['coverage']:.0%}"}
        values |= {"lexical": one["lexical_rank"] or "—", "dense": one["dense_rank"] or "—"}
        line = text("ui.chat.source", language, mark=NUMBERS[number] if one["used"] else "·", **values)
        if not one["used"] and one["why"] != nothing:
            line += " " + text("ui.chat.left_out", language, why=text(one["why"], language))
        lines.append(f"{line}\n{one['text']}" if one["used"] else line)
    title = text("ui.chat.sources" if number else "ui.chat.no_sources", language)
    told = escape("\n".join(lines))
    kind = "sources" if number else "sources unused"
    return f'<details class="{kind}"><summary>{escape(title)}</summary><div>{told}</div></details>'


def fired(found: dict[str, Any], language: str) -> str:
    """Which entries of her books a question called up, folded: why, their tokens, and what was left out."""
    told = [hit for hit in found.get("hits", ()) if not hit["left_out"]]
    tokens = sum(int(hit["tokens"]) for hit in told)
    title = text("ui.chat.lore", language, count=len(told), tokens=tokens)
    lines = escape("\n".join(lore_lines(found, language)))
    return f'<details class="sources"><summary>{escape(title)}</summary><div>{lines}</div></details>'
