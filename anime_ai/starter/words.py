"""Word tables that are computed, not written by hand. Knows no topics."""

from __future__ import annotations

from anime_ai.starter.grammar import Table

_DIGITS = "零一二三四五六七八九"

FAMILY = "林苏白沈陆顾秋叶江南宋许温唐纪姜闻夏程方洛云萧谢柳燕裴凌季孟韩乔莫桑贺容颜水黎楚安卫池桐雷岳简戚"
GIVEN = (
    "雪月夜晴雨星棠禾夕满念鱼川野棉桃歌灯雀舟岚汐澄屿砚笙柚枝遥澈鸢栀苒珂瑶珞璃瑾宁昭晏朔阳辰昀霁霖露萤蝶羽翎"
    "铃琴弦墨书言诺思忆初末微南北山海溪泉岩松竹梅兰杏橙柠茶糖米豆麦谷耳眠醒暖寒冬春夏秋悠远轻若如一小千百双"
)
"""What names are made of."""


def common_characters() -> str:
    """The 3,755 characters of GB 2312's first level, punctuation and kana."""
    first_level = [
        bytes((high, low)) for high in range(0xB0, 0xD8) for low in range(0xA1, 0xFF) if (high, low) < (0xD7, 0xFA)
    ]
    kana = "".join(map(chr, (*range(0x3041, 0x3094), *range(0x30A1, 0x30F7))))
    return b"".join(first_level).decode("gb2312") + "，。！？：；、…—～“”‘’《》（）【】「」『』·" + kana


def numeral(number: int) -> str:
    """`number` (0 to 999) in Chinese numerals."""
    if number < 10:
        return _DIGITS[number]
    if number < 20:
        return "十" + (_DIGITS[number % 10] if number % 10 else "")
    if number < 100:
        return _DIGITS[number // 10] + "十" + (_DIGITS[number % 10] if number % 10 else "")
    rest = number % 100
    low = "" if not rest else "零" + _DIGITS[rest] if rest < 10 else _DIGITS[rest // 10] + numeral(10 + rest % 10)[0:2]
    return _DIGITS[number // 100] + "百" + low


def computed() -> dict[str, Table]:
    """Sums and products of small numbers, weekdays and their neighbours, months and their seasons, names."""
    return {
        "算式": _sums(),
        "数字算式": _figures(),
        "星期": _weekdays(),
        "月份": _months(),
        "名字": _names(FAMILY, GIVEN),
        "人名": _names("小阿大老", "林明雨杰美宇玲凯南文哲乔强东北方圆芳刚伟静亮军红云飞虎龙兰梅" + GIVEN),
    }


def _names(first: str, second: str) -> Table:
    """Every name out of two characters, so that a name has to be read and cannot be learned by heart."""
    return tuple({"": left + right} for left in first for right in dict.fromkeys(second) if left != right)


def _sums() -> Table:
    rows = []
    for left in range(1, 11):
        for right in range(1, 11):
            rows.append((f"{numeral(left)}加{numeral(right)}", numeral(left + right)))
            if left > right:
                rows.append((f"{numeral(left)}减{numeral(right)}", numeral(left - right)))
            if left < 10 and right < 10:
                rows.append((f"{numeral(left)}乘{numeral(right)}", numeral(left * right)))
    return tuple({"": question, "得": result} for question, result in rows)


def _figures() -> Table:
    rows = []
    for left in range(1, 11):
        for right in range(1, 11):
            rows.append((f"{left}加{right}", left + right))
            rows.append((f"{left}+{right}", left + right))
            if left > right:
                rows.append((f"{left}减{right}", left - right))
                rows.append((f"{left}-{right}", left - right))
    return tuple({"": question, "得": str(result)} for question, result in rows)


def _weekdays() -> Table:
    names = "一二三四五六日"
    return tuple(
        {"": f"星期{name}", "明天": f"星期{names[(place + 1) % 7]}", "昨天": f"星期{names[place - 1]}"}
        for place, name in enumerate(names)
    )


def _months() -> Table:
    seasons = ["冬天", "冬天", *["春天"] * 3, *["夏天"] * 3, *["秋天"] * 3, "冬天"]
    return tuple(
        {"": f"{numeral(month)}月", "季节": season, "下": f"{numeral(month % 12 + 1)}月"}
        for month, season in enumerate(seasons, 1)
    )
