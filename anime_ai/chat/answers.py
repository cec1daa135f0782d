"""Single answers outside a conversation: a base, perhaps an adapter, a persona. Knows neither database nor page."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from anime_ai.chat.lore import card_text
from anime_ai.config import Settings
from anime_ai.models.adapters import base_of, check_adapter, read_card
from anime_ai.models.bases import Base, find_base
from anime_ai.models.engine import Adapter, Engine, Sampling
from anime_ai.models.engines import open_engine, starter_answers
from anime_ai.persona.cards import Personas


@dataclass(frozen=True)
class Answer:
    """One answer; `tokens` that were generated and `seconds` that it took."""

    prompt: str
    reply: str
    thinking: str
    tokens: int
    seconds: float


class Speaker:
    """Somebody who answers. The model is loaded at the first answer."""

    def __init__(
        self, settings: Settings, base: Base, adapter: Path | None, persona: str, personas: Personas | None = None
    ) -> None:
        self.settings = settings
        self.base = base
        self.adapter = adapter
        self.persona = persona
        self.trained = read_card(adapter) if adapter else {}
        self._personas = personas or Personas()
        self.engine: Engine = open_engine(settings, base)

    @cached_property
    def _card(self) -> str:
        """What stands at the head of her prompts: the line that was trained, else her own line, else her card."""
        trained = self.trained.get("persona") == self.persona and self.trained.get("system_line")
        found = self._personas.named(self.persona)
        if trained or found is None or found.system_line or self.trained:
            return str(trained or self._personas.system_line(self.persona))
        layout = self.engine.layout(self.settings.prompt_format, self.settings.think)
        return card_text(found, "", layout.length, self.engine.context_length())

    @classmethod
    def open(
        cls,
        settings: Settings,
        adapter: Path | None,
        persona: str | None = None,
        base_named: bool = False,
        personas: Personas | None = None,
    ) -> Speaker:
        """The speaker of an adapter, on the base that it was trained on unless another one was named. `personas`: who
        there is beside those that ship.

        Raises ModelError when the adapter or the base cannot be used, or do not fit.
        """
        trained = read_card(adapter) if adapter else {}
        name = settings.model_name
        if adapter is not None and not base_named:
            name = base_of(adapter) or name
        base = find_base(name, settings, download=base_named)
        if adapter is not None:
            check_adapter(adapter, base)
        return cls(settings, base, adapter, persona or str(trained.get("persona") or settings.persona), personas)

    def answer(self, question: str, sampling: Sampling, alone: bool = False) -> Answer:
        """One answer; `alone` is the base without the adapter, in the same persona's prompt."""
        from anime_ai.chat.chain import asked

        began = time.monotonic()
        spoken = self._chain(sampling, alone).invoke({"card": self._card, "question": asked(question)})
        seconds = round(time.monotonic() - began, 3)
        return Answer(question, spoken.text.strip(), spoken.thinking.strip(), spoken.tokens, seconds)

    def ended(self, question: str, history: list[Any], sampling: Sampling, alone: bool = False) -> tuple[str, bool]:
        """An answer behind a history of LangChain messages, and whether the model ended it itself."""
        from anime_ai.chat.chain import asked

        values = {"card": self._card, "question": asked(question), "history": history}
        spoken = self._chain(sampling, alone).invoke(values)
        return spoken.text.strip(), spoken.ended

    def _chain(self, sampling: Sampling, alone: bool) -> Any:
        from anime_ai.chat.chain import reply_chain
        from anime_ai.chat.model import EngineChatModel

        model = EngineChatModel(
            engine=self.engine,
            adapter=Adapter(self.adapter) if self.adapter and not alone else None,
            prompt_format=str(self.trained.get("prompt_format") or self.settings.prompt_format),
            think=str(self.trained.get("think") or self.settings.think),
            sampling=sampling,
            stopping=threading.Event(),
            tiny=starter_answers(self.settings, self.engine.base),
        )
        return reply_chain(model)
