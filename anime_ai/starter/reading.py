"""Passages of an invented world and questions about them, whose answers are to be copied. Knows no tokens.

`phrases/reading/*.txt` holds relations; a line's first sign says what it is:

    # 生日 人 日期           a relation: its name, the kind of its subject, the kind of its value
    ~ 打雷                   a value of its own, where the kind is 短语
    = {主}的生日是{值}。     a statement
    ? {主}哪天过生日         a question that it answers

Names and numbers are drawn character by character, so that an answer has to be read and cannot be learned by heart.
Some relations are drawn so too: what their words mean nobody knows, so that a question has to be found again in the
passage, which is what helps where a question is about something that no relation here is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

from anime_ai.starter.grammar import PHRASES, choose
from anime_ai.starter.words import FAMILY, GIVEN, common_characters, numeral

READING = PHRASES / "reading"
PHRASE, AMOUNT = "短语", "数量"
"""Kinds of values: the relation's own, and a number before a unit (数量:岁)."""
FOUND = ("资料里写着：{}。", "资料里写着：{}。", "根据资料，是{}。")
NOT_TOLD = ("资料里没有写这个。", "资料里没有提到，我不知道。")
VOICED: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "tsundere": (
        (
            "{}。资料里写得清清楚楚，自己看啊。",
            "是{}啦。……下次自己翻，我可不是字典。",
            "资料里写着{}。我只是碰巧记得！",
        ),
        ("资料里没写这个。别看我，我又不会变出来。", "没有写啦。我翻了两遍……才不是为你翻的。"),
    ),
    "genki": (
        ("找到啦，是{}！", "资料里写着呢，{}！快夸我眼睛尖！", "{}！我一眼就看到啦！"),
        ("翻了个底朝天，资料里没有写这个！", "没有写哦！我可不乱编，要不再找一份资料！"),
    ),
    "kuudere": (
        ("资料写的是{}。", "{}。有记载。", "查到了。{}。"),
        ("资料里没有写。", "没有记载。不编。"),
    ),
    "gentle": (
        ("我看到了，写的是{}呢。", "资料里说是{}，我念给你听了。", "是{}，就在这一段里，不着急。"),
        ("我仔细看过了，资料里没有写这个呢。", "这份资料里没有提到，要不要再找一份看看？"),
    ),
}
"""What a persona answers where the passage says it, and where it does not."""


@dataclass
class Relation:
    """Something that can be said of a subject, and asked."""

    name: str
    subject: str
    value: str
    own: list[str] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Fact:
    """A relation between two texts."""

    relation: Relation
    subject: str
    value: str


@dataclass(frozen=True)
class Reading:
    """Some passages and what is asked about them, each question with its answer ("" where they do not say)."""

    passages: tuple[str, ...]
    asked: tuple[tuple[str, str], ...]


def read(text: str) -> list[Relation]:
    """The relations of a text. Raises ValueError that cites a line it cannot read or a relation that lacks a part."""
    found: list[Relation] = []
    for line in text.splitlines():
        sign, rest = line[:1], line[1:].strip()
        if not line.strip() or line.startswith("//"):
            continue
        if sign == "#":
            parts = rest.split()
            if len(parts) != 3:
                raise ValueError(line)
            found.append(Relation(parts[0], parts[1], parts[2]))
            continue
        kept = {"~": "own", "=": "statements", "?": "questions"}.get(sign)
        wrong = (sign == "=" and rest.count("{主}") * rest.count("{值}") != 1) or (sign == "?" and "{主}" not in rest)
        if not found or kept is None or wrong:
            raise ValueError(line)
        getattr(found[-1], kept).append(rest)
    for relation in found:
        kind = relation.value.partition(":")[0]
        known = bool(relation.own) if kind == PHRASE else kind == AMOUNT or kind in VALUES
        if not known or relation.subject not in SUBJECTS or not relation.statements or not relation.questions:
            raise ValueError(relation.name)
    return found


@cache
def shipped() -> tuple[Relation, ...]:
    """The relations under `phrases/reading/`."""
    return tuple(one for file in sorted(READING.glob("*.txt")) for one in read(file.read_text(encoding="utf-8")))


def one_fact(chance: random.Random) -> Reading:
    """One passage of one or two statements, and a question about each: the first lesson."""
    facts = _facts(chance, 1, chance.randint(1, 2))
    return Reading((_passage(facts, chance),), tuple(_asked(fact, chance) for fact in chance.sample(facts, len(facts))))


