"""Finding passages: what a question brings, what a small model is given of it, and what an answer rests on."""

from __future__ import annotations

import json

import pytest
from documents import SAID
from test_knowledge import SERIES, found, put

from anime_ai.config import DATA
from anime_ai.knowledge.chunks import Block
from anime_ai.knowledge.passages import Passage, cited, common, narrowed
from anime_ai.knowledge.service import Knowledge


def test_shipped_questions_have_their_answers() -> None:
    asked = json.loads((DATA / "knowledge" / "held_out_questions.json").read_text(encoding="utf-8"))
    assert len(asked) >= 150
    for one in asked:
        assert one["answer"] in (SERIES / one["document"]).read_text(encoding="utf-8")
    tried = json.loads((SERIES / "index.json").read_text(encoding="utf-8"))["questions"]
    assert not set(tried) & {one["question"] for one in asked}


def test_small_talk_brings_nothing(series: tuple[Knowledge, str]) -> None:
    knowledge, base = series
    for said in ("你好呀", "今天好累", "陪我聊会儿天吧", "你喜欢我吗", "哈哈哈", "嗯", "……"):
        retrieval = knowledge.retrieve(said, [base])
        assert not retrieval.used, said
        assert retrieval.why or all(one.why for one in retrieval.passages)


def test_what_everybody_asks_brings_nothing(series: tuple[Knowledge, str]) -> None:
    knowledge, base = series
    asked = ("晚上吃什么好呢", "周末去哪里玩？", "推荐一部动漫吧", "心情不好怎么办", "明天穿什么好", "最近有什么新番")
    assert [one for one in asked if knowledge.retrieve(one, [base]).used] == []


def test_who_is_called_like_something_to_eat_can_be_asked_for(series: tuple[Knowledge, str]) -> None:
    knowledge, base = series
    for question in ("馒头开心的时候是什么颜色？", "扣子多重啊"):
        assert knowledge.retrieve(question, [base]).used, question


def test_a_small_model_is_given_a_short_passage(series: tuple[Knowledge, str]) -> None:
    knowledge, base = series
    (passage,) = knowledge.retrieve("乔絮的生日是哪天？", [base], small=True).used
    assert "4月7日" in passage.text
    assert len(passage.text) <= 120
    assert knowledge.library.text(passage.document_id)[passage.start : passage.end] == passage.text
    assert passage.told().startswith("乔絮\n")


def test_an_answer_is_traced_to_its_passage(series: tuple[Knowledge, str]) -> None:
    knowledge, base = series
    retrieval = knowledge.retrieve("乔絮的生日是哪天？", [base], small=True)
    answer = "哼，4月7日啦。这种事自己记。"
    (citation,) = knowledge.cite(answer, retrieval, [base])
    assert (answer[citation.start : citation.end], citation.passage) == ("哼，4月7日啦。", 1)
    assert knowledge.cite("今天天气真好。", retrieval, [base]) == []
    assert knowledge.cite("", retrieval, [base]) == []


def test_searching_nothing_and_too_much_works(knowledge: Knowledge) -> None:
    base = knowledge.library.create("空")
    assert knowledge.search("什么", [base], 100) == []
    assert knowledge.search("什么", []) == []
    put(knowledge, base, "a.txt", "只有一句。")
    assert len(knowledge.search("一句", [base], 100)) == 1
    assert knowledge.search("", [base]) == []
    assert knowledge.search("🙂", [base]) == []


@pytest.mark.parametrize(
    ("question", "text"),
    [("鐵道", "銀河鐵道"), ("铁道", "銀河鐵道"), ("ａｂｃ", "ABC"), ("カタカナ", "かたかな"), ("Ｗ杯", "w杯")],
)
def test_width_case_and_tradition_do_not_matter(knowledge: Knowledge, question: str, text: str) -> None:
    base = knowledge.library.create("折叠")
    put(knowledge, base, "a.txt", text)
    put(knowledge, base, "b.txt", "别的。")
    assert found(knowledge, base, question) == [text]


def test_what_a_text_has_in_common_with_a_question() -> None:
    assert [("銀河鐵道的夜"[start:end]) for start, end in common("銀河鐵道的夜", "银河铁道")] == ["銀河鐵道"]
    assert common("完全不同", "银河") == []


def test_a_passage_is_narrowed_to_the_sentences_that_matter() -> None:
    text = "第一句说天气。" * 10 + "雪见的生日是七月七日。" + "最后说吃饭。" * 10
    passage = Passage("c", "d", "文", 0, 100, 100 + len(text), "雪见", text)
    short = narrowed(passage, "雪见生日", 40)
    assert "雪见的生日是七月七日。" in short.text
    assert len(short.text) <= 40
    assert text[short.start - 100 : short.end - 100] == short.text
    assert narrowed(passage, "雪见生日", len(text)) == passage
    endless = Passage("c", "d", "文", 0, 0, 2000, "", "无" * 900 + "雪见的生日是七月七日" + "无" * 1090)
    short = narrowed(endless, "雪见生日", 100)
    assert len(short.text) == 100
    assert "雪见的生日是七月七日" in short.text


def test_sentences_that_only_repeat_the_question_are_not_traced() -> None:
    passage = Passage("c", "d", "文", 0, 0, 11, "", SAID)
    everything = [1.0] * 100
    assert cited("雪见的生日？", [passage], "雪见的生日是哪天？", lambda terms: everything[: len(terms)]) == []


def test_a_small_base_beside_a_large_one_is_found_by_what_only_it_has(knowledge: Knowledge) -> None:
    """Words are as rare as they are in all bases together: in a base of two documents alone none would be."""
    large, small = knowledge.library.create("大"), knowledge.library.create("小")
    for number in range(40):
        knowledge.library.put(
            large, f"{number}.txt", str(number), [Block("text", f"第{number}回讲的是缝云铺的针和线。")]
        )
    told = "扣子是一只奶牛猫，没人知道它哪天出生，店里把七月一日算作它的生日，那天的生日点心是哪天都有的鱼。"
    knowledge.library.put(large, "扣子.txt", "扣子", [Block("text", told)])
    for name, value in (("雪见", "七月七日"), ("白鹭", "八月八日"), ("青石", "九月九日")):
        knowledge.library.put(small, f"{name}.txt", name, [Block("text", f"{name}的生日是{value}。")])
    for bases in ([large, small], [small, large]):
        assert knowledge.search("雪见的生日是哪天？", bases)[0].text == "雪见的生日是七月七日。"
        assert [one.text for one in knowledge.retrieve("白鹭的生日是哪天？", bases, small=True).used] == [
            "白鹭的生日是八月八日。"
        ]


def test_passages_share_what_can_be_read_in_time(knowledge: Knowledge) -> None:
    base = knowledge.library.create("长文")
    filling = "潮水退下去的时候，礁石上留着一层薄薄的盐。" * 12
    for side in ("北", "南"):
        put(knowledge, base, f"{side}.txt", f"月见港的灯塔在{side}边。{filling}")
    whole = knowledge.retrieve("月见港的灯塔在哪里？", [base]).used
    assert len(whole) > 1
    short = knowledge.retrieve("月见港的灯塔在哪里？", [base], legible=150 * len(whole)).used
    assert [one.document_id for one in short] == [one.document_id for one in whole]
    assert max(len(one.text) for one in short) <= 150 < max(len(one.text) for one in whole)
    assert all("月见港" in one.text for one in short)
