"""What fills a model's context, counted part by part with the layout that the prompt is made with. Knows no page."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from anime_ai.prompting import Dialogue


@dataclass(frozen=True)
class Filling:
    """Tokens of each part of a prompt; `brought` is what the turns brought along, `layout` the marks around it all.

    `answer` is kept free for the answer, `context` is all that the model can see; `dropped` exchanges did not fit and
    are not counted.
    """

    card: int = 0
    examples: int = 0
    facts: int = 0
    greeting: int = 0
    history: int = 0
    brought: int = 0
    question: int = 0
    layout: int = 0
    answer: int = 0
    context: int = 0
    dropped: int = 0

    @classmethod
    def of(cls, model: Any, values: dict[str, Any]) -> Filling:
        """Of an `EngineChatModel` and the values of the chain's slots.

        Raises PromptError where the question does not fit.
        """
        from anime_ai.chat.chain import PROMPT

        layout = model.engine.layout(model.prompt_format, model.think)
        context = model.engine.context_length()
        answer = min(model.sampling.max_new_tokens, context // 2)
        dialogue = model.dialogue(PROMPT.invoke(values).to_messages())
        dropped = layout.prompt(dialogue, budget=context - answer).dropped
        kept = dialogue.history[dropped:]
        steps: tuple[tuple[str, dict[str, Any]], ...] = (
            ("layout", {}),
            ("card", {"card": dialogue.card}),
            ("examples", {"examples": dialogue.examples}),
            ("facts", {"facts": dialogue.facts}),
            ("greeting", {"greeting": dialogue.greeting}),
            ("history", {"history": tuple(replace(one, brought="") for one in kept)}),
            ("brought", {"history": kept}),
            ("question", {"question": dialogue.question}),
        )
        told: dict[str, int] = {}
        so_far, before = Dialogue(), 0
        for name, part in steps:
            so_far = replace(so_far, **part)
            length = len(layout.prompt(so_far).ids)
            told[name], before = length - before, length
        return cls(**told, answer=answer, context=context, dropped=dropped)

    @property
    def parts(self) -> dict[str, int]:
        """What is in the prompt, by its name."""
        return {one.name: getattr(self, one.name) for one in fields(self)[:8]}

    @property
    def used(self) -> int:
        return sum(self.parts.values())

    @property
    def left(self) -> int:
        """Tokens that are neither used nor kept for the answer."""
        return self.context - self.used - self.answer