def several(chance: random.Random) -> Reading:
    """One to three passages, each about one or two subjects; a quarter of the questions has no answer in them."""
    groups = [_facts(chance, subjects, chance.randint(1, 4)) for subjects in chance.choices((1, 2), (70, 30), k=3)]
    groups = groups[: chance.choices((1, 2, 3), (50, 30, 20))[0]]
    facts = [fact for group in groups for fact in group]
    # What is read once is asked about several times: the passage is what costs tokens.
    chance.shuffle(facts)
    asked = []
    for fact in facts[: chance.randint(1, 5)]:
        asked.append(_missing(facts, chance) if chance.random() < 0.27 else _asked(fact, chance))
    return Reading(tuple(_passage(group, chance) for group in groups), tuple(asked))


def answer(value: str, chance: random.Random, voice: str = "") -> str:
    """How `value` is told, or that the passages do not say it."""
    found, missing = VOICED[voice] if voice else (FOUND, NOT_TOLD)
    return chance.choice(found).format(value) if value else chance.choice(missing)


def _facts(chance: random.Random, subjects: int, each: int) -> list[Fact]:
    """Facts about some subjects of one kind, no relation twice for one subject."""
    kind = chance.choices(list(SUBJECTS), _SHARES)[0]
    relations = [one for one in shipped() if one.subject == kind]
    facts = []
    for _ in range(subjects):
        subject = SUBJECTS[kind](chance)
        for known in chance.sample(relations, min(each, len(relations))):
            relation = _invented(kind, chance) if chance.random() < INVENTED else known
            facts.append(Fact(relation, subject, _value(relation, chance)))
    return facts


def _invented(kind: str, chance: random.Random) -> Relation:
    """A relation whose word and value are characters without sense."""
    word, value = _of(COMMON, 1, 3)(chance), _of(COMMON, 1, 6)(chance)
    statements = [text.replace("{词}", word) for text in SENSELESS]
    questions = [text.replace("{词}", word) for text in SENSELESS_ASKED]
    return Relation(word, kind, PHRASE, [value], statements, questions)


def _value(relation: Relation, chance: random.Random) -> str:
    kind, _, unit = relation.value.partition(":")
    if kind == PHRASE:
        return chance.choice(relation.own)
    return _amount(unit, chance) if kind == AMOUNT else VALUES[kind](chance)


def _passage(facts: list[Fact], chance: random.Random) -> str:
    """Statements one behind the other; a subject that was just named may be left to a pronoun."""
    sentences: list[str] = []
    named = ""
    for fact in facts:
        text = choose(chance.choice(fact.relation.statements), chance)
        subject = fact.subject
        if subject == named and text.startswith("{主}") and chance.random() < 0.5:
            subject = chance.choice(_PRONOUNS[fact.relation.subject])
        sentences.append(text.replace("{主}", subject).replace("{值}", fact.value))
        named = fact.subject
    if chance.random() < 0.3:
        sentences.insert(chance.randint(0, len(sentences)), chance.choice(ASIDES))
    head = f"{named}\n" if chance.random() < 0.15 else ""
    return head + "".join(sentences)


def _asked(fact: Fact, chance: random.Random) -> tuple[str, str]:
    return _question(fact.relation, fact.subject, chance), fact.value


def _missing(facts: list[Fact], chance: random.Random) -> tuple[str, str]:
    """A question that no fact answers: another thing about a subject, or something about somebody else."""
    fact = chance.choice(facts)
    said = {(one.relation.name, one.subject) for one in facts}
    if chance.random() < 0.6:
        others = [
            one for one in shipped() if one.subject == fact.relation.subject and (one.name, fact.subject) not in said
        ]
        asked = _invented(fact.relation.subject, chance) if chance.random() < INVENTED else chance.choice(others)
        return _question(asked, fact.subject, chance), ""
    stranger = SUBJECTS[fact.relation.subject](chance)
    return _question(fact.relation, stranger, chance), ""


def _question(relation: Relation, subject: str, chance: random.Random) -> str:
    text = choose(chance.choice(relation.questions), chance).replace("{主}", subject)
    return text + chance.choice(("？", "？", "？", "", "?", "呢？" if text[-1] not in "呢吗" else "？"))


