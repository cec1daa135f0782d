"""The LangChain chain of a reply: prompt template → chat model → parser. Values are variables, never templates."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompts import (
    ChatPromptTemplate,
    MessagesPlaceholder,
    SystemMessagePromptTemplate,
)
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda

from anime_ai.chat.model import EngineChatModel
from anime_ai.chat.thoughts import ThoughtSplitter


@dataclass(frozen=True)
class Spoken:
    """A stretch of an answer: thought and speech apart, tokens counted. Stretches add up to the whole answer.

    `read`: tokens of the prompt. `ended`: the model ended the answer itself. `cut`: the answer ended inside a thought.
    `dropped`: earlier exchanges that had no room in the prompt.
    """

    text: str = ""
    thinking: str = ""
    tokens: int = 0
    ended: bool = False
    cut: bool = False
    read: int = 0
    dropped: int = 0

    def __add__(self, other: Spoken) -> Spoken:
        return Spoken(
            self.text + other.text,
            self.thinking + other.thinking,
            self.tokens + other.tokens,
            self.ended or other.ended,
            other.cut,
            self.read + other.read,
            max(self.dropped, other.dropped),
        )


PROMPT = ChatPromptTemplate(
    [
        SystemMessagePromptTemplate.from_template("{card}"),
        MessagesPlaceholder("facts", optional=True),
        MessagesPlaceholder("history", optional=True),
        MessagesPlaceholder("question"),
        MessagesPlaceholder("begun", optional=True),
    ]
)
"""Slots: `card`, and messages: `facts`, `history` (the greeting first), `question` (one, made by `asked`), and `begun`
(made by `begun`) where an answer goes on."""


def asked(question: str, brought: str = "") -> list[BaseMessage]:
    """A user's question and what it brings along, for the slots `question` and `history`."""
    return [HumanMessage(question, additional_kwargs={"brought": brought} if brought else {})]


def begun(text: str, thought: str = "") -> list[BaseMessage]:
    """What stands of an answer already, or of its thought, for the slot `begun`."""
    return [AIMessage(text, additional_kwargs={"begun": True, "thought": thought})]


def persona_chain(model: EngineChatModel, card: str) -> Runnable[Any, Spoken]:
    """A chain that speaks as one persona. It takes a question, or a mapping of the slots but for `card`, in which
    `question` may be text and `history` LangChain's messages."""

    def slots(given: Any) -> dict[str, Any]:
        told = {"question": given} if isinstance(given, str) else dict(given)
        if isinstance(told["question"], str):
            told["question"] = asked(told["question"])
        return {**told, "card": card}

    return RunnableLambda(slots) | reply_chain(model)


class _Parser:
    """Thought and speech of one answer, chunk by chunk."""

    def __init__(self) -> None:
        self._splitter: ThoughtSplitter | None = None

    def feed(self, chunk: AIMessage) -> Spoken:
        notes, usage = chunk.additional_kwargs, chunk.usage_metadata
        if self._splitter is None:
            self._splitter = ThoughtSplitter(bool(notes.get("inside_thought")), bool(notes.get("going_on")))
        thinking, text = self._splitter.feed(str(chunk.text))
        tokens, read = (usage["output_tokens"], usage["input_tokens"]) if usage else (0, 0)
        ended, dropped = bool(notes.get("ended")), int(notes.get("dropped", 0))
        return Spoken(text, thinking, tokens, ended, self._splitter.inside, read, dropped)

    def close(self) -> list[Spoken]:
        if self._splitter is None:
            return []
        thinking, text = self._splitter.close()
        return [Spoken(text, thinking, cut=self._splitter.inside)]


def split_thought(chunks: Iterator[AIMessage]) -> Iterator[Spoken]:
    """Thought and speech of a streamed answer."""
    parser = _Parser()
    for chunk in chunks:
        yield parser.feed(chunk)
    yield from parser.close()


class ThoughtParser(Runnable[AIMessage, Spoken]):
    """The parser: thought and speech of an answer, as it streams. It has no run of its own in LangChain's traces, where
    it would say nothing that the model's does not: to begin one takes time before the first word."""

    def invoke(self, input: AIMessage, config: RunnableConfig | None = None, **kwargs: Any) -> Spoken:
        return sum(split_thought(iter([input])), Spoken())

    def transform(
        self, input: Iterator[AIMessage], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[Spoken]:
        return split_thought(input)

    async def atransform(
        self, input: AsyncIterator[AIMessage], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Spoken]:
        parser = _Parser()
        async for chunk in input:
            yield parser.feed(chunk)
        for rest in parser.close():
            yield rest


PARSER = ThoughtParser()


def reply_chain(model: EngineChatModel) -> Runnable[dict[str, Any], Spoken]:
    """A chain that answers the slots of `PROMPT` with `Spoken` stretches."""
    return PROMPT | model | PARSER
