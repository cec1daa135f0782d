"""Faces: the pictures of a card's feelings in and out, kept and forgotten; what chat and editor show of them."""

from __future__ import annotations

import base64
import io
import re
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from card_makers import charx, encoded, png, text, v3
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient
from ui_fakes import OWNER, VISITOR, FakeChat

from anime_ai.chat.samplings import KNOBS
from anime_ai.chat.turns import How
from anime_ai.errors import PersonaError, VisionError
from anime_ai.models.engine import Sampling
from anime_ai.persona.card import Card, card_of
from anime_ai.persona.faces import FaceBook
from anime_ai.persona.feelings import FEELINGS
from anime_ai.persona.files import read, write
from anime_ai.persona.library import PersonaLibrary
from anime_ai.persona.sprites import faceless, sprites_of, with_sprites, without_sprite
from anime_ai.studio import Studio
from anime_ai.ui.card_routes import cards_of, face_urls
from anime_ai.ui.chat_tab import ChatTab
from anime_ai.ui.persona_tab import PersonaTab
from anime_ai.ui.said import Seen, Voice, line, speaking

PLAIN = [False, *(Sampling().seed if name == "seed" else getattr(Sampling(), name) for name in KNOBS)]


@pytest.fixture
def library(studio: Studio) -> PersonaLibrary:
    return studio.personas


def coloured(colour: str, form: str = "PNG") -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (40, 40), colour).save(made, form)
    return made.getvalue()


def colour_of(content: bytes) -> str:
    """Which of three colours a picture is."""
    with Image.open(io.BytesIO(content)) as picture:
        return "rgb"[max(range(3), key=lambda place: picture.convert("RGB").getpixel((20, 20))[place])]


def emotion(name: str, uri: str, **more: Any) -> dict[str, Any]:
    return {"type": "emotion", "uri": uri, "name": name, "ext": "png", **more}


def with_emotions(pictures: dict[str, bytes]) -> bytes:
    """A CHARX with an asset for each picture."""
    files = {f"assets/emotion/image/{number}.png": content for number, content in enumerate(pictures.values())}
    assets = [emotion(name, f"embeded://{file}") for name, file in zip(pictures, files, strict=True)]
    return charx(v3(assets=[{"type": "icon", "uri": "ccdefault:", "name": "main", "ext": "png"}, *assets]), files)


def told(content: bytes) -> dict[str, str]:
    """The colours of the feelings in a card's file."""
    found = read(content)
    assert found.card is not None
    return {name: colour_of(one) for name, one in sprites_of(found.card, found.picture, found.files).items()}


# Cards.


def test_emotions_are_found_in_every_packing() -> None:
    red, blue = coloured("red"), coloured("blue")
    assert told(with_emotions({"joy": red, "害羞": blue})) == {"happy": "r", "shy": "b"}
    chunk = text("chara-ext-asset_:7", base64.b64encode(red))
    card = v3(assets=[emotion("anger", "__asset:7")])
    assert told(png([text("ccv3", encoded(card)), chunk])) == {"angry": "r"}
    address = "data:image/png;base64," + base64.b64encode(blue).decode()
    assert told(write(card_of(v3(assets=[emotion("sadness", address)]))[0], "json", b"")) == {"sad": "b"}


def test_of_several_names_of_a_feeling_the_plainest_is_shown() -> None:
    given = {"excitement": coloured("red"), "joy": coloured("blue"), "amusement": coloured("lime")}
    assert told(with_emotions(given)) == {"happy": "b"}
    assert told(with_emotions({"joy-2": coloured("red"), "joy": coloured("blue")})) == {"happy": "b"}


