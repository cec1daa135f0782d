"""OpenAI's forms of a chat completion: what a request wants, and how an answer or an error is told.

Source: https://platform.openai.com/docs/api-reference/chat (create, streaming, errors). Knows no HTTP and no model.
What would change the answer and cannot be done is refused; what only steers it (a frequency penalty, a user's name) is
passed over, as servers of this kind do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from anime_ai.errors import AnimeAIError, SettingsError
from anime_ai.models.engine import Sampling

MOST_MESSAGES = 2000
MOST_STOPS = 16
MOST_TOKENS = 8192
ROLES = ("system", "developer", "user", "assistant")
EXTRA = "anime_ai"
"""The field of a request that is ours alone: {"lore": true, "knowledge": true, "adapter": "…", "think": "open"}."""
SWITCHES = ("lore", "knowledge")
THINKS = ("silent", "inner", "open")
UNSUPPORTED = ("tools", "functions", "tool_choice", "function_call", "audio", "logprobs")
NUMBERS = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "top_k": (0, 1000),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (0.1, 3.0),
}


class FormError(AnimeAIError):
    """A request that is none of OpenAI's form, or wants what there is not. `param` names the field."""

    def __init__(self, key: str, *, param: str, **values: Any) -> None:
        super().__init__(key, param=param, **values)
        self.param = param


@dataclass(frozen=True)
class Said:
    """One message: `role` is "user" or "assistant"."""

    role: str
    content: str


@dataclass(frozen=True)
class Wanted:
    """What a request asks for.

    `messages` change from one role to the other and end with the question, or with the beginning of her answer;
    `system` is what all system messages say. `switches`: what of "lore" and "knowledge" it turned on. `adapter` None:
    her own."""

    model: str
    messages: tuple[Said, ...]
    system: str = ""
    sampling: Sampling = Sampling()
    stops: tuple[str, ...] = ()
    stream: bool = False
    usage: bool = False
    switches: frozenset[str] = field(default_factory=frozenset)
    adapter: str | None = None
    think: str = ""


@dataclass(frozen=True)
class Usage:
    """Tokens that were read and written."""

    read: int = 0
    written: int = 0

    def as_json(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.read,
            "completion_tokens": self.written,
            "total_tokens": self.read + self.written,
        }


def read_request(body: bytes) -> Wanted:
    """A request's body. Raises FormError that names the field."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FormError("serving.no_json", param="body", why=str(error)[:80]) from error
    if not isinstance(value, dict):
        raise FormError("serving.field", param="body")
    for name in UNSUPPORTED:
        if value.get(name) not in (None, False, [], "none", "auto"):
            raise FormError("serving.unsupported", param=name)
    if value.get("n") not in (None, 1):
        raise FormError("serving.unsupported", param="n")
    form = value.get("response_format")
    if form is not None and (not isinstance(form, dict) or form.get("type") != "text"):
        raise FormError("serving.unsupported", param="response_format")
    model = value.get("model")
    if not isinstance(model, str) or not model.strip():
        raise FormError("serving.field", param="model")
    options = value.get("stream_options")
    messages, system = _messages(value.get("messages"))
    extra = _extra(value)
    adapter = extra.get("adapter")
    return Wanted(
        model=model.strip(),
        messages=messages,
        system=system,
        sampling=_sampling(value),
        stops=_stops(value.get("stop")),
        stream=_flag(value, "stream"),
        usage=isinstance(options, dict) and options.get("include_usage") is True,
        switches=frozenset(name for name in SWITCHES if _flag(extra, name)),
        adapter=None if adapter is None else str(adapter),
        think=str(extra.get("think") or ""),
    )


def _extra(value: Mapping[str, Any]) -> dict[str, Any]:
    extra = value.get(EXTRA)
    if extra is None:
        return {}
    if not isinstance(extra, dict) or extra.get("think") not in (None, "", *THINKS):
        raise FormError("serving.field", param=EXTRA)
    unknown = next((name for name in extra if name not in (*SWITCHES, "adapter", "think")), None)
    if unknown is not None:
        raise FormError("serving.unsupported", param=f"{EXTRA}.{unknown[:40]}")
    return extra


def _messages(value: Any) -> tuple[tuple[Said, ...], str]:
    """What was said, and what all system messages say, wherever they stand."""
    if not isinstance(value, list) or not 0 < len(value) <= MOST_MESSAGES:
        raise FormError("serving.field", param="messages")
    said: list[Said] = []
    system: list[str] = []
    for place, one in enumerate(value):
        role = one.get("role") if isinstance(one, dict) else None
        if role not in ROLES:
            raise FormError("serving.role", param=f"messages[{place}].role", known=", ".join(ROLES))
        content = _content(one.get("content"), f"messages[{place}].content")
        if role in ("system", "developer"):
            system.append(content.strip())
        elif said and said[-1].role == role:
            said.append(Said(role, f"{said.pop().content}\n{content}"))
        else:
            said.append(Said(role, content))
    question = said[-2:][0] if said and said[-1].role == "assistant" else said[-1] if said else None
    if question is None or question.role != "user" or not question.content.strip():
        raise FormError("serving.no_question", param="messages")
    return tuple(said), "\n\n".join(filter(None, system))


def _content(value: Any, param: str) -> str:
    """A message's text: a string, or OpenAI's parts of type "text"."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise FormError("serving.field", param=param)
    parts = []
    for part in value:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise FormError("serving.only_text", param=param)
        parts.append(part["text"])
    return "\n".join(parts)


