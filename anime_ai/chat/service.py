"""Replies: which adapter on which base answers, in whose voice, and where it is kept. Knows no page.

The model is loaded at the first reply; one base is held at a time.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import takewhile
from typing import Any

from anime_ai.chat.ahead import Ahead
from anime_ai.chat.allowance import Allowance, Everything, counted
from anime_ai.chat.answering import Answering, answering
from anime_ai.chat.busy import Busy
from anime_ai.chat.choices import AdapterChoice, checkpoints_of, chosen, is_open, offered
from anime_ai.chat.context import Filling
from anime_ai.chat.conversations import Conversation, Conversations
from anime_ai.chat.hearing import LISTENING
from anime_ai.chat.keeping import Keeping, Reply, reply_of
from anime_ai.chat.lore import LoreBooks, card_text, tells_card
from anime_ai.chat.machine import legible
from anime_ai.chat.memory import Memory
from anime_ai.chat.one_engine import OneEngine
from anime_ai.chat.samplings import as_meta
from anime_ai.chat.sharing import Sharing
from anime_ai.chat.tree import Message
from anime_ai.chat.turns import Attached, How, Part, Turn, bring, kept_picture, kept_retrieval, line_before, unanswered
from anime_ai.config import ASSETS, OWNER, Settings
from anime_ai.errors import AnimeAIError, ModelError, PersonaError
from anime_ai.knowledge.service import Knowledge
from anime_ai.models.bases import Base
from anime_ai.models.engine import Adapter, Engine, Sampling
from anime_ai.models.engines import engine_name, starter_answers
from anime_ai.persona.cards import Personas
from anime_ai.persona.lorebook import Lore
from anime_ai.training.recipe import SMALL
from anime_ai.training.runs import Run

SHIPPED = ASSETS / "starter" / "adapters"
LOOK = "你看看这张图。"
"""What is asked with a picture that comes without a word."""


class Chat:
    """See the module. `runs` tells the training runs, newest first."""

    def __init__(
        self,
        settings: Settings,
        conversations: Conversations,
        personas: Personas,
        knowledge: Knowledge,
        runs: Callable[[], list[Run]],
        books: LoreBooks | None = None,
    ) -> None:
        self.settings = settings
        self.books = books
        self.knowledge = knowledge
        self.conversations = conversations
        self.personas = personas
        self.runs = runs
        self.sharing = Sharing(runs)
        self.engines = OneEngine(settings, self._crowded)
        self.busy = Busy()
        self.memory: Memory | None = None
        self.ahead = Ahead()
        self.allowance: Allowance = Everything()

    def adapters(self, persona: str = "", person: str = OWNER) -> list[AdapterChoice]:
        """What can answer a person: `anime_ai.chat.choices.offered`."""
        found = offered(self.settings, self.personas, self.runs(), SHIPPED, persona)
        return [one for one in found if is_open(one, self.personas, person)]

    def own_adapter(self, persona: str) -> str:
        """The id of a persona's newest adapter, "" where she has none: the base answers in her words."""
        return next((one.id for one in self.adapters(persona) if persona and one.persona == persona), "")

    def answering(self, adapter_id: str = "", language: str | None = None, person: str = OWNER) -> Answering:
        """The line that names the model that answers, honestly about the starter."""
        choice = self.choice(adapter_id, person)
        return answering(self.settings, choice, self._engine, self.engines.aside, language)

    def checkpoints(self, persona: str = "") -> list[AdapterChoice]:
        """The checkpoints of this persona's runs, for comparing; their ids go wherever an adapter's goes."""
        return checkpoints_of(self.runs(), persona)

    def choice(self, adapter_id: str, person: str = OWNER) -> AdapterChoice:
        """The choice with this id. Raises ModelError when it is gone, and to whom it is not open."""
        found = chosen(self.settings, self.personas, self.runs, SHIPPED, adapter_id)
        if not is_open(found, self.personas, person):
            raise ModelError("model.unknown_adapter", adapter=adapter_id)
        return found

    def start(self, person: str, persona: str) -> Conversation:
        """A new conversation with a persona; her greetings are its first alternatives."""
        return self.conversations.start(person, persona, self.personas.greetings(persona))

    def open(self, person: str, persona: str) -> Conversation:
        """The conversation with a persona that the person had open last, else a new one; greeted where it is empty."""
        return self.greeted(person, self.conversations.open(person, persona).id)

    def greeted(self, person: str, conversation_id: str) -> Conversation:
        """A conversation as it is opened: her greetings stand in it where nothing was said yet."""
        found = self.conversations.get(person, conversation_id, opened=True)
        if found.messages or found.ahead:
            return found
        return self.conversations.greet(person, found.id, self.personas.greetings(found.persona))

    def policy(self, conversation: Conversation, adapter: str | AdapterChoice) -> str:
        """How she thinks in a conversation: as it says, else as the adapter was trained, else as the settings say."""
        choice = self.choice(adapter) if isinstance(adapter, str) else adapter
        return str(conversation.settings.get("think") or choice.card.get("think") or self.settings.think)

    @staticmethod
    def worded(message: str, picture: Attached | None = None) -> str:
        """What a person says, or asks with a picture alone. Raises AnimeAIError for nothing."""
        said = message.strip() or (LOOK if picture else "")
        if not said:
            raise AnimeAIError("chat.blank")
        return said

    def reply(
        self,
        person: str,
        conversation_id: str,
        message: str,
        how: How = How(),  # noqa: B008 (frozen)
        picture: Attached | None = None,
    ) -> Iterator[Reply]:
        """Her answer to `message` as it grows, kept in the conversation meanwhile; the question is on the disk before
        she begins. What is seen in `picture` stays in this turn, so that later questions can be about it. A question
        that stands there unanswered, and is asked again in the same words, stands there once.

        Closing the iterator ends the generation within a token and keeps what there is. Raises AnimeAIError for what
        the user can mend; one conversation answers one message at a time.
        """
        said = self.worded(message, picture)
        choice = self.choice(how.adapter_id, person)
        with self._alone(person, conversation_id):
            with self.conversations.together():
                conversation = self.conversations.get(person, conversation_id)
                if (asked := unanswered(conversation.messages, said, picture)) is not None:
                    conversation = replace(conversation, messages=conversation.messages[:-1])
                meta = asked.meta if asked else self._looked_up(person, conversation, said, choice, picture)
                facts = self._remembered(person, conversation, conversation.messages, choice)
            asked = asked or self.conversations.append(person, conversation_id, "user", said, meta=meta)
            yield from self._answer(person, conversation, asked, choice, how, facts=facts)

    def reword(self, person: str, message_id: str, text: str, how: How = How()) -> Iterator[Reply]:  # noqa: B008
        """Ask in other words: an alternative to a question, with its picture, and her answer to it."""
        said = self.worded(text)
        choice = self.choice(how.adapter_id, person)
        branches = self.conversations.branches
        old = branches.message(person, message_id)
        if old.role != "user":
            raise AnimeAIError("chat.no_question")
        conversation_id = branches.conversation_of(person, message_id)
        with self._alone(person, conversation_id):
            conversation = self.conversations.get(person, conversation_id)
            # What the old words called up is not there for the new ones.
            earlier = tuple(takewhile(lambda one: one.id != message_id, conversation.messages))
            before = replace(conversation, messages=earlier)
            meta = self._looked_up(person, before, said, choice, kept_picture(old))
            asked = branches.edit(person, message_id, said, meta)
            conversation = self.conversations.get(person, conversation_id)
            yield from self._answer(person, conversation, asked, choice, how)

    def again(self, person: str, message_id: str, how: How = How()) -> Iterator[Reply]:  # noqa: B008
        """Another answer beside one of hers, or an answer to a question that has none. What stands there stays."""
        branches = self.conversations.branches
        message = branches.message(person, message_id)
        asked = message if message.role == "user" else self._question_of(person, message)
        choice = self.choice(how.adapter_id, person)
        conversation_id = branches.conversation_of(person, message_id)
        with self._alone(person, conversation_id):
            branches.rewind(person, conversation_id, asked.id)
            conversation = self.conversations.get(person, conversation_id)
            try:
                yield from self._answer(person, conversation, asked, choice, how)
            finally:  # nothing came: what was shown is shown again
                line = self.conversations.get(person, conversation_id).messages
                if line and line[-1].id == asked.id:  # it may have been deleted meanwhile
                    branches.switch(person, message_id)

    def go_on(self, person: str, message_id: str, how: How = How()) -> Iterator[Reply]:  # noqa: B008
        """Let her go on with an answer of hers from its text, or from its thought where it ended in that."""
        branches = self.conversations.branches
        message = branches.message(person, message_id)
        asked = self._question_of(person, message)
        choice = self.choice(how.adapter_id, person)
        conversation_id = branches.conversation_of(person, message_id)
        with self._alone(person, conversation_id):
            branches.rewind(person, conversation_id, message_id)
            conversation = self.conversations.get(person, conversation_id)
            yield from self._answer(person, conversation, asked, choice, how, message)

    def _question_of(self, person: str, answer: Message) -> Message:
        """The question that an answer answers. Raises AnimeAIError for a greeting, which answers none."""
        asked = self.conversations.branches.message(person, answer.parent) if answer.parent else None
        if answer.role != "assistant" or asked is None or asked.role != "user":
            raise AnimeAIError("chat.no_question")
        return asked

    def _looked_up(
        self, person: str, conversation: Conversation, said: str, choice: AdapterChoice, picture: Attached | None
    ) -> dict[str, Any]:
        """What a question brings along, as its message keeps it."""
        # A small model reads one thing at a time.
        small = self._reads_little(choice)
        lore = Lore() if picture and small else self.lore_of(conversation, said, choice)
        bases = [] if small and (picture or lore.told) else self.bases_of(person, conversation)
        return bring(self.knowledge.retrieve(said, bases, small, legible(self._engine)), picture, lore, small)

    def lore_of(self, conversation: Conversation, said: str, choice: AdapterChoice) -> Lore:
        """What the books of a conversation's persona say to a question. Raises PersonaError for one who was removed."""
        self._check_there(conversation.persona)
        if self.books is None:
            return Lore()
        persona = self.personas.named(conversation.persona)
        base = choice.model

        def count(text: str) -> int:  # only where something fires: a tokenizer takes a while to load
            return self.engine(base).layout(self.settings.prompt_format, self.settings.think).length(text)

        remote = self.settings.engine == "remote"  # a server's model sees what the server says
        context = self.engine(base).context_length() if remote else base.context()
        in_card = tells_card(persona, choice.card)
        return self.books.look(persona, conversation, said, count, context, self._reads_little(choice), in_card)

    def _check_there(self, persona: str, person: str = OWNER) -> None:
        """Raise PersonaError for a persona that was removed, or is not published for this person."""
        found = self.personas.named(persona)
        hidden = found is not None and not found.published and person != OWNER
        if hidden or self.personas.is_removed(persona):
            raise PersonaError("persona.removed", name=persona)

    def bases_of(self, person: str, conversation: Conversation) -> list[str]:
        """The knowledge bases that a conversation asks: those chosen for it, else all for this persona."""
        readable = self.knowledge.library.readable(person, conversation.persona)
        chosen = conversation.knowledge
        return [base_id for base_id in readable if chosen is None or base_id in chosen]

    def _reads_little(self, choice: AdapterChoice) -> bool:
        return self._small(choice.parameters)

    def _small(self, parameters: int) -> bool:
        return self.settings.engine != "remote" and parameters < SMALL

    def ask(
        self,
        question: str,
        persona: str,
        adapter_id: str = "",
        sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
        stop: threading.Event | None = None,
        person: str = OWNER,
    ) -> Iterator[Reply]:
        """One answer without a conversation; nothing is kept. Raises PersonaError for one who is not there for them."""
        if not question.strip():
            raise AnimeAIError("chat.blank")
        if person != OWNER:
            persona = self.personas.find(persona, person).name
        choice = self.choice(adapter_id, person)
        self.allowance.message(person)
        fresh = Conversation("", persona, "", (), 0.0)
        how = How(adapter_id, sampling, stop=stop)
        spoken = self._speak(fresh, Turn(question.strip()), choice, how)
        pieces = counted(self.allowance, person, spoken)
        total = None
        with self.busy.answering(), closing(pieces):
            for total in pieces:
                yield reply_of("", total)
        if total is not None:
            yield reply_of("", total, done=True)

    def chain(self, persona: str = "", how: How | None = None) -> Any:
        """A persona as a LangChain runnable: `anime_ai.chat.chain.persona_chain`. `how` None: her own adapter."""
        from anime_ai.chat.chain import persona_chain

        name = persona or self.settings.persona
        how = how or How(self.own_adapter(name))
        fresh = Conversation("", name, "", (), 0.0)
        model, values = self._asked(fresh, Turn(""), self.choice(how.adapter_id), how)
        return persona_chain(model, values["card"])

    def filling(self, person: str, conversation_id: str, question: str = "", how: How = How()) -> Filling:  # noqa: B008
        """What fills the context when a question is asked in a conversation now. What it would look up first is not
        among it. Loads the tokenizer."""
        conversation = self.conversations.get(person, conversation_id)
        choice = self.choice(how.adapter_id, person)
        facts = self._remembered(person, conversation, conversation.messages, choice)
        turn = Turn(question, before=conversation.messages, facts=facts)
        model, values = self._asked(conversation, turn, choice, how)
        return Filling.of(model, values)

    def engine(self, base: Base) -> Engine:
        """The engine of a base model; a second base takes the place of the first when nobody is answered by that any
        more. While a training has the GPU for itself it answers from the processors."""
        return self.engines.of(base)

    def _crowded(self, base: Base) -> bool:
        return self.settings.engine != "remote" and self.sharing.crowded(base)

    @property
    def _engine(self) -> Engine | None:
        return self.engines.engine

    @_engine.setter
    def _engine(self, engine: Engine | None) -> None:
        self.engines.engine = engine

    def close(self) -> None:
        """Let go of the model."""
        self.ahead.close()
        self.engines.close()

    def forget(self, conversation_ids: Collection[str]) -> None:
        """Let the engine lose what it keeps of some conversations' prompts, in memory and on the disk; of one that is
        being answered when that has ended. Other conversations lose nothing."""
        self.busy.once_free(conversation_ids, self._drop)

    def _drop(self, conversation_ids: list[str]) -> None:
        for id in conversation_ids:
            self.ahead.stop(id)
        with self.busy.answering():  # who listens in a pause has read the facts too
            if self._engine is not None and conversation_ids:
                self._engine.forget([*self.conversations.cache_keys(conversation_ids), LISTENING])

    def make_room(self) -> None:
        """Let go of the model where it is on a GPU: a training is about to start there. The next answer loads it again,
        wherever there is room."""
        if (device := self._engine.device if self._engine else None) is not None and device.kind == "cuda":
            self.engines.close()

    def _answer(
        self,
        person: str,
        conversation: Conversation,
        asked: Message,
        choice: AdapterChoice,
        how: How,
        begun: Message | None = None,
        part: Part | None = None,
        facts: tuple[str, ...] | None = None,
    ) -> Iterator[Reply]:
        """Answer a question, or go on with what was `begun`, and keep it. Raises PersonaError for a persona that is
        not, or not any more, there for this person. `part`: hers among several, as she has heard the conversation;
        `facts`: what she remembers, where it was looked up."""
        self._check_there(conversation.persona, person)
        if how.sampling.seed is None:  # so that it can be told, and said again
            how = replace(how, sampling=replace(how.sampling, seed=random.randrange(2**31)))
        before = conversation.messages if part else line_before((*conversation.messages, asked), asked.id)
        text, thought = (begun.content.rstrip(), begun.thinking.rstrip()) if begun else ("", "")
        facts = self._remembered(person, conversation, before, choice) if facts is None else facts
        brought, lore = str(asked.meta.get("brought", "")), asked.meta.get("lore") or {}
        turn = Turn(asked.content, brought, before, text, "" if text else thought, facts, lore)
        pieces = self._speak(conversation, turn, choice, how)
        found = kept_retrieval(asked)
        asked_of = self.bases_of(person, conversation) if found.used else []
        cite = partial(self.knowledge.cite, retrieval=found, base_ids=asked_of)
        meta: dict[str, Any] = {"adapter": choice.id, "base": choice.base, "done": False}
        meta["sampling"] = as_meta(how.sampling)
        if (policy := how.think or self.policy(conversation, choice)) != "silent":
            meta["think"] = policy
        behind, speaker = (part.behind, part.speaker) if part else (asked.id, "")
        if part:
            meta |= {"turn": part.turn} if part.turn else {}
            pieces = pieces if begun else part.hers(pieces)
        keeping = Keeping(self.conversations, person, conversation.id, behind, meta, begun, speaker)
        pieces = counted(self.allowance, person, pieces)
        yield from keeping.keep(pieces, cite if found.used else lambda _: [], choice.fingerprint)

    def _remembered(
        self, person: str, conversation: Conversation, before: tuple[Message, ...], choice: AdapterChoice
    ) -> tuple[str, ...]:
        if self.memory is None:
            return ()
        return self.memory.told(person, conversation, before, self._reads_little(choice))

    def _speak(self, conversation: Conversation, turn: Turn, choice: AdapterChoice, how: How) -> Any:
        """A generator of `Spoken` totals."""
        from langchain_core.messages import AIMessage

        from anime_ai.chat.chain import PROMPT, Spoken, reply_chain

        stop = how.stop or threading.Event()
        with self.engines.held(choice.model, stop) as engine:
            if engine is None:  # somebody else's base answered for as long as this was wanted
                return
            model, values = self._asked(conversation, turn, choice, replace(how, stop=stop), engine)
            total = Spoken()
            with closing(reply_chain(model).stream(values)) as stream:  # type: ignore[type-var]
                for spoken in stream:
                    total = total + spoken
                    yield total
        if conversation.id and total.ended and not model.tiny and model.engine.reading_pace:
            told = [*PROMPT.format_messages(**values), AIMessage(total.text)]
            self.ahead.start(lambda stop: model.read_ahead(told, stop), conversation.id)

    def warm(self, conversation: Conversation, adapter_id: str = "") -> None:
        """Read in the background what all conversations of this persona share, so that the first answer begins at once:
        where the engine keeps it, and the model is so large that it takes a while."""

        def read(stop: threading.Event) -> None:
            from anime_ai.chat.chain import PROMPT

            choice = self.choice(adapter_id)
            base = choice.model
            if base.starter or engine_name(self.settings, base) != "llamacpp":
                return
            model, values = self._asked(conversation, Turn("…"), choice, How())
            model.read_shared(PROMPT.format_messages(**values), stop)

        self.ahead.start(read)

    def read_again(self, person: str, conversation_id: str, stop: threading.Event) -> None:
        """Read what the next answer of a conversation will stand behind, which has changed: by who answered last, where
        reading takes a while."""
        from anime_ai.chat.chain import PROMPT

        conversation = self.conversations.get(person, conversation_id)
        last = conversation.messages[-1] if conversation.messages else None
        if last is None or "adapter" not in last.meta or conversation.members:
            return
        choice = self.choice(str(last.meta["adapter"]))
        facts = self._remembered(person, conversation, conversation.messages, choice)
        turn = Turn("", before=conversation.messages, facts=facts)
        model, values = self._asked(conversation, turn, choice, How())
        if model.engine.reading_pace:
            model.read_ahead(PROMPT.format_messages(**values)[:-1], stop, anew=True)

    def _asked(
        self, conversation: Conversation, turn: Turn, choice: AdapterChoice, how: How, engine: Engine | None = None
    ) -> tuple[Any, Any]:
        """The model that answers a turn, and the values of its prompt. `engine`: what is held for it."""
        from anime_ai.chat.model import EngineChatModel, check_layout

        engine, trained = engine or self.engine(choice.model), choice.card
        model = EngineChatModel(
            engine=engine,
            adapter=Adapter(choice.path) if choice.path else None,
            prompt_format=str(trained.get("prompt_format") or self.settings.prompt_format),
            think=how.think or self.policy(conversation, choice),
            sampling=how.sampling,
            cache_key=conversation.cache_key,
            stopping=how.stop or threading.Event(),
            stop_texts=how.stop_texts,
            tiny=starter_answers(self.settings, engine.base),
        )
        check_layout(trained, engine, model)
        # She knows what she said first, also where an older conversation holds no message that says it.
        unsaid = conversation.id and not conversation.settings.get("greeted")
        greeting = self.personas.greeting(conversation.persona) if unsaid else ""
        return model, turn.values(self._card(conversation, engine, model, trained), greeting, near=model.tiny)

    def _card(self, conversation: Conversation, engine: Engine, model: Any, trained: dict[str, Any]) -> str:
        """What stands at the head of the prompt: her line, the one that an adapter was trained with, or her card."""
        persona = self.personas.named(conversation.persona)
        if persona is None or not tells_card(persona, trained):
            line = "" if persona is None or persona.system_line else str(trained.get("system_line") or "")
            return line or self.personas.system_line(conversation.persona)
        count, context = engine.layout(model.prompt_format, model.think).length, engine.context_length()
        told = self.books is not None and not self._small(engine.base.parameters())
        standing = self.books.standing(persona, conversation.id, count, context) if self.books and told else {}
        return card_text(persona, conversation.id, count, context, standing)

    @contextmanager
    def _alone(self, person: str, conversation_id: str) -> Iterator[None]:
        with self.busy.alone(person, conversation_id):
            self.allowance.message(person)
            yield
