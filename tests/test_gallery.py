"""Who is in a picture: the line between somebody known and a stranger, and what is kept and forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anime_ai.config import Settings
from anime_ai.knowledge.vectors import VectorStore
from anime_ai.storage import Database
from anime_ai.vision.album import Album
from anime_ai.vision.clip import Vectors
from anime_ai.vision.gallery import ENOUGH, FALSE, Gallery, calibrated

MEASURED = (0.5, 0.6)


def people(count: int, pictures: int, seed: int, noise: float = 0.5, base: float = 0.6) -> tuple[Vectors, list[str]]:
    """Vectors of people, all of whom are somewhat alike, as drawings of girls are."""
    chance = np.random.default_rng(seed)
    common = chance.normal(size=64)
    rows = []
    for _ in range(count):
        her = common * base + chance.normal(size=64)
        rows += [her + noise * chance.normal(size=64) for _ in range(pictures)]
    vectors = np.array(rows, np.float32)
    owners = [str(place // pictures) for place in range(count * pictures)]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), owners


@pytest.mark.parametrize(("count", "pictures"), [(10, 1), (10, 3), (20, 1), (30, 3)])
def test_a_stranger_is_seldom_surely_somebody(count: int, pictures: int) -> None:
    taken, right = [], []
    for seed in range(40):
        # Known ones and strangers out of one crowd; of each known one a picture is left over.
        vectors, owners = people(2 * count, pictures + 1, seed)
        mine = [place for place, owner in enumerate(owners) if int(owner) < count]
        enrolled = [place for place in mine if place % (pictures + 1)]
        line = calibrated(vectors[enrolled], [owners[place] for place in enrolled], MEASURED)
        likest = (vectors @ vectors[enrolled].T).max(axis=1)
        taken += [likest[place] >= line.surely for place in range(len(mine), len(owners))]
        right += [likest[place] >= line.surely for place in mine if place % (pictures + 1) == 0]
    assert np.mean(taken) <= 2 * FALSE
    assert np.mean(right) > 0.8


def test_a_gallery_that_is_too_small_goes_by_what_was_measured() -> None:
    vectors, owners = people(ENOUGH - 1, 1, 0)
    line = calibrated(vectors, owners, MEASURED)
    assert (line.perhaps, line.surely) == MEASURED
    vectors, owners = people(1, ENOUGH, 0)
    assert calibrated(vectors, owners, MEASURED).surely == MEASURED[1]
    assert calibrated(vectors, owners, None).surely > 1, "nobody is surely somebody by a model that nobody measured"


def test_a_picture_under_two_names_does_not_move_the_line() -> None:
    vectors, owners = people(10, 2, 3)
    line = calibrated(vectors[1:], owners[1:], MEASURED)
    twice = calibrated(np.concatenate([vectors, vectors[:1]]), [*owners, owners[-1]], MEASURED)
    assert (twice.perhaps, twice.surely) == pytest.approx((line.perhaps, line.surely), abs=1e-6)


def test_a_model_that_nobody_measured_goes_by_the_gallery() -> None:
    vectors, owners = people(10, 3, 1)
    line = calibrated(vectors, owners, None)
    assert 0 < line.perhaps <= line.surely < 1


class Colours:
    """Who is in a picture, by its mean colour."""

    id = "colours"
    likeness = (0.9, 0.99)

    def __init__(self) -> None:
        self.asked = 0

    def identities(self, pictures: Sequence[Image.Image]) -> Vectors:
        self.asked += len(pictures)
        return np.stack([self.of(picture) for picture in pictures])

    @staticmethod
    def of(picture: Image.Image) -> Vectors:
        mean = np.asarray(picture.convert("RGB"), np.float32).mean(axis=(0, 1)) + 1
        return np.asarray(mean / np.linalg.norm(mean), np.float32)


@pytest.fixture
def album(tmp_path: Path) -> Iterator[Album]:
    with Database.open(Settings(output_dir=tmp_path)) as database:
        yield Album(database, tmp_path / "pictures")


def plain(*colour: int) -> Image.Image:
    return Image.new("RGB", (24, 24), colour)


def test_the_enrolled_are_recognised_and_the_forgotten_are_not(album: Album, tmp_path: Path) -> None:
    vectors, looker = VectorStore(tmp_path / "vectors"), Colours()
    gallery = Gallery(album, vectors)
    asked = [plain(250, 10, 10), plain(10, 10, 250), plain(120, 120, 120)]
    assert gallery.recognise("me", asked, looker) == [[], [], []]
    assert looker.asked == 0
    red = album.enrol("me", "红", [plain(255, 0, 0), plain(240, 20, 0)])
    blue = album.enrol("me", "蓝", [plain(0, 0, 255)])
    first, second, third = gallery.recognise("me", asked, looker)
    assert [(one.id, one.name, one.sure) for one in first] == [(red, "红", True)]
    assert [one.id for one in second] == [blue]
    assert third == []
    assert gallery.recognise("somebody else", asked, looker) == [[], [], []]
    assert looker.asked == 6
    gallery.recognise("me", asked, looker)
    assert looker.asked == 9, "the characters' vectors are kept"
    album.forget("me", red)
    assert [[one.name for one in found] for found in gallery.recognise("me", asked, looker)] == [[], ["蓝"], []]
    album.forget("me", blue)
    assert gallery.recognise("me", asked, looker) == [[], [], []]
    vectors.close()
    assert not list((tmp_path / "pictures").iterdir())


def test_a_picture_whose_file_is_gone_matters_to_nobody(album: Album, tmp_path: Path) -> None:
    vectors = VectorStore(tmp_path / "vectors")
    album.enrol("me", "红", [plain(255, 0, 0)])
    for _, path in album.known_by("me").values():
        path.unlink()
    looker = Colours()
    assert Gallery(album, vectors).recognise("me", [plain(255, 0, 0)], looker) == [[]]
    vectors.close()
