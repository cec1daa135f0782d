"""The portraits: every word changes the picture where it should, and nothing is claimed that cannot be seen."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("skia", exc_type=ImportError)

from anime_ai.starter.portraits import Look, draw, draw_look, looks, photographed, vary
from anime_ai.starter.portraits.palette import HAIR

SIZE = 128
PLAIN = Look(
    "brown_hair", "ponytail", "blue_eyes", "smile", "t-shirt", frozenset(), "simple_background", "thin_lines", 6, 4
)
HEAD, EYES, MOUTH, BODY, CORNERS = (
    (20, 10, 108, 92),
    (34, 54, 94, 80),
    (46, 78, 82, 96),
    (24, 98, 104, 128),
    (0, 0, 24, 24),
)
WHOLE = (0, 0, SIZE, SIZE)
REGIONS = {
    "hair_colour": HEAD,
    "hair_style": WHOLE,
    "eye_colour": EYES,
    "expression": (34, 44, 94, 96),
    "clothes": BODY,
    "background": CORNERS,
    "style": WHOLE,
}
FACE = {"expression", "eye_colour"}


def pixels(look: Look, region: tuple[int, int, int, int] = WHOLE) -> np.ndarray:
    return np.asarray(draw(look, SIZE).crop(region)).astype(int)


def changed(one: Look, other: Look, region: tuple[int, int, int, int] = WHOLE) -> int:
    """How many pixels of the region differ so that a person sees it."""
    return int((np.abs(pixels(one, region) - pixels(other, region)).max(axis=2) > 24).sum())


def test_same_look_gives_same_bytes() -> None:
    look = draw_look(random.Random(3))
    assert draw(look, SIZE).tobytes() == draw(replace(look), SIZE).tobytes()
    assert draw(look, 96).size == (96, 96)
    assert draw(look).mode == "RGB"


@pytest.mark.parametrize("name", list(looks.VOCABULARIES))
def test_every_word_shows_where_it_should(name: str) -> None:
    shown = [replace(PLAIN, **{name: word}) for word in looks.VOCABULARIES[name]]
    least = 20 if name in FACE else 40
    for i, one in enumerate(shown):
        for other in shown[i + 1 :]:
            assert changed(one, other, REGIONS[name]) >= least, (one, other)


@pytest.mark.parametrize("name", ["expression", "eye_colour", "background"])
def test_words_leave_the_rest_alone(name: str) -> None:
    one, other = (replace(PLAIN, **{name: looks.VOCABULARIES[name][i]}) for i in (0, 2))
    if name == "background":
        assert changed(one, other, (56, 100, 76, 110)) == 0
    else:
        assert changed(one, other, CORNERS) == 0
        assert changed(one, other, BODY) == 0


@pytest.mark.parametrize("one", looks.ACCESSORIES)
@pytest.mark.parametrize("hair_colour", ["black_hair", "blonde_hair", "pink_hair"])
def test_every_accessory_shows(one: str, hair_colour: str) -> None:
    bare = replace(PLAIN, hair_colour=hair_colour)
    assert changed(bare, replace(bare, accessories=frozenset({one}))) >= 40


def test_hair_has_the_colour_it_is_called() -> None:
    """The median of the fringe and the crown is nearest to one of the colours of its own word."""
    chance = random.Random(8)
    for word in looks.HAIR_COLOURS:
        for _ in range(6):
            seeds = {"seed": chance.randrange(9999), "scene_seed": chance.randrange(9999)}
            look = replace(PLAIN, hair_colour=word, **seeds)
            median = np.median(pixels(look, (44, 20, 84, 54)).reshape(-1, 3), axis=0)
            near = min(HAIR, key=lambda name: min(np.abs(median - colour).sum() for colour in HAIR[name]))
            assert near == word, (look, median)


def test_tags_tell_what_is_seen() -> None:
    chance = random.Random(5)
    for _ in range(300):
        look = draw_look(chance)
        tags = look.tags()
        assert len(tags) == len(set(tags))
        assert {look.hair_colour, look.hair_style, look.expression, look.clothes, look.background} <= set(tags)
        assert (look.eye_colour in tags) == (look.expression not in looks.EYES_SHUT)
        assert look.accessories <= set(tags)


def test_eyes_that_are_shut_hide_their_colour() -> None:
    for expression in looks.EYES_SHUT:
        one = replace(PLAIN, expression=expression)
        assert changed(one, replace(one, eye_colour="red_eyes")) == 0


def test_accessories_go_together() -> None:
    chance = random.Random(6)
    seen: set[str] = set()
    for _ in range(600):
        worn = draw_look(chance).accessories
        assert len(worn) <= 3
        assert not {"cat_ears", "beret"} <= worn
        seen |= worn
    assert seen == set(looks.ACCESSORIES)
    with pytest.raises(ValueError, match="accessories"):
        replace(PLAIN, accessories=frozenset({"cat_ears", "headphones"}))
    with pytest.raises(ValueError, match="hair_colour"):
        replace(PLAIN, hair_colour="plaid_hair")


def test_a_character_stays_herself() -> None:
    chance = random.Random(7)
    for _ in range(100):
        look = draw_look(chance)
        other = vary(look, chance)
        for name in ("hair_colour", "hair_style", "eye_colour", "style", "seed", "person"):
            assert getattr(other, name) == getattr(look, name)
        assert other.accessories & looks.SIGNATURE == look.accessories & looks.SIGNATURE
    assert len({vary(look, chance).expression for _ in range(60)}) > 6


def test_photographs_keep_size_and_most_of_the_picture() -> None:
    chance = random.Random(9)
    for i in range(40):
        picture = draw(draw_look(chance), SIZE)
        taken = photographed(picture, random.Random(i))
        assert (taken.size, taken.mode) == (picture.size, "RGB")
        assert taken.tobytes() == photographed(picture, random.Random(i)).tobytes()
        before, after = (np.asarray(p.resize((1, 1), Image.Resampling.BOX)).astype(int) for p in (picture, taken))
        assert np.abs(before - after).max() < 60