def _sampling(value: Mapping[str, Any]) -> Sampling:
    numbers: dict[str, Any] = {}
    for name, (least, most) in NUMBERS.items():
        given = value.get(name)
        if given is None:
            continue
        whole = isinstance(least, int)
        if isinstance(given, bool) or not isinstance(given, int if whole else (int, float)):
            raise FormError("serving.field", param=name)
        if not least <= given <= most:
            raise FormError("serving.bounds", param=name, value=given, least=least, most=most)
        numbers[name] = given
    if numbers.get("top_p") == 0:  # nothing but the likeliest token
        numbers |= {"top_p": 1.0, "temperature": 0.0}
    most_name = "max_completion_tokens" if value.get("max_completion_tokens") is not None else "max_tokens"
    for name, into in ((most_name, "max_new_tokens"), ("seed", "seed")):
        given = value.get(name)
        if given is None:
            continue
        if isinstance(given, bool) or not isinstance(given, int):
            raise FormError("serving.field", param=name)
        if into == "max_new_tokens" and given < 1:
            raise FormError("serving.bounds", param=name, value=given, least=1, most=MOST_TOKENS)
        numbers[into] = min(given, MOST_TOKENS) if into == "max_new_tokens" else given % 2**63
    try:
        return Sampling(**numbers)
    except SettingsError as error:
        raise FormError("serving.field", param=str(error.values.get("name", "body"))) from error


def _stops(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or len(listed) > MOST_STOPS or not all(isinstance(one, str) for one in listed):
        raise FormError("serving.field", param="stop")
    return tuple(one[:200] for one in listed if one)


def _flag(value: Mapping[str, Any], name: str) -> bool:
    given = value.get(name)
    if given is not None and not isinstance(given, bool):
        raise FormError("serving.field", param=name)
    return bool(given)


# What is answered.


def model_form(id: str, created: float) -> dict[str, Any]:
    return {"id": id, "object": "model", "created": int(created), "owned_by": "anime-ai-studio"}


def error_form(message: str, kind: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


@dataclass(frozen=True)
class Answering:
    """The head that all parts of one answer share."""

    id: str
    created: int
    model: str

    def whole(self, text: str, thinking: str, reason: str, usage: Usage) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if thinking:
            message["reasoning_content"] = thinking
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
        return {**self._head("chat.completion"), "choices": [choice], "usage": usage.as_json()}

    def begin(self) -> dict[str, Any]:
        return self._chunk({"role": "assistant", "content": ""})

    def delta(self, text: str = "", thinking: str = "") -> dict[str, Any]:
        said = {"content": text} if text else {}
        return self._chunk({**said, **({"reasoning_content": thinking} if thinking else {})})

    def end(self, reason: str) -> dict[str, Any]:
        return self._chunk({}, reason)

    def count(self, usage: Usage) -> dict[str, Any]:
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": usage.as_json()}

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}