@pytest.mark.parametrize(
    "asset",
    [
        *(emotion("joy", "https://x.example/a.png"), emotion("joy", "embeded://../../etc/passwd"), emotion("joy", "")),
        *(
            emotion("joy", "data:image/png;base64,!!"),
            emotion("joy", "data:image/png,abc"),
            emotion("joy", "__asset:99"),
        ),
        *({"type": "emotion"}, {"type": "emotion", "name": None, "uri": None}, {"type": ["emotion"], "name": "joy"}),
        *("joy", None, 7, emotion("no such thing", "embeded://x"), emotion("joy", "data:text/html;base64,PGI+")),
    ],
)
def test_an_asset_that_leads_nowhere_is_no_face(asset: Any, library: PersonaLibrary) -> None:
    found = read(charx(v3(assets=[asset]), {"x": b"no picture"}))
    assert found.card is not None
    assert sprites_of(found.card, found.picture, found.files) == {}
    made = library.add(found)
    assert made.sprites == {}
    assert read(library.export(made.id, "charx")).card is not None


def test_a_card_without_assets_keeps_its_plain_icon_beside_new_faces() -> None:
    card, picture, files = with_sprites(card_of(v3())[0], png(), {}, {"sad": coloured("red", "WEBP")})
    assert [one["type"] for one in card.data["assets"]] == ["icon", "emotion"]
    assert card.data["assets"][1] == emotion("sadness", "embeded://assets/emotion/image/sad.webp", ext="webp")
    again, _, left = without_sprite(card, picture, files, "sad")
    assert left == {}
    assert faceless(again) == faceless(card) == faceless(card_of(v3())[0])


# The library.


def test_faces_come_with_a_card_and_go_out_as_they_came(library: PersonaLibrary) -> None:
    given = with_emotions({"joy": coloured("red"), "anger": b"broken", "mystery": coloured("blue")})
    made = library.add(read(given))
    assert set(made.sprites) == {"happy"}
    again, before = read(library.export(made.id, "charx")), read(given)
    assert again.card is not None
    assert before.card is not None
    kept = {name: content for name, content in again.files.items() if "emotion" in name}
    assert kept == before.files
    of_card = [one for one in again.card.data["assets"] if one["type"] == "emotion"]
    assert of_card == [one for one in before.card.data["assets"] if one["type"] == "emotion"]
    in_png = read(library.export(made.id, "png"))
    assert in_png.card is not None
    assert sprites_of(in_png.card, in_png.picture, {})["happy"] == coloured("red")


@pytest.mark.parametrize("form", ["png", "charx", "json"])
def test_a_face_of_ones_own_travels_with_the_card(library: PersonaLibrary, form: str) -> None:
    made = library.add(read(with_emotions({"joy": coloured("red"), "shy": coloured("lime")})))
    changed = library.set_sprites(made.id, {"happy": coloured("blue", "JPEG"), "sad": coloured("red")})
    assert set(changed.sprites) == {"happy", "shy", "sad"}
    assert changed.version == made.version + 1, "the card's own picture of joy has gone"
    out = library.export(made.id, form)
    assert told(out) == {"happy": "b", "shy": "g", "sad": "r"}
    found = read(out)
    assert found.card is not None
    assert set(library.add(found).sprites) == {"happy", "shy", "sad"}


def test_a_face_that_is_taken_away_is_nowhere_any_more(library: PersonaLibrary, studio: Studio) -> None:
    secret = coloured("red")
    chunks = [text("chara-ext-asset_:0", base64.b64encode(secret)), text("chara-ext-asset_:1", encoded({"x": 1}))]
    other = {"type": "x", "uri": "__asset:1", "name": "y", "ext": "json"}
    card = v3(assets=[emotion("joy", "__asset:0"), other])
    made = library.add(read(png([text("ccv3", encoded(card)), *chunks])))
    assert set(made.sprites) == {"happy"}
    changed = library.remove_sprite(made.id, "happy")
    assert changed.sprites == {}
    for form in ("png", "charx", "json"):
        assert told(library.export(made.id, form)) == {}
    assert any(
        content == b'{"x":1}' or b'"x"' in content for content in read(library.export(made.id, "charx")).files.values()
    )
    packed = base64.b64encode(secret)
    held = [file.read_bytes() for file in (studio.settings.studio_dir / "personas").iterdir()]
    assert not any(secret in one or packed in one for one in held)
    assert library.remove_sprite(made.id, "happy").version == changed.version


