"""What is written under the project's drawings: a look as an observation, and texts about it. Knows no pixels.

What the small model learns to write is the list of a look's tags in words, in the order of telling; `read` in
`anime_ai.vision.describing` reads it back.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from anime_ai.starter.portraits.looks import (
    ACCESSORIES,
    BACKGROUNDS,
    CLOTHES,
    EXPRESSIONS,
    EYE_COLOURS,
    EYES_SHUT,
    HAIR_COLOURS,
    HAIR_STYLES,
    STYLES,
    Look,
)
from anime_ai.vision.describing import listed
from anime_ai.vision.observation import Observation, Tag
from anime_ai.vision.tags import word

NAMES: Mapping[str, str] = {"maid": "maid_dress", "sea": "ocean", "no_lines": "no_lineart", "pastel": "pastel_colors"}
"""Words of the drawings for which the table of tags has another one."""
LABELS: Mapping[str, tuple[str, ...]] = {
    group: tuple(NAMES.get(name, name) for name in names)
    for group, names in (
        ("people", ("1girl",)),
        ("hair_colour", HAIR_COLOURS),
        ("hair_style", HAIR_STYLES),
        ("eyes", EYE_COLOURS),
        ("expression", EXPRESSIONS),
        ("clothes", CLOTHES),
        ("accessories", ACCESSORIES),
        ("scene", BACKGROUNDS),
        ("style", STYLES),
    )
}
"""What the drawings show, by the groups of an observation: all that the small model can name."""
WHOLE, ENGLISH = 0.7, 0.15
"""Shares of the whole list in Chinese and in English among the texts; the rest is a few words, as people search."""


def seen(look: Look) -> Observation:
    """A look as somebody would see it who makes no mistake; the colour of closed eyes cannot be seen."""
    shown = {
        "hair_colour": (look.hair_colour,),
        "hair_style": (look.hair_style,),
        "eyes": () if look.expression in EYES_SHUT else (look.eye_colour,),
        "expression": (look.expression,),
        "clothes": (look.clothes,),
        "accessories": tuple(sorted(look.accessories)),
        "scene": (look.background,),
        "style": (look.style,),
    }
    tags = [Tag("1girl", "people")]
    tags += [Tag(NAMES.get(name, name), group) for group, names in shown.items() for name in names]
    return Observation(tags=tuple(tags))


def written(look: Look, chance: random.Random) -> str:
    """A text about a look: all of its tags in one of two languages, or some of its words."""
    way = chance.random()
    if way < WHOLE + ENGLISH:
        return listed(seen(look).tags, "zh" if way < WHOLE else "en")
    language = chance.choice(("zh", "zh", "en"))
    words = [word(tag.name, language) for tag in seen(look).tags[1:]]
    chosen = chance.sample(words, chance.randint(1, 4))
    return chance.choice(("，", "、", " ") if language == "zh" else (", ", " ")).join(chosen)


def corpus(count: int, seed: int) -> Iterator[str]:
    """Texts to make a tokenizer of."""
    from anime_ai.starter.portraits.looks import draw_look

    chance = random.Random(seed)
    for _ in range(count):
        yield written(draw_look(chance), chance)
