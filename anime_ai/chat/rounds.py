"""Several personas in one conversation: each answers with her own card, books, memory and adapter, one after another.

The same verbs as `anime_ai.chat.service.Chat`, for conversations that have members. Knows no page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from anime_ai.chat.cast import ORDERS, Cast
from anime_ai.chat.context import Filling
from anime_ai.chat.conversations import Conversation
from anime_ai.chat.keeping import Reply
from anime_ai.chat.machine import legible
from anime_ai.chat.members import LEAST, MOST, Member
from anime_ai.chat.tree import Message
from anime_ai.chat.turns import Attached, How, Part, Turn, bring, kept_picture, unanswered
from anime_ai.errors import AnimeAIError, PersonaError
from anime_ai.knowledge.service import Retrieval
from anime_ai.models.engines import starter_answers
from anime_ai.persona.lorebook import Lore

if TYPE_CHECKING:
    from anime_ai.chat.choices import AdapterChoice
    from anime_ai.chat.samplings import Samplings
    from anime_ai.chat.service import Chat


class Rounds:
    """Answers in conversations of several. Of a `How` each speaker's own adapter and sampling take the place of its."""

    def __init__(self, chat: Chat, samplings: Samplings) -> None:
        self.chat, self.conversations, self._samplings = chat, chat.conversations, samplings
        self.branches = chat.conversations.branches

    # Who speaks

    def begin(self, person: str, personas: Sequence[str], order: str = ORDERS[0]) -> Conversation:
        """A new conversation of several, in which each says her greeting. Raises AnimeAIError for too few, too many,
        and for one whom the person may not talk to."""
        members = self._checked(person, personas, ())
        greetings = [(one.persona, said) for one in members if (said := self.chat.personas.greeting(one.persona))]
        order = order if order in ORDERS else ORDERS[0]
        return self.conversations.start_group(person, members, greetings, greeted=True, order=order)

    def gather(self, person: str, conversation_id: str, personas: Sequence[str]) -> None:
        """Who speaks in a conversation from now on, also in one that was with a single persona."""
        there = self.conversations.get(person, conversation_id)
        self.conversations.gather(person, there.id, self._checked(person, personas, there.members))

    def dress(self, person: str, conversation_id: str, persona: str, adapter: str | None) -> None:
        """The adapter with which a member answers from now on; None is her own. Raises ModelError for one that is not
        there."""
        there = self.conversations.get(person, conversation_id)
        if adapter:
            self.chat.choice(adapter, person)
        changed = [replace(one, adapter=adapter) if one.persona == persona else one for one in there.members]
        self.conversations.gather(person, there.id, changed)

    def adapter(self, conversation: Conversation, persona: str) -> str:
        """The id of what a member answers with."""
        chosen = next((one.adapter for one in conversation.members if one.persona == persona), None)
        return self.chat.own_adapter(persona) if chosen is None else chosen

    def cast(self, conversation: Conversation) -> Cast:
        return Cast(self.chat.personas, [one.persona for one in conversation.members])

    def is_missing(self, person: str, persona: str) -> bool:
        """Whether a persona was removed, or is there for this person no longer."""
        try:
            self.chat._check_there(persona, person)
        except PersonaError:
            return True
        return False

    def _checked(self, person: str, personas: Sequence[str], there: Sequence[Member]) -> list[Member]:
        """Members by any names of theirs, each once; who is there already stays, whatever has become of her."""
        known = {one.persona: one for one in there}
        found = [known.get(one) or Member(self.chat.personas.find(one, person).name) for one in personas]
        members = list({one.persona: one for one in found}.values())
        if not LEAST <= len(members) <= MOST:
            raise AnimeAIError("group.how_many", least=LEAST, most=MOST)
        return members

    # What is said

    def reply(
        self,
        person: str,
        conversation_id: str,
        message: str,
        how: How = How(),  # noqa: B008 (frozen)
        picture: Attached | None = None,
    ) -> Iterator[Reply]:
        """The answers to `message`, one speaker's behind the other's. Who cannot answer is told by `Reply.problem`, and
        the others go on; raises what the last one met where nobody could."""
        said = self.chat.worded(message, picture)
        with self.chat._alone(person, conversation_id):
            there = self.conversations.get(person, conversation_id)
            asked = unanswered(there.messages, said, picture)
            before = there.messages[:-1] if asked else there.messages
            speakers = self.cast(there).speakers(said, str(there.settings.get("order", "")), before)
            self._refuse_missing(person, speakers)
            if not (asked and speakers):  # where nobody answers by herself it may be said twice
                meta = bring(Retrieval(said), picture, Lore(), small=False)
                self.conversations.append(person, conversation_id, "user", said, meta=meta)
            yield from self._round(person, conversation_id, speakers, how)

    def reword(self, person: str, message_id: str, text: str, how: How = How()) -> Iterator[Reply]:  # noqa: B008
        """Ask in other words: an alternative to what the person said, with its picture, and the answers to it."""
        said, old = self.chat.worded(text), self.branches.message(person, message_id)
        if old.role != "user":
            raise AnimeAIError("chat.no_question")
        conversation_id = self.branches.conversation_of(person, message_id)
        with self.chat._alone(person, conversation_id):
            meta = bring(Retrieval(said), kept_picture(old), Lore(), small=False)
            self.branches.edit(person, message_id, said, meta)
            yield from self._round(person, conversation_id, self._next(person, conversation_id), how)

    def again(self, person: str, message_id: str, how: How = How()) -> Iterator[Reply]:  # noqa: B008
        """Another answer of the same speaker beside hers, or the answers to what the person said once more."""
        message = self.branches.message(person, message_id)
        conversation_id = self.branches.conversation_of(person, message_id)
        if message.meta.get("greeting"):
            raise AnimeAIError("chat.no_question")
        user = message.role == "user"
        end = message_id if user else message.parent
        with self.chat._alone(person, conversation_id):
            self.branches.rewind(person, conversation_id, end)
            try:
                if user:
                    speakers = self._next(person, conversation_id)
                    if not speakers:
                        raise AnimeAIError("group.by_hand")
                    yield from self._round(person, conversation_id, speakers, how)
                else:
                    line = self.conversations.get(person, conversation_id)
                    yield from self._speak(person, line, message.speaker, how, turn=message.meta.get("turn"))
            finally:  # nothing came: what was shown is shown again
                line = self.conversations.get(person, conversation_id)
                if (line.messages[-1].id if line.messages else "") == end:
                    self.branches.switch(person, message_id)

    def go_on(self, person: str, message_id: str, how: How = How()) -> Iterator[Reply]:  # noqa: B008
        """Let her who said it go on with a message from its text, or from its thought where it ended in that."""
        message = self.branches.message(person, message_id)
        if message.role != "assistant" or message.meta.get("greeting"):
            raise AnimeAIError("chat.no_question")
        conversation_id = self.branches.conversation_of(person, message_id)
        with self.chat._alone(person, conversation_id):
            self.branches.rewind(person, conversation_id, message_id)
            line = self.conversations.get(person, conversation_id)
            before = replace(line, messages=line.messages[:-1])
            yield from self._speak(person, before, message.speaker, how, message.meta.get("turn"), message)

    def let(self, person: str, conversation_id: str, persona: str, how: How = How()) -> Iterator[Reply]:  # noqa: B008
        """Let one of them say something at the end of the line, whoever's turn it is."""
        with self.chat._alone(person, conversation_id):
            there = self.conversations.get(person, conversation_id)
            if persona not in [one.persona for one in there.members]:
                raise AnimeAIError("group.not_here", name=persona[:80])
            yield from self._speak(person, there, persona, how)

    def filling(self, person: str, conversation_id: str, question: str = "", how: How = How()) -> Filling:  # noqa: B008
        """What fills the context of whoever answers a question that is asked now."""
        there = self.conversations.get(person, conversation_id)
        order = str(there.settings.get("order", ""))
        speakers = self.cast(there).speakers(question, order, there.messages) or [there.members[0].persona]
        asked = (Message("", "user", question),) if question else ()
        choice = self.chat.choice(self.adapter(there, speakers[0]), person)
        view, said = self._view(replace(there, messages=(*there.messages, *asked)), speakers[0], choice)
        facts = self.chat._remembered(person, view, view.messages, choice)
        turn = Turn(said.content, str(said.meta.get("brought", "")), view.messages, facts=facts)
        return Filling.of(*self.chat._asked(view, turn, choice, how))

    # One after another

    def _next(self, person: str, conversation_id: str) -> list[str]:
        """Who answers the message at the end of the line."""
        there = self.conversations.get(person, conversation_id)
        *before, last = there.messages
        speakers = self.cast(there).speakers(last.content, str(there.settings.get("order", "")), before)
        self._refuse_missing(person, speakers)
        return speakers

    def _refuse_missing(self, person: str, speakers: Sequence[str]) -> None:
        """Raise PersonaError where none of some speakers is there for a person any more."""
        if speakers and all(self.is_missing(person, one) for one in speakers):
            self.chat._check_there(speakers[0], person)

    def _round(self, person: str, conversation_id: str, speakers: Sequence[str], how: How) -> Iterator[Reply]:
        spoke, failed = False, None
        for place, persona in enumerate(speakers):
            if how.stop is not None and how.stop.is_set():
                return
            if place:
                self.chat.allowance.message(person)
            there = self.conversations.get(person, conversation_id)
            try:
                yield from self._speak(person, there, persona, how)
                spoke = True
            except AnimeAIError as error:
                failed = error
                yield Reply("", "", done=True, speaker=persona, problem=error)
        if failed is not None and not spoke:
            raise failed

    def _speak(
        self,
        person: str,
        there: Conversation,
        persona: str,
        how: How,
        turn: dict[str, Any] | None = None,
        begun: Message | None = None,
    ) -> Iterator[Reply]:
        """One speaker's answer at the end of a line; the first reply says who it is. `turn`: what it brought along when
        it was given before."""
        yield Reply("", "", speaker=persona)
        self.chat._check_there(persona, person)
        choice = self.chat.choice(self.adapter(there, persona), person)
        view, asked = self._view(there, persona, choice)
        if turn is None:
            turn = self._looked_up(person, view, asked, choice)
            turn |= {"plain": True} if self._plain(choice) else {}
        brought = [str(turn.get("brought", "")), str(asked.meta["brought"])]
        asked = replace(asked, meta={**turn, "brought": "\n".join(part for part in brought if part)})
        cast = self.cast(there)
        sampling = self._samplings.get(person, persona)
        how = replace(how, adapter_id=choice.id, sampling=sampling, stop_texts=cast.stop_texts(persona))
        behind = there.messages[-1].id if there.messages else ""
        part = Part(persona, behind, turn, partial(cast.hers, speaker=persona))
        yield from self.chat._answer(person, view, asked, choice, how, begun, part)

    def _view(self, there: Conversation, persona: str, choice: AdapterChoice) -> tuple[Conversation, Message]:
        """A conversation as one of them has it before her, and what she answers."""
        before, asked = self.cast(there).heard(there.messages, persona, self._plain(choice))
        settings = {**there.settings, "greeted": True}
        return replace(there, persona=persona, messages=before, settings=settings), asked

    def _plain(self, choice: AdapterChoice) -> bool:
        """Whether who answers reads a single question at a time: the starter does."""
        return starter_answers(self.chat.settings, choice.model)

    def _looked_up(self, person: str, view: Conversation, asked: Message, choice: AdapterChoice) -> dict[str, Any]:
        """What her books say to all that was said, and her documents to what the person said."""
        chat = self.chat
        small = chat._reads_little(choice)
        said = [one for one in asked.meta["parts"] if one.role == "user"]
        seen = any(kept_picture(one) for one in said)
        lore = Lore() if seen and small else chat.lore_of(view, asked.content, choice)
        bases = [] if not said or (small and (seen or lore.told)) else chat.bases_of(person, view)
        words = said[-1].content if said else asked.content
        return bring(chat.knowledge.retrieve(words, bases, small, legible(chat._engine)), None, lore, small)
