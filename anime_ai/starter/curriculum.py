"""What the starter's base reads, and how much of it: shares of the kinds of training text. Knows no text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LESSONS: tuple[tuple[float, dict[str, float]], ...] = (
    (0.015, {"repeat": 1}),
    (
        0.10,
        {
            **{"small talk": 30, "near": 6, "repeat": 6, "card": 8, "facts": 10},
            **{"one fact": 30, "picture": 4, "voices": 6},
        },
    ),
    (
        0.12,
        {
            **{"small talk": 28, "near": 10, "repeat": 4, "written": 4, "card": 7, "facts": 7},
            **{"one fact": 14, "several facts": 10, "picture": 5, "voices": 6, "at home": 5},
        },
    ),
    (
        0.765,
        {
            **{"small talk": 26, "near": 15, "repeat": 1, "written": 4, "card": 5, "facts": 5},
            **{"one fact": 3, "several facts": 13, "picture": 5, "voices": 8, "at home": 14, "original": 1},
        },
    ),
)
"""A curriculum (Bengio et al. 2009): shares of the corpus, and what each is mixed of. To copy comes first, then to read
one fact, then everything. With the line of the card that asks for a voice, the original project's two questions have
their own answers."""


@dataclass(frozen=True)
class Course:
    """What follows the lessons: conversations and steps, what they are mixed of, and how far the weights go from where
    the course found them (0) to where it left them (1)."""

    talks: int
    steps: int
    mixture: Mapping[str, float]
    share: float = 1.0


COURSES: dict[str, Course] = {
    "phrases": Course(
        315_000,
        4_000,
        {
            **{"alone": 1600, "phrase": 920, "small talk": 145, "repeat": 12, "written": 50, "card": 37, "facts": 38},
            **{"one fact": 6, "several facts": 142, "picture": 50, "voices": 50, "at home": 96, "original": 6},
        },
    ),
    "voices": Course(
        35_000,
        1_000,
        {
            **{"alone": 30, "phrase": 130, "small talk": 15, "several facts": 20, "picture": 6},
            **{"voices": 30, "at home": 110, "original": 4},
        },
        share=0.5,
    ),
}
"""In their order. In the lessons a way to say something comes as often as its topic and its choices make it, most of
them a few times; in the first course each comes several times. Then, briefly, whole conversations in the voices, which
phrases alone do not teach.

A course that is mixed of little else costs what it does not ask for; between where it began and where it ended lies a
model that has what is new and what it knew (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models")."""