def test_a_picture_that_is_none_changes_nothing(library: PersonaLibrary, studio: Studio) -> None:
    made = library.create("小花")
    library.set_sprites(made.id, {"happy": coloured("red")})
    before = sorted(path.name for path in (studio.settings.studio_dir / "personas").iterdir())
    with pytest.raises(VisionError):
        library.set_sprites(made.id, {"happy": coloured("blue"), "sad": b"no picture"})
    with pytest.raises(PersonaError):
        library.set_sprites(made.id, {"../../x": coloured("blue")})
    for id in ("tsundere", "nobody", ""):
        with pytest.raises(PersonaError):
            library.set_sprites(id, {"happy": coloured("blue")})
    assert sorted(path.name for path in (studio.settings.studio_dir / "personas").iterdir()) == before
    assert told(library.export(made.id, "charx")) == {"happy": "r"}


def test_who_ships_is_drawn_and_a_copy_has_her_drawings(library: PersonaLibrary) -> None:
    assert list(told(library.export("kuudere", "charx"))) == list(FEELINGS)
    assert told(library.export("kuudere", "json")) == {}
    out = read(library.export("kuudere", "png"))
    assert out.card is not None
    assert library.same(out.card) == library.get("kuudere"), "her drawings make her no other card"
    copy = library.copy("kuudere")
    assert set(copy.sprites) == set(FEELINGS)
    assert len(set(copy.sprites.values())) == len(FEELINGS)


def test_a_face_is_shown_to_whom_she_may_talk(library: PersonaLibrary, studio: Studio) -> None:
    made = library.set_sprites(library.create("小花").id, {"happy": coloured("red")})
    page = TestClient(Starlette(routes=cards_of(studio)))
    with pytest.raises(PersonaError):
        library.shown_face(made.id, "happy", "v1")
    assert page.get(f"/persona/{made.id}/happy.webp").status_code == 404
    library.publish(made.id, True)
    got = page.get(f"/persona/{made.id}/happy.webp")
    assert (got.status_code, got.headers["content-type"]) == (200, "image/webp")
    assert colour_of(got.content) == "r"
    library.set_picture(made.id, coloured("blue"))
    for stand_in in ("sad", "nonsense", "happy%2f..%2f..%2fx", "%00"):
        assert page.get(f"/persona/{made.id}/{stand_in}.webp").status_code in (200, 404)
    assert colour_of(page.get(f"/persona/{made.id}/sad.webp").content) == "b", "her picture stands in"
    (library.faces.path(made.id, "happy") or Path()).unlink()
    assert colour_of(page.get(f"/persona/{made.id}/happy.webp").content) == "b"


def test_the_switch_holds_for_everybody_and_after_a_restart(library: PersonaLibrary, studio: Studio) -> None:
    assert len(face_urls(library.get("genki"))) == len(FEELINGS)
    library.show_faces("genki", False)
    assert face_urls(library.get("genki")) == {}
    assert len(face_urls(library.get("gentle"))) == len(FEELINGS)
    other = FaceBook(studio.database, studio.settings.studio_dir / "personas")
    assert not other.of("genki").shown
    library.show_faces("genki", True)
    other._looked = (other._looked[0] - 9, *other._looked[1:])
    assert other.of("genki").shown
    assert face_urls(None) == face_urls(library.create("小花")) == {}


# The chat.


def shown_faces(html: str) -> list[str]:
    """The pictures beside her messages."""
    return re.findall(r'<div class="face"[^>]*>(?:<img src="([^"]+)")?', html)


