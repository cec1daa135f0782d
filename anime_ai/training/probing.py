"""Fixed questions that are answered along the training, so that one sees the character appear. Knows no run folder.

How many are asked, and how long the answers may be, follows from the time that training takes: SHARE of it at most, but
one question at every checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from anime_ai.prompting import Dialogue, Layout

if TYPE_CHECKING:
    from anime_ai.training.style import Verifier

PROBES = ("你喜欢什么动漫？", "可以帮我写作业吗？", "今天有点累。", "你是谁？")
SHARE = 0.05
LONGEST, SHORTEST = 64, 16
"""Tokens of an answer."""


@dataclass(frozen=True)
class Allowance:
    """What may be asked at one checkpoint."""

    questions: int
    tokens: int


def affordable(training: float, spent: float, checkpoints: int, a_token: float, questions: int) -> Allowance:
    """What one of the `checkpoints` that are left may cost.

    `training`: seconds that all of the training is expected to take; `spent`: seconds that went into probes; `a_token`:
    seconds for a token of an answer, 0 where that is not known.
    """
    seconds = max(0.0, SHARE * training - spent) / max(1, checkpoints)
    if a_token <= 0:
        return Allowance(1, LONGEST)
    tokens = int(seconds / a_token)
    if tokens < 2 * LONGEST:
        return Allowance(1, min(LONGEST, max(SHORTEST, tokens)))
    return Allowance(min(questions, tokens // LONGEST), LONGEST)


class Prober:
    """Answers with the model as it is now, or as it was before its training.

    `verifier` makes the verifier of the persona's voice when it is first needed; it may return None.
    """

    def __init__(
        self, model: Any, layout: Layout, card: str, more: Sequence[str], verifier: Callable[[], Verifier | None]
    ) -> None:
        self.model, self.layout, self.card = model, layout, card
        self.questions = list(dict.fromkeys((*PROBES, *more)))
        self.a_token = 0.0
        self._verifier = verifier
        self._made: list[Verifier | None] = []

    def ask(self, question: str, tokens: int = LONGEST, before: bool = False) -> str:
        """The answer; `before`: of the base without the adapter."""
        from anime_ai.models.engine import GREEDY
        from anime_ai.models.generation import generate

        prompt = self.layout.prompt(Dialogue(card=self.card, question=question))
        training = self.model.training
        self.model.eval()
        began, count = time.monotonic(), 0
        parts = []
        try:
            with self.model.disable_adapter() if before else nullcontext():
                pieces = generate(self.model, self.layout.tokenizer, prompt, replace(GREEDY, max_new_tokens=tokens))
                for piece in pieces:
                    parts.append(piece.text)
                    count += 1
        finally:
            self.model.train(training)
        self.a_token = (time.monotonic() - began) / max(1, count)
        return "".join(parts)

    def score(self, replies: Sequence[str]) -> float | None:
        """Mean score of the voice verifier; None where there are too few rows to make one."""
        if not self._made:
            self._made.append(self._verifier())
        (verifier,) = self._made
        return float(verifier.scores(replies).mean()) if verifier and replies else None
