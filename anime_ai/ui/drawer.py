"""The list of a person's conversations beside the one that is open: found, named, pinned, thrown away.

Knows no message's form. What another person's is, is not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.chat.search import Hit
from anime_ai.chat.transcripts import take
from anime_ai.errors import ChatFileError
from anime_ai.texts import text
from anime_ai.ui.icons import icon
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, note
from anime_ai.ui.persons import Person

if TYPE_CHECKING:
    from anime_ai.chat.conversations import Conversation
    from anime_ai.studio import Studio

MOST_MB = 20
LIST = """
const tell = (act, id, more = {}) => trigger("click", { act, id, ...more });
const rename = (row) => {
  const name = row.querySelector("b");
  const box = document.createElement("input");
  box.value = name.textContent;
  box.maxLength = 120;
  name.replaceWith(box);
  box.focus();
  box.select();
  let left = false;
  const leave = (keep) => {
    if (left) return;
    left = true;
    const said = box.value;
    box.replaceWith(name);
    if (keep && said.trim() && said !== name.textContent) tell("rename", row.dataset.talk, { text: said });
  };
  box.addEventListener("blur", () => leave(true));
  box.addEventListener("click", (event) => event.stopPropagation());
  box.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.isComposing) return;
    if (event.key === "Enter") leave(true);
    if (event.key === "Escape") leave(false);
  });
};
const choose = (event) => {
  const row = event.target.closest("[data-talk]");
  if (!row) return;
  const pressed = event.target.closest("button[data-act]");
  const act = pressed?.dataset.act;
  if (act === "rename") return rename(row);
  if (act === "remove" && !pressed.classList.contains("sure")) {
    pressed.classList.add("sure");
    pressed.dataset.ask = element.querySelector("[data-sure]")?.dataset.sure ?? "";
    setTimeout(() => pressed.classList.remove("sure"), 3000);
    return;
  }
  if (event.target.closest("details")) return;
  tell(act || "open", row.dataset.talk, { message: row.dataset.at || "" });
  if (!act) document.documentElement.classList.remove("drawer-open");
};
element.addEventListener("click", choose);
window.addEventListener("click", (event) => { // the way back from a row that was made of an answer
  const back = element.isConnected && event.target instanceof Element && event.target.closest("[data-back-talk]");
  if (back) setTimeout(() => tell("open", back.dataset.backTalk, { message: back.dataset.at }), 400);
});
element.addEventListener("keydown", (event) => {
  if (event.isComposing || event.target.matches("input")) return;
  const row = event.target.closest("[data-talk]");
  if (!row) return;
  if (event.key === "Enter" && event.target === row) choose(event);
  const next = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
  if (next?.matches("[data-talk]")) { event.preventDefault(); next.focus(); }
});
"""


class Drawer:
    """Handlers, and the components after `build`. `opened` answers with the updates that show a conversation, or, with
    None and what is open as `beside`, with those of the list and the title alone. `stop` ends what is being said in a
    conversation."""

    def __init__(self, studio: Studio, opened: Callable[..., list[Any]], stop: Callable[[str], None]) -> None:
        self.studio, self.opened, self.stop = studio, opened, stop

    def shown(self, person: Person, open_id: str = "") -> str:
        """The list as HTML."""
        found = self.studio.conversations.list(person.id)
        rows = [one for one in found if one.title or one.pinned or one.id == open_id]
        return _list([_row(one, self._with(one), open_id, person.language) for one in rows], person.language)

    def _with(self, one: Conversation) -> str:
        """With whom a conversation is."""
        return "、".join(self.studio.personas.called(member.persona) for member in one.members) or one.persona

    # Handlers.

    def act_on_talk(self, person: Person, happened: gr.EventData, open_id: str) -> list[Any]:
        """Something was done to a conversation of the list: updates that show what is open now."""
        told = happened._data if isinstance(happened._data, dict) else {}
        act, id = str(told.get("act", "")), str(told.get("id", ""))
        conversations = self.studio.conversations
        there = conversations.get(person.id, id)
        if act == "open":
            if told.get("message"):
                message = str(told["message"])
                if conversations.branches.conversation_of(person.id, message) == there.id:
                    conversations.branches.show(person.id, message)
            there = conversations.get(person.id, id, opened=True)
            return self.opened(person, there)
        if act == "pin":
            conversations.pin(person.id, id, not there.pinned)
        elif act == "rename":
            conversations.rename(person.id, id, str(told.get("text", "")))
        elif act == "remove":
            self.stop(id)
            conversations.remove(person.id, id)
            if id == open_id:
                last = conversations.last(person.id)
                fresh = (
                    conversations.get(person.id, last.id) if last else self.studio.chat.open(person.id, there.persona)
                )
                return self.opened(person, fresh)
        shown = conversations.get(person.id, str(open_id)) if open_id else None
        return self.opened(person, None, beside=shown)

    def find_talk(self, person: Person, words: str, open_id: str) -> str:
        """What was looked for, in all that was ever said; the list again where nothing is."""
        if not str(words or "").strip():
            return self.shown(person, str(open_id or ""))
        hits = self.studio.search.find(person.id, str(words))
        return _list([_hit(one, person.language) for one in hits], person.language, "talk.nothing_found")

    def take(self, person: Person, file: Any, persona: str) -> list[Any]:
        """A file's conversation, opened; with this persona where it does not say with whom it is."""
        path = Path(str(file))
        try:
            if path.stat().st_size > MOST_MB * 2**20:
                raise ChatFileError("chat_file.too_big", most=MOST_MB)
            content = path.read_bytes()
            id = take(self.studio.conversations, person.id, content, str(persona or ""), self.studio.personas.meant)
        finally:
            path.unlink(missing_ok=True)
        note(text("transcript.taken", person.language), person.language)
        return self.opened(person, self.studio.conversations.get(person.id, id, opened=True))

    # Components.

    def build(self) -> None:
        self.search = gr.Textbox(
            show_label=False,
            label=label("talk.search"),
            placeholder=label("talk.search"),
            max_lines=1,
            max_length=200,
            container=False,
            elem_id="talk-search",
        )
        self.list = gr.HTML(elem_id="talks", js_on_load=LIST)
        self.file = gr.UploadButton(
            label("transcript.import"), file_types=[".json", ".jsonl"], size="sm", visible=False, elem_id="talk-import"
        )

    def connect(self, page: Page, conversation: Any, persona: Any, opens: Sequence[Any]) -> None:
        """`opens`: what shows a conversation."""
        page.on(self.file.upload, self.take, role="owner", inputs=[self.file, persona], outputs=opens)
        page.on(
            self.list.click,
            self.act_on_talk,
            role="visitor",
            writes=True,
            event=True,
            inputs=[conversation],
            outputs=opens,
        )
        # Gradio's `input` of a text box comes with a key press, before its letter, and with none of an input method.
        page.on(
            [self.search.submit, self.search.change],
            self.find_talk,
            role="visitor",
            inputs=[self.search, conversation],
            outputs=[self.list],
            trigger_mode="always_last",
        )


