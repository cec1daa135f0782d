"""The chat tab: one conversation with one persona, and the same question asked of two models. Knows no prompt."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.chat.service import LOOK
from anime_ai.errors import AnimeAIError, SettingsError
from anime_ai.models.engine import Sampling
from anime_ai.texts import text
from anime_ai.ui.attaching import Attachment
from anime_ai.ui.card_routes import avatar_url, who_asks
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, chooser
from anime_ai.ui.persons import Person
from anime_ai.ui.said import fired, inert, side_by_side, sources, thought, with_marks, with_picture

if TYPE_CHECKING:
    from anime_ai.chat.conversations import Conversation
    from anime_ai.persona.cards import Persona
    from anime_ai.studio import Studio

EXAMPLES = ("anime", "homework", "morning", "sad")
BOUNDS = {
    "temperature": (0.0, 2.0),
    "top_p": (0.05, 1.0),
    "repetition_penalty": (1.0, 2.0),
    "max_new_tokens": (8, 1024),
}
MOST_CHARACTERS = 8000


class Generations:
    """Which generation belongs to which conversation and page load, so that it can be stopped from either."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[str, threading.Event]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def one(self, name: str, session: str) -> Iterator[threading.Event]:
        """The stop event of a new generation. Raises AnimeAIError while `name` has one."""
        stop = threading.Event()
        with self._lock:
            if name in self._running:
                raise AnimeAIError("chat.busy")
            self._running[name] = (session, stop)
        try:
            yield stop
        finally:
            stop.set()
            with self._lock:
                self._running.pop(name, None)

    def stop(self, name: str) -> None:
        with self._lock:
            found = self._running.get(name)
        if found:
            found[1].set()

    def leave(self, session: str) -> None:
        """End whatever a closed page has started."""
        with self._lock:
            stops = [stop for owner, stop in self._running.values() if session and owner == session]
        for stop in stops:
            stop.set()


