"""Personas in the database: imported, edited, published, exported; what of them is told and trained."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from card_makers import charx, encoded, png, text, v1, v2, v3
from PIL import Image

from anime_ai.config import DATA, Settings
from anime_ai.dataset.card_rows import card_rows
from anime_ai.dataset.rows import Row, check_row
from anime_ai.errors import PersonaError, VisionError
from anime_ai.persona.card import Card, card_of
from anime_ai.persona.cards import Personas
from anime_ai.persona.files import FORMS, read
from anime_ai.persona.library import PersonaLibrary
from anime_ai.persona.telling import examples_of, fitted, greetings_of, language_of, parts_of
from anime_ai.persona.world_books import WorldBooks
from anime_ai.storage import Database


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    with Database.open(settings) as database:
        yield database


@pytest.fixture
def library(settings: Settings, database: Database) -> PersonaLibrary:
    return PersonaLibrary(database, settings.studio_dir / "personas")


def card(value: dict[str, Any]) -> Card:
    return card_of(value)[0]


def added(library: PersonaLibrary, value: dict[str, Any] | None = None) -> Any:
    return library.add(read(png([text("ccv3", encoded(value or v3()))])), "猫.png")


def test_what_ships_is_there_and_a_card_comes_beside_it(library: PersonaLibrary) -> None:
    shipped = library.list()
    assert [one.name for one in shipped] == [one.name for one in Personas().list()]
    made = added(library)
    assert [one.name for one in library.list()] == [*(one.name for one in shipped), "小花"]
    assert (made.shipped, made.published, made.greeting) == (False, False, "喵？")
    assert library.find("小花") == library.get(made.id) == made
    picture = library.shown_picture(made.id)
    assert picture is not None
    with Image.open(picture) as shown:
        assert shown.format == "WEBP"


def test_a_name_that_is_taken_gets_a_number(library: PersonaLibrary) -> None:
    names = [added(library).name for _ in range(3)]
    assert names == ["小花", "小花 (2)", "小花 (3)"]
    shipped = json.loads((DATA / "personas" / "tsundere.json").read_text(encoding="utf-8"))
    assert added(library, shipped).name == "纪棠 (2)"
    own = v3(extensions={"anime_ai": {"persona": "猫系", "system_line": "你是小花。"}})
    assert added(library, own).name == "猫系"
    assert library.find("小花").name == "小花"
    assert library.system_line("猫系") == "你是小花。"


def test_a_persona_is_for_visitors_when_she_is_published(library: PersonaLibrary) -> None:
    made = added(library)
    assert made.name not in [one.name for one in library.list("v1")]
    for refused in (lambda: library.find(made.name, "v1"), lambda: library.shown_picture(made.id, "v1")):
        with pytest.raises(PersonaError) as caught:
            refused()
        assert made.name not in str(caught.value.values.get("known", ""))
    library.publish(made.id, True)
    assert library.find(made.name, "v1").id == made.id
    assert library.shown_picture(made.id, "v1") is not None


def test_an_edit_keeps_what_was_before(library: PersonaLibrary) -> None:
    made = added(library)
    assert made.card is not None
    saved = library.save(made.id, made.version, made.card.changed(description="另一只猫。"))
    assert saved.description == "另一只猫。"
    assert [one.card.data["description"] for one in library.revisions(made.id)] == ["一只猫。"]
    with pytest.raises(PersonaError) as caught:
        library.save(made.id, made.version, made.card)
    assert caught.value.key == "persona.conflict"
    same = library.save(made.id, saved.version, saved.card)  # type: ignore[arg-type]
    assert same.version == saved.version
    back = library.restore_revision(made.id, library.revisions(made.id)[0].number)
    assert back.description == "一只猫。"
    assert len(library.revisions(made.id)) == 2
    with pytest.raises(PersonaError):
        library.restore_revision(made.id, 99)


def test_removed_and_had_back(library: PersonaLibrary) -> None:
    made = added(library)
    library.remove(made.id)
    assert library.is_removed("小花")
    assert not library.is_removed("海盗")
    assert [one.name for one in library.removed()] == ["小花"]
    with pytest.raises(PersonaError):
        library.get(made.id)
    other = added(library)
    assert other.name == "小花"
    assert not library.is_removed("小花")
    assert library.restore(made.id).name == "小花 (2)"
    with pytest.raises(PersonaError):
        library.restore(made.id)


def test_a_copy_of_one_that_ships_can_be_edited(library: PersonaLibrary) -> None:
    shipped = library.find("傲娇")
    with pytest.raises(PersonaError):
        library.save(shipped.id, 0, shipped.card)  # type: ignore[arg-type]
    copy = library.copy(shipped.id)
    assert (copy.name, copy.character, copy.shipped) == ("纪棠 (2)", "纪棠", False)
    assert copy.card is not None
    assert copy.card.value == shipped.card.value  # type: ignore[union-attr]
    assert library.shown_picture(copy.id) is not None
    assert library.rename(copy.id, " 阿棠  二号 ").name == "阿棠 二号"
    for name in ("", " ", "\0"):
        with pytest.raises(PersonaError):
            library.rename(copy.id, name)


@pytest.mark.parametrize("form", FORMS)
def test_a_card_goes_out_as_it_came(library: PersonaLibrary, form: str) -> None:
    made = added(library, v3(extensions={"x": {"y": [1, None, "猫"]}}, own="z"))
    again = read(library.export(made.id, form)).card
    assert again is not None
    assert {**again.data, "assets": 0} == {**made.card.data, "assets": 0}
    shipped = read(library.export("kuudere", form)).card
    assert shipped is not None
    assert shipped.name == "闻夕"
    with pytest.raises(PersonaError):
        library.export(made.id, "exe")


def test_the_files_of_a_charx_go_out_again(library: PersonaLibrary) -> None:
    icon = {"type": "icon", "uri": "embeded://assets/icon/image/1.png", "name": "main", "ext": "png"}
    files = {"assets/icon/image/1.png": png(), "assets/emotion/image/smile.png": png(size=9)}
    given = charx(v3(assets=[icon]), files)
    made = library.add(read(given))
    again = read(library.export(made.id, "charx"))
    assert dict(again.files) == files
    assert again.card is not None
    assert again.card.value == made.card.value  # type: ignore[union-attr]
    copied = read(library.export(library.copy(made.id).id, "charx"))
    assert dict(copied.files) == files


def test_a_picture_that_is_none_is_left_out_and_can_be_set(library: PersonaLibrary, settings: Settings) -> None:
    made = library.add(read(json.dumps(v2()).encode()))
    assert library.shown_picture(made.id) is None
    with pytest.raises(VisionError):
        library.set_picture(made.id, b"no picture")
    jpeg = io.BytesIO()
    Image.new("RGB", (30, 40), "red").save(jpeg, "JPEG")
    assert library.set_picture(made.id, jpeg.getvalue()).picture
    with Image.open(io.BytesIO(library.export(made.id, "png"))) as shown:
        assert (shown.format, shown.size) == ("PNG", (30, 40))
    broken = library.add(read(png([text("ccv3", encoded(v3()))]).replace(b"IDAT", b"IDAX")))
    assert library.shown_picture(broken.id) is None
    assert not list(settings.studio_dir.rglob("*.partial"))


def test_another_process_is_noticed(library: PersonaLibrary, settings: Settings, database: Database) -> None:
    from anime_ai.persona import library as module

    other = PersonaLibrary(database, settings.studio_dir / "personas")
    assert len(other.list()) == 4
    added(library)
    other._own = (other._own[0] - module.LOOK_EVERY - 1, *other._own[1:])
    assert len(other.list()) == 5


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "CON", "<img src=x onerror=alert(1)>", "名" * 300, "a\0b", "\ud800"]
)
def test_a_name_is_never_a_path(library: PersonaLibrary, settings: Settings, name: str) -> None:
    made = added(library, v3(name=name))
    assert 0 < len(made.name) <= 80
    files = [path for path in settings.output_dir.rglob("*") if path.is_file()]
    known = {made.id, *(f"{made.picture}" for _ in range(1))}
    assert all(path.stem.isalnum() or path.name.startswith("studio.db") for path in files), known


def test_what_of_a_card_is_told(library: PersonaLibrary) -> None:
    told = {part.field: part.text for part in parts_of(card(v3()), "x")}
    assert told["description"] == "一只猫。"
    assert told["personality"] == "性格：爱睡觉"
    assert told["system_prompt"].startswith("你是花花")
    assert told["mes_example"] == "对话示例：\n用户：早\n你：喵。"
    own = {part.field: part.text for part in parts_of(card(v3(system_prompt="只说喵。{{original}}")))}
    assert own["system_prompt"].startswith("只说喵。你是花花")
    assert [part.field for part in library.find("傲娇").parts()] == ["system_line"]


def test_example_dialogues() -> None:
    said = "<START>\n{{user}}: 早\n{{char}}: 喵。\n第二行\n{{user}}: 吃吗\n{{char}}: 吃。\n{{char}}: 还要。\n"
    said += "<start>\n旁白没有人说\n{{user}}: 走吧\n<START>\n<USER>: 一\n<BOT>: 二\n小花：三"
    found = examples_of(card(v2(mes_example=said)))
    assert [[(one.user, one.reply) for one in dialogue] for dialogue in found] == [
        [("早", "喵。\n第二行"), ("吃吗", "吃。\n还要。")],
        [("一", "二\n三")],
    ]
    assert examples_of(card(v2(mes_example="她很安静。"))) == ()


def test_a_card_that_is_too_long_is_cut_where_it_hurts_least() -> None:
    long = card(v3(description="她住在海边。" * 200, scenario="窗台" * 100))
    parts = parts_of(long)
    whole = fitted(parts, len, 100_000)
    assert (whole.dropped, whole.cut) == ((), ())
    less = fitted(parts, len, 400)
    assert len(less.text) <= 400
    assert less.cut == ("description",)
    assert set(less.dropped) == {"scenario", "mes_example", "personality"}
    assert less.text.endswith("她住在海边。")
    for most in range(0, 400, 7):
        assert len(fitted(parts, len, most).text) <= most


def test_languages() -> None:
    assert language_of(card(v1())) == "zh"
    assert language_of(card(v1(description="A cat.", first_mes="Hi", personality="x"))) == "en"
    assert language_of(card(v1(description="海辺の町に住んでいる。"))) == "ja"
    assert greetings_of(card(v1(description="A cat.", first_mes="Hi {{user}}", personality="x"))) == ("Hi you",)


def test_a_card_as_training_rows(library: PersonaLibrary) -> None:
    said = "<START>\n{{user}}: 早\n{{char}}: 喵。\n{{user}}: 吃吗\n{{char}}: 吃。"
    rows = card_rows(added(library, v3(mes_example=said)))
    assert [(row.input, row.output, row.history) for row in rows] == [
        ("早", "喵。", ()),
        ("吃吗", "吃。", (("早", "喵。"),)),
        ("你好。", "喵？", ()),
        ("你好。", "早。", ()),
    ]
    assert {row.persona for row in rows} == {"小花"}
    assert all(isinstance(check_row(row.as_json(), 1), Row) for row in rows)


def test_a_run_remembers_the_personas_of_its_rows(library: PersonaLibrary, tmp_path: Path) -> None:
    own = v3(extensions={"anime_ai": {"persona": "猫系", "system_line": "你是小花。"}})
    made = added(library, own)
    added(library, v3(name="别人"))
    library.keep(tmp_path, {"猫系", "傲娇"})
    kept = Personas.of_run(tmp_path)
    assert kept.system_line("猫系") == "你是小花。"
    assert kept.greetings("猫系") == made.said_first
    assert [one.name for one in kept.list()] == [*(one.name for one in Personas().list()), "猫系"]
    library.save(made.id, made.version, made.card.changed(own={"system_line": "变了。"}))
    assert Personas.of_run(tmp_path).system_line("猫系") == "你是小花。"
    assert Personas.of_run(tmp_path / "gone").list() == Personas().list()


def test_world_books(database: Database) -> None:
    worlds = WorldBooks(database)
    everybody = worlds.add({"name": "世界", "entries": [{"keys": ["猫"], "content": "喵"}]})
    hers = worlds.add({"entries": []}, "她的", "傲娇")
    assert [one.name for one in worlds.of("傲娇")] == sorted(["世界", "她的"])
    assert [one.name for one in worlds.of("三无")] == ["世界"]
    worlds.bind(everybody.id, "", False)
    assert [one.name for one in worlds.of("傲娇")] == ["她的"]
    saved = worlds.save(hers.id, hers.updated, {"entries": [{"keys": "猫", "content": 5}]})
    assert saved.book["entries"][0]["keys"] == ["猫"]
    with pytest.raises(PersonaError) as refused:
        worlds.save(hers.id, hers.updated, {"entries": []})
    assert refused.value.key == "persona.conflict"
    worlds.remove(hers.id)
    assert [one.name for one in worlds.list()] == ["世界"]
    for lost in (lambda: worlds.get(hers.id), lambda: worlds.remove("x"), lambda: worlds.restore("x")):
        with pytest.raises(PersonaError):
            lost()
    assert worlds.restore(hers.id).entries == 1
