"""Looking at pictures: what the models say becomes an observation, which is kept for its person alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_pictures import encoded
from test_tagger import make_tagger
from tiny_models import make_clip

from anime_ai.config import Settings
from anime_ai.errors import VisionError
from anime_ai.files import write_json
from anime_ai.knowledge.vectors import VectorStore
from anime_ai.storage import Database
from anime_ai.vision import models, service
from anime_ai.vision.clip import Caption, Clip
from anime_ai.vision.describing import listed, read
from anime_ai.vision.identity import IDENTITY, Identity
from anime_ai.vision.looking import LABELS_FILE, Lists, merged, opened
from anime_ai.vision.observation import Observation, Tag
from anime_ai.vision.service import Vision
from anime_ai.vision.tags import table, word
from anime_ai.vision.zero_shot import LEAST, ONE, SEVERAL, ZeroShot

ME, OTHER = "me", "somebody else"
LABELS = {
    "people": ["1girl"],
    "hair_colour": ["pink_hair", "blue_hair"],
    "eyes": ["blue_eyes"],
    "expression": ["smile", "closed_eyes"],
    "accessories": ["glasses", "cat_ears"],
}
TAGS = [Tag("1girl", "people"), Tag("pink_hair", "hair_colour"), Tag("closed_eyes", "expression")]
TAGGER = "SmilingWolf/wd-vit-tagger-v3"


@pytest.fixture
def vision(tmp_path: Path, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vision]:
    """A service with two real models: a tiny CoCa in the place of the starter's, and a tiny tagger."""
    starter, tagger = tmp_path / "starter", make_tagger(tmp_path / "tagger")
    make_clip(starter, tiny_tokenizer)
    write_json(starter / LABELS_FILE, LABELS)
    there = {models.STARTER: starter, TAGGER: tagger}
    monkeypatch.setattr(service, "folder_of", lambda model: there.get(model.id))
    settings = Settings(output_dir=tmp_path / "out")
    vectors = VectorStore.of(settings)
    with Database.open(settings) as database:
        yield Vision(settings, database, vectors)
    vectors.close()


def blue(side: int = 40) -> bytes:
    return encoded(Image.new("RGB", (side, side), (0, 0, 255)))


# From what models say


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_list_is_read_back_with_how_sure_it_is(language: str, tiny_tokenizer: Any) -> None:
    text = listed(TAGS, language)
    ids = tiny_tokenizer.encode(text, add_special_tokens=False)
    likely = [0.9] * len(ids)
    for place in range(len(ids)):  # the token that ends the second word's text is the unsure one
        so_far = tiny_tokenizer.decode(ids[: place + 1])
        if word("pink_hair", language) in so_far:
            likely[place] = 0.4
            break
    found = read(Caption(text, tuple(ids), tuple(likely)), tiny_tokenizer, LABELS)
    assert [(tag.name, tag.group) for tag in found] == [(tag.name, tag.group) for tag in TAGS]
    assert found[1].confidence == 0.4
    assert found[2].confidence == 0.9
    assert found[0].confidence == 1.0, "the one tag of its group: how lists begin says nothing about the picture"


def test_words_that_are_no_label_are_left_out(tiny_tokenizer: Any) -> None:
    text = "一个女孩，坦克，粉色头发，粉色头发，"
    ids = tiny_tokenizer.encode(text, add_special_tokens=False)
    found = read(Caption(text, tuple(ids), (0.8,) * len(ids)), tiny_tokenizer, LABELS)
    assert [tag.name for tag in found] == ["1girl", "pink_hair"]
    assert read(Caption("", (), ()), tiny_tokenizer, LABELS) == ()


def test_the_model_that_knows_more_goes_first_group_by_group() -> None:
    one = Observation(tags=(Tag("red_hair", "hair_colour", 0.9),), rating="general", models=("a",))
    two = Observation("一句话", (Tag("pink_hair", "hair_colour"), Tag("smile", "expression")), models=("b",))
    both = merged([one, two])
    assert [tag.name for tag in both.tags] == ["red_hair", "smile"]
    assert (both.caption, both.rating, both.models) == ("一句话", "general", ("a", "b"))


