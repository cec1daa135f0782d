"""What a portrait shows, in words that picture boards use, and the small things that words leave open.

Knows the vocabularies and which of them go together. Knows nothing of drawing: `portrait.draw` does that.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

HAIR_COLOURS = (
    "black_hair", "brown_hair", "blonde_hair", "grey_hair", "red_hair", "orange_hair", "pink_hair", "purple_hair",
    "blue_hair", "aqua_hair", "green_hair",
)  # fmt: skip
HAIR_STYLES = (
    "long_hair", "short_hair", "twintails", "ponytail", "bob_cut", "twin_braids", "single_braid", "double_bun",
    "wavy_hair", "hime_cut",
)  # fmt: skip
EYE_COLOURS = (
    "brown_eyes", "blue_eyes", "red_eyes", "green_eyes", "purple_eyes", "yellow_eyes", "pink_eyes", "aqua_eyes",
)  # fmt: skip
EXPRESSIONS = (
    "smile", "laughing", "expressionless", "angry", "sad", "crying", "surprised", "embarrassed", "closed_eyes",
    "one_eye_closed", "smug", "sleepy",
)  # fmt: skip
CLOTHES = (
    "serafuku", "blazer", "kimono", "hoodie", "maid", "shirt", "t-shirt", "sweater", "dress", "jacket",
)  # fmt: skip
ACCESSORIES = (
    "glasses", "hair_ribbon", "hairclip", "cat_ears", "headphones", "beret", "hair_flower", "choker", "scarf",
    "earrings",
)  # fmt: skip
BACKGROUNDS = (
    "simple_background", "gradient_background", "sky", "night_sky", "cherry_blossoms", "classroom", "library", "sea",
    "sunset", "flower_field",
)  # fmt: skip
STYLES = ("thin_lines", "bold_lines", "no_lines", "pastel", "sketch")

EYES_SHUT = frozenset({"laughing", "closed_eyes"})
"""Expressions that show no iris, so that the colour of the eyes is not claimed."""
EARS_SHOW = frozenset({"twintails", "ponytail", "single_braid", "twin_braids", "double_bun", "short_hair"})
SIGNATURE = frozenset({"glasses", "hair_ribbon", "hairclip", "cat_ears", "hair_flower"})
"""Accessories by which a character is known: they stay when everything around her changes."""
TOGETHER_NEVER = tuple(
    frozenset(pair)
    for pair in (
        ("cat_ears", "beret"),
        ("cat_ears", "headphones"),
        ("headphones", "beret"),
        ("headphones", "earrings"),
        ("hairclip", "hair_flower"),
        ("hair_flower", "beret"),
        ("hair_ribbon", "beret"),
        ("hair_ribbon", "headphones"),
        ("choker", "scarf"),
    )
)
WORN_NEVER = {
    "choker": frozenset({"sweater"}),
    "scarf": frozenset({"hoodie", "kimono"}),
}
"""Clothes that hide an accessory or are hidden by it."""
HOW_MANY = (0, 0, 1, 1, 1, 1, 2, 2, 3)
SEEDS = 2**31


@dataclass(frozen=True)
class Person:
    """What about a person no word tells. `bangs` 0-5; `part` -1 or 1: the side of clips and partings."""

    skin: int
    bangs: int
    part: int
    wide: float
    eye_size: float
    eye_slant: float
    hair_shade: int
    hair_long: float
    ahoge: bool
    bright: int
    seed: int


@dataclass(frozen=True)
class Scene:
    """What about one picture of her no word tells. `tilt` in degrees, `dx`, `dy` in 512ths of the picture; `wind` and
    `turn` are -1 to the left, 1 to the right."""

    tilt: float
    turn: float
    dx: float
    dy: float
    size: float
    cloth: int
    trim: int
    variant: int
    wind: float
    seed: int


@dataclass(frozen=True)
class Look:
    """One portrait. `seed` fixes the person beyond her words, `scene_seed` the picture beyond its words."""

    hair_colour: str
    hair_style: str
    eye_colour: str
    expression: str
    clothes: str
    accessories: frozenset[str]
    background: str
    style: str
    seed: int
    scene_seed: int = 0

    def __post_init__(self) -> None:
        """Refuses words outside the vocabularies and accessories that do not go together."""
        for name, words in VOCABULARIES.items():
            if getattr(self, name) not in words:
                raise ValueError(f"{name}: {getattr(self, name)}")
        wrong = self.accessories - set(ACCESSORIES)
        if wrong or not compatible(self.accessories, self.hair_style, self.clothes):
            raise ValueError(f"accessories: {', '.join(sorted(self.accessories))}")

    def tags(self) -> tuple[str, ...]:
        """What can be seen, in danbooru's words; the colour of closed eyes cannot."""
        eyes = () if self.expression in EYES_SHUT else (self.eye_colour,)
        worn = tuple(sorted(self.accessories))
        first = (self.hair_colour, self.hair_style, *eyes, self.expression)
        return (*first, self.clothes, *worn, self.background, self.style)

    @cached_property
    def person(self) -> Person:
        """The small things that stay from picture to picture of one character."""
        chance = random.Random(self.seed)
        return Person(
            skin=chance.choice((0, 0, 0, 1, 1, 1, 2, 3)),
            bangs=chance.randrange(6),
            part=chance.choice((-1, 1)),
            wide=chance.uniform(0.97, 1.03),
            eye_size=chance.uniform(0.96, 1.08),
            eye_slant=chance.uniform(-5, 6),
            hair_shade=chance.randrange(3),
            hair_long=chance.uniform(0.85, 1.12),
            ahoge=chance.random() < 0.35,
            bright=chance.randrange(SEEDS),
            seed=self.seed,
        )

    @cached_property
    def scene(self) -> Scene:
        """The small things that change from picture to picture."""
        chance = random.Random(self.scene_seed * 7919 + 17)
        return Scene(
            tilt=chance.uniform(-8, 8),
            turn=chance.uniform(-1, 1),
            dx=chance.uniform(-14, 14),
            dy=chance.uniform(-8, 10),
            size=chance.uniform(0.93, 1.07),
            cloth=chance.randrange(SEEDS),
            trim=chance.randrange(SEEDS),
            variant=chance.randrange(SEEDS),
            wind=chance.uniform(-1, 1),
            seed=self.scene_seed,
        )


