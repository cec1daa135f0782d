"""What the rows are like: how each persona speaks, and how many tokens the rows take.

Knows no model weights and draws nothing. How long a training takes is the training's to say.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean

from anime_ai.dataset.preprocess import dialogue_of, encode_rows
from anime_ai.dataset.rows import Row
from anime_ai.errors import AnimeAIError, DatasetError
from anime_ai.persona.cards import Personas
from anime_ai.prompting import Layout

ENDS = ("。", "！", "？", "…", "～")
"""How a sentence may end; other ends, among them none, count as "other"."""
OTHER = "other"
SHORTEST, LONGEST = 2, 6
"""Characters of a catchphrase."""
FEWEST = 3
"""Answers in which a catchphrase stands at least, and answers that a voice needs to be told from others."""
PRIOR = 100.0
"""Answers that the prior is worth: as many of each voice would have to contradict it."""
OFTENER = 3
"""Times that the persona says a catchphrase as often as the others."""
SURE = 2.33
"""Standard errors by which a phrase's log-odds are above zero to be a persona's own: one in a hundred by chance."""
_SAME = {"!": "！", "?": "？", ".": "。", "．": "。", "~": "～", "〜": "～", "⋯": "…", "‼": "！", "⁉": "？"}
_BRACKETS = "」』”’）)】》\"'"
_LETTERS = re.compile(r"[^\W\d_]+")
_DRAWN = frozenset("★☆♪♫♩♬♀♂♡♥✓✗")
"""Signs of the emoji blocks that anime lines use as letters do, also where no emoji is meant."""


@dataclass(frozen=True)
class Catchphrase:
    """A phrase, in how many of the persona's answers it stands, in how many others, and how sure that is (z)."""

    text: str
    count: int
    elsewhere: int
    z: float


@dataclass(frozen=True)
class Voice:
    """How one persona answers. Lengths are characters of an answer, shares are of her rows, in [0, 1].

    `quantiles` holds the 10th, 50th and 90th percentile; `ends` a share for each of `ENDS` and `OTHER`, together 1.
    """

    persona: str
    rows: int
    mean: float
    quantiles: tuple[int, int, int]
    ends: dict[str, float]
    emoji: float
    history: float
    inner: float
    catchphrases: tuple[Catchphrase, ...]


@dataclass(frozen=True)
class Length:
    """Tokens of a row as it is trained on, and what of it is used within `max_length`.

    `tokens`: the row with all its history; `kept`: what is left of it, 0 where it is left out; `trained`: those that
    carry loss; `dropped`: exchanges that had to go; `broken`: why the row breaks the training contract, if it does.
    """

    tokens: int
    kept: int = 0
    trained: int = 0
    dropped: int = 0
    broken: AnimeAIError | None = None


@dataclass(frozen=True)
class Histogram:
    """Rows by tokens: bin n holds those above `edges[n]` and up to `edges[n + 1]`."""

    edges: tuple[int, ...]
    counts: tuple[int, ...]


def profile(rows: Sequence[Row], most: int = 10) -> tuple[Voice, ...]:
    """The voice of each persona, in order of first appearance, with at most `most` catchphrases each.

    Catchphrases stand out against the other personas' answers; where there is one persona only, against what is said
    to her.
    """
    own: dict[str, list[Row]] = {}
    for row in rows:
        own.setdefault(row.persona, []).append(row)
    spoken = {persona: [row.output for row in said] for persona, said in own.items()}
    phrases = catchphrases(spoken, [row.input for row in rows] if len(own) == 1 else (), most)
    return tuple(_voice(persona, said, phrases[persona]) for persona, said in own.items())


def _voice(persona: str, rows: Sequence[Row], phrases: tuple[Catchphrase, ...]) -> Voice:
    lengths = sorted(len(row.output) for row in rows)
    ends = Counter(_end(row.output) for row in rows)
    return Voice(
        persona=persona,
        rows=len(rows),
        mean=mean(lengths),
        quantiles=(_quantile(lengths, 0.1), _quantile(lengths, 0.5), _quantile(lengths, 0.9)),
        ends={end: ends[end] / len(rows) for end in (*ENDS, OTHER)},
        emoji=sum(any(map(_is_emoji, row.output)) for row in rows) / len(rows),
        history=sum(bool(row.history) for row in rows) / len(rows),
        inner=sum(bool(row.inner) for row in rows) / len(rows),
        catchphrases=phrases,
    )


def catchphrases(
    spoken: Mapping[str, Sequence[str]], background: Sequence[str] = (), most: int = 10
) -> dict[str, tuple[Catchphrase, ...]]:
    """Of each persona the phrases of 2 to 6 characters that the others, or the `background`, rarely say.

    Log-odds ratio with an informative Dirichlet prior (Monroe, Colaresi, Quinn 2008, "Fightin' Words", 3.3–3.5): the
    odds that an answer holds the phrase, the prior its share of all answers; the surest first. Of phrases within one
    another the longest is told, unless the shorter one stands in many more answers. None where there are fewer than
    three answers, or nothing to compare them with.
    """
    counts = {persona: _counted(answers) for persona, answers in spoken.items() if len(answers) >= FEWEST}
    everything = [*background, *(answer for answers in spoken.values() for answer in answers)]
    total = _counted(everything, {phrase for counted in counts.values() for phrase in counted})
    return {
        persona: _surest(counts.get(persona, Counter()), len(answers), total, len(everything), most)
        for persona, answers in spoken.items()
    }


