"""The chat tab: a person's conversations, the one that is open, how she answers, and two models compared.

Knows no prompt. Its parts have modules of their own; here stands what ties them: which conversation is open, and who
answers in it.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.chat.samplings import KNOBS
from anime_ai.chat.turns import How
from anime_ai.errors import AnimeAIError
from anime_ai.prompting import POLICIES
from anime_ai.texts import text
from anime_ai.ui.card_routes import who_asks
from anime_ai.ui.contrast import Contrast
from anime_ai.ui.drawer import Drawer
from anime_ai.ui.filling import ContextPanel
from anime_ai.ui.gathering import Gathering
from anime_ai.ui.generations import ANSWERS, Generations
from anime_ai.ui.group_panel import SHOWN, GroupPanel
from anime_ai.ui.icons import icon
from anime_ai.ui.labels import label
from anime_ai.ui.memory_panel import MemoryPanel
from anime_ai.ui.page import Page, chooser, held
from anime_ai.ui.persons import Person
from anime_ai.ui.sampling_form import SamplingForm
from anime_ai.ui.talking import Talking
from anime_ai.ui.transcript_route import export_menu

if TYPE_CHECKING:
    from anime_ai.chat.conversations import Conversation
    from anime_ai.persona.cards import Persona
    from anime_ai.studio import Studio


class ChatTab:
    """Handlers of the tab, and its components after `build`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.generations = Generations(studio.settings.answer_seconds)
        self.comparisons = Generations(studio.settings.answer_seconds)
        self.talking = Talking(studio, self.generations, self.how, self.beside)
        self.attachment = self.talking.attachment
        self.sampling = SamplingForm(studio)
        self.group = GroupPanel(studio, self.talking, self.show)
        self.drawer = Drawer(studio, self.show, self.generations.stop)
        self.contrast = Contrast(studio, self.comparisons)
        self.gathering = Gathering(studio)
        self.context = ContextPanel(studio, self.how)
        self.memory = MemoryPanel(studio)

    # What the handlers answer with.

    def how(
        self,
        person: Person,
        conversation: Conversation,
        stop: threading.Event | None,
        adapter: Any,
        think: Any,
        *knobs: Any,
    ) -> How:
        """How an answer is made, out of what the page sent. Raises SettingsError."""
        chosen = self.studio.chat.choice(str(adapter or ""), who_asks(person))
        policy = self.studio.chat.policy(conversation, chosen)
        if bool(think) == (policy == "silent"):  # this message goes another way than its conversation
            policy = "open" if think else "silent"
        elif conversation.members:  # each as her own adapter was trained
            policy = ""
        return How(chosen.id, SamplingForm.of(knobs), policy, stop)

    def answering_line(self, adapter: str, person: Person, persona: str = "") -> str:
        """The line that names the model that answers."""
        notices, language = [], person.language
        if persona and self.studio.personas.named(persona) is None:
            notices.append(text("talk.persona_gone", language, persona=persona))
        try:
            answering = self.studio.chat.answering(adapter, language, who_asks(person))
        except AnimeAIError as error:
            return f'<div class="who"><span class="notice">{escape(error.say(language))}</span></div>'
        kind = "dot starter" if answering.starter else "dot"
        notices += [answering.notice] if answering.notice else []
        notice = "".join(f'<span class="notice">{escape(one)}</span>' for one in notices)
        return f'<div class="who"><span class="{kind}"></span><b>{escape(answering.label)}</b>{notice}</div>'

    def adapter_choices(self, persona: str, person: Person) -> list[tuple[str, str]]:
        """(shown, id) of everything that can answer, the persona's own first."""
        choices = []
        for choice in self.studio.chat.adapters(persona, who_asks(person)):
            key = "ui.chat.adapter" if choice.id else "ui.chat.base_alone"
            choices.append((text(key, person.language, label=choice.label, persona=choice.persona or "—"), choice.id))
        return choices

    def beside(self, person: Person, conversation: Conversation) -> list[Any]:
        """Updates of the list and of the title."""
        title = escape(conversation.title or text("talk.untitled", person.language))
        return [
            self.drawer.shown(person, conversation.id),
            f'<div class="title"><b>{title}</b></div>',
            export_menu(conversation.id, person.language),
        ]

    def show(
        self,
        person: Person,
        conversation: Conversation | None,
        adapter: str | None = None,
        beside: Conversation | None = None,
    ) -> list[Any]:
        """Updates of `opens` that show a conversation; None changes nothing but what is told of `beside`. What she was
        saying in another one on this page ends: nobody reads on, and she can go on with it later."""
        if conversation is None:
            told = self.beside(person, beside) if beside else [gr.skip(), gr.skip(), gr.skip()]
            return [*told, *(gr.skip() for _ in range(len(KNOBS) + 13 + SHOWN))]
        self.generations.turn(person.session, conversation.id)
        several = bool(conversation.members)
        choices = self.adapter_choices(conversation.persona, person)
        known = [id for _, id in choices]
        last = next((said.meta.get("adapter") for said in conversation.messages[::-1] if "adapter" in said.meta), None)
        if several:  # each has her own
            adapter = self.studio.rounds.adapter(conversation, conversation.persona)
        wanted = [adapter, last, self.studio.chat.own_adapter(conversation.persona)]
        chosen = next(id for id in wanted if id is not None and id in known)
        self.studio.chat.warm(conversation, chosen)
        personas = [(self.called(one), one.name) for one in self.studio.personas.list(who_asks(person))]
        if conversation.persona not in [name for _, name in personas]:
            personas.append((conversation.persona, conversation.persona))
        return [
            *self.beside(person, conversation),
            conversation.id,
            gr.update(choices=personas, value=conversation.persona, label=self._with(person, conversation)),
            gr.update(choices=choices, value=chosen, visible=not several),
            self.talking.shown(person, conversation),
            "",
            self.answering_line("" if several else chosen, person, "" if several else conversation.persona),
            self._bases(person, conversation),
            *self._thinking(conversation, chosen),
            *self.sampling.shown(person, conversation),
            *self.group.shown(person, conversation),
            *self.talking.buttons(self.generations.runs(person.session, conversation.id)),
        ]

    @staticmethod
    def called(persona: Persona) -> str:
        """How a persona is offered: by both of her names where they differ."""
        return persona.name if persona.name == persona.character else f"{persona.name} · {persona.character}"

    def _with(self, person: Person, conversation: Conversation) -> str:
        """The label of the chooser of personas."""
        if not conversation.members:
            return text("ui.chat.persona", person.language)
        names = "、".join(self.studio.personas.called(one.persona) for one in conversation.members)
        return text("group.persona", person.language, names=names)

    def _thinking(self, conversation: Conversation, adapter: str) -> list[Any]:
        """Updates of the conversation's policy, and of the switch of the next message."""
        return [
            conversation.settings.get("think", ""),
            self.studio.chat.policy(conversation, adapter) != "silent",
        ]

    def _bases(self, person: Person, conversation: Conversation) -> Any:
        """Update of the bases that a conversation asks, out of those that this person may read."""
        speakers = [one.persona for one in conversation.members] or [conversation.persona]
        views = [replace(conversation, persona=one) for one in speakers]
        bases = {base.id: base.name for one in speakers for base in self.studio.knowledge.library.bases(person.id, one)}
        chosen = dict.fromkeys(id for view in views for id in self.studio.chat.bases_of(person.id, view))
        choices = [(name, id) for id, name in bases.items()]
        return gr.update(choices=choices, value=list(chosen), visible=bool(bases))

    # Handlers.

    def arrive(self, person: Person) -> list[Any]:
        """A page load: the conversation that this person was in, else a first one with the default persona."""
        importing = gr.update(visible=person.is_owner)  # nobody else may upload
        last = self.studio.conversations.last(person.id)
        if last is not None:
            return [*self.show(person, self.studio.chat.greeted(person.id, last.id)), importing]
        self.studio.quotas.change(who_asks(person))  # a cookie costs nothing, and each fresh one begins a conversation
        names = [persona.name for persona in self.studio.personas.list(who_asks(person))]
        persona = self.studio.settings.persona
        opened = self.studio.chat.open(person.id, persona if persona in names else names[0])
        return [*self.show(person, opened), importing]

    def choose_persona(self, person: Person, persona: str) -> list[Any]:
        known = self.studio.personas.find(str(persona), who_asks(person))
        return self.show(person, self.studio.chat.open(person.id, known.name))

    def choose_adapter(self, person: Person, adapter: str, conversation: str) -> list[Any]:
        found = self.studio.conversations.get(person.id, str(conversation))
        chosen = str(adapter or "")
        line = self.answering_line(chosen, person, found.persona)
        try:
            choice = self.studio.chat.choice(chosen, who_asks(person))
            self.studio.chat.warm(found, chosen)
            return [line, self.studio.chat.policy(found, choice) != "silent"]
        except AnimeAIError:
            return [line, False]

    def choose_knowledge(self, person: Person, conversation: str, bases: Any) -> None:
        known = [one.id for one in self.studio.knowledge.library.bases(person.id)]
        chosen = [base_id for base_id in known if isinstance(bases, list) and base_id in bases]
        self.studio.conversations.ask_of(person.id, str(conversation), chosen)

    def choose_think(self, person: Person, conversation: str, adapter: str, policy: str) -> bool:
        """The way of thinking of a conversation; whether the next message is thought about."""
        chosen = str(policy) if str(policy) in POLICIES else ""
        self.studio.conversations.settle(person.id, str(conversation), think=chosen)
        found = self.studio.conversations.get(person.id, str(conversation))
        return self.studio.chat.policy(found, str(adapter or "")) != "silent"

    def look_again(self, person: Person, persona: str, adapter: str, conversation: str) -> list[Any]:
        """The tab is opened: adapters and documents may have come or gone meanwhile."""
        if not conversation:  # the page has not opened one yet, and will
            return [gr.skip(), gr.skip(), gr.skip()]
        choices = self.adapter_choices(str(persona or ""), person)
        chosen = adapter if adapter in [id for _, id in choices] else choices[0][1]
        return [
            gr.update(choices=choices, value=chosen),
            self.answering_line(chosen, person, str(persona or "")),
            self._bases(person, self.studio.conversations.get(person.id, str(conversation))),
        ]

    def clear(self, person: Person, conversation: str, adapter: str) -> list[Any]:
        """Begin a new conversation with the same persona; the old one stays in the list."""
        old = self.studio.conversations.get(person.id, str(conversation))
        self.generations.stop(old.id)
        if members := [one.persona for one in old.members]:
            return self.show(person, self.studio.rounds.begin(person.id, members, str(old.settings.get("order", ""))))
        return self.show(person, self.studio.chat.start(person.id, old.persona), str(adapter or ""))

    def branch(self, person: Person, happened: gr.EventData) -> list[Any]:
        """The line up to a message as a conversation of its own, which is opened."""
        told = happened._data if isinstance(happened._data, dict) else {}
        fresh = self.studio.conversations.branches.branch(person.id, str(told.get("id", "")))
        return self.show(person, self.studio.conversations.get(person.id, fresh, opened=True))

    def leave(self, person: Person) -> None:
        """The page was closed: nobody reads on."""
        self.generations.leave(person.session)
        self.comparisons.leave(person.session)

    # Components.

    def build(self, page: Page, tab: Any, demo: gr.Blocks) -> None:
        self.conversation = held("")
        with gr.Row(equal_height=True):
            self.persona = chooser(label=label("ui.chat.persona"), scale=2, min_width=140, elem_id="persona")
            self.adapter = chooser(label=label("ui.chat.model"), scale=3, min_width=180, elem_id="adapter")
            self.knowledge = chooser(
                label=label("ui.chat.knowledge"), scale=3, min_width=180, multiselect=True, visible=False
            )
        self.line = gr.HTML(elem_id="answering")
        with gr.Tabs():
            with gr.Tab(label("ui.chat.talk"), id="talk"):
                with gr.Row(elem_id="room"):
                    with gr.Column(scale=0, min_width=230, elem_id="drawer"):
                        self.group.build_new()
                        self.drawer.build()
                    with gr.Column(scale=1, min_width=280, elem_id="talk-side"):
                        self._build_head()
                        self.talking.build(self.group.build_faces)
            with gr.Tab(label("ui.chat.compare"), id="compare") as self.compare_tab:
                self.contrast.build()
        with gr.Accordion(label("ui.chat.sampling"), open=False, elem_id="sampling"):
            self.policy = gr.Radio(
                [(label(f"talk.policy.{name or 'own'}"), name) for name in ("", *POLICIES)],
                value="",
                label=label("talk.policy"),
                info=label("talk.policy.help"),
                elem_id="policy",
            )
            self.sampling.build()
        self.group.build_panel()
        self.context.build()
        self.memory.build()
        self.gathering.build()
        self._connect(page, tab, demo)

    def _build_head(self) -> None:
        with gr.Row(equal_height=True, elem_id="talk-head"):
            gr.HTML(
                f'<button type="button" class="fold" data-drawer aria-label="{label("talk.list")}" '
                f'title="{label("talk.list")}">{icon("menu")}</button>',
                elem_id="fold",
            )
            self.title = gr.HTML(elem_id="talk-title")
            self.exports = gr.HTML(elem_id="talk-export")
            self.think = gr.Checkbox(label=label("talk.think"), container=False, scale=0, min_width=90, elem_id="think")
            self.clear_button = gr.Button(label("talk.new"), size="sm", scale=0, min_width=92, elem_id="clear")

    def _connect(self, page: Page, tab: Any, demo: gr.Blocks) -> None:
        talking = self.talking
        talking.aside = [self.drawer.list, self.title, self.exports]
        opens = [
            *talking.aside,
            *(self.conversation, self.persona, self.adapter, talking.line, talking.live, self.line, self.knowledge),
            *(self.policy, self.think, *self.sampling.outputs, *self.group.outputs),
            *(talking.send_button, talking.stop_button),
        ]
        self.opened = opens
        how = [self.adapter, self.think, *self.sampling.inputs]
        card = self.attachment
        asked = [self.conversation, *how, card.picture, card.words, card.who]
        card.connect(page)
        page.on(demo.load, self.arrive, role="visitor", outputs=[*opens, self.drawer.file])
        page.on_unload(demo, self.leave, role="visitor")
        page.on(
            tab.select,
            self.look_again,
            role="visitor",
            inputs=[self.persona, self.adapter, self.conversation],
            outputs=[self.adapter, self.line, self.knowledge],
        )
        self._connect_choices(page, opens)
        self._connect_saying(page, asked, how)
        page.on(
            self.clear_button.click,
            self.clear,
            role="visitor",
            writes=True,
            inputs=[self.conversation, self.adapter],
            outputs=opens,
        )
        page.on(talking.line.select, self.branch, role="visitor", writes=True, event=True, outputs=opens)
        self.drawer.connect(page, self.conversation, self.persona, opens)
        self.group.connect(page, self.conversation, opens, how)
        self.sampling.connect(page, self.persona)
        self.contrast.connect(page, self.compare_tab, self.persona, self.adapter, self.sampling.inputs)
        self.memory.connect(page, self.conversation, talking.line)
        self.gathering.connect(page, self.persona, self.adapter)
        self.context.connect(page, [talking.message, self.conversation, *how])

    def _connect_choices(self, page: Page, opens: list[Any]) -> None:
        """What is chosen for a conversation: her documents, who she is, what answers, how she thinks."""
        page.on(
            self.knowledge.input,
            self.choose_knowledge,
            role="visitor",
            writes=True,
            inputs=[self.conversation, self.knowledge],
        )
        page.on(
            self.persona.input, self.choose_persona, role="visitor", writes=True, inputs=[self.persona], outputs=opens
        )
        page.on(
            self.adapter.input,
            self.choose_adapter,
            role="visitor",
            inputs=[self.adapter, self.conversation],
            outputs=[self.line, self.think],
        )
        page.on(
            self.policy.input,
            self.choose_think,
            role="visitor",
            writes=True,
            inputs=[self.conversation, self.adapter, self.policy],
            outputs=[self.think],
        )

    def _connect_saying(self, page: Page, asked: list[Any], how: list[Any]) -> None:
        """What makes her answer, and what stops her."""
        talking = self.talking
        page.on(
            [talking.message.submit, talking.send_button.click],
            talking.send,
            role="visitor",
            inputs=[talking.message, *asked],
            outputs=talking.outputs,
            **ANSWERS,
        )
        for button in talking.examples:
            page.on(
                button.click,
                talking.send,
                role="visitor",
                inputs=[button, *asked],
                outputs=talking.outputs,
                **ANSWERS,
            )
        page.on(
            talking.line.click,
            talking.act_on_message,
            role="visitor",
            writes=True,
            event=True,
            inputs=[self.conversation, *how],
            outputs=talking.outputs,
            **ANSWERS,
        )
        page.on(talking.stop_button.click, talking.stop, role="visitor", inputs=[self.conversation])
