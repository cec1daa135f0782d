"""Characters as YAML, as text-generation-webui has them: what is text stays text, what is dangerous ends in a line."""

from __future__ import annotations

import pytest

from anime_ai.errors import PersonaError
from anime_ai.persona.files import read
from anime_ai.persona.telling import examples_of
from anime_ai.persona.written import MOST, parse_written

CHIHAYA = """\
name: 千早
greeting: |-
  *她推开门。*
  你来啦，{{user}}。
context: |-
  千早是旧书店的店员，说话慢，爱用省略号。
  <START>
  {{user}}: 有新书吗？
  {{char}}: 有……在最里面。
your_name: 客人
"""


def refused(content: str) -> PersonaError:
    with pytest.raises(PersonaError) as caught:
        read(content.encode())
    return caught.value


def test_a_character_comes_in_whole() -> None:
    found = read(CHIHAYA.encode())
    assert found.card is not None
    card = found.card
    assert card.name == "千早"
    assert card.data["description"] == "千早是旧书店的店员，说话慢，爱用省略号。"
    assert card.greetings == ("*她推开门。*\n你来啦，{{user}}。",)
    ((example,),) = examples_of(card)
    assert (example.user, example.reply) == ("有新书吗？", "有……在最里面。")
    assert card.value["your_name"] == "客人", "what no card knows is kept"
    assert [mend.how for mend in found.mends] == ["other_format"]
    again = read(("\ufeff" + CHIHAYA).encode("utf-16"))
    assert again.card == card, "any encoding, with a mark"


@pytest.mark.parametrize(
    "name", ["2024-05-01", "2024-05-01 10:00:00", "yes", "No", "007", "1_000", "1e3", ".inf", "12:30"]
)
def test_what_looks_like_a_date_or_a_number_is_a_name(name: str) -> None:
    found = read(f"name: {name}\ncontext: 她是{name}。\ngreeting: 嗨\n".encode())
    assert found.card is not None
    assert found.card.name == name


def test_what_is_missing_or_nothing_is_lenient() -> None:
    found = read("name: 海棠\ngreeting: 早\n".encode())
    assert found.card is not None
    assert found.card.data["description"] == ""
    found = read("char_name: 海棠\nchar_persona: 安静。\nchar_greeting: ~\n".encode())
    assert found.card is not None
    assert (found.card.data["description"], found.card.greetings) == ("安静。", ())
    found = read("name: 海棠\ncontext:\n  - 安静\n  - 爱笑\ngreeting: null\n".encode())
    assert found.card is not None
    assert found.card.data["description"] == "安静\n爱笑"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("name: 海棠\ncontext: 'open\n", 3),
        ("name: 海棠\n\tcontext: tab\n", 2),
        ("name: a: b: c\n", 1),
        ("name: 海棠\ncontext: [1, 2\n", 3),
        ("name: 海棠\n---\nname: 二\n", 2),
        ("name: 海棠\n? [a, b]\n: c\n", 2),
        ("name: &n 海棠\ncontext: *n\n", 2),
        ("name: 海棠\nx: &x {<<: *x}\n", 2),
    ],
)
def test_what_cannot_be_read_names_its_line(content: str, line: int) -> None:
    error = refused(content)
    assert error.key == "persona.not_yaml"
    assert f"第 {line} 行" in error.say("zh")
    assert "\n" not in error.say("zh")


def test_dangerous_files_end_in_a_line_and_run_nothing() -> None:
    laughs = ["name: &a [哈]"] + [f"x{n}: &b{n} [*a, *a, *a, *a, *a, *a, *a, *a]" for n in range(20)]
    assert refused("\n".join(laughs)).key == "persona.not_yaml"
    deep = "name: 海棠\ncontext: " + "[" * 5000 + "]" * 5000
    assert refused(deep).key in ("persona.not_yaml", "persona.too_deep")
    assert refused("name: 海棠\ncontext: " + "长" * MOST).key == "persona.yaml_large"
    assert refused("name: \x01\ncontext: x\n").key == "persona.not_yaml"
    told = parse_written(
        "name: !!python/object/apply:os.system ['touch /tmp/never']\ncontext: !!python/name:os.system x\n"
    )
    assert told == {"name": ["touch /tmp/never"], "context": "x"}
    assert refused("- name: 海棠\nname: x").key == "persona.not_yaml"


def test_other_texts_are_refused_as_before() -> None:
    assert refused("没有卡的一段话").key == "persona.not_json"
    assert refused('{"name": "x", "context": ').key == "persona.not_json"
    assert refused("name: 海棠\n").key == "persona.no_data"
