"""What is worn on the head, at the ears and around the neck. In the face's coordinates. Knows a Look and its hair's
style, where bows and ties sit; knows nothing of the fringe."""

from __future__ import annotations

import random

import skia

from anime_ai.starter.portraits.canvas import (
    WHITE,
    Brush,
    Colour,
    Point,
    box,
    ellipse,
    joined,
    mirrored,
    mix,
    ribbon,
    smooth,
    star,
)
from anime_ai.starter.portraits.clothes import CREAM, GOLD
from anime_ai.starter.portraits.hair import hair_tones
from anime_ai.starter.portraits.looks import Look
from anime_ai.starter.portraits.ornaments import bow
from anime_ai.starter.portraits.palette import CLOTH, TRIMS, apart, shine, tones

FRAMES: tuple[Colour, ...] = ((46, 40, 56), (176, 40, 56), (50, 76, 150), (120, 74, 40))
DARK: Colour = (40, 36, 50)


def keepsake(look: Look, salt: int) -> Colour:
    """A colour that goes with the person, and shows on her hair; `salt` tells ribbon from clip from frame."""
    return apart(hair_tones(look).base, TRIMS, random.Random(look.person.seed + salt))


def draw_under_hair(brush: Brush, look: Look) -> None:
    """What the cap of hair covers in part."""
    if "cat_ears" in look.accessories:
        _cat_ears(brush, look)


def draw_round_neck(brush: Brush, look: Look) -> None:
    """Choker and scarf, on the body and below the chin."""
    if "choker" in look.accessories:
        _choker(brush, look)
    if "scarf" in look.accessories:
        _scarf(brush, look)


def draw_on_face(brush: Brush, look: Look) -> None:
    """Glasses, over the eyes and under the fringe."""
    if "glasses" in look.accessories:
        _glasses(brush, look)


def draw_on_hair(brush: Brush, look: Look) -> None:
    """Everything on top, in the order in which it covers."""
    if look.clothes == "maid" and not look.accessories & {"beret", "headphones", "cat_ears"}:
        _headdress(brush)
    _ties(brush, look)
    worn = look.accessories
    for name, paint in (
        ("beret", _beret),
        ("headphones", _headphones),
        ("hairclip", _hairclip),
        ("hair_flower", _hair_flower),
        ("earrings", _earrings),
    ):
        if name in worn:
            paint(brush, look)


def _cat_ears(brush: Brush, look: Look) -> None:
    hue = hair_tones(look)
    for side in (-1, 1):
        with brush.moved(flip=side < 0):
            ear = joined(
                [(30, -166), (52, -202), (92, -232)], [(92, -232), (112, -190), (112, -104)], [(112, -104), (30, -166)]
            )
            brush.grade(ear, [hue.base, hue.base, hue.shade], (60, -230), (90, -120))
            brush.edge(ear, hue.base, 1.1)
            inner = joined(
                [(52, -166), (66, -192), (88, -214)], [(88, -214), (100, -182), (102, -124)], [(102, -124), (52, -166)]
            )
            brush.grade(inner, [(255, 196, 200), (244, 150, 166)], (86, -214), (80, -130))
            tuft: list[list[Point]] = [[(56, -150), (64, -172), (76, -184)], [(74, -140), (80, -166), (88, -182)]]
            brush.strokes(tuft, mix(hue.base, WHITE, 0.5), 11)


def _choker(brush: Brush, look: Look) -> None:
    colour = (DARK, DARK, (150, 30, 50))[look.scene.trim % 3]
    band = joined(
        [(-28, 107), (0, 117), (28, 107)],
        [(28, 107), (30, 120)],
        [(30, 120), (0, 131), (-30, 120)],
        [(-30, 120), (-28, 107)],
    )
    brush.fill(band, colour)
    brush.edge(band, colour)
    brush.stroke([(-24, 112), (-12, 117), (0, 119)], shine(colour), 3, alpha=0.6)
    charm = ellipse(0, 133, 7, 8)
    brush.fill(charm, GOLD)
    brush.edge(charm, GOLD, 0.8)
    brush.fill(ellipse(-2, 130, 2.2, 2.6), WHITE)


