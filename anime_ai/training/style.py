"""The style verifier: how much a reply sounds like one persona rather than like another or like nobody.

Logistic regression over character 1–3-grams, its probabilities calibrated (Platt 1999) on rows that it was not fitted
to. Knows no models and no prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from anime_ai.errors import TrainingError

FEWEST = 10
"""Replies of either side that a verifier needs."""


@dataclass(frozen=True)
class Verifier:
    """Calibrated probabilities that replies are this persona's."""

    model: Any

    def scores(self, replies: Sequence[str]) -> np.ndarray:
        """A probability in [0, 1] for each reply; an empty reply scores 0."""
        if not replies:
            return np.zeros(0)
        probabilities = self.model.predict_proba([reply or " " for reply in replies])[:, 1]
        return np.where([bool(reply.strip()) for reply in replies], probabilities, 0.0)


def train_verifier(
    own: Sequence[str], others: Sequence[str], held_own: Sequence[str], held_others: Sequence[str], seed: int
) -> Verifier:
    """Fit on `own` against `others`; calibrate on the held-out ones, or by cross-validation where those are too few.

    Raises TrainingError when there are too few replies to tell the voices apart.
    """
    if len(own) < FEWEST or len(others) < FEWEST:
        raise TrainingError("training.too_few_to_verify", own=len(own), others=len(others), least=FEWEST)
    texts = [*own, *others]
    labels = np.array([1] * len(own) + [0] * len(others))
    if len(held_own) < FEWEST or len(held_others) < FEWEST:
        return Verifier(CalibratedClassifierCV(classifier(seed), method="sigmoid", cv=5).fit(texts, labels))
    from sklearn.frozen import FrozenEstimator

    fitted = classifier(seed).fit(texts, labels)
    held = np.array([1] * len(held_own) + [0] * len(held_others))
    calibrated = CalibratedClassifierCV(FrozenEstimator(fitted), method="sigmoid", cv=5)
    return Verifier(calibrated.fit([*held_own, *held_others], held))


def classifier(seed: int, longest: int = 3, rarest: int = 1, **told: Any) -> Pipeline:
    """Two steps, not fitted: TF-IDF of the stretches of up to `longest` characters that stand in `rarest` texts or
    more, and logistic regression on them. `told`: more for the first step."""
    return make_pipeline(
        TfidfVectorizer(analyzer="char", ngram_range=(1, longest), min_df=rarest, sublinear_tf=True, **told),
        # Far more grams than replies: the dual problem is the small one.
        LogisticRegression(
            C=10.0, class_weight="balanced", solver="liblinear", dual=True, max_iter=2000, random_state=seed
        ),
    )
