"""The small classifier of what an answer feels like: its labels, its training, its figures. Knows no face.

python -m anime_ai.starter --only feelings

`assets/starter/feelings/labels.json` names a feeling for each answer of `data/dataset.json` (those in its histories
too) and for some of `data/neutral.json`, by the hash of the answer, and holds lines that were written in many voices,
all eight feelings in each, so that a feeling is learned and not who shows it. A fifth of both is held out, by their
hash, and never trained on.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anime_ai.config import ASSETS, DATA
from anime_ai.dataset.files import read_rows
from anime_ai.files import write_bytes
from anime_ai.persona.feelings import FEELINGS
from anime_ai.persona.tone import LENGTHS, WEIGHTS, Tone, marked

LABELS = ASSETS / "starter" / "feelings" / "labels.json"
HELD_OUT = 5
"""One of so many is held out."""
RAREST = 3
"""Texts in which a stretch of characters stands that is counted."""
HASHED = 12
"""Hexadecimal digits that name an answer."""


@dataclass(frozen=True)
class Labelled:
    """An answer and its feeling. `persona`: who says it, "" for nobody; `written`: made for this, in no dataset."""

    text: str
    feeling: str
    persona: str = ""
    written: bool = False

    @property
    def held_out(self) -> bool:
        return int(hashlib.sha256(f"held out {self.text}".encode()).hexdigest()[:8], 16) % HELD_OUT == 0


@dataclass(frozen=True)
class Figures:
    """Of held-out answers: how many, the share that is named right, and the mean over the feelings of F1. The same
    where everything gets the commonest feeling, and where it gets the commonest one of her who speaks."""

    count: int
    right: float
    f1: float
    common: float
    common_f1: float
    hers: float
    hers_f1: float


def name_of(answer: str) -> str:
    """What the labels call an answer by."""
    return hashlib.sha256(answer.encode()).hexdigest()[:HASHED]


def labelled(labels: Path = LABELS) -> list[Labelled]:
    """Every label with its answer, in the order of the datasets; a label whose answer has gone says nothing."""
    told = json.loads(labels.read_text(encoding="utf-8"))
    found: dict[str, Labelled] = {}
    for file in ("dataset.json", "neutral.json"):
        for row in read_rows(DATA / file).rows:
            for answer in (row.output, *(said for _, said in row.history)):
                if (name := name_of(answer)) in told["labels"]:
                    found.setdefault(name, Labelled(answer, told["labels"][name], row.persona))
    written = [Labelled(line, feeling, written=True) for feeling, lines in told["written"].items() for line in lines]
    return [*found.values(), *written]


def fit(rows: Sequence[Labelled], seed: int = 0) -> Tone:
    """The classifier out of labelled answers; the same for the same rows."""
    from sklearn.multiclass import OneVsRestClassifier

    from anime_ai.training.style import classifier

    counting, regression = classifier(seed, max(LENGTHS), RAREST, preprocessor=marked)
    counted = counting.fit_transform([row.text for row in rows])
    fitted = OneVsRestClassifier(regression).fit(counted, [FEELINGS.index(row.feeling) for row in rows])
    return Tone(
        {one: int(place) for one, place in counting.vocabulary_.items()},
        counting.idf_.astype(np.float32),
        np.concatenate([one.coef_ for one in fitted.estimators_]).astype(np.float32),
        np.concatenate([one.intercept_ for one in fitted.estimators_]).astype(np.float32),
    )


def figures(tone: Tone, trained: Sequence[Labelled], held: Sequence[Labelled]) -> Figures:
    """How a classifier does on answers that it was not trained on. Neither sequence may be empty."""
    true = [row.feeling for row in held]
    told = [FEELINGS[int(tone.scores(row.text).argmax())] for row in held]
    commonest = Counter(row.feeling for row in trained).most_common(1)[0][0]
    by_her = {who: Counter(row.feeling for row in trained if row.persona == who) for who in {r.persona for r in held}}
    hers = [by_her[row.persona].most_common(1)[0][0] if by_her[row.persona] else commonest for row in held]
    plain = [commonest] * len(held)
    return Figures(
        len(held),
        *(measure(true, said) for said in (told, plain, hers) for measure in (accuracy, macro_f1)),
    )


def accuracy(true: Sequence[str], told: Sequence[str]) -> float:
    return sum(one == other for one, other in zip(true, told, strict=True)) / len(true)


def macro_f1(true: Sequence[str], told: Sequence[str]) -> float:
    """The mean of F1 over the feelings that stand in `true`."""
    pairs = Counter(zip(true, told, strict=True))
    said, meant = Counter(told), Counter(true)
    return sum(2 * pairs[one, one] / (said[one] + meant[one]) for one in meant) / len(meant)


def make(say: Callable[[str], None], path: Path = WEIGHTS) -> None:
    """Train on what is not held out, and write the weights and their card."""
    rows = labelled()
    trained = [row for row in rows if not row.held_out]
    write(fit(trained), path)
    tone = Tone.load(path)
    write_bytes(path.with_name("README.md"), card(tone, rows).encode())
    found = figures(tone, trained, [row for row in rows if row.held_out and not row.written])
    say(f"feelings: {len(trained)} answers, {path.stat().st_size} bytes, held out {found.right:.3f}")


def write(tone: Tone, path: Path) -> None:
    """Weights in half precision; the stretches as lines of UTF-8, which none of them breaks."""
    from safetensors.numpy import save

    stretches = sorted(tone.places, key=lambda one: tone.places[one])
    kept = [place for place, one in enumerate(stretches) if "\n" not in one]
    lines = "\n".join(stretches[place] for place in kept).encode()
    told: dict[str, np.ndarray] = {
        "grams": np.frombuffer(lines, np.uint8),
        "rarity": tone.rarity[kept].astype(np.float16),
        "weights": np.ascontiguousarray(tone.weights[:, kept]).astype(np.float16),
        "bias": tone.bias.astype(np.float16),
    }
    write_bytes(path, save(told, {"feelings": " ".join(FEELINGS)}))


def card(tone: Tone, rows: Iterable[Labelled]) -> str:
    """The model card."""
    rows = list(rows)
    trained = [row for row in rows if not row.held_out]
    lines = [CARD, "", "| held out | answers | right | macro-F1 | commonest feeling | her commonest feeling |"]
    lines.append("|---|---|---|---|---|---|")
    for name, written in (("answers of the datasets", False), ("lines written for this", True)):
        held = [row for row in rows if row.held_out and row.written is written]
        found = figures(tone, trained, held)
        others = ((found.common, found.common_f1), (found.hers, found.hers_f1))
        told = " | ".join(f"{right:.3f} ({f1:.3f})" for right, f1 in others)
        lines.append(f"| {name} | {found.count} | {found.right:.3f} | {found.f1:.3f} | {told} |")
    counts = Counter(row.feeling for row in trained)
    by_feeling = ", ".join(f"{one} {counts[one]}" for one in FEELINGS)
    return "\n".join([*lines, "", f"Trained on {len(trained)}: {by_feeling}.", ""])


CARD = """# What an answer feels like

Eight feelings, out of the words of a Chinese answer: logistic regression over TF-IDF of characters and pairs of
them. `python -m anime_ai.starter --only feelings` makes it out of `labels.json`: answers of the project's own
datasets that were read and labelled by hand, one feeling each, and lines written for this in some twenty voices, all
eight feelings in each. A fifth is held out by its hash.

It knows no other language and no irony. In the datasets each of the four characters has a feeling that she shows most,
so the figures beside it say what one gets with the commonest feeling of all, and with the commonest of her who speaks:
right (macro-F1)."""