def test_each_answer_keeps_the_face_that_it_was_said_with(studio: Studio) -> None:
    chat, tab = studio.chat, ChatTab(studio)
    assert isinstance(chat, FakeChat)
    chat.answers = ["太好了！我们赢了！", "呜……我的猫不见了，我好难过。"]
    talk = chat.open(VISITOR.id, "活泼")
    for asked in ("赢了", "猫呢"):
        steps = list(tab.talking.send(VISITOR, asked, talk.id, "", *PLAIN, "", "", ""))
    faces = shown_faces(steps[-1][0])
    assert faces[-2:] == ["portraits/genki/laughing.webp", "portraits/genki/sad.webp"]
    while_speaking = {face for step in steps[:-1] for face in shown_faces(str(step[1]))}
    assert while_speaking == {"portraits/genki/laughing.webp"}, "it changes when the answer is whole"
    assert 'class="line fresh"' in steps[-1][0]
    studio.personas.show_faces("genki", False)
    found = studio.conversations.get(VISITOR.id, talk.id)
    assert set(shown_faces(tab.talking.shown(VISITOR, found))) == {"portraits/genki.webp"}
    studio.personas.show_faces("genki", True)
    again = tab.talking.shown(VISITOR, found)
    assert shown_faces(again) == faces
    assert "fresh" not in again.partition(">")[0]


def test_what_she_only_thinks_is_not_on_her_face(studio: Studio) -> None:
    chat = studio.chat
    assert isinstance(chat, FakeChat)
    chat.thinking, chat.answers = "呜呜呜，我好难过，好想哭。", ["太好了！我们赢了！"]
    talk = chat.open("v", "活泼")
    list(chat.reply("v", talk.id, "赢了", How()))
    last = studio.conversations.get("v", talk.id).messages[-1]
    assert last.thinking
    assert last.meta["feeling"] == "happy"


def test_an_answer_that_was_rewritten_has_the_face_of_its_new_words(studio: Studio) -> None:
    chat, branches = studio.chat, studio.conversations.branches
    assert isinstance(chat, FakeChat)
    chat.answers = ["太好了！我们赢了！"]
    talk = chat.open("v", "活泼")
    list(chat.reply("v", talk.id, "赢了", How()))
    asked, said = studio.conversations.get("v", talk.id).messages[-2:]
    assert branches.edit("v", said.id, "呜……我好难过，好想哭。").meta["feeling"] == "sad"
    assert "feeling" not in branches.edit("v", asked.id, "输了").meta
    assert branches.message("v", said.id).meta["feeling"] == "happy"


def test_a_feeling_from_elsewhere_is_no_markup_and_no_address() -> None:
    from anime_ai.chat.tree import Message

    voice = Voice("她", "portraits/a.webp", faces={"happy": "persona/x/happy.webp?v=1"})
    for bad in ("<img src=x onerror=alert(1)>", "../../x", "javascript:alert(1)", ["happy"], None, 7):
        said = line([Message("1", "assistant", "好", meta={"feeling": bad})], voice, Seen("zh"))
        assert shown_faces(said) == ["portraits/a.webp"]
        assert "onerror" not in said
    assert shown_faces(speaking(Voice("她"), "zh", "", "好")) == [""]


# The editor.


@pytest.fixture
def tab(studio: Studio) -> PersonaTab:
    return PersonaTab(studio)


def state(persona: Any) -> dict[str, Any]:
    return {"id": persona.id, "version": persona.version}


def put(folder: Path, name: str, content: bytes) -> str:
    path = folder / name
    path.write_bytes(content)
    return str(path)


