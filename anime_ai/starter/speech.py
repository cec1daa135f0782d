"""How people type what a grammar says neatly: other words, something before and behind, no stop. Knows no topics."""

from __future__ import annotations

import random
import re

# Spoken for written; both stay on topic, and whatever an answer has to repeat is in neither column.
SPOKEN: dict[str, tuple[str, ...]] = {
    "为什么": ("为啥", "怎么", "干嘛"),
    "什么": ("啥",),
    "怎么样": ("咋样", "如何", "好不好"),
    "怎么办": ("咋办", "该怎么办", "怎么办才好", "要怎么弄"),
    "怎么": ("咋", "怎样", "如何", "该怎么", "要怎么"),
    "知道": ("晓得", "清楚"),
    "今天": ("今儿", "今日"),
    "明天": ("明儿", "明日"),
    "星期": ("礼拜", "周"),
    "哪里": ("哪儿", "什么地方", "啥地方"),
    "推荐": ("介绍", "安利", "说"),
    "动漫": ("番", "动画", "番剧", "动画片"),
    "作业": ("功课", "习题"),
    "考试": ("测验", "考试", "期中考试", "期末考试"),
    "等于": ("是", "得"),
    "多少": ("多少", "几"),
    "等于几": ("等于多少", "得几", "是几", "得多少", "的结果是多少"),
    "英文": ("英语", "英文单词", "英语单词"),
    "用英语怎么说": ("翻译成英语是什么", "英语怎么念", "翻成英文怎么说", "英语里叫什么"),
    "的首都是哪里": ("首都是哪儿", "的首都在哪", "首都叫啥", "首都是哪座城市"),
    "反义词": ("相反的词", "反义的词"),
    "好难过": ("难过得很", "心里很不好受", "难过死了"),
    "开心": ("快乐", "高兴", "乐"),
    "吃什么": ("吃啥", "吃点什么", "吃点啥"),
    "喜欢": ("爱", "中意"),
    "朋友": ("朋友", "好朋友", "哥们", "闺蜜"),
    "老师": ("班主任", "老师"),
    "特别": ("超", "格外", "贼", "巨"),
    "非常": ("相当", "十分", "超级"),
    "有点": ("有些", "有一点", "稍微有点"),
    "可以": ("能",),
    "告诉我": ("跟我说说", "讲讲", "说说"),
    "讲个": ("说个", "来个", "讲一个", "说一个"),
    "一下": ("下",),
    "现在": ("这会儿", "眼下"),
    "刚刚": ("刚才", "方才", "刚"),
    "没有": ("没",),
    "弄丢": ("搞丢", "弄不见"),
    "不见了": ("没了", "找不着了"),
    "睡不着": ("睡不着觉", "没法入睡", "怎么都睡不着"),
    "名字": ("名字", "大名", "姓名"),
    "谢谢": ("多谢", "谢谢", "太谢谢"),
    "妈妈": ("老妈", "我妈", "妈妈"),
    "爸爸": ("老爸", "我爸", "爸爸"),
}

BEFORE = tuple(
    f"{word}，"
    for word in """
嗯 那个 话说 对了 请问 我问你 哎 诶 嘿 说起来 啊 那 唉 哎呀 你说 说真的
不知道为什么 你知道吗 想问一下 问你个事 跟你说 其实 刚下课 刚到家 在路上呢 趁现在有空
打扰一下 老实说 突然想到 我想知道 呜呜 哈哈 你好 喂 天哪 糟了 完了 讲真 麻烦问下
我又来了 能不能告诉我
""".split()
)
BEHIND = tuple(
    f"，{word}"
    for word in """
唉 真是的 你说呢 哈哈 怎么办呀 说说看 帮帮我 你怎么看 谢谢 真的 好不好 救命 哎
我该怎么办 你懂吗 快告诉我 我想听听你的看法 嘿嘿 行吗
""".split()
)
ENDS = {
    "。": ("", "", "", "。", "！", "啊", "…", "……", "~", "呢。", "哦", "嘛", "诶"),
    "？": ("", "", "", "？", "?", "呀？", "？？", "啊？", "呢", "来着", "呀", "嘞", "哇？"),
}
_PARTICLES = "吗呢啊呀吧了的啦哦嘛诶哇"
_TITLE = re.compile("《[^》]*》|“[^”]*”")


def rough(said: str, chance: random.Random) -> str:
    """`said` as somebody might type it. Titles and quoted words stay."""
    if len(said) > 3:
        if chance.random() < 0.3:
            said = _spoken(said, chance)
        if chance.random() < 0.15:
            said = chance.choice(BEFORE) + said
        if chance.random() < 0.06:
            said = said.rstrip("。？！") + chance.choice(BEHIND) + said[-1]
    if said[-1] in ENDS and chance.random() < 0.5:
        end = chance.choice(ENDS[said[-1]])
        if end and end[0] in _PARTICLES and said[-2] in _PARTICLES:
            end = ""
        said = said[:-1] + end
    return said


def _spoken(said: str, chance: random.Random) -> str:
    """One or two words of `said` replaced."""
    kept = " ".join(_TITLE.findall(said))
    there = [word for word in SPOKEN if word in said and word not in kept]
    for word in chance.sample(there, min(len(there), chance.choice((1, 1, 2)))):
        said = said.replace(word, chance.choice(SPOKEN[word]), 1)
    return said
