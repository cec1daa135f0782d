"""Whether an export says what the model that it was made of says: greedy tokens and next-token distributions of two
engines side by side. Knows no format.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from anime_ai.errors import ModelError
from anime_ai.models.bases import Base
from anime_ai.models.engine import GREEDY, Adapter, Engine, Likelihood
from anime_ai.prompting import Dialogue

TOKENS = 48
LIKELIEST = 64
FLOOR = 1e-6
"""The least that a bucket counts: rounding leaves sums a hair beside 1."""
LEAST = {"adapter": 1.0, "bf16": 0.85, "f16": 0.95, "q8_0": 0.85}
"""The share of equal answers below which an export of this type has failed; coarser types are told, not judged."""


@dataclass(frozen=True)
class Parity:
    """`equal` of `total` answers are the same token for token; `divergence` is the mean KL divergence of the first
    token's distributions, in nats, over the reference's likeliest tokens and one bucket for all others: the true one
    is no less. `differing` are the questions of the others."""

    equal: int
    total: int
    divergence: float
    differing: tuple[str, ...]

    @property
    def share(self) -> float:
        return self.equal / self.total if self.total else 1.0

    def holds(self, kind: str) -> bool:
        """Whether an export of type `kind` is as true as it has to be."""
        return self.share >= LEAST.get(kind, 0.0)


def compare(
    reference: Engine,
    other: Engine,
    questions: Sequence[str],
    card: str = "",
    adapter: Adapter | None = None,
    others: Adapter | None = None,
    written: tuple[str, str] = ("auto", "silent"),
) -> Parity:
    """Both engines' answers to `questions` behind `card`; `adapter` on the reference, `others` on the other engine
    (None: it is merged in there, or there is none). `written`: prompt format and think policy. Raises ModelError."""
    sampling = replace(GREEDY, max_new_tokens=TOKENS, logprobs=LIKELIEST)
    differing, divergences = [], []
    for question in questions:
        prompt = reference.layout(*written).prompt(Dialogue(card=card, question=question))
        said = [
            list(engine.stream(prompt, one, "", sampling)) for engine, one in ((reference, adapter), (other, others))
        ]
        ids = [[token for piece in pieces for token in piece.ids] for pieces in said]
        if ids[0] != ids[1]:
            differing.append(question)
        first = [next(told for piece in pieces for told in piece.likelihoods) for pieces in said]
        divergences.append(divergence(first[0].best, first[1].best))
    mean = sum(divergences) / len(divergences) if divergences else 0.0
    return Parity(len(questions) - len(differing), len(questions), mean, tuple(differing))


@contextmanager
def on_gguf(base: Base, file: Path, kind: str, context: int = 4096) -> Iterator[Engine]:
    """llama.cpp on a GGUF file of a base, wherever it lies."""
    from anime_ai.models.ggufs import Ggufs
    from anime_ai.models.llamacpp_engine import Bounds, LlamaCppEngine

    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".check-") as place:
        ggufs = Ggufs(Path(place))
        # The engine takes its file by the base's fingerprint; a second name costs no space.
        try:
            os.link(file, ggufs.file(base, kind))
        except OSError:
            shutil.copyfile(file, ggufs.file(base, kind))
        with closing(LlamaCppEngine(base, ggufs, Path(place) / "llama", kind, Bounds(context, 0))) as engine:
            yield engine


def check_export(base: Base, file: Path, kind: str, adapter: Path | None, questions: Sequence[str]) -> Parity:
    """A GGUF file against the base, or base and adapter, that it was made of. Raises ModelError, and removes the file,
    where they differ by more than the type explains."""
    from anime_ai.models.transformers_engine import TransformersEngine

    with closing(TransformersEngine(base)) as reference, on_gguf(base, file, kind) as other:
        parity = compare(reference, other, questions, adapter=Adapter(adapter) if adapter else None)
    if not parity.holds(kind):
        file.unlink(missing_ok=True)
        told = {"equal": parity.equal, "total": parity.total, "questions": "；".join(parity.differing[:3])}
        raise ModelError("model.export_differs", kind=kind, **told)
    return parity


def divergence(true: Iterable[Likelihood], told: Iterable[Likelihood]) -> float:
    """KL(true ‖ told) in nats over the tokens that both tell and one bucket for the rest."""
    other = {one.id: math.exp(one.logprob) for one in told}
    pairs = [(math.exp(one.logprob), other[one.id]) for one in true if one.id in other]
    rest = tuple(max(FLOOR, 1.0 - sum(pair[side] for pair in pairs)) for side in (0, 1))
    return sum(p * math.log(p / max(q, FLOOR)) for p, q in [*pairs, rest] if p > 0)