class Pointing:
    """A CLIP whose vectors are known: every word of a tag points its own way, a picture to some of them."""

    id = "pointing"
    sharpness = 100.0

    def __init__(self, shown: Sequence[str]) -> None:
        names = [name for group in (*ONE.values(), *SEVERAL.values()) for name in group]
        self.places = {word(name, "zh"): place for place, name in enumerate(dict.fromkeys(names))}
        self.shown = [self.places[word(name, "zh")] for name in shown]

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        found = np.zeros((len(texts), len(self.places) + 1), np.float32)
        for row, text in enumerate(texts):
            known = [place for said, place in self.places.items() if text.endswith(("，" + said, "：" + said))]
            found[row, known[0] if known else -1] = 1
        return found

    def embed(self, pictures: Sequence[Any]) -> np.ndarray:
        found = np.zeros((len(pictures), len(self.places) + 1), np.float32)
        found[:, self.shown] = 0.4
        found[:, -1] = 0.2
        return found


def test_likeness_to_words_becomes_tags() -> None:
    shown = ["1girl", "pink_hair", "twintails", "red_eyes", "smile", "reading", "classroom", "glasses", "serafuku"]
    (seen,) = ZeroShot(Pointing(shown)).look([None])  # type: ignore[arg-type]
    found = {tag.name: tag.confidence for tag in seen.tags}
    assert set(shown) <= set(found)
    assert all(found[name] > 0.9 for name in shown)
    assert "crown" not in found
    assert min(found.values()) >= LEAST


def test_nobody_has_no_hair() -> None:
    (seen,) = ZeroShot(Pointing(["no_humans", "blue_hair", "glasses", "ocean"])).look([None])  # type: ignore[arg-type]
    assert {tag.group for tag in seen.tags} <= {"people", "scene", "style"}
    assert seen.sentence() == "图里没有人，背景是大海。"


def test_every_label_has_a_word() -> None:
    for names in (*ONE.values(), *SEVERAL.values()):
        assert set(names) <= set(table())


# Which models look


def test_the_starter_looks_until_another_is_chosen(vision: Vision) -> None:
    assert vision.chosen() == [models.STARTER]
    offered = {one.model.id: (one.present, one.chosen) for one in vision.models()}
    assert offered[models.STARTER] == (True, True)
    assert offered[TAGGER] == (True, False)
    assert sum(present for present, _ in offered.values()) == 2
    assert vision.use([models.STARTER, TAGGER]) == [TAGGER, models.STARTER]
    shown = vision.describe(ME, "蓝.png", blue())
    assert [tag.name for tag in shown.seen.tags][:2] == ["blue_hair", "1girl"]
    assert shown.seen.rating == "general"
    assert shown.seen.models == (TAGGER, models.STARTER)
    assert shown.seen.colours[0] == "#0000ff"
    for wrong in ("nobody/nothing", "timm/ViT-B-32-SigLIP2-256"):
        with pytest.raises(VisionError, match=wrong):
            vision.use([wrong])
    assert vision.use([]) == [models.STARTER]


def test_every_model_says_its_licence_and_size() -> None:
    for model in models.KNOWN:
        assert model.licence
        assert model.megabytes > 0
    with pytest.raises(VisionError):
        models.known("x")


# What is kept


def test_a_picture_is_its_persons_alone(vision: Vision) -> None:
    shown = vision.describe(ME, "  我的 图.png", blue())
    assert vision.album.get(ME, shown.id) == shown
    assert shown.name == "我的 图.png"
    assert [one.id for one in vision.album.latest(ME)] == [shown.id]
    assert vision.album.latest(OTHER) == []
    for call in (vision.album.get, vision.album.remove):
        with pytest.raises(VisionError):
            call(OTHER, shown.id)
    with pytest.raises(VisionError):
        vision.album.correct(OTHER, shown.id, Observation())
    mended = vision.album.correct(ME, shown.id, shown.seen.corrected("hair_colour", ["银色头发"]))
    assert mended.corrected
    assert "银色的头发" in vision.album.get(ME, shown.id).seen.sentence()


def test_a_file_goes_with_its_picture(vision: Vision) -> None:
    one, two = vision.describe(ME, "a.png", blue()), vision.describe(OTHER, "a.png", blue())
    vision.album.remove(ME, one.id)
    assert (one.path.exists(), two.path.exists()) == (False, True)


def test_what_could_not_be_written_down_leaves_no_file(vision: Vision, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VisionError):
        vision.album.enrol(ME, "雪见", [Image.new("RGB", (9, 9), (shade, 0, 0)) for shade in range(15)])
    monkeypatch.setattr(vision.album, "_database", None)
    with pytest.raises(AttributeError):
        vision.describe(ME, "a.png", blue())
    assert [path for path in (vision.settings.studio_dir / "pictures").rglob("*") if path.is_file()] == []