def _surest(
    counts: Mapping[str, int], own: int, total: Mapping[str, int], everything: int, most: int
) -> tuple[Catchphrase, ...]:
    others = everything - own
    scored = []
    for phrase, count in counts.items():
        there = total[phrase] - count
        if others >= FEWEST and count * others >= OFTENER * there * own:
            scored.append(Catchphrase(phrase, count, there, _log_odds(count, own, there, others)))
    scored = sorted((one for one in scored if one.z >= SURE), key=lambda one: (-one.z, -len(one.text), one.text))
    kept: list[Catchphrase] = []
    for one in scored:
        if len(kept) == most:
            break
        if any(one.text in other.text or other.text in one.text for other in kept):
            continue
        if not any(one.text in other.text and _as_often(other, one) for other in scored):
            kept.append(one)
    return tuple(kept)


def _as_often(longer: Catchphrase, shorter: Catchphrase) -> bool:
    """Whether the shorter phrase is little more than a part of the longer one."""
    return len(longer.text) > len(shorter.text) and longer.count >= 0.8 * shorter.count


def _log_odds(here: int, own: int, there: int, others: int) -> float:
    """The log-odds ratio of `here` of `own` against `there` of `others`, in standard errors."""
    prior = PRIOR * (here + there) / (own + others)
    rest = PRIOR - prior
    ratio = math.log((here + prior) / (own - here + rest)) - math.log((there + prior) / (others - there + rest))
    return ratio / math.sqrt(1 / (here + prior) + 1 / (there + prior))


def _counted(answers: Sequence[str], wanted: set[str] | None = None) -> Counter[str]:
    """In how many answers each phrase stands: the wanted ones, else those that stand in at least `FEWEST`.

    A phrase can only be frequent where both phrases are that are one character shorter (Agrawal, Srikant 1994), which
    bounds what is kept in memory.
    """
    total: Counter[str] = Counter()
    known: set[str] = set()
    for size in range(SHORTEST, LONGEST + 1):
        counts: Counter[str] = Counter()
        for answer in answers:
            phrases = set(_phrases(answer, size))
            if wanted is not None:
                phrases &= wanted
            elif size > SHORTEST:
                phrases = {phrase for phrase in phrases if phrase[1:] in known and phrase[:-1] in known}
            counts.update(phrases)
        if wanted is None:
            counts = Counter({phrase: count for phrase, count in counts.items() if count >= FEWEST})
            known = set(counts)
        total.update(counts)
    return total


def _phrases(answer: str, size: int) -> Iterator[str]:
    """Stretches of letters of one size, and of the smallest also a letter that stands alone with the sign behind it."""
    for found in _LETTERS.finditer(answer):
        run, end = found.group(), found.end()
        if len(run) == 1 and size == SHORTEST and end < len(answer) and not answer[end].isspace():
            yield answer[end - 1 : end + 1]
        for start in range(len(run) - size + 1):
            yield run[start : start + size]


def _end(answer: str) -> str:
    told = answer.rstrip().rstrip(_BRACKETS).rstrip()
    last = _SAME.get(told[-1:], told[-1:])
    if last == "。" and told.endswith(("...", "。。。")):
        last = "…"
    return last if last in ENDS else OTHER


def _is_emoji(character: str) -> bool:
    place = ord(character)
    drawn = 0x1F000 <= place <= 0x1FAFF or 0x2600 <= place <= 0x27BF or place in (0x2B50, 0x2B55, 0xFE0F)
    return drawn and character not in _DRAWN


def _quantile(ordered: Sequence[int], share: float) -> int:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def lengths(rows: Iterable[Row], personas: Personas, layout: Layout, max_length: int) -> tuple[Length | None, ...]:
    """The tokens of each row, rendered as preprocessing renders it; None for a draft, which is not trained on."""
    return tuple(None if row.draft else _length(row, personas, layout, max_length) for row in rows)


def _length(row: Row, personas: Personas, layout: Layout, max_length: int) -> Length:
    try:
        encoded, _, _ = encode_rows([row], personas, layout, max_length)
        done = encoded.get(0)
        if done is not None and not done.dropped:
            return Length(len(done.ids), len(done.ids), done.trained)
        # What had to be cut: here the length that it has uncut, without the greeting, which goes first.
        dialogue = replace(dialogue_of(row, personas), greeting="")
        whole = len(layout.training_row(dialogue, row.output, row.inner).ids)
    except DatasetError as error:
        return Length(0, broken=error.values.get("why", error))
    return Length(whole, len(done.ids), done.trained, done.dropped) if done is not None else Length(whole)


def histogram(tokens: Sequence[int], max_length: int, bins: int = 16) -> Histogram:
    """Rows by tokens, in bins of one width but the first, two of which meet at `max_length`.

    Those far above share the last bin.
    """
    width = max(1, math.ceil(max_length / bins))
    longest = max(tokens, default=0)
    inside = [max(0, max_length - width * step) for step in range(math.ceil(max_length / width), -1, -1)]
    beyond = math.ceil(max(0, longest - max_length) / width)
    edges = [*inside, *(max_length + width * step for step in range(1, min(beyond, bins) + 1))]
    if beyond > bins:
        edges[-1] = longest
    counts = [0] * (len(edges) - 1)
    for count in tokens:
        counts[max(0, bisect_left(edges, count) - 1)] += 1
    return Histogram(tuple(edges), tuple(counts))
