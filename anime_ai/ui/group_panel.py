"""Several personas in one conversation, on the page: begun in the drawer, changed below, let speak by their faces.

Knows no prompt. Whom a person may not talk to is offered to nobody, and refused by what is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.chat.cast import ORDERS
from anime_ai.chat.members import MOST
from anime_ai.errors import AnimeAIError
from anime_ai.texts import text
from anime_ai.ui.card_routes import avatar_url, who_asks
from anime_ai.ui.generations import ANSWERS
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, chooser, note
from anime_ai.ui.persons import Person
from anime_ai.ui.talking import Talking

if TYPE_CHECKING:
    from anime_ai.chat.conversations import Conversation
    from anime_ai.studio import Studio

SHOWN = 3 + MOST
"""Components that show something of a conversation's group."""
OWN = "own"
"""In a chooser: the adapter that is a member's own, whichever it is."""
FACES = """
element.addEventListener("click", (event) => {
  const pressed = event.target.closest("button[data-let]");
  if (pressed) trigger("click", { persona: pressed.dataset.let });
});
"""


class GroupPanel:
    """Handlers, and the components after the three `build_`s. `opened` answers with the updates that show a
    conversation."""

    def __init__(self, studio: Studio, talking: Talking, opened: Callable[..., list[Any]]) -> None:
        self.studio, self.talking, self.opened = studio, talking, opened

    # What the handlers answer with.

    def shown(self, person: Person, conversation: Conversation) -> list[Any]:
        """Updates of `outputs`."""
        members = [one.persona for one in conversation.members]
        order = str(conversation.settings.get("order", "")) or ORDERS[0]
        choices = self._choices(person, members or [conversation.persona])
        return [
            self.faces(person, conversation),
            gr.update(choices=choices, value=members or [conversation.persona]),
            gr.update(value=order, visible=bool(members)),
            *(self._adapter(person, conversation, place) for place in range(MOST)),
        ]

    def _choices(self, person: Person, there: list[str]) -> list[tuple[str, str]]:
        """(shown, persona) of those whom a person may talk to, and of who is there already."""
        offered = {one.name: one.character for one in self.studio.personas.list(who_asks(person))}
        for persona in there:
            offered.setdefault(persona, self.studio.personas.called(persona))
        return [(name if name == persona else f"{persona} · {name}", persona) for persona, name in offered.items()]

    def _adapter(self, person: Person, conversation: Conversation, place: int) -> Any:
        """Update of the chooser of the adapter of the member at a place."""
        if place >= len(conversation.members):
            return gr.update(visible=False)
        member, language = conversation.members[place], person.language
        choices = [(text("group.own_adapter", language), OWN)]
        for one in self.studio.chat.adapters(member.persona, who_asks(person)):
            key = "ui.chat.adapter" if one.id else "ui.chat.base_alone"
            choices.append((text(key, language, label=one.label, persona=one.persona or "—"), one.id))
        value = OWN if member.adapter is None else member.adapter
        if value not in [id for _, id in choices]:
            choices.append((text("group.lost_adapter", language), value))
        name = text("group.adapter_of", language, name=self.studio.personas.called(member.persona))
        return gr.update(choices=choices, value=value, label=name, visible=True)

    def faces(self, person: Person, conversation: Conversation) -> str:
        """A button for each member that lets her speak, and what happens when nobody is pressed."""
        if not conversation.members:
            return ""
        order = str(conversation.settings.get("order", ""))
        hint = text(f"group.hint.{order if order in ORDERS else ORDERS[0]}", person.language)
        buttons = "".join(self._face(person, one.persona) for one in conversation.members)
        return f'<div class="members"><div class="faces">{buttons}</div><small>{escape(hint)}</small></div>'

    def _face(self, person: Person, persona: str) -> str:
        her = self.studio.personas.named(persona)
        name = self.studio.personas.called(persona)
        gone = self.studio.rounds.is_missing(person.id, persona)
        said = escape(text("group.gone" if gone else "group.let", person.language, name=name))
        url = "" if gone else avatar_url(her)
        picture = f'<img src="{escape(url)}" alt="">' if url else escape(name[:1])
        kind = ' class="gone"' if gone else ""
        return (
            f'<button type="button" data-let="{escape(persona)}" title="{said}" aria-label="{said}"{kind}>'
            f'<i class="face">{picture}</i><span>{escape(name)}</span></button>'
        )

    # Handlers.

    def offer_group(self, person: Person) -> Any:
        """Who can be in a new group."""
        return gr.update(choices=self._choices(person, []))

    def start_group(self, person: Person, personas: Any, order: str) -> list[Any]:
        """Begin a conversation of several, and show it."""
        made = self.studio.rounds.begin(person.id, _names(personas), str(order or ""))
        return [*self.opened(person, made), gr.update(value=[])]

    def choose_members(self, person: Person, conversation_id: str, personas: Any) -> list[Any]:
        """Who speaks from now on; where that cannot be, the chooser shows again who does."""
        there = self.studio.conversations.get(person.id, str(conversation_id))
        if _names(personas) == [there.persona] and not there.members:  # nobody was added yet
            return self.opened(person, there)
        try:
            self.studio.rounds.gather(person.id, there.id, _names(personas))
        except AnimeAIError as error:
            note(error.say(person.language), person.language)
        return self.opened(person, self.studio.conversations.get(person.id, there.id))

    def choose_order(self, person: Person, conversation_id: str, order: str) -> str:
        chosen = str(order) if str(order) in ORDERS else ORDERS[0]
        self.studio.conversations.settle(person.id, str(conversation_id), order=chosen)
        return self.faces(person, self.studio.conversations.get(person.id, str(conversation_id)))

    def dress_members(self, person: Person, conversation_id: str, personas: Any, *adapters: Any) -> None:
        """What each member answers with. `personas`: those whom the page shows, in the order of their adapters; in
        another window others may have come, or gone."""
        there = self.studio.conversations.get(person.id, str(conversation_id))
        wanted = dict(zip(_names(personas), adapters, strict=False))
        for member in there.members:
            chosen = wanted.get(member.persona, member.adapter)
            adapter = None if chosen in (OWN, None) else str(chosen)
            if adapter != member.adapter:
                self.studio.rounds.dress(person.id, there.id, member.persona, adapter)

    def let_speak(self, person: Person, happened: gr.EventData, conversation_id: str, *how: Any) -> Iterator[list[Any]]:
        """Let the member whose face was pressed say something: updates of the conversation, as it is said."""
        told = happened._data if isinstance(happened._data, dict) else {}
        there = self.studio.conversations.get(person.id, str(conversation_id))
        persona, rounds = str(told.get("persona", "")), self.studio.rounds
        if not there.members:
            raise AnimeAIError("group.not_here", name=persona[:80])
        yield from self.talking.stream(person, there, lambda made: rounds.let(person.id, there.id, persona, made), how)

    # Components.

    def build_new(self) -> None:
        """In the drawer: a new group."""
        with gr.Accordion(label("group.new"), open=False, elem_id="new-group") as self.new:
            self.wanted = chooser(
                multiselect=True, max_choices=MOST, label=label("group.who"), elem_id="new-group-who", min_width=120
            )
            self.wanted_order = self._order(elem_id="new-group-order")
            self.start_button = gr.Button(
                label("group.start"), variant="primary", size="sm", min_width=90, elem_id="new-group-start"
            )

    def build_faces(self) -> None:
        """Above the box to write in."""
        self.bar = gr.HTML(elem_id="members", js_on_load=FACES)

    def build_panel(self) -> None:
        """Below: who is in this conversation, who speaks when, and with what."""
        with gr.Accordion(label("group.members"), open=False, elem_id="group"):
            self.members = chooser(
                multiselect=True,
                max_choices=MOST,
                label=label("group.who"),
                info=label("group.who.help"),
                elem_id="group-who",
            )
            self.order = self._order(visible=False, elem_id="group-order")
            with gr.Row(equal_height=True):
                self.adapters = [chooser(visible=False, min_width=180) for _ in range(MOST)]

    @staticmethod
    def _order(**told: Any) -> gr.Radio:
        choices = [(label(f"group.order.{name}"), name) for name in ORDERS]
        return gr.Radio(choices, value=ORDERS[0], label=label("group.order"), info=label("group.order.help"), **told)

    @property
    def outputs(self) -> list[Any]:
        return [self.bar, self.members, self.order, *self.adapters]

    def connect(self, page: Page, conversation: Any, opens: list[Any], how: list[Any]) -> None:
        """`opens`: what shows a conversation; `how`: what says how an answer is made."""
        page.on(self.new.expand, self.offer_group, role="visitor", outputs=[self.wanted])
        page.on(
            self.start_button.click,
            self.start_group,
            role="visitor",
            writes=True,
            inputs=[self.wanted, self.wanted_order],
            outputs=[*opens, self.wanted],
        )
        page.on(
            self.members.input,
            self.choose_members,
            role="visitor",
            writes=True,
            inputs=[conversation, self.members],
            outputs=opens,
            trigger_mode="always_last",
        )
        page.on(
            self.order.input,
            self.choose_order,
            role="visitor",
            writes=True,
            inputs=[conversation, self.order],
            outputs=[self.bar],
        )
        for one in self.adapters:
            page.on(
                one.input,
                self.dress_members,
                role="visitor",
                writes=True,
                inputs=[conversation, self.members, *self.adapters],
            )
        page.on(
            self.bar.click,
            self.let_speak,
            role="visitor",
            event=True,
            inputs=[conversation, *how],
            outputs=self.talking.outputs,
            **ANSWERS,
        )


def _names(personas: Any) -> list[str]:
    return [str(one) for one in personas] if isinstance(personas, list) else []
