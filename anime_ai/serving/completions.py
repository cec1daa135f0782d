"""Personas as models: who a model's name is, and her answer to a request as it grows. Knows no HTTP.

A model is named as a persona, "base" is the model without one. Her lorebooks and documents are asked only where the
request or the name says so: `傲娇+lore+knowledge`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anime_ai.chat.elsewhere import converse
from anime_ai.chat.turns import How
from anime_ai.errors import AnimeAIError, PersonaError
from anime_ai.models.text_stream import StopTexts
from anime_ai.serving.openai_form import SWITCHES, Usage, Wanted

if TYPE_CHECKING:
    from anime_ai.chat.service import Chat
    from anime_ai.persona.cards import Personas

BASE = "base"
"""The name of the model without a persona."""


class NoModelError(AnimeAIError):
    """No persona of this name, or none that this key may talk to."""


@dataclass(frozen=True)
class Voice:
    """Who answers to a model's name; `persona` "" is nobody."""

    model: str
    persona: str
    switches: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Part:
    """What is new of an answer. `reason` on the last one: "stop" or "length"; `usage` of all until now."""

    text: str = ""
    thinking: str = ""
    reason: str = ""
    usage: Usage = Usage()


class Completions:
    """Answers as somebody: `person` is whose personas and documents there are."""

    def __init__(self, chat: Chat, personas: Personas) -> None:
        self._chat = chat
        self._personas = personas

    def models(self, person: str) -> list[str]:
        """The names of all models, personas first."""
        return [*(one.name for one in self._personas.list(person)), BASE]

    def voice(self, model: str, person: str) -> Voice:
        """Who a name is. Raises NoModelError."""
        name, switches = model, set[str]()
        while True:
            try:
                return Voice(model, self._personas.find(name, person).name, frozenset(switches))
            except PersonaError:
                pass
            if name == BASE:
                return Voice(model, "", frozenset(switches))
            name, plus, switch = name.rpartition("+")
            if not plus or switch not in SWITCHES:
                raise NoModelError("serving.no_model", model=model[:80], known=", ".join(self.models(person)[:20]))
            switches.add(switch)

    def answer(self, wanted: Wanted, person: str, stop: threading.Event) -> Iterator[Part]:
        """Parts of the answer as they come; the last one has a reason. `stop` ends it within a token.

        Closing the iterator frees everything. Raises AnimeAIError, before the first part where it can.
        """
        voice = self.voice(wanted.model, person)
        said = [("system", wanted.system)] if wanted.system else []
        said += [(one.role, one.content) for one in wanted.messages]
        adapter = self._chat.own_adapter(voice.persona) if wanted.adapter is None else wanted.adapter
        how = How(adapter, wanted.sampling, wanted.think, stop)
        totals = converse(self._chat, person, voice.persona, said, how, voice.switches | wanted.switches)
        words, shown, thought, ended, usage = StopTexts(wanted.stops), 0, 0, False, Usage()
        with closing(totals):
            for total in totals:
                text = words.feed(total.text[shown:])
                thinking = total.thinking[thought:]
                shown, thought, ended = len(total.text), len(total.thinking), total.ended
                usage = Usage(total.read, total.tokens)
                if text or thinking:
                    yield Part(text, thinking, usage=usage)
                if words.stopped:
                    ended = True
                    break
        yield Part(words.close(), reason="stop" if ended else "length", usage=usage)
