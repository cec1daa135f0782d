"""Who speaks in a conversation of several, and what each has heard. Knows no answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from ui_fakes import Said

from anime_ai.chat.cast import SILENCE, Cast
from anime_ai.chat.tree import Message
from anime_ai.errors import AnimeAIError
from anime_ai.persona.card import card_of
from anime_ai.persona.files import Found
from anime_ai.studio import Studio

BOTH = ("傲娇", "活泼")
ALL = (*BOTH, "温柔", "三无")


def card(studio: Studio, name: str, published: bool = True, **data: Any) -> str:
    value = {"spec": "chara_card_v2", "spec_version": "2.0", "data": {"name": name, "description": f"{name}。", **data}}
    made = studio.personas.add(Found(card_of(value)[0]))
    studio.personas.publish(made.id, published)
    return made.name


@pytest.mark.parametrize(
    ("said", "speakers"),
    [
        ("你们好", []),
        ("小满，纪棠在吗？", ["活泼", "傲娇"]),
        ("@纪棠 早", ["傲娇"]),
        ("＠姜小满　早", ["活泼"]),
        ("她真傲娇", []),
        ("@傲娇 过来", ["傲娇"]),
        ("薑小滿你好", ["活泼"]),
        ("紀棠你好", ["傲娇"]),
        ("阿棠、姜小满和阿棠", ["傲娇", "活泼"]),
        ("念禾姐呢", []),
    ],
)
def test_who_is_named_answers_in_the_order_of_the_names(studio: Studio, said: str, speakers: list[str]) -> None:
    assert Cast(studio.personas, BOTH).mentioned(said) == speakers


def test_names_in_latin_letters_stand_alone_and_the_longer_name_wins(studio: Studio) -> None:
    members = [card(studio, name) for name in ("Ann", "Anna Lee", "小雪", "小雪见")]
    cast = Cast(studio.personas, members)
    assert cast.mentioned("anna, is Ann here?") == ["Anna Lee", "Ann"]
    assert cast.mentioned("Annabel and banana") == []
    assert cast.mentioned("ＬＥＥ！") == ["Anna Lee"]
    assert cast.mentioned("小雪见到了吗") == ["小雪见"]
    assert cast.mentioned("@小雪 @小雪见") == ["小雪", "小雪见"]


def test_the_order_of_a_conversation_says_who_is_next(studio: Studio) -> None:
    cast = Cast(studio.personas, ALL)
    assert cast.speakers("大家好", "round", ()) == list(ALL)
    assert cast.speakers("大家好", "hand", ()) == []
    assert cast.speakers("纪棠？", "hand", ()) == ["傲娇"]
    last = Message("", "assistant", "嗯", speaker="活泼")
    assert cast.speakers("然后呢", "one", (last, Message("", "user", "哦"))) == ["温柔"]
    assert cast.speakers("然后呢", "one", (replace(last, speaker="三无"),)) == ["傲娇"]
    assert cast.speakers("然后呢", "one", (replace(last, speaker="走了的人"),)) == ["傲娇"]


def said_by(who: str, words: str, id: str = "") -> Message:
    return Message(id or words, "assistant" if who else "user", words, speaker=who)


def test_what_others_say_is_one_question_with_their_names(studio: Studio) -> None:
    talk = [said_by("", "早"), said_by("活泼", "早呀！"), said_by("傲娇", "哼。"), said_by("活泼", "她害羞了。")]
    cast = Cast(studio.personas, BOTH)
    before, asked = cast.heard(talk, "傲娇")
    assert [(one.role, one.content) for one in before] == [("user", "用户：早\n姜小满：早呀！"), ("assistant", "哼。")]
    assert asked.content == "姜小满：她害羞了。"
    before, asked = cast.heard(talk, "活泼")
    assert [one.content for one in before] == ["早", "早呀！", "纪棠：哼。", "她害羞了。"]
    assert asked.content == SILENCE, "she was the last to speak"
    assert cast.heard([*talk, said_by("", "是吗")], "活泼")[1].content == "是吗"
    assert cast.heard((), "活泼")[1].content == SILENCE


def test_what_she_has_heard_only_grows(studio: Studio) -> None:
    """Roles take turns, and what stood before an answer stands there ever after, so that what is read stays read."""
    cast, talk = Cast(studio.personas, ALL), list[Message]()
    seen: dict[str, list[str]] = {}
    order = ("", "活泼", "傲娇", "", "", "三无", "活泼", "活泼", "", "傲娇", "温柔", "三无", "傲娇")
    for number, who in enumerate(order):
        if who:
            before, asked = cast.heard(talk, who)
            now = [one.content for one in (*before, asked)]
            assert now[: len(seen.get(who, []))] == seen.get(who, [])
            roles = [one.role for one in (*before, asked)]
            assert roles == [("user", "assistant")[place % 2] for place in range(len(roles))]
            seen[who] = [*now, f"第{number}句"]
        talk.append(said_by(who, f"第{number}句"))
    assert seen["三无"][-2].count("：") == 5, "five lines since she spoke, each with its name"


def test_the_starter_is_given_the_last_question_alone(studio: Studio) -> None:
    cast = Cast(studio.personas, BOTH)
    talk = [said_by("", "纪棠，小满：你们喜欢什么动漫？"), said_by("活泼", "都喜欢！")]
    assert cast.heard(talk, "傲娇", plain=True)[1].content == "你们喜欢什么动漫？"
    talk += [said_by("傲娇", "哼。"), said_by("活泼", "嘿嘿")]
    assert cast.heard(talk, "傲娇", plain=True)[1].content == "你们喜欢什么动漫？", "asked last, whoever spoke since"
    assert cast.heard([said_by("", "@纪棠")], "傲娇", plain=True)[1].content == "@纪棠"
    assert cast.heard([said_by("活泼", "有人吗")], "傲娇", plain=True)[1].content == "有人吗"


def test_nobody_speaks_for_another_and_her_own_name_is_no_part_of_what_she_says(studio: Studio) -> None:
    cast = Cast(studio.personas, BOTH)
    assert set(cast.stop_texts("傲娇")) == {"\n姜小满：", "\n姜小满:", "\n用户：", "\n用户:"}

    def pieces(words: str) -> Iterator[Said]:
        return (Said(words[:end], ended=end == len(words)) for end in range(1, len(words) + 1))

    def hers(words: str) -> list[str]:
        return [one.text for one in cast.hers(pieces(words), "傲娇")]

    assert hers("纪棠：哼。") == ["", "哼", "哼。"]
    assert hers("纪棠")[-1] == "纪棠"
    assert hers("纪念品。") == ["纪念", "纪念品", "纪念品。"]
    assert hers("姜小满她来了。")[0] == "姜小满她"
    given: list[str] = []
    with pytest.raises(AnimeAIError) as caught:
        given.extend(one.text for one in cast.hers(pieces("姜小满：我来！"), "傲娇"))
    assert caught.value.key == "group.for_another"
    assert given == [], "nothing of it is kept"
