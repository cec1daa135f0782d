"""A LangChain chat model over our engines. Knows neither personas nor conversations.

Messages become the slots of a prompt: the first system message is the card, later ones are facts about the user, an
assistant message before the first user message is the greeting, and `additional_kwargs["brought"]` of a user message is
what that turn brought along. An assistant message behind the question, with `additional_kwargs["begun"]`, is the
beginning of the answer.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import ConfigDict

from anime_ai.errors import ModelError
from anime_ai.models.engine import Adapter, Engine, Piece, Sampling, gathered
from anime_ai.prompting import Dialogue, Exchange, Prompt

LIKELY = "嗯" * 48
"""A question of a usual length."""
CALM = 0.3
"""The highest temperature of the starter."""


class EngineChatModel(BaseChatModel):
    """Streams one answer of an engine. Closing the stream, or setting `stopping`, ends the generation.

    The first chunk's `additional_kwargs` tell `inside_thought`, `dropped` and `going_on`, the last one's `ended`;
    tokens are told as LangChain counts them, in `usage_metadata`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    engine: Any
    adapter: Adapter | None = None
    prompt_format: str = "auto"
    think: str = "silent"
    sampling: Sampling = Sampling()
    cache_key: str = ""
    stopping: threading.Event | None = None
    tiny: bool = False
    """Of the starter: see `calm`."""
    stop_texts: tuple[str, ...] = ()
    """Before which an answer is over."""

    def __repr__(self) -> str:
        """What LangChain tells its callbacks of every answer: not all that stands in an engine."""
        return f"EngineChatModel({self.engine.base.id!r})"

    @property
    def _llm_type(self) -> str:
        return "anime-ai-engine"

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        engine: Engine = self.engine
        dialogue = self.dialogue(messages)
        sampling = replace(self.sampling, max_new_tokens=self._room())
        if self.tiny:
            sampling = calm(sampling, bool(dialogue.brought))
        prompt = self._prompt(dialogue)
        # The starter may lose its way into what it has read most of: passages.
        ends = (*self.stop_texts, PASSAGE) if self.tiny else self.stop_texts
        prompt = replace(prompt, stop_texts=(*prompt.stop_texts, *ends))
        opening = {"inside_thought": prompt.opens_thought, "dropped": prompt.dropped}
        if dialogue.begun or (dialogue.thought and prompt.opens_thought):
            opening["going_on"] = True
        told = _Told(opening, len(prompt.ids))
        with closing(engine.stream(prompt, self.adapter, self.cache_key, sampling, self.stopping)) as pieces:
            for piece in gathered(pieces):
                chunk = told.chunk(piece)
                if run_manager is not None:
                    run_manager.on_llm_new_token(piece.text, chunk=chunk)
                yield chunk
        if told.first:
            yield told.chunk(Piece("", (), False))

    def dialogue(self, messages: Sequence[BaseMessage]) -> Dialogue:
        """What the model is given of some messages."""
        told = to_dialogue(messages)
        return near(told) if self.tiny else told

    def read_shared(self, messages: list[BaseMessage], stop: threading.Event) -> None:
        """Read what all conversations behind the same card share, where the engine keeps such things."""
        self.engine.prepare(self._prompt(self.dialogue(messages)), self.adapter, "", stop)

    def read_ahead(self, messages: list[BaseMessage], stop: threading.Event, anew: bool = False) -> None:
        """Read what the turn behind `messages` will stand behind where its history has to be cut, or where it is `anew`
        in any case: nobody would wait that long. The last message is an answer, and the question to come is taken for
        `LIKELY`."""
        before = -1 if anew else self._prompt(self.dialogue(messages[:-1])).dropped
        coming = self.dialogue([*messages, HumanMessage(LIKELY)])
        dropped = self._prompt(coming).dropped
        if dropped > before:
            kept = replace(coming, history=coming.history[dropped:], question="")
            self.engine.prepare(self._prompt(kept), self.adapter, self.cache_key, stop)

    def _room(self) -> int:
        """Tokens that an answer may take: at most half of what the model can see, whatever was asked for."""
        return min(self.sampling.max_new_tokens, self.engine.context_length() // 2)

    def _prompt(self, dialogue: Dialogue) -> Prompt:
        layout = self.engine.layout(self.prompt_format, self.think)
        return layout.prompt(dialogue, budget=self.engine.context_length() - self._room())

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))