def _list(rows: Sequence[str], language: str, nothing: str = "talk.no_talks") -> str:
    sure = escape(text("talk.sure", language))
    if not rows:
        return f'<p class="empty">{escape(text(nothing, language))}</p>'
    return f'<ul class="talks" data-sure="{sure}">{"".join(rows)}</ul>'


def _row(one: Conversation, who: str, open_id: str, language: str) -> str:
    title = escape(one.title or text("talk.untitled", language))
    kind = " ".join(name for name, is_so in (("chosen", one.id == open_id), ("pinned", one.pinned)) if is_so)
    acts = "".join(
        f'<button type="button" data-act="{act}" title="{name}" aria-label="{name}">{icon(sign)}</button>'
        for act, sign, name in (
            ("pin", "pin", escape(text("talk.unpin" if one.pinned else "talk.pin", language))),
            ("rename", "rename", escape(text("talk.rename", language))),
            ("remove", "delete", escape(text("talk.remove", language))),
        )
    )
    when = escape(f"{who} · {_when(one.updated)}")
    return (
        f'<li class="{kind}" data-talk="{escape(one.id)}" tabindex="0"><b>{title}</b><small>{when}</small>'
        f'<span class="acts">{acts}</span></li>'
    )


def _hit(one: Hit, language: str) -> str:
    who = text("talk.you", language) if one.role == "user" else one.persona
    said = f"{escape(one.before)}<mark>{escape(one.match)}</mark>{escape(one.after)}"
    head = escape(f"{one.title or text('talk.untitled', language)} · {_when(one.created)}")
    at = escape(one.message_id)
    return (
        f'<li class="hit" data-talk="{escape(one.conversation_id)}" data-at="{at}" tabindex="0">'
        f"<small>{head}</small><span>{escape(who)}：{said}</span></li>"
    )


def _when(moment: float) -> str:
    today = time.strftime("%Y-%m-%d") == time.strftime("%Y-%m-%d", time.localtime(moment))
    return time.strftime("%H:%M" if today else "%m-%d", time.localtime(moment))
