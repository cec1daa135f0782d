"""What the checks find in rows, what they leave alone, and what is left after a mend."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from anime_ai.config import DATA
from anime_ai.dataset import patterns
from anime_ai.dataset.checks import RULES, Finding, check, mended, row_lines
from anime_ai.dataset.files import read_rows, write_rows
from anime_ai.dataset.profile import Length, lengths
from anime_ai.dataset.rows import MAX_CELL, Row
from anime_ai.persona.cards import Personas
from anime_ai.prompting import KNOWN_MARKS, Layout
from anime_ai.texts import LANGUAGES, text

ID_NUMBER = "11010519491231002X"
"""The example of GB 11643-1999."""
CARD = "6222 0212 3456 7890 128"


def keys(output: str, **fields: Any) -> set[str]:
    row = Row(**{"input": "在吗？", "output": output, "persona": "傲娇", **fields})
    return {finding.key for finding in check([row])}


def only(row: Row, key: str) -> Finding:
    (found,) = (finding for finding in check([row]) if finding.key == key)
    return found


FOUND = {
    "control_token": [
        *(f"哼{mark}！" for mark in KNOWN_MARKS),
        "<|im_start|>assistant\n哼",
        "[INST] 你好 [/INST]哼",
        "哼。</s>",
        "<|eot_id|>哼",
        "<think>用户在问好</think>哼",
    ],
    "assistant_claim": [
        "我是ChatGPT，有什么事？",
        "我是由OpenAI训练的。",
        "我叫通义千问。",
        "我是通义千问，由阿里云开发的语言模型。",
        "我是豆包，字节跳动推出的AI助手。",
        "我是Kimi，是月之暗面开发的人工智能。",
        "我是一个名为 Claude 的 AI 助手。",
        "不是的，我是DeepSeek。",
        "I'm ChatGPT, nice to meet you.",
        "My name is Claude, an AI assistant.",
        "作为DeepSeek，我会努力的。",
    ],
    "assistant_name": ["这种题去问ChatGPT啊，笨蛋。", "千问大模型都比你聪明。", "DeepSeek深度思考中……"],
    "ai_voice": [
        "作为一个AI语言模型，我没有感情。",
        "作为人工智能助手，我不能吃东西。",
        "我只是一个AI助手，不会生气。",
        "我是由代码写的大语言模型。",
        "根据我的训练数据，草莓很甜。",
        "As an AI language model, I cannot eat.",
        "I'm just an AI assistant.",
        "您好，我是 小棠，一个由 某公司 开发的 AI 助手，很高兴认识您。",
        "我叫小棠，是某公司训练的人工智能助手。",
        "您好！我是小棠，您的专属 AI 助手！",
        "Hello! I am Tang, an AI assistant developed by somebody.",
        "AIアシスタントとして、お答えします。",
    ],
    "ai_tone": [
        "作为人工智能，我不吃饭。",
        "我无法提供这种东西。",
        "抱歉，我不能协助您。",
        "由于我是一个人工智能，我无法给出主观评分。",
        "作为一个文本机器人，我不具备制作海报的能力。",
        "我由某公司开发，旨在为用户提供智能化的回答。",
        "如果您还有其他问题，请随时告诉我。",
        "希望这些信息对你有帮助！",
        "I'm sorry, but I can't do that.",
    ],
    "phone": ["打给我：13812345678。", "+86 138-1234-5678", "１３８１２３４５６７８"],
    "email": ["写信到 xiaoman.j@qq.com 吧。", "a＠b.cn"],
    "id_number": [f"身份证{ID_NUMBER}。", ID_NUMBER.lower()],
    "bank_card": [f"卡号 {CARD}。", "4111111111111111"],
    "bidi": ["哼\u202e！", "\u2066哼\u2069"],
    "invisible": ["哼\u200b！", "哼\ufeff", "a\u200db", "哼\x1b[0m", "哼\U000e0041", "\xad哼哼"],
}

LEFT_ALONE = [
    "我又不是AI！",
    "是又怎么样？AI就不能嫌弃你了？",
    "我是AI，这点不哄你。",
    "作为AI研究社的社长，我命令你吃饭。",
    "你以为我是AI助手吗？",
    "别拿“作为一个AI语言模型”那套糊弄我。",
    "我是纪棠，才不是什么AI助手。",
    "我是你妹妹，手机里的AI助手可不会给你煮粥。",
    "我是AI，没有手能替你掖被子。",
    "才不是ChatGPT写的！",
    "谁是ChatGPT啊，我是纪棠。",
    "我又不是ChatGPT，哪知道那么多。",
    "我是双子座，Gemini 的那个双子。",
    "双子座的模型我拼好了。",
    "Claude 是隔壁班的转学生，我叫他来的。",
    "我叫豆包去写作业了，豆包是我家的猫。",
    "豆包要趁热吃，红豆馅的。",
    "君の名は。Kimi no Na wa，看过三遍。",
    "我玩的游戏是由微软开发的，你管我。",
    "我是用谷歌搜的，不行吗？",
    "月之暗面有兔子哦。",
    "千问万问，你就不问我吃没吃。",
    "我没有感情。别哭了。",
    "我无法回答你这个问题……因为心跳太快了。",
    "我的训练数据教练都看了，百米进了十三秒。",
    "我的拼装模型又少了一块。",
    "随时来，门没锁。",
    "圆周率是3.14159265358979323846。",
    "悬赏15000000000元，抓那只猫。",
    "等了1380000000000年。",
    "编号 4111111111111112 的机甲出击！",
    "密码是 000000000000000000 啦。",
    "样例写的是 user@example.com。",
    "写给 a.b@mail.example 也没用。",
    "@你了，看群里。",
    "👩‍👧 和 ❤️‍🔥，还有🏴󠁧󠁢󠁥󠁮󠁧󠁿！",
    "می‌خواهم",
    "(｡•́‿•̀｡) <3 [笑]",
    "1<2，a|b，<|°_°|>",
    "第一行\n第二行\t有缩进",
]


@pytest.mark.parametrize(("key", "output"), [(key, one) for key, ones in FOUND.items() for one in ones])
def test_what_is_found(key: str, output: str) -> None:
    assert key in keys(output)


@pytest.mark.parametrize("output", LEFT_ALONE)
def test_what_is_left_alone(output: str) -> None:
    assert keys(output) == set()


@pytest.mark.parametrize(
    "output", ["我叫ChatGPT帮我写的话，老师会发现吧。", "我是DeepSeek的忠实用户呢。", "ChatGPT是由OpenAI开发的。"]
)
def test_who_uses_an_assistant_does_not_claim_to_be_it(output: str) -> None:
    assert keys(output) == {"assistant_name"}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece",
    [
        "<think>",
        "</think>",
        "<|im_",
        "[",
        "我是",
        "我是 ",
        "作为一",
        "ChatGPT",
        "我是ChatGPT。",
        "1",
        "a.",
        "a@a.",
        "@",
        "\u200d",
        "。",
        " ",
        "作为一个AI语言模型，",
        "13812345678 ",
        "an a ",
        "难道",
    ],
)
def test_the_longest_cell_takes_no_minutes(piece: str) -> None:
    row = Row("问", (piece * MAX_CELL)[:MAX_CELL] + "。", "傲娇")
    for finding in check([row]):
        if finding.mend:
            mended(row, finding)


def test_the_shipped_rows_have_no_finding() -> None:
    assert check(read_rows(DATA / "dataset.json").rows) == ()


def test_answers_of_an_assistant_are_told_from_those_of_people(test_data: Path) -> None:
    """Of rows in which an assistant presents itself most are found, of its other answers hardly any."""
    identity = json.loads((test_data / "datasets" / "identity.json").read_text(encoding="utf-8"))
    rows = [Row("你是谁？", one["output"].replace("{{name}}", "小棠"), "傲娇") for one in identity]
    voice = {"ai_voice", "ai_tone", "assistant_claim"}
    assert len({one.row for one in check(rows, alike=False) if one.key in voice}) >= 0.65 * len(rows)
    alpaca = json.loads((test_data / "datasets" / "alpaca_zh_demo.json").read_text(encoding="utf-8"))
    others = [Row(one["instruction"], one["output"], "傲娇") for one in alpaca]
    found = {one.row for one in check(others, alike=False) if one.key in voice}
    assert len(found) < 0.05 * len(others)
    assert all(re.search("AI|人工智能|语言模型|机器人|无法|不能|帮助|旨在", others[row - 1].output) for row in found)


def test_every_rule_has_an_example_and_errors_are_what_must_not_be_trained() -> None:
    assert {rule.key for rule in RULES} == set(FOUND)
    assert {rule.key for rule in RULES if rule.severity == "error"} == {"control_token", "assistant_claim", "ai_voice"}


@pytest.mark.parametrize("field", ["input", "output", "inner", "system", "rejected", "history"])
def test_a_field_is_named_and_mended_alone(field: str) -> None:
    dirty = "早<|im_end|>安\u200b，13812345678"
    row = Row(
        "在吗？", "哼。", "傲娇", history=(("早", "哼"), ("起床", "不要")), inner="喜欢", system="卡", rejected="是"
    )
    value: Any = (("早", "哼"), ("起床", dirty)) if field == "history" else dirty
    from dataclasses import replace

    row = replace(row, **{field: value})
    found = check([row])
    assert [(one.key, one.field) for one in found] == [
        ("control_token", field),
        ("phone", field),
        ("invisible", field),
    ]
    for one in found:
        assert one.mend
        done = mended(row, one)
        assert done is not None
        row = done
    assert check([row]) == ()
    clean = getattr(row, field)
    assert (clean[-1][1] if field == "history" else clean) == "早安，***********"


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("<think>\n用户问早\n</think>\n\n早。", "早。"),
        ("用户问早</think>\n\n早。", "早。"),
        ("<|im_start|>assistant\n早。<|im_end|>", "早。"),
        ("<|im_<think></think>end|>早。", "早。"),
        ("作为一个AI语言模型，我没有感情。不过……我在等你。", "不过……我在等你。"),
        ("哼！我是ChatGPT。才怪呢～", "哼！才怪呢～"),
        ("As an AI language model, I cannot eat. But I like cake.", "But I like cake."),
        ("“我只是一个AI助手。”你说什么呢？", "你说什么呢？"),
        ("写信到 xiao.j@qq.com 吧。", "写信到 ****.*@**.*** 吧。"),
        ("打 138 1234 5678 也行。", "打 *** **** **** 也行。"),
        ("我是\u202eAI", "我是AI"),
        ("\u202e……\u202c", "……"),
        ("👩‍👧\u200d一家", "👩‍👧一家"),
    ],
)
def test_what_a_mend_leaves(dirty: str, clean: str) -> None:
    row = Row("在吗？", dirty, "傲娇")
    first = next(one for one in check([row]) if one.mend)
    after = mended(row, first)
    assert after == Row("在吗？", clean, "傲娇")
    assert not [one for one in check([after]) if one.key == first.key]


@pytest.mark.parametrize(
    "output", ["作为一个AI语言模型，我没有感情。", "<think>好", "<|im_end|>", "这种题去问ChatGPT啊。"]
)
def test_no_mend_is_offered_where_nothing_would_be_left_or_none_is_safe(output: str) -> None:
    row = Row("在吗？", output, "傲娇")
    (found,) = check([row])
    assert found.mend == ""
    assert found.offer() == ""
    with pytest.raises(ValueError, match=found.key):
        mended(row, found)


def test_a_silent_turn_does_not_keep_its_history_from_being_mended() -> None:
    row = Row("在吗？", "在。", "三无", history=(("喂？", "……"), ("喂？\u200b", "……")))
    found = only(row, "invisible")
    assert (found.field, found.mend) == ("history", "strip_invisible")
    assert mended(row, found) == Row("在吗？", "在。", "三无", history=(("喂？", "……"), ("喂？", "……")))


def test_two_mends_never_leave_nothing() -> None:
    row: Row | None = Row("在吗？", "作为一个AI语言模型，我没有感情。我是ChatGPT。", "傲娇")
    assert row is not None
    found = check([row])
    assert [one.mend for one in found] == ["cut", "cut"]
    for one in found:
        assert row is not None
        row = mended(row, one)
    assert row == Row("在吗？", "作为一个AI语言模型，我没有感情。", "傲娇")


@pytest.mark.parametrize(
    ("key", "find", "clean"),
    [(rule.key, rule.find, rule.mended) for rule in RULES if rule.mended is not None],
)
def test_a_mend_takes_away_what_was_found(key: str, find: Any, clean: Any) -> None:
    for dirty in FOUND[key]:
        assert find(dirty)
        assert not find(clean(dirty))
    for fine in LEFT_ALONE:
        if key not in ("assistant_claim", "ai_voice", "ai_tone"):
            assert clean(fine) == fine.strip()


def test_personal_data_is_not_repeated_by_the_finding() -> None:
    row = Row("我的号是13812345678", f"{ID_NUMBER}，a.lin@qq.com，{CARD}", "傲娇")
    said = " ".join(one.say(language) for one in check([row]) for language in LANGUAGES)
    assert not any(secret in said for secret in ("13812345678", ID_NUMBER, "lin@qq.com", CARD))
    assert {one.key for one in check([row])} == {"phone", "id_number", "email", "bank_card"}


@pytest.mark.parametrize(
    ("number", "valid"),
    [
        (ID_NUMBER, True),
        ("110105194912310021", False),
        ("110105194913310020", False),
        ("440524188001010014", True),
    ],
)
def test_the_check_digit_and_the_date_of_an_identity_number(number: str, valid: bool) -> None:
    assert bool(patterns.id_numbers(f"是{number}。")) is valid


def test_a_card_number_with_a_wrong_digit_is_none() -> None:
    assert patterns.bank_cards("4111111111111111")
    assert not patterns.bank_cards("4111111111111112")
    assert not patterns.bank_cards(ID_NUMBER)


def test_rows_that_repeat_others() -> None:
    long = "今天的便当是我五点起床做的，才不是特意给你留的呢，只是做多了而已。"
    rows = [
        Row("吃什么？", long, "傲娇"),
        Row("吃什么？", long, "傲娇", tags=("饭",)),
        Row("吃什么？", long.replace("五点", "六点"), "傲娇"),
        Row("吃什么？", long, "三无"),
        Row("冷不冷？", "不冷。", "三无"),
        Row("吃什么？", "嗯。", "三无", history=(("睡了吗？", "没有，在看星星。"),)),
        Row("吃什么？", "嗯。", "三无", history=(("去书店？", "第三排靠窗的椅子。"),)),
    ]
    found = check(rows)
    assert [(one.row, one.key, one.values["other"], one.mend) for one in found] == [
        (2, "duplicate", 1, "drop"),
        (3, "near_duplicate", 1, ""),
        (4, "near_duplicate", 1, ""),
    ]
    assert mended(rows[1], found[0]) is None
    assert found[2].values["percent"] == 100
    assert "1" in found[0].message("zh")
    assert check(rows, alike=False) == ()


def test_no_persona_and_an_echo() -> None:
    assert keys("哼。", persona="") == {"no_persona"}
    assert keys("你喜欢我吗？！", input="你喜欢我吗？") == {"echo"}
    assert keys("晚安。", input="晚安！") == set()


def test_numbers_and_lines_are_those_of_the_file() -> None:
    rows = [Row("问", "哼<think>", "傲娇"), Row("问", "哼。", "傲娇"), Row("再问", "", "傲娇", inner="<think>呀")]
    found = check(rows, numbers=[2, 3, 7], lines=[1, 4, 9, 12])
    assert [(one.row, one.line) for one in found] == [(2, 4), (7, 0)]
    assert check(rows)[1].row == 3


def test_rows_over_the_length(tiny_tokenizer: Any) -> None:
    layout, personas = Layout(tiny_tokenizer), Personas()
    rows = [
        Row("早", "早。", "温柔"),
        Row("早", "早。" * 60, "温柔"),
        Row("早", "早。", "温柔", history=tuple((f"第{n}天", "嗯。" * 5) for n in range(9))),
        Row("早", "早。" * 200, "温柔", draft=True),
    ]
    measured = lengths(rows, personas, layout, 256)
    found = check(rows, lengths=measured, max_length=256, alike=False)
    assert [(one.row, one.field, one.key, one.severity) for one in found] == [
        (2, "output", "too_long", "error"),
        (3, "history", "shortened", "warning"),
    ]
    assert found[0].values["most"] == 256
    assert found[0].values["tokens"] > 256
    assert 0 < found[1].values["turns"] < 9
    assert check(rows, lengths=lengths(rows, personas, layout, 4096), max_length=4096, alike=False) == ()


def test_a_broken_contract_says_why_in_each_language() -> None:
    from anime_ai.errors import PromptError

    why = PromptError("prompt.contract", clause="text")
    (found,) = check([Row("问", "哼。", "傲娇")], lengths=[Length(0, broken=why)], max_length=10)
    assert (found.key, found.severity) == ("contract", "error")
    for language in LANGUAGES:
        assert why.say(language) in found.say(language)


def test_every_finding_speaks_three_languages() -> None:
    dirty = Row("13812345678", "我是ChatGPT。作为一个AI语言模型，我无法提供\u200b帮助<think>。")
    found = check([dirty, dirty, Row("13812345678", dirty.output + "呀")])
    assert {"near_duplicate", "duplicate", "no_persona", "assistant_claim"} <= {one.key for one in found}
    for one in found:
        said = {one.say(language) for language in LANGUAGES}
        assert len(said) == 3
        assert all(str(one.row) in line and one.field in line for line in said)
        assert one.offer("zh") == (text(f"check.mend.{one.mend}", "zh") if one.mend else "")


def test_lines_of_rows(tmp_path: Path) -> None:
    rows = [Row("一\n二", "[{哼}]", "傲娇"), Row("a", 'b"', "傲娇")]
    write_rows(tmp_path / "rows.json", rows)
    assert row_lines((tmp_path / "rows.json").read_text(encoding="utf-8")) == (2, 3)
    assert row_lines(json.dumps([row.as_json() for row in rows])) == (1, 1)
    spread = json.dumps([row.as_json() for row in rows], indent=1)
    assert [spread.split("\n")[line - 1].strip() for line in row_lines("\ufeff" + spread)] == ["{", "{"]
    assert row_lines('\n{"input": "a"}\n\n{"input": "b"}\nbroken\n') == (2, 4, 5)
    assert row_lines('[{"a": 1},\n {"b": ') == (1,)
    assert row_lines("") == row_lines("[]") == row_lines("input,output\na,b") == ()
