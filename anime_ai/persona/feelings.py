"""The feelings that a face can show, and the names by which cards and drawings call them. Knows no picture.

SillyTavern names its sprites after the labels of its English classifier (GoEmotions, Demszky et al. 2020); cards of
Character Card V3 call their assets of the type `emotion` whatever their authors like.
"""

from __future__ import annotations

import re
import unicodedata

FEELINGS = ("calm", "happy", "caring", "shy", "angry", "sad", "surprised", "smug")
CALM = FEELINGS[0]
"""What a face shows where nothing is to be told."""
NAMES: dict[str, str] = {
    "calm": "neutral calm normal default realization 平静 普通 默认 中立 无表情 平常 真顔 通常",
    "happy": "joy amusement excitement happy happiness smile smiling laugh laughing grin fun optimism approval "
    "开心 高兴 喜悦 快乐 微笑 大笑 兴奋 喜び 笑顔 嬉しい",
    "caring": "caring love gratitude relief admiration gentle kind tender affection "
    "温柔 关心 感动 爱 喜欢 感谢 安心 優しい 愛",
    "shy": "embarrassment nervousness desire shy blush blushing embarrassed flustered "
    "害羞 脸红 羞涩 不好意思 紧张 照れ 恥ずかしい",
    "angry": "anger annoyance disapproval disgust angry mad annoyed rage pout pouting "
    "生气 愤怒 不满 嫌弃 厌恶 赌气 怒り 怒",
    "sad": "sadness grief disappointment remorse fear sad cry crying tears scared worried "
    "难过 伤心 悲伤 哭泣 哭 失望 后悔 害怕 悲しい 泣き",
    "surprised": "surprise confusion curiosity surprised shocked shock confused wow 惊讶 吃惊 震惊 困惑 好奇 驚き",
    "smug": "pride smug proud confident teasing mischievous wink smirk 得意 骄傲 自信 坏笑 调皮 ドヤ顔",
}
"""Names of each feeling, SillyTavern's first."""
DRAWN: dict[str, str] = {
    "calm": "expressionless",
    "happy": "laughing",
    "caring": "closed_eyes",
    "shy": "embarrassed",
    "angry": "angry",
    "sad": "sad",
    "surprised": "surprised",
    "smug": "smug",
}
"""The expression of `anime_ai.starter.portraits` that shows a feeling."""
DRAWN_OF: dict[str, dict[str, str]] = {
    "genki": {"calm": "smile"},
    "gentle": {"calm": "smile"},
    "kuudere": {"happy": "smile"},
}
"""Who shows one otherwise, by the persona's id."""
_BY_NAME = {name: feeling for feeling, names in NAMES.items() for name in (feeling, *names.split())}


def feeling_named(name: str) -> str:
    """The feeling that a sprite's name means, "" for none: `joy`, `Joy.png`, `joy-2`, `小花_开心`."""
    folded = unicodedata.normalize("NFKC", name).lower().strip()
    stem = re.sub(r"\.(png|jpe?g|webp|gif|apng)$", "", folded.rsplit("/", 1)[-1])
    if stem in _BY_NAME:
        return _BY_NAME[stem]
    parts = [re.sub(r"\d+$", "", part) for part in re.split(r"[\s_\-.()\[\]]+", stem)]
    return next((_BY_NAME[part] for part in parts[::-1] if part in _BY_NAME), "")


def drawn(persona_id: str, feeling: str) -> str:
    """The expression by which a persona that ships shows a feeling."""
    return DRAWN_OF.get(persona_id, {}).get(feeling, DRAWN[feeling])
