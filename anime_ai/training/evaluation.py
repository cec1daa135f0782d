"""What an adapter learned, against its base: loss on held-out rows, style, variety, loops, ends.

Replies are drawn greedily to the held-out questions. `low` and `high` are a 95 % interval of the adapter's figure by
the jackknife over the held-out rows (Tukey 1958; a bootstrap would repeat replies, which by itself lowers distinct-2).
The held-out rows are few, and the interval says how few.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anime_ai.config import DATA, Settings
from anime_ai.dataset.files import read_rows
from anime_ai.dataset.preprocess import encode_rows, stored_rows
from anime_ai.dataset.rows import Row
from anime_ai.dataset.split import Split, split_rows
from anime_ai.errors import TrainingError
from anime_ai.files import read_json
from anime_ai.models.engine import GREEDY
from anime_ai.training import runs

if TYPE_CHECKING:
    from anime_ai.chat.answers import Speaker
    from anime_ai.training.style import Verifier

MOST_REPLIES = 40
"""Held-out questions that are answered by each of the two."""
REPLY_TOKENS = 80


@dataclass(frozen=True)
class Figure:
    """One metric of base and adapter, and the interval of the adapter's."""

    base: float
    adapter: float
    low: float
    high: float


def evaluate_run(
    folder: Path, settings: Settings, tell: Callable[[str], None] = lambda line: None
) -> dict[str, Figure]:
    """The figures of the adapter in a run folder. Raises TrainingError when there is none, or nothing was held out."""
    from anime_ai.chat.answers import Speaker

    card = read_json(folder / runs.FINAL / "anime_ai.json")
    if not isinstance(card, dict):
        raise TrainingError("training.no_adapter", path=folder / runs.FINAL)
    rows, persona = stored_rows(folder / runs.DATA), str(card["persona"])
    config = read_json(folder / runs.CONFIG)
    recipe = config.get("recipe", {}) if isinstance(config, dict) else {}
    split = _stored_split(folder / runs.DATA)
    held = [rows[place] for place in split.held_out if rows[place].persona == persona]
    if not held:
        raise TrainingError("training.nothing_held_out", persona=persona)
    verifier = voice_verifier(rows, split, persona, settings)
    speaker = Speaker.open(settings, folder / runs.FINAL, persona=persona)
    losses = _losses(speaker, held, int(recipe.get("max_length", settings.max_length)))
    if not losses["adapter"]:
        raise TrainingError("training.nothing_held_out", persona=persona)
    asked = held[:MOST_REPLIES]
    replies = {}
    for name, alone in (("base", True), ("adapter", False)):
        replies[name] = [reply_to(speaker, row, alone) for row in asked]
        tell(f"{name}: {len(asked)}")
    base, trained = replies["base"], replies["adapter"]
    human = verifier.scores([row.output for row in held]).tolist()
    return {
        "held_out_loss": _figure(losses["base"], losses["adapter"]),
        "style": _share(verifier.scores(_texts(base)).tolist(), verifier.scores(_texts(trained)).tolist()),
        # The mark to reach: what the same verifier gives the person who wrote the held-out rows.
        "style_of_the_rows": _share(human, human),
        "distinct_2": _share(_texts(base), _texts(trained), distinct_2),
        "loop_rate": _share([float(loops(text)) for text, _ in base], [float(loops(text)) for text, _ in trained]),
        "end_rate": _share([float(ended) for _, ended in base], [float(ended) for _, ended in trained]),
    }


def voice_verifier(rows: Sequence[Row], split: Split, persona: str, settings: Settings) -> Verifier:
    """Tells one persona from the others and the neutral rows: fitted on what trained, calibrated on what did not."""
    from anime_ai.training.style import train_verifier

    fitted, held_neutral = _neutral(settings)
    groups = _by_side(rows, split.train, persona), _by_side(rows, split.held_out, persona)
    return train_verifier(
        groups[0][0], [*groups[0][1], *fitted], groups[1][0], [*groups[1][1], *held_neutral], settings.seed
    )


