"""What was seen: the table of tags, the sentence made of them, and what a person corrects."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from anime_ai.texts import LANGUAGES
from anime_ai.vision.observation import Known, Observation, Tag, group_of, observation_of
from anime_ai.vision.tags import GROUPS, named, table, word


def seen(*names: str, confidence: float = 0.9, **more: object) -> Observation:
    return Observation(tags=tuple(Tag(name, group_of(name), confidence) for name in names), **more)


GIRL = seen(
    "1girl", "solo", "pink_hair", "twintails", "blue_eyes", "smile", "serafuku", "cat_ears", "reading", "classroom"
)


def test_the_table_is_whole() -> None:
    known = table()
    assert len(known) >= 800
    for meaning in known.values():
        assert meaning.group in GROUPS, meaning
        assert meaning.zh.strip() == meaning.zh != "", meaning
        assert meaning.ja.strip() == meaning.ja != "", meaning
        assert any("\u4e00" <= sign <= "\u9fff" for sign in meaning.zh), meaning
    for language in ("zh", "ja"):
        said = Counter((meaning.group, meaning.word(language)) for meaning in known.values())
        assert [one for one, count in said.items() if count > 1] == []


def test_a_word_finds_its_tag_in_any_language() -> None:
    assert named("双马尾") == named("ツインテール") == named("Twintails") == named("twintails") == "twintails"
    assert named("没有这个词") == "没有这个词"
    assert word("没有这个词", "zh") == "没有这个词"
    for meaning in table().values():
        assert named(meaning.zh, meaning.group) == meaning.name


def test_the_sentence_is_the_same_for_the_same_tags() -> None:
    assert GIRL.sentence() == (
        "图里有一个女孩，粉色的双马尾，蓝色的眼睛，表情是微笑，有猫耳，穿着水手服，动作是看着书，背景是教室。"
    )
    assert GIRL.sentence("en") == (
        "1girl, pink hair, twintails, blue eyes, smile, cat ears, serafuku, reading, classroom."
    )
    assert GIRL.sentence("ja").startswith("女の子一人、")
    assert GIRL.sentence() == Observation(tags=GIRL.tags[::-1]).sentence()
    assert seen("1girl", "blonde_hair", "red_eyes").sentence() == "图里有一个女孩，金色的头发，红色的眼睛。"


def test_nothing_seen_is_a_sentence_too() -> None:
    assert Observation().sentence() == "图里有一个人物。"
    assert seen("no_humans", "sunset").sentence().startswith("图里没有人，背景是")
    for language in LANGUAGES:
        assert Observation().sentence(language)


def test_what_is_unsure_is_said_as_unsure() -> None:
    unsure = seen("1girl", "pink_hair", confidence=0.5)
    assert unsure.sentence() == "图里有可能是一个女孩，可能是粉色的头发。"
    assert "perhaps pink hair" in unsure.sentence("en")
    named_her = [Known("1", "雪见", 0.9, True), Known("2", "绫", 0.6, False)]
    told = seen("1girl", characters=tuple(named_her)).sentence()
    assert told == "图里有一个女孩，看起来是雪见，有点像绫。"


def test_a_correction_replaces_a_group_and_is_sure() -> None:
    unsure = seen("pink_hair", "twintails", confidence=0.5)
    mended = unsure.corrected("hair_colour", ["银色头发", " "])
    assert mended.grouped()["hair_colour"] == [Tag("grey_hair", "hair_colour", 1.0)]
    assert [tag.name for tag in mended.grouped()["hair_style"]] == ["twintails"]
    assert "银色的可能是双马尾" in mended.sentence()
    own = unsure.corrected("object", ["一只会说话的茶壶"])
    assert "画里还有一只会说话的茶壶" in own.sentence()
    assert unsure.corrected("hair_colour", []).sentence() == "图里有一个人物，可能是双马尾。"


def test_a_sentence_that_a_model_wrote_is_told_until_somebody_knows_better() -> None:
    written = "a girl with pink hair sitting in a room"
    alone, more = seen(caption=written), seen("1girl", "pink_hair", caption=written)
    assert alone.sentence() == f"英文描述：{written}"
    assert alone.sentence("en") == f"In a sentence: {written}"
    assert more.sentence() == f"图里有一个女孩，粉色的头发。英文描述：{written}"
    assert more.sentence("ja").endswith(f"。英語の説明：{written}")
    for mended in (
        more.corrected("hair_colour", ["银发"]),
        more.told_anew(["一个女孩", "银发"], "zh"),
        more.corrected_outside(["people"], ["银发"], "zh"),
    ):
        assert mended.sentence() == "图里有一个女孩，银色的头发。"
    assert more.corrected_outside(["people"], ["粉色头发"], "zh") == more, "nothing was corrected"
    listed = seen("1girl", "pink_hair", caption="一个女孩，粉色头发。")
    assert listed.sentence() == "图里有一个女孩，粉色的头发。", "a list of the tags says nothing more"


def test_it_is_kept_and_read_back() -> None:
    whole = seen("1girl", "pink_hair", caption="粉发女孩", rating="general", colours=("#ff0000",), models=("starter",))
    whole = whole.recognised(Known("1", "雪见", 0.93, True))
    kept = json.loads(json.dumps(whole.as_json(), ensure_ascii=False))
    assert observation_of(kept) == whole
    assert observation_of(Observation().as_json()) == Observation()
    assert kept["tags"][1] == {
        "group": "hair_colour",
        "tag": "pink_hair",
        "zh": word("pink_hair", "zh"),
        "confidence": 0.9,
    }


@pytest.mark.parametrize("name", ["1girl", "grey_hair", "twintails", "closed_eyes", "maid", "beret", "cherry_blossoms"])
def test_common_tags_are_there(name: str) -> None:
    assert name in table()