class _Told:
    """An answer's pieces as chunks. What is true of the whole answer stands in the first one, which costs less than one
    of its own.

    Joined chunks must say the same as single ones: what stands in several of them is added up.
    """

    def __init__(self, opening: dict[str, Any], read: int) -> None:
        self._opening, self._read = opening, read

    @property
    def first(self) -> bool:
        """Whether nothing was told yet."""
        return bool(self._opening)

    def chunk(self, piece: Piece) -> ChatGenerationChunk:
        notes = {**self._opening, "ended": True} if piece.ended else self._opening
        # Checked as Python 3.10, langchain-core's optional keys look required.
        usage = UsageMetadata(  # type: ignore[typeddict-item]
            input_tokens=self._read, output_tokens=piece.tokens, total_tokens=self._read + piece.tokens
        )
        self._opening, self._read = {}, 0
        return ChatGenerationChunk(
            message=AIMessageChunk(content=piece.text, additional_kwargs=notes, usage_metadata=usage)
        )


PASSAGE = "【资料"
"""What a passage begins with (`prompting.passages`)."""


def calm(sampling: Sampling, reads: bool) -> Sampling:
    """How a model of a few million parameters is drawn from. Beyond CALM its sentences fall apart, and what it copies
    out of a passage or a picture's observation must not be drawn at all."""
    return replace(sampling, temperature=0.0 if reads else min(sampling.temperature, CALM))


def near(dialogue: Dialogue) -> Dialogue:
    """What a model of a few million parameters is given: behind more than a greeting it loses its thread and answers
    what was asked before. What the last turn brought along stays, so that one can ask further about a picture."""
    return replace(dialogue, history=tuple(said for said in dialogue.history[-1:] if said.brought))


def to_dialogue(messages: Sequence[BaseMessage]) -> Dialogue:
    """The prompt slots of some messages, of which the last is the user's question."""
    system = [_text(message) for message in messages if isinstance(message, SystemMessage)]
    turns = [message for message in messages if isinstance(message, (HumanMessage, AIMessage))]
    greeting = ""
    if turns and isinstance(turns[0], AIMessage):
        greeting = _text(turns.pop(0))
    begun = turns.pop() if turns and turns[-1].additional_kwargs.get("begun") else AIMessage("")
    question = turns.pop() if turns and isinstance(turns[-1], HumanMessage) else HumanMessage("")
    history: list[Exchange] = []
    asked: HumanMessage | None = None
    for message in turns:
        if isinstance(message, HumanMessage):
            # A question that was never answered (stopped before the first word) leaves no trace.
            asked = message
        elif asked is not None:
            history.append(Exchange(_text(asked), _text(message), _brought(asked)))
            asked = None
    return Dialogue(
        card=system[0] if system else "",
        facts="\n\n".join(text for text in system[1:] if text),
        greeting=greeting,
        history=tuple(history),
        question=_text(question),
        brought=_brought(question),
        begun=_text(begun),
        thought=str(begun.additional_kwargs.get("thought", "")),
    )


def _text(message: BaseMessage) -> str:
    return str(message.text)


def _brought(message: BaseMessage) -> str:
    return str(message.additional_kwargs.get("brought", ""))


def check_layout(trained: dict[str, object], engine: Engine, model: EngineChatModel) -> None:
    """Raise ModelError when an adapter was trained on another prompt layout than it would now be asked in."""
    if trained.get("layout") and model.think == trained.get("think"):
        layout = engine.layout(model.prompt_format, model.think)
        if layout.fingerprint() != trained["layout"]:
            raise ModelError("model.adapter_layout", trained=trained["layout"], now=layout.fingerprint())
