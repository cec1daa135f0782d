"""Character cards as personas: found by any of their names, and said what is wrong with a broken one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anime_ai.errors import PersonaError
from anime_ai.persona.cards import Persona, Personas


def card(**changed: Any) -> dict[str, Any]:
    own = {"id": "cat", "persona": "猫系", "system_line": "你是猫系角色小花。", "differs": "爱睡觉"}
    data = {"name": "小花", "description": "一只猫。", "first_mes": "喵？", "alternate_greetings": ["", "早。"]}
    for name, value in changed.items():
        (own if name in own else data)[name] = value
    return {"spec": "chara_card_v3", "data": {**data, "extensions": {"anime_ai": own}}}


def put(folder: Path, name: str, value: Any) -> Path:
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_the_shipped_personas_begin_with_the_default() -> None:
    personas = Personas()
    assert [one.id for one in personas.list()][0] == "tsundere"
    assert [one.name for one in personas.list()][0] == "傲娇"
    assert len({one.name for one in personas.list()}) == len(personas.list()) == 4
    for one in personas.list():
        assert personas.find(one.id) == personas.find(one.name) == personas.find(one.character) == one
        assert personas.system_line(one.name) == one.system_line
        assert all(one.greetings)


def test_a_card_of_ones_own(tmp_path: Path) -> None:
    put(tmp_path, "cat.json", card())
    expected = Persona("cat", "猫系", "小花", "你是猫系角色小花。", ("喵？", "早。"), "一只猫。", "爱睡觉")
    assert Personas(tmp_path).list() == [expected]
    put(tmp_path, "cat.json", card(alternate_greetings=None, first_mes="", differs=None))
    assert Personas(tmp_path).list()[0].greetings == ()


def test_a_persona_without_a_card_has_a_line_all_the_same(tmp_path: Path) -> None:
    for personas in (Personas(), Personas(tmp_path), Personas(tmp_path / "gone")):
        assert personas.system_line("海盗") == "你是一个海盗的动漫角色。"
        assert personas.system_line("") == ""
        with pytest.raises(PersonaError) as caught:
            personas.find("海盗")
        assert caught.value.key == "persona.unknown"
    with pytest.raises(PersonaError) as caught:
        Personas().find("<b>")
    assert "傲娇" in caught.value.say("zh")


BROKEN: list[tuple[Any, str]] = [
    ({}, "data"),
    ({"data": []}, "data"),
    ({"data": {}}, "extensions"),
    ({"data": {"extensions": {"anime_ai": None}}}, "anime_ai"),
    (card(name=5), "name"),
    (card(name=" "), "name"),
    (card(id=""), "id"),
    (card(persona=None), "persona"),
    (card(system_line=["你"]), "system_line"),
    (card(description=None), "description"),
    (card(first_mes=None), "first_mes"),
    (card(alternate_greetings=[3]), "alternate_greetings"),
]


@pytest.mark.parametrize(("value", "field"), BROKEN)
def test_a_broken_card_is_named_with_its_field(tmp_path: Path, value: Any, field: str) -> None:
    path = put(tmp_path, "bad card.json", value)
    with pytest.raises(PersonaError) as caught:
        Personas(tmp_path).list()
    assert (caught.value.key, caught.value.values["field"]) == ("persona.broken_card", field)
    assert all(
        str(path) in caught.value.say(language) and field in caught.value.say(language) for language in ("zh", "en")
    )


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"card"'])
def test_what_is_no_card_is_said(tmp_path: Path, content: str) -> None:
    path = put(tmp_path, "x.json", content)
    with pytest.raises(PersonaError) as caught:
        Personas(tmp_path).list()
    assert caught.value.key == "persona.not_a_card"
    assert str(path) in caught.value.say("en")


def test_a_broken_card_never_trains_another_line_in_silence(tmp_path: Path) -> None:
    """A line made of the name would go into every training row and no chat would ever send it again."""
    put(tmp_path, "cat.json", card())
    put(tmp_path, "dog.json", "{")
    with pytest.raises(PersonaError):
        Personas(tmp_path).system_line("猫系")