def test_characters_are_enrolled_once_by_name(vision: Vision) -> None:
    pictures = [Image.new("RGB", (20, 20), (shade, 0, 0)) for shade in range(0, 250, 25)]
    her = vision.album.enrol(ME, " 雪见 ", pictures[:2])
    assert vision.album.enrol(ME, "雪见", pictures[1:3]) == her
    assert [(one.name, one.pictures) for one in vision.album.characters(ME)] == [("雪见", 4)]
    assert vision.album.characters(OTHER) == []
    assert {character.id for character, _ in vision.album.known_by(ME).values()} == {her}
    assert all(path.is_file() for _, path in vision.album.known_by(ME).values())
    with pytest.raises(VisionError, match="10"):
        vision.album.enrol(ME, "雪见", [Image.new("RGB", (20, 20), (0, shade, 9)) for shade in range(0, 250, 25)])
    for name, given in (("", pictures), ("她", []), ("长" * 301, pictures)):
        with pytest.raises(VisionError):
            vision.album.enrol(ME, name, given)
    with pytest.raises(VisionError):
        vision.album.forget(OTHER, her)
    paths = [path for _, path in vision.album.known_by(ME).values()]
    vision.album.forget(ME, her)
    assert not any(path.exists() for path in paths)


# Characters


def test_who_was_named_is_recognised_and_told(vision: Vision) -> None:
    shown = vision.describe(ME, "a.png", blue())
    assert shown.seen.characters == ()
    named = vision.correct(ME, shown.id, shown.seen.corrected("hair_colour", ["银发"]), " 雪见 ")
    assert [(one.name, one.sure) for one in named.seen.characters] == [("雪见", True)]
    assert "看起来是雪见，银色的头发" in named.seen.sentence()
    assert [(one.name, one.pictures) for one in vision.album.characters(ME)] == [("雪见", 1)]
    vision.correct(ME, shown.id, named.seen, "雪见")
    assert vision.album.characters(ME)[0].pictures == 1, "a name that stood there is learned once"
    other = vision.describe(ME, "b.png", blue(60))
    assert [one.name for one in other.seen.characters] == ["雪见"]
    assert not other.seen.characters[0].sure, "nobody measured this model, and the gallery is small"
    assert "有点像雪见" in other.seen.sentence()
    assert vision.describe(OTHER, "b.png", blue(60)).seen.characters == ()
    nobody = vision.correct(ME, other.id, other.seen.recognised(named.seen.characters[0]), "")
    assert nobody.seen.characters == ()


def test_a_wrong_name_that_is_corrected_is_unlearned(vision: Vision) -> None:
    def known() -> list[tuple[str, int]]:
        return [(one.name, one.pictures) for one in vision.album.characters(ME)]

    vision.enrol(ME, "雪见", [blue(20)])
    shown, other = vision.describe(ME, "a.png", blue()), vision.describe(ME, "b.png", blue(90))
    vision.correct(ME, other.id, other.seen, "雪见")
    wrong = vision.correct(ME, shown.id, shown.seen, "海棠")
    assert known() == [("海棠", 1), ("雪见", 2)]
    right = vision.correct(ME, shown.id, wrong.seen, "雪见")
    assert known() == [("雪见", 3)], "the wrong one was known by this picture alone"
    vision.correct(ME, shown.id, right.seen.recognised(None), "雪见")
    assert known() == [("雪见", 3)], "one picture is learned once"
    vision.correct(OTHER, vision.describe(OTHER, "a.png", blue()).id, shown.seen, "")
    vision.correct(ME, shown.id, right.seen, "")
    assert known() == [("雪见", 2)], "what else she is known by stays"
    vision.enrol(ME, "雪见", [blue(110 + number) for number in range(8)])
    wrong = vision.correct(ME, shown.id, shown.seen, "海棠")
    vision.correct(ME, shown.id, wrong.seen, "雪见")
    assert known() == [("雪见", 10)], "also where she learns no more"
    kept = {path for _, path in vision.album.known_by(ME).values()}
    shown_files = {*vision.album.files_of(ME).values(), *vision.album.files_of(OTHER).values()}
    assert {*(vision.settings.studio_dir / "pictures").rglob("*.webp")} == kept | shown_files


