"""`python -m anime_ai.starter`: make everything under `assets/starter/` again."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from anime_ai.config import STARTER_LM
from anime_ai.models.device import let_threads_sleep
from anime_ai.starter.base import STEPS, TALKS, Options
from anime_ai.starter.curriculum import COURSES

PARTS = ("base", *COURSES, "card", "adapters", "coca", "characters", "portraits", "feelings", "report")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m anime_ai.starter", description=__doc__)
    parser.add_argument(
        "--only",
        choices=PARTS,
        help="one part: the base's first course, those behind it in order, its card, the adapters, the image model, "
        "how it tells characters apart, the portraits, what an answer feels like, the report",
    )
    parser.add_argument("--out", type=Path, default=STARTER_LM, help="where the base goes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS, help="optimiser steps (default: %(default)s)")
    parser.add_argument("--minutes", type=float, help="choose the steps so that training takes about this long here")
    parser.add_argument("--talks", type=int, default=TALKS, help="conversations in the corpus (default: %(default)s)")
    parser.add_argument("--compile", action="store_true", help="compile the model: a minute more, then a fifth faster")
    given = parser.parse_args()
    let_threads_sleep()
    options = Options(given.out, given.seed, given.steps, given.minutes, given.talks, given.compile)
    say = _clock()
    # A base that lies elsewhere has no adapters to replace.
    parts = PARTS if given.out == STARTER_LM else PARTS[: PARTS.index("adapters")]
    for part in [given.only] if given.only else parts:
        _make(part, options, say)


def _make(part: str, options: Options, say: Callable[[str], None]) -> None:
    """Make one of PARTS."""
    from anime_ai.starter import adapters, avatars, base, card, feelings, report, sight

    makers: dict[str, Callable[[], object]] = {
        "base": lambda: base.make(options, say),
        **{name: partial(base.go_on, options, say, name) for name in COURSES},
        "card": lambda: card.make(options.out, say),
        "adapters": lambda: adapters.make(say),
        "coca": lambda: sight.make(say, seed=options.seed),
        "characters": lambda: sight.learn_characters(say),
        "portraits": lambda: avatars.make(say),
        "feelings": lambda: feelings.make(say),
        "report": lambda: report.make(say),
    }
    makers[part]()


def _clock() -> Callable[[str], None]:
    began = time.perf_counter()
    return lambda line: print(f"{time.perf_counter() - began:7.1f} s  {line}", flush=True)


if __name__ == "__main__":
    main()