def _texts(replies: Sequence[tuple[str, bool]]) -> list[str]:
    return [text for text, _ in replies]


def distinct_2(replies: Sequence[str]) -> float:
    """Different character bigrams over all of them (Li et al. 2016, with characters for words)."""
    bigrams = [reply[place : place + 2] for reply in replies for place in range(len(reply) - 1)]
    return len(set(bigrams)) / len(bigrams) if bigrams else 0.0


def loops(reply: str, length: int = 4, times: int = 3) -> bool:
    """Whether some stretch of `length` characters, not all the same, stands `times` times in the reply."""
    counts: dict[str, int] = {}
    for place in range(len(reply) - length + 1):
        gram = reply[place : place + length]
        counts[gram] = counts.get(gram, 0) + 1
    return any(count >= times and len(set(gram)) > 1 for gram, count in counts.items())


def _figure(base: Sequence[Any], adapter: Sequence[Any], measure: Callable[[Any], float] | None = None) -> Figure:
    import numpy as np

    measure = measure or (lambda values: float(np.mean(values)))
    value, count = measure(adapter), len(adapter)
    error = 0.0
    if count > 1:
        without = np.array([measure([*adapter[:place], *adapter[place + 1 :]]) for place in range(count)])
        error = float(np.sqrt((count - 1) * without.var()))
    low, high = value - 1.96 * error, value + 1.96 * error
    return Figure(round(measure(base), 4), round(value, 4), round(low, 4), round(high, 4))


def _share(base: Sequence[Any], adapter: Sequence[Any], measure: Callable[[Any], float] | None = None) -> Figure:
    """A figure between 0 and 1, and so its interval."""
    figure = _figure(base, adapter, measure)
    return replace(figure, low=max(0.0, figure.low), high=min(1.0, figure.high))


def _stored_split(folder: Path) -> Split:
    """The rows that this run trained on and held out; to split them again would follow today's code, not the run's."""
    import datasets

    parts = datasets.load_from_disk(str(folder))
    train, held_out = (
        tuple(number - 1 for number in parts[name]["row"]) if name in parts else () for name in ("train", "test")
    )
    return Split(train, held_out)


def _by_side(rows: Sequence[Row], places: Sequence[int], persona: str) -> tuple[list[str], list[str]]:
    own = [rows[place].output for place in places if rows[place].persona == persona]
    return own, [rows[place].output for place in places if rows[place].persona != persona]


def _neutral(settings: Settings) -> tuple[list[str], list[str]]:
    """Replies without a character, for fitting and for calibration."""
    rows = read_rows(DATA / "neutral.json").rows
    split = split_rows(rows, settings.seed)
    return [rows[place].output for place in split.train], [rows[place].output for place in split.held_out]


def reply_to(speaker: Speaker, row: Row, alone: bool = False) -> tuple[str, bool]:
    """The greedy reply to a row's question behind its history, and whether it ended by itself; `alone`: the base's."""
    from langchain_core.messages import AIMessage, HumanMessage

    history = [message for user, reply in row.history for message in (HumanMessage(user), AIMessage(reply))]
    return speaker.ended(row.input, history, replace(GREEDY, max_new_tokens=REPLY_TOKENS), alone)


def _losses(speaker: Any, rows: Sequence[Row], max_length: int) -> dict[str, list[float]]:
    """Mean loss of each row's trained tokens, for base and adapter."""
    from anime_ai.models.engine import Adapter
    from anime_ai.persona.cards import Personas

    engine, trained = speaker.engine, speaker.trained
    layout = engine.layout(str(trained["prompt_format"]), str(trained["think"]))
    encoded, _, _ = encode_rows(rows, Personas(), layout, max_length)
    return {
        name: [engine.loss(row.ids, row.labels, adapter) for row in encoded.values()]
        for name, adapter in (("base", None), ("adapter", Adapter(speaker.adapter)))
    }