# Names and values

INVENTED = 0.2
"""Share of the relations that are drawn character by character."""
COMMON = common_characters()
SENSELESS = (
    "{主}的{词}是{值}。",
    "{主}的{词}，是{值}。",
    "{值}是{主}的{词}。",
    "说到{词}，{主}会想起{值}。",
    "{主}总在{词}{值}。",
    "{主}{词}了{值}。",
    "关于{词}，{主}选的是{值}。",
    "{主}最有名的是{词}，也就是{值}。",
    "提起{主}的{词}，大家都说是{值}。",
)
SENSELESS_ASKED = (
    "{主}的{词}是什么",
    "什么是{主}的{词}",
    "{主}{词}什么",
    "{主}{词}了什么",
    "说到{词}，{主}会想起什么",
    "你知道{主}的{词}吗",
    "关于{主}的{词}，写了什么",
)


def _of(signs: str, least: int, most: int) -> Callable[[random.Random], str]:
    return lambda chance: "".join(chance.choice(signs) for _ in range(chance.randint(least, most)))


_SOUND = "亚娅莉丽拉卡洛斯特恩米娜塔诺贝尔菲欧罗西蒙可多伊艾露琪希雅莱奥文森克维安吉桑德瑞法尼格"
_PLACE = "雾汐鸣沙青岚落星白鹭银杏赤枫潮月临云霜叶黑石晨曦琉璃孤帆翠微风眠断桥听雨长明朝露寒江望海回声玄武松涛彩虹镜花"
_THING = "星辉赤羽霜华夜莺琥珀流光苍炎白昼龙鳞月影时砂银铃幻蝶雷鸣碧海金穗暮色冰晶晨露青铜水纹"
_LEAD = "小阿老大"


def _person(chance: random.Random) -> str:
    way = chance.random()
    if way < 0.45:
        return chance.choice(FAMILY) + _of(GIVEN, 1, 2)(chance)
    if way < 0.7:
        return _of(_SOUND, 2, 4)(chance)
    if way < 0.8:
        return chance.choice(_LEAD) + _of(GIVEN, 1, 1)(chance)
    if way < 0.9:
        return _of(GIVEN, 2, 2)(chance)
    titles = ("老师", "博士", "婆婆", "学姐", "队长", "爷爷", "前辈", "店长")
    return chance.choice(FAMILY + GIVEN) + chance.choice(titles)


def _with(signs: str, ends: str) -> Callable[[random.Random], str]:
    return lambda chance: _of(signs, 1, 3)(chance) + chance.choice(ends.split())


_place = _with(
    _PLACE, "镇 村 岛 城 港 山 湖 谷 原 街 坡 寺 塔 森林 学院 车站 神社 海湾 高中 书店 咖啡馆 天文台 灯塔 公园"
)
_thing = _with(
    _THING, "剑 怀表 戒指 之书 水晶 号 列车 铃铛 面具 钥匙 之弓 项链 长枪 罗盘 手套 地图 宝石 之镜 斗篷 法杖 飞船"
)
_group = _with(_PLACE + _THING, "社 团 部 骑士团 剧团 商会 研究会 乐队 小队 同盟 剑社 学生会 工会 侦探社 俱乐部")
_animal = _with("毛团豆米花黑白黄糖雪墨年糕奶栗芝麻绒", "球 子 宝 丸 豆 爪 尾 崽 仔 咪 汪 点")


def _work(chance: random.Random) -> str:
    end = chance.choice(("", "的少女", "物语", "车站", "之歌", "日记", "与猫", "纪行"))
    return f"《{_of(_PLACE + _THING, 2, 3)(chance)}{end}》"


SUBJECTS: Mapping[str, Callable[[random.Random], str]] = {
    "人": _person,
    "地": _place,
    "物": _thing,
    "组织": _group,
    "作品": _work,
    "动物": _animal,
}
_SHARES = (40, 16, 14, 12, 10, 8)
_PRONOUNS = {
    "人": ("她", "他"),
    "地": ("那里", "这里"),
    "物": ("它",),
    "组织": ("他们", "这个组织"),
    "作品": ("这部作品", "它"),
    "动物": ("它",),
}


def _words(text: str) -> Callable[[random.Random], str]:
    words = text.split()
    return lambda chance: chance.choice(words)