class ChatTab:
    """Handlers of the tab, and its components after `build`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.generations = Generations()
        self.attachment = Attachment(studio)

    # What the handlers answer with.

    def messages(self, conversation: Conversation, language: str) -> list[dict[str, Any]]:
        """The greeting and the conversation in the chatbot's form; her thoughts are folded."""
        shown: list[dict[str, Any]] = []
        found: dict[str, Any] = {}
        lore: dict[str, Any] = {}
        persona = self._persona(conversation.persona)
        if persona and persona.greeting:
            shown.append({"role": "assistant", "content": inert(persona.greeting)})
        for message in conversation.messages:
            if message.thinking.strip():
                shown.append(thought(message.thinking, language))
            if message.role == "user":
                found, lore = (message.meta.get(name) or {} for name in ("retrieval", "lore"))
                shown.append({"role": "user", "content": with_picture(message.content, message.meta)})
            elif message.content:
                shown.append({"role": "assistant", "content": with_marks(message.content, message.meta, found)})
                if found:
                    shown.append(sources(found, language))
                if lore:
                    shown.append(fired(lore, language))
                found, lore = {}, {}
        return shown

    def answering_line(self, adapter: str, language: str) -> str:
        """The line that names the model that answers."""
        try:
            answering = self.studio.chat.answering(adapter, language)
        except AnimeAIError as error:
            return f'<div class="who"><span class="notice">{escape(error.say(language))}</span></div>'
        kind = "dot starter" if answering.starter else "dot"
        notice = f'<span class="notice">{escape(answering.notice)}</span>' if answering.notice else ""
        return f'<div class="who"><span class="{kind}"></span><b>{escape(answering.label)}</b>{notice}</div>'

    def adapter_choices(self, persona: str, language: str) -> list[tuple[str, str]]:
        """(shown, id) of everything that can answer, the persona's own first."""
        choices = []
        for choice in self.studio.chat.adapters(persona):
            key = "ui.chat.adapter" if choice.id else "ui.chat.base_alone"
            choices.append((text(key, language, label=choice.label, persona=choice.persona or "—"), choice.id))
        return choices

    @staticmethod
    def called(persona: Persona) -> str:
        """How a persona is offered: by both of her names where they differ."""
        return persona.name if persona.name == persona.character else f"{persona.name} · {persona.character}"

    def _persona(self, name: str) -> Persona | None:
        return self.studio.personas.named(name)

    def _opened(self, person: Person, conversation: Conversation, adapter: str | None = None) -> list[Any]:
        """Updates of conversation, persona, adapter, talk, line, knowledge."""
        choices = self.adapter_choices(conversation.persona, person.language)
        known = [id for _, id in choices]
        last = next((said.meta.get("adapter") for said in conversation.messages[::-1] if "adapter" in said.meta), None)
        fitting = [
            one.id for one in self.studio.chat.adapters(conversation.persona) if one.persona == conversation.persona
        ]
        wanted = [adapter, last, *fitting, ""]
        chosen = next(id for id in wanted if id is not None and id in known)
        personas = [(self.called(one), one.name) for one in self.studio.personas.list(who_asks(person))]
        return [
            conversation.id,
            gr.update(choices=personas, value=conversation.persona),
            gr.update(choices=choices, value=chosen),
            gr.update(value=self.messages(conversation, person.language), avatar_images=self._avatar(conversation)),
            self.answering_line(chosen, person.language),
            self._bases(person, conversation),
        ]

    def _avatar(self, conversation: Conversation) -> tuple[None, dict[str, str] | None]:
        """No picture of the person, and hers where she has one."""
        persona = self._persona(conversation.persona)
        url = avatar_url(persona)
        return None, {"url": url} if url else None

    def _bases(self, person: Person, conversation: Conversation) -> Any:
        """Update of the bases that a conversation asks, out of those that this person may read."""
        bases = self.studio.knowledge.library.bases(person.id, conversation.persona)
        chosen = self.studio.chat.bases_of(person.id, conversation)
        return gr.update(choices=[(one.name, one.id) for one in bases], value=chosen, visible=bool(bases))

    # Handlers.

    def arrive(self, person: Person) -> list[Any]:
        """A page load: the conversation that this person was in, else a first one with the default persona."""
        names = [persona.name for persona in self.studio.personas.list(who_asks(person))]
        last = next((one for one in self.studio.conversations.list(person.id) if not one.closed), None)
        persona = last.persona if last and last.persona in names else self.studio.settings.persona
        persona = persona if persona in names else names[0]
        return self._opened(person, self.studio.conversations.open(person.id, persona))

    def choose_persona(self, person: Person, persona: str) -> list[Any]:
        known = self.studio.personas.find(str(persona), who_asks(person))
        return self._opened(person, self.studio.conversations.open(person.id, known.name))

    def choose_adapter(self, person: Person, adapter: str) -> str:
        return self.answering_line(str(adapter or ""), person.language)

    def choose_knowledge(self, person: Person, conversation: str, bases: Any) -> None:
        known = [one.id for one in self.studio.knowledge.library.bases(person.id)]
        chosen = [base_id for base_id in known if isinstance(bases, list) and base_id in bases]
        self.studio.conversations.ask_of(person.id, str(conversation), chosen)

    def look_again(self, person: Person, persona: str, adapter: str, conversation: str) -> list[Any]:
        """The tab is opened: adapters and documents may have come or gone meanwhile."""
        choices = self.adapter_choices(str(persona or ""), person.language)
        chosen = adapter if adapter in [id for _, id in choices] else choices[0][1]
        bases = gr.skip()
        if conversation:
            bases = self._bases(person, self.studio.conversations.get(person.id, str(conversation)))
        return [gr.update(choices=choices, value=chosen), self.answering_line(chosen, person.language), bases]

    def send(self, person: Person, message: str, conversation: str, adapter: str, *rest: Any) -> Iterator[list[Any]]:
        """Stream her answer: updates of talk, message, send, stop, line, then of the picture's card. `rest`: the five
        sampling settings, then the picture that goes along, the words on its card, and who it is."""
        chosen = sampling_of(*rest[:5])
        picture = self.attachment.taken(person, *rest[5:8]) if rest[5:] else None
        said = str(message or "").strip() or (LOOK if picture else "")
        if len(said) > MOST_CHARACTERS:
            raise AnimeAIError("ui.too_long", length=len(said), most=MOST_CHARACTERS)
        before = self.messages(self.studio.conversations.get(person.id, str(conversation)), person.language)
        busy, free = (
            [gr.update(visible=False), gr.update(visible=True)],
            [gr.update(visible=True), gr.update(visible=False)],
        )
        with self.generations.one(str(conversation), person.session) as stop:
            replies = self.studio.chat.reply(
                person.id, str(conversation), said, str(adapter or ""), chosen, stop, picture=picture
            )
            meta = {"picture": asdict(picture)} if picture else {}
            talk = [*before, {"role": "user", "content": with_picture(said, meta)}]
            kept_card = [gr.skip() for _ in self.attachment.none()]
            sent = self.attachment.put("", visible=False) if picture else kept_card
            back = self.attachment.put(picture.picture_id, visible=True) if picture else kept_card
            waiting = {"role": "assistant", "content": "…"}
            try:
                if said:
                    yield [[*talk, waiting], "", *busy, gr.skip(), *sent]
                for reply in replies:
                    thoughts = [thought(reply.thinking, person.language)] if reply.thinking.strip() else []
                    answer = [{"role": "assistant", "content": inert(reply.text)}] if reply.text else []
                    yield [[*talk, *(thoughts + answer or [waiting])], gr.skip(), *busy, gr.skip(), *kept_card]
            except Exception:
                # What she could not answer goes back into the box, so that it need not be typed again.
                kept = self.studio.conversations.get(person.id, str(conversation))
                yield [self.messages(kept, person.language), said, *free, gr.skip(), *back]
                raise
            finally:
                replies.close()  # type: ignore[attr-defined]
            whole = self.studio.conversations.get(person.id, str(conversation))
            line = self.answering_line(str(adapter or ""), person.language)
            yield [self.messages(whole, person.language), gr.skip(), *free, line, *kept_card]

    def stop(self, person: Person, conversation: str) -> None:
        self.studio.conversations.get(person.id, str(conversation))
        self.generations.stop(str(conversation))

    def clear(self, person: Person, conversation: str, adapter: str) -> list[Any]:
        """Set the conversation aside and begin anew; nothing is deleted."""
        old = self.studio.conversations.get(person.id, str(conversation))
        self.generations.stop(old.id)
        self.studio.conversations.close(person.id, old.id)
        return self._opened(person, self.studio.conversations.open(person.id, old.persona), str(adapter or ""))

    def leave(self, person: Person) -> None:
        """The page was closed: nobody reads on."""
        self.generations.leave(person.session)

    def compare(self, person: Person, message: str, persona: str, adapter: str, *sampling: Any) -> Iterator[list[Any]]:
        """One question with one seed to the base and to the adapter: updates of both answers and two buttons."""
        chosen = sampling_of(*sampling)
        if chosen.seed is None:
            chosen = Sampling(**{**vars(chosen), "seed": random.randrange(2**31)})
        asked, adapter = str(message or "").strip(), str(adapter or "")
        if not asked:
            raise AnimeAIError("chat.blank")
        if len(asked) > MOST_CHARACTERS:
            raise AnimeAIError("ui.too_long", length=len(asked), most=MOST_CHARACTERS)
        if not adapter:
            raise AnimeAIError("ui.compare_alone")
        answers = {"": "…", adapter: "…"}
        names = {id: self.studio.chat.answering(id, person.language).label for id in answers}
        name = f"compare:{person.id}"
        busy, free = (
            [gr.update(visible=False), gr.update(visible=True)],
            [gr.update(visible=True), gr.update(visible=False)],
        )
        with self.generations.one(name, person.session) as stop:
            try:
                yield [side_by_side(names, answers), *busy]
                for id in answers:
                    for reply in self.studio.chat.ask(asked, str(persona), id, chosen, stop):
                        answers[id] = reply.text or "…"
                        yield [side_by_side(names, answers), *busy]
            except Exception:
                yield [side_by_side(names, answers), *free]
                raise
        yield [side_by_side(names, answers), *free]

    def stop_comparing(self, person: Person) -> None:
        self.generations.stop(f"compare:{person.id}")

    # Components.

    def build(self, page: Page, tab: Any, demo: gr.Blocks) -> None:
        self.conversation = gr.State("")
        with gr.Row(equal_height=True):
            self.persona = chooser(label=label("ui.chat.persona"), scale=2, min_width=140)
            self.adapter = chooser(label=label("ui.chat.model"), scale=3, min_width=180, elem_id="adapter")
            self.knowledge = chooser(
                label=label("ui.chat.knowledge"), scale=3, min_width=180, multiselect=True, visible=False
            )
        self.line = gr.HTML(elem_id="answering")
        with gr.Tabs():
            with gr.Tab(label("ui.chat.talk"), id="talk"):
                self._build_talk()
            with gr.Tab(label("ui.chat.compare"), id="compare"):
                self._build_compare()
        with gr.Accordion(label("ui.chat.sampling"), open=False):
            self._build_sampling()
        self._connect(page, tab, demo)

    def _build_talk(self) -> None:
        self.talk = gr.Chatbot(
            elem_id="talk",
            show_label=False,
            label=label("ui.chat.talk"),
            height="clamp(280px, 46vh, 560px)",
            layout="bubble",
            render_markdown=False,
            sanitize_html=True,
            allow_tags=False,
            reasoning_tags=[],
            latex_delimiters=[],
            line_breaks=True,
            buttons=["copy"],
            feedback_options=None,
            allow_file_downloads=False,
            placeholder=label("ui.chat.empty"),
        )
        with gr.Row(elem_classes="chips"):
            self.examples = [gr.Button(label(f"ui.chat.example.{name}"), size="sm") for name in EXAMPLES]
        self.attachment.build_card()
        with gr.Row(equal_height=True, elem_id="say"):
            self.attachment.build_button()
            self.message = gr.Textbox(
                show_label=False,
                label=label("ui.chat.message"),
                placeholder=label("ui.chat.placeholder"),
                lines=1,
                max_lines=6,
                max_length=MOST_CHARACTERS,
                scale=8,
                min_width=160,
                autofocus=True,
                container=False,
                elem_id="message",
            )
            self.send_button = gr.Button(
                label("ui.chat.send"), variant="primary", scale=1, min_width=84, elem_id="send"
            )
            self.stop_button = gr.Button(
                label("ui.chat.stop"), variant="stop", scale=1, min_width=84, visible=False, elem_id="stop"
            )
            self.clear_button = gr.Button(label("ui.chat.clear"), scale=1, min_width=84, elem_id="clear")

    def _build_compare(self) -> None:
        self.answers = gr.HTML(f'<p class="empty">{label("ui.compare.empty")}</p>', elem_id="answers")
        with gr.Row(equal_height=True):
            self.question = gr.Textbox(
                show_label=False,
                label=label("ui.chat.message"),
                placeholder=label("ui.compare.placeholder"),
                lines=1,
                max_lines=4,
                max_length=MOST_CHARACTERS,
                scale=8,
                min_width=160,
                container=False,
                elem_id="question",
            )
            self.ask_button = gr.Button(
                label("ui.compare.ask"), variant="primary", scale=1, min_width=100, elem_id="ask"
            )
            self.halt_button = gr.Button(label("ui.chat.stop"), variant="stop", scale=1, min_width=100, visible=False)

    def _build_sampling(self) -> None:
        default = Sampling()
        self.sampling: list[Any] = [
            gr.Slider(
                *BOUNDS[name],
                value=getattr(default, name),
                step=step,
                label=label(f"ui.sampling.{name}"),
                info=label(f"ui.sampling.{name}.help"),
            )
            for name, step in (
                ("temperature", 0.05),
                ("top_p", 0.05),
                ("repetition_penalty", 0.05),
                ("max_new_tokens", 8),
            )
        ]
        self.sampling.append(
            gr.Textbox(label=label("ui.sampling.seed"), info=label("ui.sampling.seed.help"), max_lines=1, max_length=10)
        )

    def _connect(self, page: Page, tab: Any, demo: gr.Blocks) -> None:
        opened = [self.conversation, self.persona, self.adapter, self.talk, self.line, self.knowledge]
        self.opened = opened
        card = self.attachment
        asked = [self.conversation, self.adapter, *self.sampling, card.picture, card.words, card.who]
        shown = [self.talk, self.message, self.send_button, self.stop_button, self.line, *card.outputs]
        card.connect(page)
        page.on(demo.load, self.arrive, role="visitor", outputs=opened)
        page.on_unload(demo, self.leave, role="visitor")
        page.on(
            tab.select,
            self.look_again,
            role="visitor",
            inputs=[self.persona, self.adapter, self.conversation],
            outputs=[self.adapter, self.line, self.knowledge],
        )
        page.on(self.knowledge.input, self.choose_knowledge, role="visitor", inputs=[self.conversation, self.knowledge])
        page.on(self.persona.input, self.choose_persona, role="visitor", inputs=[self.persona], outputs=opened)
        page.on(self.adapter.input, self.choose_adapter, role="visitor", inputs=[self.adapter], outputs=[self.line])
        page.on(
            [self.message.submit, self.send_button.click],
            self.send,
            role="visitor",
            inputs=[self.message, *asked],
            outputs=shown,
            concurrency_limit=16,
        )
        for button in self.examples:
            page.on(
                button.click, self.send, role="visitor", inputs=[button, *asked], outputs=shown, concurrency_limit=16
            )
        page.on(self.stop_button.click, self.stop, role="visitor", inputs=[self.conversation])
        page.on(
            self.clear_button.click,
            self.clear,
            role="visitor",
            inputs=[self.conversation, self.adapter],
            outputs=opened,
        )
        page.on(
            [self.question.submit, self.ask_button.click],
            self.compare,
            role="visitor",
            inputs=[self.question, self.persona, self.adapter, *self.sampling],
            outputs=[self.answers, self.ask_button, self.halt_button],
            concurrency_limit=16,
        )
        page.on(self.halt_button.click, self.stop_comparing, role="visitor")


def sampling_of(temperature: Any, top_p: Any, repetition_penalty: Any, max_new_tokens: Any, seed: Any) -> Sampling:
    """Checked sampling settings. Raises SettingsError that names the field: a slider's ends bind no HTTP client."""
    given = {
        "temperature": temperature,
        "top_p": top_p,
        "repetition_penalty": repetition_penalty,
        "max_new_tokens": max_new_tokens,
    }
    values: dict[str, Any] = {}
    for name, value in given.items():
        least, most = BOUNDS[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise SettingsError("settings.bounds", name=name, value=value, least=least, most=most)
        values[name] = int(value) if name == "max_new_tokens" else float(value)
    wanted = str(seed if seed is not None else "").strip()
    if wanted and not (wanted.isascii() and wanted.isdigit() and int(wanted) < 2**32):
        raise SettingsError("settings.bounds", name="seed", value=wanted[:40], least=0, most=2**32 - 1)
    return Sampling(**values, seed=int(wanted) if wanted else None)