VOCABULARIES: dict[str, tuple[str, ...]] = {
    "hair_colour": HAIR_COLOURS,
    "hair_style": HAIR_STYLES,
    "eye_colour": EYE_COLOURS,
    "expression": EXPRESSIONS,
    "clothes": CLOTHES,
    "background": BACKGROUNDS,
    "style": STYLES,
}


def compatible(accessories: Iterable[str], hair_style: str, clothes: str) -> bool:
    """Whether all of them can be worn at once, and each be seen."""
    worn = frozenset(accessories)
    if len(worn) > 3 or any(pair <= worn for pair in TOGETHER_NEVER):
        return False
    if "earrings" in worn and hair_style not in EARS_SHOW:
        return False
    if hair_style == "double_bun" and worn & {"beret", "cat_ears", "headphones"}:
        return False
    return not any(clothes in WORN_NEVER.get(one, ()) for one in worn)


def draw_look(chance: random.Random) -> Look:
    """Any look: every word of a vocabulary is as likely as the next."""
    words = {name: chance.choice(choices) for name, choices in VOCABULARIES.items()}
    worn = _worn(chance, words["hair_style"], words["clothes"], frozenset(), chance.choice(HOW_MANY))
    return Look(**words, accessories=worn, seed=chance.randrange(SEEDS), scene_seed=chance.randrange(SEEDS))


def vary(look: Look, chance: random.Random) -> Look:
    """The same character in another picture: other expression, clothes and place; what she is known by stays."""
    clothes = chance.choice(CLOTHES)
    kept = look.accessories & SIGNATURE
    count = len(kept) + chance.choice((0, 0, 1))
    return replace(
        look,
        expression=chance.choice(EXPRESSIONS),
        clothes=clothes,
        background=chance.choice(BACKGROUNDS),
        accessories=_worn(chance, look.hair_style, clothes, kept, count, frozenset(ACCESSORIES) - SIGNATURE),
        scene_seed=chance.randrange(SEEDS),
    )


def _worn(
    chance: random.Random,
    hair_style: str,
    clothes: str,
    worn: frozenset[str],
    count: int,
    choices: frozenset[str] = frozenset(ACCESSORIES),
) -> frozenset[str]:
    """`worn` and more of the choices, up to `count`, as far as they go together."""
    for one in chance.sample(sorted(choices), len(choices)):
        if len(worn) < count and compatible(worn | {one}, hair_style, clothes):
            worn |= {one}
    return worn