def test_another_look_sees_who_is_known_by_now(vision: Vision) -> None:
    shown = vision.describe(ME, "a.png", blue())
    vision.correct(ME, shown.id, shown.seen.corrected("hair_colour", ["银发"]))
    known = vision.enrol(ME, "雪见", [blue(), blue(50)])
    assert (known.name, known.pictures) == ("雪见", 2)
    again = vision.again(ME, shown.id)
    assert [one.name for one in again.seen.characters] == ["雪见"]
    assert not again.corrected
    assert again.seen.tags == shown.seen.tags
    with pytest.raises(VisionError):
        vision.again(OTHER, shown.id)


def test_a_character_who_is_known_well_enough_learns_no_more(vision: Vision) -> None:
    vision.enrol(ME, "雪见", [blue(20 + number) for number in range(10)])
    shown = vision.describe(ME, "a.png", blue(90))
    assert [one.name for one in vision.correct(ME, shown.id, shown.seen, "雪见").seen.characters] == ["雪见"]
    assert vision.album.characters(ME)[0].pictures == 10
    with pytest.raises(VisionError, match="10"):
        vision.enrol(ME, "别人", [Path("none.png")] * 11)


def test_a_tagger_tells_characters_by_what_lasts(vision: Vision) -> None:
    vision.use([TAGGER])
    looker = vision._looker(TAGGER)
    vectors = looker.identities([Image.new("RGB", (30, 30), (0, 0, 255)), Image.new("RGB", (40, 40), (0, 0, 250))])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert vectors.shape[1] < 10, "tags of hair, eyes and the like alone"
    assert vectors[0] @ vectors[1] > 0.99


def test_a_projection_of_the_folder_tells_who_it_is(vision: Vision) -> None:
    looker = vision._looker(models.STARTER)
    picture = Image.new("RGB", (40, 40), (9, 200, 9))
    assert looker.likeness is None
    whole = looker.identities([picture])
    features = vision_clip(vision).features([picture])
    chance = np.random.default_rng(0)
    mean, projection = chance.normal(size=features.shape[1]), chance.normal(size=(features.shape[1], 5))
    Identity(mean.astype(np.float32), projection.astype(np.float32), (0.5, 0.625)).save(vision_folder(vision))
    fresh = opened(models.known(models.STARTER), vision_folder(vision))
    assert fresh.likeness == (0.5, 0.625)
    assert fresh.identities([picture]).shape == (1, 5)
    assert whole.shape[1] != 5
    (vision_folder(vision) / IDENTITY).write_bytes(b"broken")
    with pytest.raises(VisionError, match="identity"):
        opened(models.known(models.STARTER), vision_folder(vision)).identities([picture])


def test_pictures_are_found_by_the_model_that_likens(vision: Vision) -> None:
    shown = vision.describe(ME, "a.png", blue())
    vision.album.correct(ME, shown.id, shown.seen.corrected("hair_colour", ["银发"]))
    assert [one.shown.id for one in vision.find(ME, "银色头发")] == [shown.id]
    other = vision.describe(ME, "b.png", blue(50))
    assert [one.shown.id for one in vision.like(ME, shown.id)] == [other.id]
    assert vision.like(ME, shown.id)[0].likeness > 0.9
    vision.use([TAGGER])
    assert vision._likens() is None
    assert [one.shown.id for one in vision.find(ME, "银色头发")] == [shown.id]


def test_others_look_while_a_search_fills_its_vectors(vision: Vision, monkeypatch: pytest.MonkeyPatch) -> None:
    vision.describe(ME, "a.png", blue())
    waited: list[bool] = []
    files_of = vision.album.files_of

    def asked(person: str) -> dict[str, Path]:
        waited.append(vision._looking.locked())
        return files_of(person)

    monkeypatch.setattr(vision.album, "files_of", asked)
    vision.find(ME, "银色头发")
    assert waited == [False]


# Many at once


def files(folder: Path, count: int) -> list[tuple[str, Path]]:
    found = []
    for number in range(count):
        path = folder / f"{number}.png"
        path.write_bytes(encoded(Image.new("RGB", (16, 16), (number % 256, 0, 200))))
        found.append((path.name, path))
    return found


