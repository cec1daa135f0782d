"""What she remembers of whoever talks with her: proposals to accept, facts to edit and to forget, the summary.

Knows no prompt. Each person sees their own.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.chat import summaries
from anime_ai.chat.memory import LONGEST, SMALL_ROOM, WAYS
from anime_ai.errors import AnimeAIError
from anime_ai.texts import text
from anime_ai.ui.icons import icon
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, chooser, held, note
from anime_ai.ui.persons import Person

if TYPE_CHECKING:
    from anime_ai.chat.conversations import Conversation
    from anime_ai.chat.memory import Fact
    from anime_ai.studio import Studio

EVERY = 2.0
"""Seconds between two looks whether the model has found something."""
LIST = """
const tell = (act, id, more = {}) => trigger("click", { act, id, ...more });
let open = null; // the fact that is being edited, and its box
const edit = (row, kept) => {
  const name = row.querySelector("b");
  if (!name) return;
  const id = row.dataset.fact;
  const box = document.createElement("input");
  box.value = kept ?? name.textContent;
  box.maxLength = Number(element.querySelector("[data-most]").dataset.most);
  name.replaceWith(box);
  box.focus();
  open = { id, box };
  const leave = (keep) => {
    if (open?.box !== box) return;
    open = null;
    const said = box.value;
    box.replaceWith(name);
    if (keep && said.trim() && said !== name.textContent) tell("edit", id, { text: said });
  };
  // A redraw takes the box away too; then it comes back with what was typed.
  box.addEventListener("blur", () => setTimeout(() => { if (box.isConnected) leave(true); }));
  box.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.isComposing) return;
    if (event.key === "Enter") leave(true);
    if (event.key === "Escape") leave(false);
  });
};
watch("value", () => {
  const row = open && !open.box.isConnected && element.querySelector(`[data-fact="${open.id}"]`);
  if (row) edit(row, open.box.value);
});
element.addEventListener("click", (event) => {
  const pressed = event.target.closest("button[data-act]");
  const row = pressed?.closest("[data-fact]");
  if (!row) return;
  if (pressed.dataset.act === "edit") return edit(row);
  if (pressed.dataset.act === "forget" && row.dataset.kept && !pressed.classList.contains("sure")) {
    pressed.classList.add("sure");
    pressed.dataset.ask = element.querySelector("[data-sure]").dataset.sure;
    setTimeout(() => pressed.classList.remove("sure"), 3000);
    return;
  }
  tell(pressed.dataset.act, row.dataset.fact);
});
"""


class MemoryPanel:
    """Handlers, and the components after `build`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    # What the handlers answer with.

    def shown(
        self, person: Person, conversation_id: str, whose: Any = "", written: Any = None, told: Any = None
    ) -> list[Any]:
        """Updates of `outputs`. `whose`: of several personas the one whose memory it is. `written`: what stands in the
        box of the summary; where that is not what it was `told` last, somebody is writing there, and it stays."""
        found = self.studio.conversations.get(person.id, str(conversation_id))
        persona = self._persona(person, conversation_id, whose)
        facts = self.studio.memory.list(person.id, persona)
        waiting = sum(not fact.kept for fact in facts)
        key = "memory.title_waiting" if waiting else "memory.title"
        summary = self.studio.memory.summaries.text(found, persona)
        several = [(self.studio.personas.called(one.persona), one.persona) for one in found.members]
        given = {"of": [found.id, persona], "summary": summary}
        there = told if isinstance(told, dict) else {}
        writing = there.get("of") == given["of"] and (there.get("summary") or "") != str(written or "")
        box = [given, gr.update(value=summary or "", visible=summary is not None)]
        return [
            gr.update(label=text(key, person.language, count=len(facts) - waiting, waiting=waiting)),
            facts_list(facts, person.language),
            self.studio.memory.way(person.id, persona),
            gr.update(choices=several, value=persona if several else None, visible=bool(several)),
            *([gr.skip(), gr.skip()] if writing or there == given else box),
            gr.update(visible=summary is not None),
            self._read(person, found),
            gr.Timer(active=self.studio.listening.waits(found.id)),
        ]

    def _read(self, person: Person, conversation: Conversation) -> str:
        """What of all this the model that answers is given, and how facts are found with it."""
        real = self.studio.listening.by_model(person.id, conversation.id)
        key = "memory.read.model" if real else "memory.read.starter"
        return f'<p class="plain">{escape(text(key, person.language, most=SMALL_ROOM))}</p>'

    def _persona(self, person: Person, conversation_id: Any, whose: Any = "") -> str:
        found = self.studio.conversations.get(person.id, str(conversation_id))
        return str(whose) if whose in [one.persona for one in found.members] else found.persona

    # Handlers.

    def look_at_memory(self, person: Person, conversation_id: str, whose: Any = "", *box: Any) -> list[Any]:
        return self.shown(person, conversation_id, whose, *box)

    def notice_facts(self, person: Person, conversation_id: str, whose: Any = "", *box: Any) -> list[Any]:
        """Something was said: it is looked through, at once or in the next pause."""
        if not conversation_id:  # the page has not opened one yet, and will
            return [gr.skip() for _ in self.outputs]
        self.studio.listening.notice(person.id, str(conversation_id))
        return self.shown(person, conversation_id, whose, *box)

    def wait_for_facts(self, person: Person, conversation_id: str, whose: Any = "", *box: Any) -> list[Any]:
        """Show what the model has found, once it has."""
        if not conversation_id or self.studio.listening.waits(str(conversation_id)):
            return [gr.skip() for _ in self.outputs]
        return self.shown(person, conversation_id, whose, *box)

    def act_on_fact(
        self, person: Person, happened: gr.EventData, conversation_id: str, whose: Any = "", *box: Any
    ) -> list[Any]:
        told = happened._data if isinstance(happened._data, dict) else {}
        act, id = str(told.get("act", "")), str(told.get("id", ""))
        if act == "accept":
            self.studio.memory.accept(person.id, id)
        elif act == "edit":
            self.studio.memory.edit(person.id, id, str(told.get("text", "")))
        elif act == "forget":
            self.studio.memory.forget(person.id, id)
        return self.shown(person, conversation_id, whose, *box)

    def add_fact(self, person: Person, conversation_id: str, fact: str, whose: Any = "", *box: Any) -> list[Any]:
        self.studio.memory.add(person.id, self._persona(person, conversation_id, whose), str(fact or ""))
        return ["", *self.shown(person, conversation_id, whose, *box)]

    def choose_way(self, person: Person, conversation_id: str, way: str, whose: Any = "") -> None:
        self.studio.memory.set_way(person.id, self._persona(person, conversation_id, whose), str(way))

    def keep_summary(self, person: Person, conversation_id: str, summary: str, whose: Any = "") -> list[Any]:
        self.studio.memory.summaries.write(
            person.id, str(conversation_id), str(summary or ""), self._persona(person, conversation_id, whose)
        )
        note(text("memory.summary_kept", person.language), person.language)
        return self.shown(person, conversation_id, whose)

    def forget_everything(self, person: Person, conversation_id: str, sure: bool, whose: Any = "") -> list[Any]:
        if not sure:
            raise AnimeAIError("memory.not_sure")
        self.studio.memory.forget_all(person.id, self._persona(person, conversation_id, whose))
        return [False, *self.shown(person, conversation_id, whose)]

    # Components.

    def build(self) -> None:
        self.timer, self.told = gr.Timer(EVERY, active=False), held({})
        with gr.Accordion(label("memory.plain"), open=False, elem_id="memory") as self.accordion:
            self.whose = chooser(label=label("memory.whose"), visible=False, elem_id="memory-whose")
            self.list = gr.HTML(elem_id="memory-list", js_on_load=LIST)
            with gr.Row(equal_height=True):
                self.fact = gr.Textbox(
                    show_label=False,
                    label=label("memory.add"),
                    placeholder=label("memory.add.help"),
                    max_lines=1,
                    max_length=LONGEST,
                    container=False,
                    scale=5,
                    min_width=160,
                    elem_id="memory-fact",
                )
                self.add_button = gr.Button(label("memory.add"), size="sm", scale=1, min_width=90, elem_id="memory-add")
            self.way = gr.Radio(
                [(label(f"memory.way.{way}"), way) for way in WAYS],
                value=WAYS[0],
                label=label("memory.way"),
                info=label("memory.way.help"),
                elem_id="memory-way",
            )
            self.summary = gr.Textbox(
                label=label("memory.summary"),
                info=label("memory.summary.help"),
                lines=3,
                max_lines=10,
                max_length=summaries.LONGEST,
                visible=False,
                elem_id="memory-summary",
            )
            self.summary_button = gr.Button(label("memory.summary.keep"), size="sm", visible=False)
            self.read = gr.HTML(elem_id="memory-read")
            with gr.Row(equal_height=True):
                self.sure = gr.Checkbox(label=label("memory.sure"), container=False, scale=3, min_width=160)
                self.all_button = gr.Button(
                    label("memory.forget_all"), variant="stop", size="sm", scale=1, min_width=90, elem_id="memory-all"
                )

    @property
    def outputs(self) -> list[Any]:
        told = [self.told, self.summary, self.summary_button, self.read, self.timer]
        return [self.accordion, self.list, self.way, self.whose, *told]

    def connect(self, page: Page, conversation: Any, line: Any) -> None:
        """`line`: what shows the conversation, and changes when something was said in it."""
        box, outputs = [self.summary, self.told], self.outputs
        talk = [conversation, self.whose, *box]
        page.on(
            [self.accordion.expand, self.whose.input], self.look_at_memory, role="visitor", inputs=talk, outputs=outputs
        )
        page.on(
            line.change,
            self.notice_facts,
            role="visitor",
            inputs=talk,
            outputs=outputs,
            trigger_mode="always_last",
        )
        page.on(self.timer.tick, self.wait_for_facts, role="visitor", quiet=True, inputs=talk, outputs=outputs)
        page.on(
            self.list.click, self.act_on_fact, role="visitor", writes=True, event=True, inputs=talk, outputs=outputs
        )
        page.on(
            [self.add_button.click, self.fact.submit],
            self.add_fact,
            role="visitor",
            writes=True,
            inputs=[conversation, self.fact, self.whose, *box],
            outputs=[self.fact, *outputs],
        )
        way = [conversation, self.way, self.whose]
        page.on(self.way.input, self.choose_way, role="visitor", writes=True, inputs=way)
        page.on(
            self.summary_button.click,
            self.keep_summary,
            role="visitor",
            writes=True,
            inputs=[conversation, self.summary, self.whose],
            outputs=outputs,
        )
        page.on(
            self.all_button.click,
            self.forget_everything,
            role="visitor",
            writes=True,
            inputs=[conversation, self.sure, self.whose],
            outputs=[self.sure, *outputs],
        )


