"""Card files: every packing in, strict ones out, what is unknown kept, what is broken mended or said."""

from __future__ import annotations

import base64
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from card_makers import (
    charx,
    encoded,
    international,
    packed_text,
    png,
    random_book,
    random_card,
    text,
    v1,
    v2,
    v3,
)

from anime_ai.errors import PersonaError
from anime_ai.persona import charx as charx_files
from anime_ai.persona import png as png_files
from anime_ai.persona.card import TEXTS, Card, card_of, dump_json
from anime_ai.persona.files import FORMS, Found, as_png, plain_picture, read, write
from anime_ai.persona.lorebook import BUDGET, book_from


def found(content: bytes) -> Card:
    card = read(content).card
    assert card is not None
    return card


def refused(content: bytes) -> str:
    with pytest.raises(PersonaError) as caught:
        read(content)
    assert all(caught.value.say(language).strip() for language in ("zh", "en", "ja"))
    return caught.value.key


@pytest.mark.parametrize("make", [v1, v2, v3])
@pytest.mark.parametrize("pack", [text, packed_text, international])
@pytest.mark.parametrize("place", ["before", "behind"])
def test_a_card_is_found_in_any_text_chunk_before_and_behind_the_picture(make: Any, pack: Any, place: str) -> None:
    content = png(**{place: [pack("chara", encoded(make()))]})
    card = found(content)
    assert (card.name, card.data["personality"], card.greetings[0]) == ("小花", "爱睡觉", "喵？")
    assert card.value["spec"] == "chara_card_v3"


def test_packed_international_text_is_read() -> None:
    assert found(png([international("ccv3", encoded(v3()), pack=True)])).data["nickname"] == "花花"


def test_of_several_chunks_the_newer_form_goes_first_and_then_the_first() -> None:
    old, older = encoded(v2(name="旧")), encoded(v1(name="更旧"))
    new, other = encoded(v3(name="新")), encoded(v3(name="另一个"))
    assert found(png([text("chara", old)], [text("ccv3", new), text("ccv3", other)])).name == "新"
    assert found(png([text("chara", old), text("chara", older)])).name == "旧"
    got = read(png([text("ccv3", b"!!!"), text("ccv3", new), text("chara", old)]))
    assert got.card is not None
    assert got.card.name == "新"
    assert [mend.how for mend in got.mends] == ["other_chunk"]


def test_an_animated_png_keeps_moving() -> None:
    import io

    from PIL import Image

    made = io.BytesIO()
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue")]
    frames[0].save(made, "PNG", save_all=True, append_images=frames[1:], duration=50)
    written = write(Card(card_of(v3())[0].value), "png", png_files.bare(made.getvalue()))
    got = read(written)
    assert got.card is not None
    with Image.open(io.BytesIO(got.picture)) as shown:
        assert (shown.n_frames, shown.size) == (3, (16, 16))
    assert as_png(got.picture) == got.picture


def test_a_picture_is_kept_to_the_byte_and_nothing_of_its_metadata() -> None:
    plain = png()
    noisy = png([text("parameters", b"secret prompt"), (b"eXIf", b"MM\0*place")], [text("chara", encoded(v1()))])
    assert read(noisy).picture == plain
    asset = text("chara-ext-asset_:1", base64.b64encode(b"a file of the card"))
    assert b"chara-ext-asset_:1" in read(png([asset, text("chara", encoded(v1()))])).picture


@pytest.mark.parametrize("front", [b"", b"\xff\xd8\xff\xe0 a picture \xff\xd9"])
def test_a_charx_also_behind_a_jpeg(front: bytes) -> None:
    icon = {"type": "icon", "uri": "embeded://assets/icon/image/1.png", "name": "main", "ext": "png"}
    files = {"assets/icon/image/1.png": png(), "assets/other/x.bin": b"\0\1"}
    got = read(charx(v3(assets=[icon]), files, front))
    assert got.card is not None
    assert (got.card.name, got.picture, dict(got.files)) == ("小花", png(), files)
    assert read(charx(v3(), {}, front)).picture == front


