"""From what a model says about a picture to an observation. Knows no pixels.

Each kind of model says something else: a CoCa of ours writes a list of words, a tagger gives probabilities, a CLIP
likens the picture to labels. What comes out is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from anime_ai.vision.clip import Caption
from anime_ai.vision.observation import Known, Observation, Tag, group_of
from anime_ai.vision.tagger import Tagged
from anime_ai.vision.tags import word

SEPARATORS: Mapping[str, str] = {"zh": "，", "en": ", "}
STOPS = "。."

Labels = Mapping[str, Sequence[str]]
"""The tags that a model can name, by group."""


def listed(tags: Sequence[Tag], language: str) -> str:
    """Tags as the list of words that our CoCa learns to write."""
    return SEPARATORS[language].join(word(tag.name, language) for tag in tags) + ("。" if language == "zh" else ".")


def read(caption: Caption, tokenizer: Any, labels: Labels) -> tuple[Tag, ...]:
    """The tags of a list that a CoCa wrote, each as likely as its least likely token; other words are left out.

    The one tag of its group is no choice: how likely its tokens are tells how lists begin, not what was seen.
    """
    groups = {name: group for group, names in labels.items() for name in names}
    likely = _by_character(caption, tokenizer)
    found: dict[str, Tag] = {}
    for start, end in _words(caption.text):
        name = _label(caption.text[start:end], labels)
        if name:
            alone = len(labels[groups[name]]) == 1
            found.setdefault(name, Tag(name, groups[name], 1.0 if alone else min(likely[start:end], default=0.0)))
    return tuple(found.values())


def of_tagger(tagged: Tagged, model: str) -> Observation:
    """What a WD tagger gave. Its own thresholds have been applied; a probability is a confidence."""
    tags = tuple(Tag(name, group_of(name), likely) for name, likely in tagged.tags.items())
    known = tuple(Known(name, name.replace("_", " "), likely, True) for name, likely in tagged.characters.items())
    return Observation(tags=tags, characters=known, rating=tagged.rating, models=(model,))


def _label(said: str, labels: Labels) -> str:
    """The label of this very word, in Chinese or English; "" where there is none."""
    said = said.casefold()
    for names in labels.values():
        for name in names:
            if said in (word(name, "zh").casefold(), word(name, "en").casefold()):
                return name
    return ""


def _words(text: str) -> Iterator[tuple[int, int]]:
    """Spans of the words of a list in either language."""
    separator = SEPARATORS["zh"] if SEPARATORS["zh"] in text else SEPARATORS["en"]
    start = 0
    for part in text.split(separator):
        bare = part.strip(STOPS)
        place = start + part.find(bare)
        if bare:
            yield place, place + len(bare)
        start += len(part) + len(separator)


def _by_character(caption: Caption, tokenizer: Any) -> list[float]:
    """How likely each character of a caption's text was: as much as the least likely of its tokens."""
    likely: list[float] = []
    waiting: list[float] = []
    for count, one in enumerate(caption.likely, 1):
        waiting.append(one)
        so_far = tokenizer.decode(caption.tokens[:count])
        if so_far.endswith("\ufffd"):  # a character of several tokens
            continue
        likely += [min(waiting)] * (len(so_far) - len(likely))
        waiting = []
    start = max(0, tokenizer.decode(caption.tokens).find(caption.text))  # the text is stripped
    return likely[start : start + len(caption.text)]
