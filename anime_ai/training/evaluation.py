"""What an adapter learned, against its base: loss on held-out rows, style, variety, copies, loops, ends, drift.

Replies are drawn greedily to the held-out questions. `low` and `high` are a 95 % interval of the adapter's figure by
the bootstrap over the held-out rows (Efron 1979); that of distinct-2 is by the jackknife (Tukey 1958), because a
bootstrap repeats replies, which by itself lowers it. The held-out rows are few, and the interval says how few.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
COPIED = 12
"""Characters in a row that a reply shares with a training row when it counts as copied."""
CANDIDATES = 4
RESAMPLES = 4_000
SCRIPT = (
    *("你好呀，我回来了。", "今天上班好累。", "你在干嘛呢？", "给我推荐点好吃的吧。", "周末我们去哪儿玩？"),
    *("我有点睡不着。", "你会一直陪着我吗？", "刚才是我说错话了，对不起。", "明天还要早起。", "那我去睡了，晚安。"),
)
"""What the other side says in ten turns, to see whether she stays herself."""


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
    # Losses are the business of the engine that trains.
    here = settings.model_copy(update={"engine": "transformers"})
    speaker = Speaker.open(here, folder / runs.FINAL, persona=persona)
    losses = _losses(speaker, held, int(recipe.get("max_length", settings.max_length)))
    if not losses["adapter"]:
        raise TrainingError("training.nothing_held_out", persona=persona)
    asked = held[:MOST_REPLIES]
    replies, talked = {}, {}
    for name, alone in (("base", True), ("adapter", False)):
        replies[name] = [reply_to(speaker, row, alone) for row in asked]
        talked[name] = verifier.scores(scripted(speaker, alone)).tolist()
        tell(f"{name}: {len(asked)}")
    trained = [rows[place].output for place in split.train if rows[place].persona == persona]
    neutral = _neutral_rows(settings)[: len(asked)]
    apart = _losses(speaker, neutral, int(recipe.get("max_length", settings.max_length)))
    chosen = _choices(speaker, asked, held, int(recipe.get("max_length", settings.max_length)))
    return _figures(replies, talked, losses, apart, chosen, verifier, [row.output for row in held], trained)


def _figures(
    replies: dict[str, list[tuple[str, bool]]],
    talked: dict[str, list[float]],
    losses: dict[str, list[float]],
    apart: dict[str, list[float]],
    chosen: dict[str, list[float]],
    verifier: Verifier,
    human: Sequence[str],
    trained: Sequence[str],
) -> dict[str, Figure]:
    base, adapter = replies["base"], replies["adapter"]
    of_rows = verifier.scores(human).tolist()
    known = grams(trained, COPIED)

    def each(measure: Callable[[str], bool]) -> Figure:
        return _share([float(measure(text)) for text, _ in base], [float(measure(text)) for text, _ in adapter])

    def against(told: dict[str, list[float]]) -> Figure:
        """By how much the adapter finds the rows likelier than the base does, in nats a token."""
        gained = [before - after for before, after in zip(told["base"], told["adapter"], strict=True)]
        return _figure([0.0] * len(gained), gained)

    return {
        "held_out_loss": _figure(losses["base"], losses["adapter"]),
        "style": _share(verifier.scores(_texts(base)).tolist(), verifier.scores(_texts(adapter)).tolist()),
        # The mark to reach: what the same verifier gives the person who wrote the held-out rows.
        "style_of_the_rows": _share(of_rows, of_rows),
        "likelier_rows": against(losses),
        "likelier_neutral": against(apart),
        "true_reply": _share(chosen["base"], chosen["adapter"]),
        "copied": each(lambda text: bool(grams([text], COPIED) & known)),
        "distinct_2": _share(_texts(base), _texts(adapter), distinct_2),
        "loop_rate": each(loops),
        "end_rate": _share([float(ended) for _, ended in base], [float(ended) for _, ended in adapter]),
        "drift": _figure(_late(talked["base"]), _late(talked["adapter"])),
    }


def scripted(speaker: Speaker, alone: bool) -> list[str]:
    """Her replies in a conversation whose other side is written."""
    from langchain_core.messages import AIMessage, HumanMessage

    history: list[Any] = []
    replies = []
    for said in SCRIPT:
        reply, _ = speaker.ended(said, history, replace(GREEDY, max_new_tokens=REPLY_TOKENS), alone)
        replies.append(reply)
        history += [HumanMessage(said), AIMessage(reply or "……")]
    return replies


def _late(scores: Sequence[float]) -> list[float]:
    """What each of the later turns' style is above (or below) the mean of the earlier ones'."""
    half = len(scores) // 2
    early = sum(scores[:half]) / half
    return [score - early for score in scores[half:]]


def grams(texts: Sequence[str], length: int) -> set[str]:
    """Every stretch of `length` characters."""
    return {text[place : place + length] for text in texts for place in range(len(text) - length + 1)}


def _choices(speaker: Speaker, asked: Sequence[Row], held: Sequence[Row], max_length: int) -> dict[str, list[float]]:
    """For every row, whether its own reply is the likeliest (by mean loss of a token) of four, the others being those
    of other held-out rows; rows whose candidates do not fit are left out."""
    found: dict[str, list[float]] = {"base": [], "adapter": []}
    others = list(dict.fromkeys(row.output for row in held))
    chance = random.Random(0)
    for row in asked:
        strangers = [one for one in others if one != row.output]
        if len(strangers) < CANDIDATES - 1:
            break
        candidates = [row, *(replace(row, output=one, inner="") for one in chance.sample(strangers, CANDIDATES - 1))]
        told = _losses(speaker, candidates, max_length)
        if len(told["base"]) == CANDIDATES:
            for name, values in told.items():
                found[name].append(float(min(values) == values[0]))
    return found


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
    """`measure` of both, and the interval of the adapter's; without one the mean. Nothing measured is 0."""
    if not len(base) or not len(adapter):
        return Figure(0.0, 0.0, 0.0, 0.0)
    mean = measure is None
    measure = measure or (lambda values: float(np.mean(values)))
    value = measure(adapter)
    low, high = _bootstrap(adapter) if mean else _jackknife(adapter, value, measure)
    return Figure(round(measure(base), 4), round(value, 4), round(low, 4), round(high, 4))


def _bootstrap(values: Sequence[float]) -> tuple[float, float]:
    drawn = np.random.default_rng(0).choice(np.asarray(values, float), (RESAMPLES, len(values)))
    low, high = np.quantile(drawn.mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def _jackknife(values: Sequence[Any], value: float, measure: Callable[[Any], float]) -> tuple[float, float]:
    count, error = len(values), 0.0
    if count > 1:
        without = np.array([measure([*values[:place], *values[place + 1 :]]) for place in range(count)])
        error = float(np.sqrt((count - 1) * without.var()))
    return value - 1.96 * error, value + 1.96 * error


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


def _neutral_rows(settings: Settings) -> list[Row]:
    """Held-out rows of nobody."""
    rows = read_rows(DATA / "neutral.json").rows
    return [rows[place] for place in split_rows(rows, settings.seed).held_out]


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
    encoded, _, _ = encode_rows(rows, Personas.of_run(speaker.adapter.parent), layout, max_length)
    return {
        name: [engine.loss(row.ids, row.labels, adapter) for row in encoded.values()]
        for name, adapter in (("base", None), ("adapter", Adapter(speaker.adapter)))
    }
