"""Before anything leaves: the probes, asked of the trained adapter and of what will be published. Knows no hub."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from anime_ai.config import Settings
from anime_ai.errors import PublishError
from anime_ai.models.bases import Base
from anime_ai.models.engine import Adapter, Engine
from anime_ai.models.gguf_files import Tell
from anime_ai.models.parity import Parity, compare, on_gguf
from anime_ai.publishing.trained import Trained


def prove(trained: Trained, kind: str, made: Path, settings: Settings, tell: Tell | None = None) -> Parity:
    """Answers of the adapter on its base against those of what was made of it: an adapter folder ("adapter"), a folder
    with a merged model ("bf16"), or a GGUF file (its type). `tell` hears of every question.

    Raises PublishError where they differ by more than the type explains.
    """
    from anime_ai.models.transformers_engine import TransformersEngine

    with closing(TransformersEngine(trained.base, settings.fp16)) as reference:
        if kind == "adapter":
            parity = _asked(trained, reference, reference, Adapter(made), tell)
        else:
            with _opened(trained, kind, made, settings) as other:
                parity = _asked(trained, reference, other, None, tell)
    if not parity.holds(kind):
        differing = "；".join(parity.differing[:3])
        raise PublishError("publishing.differs", equal=parity.equal, total=parity.total, questions=differing, kind=kind)
    return parity


def prove_adapter(trained: Trained, settings: Settings, tell: Tell | None = None) -> Parity:
    """The same of the adapter as it goes into a bundle: its files, written anew, in a folder of their own."""
    from anime_ai.publishing.folders import write_adapter

    with tempfile.TemporaryDirectory() as place:
        write_adapter(trained, Path(place))
        return prove(trained, "adapter", Path(place), settings, tell)


def _asked(trained: Trained, reference: Engine, other: Engine, others: Adapter | None, tell: Tell | None) -> Parity:
    """One question at a time, so that it can be seen and stopped."""
    adapter, questions, found = Adapter(trained.adapter), trained.probes(), []
    for number, question in enumerate(questions, 1):
        found.append(compare(reference, other, [question], trained.card, adapter, others, trained.layout))
        if tell is not None:
            tell(number, len(questions))
    return Parity(
        equal=sum(one.equal for one in found),
        total=len(found),
        divergence=sum(one.divergence for one in found) / len(found),
        differing=tuple(question for one in found for question in one.differing),
    )


@contextmanager
def _opened(trained: Trained, kind: str, made: Path, settings: Settings) -> Iterator[Engine]:
    """The engine that whoever fetches it would use."""
    if kind == "bf16":
        from anime_ai.models.transformers_engine import TransformersEngine

        with closing(TransformersEngine(Base(trained.base.id, made), settings.fp16)) as engine:
            yield engine
        return
    with on_gguf(trained.base, made, kind, settings.context_length) as engine:
        yield engine
