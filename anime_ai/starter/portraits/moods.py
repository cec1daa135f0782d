"""What each expression does to eyes, brows, mouth and cheeks. Knows no drawing: `eyes` and `face` read it."""

from __future__ import annotations

from dataclasses import dataclass

OPEN, HAPPY, GENTLE = "open", "happy", "gentle"
"""Lids: open, shut in an arch that laughs, shut in an arch that rests."""


@dataclass(frozen=True)
class Mood:
    """`lids`: of the left and the right eye as the picture shows them. `open`: 1 is wide awake. `slant`: how far the
    inner end of the upper lid sinks (anger) or rises (grief). `lower`: how far the lower lid rises. `gaze`: where the
    iris goes. `brow_in`, `brow_out`: how far the ends of the brows rise; `arch`: how far their middle does; `cocked`:
    how far the one beside the parting rises more. `wet`: 1 for eyes that swim, 2 for tears that run. `blush`: 0 to 1;
    `marks`: small signs beside the face."""

    mouth: str
    lids: tuple[str, str] = (OPEN, OPEN)
    open: float = 1.0
    slant: float = 0.0
    lower: float = 0.0
    iris: float = 1.0
    gaze: tuple[float, float] = (0.0, 0.0)
    brow_in: float = 0.0
    brow_out: float = 0.0
    arch: float = 8.0
    cocked: float = 0.0
    wet: int = 0
    blush: float = 0.35
    marks: tuple[str, ...] = ()


MOODS: dict[str, Mood] = {
    "smile": Mood("smile", lower=2.0, brow_in=6, brow_out=0, blush=0.5),
    "laughing": Mood("laugh", (HAPPY, HAPPY), brow_in=9, brow_out=7, blush=0.75),
    "expressionless": Mood("flat", open=0.64, gaze=(0, 1.5), slant=0.0, brow_in=-1, brow_out=-1, arch=3, blush=0.0),
    "angry": Mood(
        "snarl", open=0.88, slant=13.0, iris=0.9, brow_in=-19, brow_out=10, arch=4, blush=0.3, marks=("vein",)
    ),
    "sad": Mood("frown", open=0.8, slant=-9.0, gaze=(0, 4), brow_in=13, brow_out=-9, wet=1, blush=0.15),
    "crying": Mood("wail", open=0.84, slant=-8.0, lower=3.0, brow_in=15, brow_out=-7, wet=2, blush=0.8),
    "surprised": Mood("oval", open=1.2, iris=0.74, brow_in=15, brow_out=13, blush=0.15, marks=("start",)),
    "embarrassed": Mood(
        "wavy", open=0.94, slant=-4.0, gaze=(5, 3), brow_in=11, brow_out=-4, blush=1.0, marks=("sweat",)
    ),
    "closed_eyes": Mood("gentle", (GENTLE, GENTLE), brow_in=4, brow_out=0, blush=0.55),
    "one_eye_closed": Mood("grin", (OPEN, HAPPY), lower=1.0, brow_in=4, brow_out=5, blush=0.55, marks=("spark",)),
    "smug": Mood("smirk", open=0.42, slant=1.0, lower=6.0, gaze=(3, 3), brow_in=-8, brow_out=7, cocked=9, blush=0.4),
    "sleepy": Mood(
        "yawn",
        open=0.16,
        slant=-2.0,
        lower=2.0,
        gaze=(0, 9),
        brow_in=7,
        brow_out=-4,
        arch=10,
        wet=1,
        blush=0.3,
        marks=("doze",),
    ),
}