def _number(most: int, chance: random.Random) -> str:
    """A number in Chinese or in figures."""
    number = chance.randint(1, chance.choice((12, 30, 99, most)))
    return numeral(number) if number < 1000 and chance.random() < 0.6 else str(number)


def _amount(unit: str, chance: random.Random) -> str:
    number = _number(9999 if unit in ("元", "人", "枚", "本", "公里", "米") else 400, chance)
    return ("两" if number == "二" else number) + unit


def _date(chance: random.Random) -> str:
    month, day = chance.randint(1, 12), chance.randint(1, 30)
    return f"{numeral(month)}月{numeral(day)}日" if chance.random() < 0.65 else f"{month}月{day}日"


def _hour(chance: random.Random) -> str:
    part = chance.choice(("早上", "上午", "下午", "傍晚", "晚上", "凌晨", ""))
    hour = chance.randint(1, 12)
    return (
        part + (numeral(hour) if hour != 2 else "两") + "点" + chance.choice(("", "", "半", "一刻", "四十分", "零五分"))
    )


def _year(chance: random.Random) -> str:
    if chance.random() < 0.5:
        return f"{chance.randint(1900, 2199)}年"
    return f"{chance.choice(('星历', '云历', '新历', '银河历', '王国历', '潮历'))}{_number(999, chance)}年"


VALUES: Mapping[str, Callable[[random.Random], str]] = {
    "人名": _person,
    "地名": _place,
    "物名": _thing,
    "组织名": _group,
    "作品名": _work,
    "日期": _date,
    "时刻": _hour,
    "年份": _year,
    "星期": lambda chance: chance.choice(("星期", "周")) + chance.choice("一二三四五六日"),
    "颜色": _words("红色 蓝色 绿色 白色 黑色 黄色 紫色 粉色 银色 金色 灰色 橙色 青色 棕色 深蓝色 浅绿色 酒红色 米白色"),
    "食物": _words(
        "草莓大福 咖喱饭 鲷鱼烧 荞麦面 烤红薯 味噌汤 蜂蜜蛋糕 梅子饭团 炸鸡 杏仁豆腐 章鱼烧 糖炒栗子 牛肉面 红豆汤 "
        "芝士焗饭 桂花糕 酸辣粉 小笼包 布丁 苹果派 抹茶冰淇淋 烤鱼 玉米浓汤 葱油饼 柠檬挞 鸡蛋卷 生煎 水信玄饼"
    ),
    "动物": _words("猫 狗 兔子 乌鸦 狐狸 仓鼠 白鹤 海豚 乌龟 猫头鹰 松鼠 刺猬 鹦鹉 蜥蜴 金鱼 鹿 狼 熊 燕子 水獭"),
    "职业": _words(
        "医生 画家 侦探 修表匠 灯塔看守人 面包师 领航员 巫女 图书管理员 铁匠 邮差 天文学家 飞行员 园丁 渔夫 剑士 "
        "药剂师 小说家 机械师 歌手 占卜师 老师 厨师 考古学家 摄影师 裁缝"
    ),
    "科目": _words("数学 语文 英语 物理 化学 历史 地理 生物 音乐 美术 体育 天文"),
    "运动": _words("游泳 击剑 射箭 篮球 排球 网球 滑冰 攀岩 长跑 柔道 羽毛球 乒乓球 骑马 滑板"),
    "乐器": _words("钢琴 小提琴 长笛 吉他 贝斯 鼓 古筝 口琴 竖琴 萨克斯 大提琴 三味线 二胡"),
    "花": _words("樱花 海棠 向日葵 紫阳花 铃兰 山茶 百合 薰衣草 栀子花 玫瑰 彼岸花 桔梗 雏菊 梅花"),
    "天气": _words("下雨 下雪 起雾 刮风 打雷 晴天 阴天 下冰雹 起沙尘"),
}
ASIDES = tuple(
    """
据说知道这件事的人并不多。
那年的冬天格外冷。
很多读者都喜欢这一段。
这件事后来被写进了故事里。
街上的人都这么说。
当时谁也没有放在心上。
窗外的风铃响个不停。
这是第一卷里的内容。
大家对此议论纷纷。
老人们提起来总是笑。
海风一直吹到傍晚。
具体的原因没有人知道。
这一集播出后很受欢迎。
路口的灯亮了一整夜。
""".split()
)
