"""Pictures found again by words and by likeness, and handed on as a caption dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from anime_ai.config import Settings
from anime_ai.knowledge.vectors import VectorStore
from anime_ai.storage import Database
from anime_ai.vision import export
from anime_ai.vision.album import Album
from anime_ai.vision.clip import Vectors
from anime_ai.vision.looking import Likens
from anime_ai.vision.observation import Known, Observation, Tag
from anime_ai.vision.search import Search
from anime_ai.vision.tags import spotted

ME = "me"


def seen(*names: str, **told: object) -> Observation:
    groups = {"hair": "hair_colour", "eyes": "eyes", "ears": "body"}
    tags = tuple(Tag(name, groups.get(name.rsplit("_", 1)[-1], "expression")) for name in names)
    return Observation(tags=tags, **told)  # type: ignore[arg-type]


class Likeness:
    """Likens by mean colour: every word means red."""

    id = "red"
    likeness = None
    embedded = 0

    def embed(self, pictures: Sequence[Image.Image]) -> Vectors:
        self.embedded += len(pictures)
        means = np.stack([np.asarray(one, np.float32).mean(axis=(0, 1)) + 1 for one in pictures])
        return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)

    def embed_words(self, said: str, names: Sequence[str]) -> Vectors:
        return np.array([1, 0, 0], np.float32)

    look = identities = embed  # type: ignore[assignment]


@pytest.fixture
def album(tmp_path: Path) -> Iterator[Album]:
    with Database.open(Settings(output_dir=tmp_path)) as database:
        yield Album(database, tmp_path / "pictures")


@pytest.fixture
def search(album: Album, tmp_path: Path) -> Iterator[Search]:
    vectors = VectorStore(tmp_path / "vectors")
    yield Search(album, vectors)
    vectors.close()


@pytest.fixture
def likens() -> Likens:
    return Likeness()  # type: ignore[return-value]


def add(album: Album, name: str, observed: Observation, colour: tuple[int, int, int] = (90, 90, 90)) -> str:
    return album.add(ME, name, Image.new("RGB", (20, 20), colour), observed).id


@pytest.mark.parametrize(
    ("said", "wanted", "rest"),
    [
        ("银发红瞳", [{"grey_hair", "white_hair"}, {"red_eyes"}], []),
        ("黑长直", [{"black_hair"}, {"long_hair"}], []),
        ("戴眼镜的蓝色头发女孩，在教室里微笑", [{"glasses"}, {"blue_hair"}, {"classroom"}, {"smile"}], ["女孩，在"]),
        ("Cat Ears, red eyes", [{"cat_ears"}, {"red_eyes"}], []),
        ("ツインテール 青い目", [{"twintails"}, {"blue_eyes"}], []),
        ("雪见", [], ["雪见"]),
        ("hatsune", [], ["hatsune"]),
        ("", [], []),
    ],
)
def test_what_is_searched_for_is_spotted(said: str, wanted: list[set[str]], rest: list[str]) -> None:
    names, left = spotted(said)
    assert names == wanted
    assert [word for word in left if len(word) > 1] == rest


def test_pictures_that_show_more_of_it_come_first(album: Album, search: Search, likens: Likens) -> None:
    one = add(album, "1", seen("grey_hair", "blue_eyes"), (250, 0, 0))
    both = add(album, "2", seen("grey_hair", "red_eyes"))
    add(album, "3", seen("pink_hair", "blue_eyes"), (250, 0, 0))
    redder = add(album, "4", seen("white_hair", "green_eyes"), (140, 90, 90))
    for given in (likens, None):
        found = search.by_words(ME, "银发红瞳", given)
        assert [entry.shown.id for entry in found][0] == both
        assert {entry.shown.id for entry in found} == {one, both, redder}
    found = search.by_words(ME, "银发红瞳", likens)
    assert [entry.shown.id for entry in found] == [both, one, redder], "of equal ones the likest first"
    assert search.by_words("somebody else", "银发红瞳", likens) == []


def test_what_was_corrected_is_what_is_found(album: Album, search: Search) -> None:
    picture = add(album, "1", seen("blue_hair"))
    assert search.by_words(ME, "银发", None) == []
    album.correct(ME, picture, album.get(ME, picture).seen.corrected("hair_colour", ["银发"]))
    assert [one.shown.id for one in search.by_words(ME, "银色头发", None)] == [picture]


def test_names_are_found(album: Album, search: Search) -> None:
    add(album, "别的.png", seen("smile"))
    hers = add(album, "a.png", seen("smile", characters=(Known("1", "雪见", 0.9, True),)))
    named = add(album, "雪见在海边.png", seen("smile"))
    assert {one.shown.id for one in search.by_words(ME, "雪见", None)} == {hers, named}
    assert search.by_words(ME, "雪见 微笑", None)[0].coverage == 1.0


def test_words_that_nothing_shows_are_likened(album: Album, search: Search, likens: Likens) -> None:
    add(album, "grey", seen("smile"))
    red = add(album, "red", seen("smile"), (250, 0, 0))
    found = search.by_words(ME, "夕阳一样的颜色", likens)
    assert found[0].shown.id == red
    assert found[0].likeness > found[1].likeness
    assert search.by_words(ME, "夕阳一样的颜色", None) == []


def test_likest_first_and_never_itself(album: Album, search: Search, likens: Likens) -> None:
    first = add(album, "1", seen("grey_hair", "red_eyes"), (250, 0, 0))
    second = add(album, "2", seen("pink_hair"), (240, 10, 10))
    third = add(album, "3", seen("grey_hair", "red_eyes"), (0, 0, 250))
    shown = album.get(ME, first)
    assert [one.shown.id for one in search.like(ME, shown, likens)] == [second, third]
    assert [one.shown.id for one in search.like(ME, shown, None)] == [third, second], "by what they share"


def test_vectors_are_kept_and_go_with_their_picture(album: Album, search: Search) -> None:
    likeness = Likeness()
    pictures = [add(album, str(number), seen("smile"), (250, number, 0)) for number in range(5)]
    search.by_words(ME, "什么都行", likeness)  # type: ignore[arg-type]
    assert likeness.embedded == 5
    album.remove(ME, pictures[0])
    found = search.by_words(ME, "什么都行", likeness)  # type: ignore[arg-type]
    assert likeness.embedded == 5
    assert {one.shown.id for one in found} == set(pictures[1:])


def test_without_the_index_what_was_seen_is_found(album: Album, search: Search, likens: Likens, tmp_path: Path) -> None:
    """The app beside this process holds the vectors."""
    picture = add(album, "1", seen("grey_hair"))
    search.by_words(ME, "银发", likens)
    second = Search(album, VectorStore(tmp_path / "vectors"))
    assert [one.shown.id for one in second.by_words(ME, "银发", likens)] == [picture]


# Handed on


def test_a_caption_stands_beside_every_picture(album: Album, tmp_path: Path) -> None:
    add(album, "猫/娘?.png", seen("grey_hair", "red_eyes", "cat_ears"))
    add(album, "猫_娘_.jpg", seen("smile"))
    gone = add(album, "gone.png", seen("smile"))
    album.get(ME, gone).path.unlink()
    place = tmp_path / "out.zip"
    assert export.write(album.latest(ME, None), place, "tags", " xuejian ") == 2
    with ZipFile(place) as archive:
        names = set(archive.namelist())
        lines = [json.loads(line) for line in archive.read(export.METADATA).decode().splitlines()]
        texts = {name: archive.read(name).decode() for name in names if name.endswith(".txt")}
        assert archive.read(lines[0]["file_name"])[:4] == b"RIFF"
    assert sorted(name for name in names if name.endswith(".webp")) == sorted(line["file_name"] for line in lines)
    assert {name.removesuffix(".txt") for name in texts} == {line["file_name"].removesuffix(".webp") for line in lines}
    assert "xuejian, grey hair, red eyes, cat ears\n" in texts.values()
    assert len(texts) == 2


def test_a_caption_may_be_a_sentence() -> None:
    observed = seen("grey_hair", "smile")
    assert export.caption(observed, "zh", "雪见") == f"雪见，{observed.sentence('zh')}"
    assert export.caption(observed, "en") == observed.sentence("en")
    assert export.caption(Observation(), "tags", "") == ""
    told = seen("grey_hair", caption="a girl by the sea")
    assert export.caption(told, "en", "xuejian") == "xuejian, a girl by the sea someone, grey hair."
    assert export.caption(told, "zh") == "图里有一个人物，银色的头发。"
