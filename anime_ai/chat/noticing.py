"""What a message says about the person who wrote it, by the words that such things are said with. Knows no model.

A few turns of phrase of Chinese and English, read clause by clause. It misses much; what it finds was said so. What is
asked, supposed, denied or told of others is no fact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MOST_VALUE = 20
"""Characters of what somebody is called, likes or lives in; longer is a story, not a fact."""

_SENTENCE = re.compile(r"[^。！？!?\n…~～；;]+[。！？!?…~～；;]*")
_STOP = re.compile(r"\.(?=\s|$)")
"""The end of an English sentence, not the point in a number."""
_CLAUSE = re.compile(r"[^，,、]+")
_ASKS = re.compile(r"[？?]|吗|呢$|什么|哪|谁|怎么|几|多少|是不是|有没有|对不对|会不会|好不好")
_UNSURE = re.compile(
    r"如果|要是|假如|假装|就当|以前|曾经|本来|可能|好像|梦见|梦到|不叫|没有?养|不住|别叫|他说|她说|他们说"
)
_OTHERS = re.compile(r"^(你|您|他|她|它|咱|这|那|自己|外卖|车|人|救护|的|了|过|得|不|是)")
_TAIL = re.compile(r"(吧|啦|哦|喔|呀|啊|哈|呢|了|就好|就行|就可以|的哦|的说|而已|来着)+$")
_WORK = (
    "学生|大学生|高中生|初中生|研究生|博士生|老师|程序员|医生|护士|设计师|工程师|画师|作家|律师|司机|厨师|公务员|"
    "会计|上班族|插画师|翻译|记者|演员|歌手|社畜|自由职业者|店员|编辑|警察|军人|农民|工人"
)
_VERY = r"(?:最|很|好|特别|超级?|也|真的|一直|从小就?|非常|比较|还是)*"
_I = r"(?:^|(?<=因为)|(?<=其实)|(?<=对了))我"

_SAID: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"{_I}(?:叫做?|的名字(?:叫做?|是)|名叫)(?P<value>[\w·]{{1,12}})$"), "用户叫{value}"),
    (re.compile(r"^(?:你?可以|以后|就)?叫我(?P<value>[\w·]{1,12})$"), "用户叫{value}"),
    (re.compile(rf"{_I}{_VERY}(?:不喜欢|不爱|讨厌|受不了)(?P<value>.+)$"), "用户不喜欢{value}"),
    (re.compile(rf"{_I}{_VERY}(?:喜欢|爱)吃(?P<value>.+)$"), "用户喜欢吃{value}"),
    (re.compile(rf"{_I}{_VERY}(?:喜欢|爱)(?P<value>.+)$"), "用户喜欢{value}"),
    (re.compile(rf"{_I}(?:现在|目前|一直)?(?:住在|家在|家住在?|人在)(?P<value>.+)$"), "用户住在{value}"),
    (re.compile(rf"{_I}(?:家里?|自己)?(?:养了|养着|有)(?P<value>[一两三四五]?[只条匹].+)$"), "用户养了{value}"),
    (re.compile(rf"{_I}(?:今年|已经)?(?P<value>[1-9]\d?|[一二三四五六七八九十]{{1,3}})岁$"), "用户{value}岁"),
    (re.compile(rf"{_I}的?生日(?:是|在)(?P<value>.+)$"), "用户的生日是{value}"),
    (re.compile(rf"{_I}是(?:一名|一个|一位|个|名)?(?P<value>\w{{0,8}}?(?:{_WORK}))$"), "用户是{value}"),
    (re.compile(rf"{_I}对(?P<value>.+)过敏$"), "用户对{value}过敏"),
    (re.compile(r"(?i)^(?:hi|hello|hey)?[ ,]*my name is (?P<value>[\w .'-]{1,30})$"), "用户叫{value}"),
    (re.compile(r"(?i)^i live in (?P<value>[\w .'-]{1,30})$"), "用户住在{value}"),
    (re.compile(r"(?i)^i (?:really )?(?:like|love) (?P<value>[\w .'-]{1,40})$"), "用户喜欢{value}"),
)


def unsure(said: str) -> bool:
    """Whether something is asked, supposed or told of the past, not said."""
    return bool(_ASKS.search(said) or _UNSURE.search(said))


def notice(said: str) -> list[str]:
    """Facts about whoever said it, in the words in which the starter was taught facts; each once, in order."""
    found = dict.fromkeys(fact for clause in _clauses(said) for fact in [_fact(clause)] if fact)
    return list(found)


def _clauses(said: str) -> Iterator[str]:
    """Clauses that tell something; one without a subject goes on with that of the clause before it."""
    for sentence in _SENTENCE.findall(_STOP.sub("\n", said)):
        if unsure(sentence):
            continue
        about_me = False
        for clause in _CLAUSE.findall(sentence):
            bare = _TAIL.sub("", clause.strip().rstrip("。！？!?…~～；; .")).strip()
            about_me = about_me or bare.startswith("我")
            goes_on = about_me and re.match(rf"{_VERY}(?:住在|喜欢|爱|讨厌|不喜欢|养了|今年)", bare)
            yield f"我{bare}" if goes_on else bare


def _fact(clause: str) -> str:
    for pattern, fact in _SAID:
        match = pattern.search(clause)
        if match is None:
            continue
        value = match["value"].strip(" 「」“”\"'")
        if not value or len(value) > MOST_VALUE or _OTHERS.match(value):
            return ""
        return fact.format(value=value)
    return ""