def test_the_files_of_a_card_move_between_charx_and_png() -> None:
    assets = [
        {"type": "icon", "uri": "embeded://assets/icon/image/1.png", "name": "main", "ext": "png"},
        {"type": "emotion", "uri": "embeded://assets/emotion/image/笑.webp", "name": "smile", "ext": "webp"},
        {"type": "background", "uri": "https://example.org/x.png", "name": "x", "ext": "png"},
    ]
    files = {"assets/icon/image/1.png": png(), "assets/emotion/image/笑.webp": b"a smile"}
    first = read(charx(v3(assets=assets), files))
    assert first.card is not None
    as_picture = read(write(first.card, "png", first.picture, first.files))
    assert as_picture.card is not None
    assert [one["uri"].partition(":")[0] for one in as_picture.card.data["assets"]] == ["__asset", "__asset", "https"]
    again = read(write(as_picture.card, "charx", as_picture.picture, as_picture.files))
    assert again.card is not None
    named = {one["name"]: again.files.get(one["uri"].removeprefix("embeded://")) for one in again.card.data["assets"]}
    assert (named["main"], named["smile"]) == (png(), b"a smile")
    assert again.card.changed(assets=None).value == first.card.changed(assets=None).value
    assert read(write(as_picture.card, "png", as_picture.picture)).card == as_picture.card


def test_pygmalion_and_gradio_cards() -> None:
    pygmalion = {"char_name": "小花", "char_persona": "一只猫。", "world_scenario": "窗台", "char_greeting": "喵？"}
    card = found(json.dumps({**pygmalion, "example_dialogue": "You: 早\n小花: 喵。", "extra": 1}).encode())
    assert (card.name, card.data["description"], card.data["scenario"]) == ("小花", "一只猫。", "窗台")
    assert (card.greetings, card.value["extra"]) == (("喵？",), 1)
    gradio = {"name": "小花", "context": "一只猫。", "greeting": "喵？", "example_dialogue": ""}
    card = found(json.dumps(gradio).encode())
    assert (card.name, card.data["description"], card.greetings) == ("小花", "一只猫。", ("喵？",))


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("form", FORMS)
def test_what_no_specification_knows_survives_every_round_trip(seed: int, form: str) -> None:
    card, mends = card_of(random_card(seed))
    assert mends == ()
    again = found(write(card, form, png()))
    if form == "charx":  # the picture came to the card's files
        again = again.changed(assets=card.data.get("assets"))
    assert again.value == card.value


@pytest.mark.parametrize("seed", range(60))
def test_a_card_keeps_every_value_that_it_had(seed: int) -> None:
    given = random_card(seed)
    card, _ = card_of(given)
    if "data" in given:
        assert {name: card.data[name] for name in given["data"]} == given["data"]
        rest = {name: value for name, value in given.items() if name not in ("data", "spec", "spec_version")}
        assert {name: card.value[name] for name in rest} == rest
    else:
        assert {**card.value, **card.data}.items() >= given.items()


@pytest.mark.parametrize("seed", range(30))
def test_what_is_written_is_strict(seed: int) -> None:
    card, _ = card_of(random_card(seed))
    written = png_files.texts(write(card, "png", png()))
    values = {one.keyword: json.loads(base64.b64decode(one.content)) for one in written}
    assert {name: (value["spec"], value["spec_version"]) for name, value in values.items()} == {
        "chara": ("chara_card_v2", "2.0"),
        "ccv3": ("chara_card_v3", "3.0"),
    }
    for value in values.values():
        data = value["data"]
        assert all(isinstance(data[name], str) for name in TEXTS)
        assert all(isinstance(one, str) for name in ("tags", "alternate_greetings") for one in data[name])
        assert isinstance(data["extensions"], dict)
        for entry in (data.get("character_book") or {"entries": []})["entries"]:
            assert isinstance(entry["keys"], list)
            assert isinstance(entry["insertion_order"], int)
            assert isinstance(entry["enabled"], bool)


