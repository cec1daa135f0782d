"""Asking a server as the engine does, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from remote_servers import KEY, Asked, Loopback

from anime_ai.config import Settings
from anime_ai.errors import ModelError
from anime_ai.models.bases import STARTER, Base, find_base
from anime_ai.models.engine import GREEDY, Sampling
from anime_ai.models.engines import open_engine
from anime_ai.models.remote_engine import RemoteEngine
from anime_ai.prompting import Dialogue, Exchange, Prompt
from anime_ai.texts import LANGUAGES

SHORT = replace(GREEDY, max_new_tokens=32)
END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def remote(url: str, base: Base | None = None, key: str = KEY, **named: Any) -> RemoteEngine:
    settings = Settings.load(engine="remote", remote_url=url, remote_key=key, **named)
    engine = open_engine(settings, base or find_base(STARTER, settings))
    assert isinstance(engine, RemoteEngine)
    return engine


def ask(engine: Any, question: str, think: str = "silent", history: tuple[Exchange, ...] = ()) -> Prompt:
    return engine.layout("auto", think).prompt(Dialogue(card="你是她。", history=history, question=question))


def text_of(said: Any) -> str:
    return "".join(piece.text for piece in said)


def delta(**said: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": said, "finish_reason": None}]}


def talking(server: Loopback, base: Base, answer: Callable[[Asked], None], **named: Any) -> RemoteEngine:
    """An engine whose server answers messages by `answer`."""
    server.script = answer
    return remote(server.address, base, remote_model="m", remote_form="messages", **named)


def heard(engine: RemoteEngine, think: str = "silent", sampling: Sampling = SHORT) -> tuple[str, str]:
    """What was said, and the key of the error that ended it, if one did."""
    said = ""
    try:
        for piece in engine.stream(ask(engine, "你好", think), sampling=sampling):
            said += piece.text
    except ModelError as error:
        return said, key_of(error)
    return said, ""


def key_of(error: ModelError) -> str:
    """The key of an error that is one line in every language, and holds no secret."""
    for language in LANGUAGES:
        assert KEY not in error.say(language)
        assert len(error.say(language).splitlines()) == 1
    return error.key
