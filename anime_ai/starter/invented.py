"""Names and values of an invented world, drawn anew each time. Knows no sentences.

Names and numbers are drawn character by character, so that an answer has to be read and cannot be learned by heart.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from anime_ai.starter.words import FAMILY, GIVEN, common_characters, numeral

ANY = 0.2
"""Share of the names that are made of any common characters."""
_COMMON = common_characters()[:3755]


def of(signs: str, least: int, most: int) -> Callable[[random.Random], str]:
    return lambda chance: "".join(chance.choice(signs) for _ in range(chance.randint(least, most)))


_SOUND = "亚娅莉丽拉卡洛斯特恩米娜塔诺贝尔菲欧罗西蒙可多伊艾露琪希雅莱奥文森克维安吉桑德瑞法尼格"
_PLACE = "雾汐鸣沙青岚落星白鹭银杏赤枫潮月临云霜叶黑石晨曦琉璃孤帆翠微风眠断桥听雨长明朝露寒江望海回声玄武松涛彩虹镜花"
_THING = "星辉赤羽霜华夜莺琥珀流光苍炎白昼龙鳞月影时砂银铃幻蝶雷鸣碧海金穗暮色冰晶晨露青铜水纹"
_LEAD = "小阿老大"
_ROLES = "船长 骑士 医生 博士 侦探 公主 魔女 剑士 守卫 神父 队长 商人 修女 伯爵 王子 邮差".split()


def _person(chance: random.Random) -> str:
    way = chance.random()
    if way < 0.45:
        return chance.choice(FAMILY) + of(_COMMON if chance.random() < ANY else GIVEN, 1, 2)(chance)
    if way < 0.7:
        return of(_SOUND, 2, 4)(chance)
    if way < 0.8:
        return chance.choice(_LEAD) + of(GIVEN, 1, 1)(chance)
    if way < 0.86:
        return of(GIVEN, 2, 2)(chance)
    if way < 0.93:
        return chance.choice(_ROLES) + of(_SOUND, 2, 4)(chance)
    titles = ("老师", "博士", "婆婆", "学姐", "队长", "爷爷", "前辈", "店长")
    return chance.choice(FAMILY + GIVEN) + chance.choice(titles)


def _with(signs: str, ends: str, quoted: float = 0) -> Callable[[random.Random], str]:
    """A name before one of the `ends`; a share of them is a name in quotation marks."""

    def draw(chance: random.Random) -> str:
        name = of(_COMMON if chance.random() < ANY else signs, 1, 3)(chance)
        return f"“{name}”" if chance.random() < quoted else name + chance.choice(ends.split())

    return draw


_place = _with(
    _PLACE, "镇 村 岛 城 港 山 湖 谷 原 街 坡 寺 塔 森林 学院 车站 神社 海湾 高中 书店 咖啡馆 天文台 灯塔 公园"
)
_thing = _with(
    _THING,
    "剑 怀表 戒指 之书 水晶 号 列车 铃铛 面具 钥匙 之弓 项链 长枪 罗盘 手套 地图 宝石 之镜 斗篷 法杖 飞船 机甲 渡船",
    quoted=0.2,
)
_group = _with(
    _PLACE + _THING,
    "社 团 部 骑士团 剧团 商会 研究会 乐队 小队 同盟 剑社 学生会 工会 侦探社 俱乐部 门 教 派 公司 幼儿园 邮局",
    quoted=0.15,
)
_ship = _with(_PLACE + _THING, "号 丸 号列车 号飞船 号渡船 号潜艇 快线 夜车 号飞艇", quoted=0.4)
_animal = _with("毛团豆米花黑白黄糖雪墨年糕奶栗芝麻绒", "球 子 宝 丸 豆 爪 尾 崽 仔 咪 汪 点")


def _work(chance: random.Random) -> str:
    end = chance.choice(("", "的少女", "物语", "车站", "之歌", "日记", "与猫", "纪行"))
    name = of(_COMMON if chance.random() < ANY else _PLACE + _THING, 2, 3)(chance)
    return f"《{name}{end}》"


SUBJECTS: Mapping[str, Callable[[random.Random], str]] = {
    "人": _person,
    "地": _place,
    "物": _thing,
    "组织": _group,
    "作品": _work,
    "动物": _animal,
    "船": _ship,
}
SHARES = (38, 16, 14, 12, 10, 7, 3)
PRONOUNS: Mapping[str, tuple[str, ...]] = {
    "人": ("她", "他"),
    "地": ("那里", "这里"),
    "物": ("它",),
    "组织": ("他们", "这个组织"),
    "作品": ("这部作品", "它"),
    "动物": ("它",),
    "船": ("它",),
}


def _words(text: str) -> Callable[[random.Random], str]:
    words = text.split()
    return lambda chance: chance.choice(words)


def _number(most: int, chance: random.Random) -> str:
    """A number in Chinese or in figures."""
    number = chance.randint(1, chance.choice((12, 30, 99, most)))
    return numeral(number) if number < 1000 and chance.random() < 0.6 else str(number)


def amount(unit: str, chance: random.Random) -> str:
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
