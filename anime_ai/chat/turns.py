"""One turn of a conversation: what is answered, how, and what the chain is given for it. Knows no engine.

What she said in other branches, her thoughts, and what was never answered stay out of the prompt.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from anime_ai.chat.lore import Around, placed, spoken
from anime_ai.chat.lore import as_json as lore_json
from anime_ai.chat.lore import as_text as lore_text
from anime_ai.chat.tree import Message
from anime_ai.knowledge.passages import Passage
from anime_ai.knowledge.service import Retrieval
from anime_ai.models.engine import Sampling
from anime_ai.persona.lorebook import Lore
from anime_ai.prompting import observation, passages


@dataclass(frozen=True)
class How:
    """How an answer is made. `adapter_id` "" is the base alone; `think` "" is what the conversation or else the adapter
    has; `stop` ends the generation within a token. The answer is over before one of `stop_texts`."""

    adapter_id: str = ""
    sampling: Sampling = Sampling()
    think: str = ""
    stop: threading.Event | None = None
    stop_texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """An answer in a conversation of several: who gives it, behind which message, what it brings along for her alone,
    and what makes her own words of what the model says."""

    speaker: str
    behind: str
    turn: dict[str, Any]
    hers: Callable[[Any], Any]


@dataclass(frozen=True)
class Attached:
    """A picture that a message brings along: its id in the album, and what is seen in it, in a sentence."""

    picture_id: str
    sentence: str


@dataclass(frozen=True)
class Turn:
    """A question behind what was said before. An answer that was begun goes on from `begun`, or, where it had not come
    out of its thought, from `thought`. `facts`: what is remembered, for behind the card. `lore`: what of the books the
    question called up, as its message keeps it."""

    question: str
    brought: str = ""
    before: tuple[Message, ...] = ()
    begun: str = ""
    thought: str = ""
    facts: tuple[str, ...] = ()
    lore: dict[str, Any] = field(default_factory=dict)

    def values(self, card: str, greeting: str = "", near: bool = False) -> dict[str, Any]:
        """For the slots of `anime_ai.chat.chain.PROMPT`. `greeting`: what she said first, where no message says it.
        `near`: without all that `anime_ai.chat.model.near` leaves out."""
        from langchain_core.messages import AIMessage, SystemMessage

        from anime_ai.chat.chain import begun

        *told, question = self._told(near)
        if greeting and not (told and isinstance(told[0], AIMessage)):
            told.insert(0, AIMessage(greeting))
        systems = [SystemMessage(said.content) for said in self.before if said.role == "system"]
        values: dict[str, Any] = {"card": card, "history": [*systems, *told], "question": [question]}
        if self.facts:
            values["facts"] = [SystemMessage(one) for one in self.facts]
        if self.begun or self.thought:
            values["begun"] = begun(self.begun, self.thought)
        return values

    def _told(self, near: bool) -> list[Any]:
        """What was said, the question last, with what stands around it."""
        from langchain_core.messages import AIMessage

        from anime_ai.chat.chain import asked

        line = [*spoken(self.before), Message("", "user", self.question, meta={"lore": self.lore})]
        around = placed(line)
        told: list[Any] = []
        for place in _nearest(line) if near else range(len(line)):
            said = line[place]
            lore = around.get(place, Around())
            if said.role == "user":
                own = str(said.meta.get("brought", "")) if place < len(line) - 1 else self.brought
                brought = "\n".join(text for text in (*lore.before, own) if text)
                told += asked("\n\n".join((said.content, *lore.after)), brought)
            else:
                told.append(AIMessage("\n\n".join((*lore.before, said.content, *lore.after))))
        return told


def _nearest(line: Sequence[Message]) -> list[int]:
    """The places in a line of what begins it, and of all from the last question on that was answered."""
    roles = [one.role for one in line]
    answered = [at for at, pair in enumerate(zip(roles, roles[1:], strict=False)) if pair == ("user", "assistant")]
    start = answered[-1] if answered else len(line) - 1
    return [*range(min(1, start)), *range(start, len(line))]


def bring(found: Retrieval, picture: Attached | None, lore: Lore, small: bool) -> dict[str, Any]:
    """What a question's message keeps of what it brings along: `brought` is what is read."""
    parts = [lore_text(lore, small), passages(passage.told() for passage in found.used)]
    meta: dict[str, Any] = {"retrieval": as_json(found)} if found.passages or found.why else {}
    if fired := lore_json(lore):
        meta["lore"] = fired
    if picture:
        parts.append(observation(picture.sentence))
        meta["picture"] = asdict(picture)
    brought = "\n".join(part for part in parts if part)
    return {**meta, "brought": brought} if meta else {}


def as_json(found: Retrieval) -> dict[str, Any]:
    """What was found for a question, as a message keeps it: all of a conversation are read at each turn, so of what was
    not used only what tells why."""
    told = [vars(one) | ({} if one.used else {"text": ""}) for one in found.passages]
    return {"question": found.question, "why": found.why, "cut": found.cut, "passages": told}


def kept_retrieval(message: Message) -> Retrieval:
    """What was found for a question, out of its message."""
    told = message.meta.get("retrieval") or {}
    return Retrieval(
        str(told.get("question", message.content)),
        tuple(Passage(**one) for one in told.get("passages", ())),
        str(told.get("why", "")),
        float(told.get("cut", 0.0)),
    )


def kept_picture(message: Message) -> Attached | None:
    picture = message.meta.get("picture")
    return Attached(**picture) if picture else None


def unanswered(messages: Sequence[Message], said: str, picture: Attached | None = None) -> Message | None:
    """The question at the end of a line, where it is the one that is asked: she could not answer it before."""
    last = messages[-1] if messages else None
    same = last is not None and last.role == "user" and last.content == said and kept_picture(last) == picture
    return last if same else None


def line_before(messages: Sequence[Message], message_id: str) -> tuple[Message, ...]:
    """The messages of a line that stand before one of them."""
    ids = [one.id for one in messages]
    return tuple(messages[: ids.index(message_id)])