def facts_list(facts: list[Fact], language: str) -> str:
    """Facts as HTML: proposals with a button to keep them, all with the words that they came from."""
    if not facts:
        return f'<p class="empty">{escape(text("memory.none", language))}</p>'
    sure = escape(text("memory.sure_one", language))
    rows = "".join(_fact(fact, language) for fact in facts)
    return f'<ul class="remembered" data-sure="{sure}" data-most="{LONGEST}">{rows}</ul>'


def _fact(fact: Fact, language: str) -> str:
    names = {
        "accept": text("memory.accept", language),
        "edit": text("memory.edit", language),
        "forget": text("memory.forget" if fact.kept else "memory.refuse", language),
    }
    signs = {"accept": "keep", "edit": "edit", "forget": "delete"}
    acts = "".join(
        f'<button type="button" data-act="{act}" title="{escape(name)}" aria-label="{escape(name)}">'
        f"{icon(signs[act])}</button>"
        for act, name in names.items()
        if not (act == "accept" and fact.kept)
    )
    state = "" if fact.kept else f"<i>{escape(text('memory.proposed', language))}</i>"
    source = text("memory.source", language, said=fact.said[:80]) if fact.said else text("memory.by_hand", language)
    kind = ' data-kept="1"' if fact.kept else ' class="waiting-fact"'
    return (
        f'<li data-fact="{escape(fact.id)}"{kind}><div><b>{escape(fact.text)}</b>{state}'
        f'<small>{escape(source)}</small></div><span class="acts">{acts}</span></li>'
    )