def _scarf(brush: Brush, look: Look) -> None:
    colour = CLOTH[look.scene.trim % len(CLOTH)]
    hue = tones(colour)
    end = joined(
        [(30, 156), (70, 160), (82, 250), (80, 330)], [(80, 330), (24, 330)], [(24, 330), (26, 240), (30, 156)]
    )
    brush.grade(end, [hue.shade, hue.base], (0, 160), (0, 210))
    brush.edge(end, colour, 1.1)
    stripe = mix(colour, CREAM, 0.75) if sum(colour) < 600 else (206, 70, 84)
    with brush.within(end):
        for y in (214, 230):
            brush.trace(joined([(10, y), (100, y - 4)], closed=False), stripe, 7)
    wrap = smooth(
        [(-78, 84), (-40, 96), (0, 100), (40, 96), (78, 84), (100, 108), (98, 146), (56, 171), (0, 179), (-56, 171),
         (-98, 146), (-100, 108)]
    )  # fmt: skip
    brush.grade(wrap, [mix(hue.base, hue.light, 0.3), hue.base, hue.shade], (-80, 100), (80, 170))
    with brush.within(wrap):
        fold = joined(
            [(-100, 118), (-40, 150), (30, 150), (100, 112)],
            [(100, 112), (100, 132), (30, 162), (-40, 160), (-100, 118)],
        )
        brush.fill(fold, hue.shade)
        for x in (-62, -46, 52, 68):
            brush.trace(joined([(x * 1.1, 90), (x * 1.05, 130), (x * 0.8, 180)], closed=False), stripe, 6)
        # The chin's shadow.
        brush.fill(ellipse(4, 96, 54, 30), hue.deep, 0.55)
    brush.edge(wrap, colour, 1.1)
    lines: list[list[Point]] = [
        [(-94, 124), (-40, 152), (20, 154)],
        [(92, 118), (50, 146), (10, 152)],
        [(-60, 100), (-30, 118), (0, 124)],
    ]
    brush.strokes(lines, hue.deep, 3.4)


def _glasses(brush: Brush, look: Look) -> None:
    colour = FRAMES[look.person.seed % len(FRAMES)]
    round_ones = look.person.seed // 7 % 2 == 0
    wide = look.person.wide
    for side in (-1, 1):
        with brush.moved(side * 49 * wide, 8):
            rim = ellipse(0, 0, 42, 38) if round_ones else box(-43, -30, 43, 32, 16)
            brush.fill(rim, (224, 240, 255), 0.16)
            brush.trace(rim, colour, 5.2)
            brush.stroke([(-26, 16), (-14, -4), (-4, -22)], WHITE, 6, alpha=0.5)
            brush.stroke([(-14, 20), (-4, 2), (2, -10)], WHITE, 3.4, alpha=0.5)
            brush.stroke([(side * 42, -8), (side * 54, -11)], colour, 5.4, (1, 0.7))
    brush.stroke([(-8, 4), (0, -1), (8, 4)], colour, 5.4, (1, 1, 1))


def _headdress(brush: Brush) -> None:
    """The frilled band of a maid; part of those clothes."""
    half: list[Point] = [(0, -164), (46, -154), (84, -122), (104, -80)]
    arc = [*mirrored(half)][::-1] + half[1:]
    frill = skia.Path()
    for i in range(11):
        t = -1 + i / 5
        x = 108 * t * (1 - 0.06 * abs(t))
        frill.addCircle(x, -186 + 84 * t * t, 15)
    brush.edge(frill, CREAM, 1.8)
    brush.fill(frill, CREAM)
    band = ribbon(arc, (12, 15, 16, 17, 16, 15, 12))
    brush.fill(band, CREAM)
    brush.edge(band, CREAM, 0.9)
    brush.strokes(
        [
            [(x, -168 + 0.0065 * x * x), (x * 1.06, -184 + 0.0068 * x * x)]
            for x in (-84, -62, -40, -20, 0, 20, 40, 62, 84)
        ],
        (176, 180, 206),
        3,
    )


def _ties(brush: Brush, look: Look) -> None:
    """What holds tails, and bows on top. Braids hold by themselves."""
    style, ribbons = look.hair_style, "hair_ribbon" in look.accessories
    colour, side = keepsake(look, 3), look.person.part
    if style == "twintails":
        for one in (-1, 1):
            _tie(brush, (one * 111, -123), colour, ribbons, one * -28)
    elif style == "ponytail":
        _tie(brush, (side * 60, -177), colour, ribbons, side * -32, big=1.25)
    elif ribbons and style == "double_bun":
        for one in (-1, 1):
            bow(brush, (one * 68, -126), 32, colour, turn=one * 24)
    elif ribbons:
        bow(brush, (side * 70, -144), 48, colour, turn=side * 28)


def _tie(brush: Brush, at: Point, colour: Colour, ribbons: bool, turn: float, big: float = 1.0) -> None:
    if ribbons:
        bow(brush, at, 44 * big, colour, turn=turn * -0.6)
        return
    with brush.moved(*at, turn=turn, size=big):
        band = smooth([(-9, -20), (2, -23), (10, -15), (11, 0), (10, 15), (2, 23), (-9, 20), (-6, 0)])
        brush.grade(band, [tones(colour).light, colour, tones(colour).shade], (0, -22), (0, 22))
        brush.edge(band, colour)
        brush.strokes([[(-7, -10), (8, -8)], [(-7, 9), (9, 8)]], tones(colour).deep, 3)


def _beret(brush: Brush, look: Look) -> None:
    colour = apart(hair_tones(look).base, CLOTH, random.Random(look.scene.trim))
    hue = tones(colour)
    with brush.moved(turn=look.person.part * 7):
        dome = smooth(
            [
                (-104, -118),
                (-128, -146),
                (-108, -190),
                (-40, -216),
                (40, -218),
                (116, -194),
                (140, -152),
                (108, -116),
                (50, -128),
                (0, -132),
                (-50, -128),
            ]
        )
        brush.grade(dome, [hue.light, hue.base, hue.shade], (-90, -210), (90, -120))
        with brush.within(dome):
            brush.fill(
                joined([(-130, -130), (-40, -150), (60, -150), (150, -180)], [(150, -180), (150, -100), (-130, -100)]),
                hue.shade,
                0.8,
            )
        brush.edge(dome, colour, 1.1)
        band = ribbon([(-104, -116), (-50, -134), (0, -139), (50, -134), (106, -114)], (12, 15, 16, 15, 12))
        brush.fill(band, hue.deep)
        brush.edge(band, colour)
        stem = ribbon([(2, -216), (6, -232), (14, -236)], (9, 8, 6))
        brush.fill(stem, hue.base)
        brush.edge(stem, colour)