def test_fields_of_a_wrong_type_are_mended_and_told() -> None:
    entry = {"keys": "猫, 喵", "content": 5, "insertion_order": "10", "enabled": "true", "extensions": None}
    book = {"entries": {"0": entry, "1": 7}, "scan_depth": "4", "token_budget": "many"}
    card, mends = card_of(v2(name=7, tags="猫,狗", alternate_greetings="早", extensions=[], character_book=book))
    assert (card.name, card.data["tags"], card.data["alternate_greetings"]) == ("7", ["猫", "狗"], ["早"])
    assert card.data["extensions"] == {}
    assert card.book is not None
    assert (card.book["scan_depth"], "token_budget" in card.book) == (4, False)
    (mended,) = card.book["entries"]
    assert (mended["keys"], mended["content"], mended["insertion_order"]) == (["猫", "喵"], "5", 10)
    assert (mended["enabled"], mended["extensions"]) == (True, {})
    told = {mend.field: mend.how for mend in mends}
    assert told["name"] == "text"
    assert told["character_book.scan_depth"] == "number"
    assert told["character_book.token_budget"] == "dropped"
    assert told["character_book.entries[0].insertion_order"] == "number"
    assert told["character_book.entries[0].enabled"] == "switch"
    for mend in mends:
        assert all(mend.field in mend.say(language) for language in ("zh", "en", "ja"))


def test_base64_that_is_none() -> None:
    bare = read(png([text("chara", json.dumps(v1()).encode())]))
    assert bare.card is not None
    assert [mend.how for mend in bare.mends] == ["not_base64"]
    whole = encoded(v1())
    lines = b"\n".join(whole[at : at + 60] for at in range(0, len(whole), 60)).rstrip(b"=")
    assert found(png([text("chara", lines)])).name == "小花"
    assert refused(png([text("chara", b"%%% not base64 %%%")])) == "persona.base64"
    assert refused(png([text("chara", base64.b64encode(b"{ broken"))])) == "persona.not_json"


def test_files_without_a_card_are_refused_in_one_line() -> None:
    assert refused(png()) == "persona.no_data"
    assert refused(b"\xff\xd8\xff\xe0 a picture \xff\xd9") == "persona.no_data"
    assert refused(b"") == "persona.not_json"
    assert refused(b"[1, 2") == "persona.not_json"
    assert refused(b'[{"input": "a", "output": "b"}]') == "persona.no_data"
    assert refused(b'{"data": {"name": "x"}}') == "persona.empty_card"
    assert refused(charx(v3())[:-30]) in ("persona.broken_file", "persona.no_data", "persona.not_json")
    assert refused(b"PK\x03\x04 nothing") == "persona.broken_file"


def test_too_much_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(png([text("chara", b"A" * (10 * 2**20))])) == "persona.chunk"
    bomb = b"zTXt", b"chara\0\0" + zlib.compress(b"A" * (40 * 2**20), 9)
    assert refused(png([bomb])) == "persona.chunk"
    zeros = b"\0" * (64 * 2**20)
    assert refused(charx(v3(), {"assets/zero.bin": zeros})) == "persona.unpacks"
    monkeypatch.setattr(charx_files, "MOST_FILES", 3)
    assert refused(charx(v3(), {f"assets/{one}": b"x" for one in range(4)})) == "persona.too_many"
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    assert refused(json.dumps(v2(extensions={"x": deep})).encode()) == "persona.too_deep"
    assert refused(b'{"entries": {"0": {"x": ' + b"[" * 700 + b"]" * 700 + b"}}}") == "persona.too_deep"
    assert refused(b'{"data":' + b"[" * 200_000) == "persona.not_json"
    book = {"entries": [{"keys": []}] * 5_001}
    assert refused(json.dumps(v2(character_book=book)).encode()) == "persona.too_many"


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b", "..\\..\\x", "C:/x"])
def test_names_that_lead_out_of_a_charx_are_refused(name: str) -> None:
    assert refused(charx(v3(), {name: b"x"})) == "persona.leads_out"