def test_what_cannot_be_read_is_said_and_the_others_are_described(vision: Vision, tmp_path: Path) -> None:
    given = files(tmp_path, 19)
    given[3][1].write_bytes(b"no picture")
    given[17][1].unlink()
    found = list(vision.describe_all(ME, given))
    assert [one.name for one in found] == [name for name, _ in given]
    assert [place for place, one in enumerate(found) if one.error] == [3, 17]
    assert len(vision.album.latest(ME)) == 17


def test_many_are_bounded_and_can_be_stopped(vision: Vision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_so_far: list[Path] = []
    reading = service.read_picture
    monkeypatch.setattr(service, "read_picture", lambda path: read_so_far.append(path) or reading(path))
    stop = threading.Event()
    running = vision.describe_all(ME, files(tmp_path, 500), stop)
    for _ in range(service.TOGETHER):
        next(running)
    assert len(read_so_far) <= 2 * service.TOGETHER
    stop.set()
    assert list(running) == []
    assert len(vision.album.latest(ME)) == service.TOGETHER
    assert len(read_so_far) <= 2 * service.TOGETHER


def test_a_clip_of_the_hub_is_loaded_as_it_lies(vision: Vision, tmp_path: Path, tiny_tokenizer: Any) -> None:
    make_clip(tmp_path / "clip", tiny_tokenizer, captions=False)
    looks = opened(models.known("timm/ViT-B-32-SigLIP2-256"), tmp_path / "clip")
    (seen,) = looks.look([Image.new("RGB", (30, 50))])
    assert {tag.group for tag in seen.tags} <= {*ONE, *SEVERAL}
    sentence = opened(models.KNOWN[-1], vision_folder(vision)).look([Image.new("RGB", (30, 50))])
    assert sentence[0].tags == ()


def vision_folder(vision: Vision) -> Path:
    looker = vision._looker(models.STARTER)
    assert isinstance(looker, Lists)
    assert isinstance(looker.clip, Clip)
    return looker.clip.folder


def vision_clip(vision: Vision) -> Clip:
    return Clip(vision_folder(vision), models.STARTER)


def test_a_model_is_here_when_all_of_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = models.known("laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k")
    there: dict[tuple[str, str], Path] = {}
    monkeypatch.setattr(models, "cached", lambda name, file: there.get((name, file)))
    for file in model.needed:
        assert models.folder_of(model) is None
        (tmp_path / file).write_text("{}", encoding="utf-8")
        there[model.id, file] = tmp_path / file
    assert models.folder_of(model) == tmp_path
    # The text tower's configuration lies in a model of its own, which has to be there as well.
    write_json(tmp_path / "open_clip_config.json", {"model_cfg": {"text_cfg": {"hf_model_name": "xlm-roberta-base"}}})
    assert models.folder_of(model) is None
    fetched: list[tuple[str, tuple[str, ...]]] = []

    def fetch(name: str, files: tuple[str, ...], *given: Any) -> Path:
        fetched.append((name, files))
        there[name, files[0]] = tmp_path / files[0]
        return tmp_path

    monkeypatch.setattr(models, "fetch", fetch)
    assert models.get(model, 1.0) == tmp_path
    assert [name for name, _ in fetched] == [model.id, "xlm-roberta-base"]
    there.clear()
    monkeypatch.setattr(models, "fetch", lambda *given: tmp_path)
    with pytest.raises(VisionError, match="open_clip_model"):
        models.get(model, 1.0)


def test_the_command_line_describes_a_picture(
    vision: Vision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from anime_ai import cli

    picture = tmp_path / "蓝.png"
    picture.write_bytes(blue())
    monkeypatch.setattr(service, "get", lambda model, timeout, tell: tmp_path)  # it is here
    cli.image_describe(picture, TAGGER, vision.settings.output_dir, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert [tag["tag"] for tag in told["tags"]] == ["blue_hair", "1girl"]
    assert told["characters"][0]["name"] == "hatsune miku"
    cli.image_describe(picture, TAGGER, vision.settings.output_dir)
    assert capsys.readouterr().out == f"{told['sentence']}\n"
    with pytest.raises(VisionError):
        cli.image_describe(tmp_path / "none.png", None, vision.settings.output_dir)
    cli.image_enroll([picture], "雪见", vision.settings.output_dir, as_json=True)
    assert json.loads(capsys.readouterr().out)["pictures"] == 1
    cli.image_describe(picture, None, vision.settings.output_dir, as_json=True)
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["characters"]] == ["雪见"]