def _headphones(brush: Brush, look: Look) -> None:
    accent = keepsake(look, 11)
    body = (236, 236, 242) if sum(hair_tones(look).base) < 420 else (58, 56, 70)
    half: list[Point] = [(0, -194), (64, -180), (110, -132), (124, -60), (122, -10)]
    arc = [*mirrored(half)][::-1] + half[1:]
    band = ribbon(arc, (13, 15, 17, 19, 20, 19, 17, 15, 13))
    brush.fill(band, body)
    brush.edge(band, body, 1.1)
    brush.stroke(arc[2:7], accent, 5, (0.4, 1, 1, 1, 0.4))
    for side in (-1, 1):
        with brush.moved(side * 119, 8, flip=side < 0):
            pad = box(-19, -36, 4, 38, 11)
            brush.fill(pad, DARK)
            brush.edge(pad, DARK)
            cup = box(-8, -41, 23, 43, 15)
            brush.grade(cup, [shine(body), body, tones(body).shade], (0, -40), (6, 42))
            brush.edge(cup, body, 1.1)
            brush.trace(ellipse(8, 1, 9, 17), accent, 5)


def _hairclip(brush: Brush, look: Look) -> None:
    colour = keepsake(look, 5)
    side = -look.person.part
    kind = look.person.seed // 11 % 3
    with brush.moved(side * 70, -68, turn=side * 58, size=1.15):
        if kind == 0:
            for turn in (-34, 34):
                with brush.moved(turn=turn):
                    bar = box(-25, -5.5, 25, 5.5, 5)
                    brush.edge(bar, colour, 2)
                    brush.fill(bar, colour)
        elif kind == 1:
            for y in (-10, 8):
                bar = box(-25, y - 6, 25, y + 6, 6)
                brush.fill(bar, colour)
                brush.edge(bar, colour)
                brush.stroke([(-18, y - 2), (0, y - 3), (12, y - 2)], WHITE, 3, alpha=0.8)
        else:
            shape = star(5, 24, 11)
            brush.edge(shape, colour, 2)
            brush.fill(shape, colour)
            brush.fill(ellipse(-3, -4, 5, 5), shine(colour))


def _hair_flower(brush: Brush, look: Look) -> None:
    colour = apart(
        hair_tones(look).base,
        ((255, 250, 246), (250, 120, 150), (252, 206, 92), (150, 120, 226), (226, 60, 76)),
        random.Random(look.person.seed + 7),
    )
    side = -look.person.part
    hue = tones(colour)
    with brush.moved(side * 88, -92, turn=side * 20):
        for turn in (35, 150):
            with brush.moved(turn=turn):
                leaf = joined([(14, 0), (32, -12), (52, 0)], [(52, 0), (32, 12), (14, 0)])
                brush.fill(leaf, (90, 160, 96))
                brush.edge(leaf, (90, 160, 96))
        for i in range(5):
            with brush.moved(turn=i * 72):
                petal = joined(
                    [(0, -4), (-17, -18), (-13, -37), (-2, -36)],
                    [(-2, -36), (0, -33), (3, -37)],
                    [(3, -37), (14, -37), (17, -18), (0, -4)],
                )
                brush.grade(petal, [mix(hue.base, hue.deep, 0.35), hue.base, hue.light], (0, -2), (0, -36))
                brush.edge(petal, colour)
        heart = ellipse(0, 0, 9, 9)
        brush.fill(heart, GOLD)
        brush.edge(heart, GOLD, 0.8)


def _earrings(brush: Brush, look: Look) -> None:
    gem = apart(
        hair_tones(look).base,
        ((230, 50, 80), (70, 120, 240), (60, 200, 150), GOLD),
        random.Random(look.person.seed + 13),
    )
    for side in (-1, 1):
        with brush.moved(side * 112, 36, size=1.25):
            if look.person.seed // 5 % 2:
                brush.trace(ellipse(0, 16, 12, 15), brush.ink(GOLD), 7.6)
                brush.trace(ellipse(0, 16, 12, 15), GOLD, 5)
            else:
                brush.trace(joined([(0, -4), (0, 12)], closed=False), GOLD, 3.4)
                drop = joined([(0, 8), (12, 26), (0, 42)], [(0, 42), (-12, 26), (0, 8)])
                brush.edge(drop, gem, 1.6)
                brush.grade(drop, [shine(gem), gem, tones(gem).shade], (-8, 12), (8, 40))
            brush.fill(ellipse(0, -4, 5.5, 5.5), GOLD)
