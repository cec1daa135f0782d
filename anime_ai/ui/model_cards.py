"""The models as cards: what each is, what it needs, how far it is on its way, and the buttons. Knows no component.

A button carries what it does (`data-act`) and with which model (`data-id`); the tab is told of the click.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from types import MappingProxyType

from anime_ai.models.catalogue import KINDS, STARTER, Entry
from anime_ai.models.conversions import Conversion
from anime_ai.models.downloads import Download
from anime_ai.models.shelf import Held
from anime_ai.texts import text
from anime_ai.ui.run_view import duration

WHERE = {"embedding": "knowledge documents", "vision": "pictures"}
"""The tab in which a model of a kind is put to use."""


@dataclass(frozen=True)
class Needs:
    """Bytes of memory for a chat in 16 bits, for one in 4 bits, and for a training; `room`: what this machine has."""

    chat: int
    small: int
    train: int
    room: int


def cards(
    shelf: Sequence[Held],
    downloads: Mapping[str, Download],
    needs: Mapping[str, Needs],
    base: str,
    asking: str,
    language: str,
    converting: Mapping[str, Conversion | None] = MappingProxyType({}),
) -> str:
    """All models by kind. `base`: the id of the one that chats and is trained on; `asking`: the one whose deletion
    waits for a second click; `converting`: those that may become GGUF files, with how far each is (None: not begun)."""
    sections = []
    on_the_way = [Held(entry, None, 0) for entry in _others(shelf, downloads)]
    for kind in KINDS:
        found = [one for one in (*shelf, *on_the_way) if one.entry.kind == kind]
        if found:
            made = "".join(
                card(
                    one, downloads.get(one.entry.id), needs.get(one.entry.id), base, asking, language,
                    conversion(one.entry.id, converting, language),
                )
                for one in found
            )  # fmt: skip
            title = escape(text(f"model.kind.{kind}", language))
            sections.append(f'<section><h3>{title}</h3><div class="shelf-cards">{made}</div></section>')
    return "".join(sections)


def _others(shelf: Sequence[Held], downloads: Mapping[str, Download]) -> list[Entry]:
    """What is on its way and not listed yet."""
    known = {one.entry.id for one in shelf}
    return [
        Entry(one.id, "gguf" if one.kind == "gguf" else "embedding" if one.kind == "embedding" else "base")
        for one in downloads.values()
        if one.id not in known and one.state != "finished"
    ]


def card(
    held: Held, download: Download | None, needs: Needs | None, base: str, asking: str, language: str, more: str = ""
) -> str:
    """One model; `more` stands below its buttons."""
    one = held.entry
    chosen = one.id == base
    coming = download if download is not None and not held.present and download.state != "finished" else None
    state = "chosen" if chosen else "present" if held.present else "coming" if coming else "absent"
    size = f"{held.bytes / 1e9:.2f} GB" if held.bytes else ""
    facts = " · ".join(part for part in (size, one.licence, _memory(needs, language)) if part)
    name = text("model.starter", language) if one.id == STARTER else one.id
    mark = text(f"ui.models.{state}", language) if state != "coming" else ""
    tight = needs is not None and min(needs.chat, needs.small) > needs.room
    lines = [
        f"<header><b>{escape(name)}</b>{f'<i>{escape(mark)}</i>' if mark and state != 'absent' else ''}</header>",
        f"<p>{escape(text(one.good, language))}</p>" if one.good else "",
        f"<small>{escape(facts)}</small>" if facts else "",
        f'<small class="tight">{escape(text("ui.models.tight", language, room=_giga(needs.room)))}</small>'
        if tight and needs
        else "",
        progress(coming, language) if coming else "",
        f'<div class="acts">{_buttons(held, coming, chosen, asking == one.id, language)}</div>',
        more,
    ]
    return f'<article class="{state}">{"".join(lines)}</article>'


def conversion(id: str, converting: Mapping[str, Conversion | None], language: str) -> str:
    """The button that makes a GGUF file of a base, how far that is, or why it ended."""
    if id not in converting:
        return ""
    now = converting[id]
    going = now is not None and now.running
    key = "ui.models.convert.stop" if going else "ui.models.convert"
    act = "unconvert" if going else "convert"
    made = f'<button type="button" data-act="{act}" data-id="{escape(id)}">{escape(text(key, language))}</button>'
    bar = f'<div class="bar"><i style="width:{now.share * 100:.1f}%"></i></div>' if now is not None and going else ""
    why = f'<p class="why">{escape(now.error.say(language))}</p>' if now is not None and now.error else ""
    help = f"<small>{escape(text('ui.models.convert.help', language))}</small>"
    return f'{bar}{why}<div class="acts">{made}</div>{help}'


def progress(now: Download, language: str) -> str:
    """A bar, how much has come, how fast, how long it will take; or why it does not go on."""
    share = now.done / now.total if now.total else 0.0
    told = [text(f"ui.models.state.{now.state}", language)]
    if now.total:
        told.append(f"{_giga(now.done)} / {_giga(now.total)} GB")
    if now.speed:
        told.append(f"{now.speed / 1e6:.1f} MB/s")
    if now.seconds is not None:
        told.append(text("ui.training.left", language, time=duration(now.seconds, language)))
    why = f'<p class="why">{escape(now.error.say(language))}</p>' if now.error else ""
    line = f'<div class="who">{escape(" · ".join(told))}</div>'
    return f'<div class="bar"><i style="width:{share * 100:.1f}%"></i></div>{line}{why}'


def _buttons(held: Held, coming: Download | None, chosen: bool, asking: bool, language: str) -> str:
    one = held.entry

    def button(act: str, key: str, kind: str = "") -> str:
        said = escape(text(key, language))
        return f'<button type="button" class="{kind}" data-act="{act}" data-id="{escape(one.id)}">{said}</button>'

    if asking:
        sure = (
            "ui.models.forget.sure" if held.own else "ui.models.delete.sure" if held.present else "ui.models.drop.sure"
        )
        return button("delete", sure, "stop") + button("keep", "ui.models.keep")
    if coming is not None and coming.active:
        return button("stop", "ui.models.stop")
    if coming is not None:
        return button("download", "ui.models.resume", "primary") + button("ask", "ui.models.drop")
    if not held.present and not held.own:
        return button("download", "ui.models.download", "primary")
    found = ""
    if one.kind in ("base", "gguf") and held.present and not chosen:
        found = button("use", "ui.models.use" if one.kind == "base" else "ui.models.use_chat", "primary")
    elif one.kind in WHERE and held.present:
        found = f'<button type="button" data-go="{WHERE[one.kind]}">{escape(text("ui.models.go", language))}</button>'
    if one.id != STARTER:
        found += button("ask", "ui.models.forget" if held.own else "ui.models.delete")
    return found


def _memory(needs: Needs | None, language: str) -> str:
    if needs is None:
        return ""
    sizes = {"chat": _giga(needs.chat), "small": _giga(needs.small), "train": _giga(needs.train)}
    return text("ui.models.memory", language, **sizes)


def _giga(size: float) -> str:
    return f"{size / 1e9:.1f}" if size >= 1e8 else f"{size / 1e9:.2f}"
