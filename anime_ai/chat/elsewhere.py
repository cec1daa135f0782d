"""Answers in conversations that somebody else keeps: another program sends all of it with every question.

Nothing is stored here. Knows no page and no protocol.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing
from typing import Any

from anime_ai.chat.conversations import Conversation
from anime_ai.chat.service import Chat
from anime_ai.chat.tree import Message
from anime_ai.chat.turns import How, Turn, bring
from anime_ai.persona.lorebook import Lore

LORE, KNOWLEDGE = "lore", "knowledge"


def converse(
    chat: Chat, person: str, persona: str, said: Sequence[tuple[str, str]], how: How, brings: Collection[str] = ()
) -> Any:
    """A generator of `Spoken` totals. `said`: role and text of every message; a "system" message stands behind the
    persona's card, and an answer at the end is gone on with. `brings`: in which of LORE and KNOWLEDGE the question is
    looked up.

    `persona` "" is nobody: the model with what the system messages say. Raises AnimeAIError.
    """
    messages = [Message("", role, text) for role, text in said]
    begun = messages.pop().content.rstrip() if messages[-1].role == "assistant" else ""
    question = messages.pop().content
    choice = chat.choice(how.adapter_id, person)
    talk = Conversation("", persona, "", tuple(one for one in messages if one.role != "system"), 0.0)
    lore = chat.lore_of(talk, question, choice) if LORE in brings else Lore()
    small = chat._reads_little(choice)
    ask = KNOWLEDGE in brings and not (small and lore.told)
    found = chat.knowledge.retrieve(question, chat.bases_of(person, talk) if ask else [], small)
    brought = bring(found, None, lore, small)
    turn = Turn(question, str(brought.get("brought", "")), tuple(messages), begun, lore=brought.get("lore") or {})
    return _answered(chat, chat._speak(talk, turn, choice, how))


def _answered(chat: Chat, spoken: Any) -> Any:
    with chat.busy.answering(), closing(spoken):
        yield from spoken
