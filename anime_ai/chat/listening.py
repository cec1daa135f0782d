"""Looking through what was said: by rule at once, or, where a model can, by the model while nobody waits.

A model is asked in a pause for facts about the person, and for a summary of what has left the prompt, each with a
prompt of its own, and stops as soon as somebody asks for an answer; the next pause begins it anew. Where it fails, or
answers something else, the rule is taken, and the sentences stay that were picked. Knows no page.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from anime_ai.chat import retelling
from anime_ai.chat.choices import AdapterChoice
from anime_ai.chat.conversations import Conversation
from anime_ai.chat.hearing import EXAMPLE, LISTENING, MOST_HEARD, TASK, Told, facts, question
from anime_ai.chat.memory import Memory
from anime_ai.chat.summaries import Summaries
from anime_ai.chat.tree import Message
from anime_ai.chat.turns import How, Turn
from anime_ai.errors import AnimeAIError, ModelError
from anime_ai.models.bases import find_base
from anime_ai.models.engine import Sampling
from anime_ai.models.engines import starter_answers

if TYPE_CHECKING:
    from anime_ai.chat.service import Chat

PAUSE = 5.0
"""Seconds without an answer after which nobody waits: one reads, or writes."""
SAMPLING = Sampling(temperature=0.0, top_p=1.0, repetition_penalty=1.0, max_new_tokens=160)
MOST_WAITING = 64
log = logging.getLogger("anime_ai.chat")


class Listening:
    """`chat` tells who answers. One thread, which is there as long as something waits for a pause."""

    def __init__(self, chat: Callable[[], Chat], memory: Memory, pause: float = PAUSE) -> None:
        self._chat, self._memory, self.pause = chat, memory, pause
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._stop = threading.Event()  # of what is at work
        self._waiting: dict[str, str] = {}
        self._thread: threading.Thread | None = None

    def notice(self, person: str, conversation_id: str) -> bool:
        """Look through what was said since the last look; whether that waits for a pause."""
        there = self._conversation(person, conversation_id)
        fresh, untold = bool(self._memory.unheard(person, conversation_id)), _untold(there)
        if not (fresh or untold):
            return False
        able = self._has_model(there)
        listening = [one.persona for one in there.members] or [there.persona]
        off = all(self._memory.way(person, persona) == "off" for persona in listening)
        if fresh and (off or not able):
            self._memory.notice(person, conversation_id)
        if not able or not (fresh and not off or untold):
            return False
        with self._lock:
            if self._closed.is_set() or len(self._waiting) >= MOST_WAITING:
                return False  # it is looked through when something is said there again
            self._waiting.setdefault(conversation_id, person)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()
        return True

    def waits(self, conversation_id: str) -> bool:
        """Whether a conversation is yet to be looked through."""
        return conversation_id in self._waiting

    def by_model(self, person: str, conversation_id: str) -> bool:
        """Whether the model that answers in a conversation can tell facts from talk: the starter cannot."""
        return self._has_model(self._conversation(person, conversation_id))

    def _has_model(self, conversation: Conversation) -> bool:
        settings = self._chat().settings
        try:
            base = find_base(self._choice(conversation).base, settings)
        except ModelError:
            return False
        return not starter_answers(settings, base)

    def close(self) -> None:
        """End what is at work, and wait for it; what waits is looked through when something is said there again."""
        self._closed.set()
        self._stop.set()
        if (thread := self._thread) is not None:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or self._closed.is_set():
                    self._thread = None
                    return
                conversation_id, person = next(iter(self._waiting.items()))
            with self._chat().busy.pause(self.pause, self._closed) as stop:
                self._stop = stop
                if self._closed.is_set():  # since the pause began
                    stop.set()
                more = not stop.is_set() and self._listen(person, conversation_id, stop)
                more = more or stop.is_set()
            with self._lock:
                self._waiting.pop(conversation_id, None)
                if more:  # behind those who wait as well
                    self._waiting[conversation_id] = person

    def _listen(self, person: str, conversation_id: str, stop: threading.Event) -> bool:
        """Look through one conversation; whether there is more of it."""
        more = self._hear(person, conversation_id, stop)
        try:
            return not stop.is_set() and self._retell(person, conversation_id, stop) or more
        except AnimeAIError as error:
            log.info("the model did not summarise a conversation: %s", error)
        except Exception:
            log.exception("the model did not summarise a conversation")
        return more

    def _hear(self, person: str, conversation_id: str, stop: threading.Event) -> bool:
        """Ask for facts in what the person said; whether there is more of it."""
        try:
            conversation = self._conversation(person, conversation_id)
            unheard = self._memory.unheard(person, conversation_id)
            if not unheard:
                return False
            fresh = unheard[:MOST_HEARD]
            told = [_told(one, conversation.messages) for one in fresh]
            known = [fact.text for fact in self._memory.list(person, conversation.persona)]
            answer = self._ask(conversation, (TASK, *EXAMPLE), question(told, known), stop)
            if not stop.is_set():
                self._memory.hear(person, conversation_id, fresh, facts(answer, told, known))
            return len(unheard) > len(fresh)
        except AnimeAIError as error:
            log.info("the model did not look through a conversation: %s", error)
            self._by_rule(person, conversation_id, stop)
        except Exception:
            log.exception("the model did not look through a conversation")
            self._by_rule(person, conversation_id, stop)
        return False

    def _retell(self, person: str, conversation_id: str, stop: threading.Event) -> bool:
        """Ask for a summary of what has left the prompt; whether there is more of it."""
        conversation = self._conversation(person, conversation_id)
        told = _untold(conversation)[: retelling.MOST_TOLD]
        if not told:
            return False
        shown = (retelling.TASK, *retelling.EXAMPLE)
        lines = retelling.lines(self._ask(conversation, shown, retelling.question(told), stop), told)
        if stop.is_set():
            return True
        self._memory.summaries.tell(person, conversation_id, told, lines)
        if _untold(self._conversation(person, conversation_id)):
            return True
        # What the next answer stands behind is another text now, and long: nobody has to wait for it to be read.
        self._chat().read_again(person, conversation_id, stop)
        return False

    def _by_rule(self, person: str, conversation_id: str, stop: threading.Event) -> None:
        try:
            if not stop.is_set():
                self._memory.notice(person, conversation_id)
        except AnimeAIError as error:  # the conversation was removed meanwhile
            log.info("nothing was looked through: %s", error)

    def _ask(self, conversation: Conversation, shown: Sequence[str], asked: str, stop: threading.Event) -> str:
        """What the base alone answers, who has no voice to keep up. `shown`: a task, an example, its answer."""
        fresh = Conversation(LISTENING, "", "", (), 0.0, settings={"greeted": True})
        roles = ("system", "user", "assistant")
        turn = Turn(asked, before=tuple(Message("", role, text) for role, text in zip(roles, shown, strict=True)))
        answer = ""
        for total in self._chat()._speak(fresh, turn, self._choice(conversation), How("", SAMPLING, "silent", stop)):
            answer = total.text
        return answer

    def _choice(self, conversation: Conversation) -> AdapterChoice:
        """The base that answered last, without an adapter."""
        last = next((one.meta["base"] for one in conversation.messages[::-1] if "base" in one.meta), "")
        return AdapterChoice("", "", "", last or self._chat().settings.model_name)

    def _conversation(self, person: str, conversation_id: str) -> Conversation:
        return self._memory.conversations.get(person, conversation_id)


def _untold(conversation: Conversation) -> list[Message]:
    """What is worth to be summarised by a model."""
    untold = Summaries.untold(conversation)
    return untold if len(untold) >= retelling.LEAST_TOLD else []


def _told(message: Message, line: tuple[Message, ...]) -> Told:
    before = next((one.content for one in line if one.id == message.parent and one.role == "assistant"), "")
    return Told(message.id, message.content, before)