def test_a_link_in_a_charx_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "link.charx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("card.json", json.dumps(v3()))
        link = zipfile.ZipInfo("assets/link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert refused(path.read_bytes()) == "persona.leads_out"


def test_a_file_that_ends_in_the_middle_gives_what_was_whole() -> None:
    content = png([text("chara", encoded(v1()))])
    assert found(content[:-20]).name == "小花"
    assert refused(content[:100]) == "persona.no_data"


def test_numbers_that_are_none_and_texts_that_cannot_be_encoded() -> None:
    got = read(b'{"name": "x", "description": "y\\ud800\\u0000", "first_mes": "", "score": NaN, "own": "\\ud800"}')
    assert got.card is not None
    assert (got.card.value["score"], got.card.data["description"]) == (None, "y\ufffd\ufffd")
    assert [(mend.field, mend.how) for mend in got.mends] == [("description", "lone")]
    assert json.loads(dump_json(got.card.value))["own"] == "\ud800"
    got = read(b'{"entries": [], "scan_depth": 1e999, "token_budget": -1e999, "own": [1e999, 0.5]}')
    assert got.world is not None
    assert "scan_depth" not in got.world
    assert json.loads(dump_json(got.world))["own"] == [None, 0.5]
    kept = {"entries": [], "scan_depth": float("inf"), "token_budget": float("nan")}  # by an older version
    assert book_from(kept) == book_from({"entries": [], "token_budget": BUDGET})


def test_a_chinese_card_in_gbk_is_decoded() -> None:
    content = json.dumps(v1(description="她住在海边的小城，喜欢安静的图书馆和下雨的午后。" * 3), ensure_ascii=False)
    assert found(content.encode("gb18030")).data["description"].startswith("她住在海边")


def test_the_plain_picture_is_a_picture() -> None:
    assert read(write(card_of(v3())[0], "png", plain_picture("小花"))).card is not None


def test_a_world_book_is_told_from_a_card() -> None:
    silly = {"entries": {"0": {"uid": 0, "key": ["猫"], "keysecondary": [], "content": "喵", "order": 5}}}
    for value in (silly, {"spec": "lorebook_v3", "data": {"entries": [{"keys": ["猫"], "content": "喵"}]}}):
        got = read(json.dumps({"name": "世界", "description": "x", **value}).encode())
        assert isinstance(got, Found)
        assert got.card is None
        assert got.world is not None
        assert got.world["entries"][0]["keys"] == ["猫"]


def test_a_world_of_sillytavern_keeps_what_it_says() -> None:
    entry = {"uid": 3, "key": ["猫"], "keysecondary": ["鱼"], "comment": "备注", "content": "喵", "constant": True}
    entry |= {"selective": True, "selectiveLogic": 3, "order": 7, "position": 4, "depth": 2, "disable": True}
    entry |= {"excludeRecursion": True, "probability": 40, "useProbability": True, "scanDepth": 9, "role": 1, "own": {}}
    got = read(json.dumps({"entries": {"3": entry}}).encode()).world
    assert got is not None
    (made,) = got["entries"]
    assert (made["keys"], made["secondary_keys"], made["insertion_order"], made["enabled"]) == (
        ["猫"],
        ["鱼"],
        7,
        False,
    )
    assert made["own"] == {}
    assert made["extensions"] == {
        "position": 4,
        "exclude_recursion": True,
        "probability": 40,
        "useProbability": True,
        "depth": 2,
        "selectiveLogic": 3,
        "role": 1,
        "scan_depth": 9,
    }


@pytest.mark.parametrize("seed", range(30))
def test_a_world_book_survives_its_file(seed: int) -> None:
    import random

    from anime_ai.persona.card import book_of
    from anime_ai.persona.worlds import world_file, world_of

    book, _ = book_of(random_book(random.Random(seed)))
    assert world_of(json.loads(dump_json(world_file(book))))[0] == book


def test_a_real_card(test_data: Path) -> None:
    content = (test_data / "cards" / "default_Seraphina.png").read_bytes()
    got = read(content)
    assert got.card is not None
    assert got.card.name == "Seraphina"
    assert got.mends == ()
    original = next(iter(png_files.texts(content)))
    value = json.loads(base64.b64decode(original.content))
    value["data"]["character_book"]["extensions"] = {}  # the specification wants it there
    assert {name: got.card.data[name] for name in value["data"]} == value["data"]
    for form in FORMS:
        again = read(write(got.card, form, got.picture)).card
        assert again is not None
        assert {**again.data, "assets": 0} == {**got.card.data, "assets": 0}