def zipped(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def test_one_picture_is_for_the_feeling_that_is_chosen(tab: PersonaTab, tmp_path: Path) -> None:
    made = tab.library.create("小花")
    for name, feeling in (("IMG_1.png", "sad"), ("joy.png", "shy")):
        shown = tab.faces.upload_faces(OWNER, state(made), feeling, [put(tmp_path, name, coloured("red"))])
        assert len(shown) == 1 + len(tab.faces.shown(made, "zh"))
        assert f"persona/{made.id}/{feeling}.webp?v=" in shown[1]
    assert set(tab.library.get(made.id).sprites) == {"sad", "shy"}
    shown = tab.faces.remove_face(OWNER, state(made), "sad")
    assert "sad.webp" not in shown[1]
    assert set(tab.library.get(made.id).sprites) == {"shy"}


def test_several_pictures_and_packs_are_told_by_their_names(
    tab: PersonaTab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tab.library.create("小花")
    sent = tmp_path / "sent"
    sent.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(sent))
    files = [put(sent, "joy.png", coloured("red")), put(sent, "IMG_2.png", coloured("red"))]
    pack = zipped({"小花/anger.png": coloured("blue"), "小花/害羞.png": coloured("lime"), "小花/read me.txt": b"x"})
    tab.faces.upload_faces(OWNER, state(made), "calm", files)
    tab.faces.upload_faces(OWNER, state(made), "calm", [put(sent, "pack.zip", pack)])
    with pytest.raises(PersonaError):
        tab.faces.upload_faces(OWNER, {"id": "genki"}, "sad", [put(sent, "a.png", coloured("red"))])
    assert list(sent.iterdir()) == [], "what was sent is gone"
    assert set(tab.library.get(made.id).sprites) == {"happy", "angry", "shy"}


@pytest.mark.parametrize(
    ("files", "key"),
    [
        ({}, "persona.no_pictures"),
        ({"a.zip": zipped({"x.txt": b"x"})}, "persona.no_pictures"),
        ({"1.png": coloured("red"), "2.png": coloured("red")}, "persona.unnamed_pictures"),
        ({"joy.png": b"no picture"}, "vision.not_a_picture"),
        ({"a.zip": zipped({"../joy.png": coloured("red")})}, "persona.leads_out"),
        ({"a.zip": zipped({f"{one}.png": b"" for one in range(300)})}, "persona.too_many"),
        ({"a.zip": b"PK\x03\x04 broken"}, "persona.broken_file"),
    ],
)
def test_what_cannot_be_taken_is_said(tab: PersonaTab, tmp_path: Path, files: dict[str, bytes], key: str) -> None:
    made = tab.library.create("小花")
    paths = [put(tmp_path, name, content) for name, content in files.items()]
    with pytest.raises((PersonaError, VisionError)) as caught:
        tab.faces.upload_faces(OWNER, state(made), "calm", paths)
    assert caught.value.key == key
    assert tab.library.get(made.id).sprites == {}


def test_who_ships_is_not_changed_but_can_be_stilled(tab: PersonaTab, tmp_path: Path) -> None:
    shipped = {"id": "genki", "version": 0}
    for refused in (
        lambda: tab.faces.upload_faces(OWNER, shipped, "sad", [put(tmp_path, "a.png", coloured("red"))]),
        lambda: tab.faces.remove_face(OWNER, shipped, "sad"),
    ):
        with pytest.raises(PersonaError) as caught:
            refused()
        assert caught.value.key == "persona.shipped"
    tab.faces.show_faces(OWNER, shipped, False)
    assert not tab.library.get("genki").expressive
    assert tab.faces.choose_feeling(OWNER, SimpleNamespace(_data={"feeling": "sad"})) == "sad"
    for bad in ("<b>", "", None):
        assert tab.faces.choose_feeling(OWNER, SimpleNamespace(_data={"feeling": bad})) != bad
    with pytest.raises(PersonaError):
        tab.faces.remove_face(OWNER, state(tab.library.create("小花")), "<b>")


def test_an_import_says_how_many_faces_came(tab: PersonaTab, tmp_path: Path) -> None:
    given = with_emotions({"joy": coloured("red"), "anger": b"broken"})
    _, said, *_ = tab.import_files(OWNER, [put(tmp_path, "小花.charx", given)], {})
    assert said.count('class="good"') == 1
    assert said.count('class="bad"') == 1
    assert "1" in said


def test_random_assets_never_break_a_card() -> None:
    import random

    from card_makers import random_value

    for seed in range(300):
        chance = random.Random(seed)
        assets = [{"type": "emotion", "name": random_value(chance), "uri": random_value(chance)} for _ in range(4)]
        card: Card = card_of(v3(assets=assets))[0]
        files = {"x": b"1"}
        assert sprites_of(card, b"", files) == {}
        changed, _, left = with_sprites(card, png(), files, {"calm": coloured("red", "WEBP")})
        assert sprites_of(changed, b"", left).keys() == {"calm"}
        again, _, left = without_sprite(changed, b"", left, "calm")
        assert sprites_of(again, b"", left) == {}
        assert left == files
