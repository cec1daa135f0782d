"""A conversation on the page: what is said in it, what can be done to its messages, the box to write in.

Knows no prompt. Everything names messages by their ids in the database, never by their place on the page.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.chat.samplings import KNOBS
from anime_ai.chat.service import LOOK
from anime_ai.chat.turns import How, unanswered
from anime_ai.errors import AccessError, AnimeAIError
from anime_ai.texts import text
from anime_ai.ui.attaching import Attachment
from anime_ai.ui.card_routes import avatar_url, face_urls
from anime_ai.ui.generations import Generation, Generations, paced
from anime_ai.ui.labels import label
from anime_ai.ui.page import note
from anime_ai.ui.persons import Person
from anime_ai.ui.said import VERDICTS, Seen, Voice, asking, line, speaking

if TYPE_CHECKING:
    from anime_ai.chat.conversations import Conversation
    from anime_ai.chat.keeping import Reply
    from anime_ai.chat.rounds import Rounds
    from anime_ai.chat.service import Chat
    from anime_ai.studio import Studio

EXAMPLES = ("anime", "homework", "morning", "sad")
MOST_CHARACTERS = 8000
TALK = Path(__file__).with_name("talk.js")
HOW = 2 + len(KNOBS)
"""What the page sends of how an answer is made: adapter, thinking, knobs."""
STREAMED = ("again", "go_on", "reword", "edit_go_on")


class Talking:
    """Handlers, and the components after `build`. `how` reads how an answer is to be made from what the page sent:
    the adapter, whether she may think, the knobs of sampling. `beside` tells updates of the components `aside`, which
    show something of the conversation too."""

    aside: Sequence[Any] = ()

    def __init__(
        self, studio: Studio, generations: Generations, how: Callable[..., How], beside: Callable[..., list[Any]]
    ) -> None:
        self.studio, self.generations, self.how, self.beside = studio, generations, how, beside
        self.attachment = Attachment(studio)

    # What the handlers answer with.

    def shown(self, person: Person, conversation: Conversation, whole: bool = False, fresh: bool = False) -> str:
        """The line as HTML."""
        ids = [one.id for one in conversation.messages]
        seen = Seen(
            person.language,
            conversation.ahead,
            whole,
            self.studio.feedback.verdicts(person.id, ids),
            self.studio.feedback.agreed(person.id),
            fresh,
            voices=self.voices(conversation),
        )
        return line(conversation.messages, self.voice(conversation), seen)

    def voices(self, conversation: Conversation) -> dict[str, Voice]:
        """Everybody who speaks, or has spoken, in a conversation of several."""
        if not conversation.members:
            return {}
        speakers = {one.speaker for one in conversation.messages if one.speaker}
        speakers |= {one.persona for one in conversation.members}
        return {one: replace(self.voice(replace(conversation, persona=one)), named=True) for one in speakers}

    def voice(self, conversation: Conversation) -> Voice:
        her = self.studio.personas.named(conversation.persona)
        unsaid = her.greeting if her and not conversation.settings.get("greeted") else ""
        own = ("", conversation.persona)
        said = [one for one in conversation.messages if one.role == "assistant" and one.speaker in own]
        feeling = str(said[-1].meta.get("feeling", "")) if said else ""
        name = her.character if her else conversation.persona
        return Voice(name, avatar_url(her), unsaid, face_urls(her), feeling)

    def answers(self, conversation: Conversation) -> Chat | Rounds:
        """What answers in a conversation."""
        return self.studio.rounds if conversation.members else self.studio.chat

    def _get(self, person: Person, conversation_id: Any) -> Conversation:
        return self.studio.conversations.get(person.id, str(conversation_id))

    def _asked_in(self, person: Person, conversation_id: Any) -> Conversation:
        """What is needed of a conversation to ask something in it: all of it only where several speak, or where she has
        not spoken last."""
        found = self.studio.conversations.glance(person.id, str(conversation_id))
        hers = not found.members and all(one.role == "assistant" for one in found.messages)
        return found if hers else self._get(person, conversation_id)

    @staticmethod
    def buttons(busy: bool) -> list[Any]:
        """Updates of the buttons that send and that stop."""
        return [gr.update(visible=not busy), gr.update(visible=busy)]

    def _step(
        self,
        shown: Any = None,
        live: Any = None,
        message: Any = None,
        busy: bool | None = None,
        card: Any = None,
        beside: Any = None,
    ) -> list[Any]:
        """Updates of `outputs`; what is None stays as it is."""
        buttons = [gr.skip(), gr.skip()] if busy is None else self.buttons(busy)
        told = [gr.skip() if one is None else one for one in (shown, live, message)]
        card = card or [gr.skip() for _ in Attachment.none()]
        return [*told, *buttons, *card, *(beside or [gr.skip() for _ in self.aside])]

    def _settled(self, person: Person, conversation_id: str, *, busy: bool | None = None, **more: Any) -> list[Any]:
        """Updates that show a conversation as it stands, and nothing being said."""
        found = self._get(person, conversation_id)
        line = self.shown(person, found, more.pop("whole", False), more.pop("fresh", False))
        return self._step(line, "", busy=busy, beside=self.beside(person, found), **more)

    def _ended(self, person: Person, generation: Generation, conversation_id: str, **more: Any) -> list[Any]:
        """Updates at the end of an answer: none where the page shows another conversation by now."""
        if not generation.shown:
            return self._step()
        try:
            return self._settled(person, conversation_id, busy=False, **more)
        except AccessError:  # it was deleted meanwhile
            return self._step(live="", busy=False, message=more.get("message"), card=more.get("card"))

    # Handlers.

    def send(self, person: Person, message: str, conversation_id: str, *rest: Any) -> Iterator[list[Any]]:
        """Stream her answer. `rest`: what `how` reads, then the picture that goes along, the words on its card, and who
        it is."""
        how, picture = rest[:HOW], self.attachment.taken(person, *rest[HOW:])
        said = checked(str(message or "").strip() or (LOOK if picture else ""))
        conversation = self._asked_in(person, conversation_id)
        meta = {"picture": asdict(picture)} if picture else {}
        card = self.attachment.put("", visible=False) if picture else []
        back = self.attachment.put(picture.picture_id, visible=True) if picture else None

        def ask(made: How) -> Any:
            return self.answers(conversation).reply(person.id, conversation.id, said, made, picture)

        asked = "" if unanswered(conversation.messages, said, picture) else said  # else it stands in the line
        first = True
        # What she could not answer goes back into the box, so that it need not be typed again.
        for step in self.stream(person, conversation, ask, how, asked, meta, {"message": said, "card": back}):
            if first:
                step[2] = ""
                step[5 : 5 + len(card)] = card
            yield step
            first = False

    def act_on_message(
        self, person: Person, happened: gr.EventData, conversation_id: str, *rest: Any
    ) -> Iterator[list[Any]]:
        """Something was done to a message: updates of `outputs`. What is said anew streams; `rest` is what `how`
        reads."""
        told = happened._data if isinstance(happened._data, dict) else {}
        act, id, words = str(told.get("act", "")), str(told.get("id", "")), str(told.get("text", ""))
        conversation = self._get(person, conversation_id)
        branches = self.studio.conversations.branches
        if id and branches.conversation_of(person.id, id) != conversation.id:
            raise AnimeAIError("chat.not_here")
        if act in STREAMED:
            asked = "" if act != "reword" else checked(words.strip())
            if act == "edit_go_on":
                id = branches.edit(person.id, id, checked(words)).id
            answers = self.answers(conversation)
            ways: dict[str, Callable[[How], Any]] = {
                "again": lambda made: answers.again(person.id, id, made),
                "reword": lambda made: answers.reword(person.id, id, asked, made),
            }
            ask = ways.get(act, lambda made: answers.go_on(person.id, id, made))
            shorter = self._up_to(self._get(person, conversation.id), id, itself=act == "again")
            with closing(self.stream(person, shorter, ask, rest, asked)) as steps:
                waiting = next(steps)
                waiting[0] = self.shown(person, shorter)
                yield waiting
                yield from steps
            return
        message = None
        if act == "edit":
            self.studio.feedback.rewritten(person.id, branches.edit(person.id, id, checked(words)).id)
        elif act in VERDICTS:
            if told.get("agreed"):
                self.studio.feedback.agree(person.id)
            self.studio.feedback.judge(person.id, id, act)
        elif act == "switch":
            branches.switch(person.id, id)
        elif act == "delete":
            branches.delete(person.id, id)
        elif act == "forward":
            branches.forward(person.id, conversation.id)
        elif act == "undo":
            taken = branches.message(person.id, id)
            branches.rewind(person.id, conversation.id, taken.parent)
            message = taken.content
        elif act != "earlier":
            raise AnimeAIError("chat.not_here")
        yield self._settled(person, conversation.id, message=message, whole=act == "earlier")

    def _up_to(self, conversation: Conversation, id: str, itself: bool) -> Conversation:
        """The conversation as it stands while something in it is said anew: before a message, or, of a question that is
        answered again, up to it."""
        ids = [one.id for one in conversation.messages]
        place = ids.index(id) if id in ids else len(ids)
        if itself and place < len(ids) and conversation.messages[place].role == "user":
            place += 1
        return replace(conversation, messages=conversation.messages[:place], ahead=False)

    def stream(
        self,
        person: Person,
        conversation: Conversation,
        ask: Callable[[How], Any],
        how: Any,
        asked: str = "",
        meta: dict[str, Any] | None = None,
        back: dict[str, Any] | None = None,
    ) -> Generator[list[Any], None, None]:
        """Updates while she answers, or one after the other does: the line stays as it is until then. `back`: what is
        shown besides where she could not. A page that shows another conversation by now is told nothing more."""
        voices, own, language = self.voices(conversation), self.voice(conversation), person.language
        with self.generations.one(conversation.id, person.session, len(conversation.members) or 1) as generation:
            replies = ask(self.how(person, conversation, generation, *how))
            try:
                waiting = speaking(own, language, "", "", asked, meta)
                if voices:  # who is first is said at once
                    waiting = asking(asked, meta or {}) if asked else ""
                yield self._step(live=waiting, busy=True)
                for reply in paced(replies, lambda one: (one.speaker, one.done)):
                    heard = bool(voices) and reply.done
                    if heard:  # what she said stands in the line, and somebody else may begin
                        asked, meta = "", None
                    if not generation.shown:
                        continue
                    if heard:
                        yield self._heard(person, conversation.id, reply)
                        continue
                    voice = voices.get(reply.speaker) or own
                    yield self._step(live=speaking(voice, language, reply.thinking, reply.text, asked, meta))
            except Exception as error:
                yield self._ended(person, generation, conversation.id, **(back or {}))
                if generation.shown or not isinstance(error, AnimeAIError):
                    raise
            finally:
                replies.close()
        yield self._ended(person, generation, conversation.id, fresh=True)

    def _heard(self, person: Person, conversation_id: str, reply: Reply) -> list[Any]:
        """Updates when one of several has come to her end, or could not speak."""
        if reply.problem is not None:
            name, why = self.studio.personas.called(reply.speaker), reply.problem.say(person.language)
            note(text("group.absent", person.language, name=name, why=why), person.language)
        found = self._get(person, conversation_id)
        return self._step(self.shown(person, found, fresh=reply.problem is None), "")

    def stop(self, person: Person, conversation_id: str) -> None:
        self.generations.stop(self._get(person, conversation_id).id)

    # Components.

    def build(self, above: Callable[[], None] = lambda: None) -> None:
        """`above`: builds what stands above the box to write in."""
        with gr.Column(elem_id="talk"):
            self.line = gr.HTML(
                f'<p class="empty">{label("ui.chat.empty")}</p>',
                elem_id="line",
                js_on_load=TALK.read_text(encoding="utf-8"),
            )
            self.live = gr.HTML(elem_id="live")
        with gr.Row(elem_classes="chips", elem_id="chips"):
            self.examples = [gr.Button(label(f"ui.chat.example.{name}"), size="sm") for name in EXAMPLES]
        self.attachment.build_card()
        above()
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

    @property
    def outputs(self) -> list[Any]:
        return [
            *(self.line, self.live, self.message, self.send_button, self.stop_button),
            *self.attachment.outputs,
            *self.aside,
        ]


def checked(said: str) -> str:
    """What somebody wrote. Raises AnimeAIError where it is nothing, or too long."""
    if not said.strip():
        raise AnimeAIError("chat.blank")
    if len(said) > MOST_CHARACTERS:
        raise AnimeAIError("ui.too_long", length=len(said), most=MOST_CHARACTERS)
    return said
