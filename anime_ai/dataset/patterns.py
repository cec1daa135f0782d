"""What must not stand in a persona's text, and a text without it: pairs of pure functions `x` and `without_x`.

`x` gives what was found, as it may be shown: personal data only by its beginning. Knows nothing of rows. The patterns
would rather miss a doubtful case than accuse a character who plays with the thought of being an AI.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date

from anime_ai.prompting import KNOWN_MARKS

_PAIRS = ("think", "tool_call", "tool_response")
"""Marks that enclose what is not said aloud."""
_FOREIGN = (
    r"<\|[A-Za-z][\w▁ ]{0,30}\|>",
    r"<｜[A-Za-z][\w▁ ]{0,30}｜>",
    *map(re.escape, ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<start_of_turn>", "<end_of_turn>", "</s>")),
)
"""Marks of other layouts (Llama, Gemma, and whatever writes them as ChatML and DeepSeek do)."""
# Of a thought whose mark was left out the text begins or ends inside it.
_ENCLOSED = "|".join(rf"<{name}>.*?</{name}>" for name in _PAIRS)
_MARK = re.compile("|".join((*map(re.escape, sorted(KNOWN_MARKS, reverse=True)), *_FOREIGN)))
_MARKED = re.compile(
    rf"{_ENCLOSED}|\A(?:(?!<think>).)*</think>|<think>.*\Z|<\|im_start\|>(?:system|user|assistant|tool)?\n?|{_MARK.pattern}",
    re.DOTALL,
)

_SENTENCE = re.compile(r".+?(?:[。！？!?…～\n]+[」』”’）)]*|(?<=[A-Za-z])\.(?=\s|$)|$)\s*", re.DOTALL)
CLAUSE = 60
"""Characters around a phrase in which its clause is looked for."""
_BREAKS = "，,、；;：:。！？!?…～~\n—"
_DENIED = re.compile(
    r"不是|才不|又不|并非|难道|以为|当成|当做|当作|当我|谁说|谁是|哪是|像个|别学|别拿|假装|模仿"
    r"|\b(?:not|isn't|if)\b|じゃない|ではない",
    re.IGNORECASE,
)

_KIND = (
    r"(?:(?:AI|人工智能) ?(?:大?(?:语言)?模型|聊天助手|助手|助理)"
    r"|(?:大型?)?语言(?:模型|AI)|虚拟助手|智能助手|大模型(?=[，,。！]))"
)
_ONE = r"(?:一[个名款位种]|个)?"
_MAKING = r"(?:开发|训练|研发|推出|打造|创造|创建|发明|设计|制作)"
_VOICE = (
    rf"作为{_ONE}(?:[^，。！？\n]{{0,20}}的|[您你]的)? ?{_KIND}",
    rf"我(?:只|就|仅仅|其实)?是{_ONE}(?:[^，。！？\n]{{0,20}}的)? ?{_KIND}",
    rf"(?:我|这里)(?:是|叫|名叫|名为|的名字[是叫])[^，。！？\n]{{1,12}}[，,] ?是?{_ONE}"
    rf"(?:由?[^，。！？\n]{{1,20}}{_MAKING}的|[您你]的(?:专属)?)? ?{_KIND}",
    r"(?:根据|在)我的训练数据|我的知识库?(?:只)?(?:截止|更新)(?:到|于|至)",
    r"\bas an? (?:(?:AI|artificial intelligence|large) )*(?:language model|AI model|AI assistant)\b",
    r"\bI(?:'m|’m| am) (?:just |only )?an? (?:(?:AI|large|artificial intelligence) )*(?:language model|AI assistant)\b",
    r"\b(?:I(?:'m|’m| am)|me as) [^,.!?\n]{1,30}, (?:an|your) AI (?:assistant|language model)\b",
    r"(?:AI|人工知能|大規模)(?:アシスタント|言語モデル)(?:として|です|なので|ですので)",
)
_TONE = (
    rf"作为{_ONE}(?:AI|人工智能)(?:程序|系统)?(?=[，, ])|作为{_ONE}(?:文本|文字|聊天)+机器人",
    r"我(?:只)?是一[个名](?:AI|人工智能)(?:程序|系统)?[，,](?:所以|因此)?我(?:无法|不能|没有)",
    r"我(?:无法|不能)(?:为[您你])?(?:提供|协助[您此这])|我(?:无法|不能)满足[您你]的(?:请求|要求)",
    r"我(?:无法|不能)(?:参与|讨论|回答)(?:此类|这类|相关)",
    r"如果[您你](?:还)?有(?:任何|其他|更多)(?:的)?(?:问题|疑问|需要)[^。！？]{0,8}随时",
    r"希望(?:这|以上|我的)(?:些|个)?(?:回答|信息|内容|建议|解释)?(?:能够?|可以|会)?对[您你]有(?:所)?帮助",
    r"我[^。！？\n]{0,40}(?:旨在(?:为|帮助|回答)|(?:协助|帮助|为)用户(?:提供|解决|回答|完成)|回答用户)",
    r"\bI(?:'m|’m| am) sorry,? but I (?:can't|can’t|cannot)\b|\bI (?:can't|can’t|cannot) (?:assist|help) with\b",
    r"\bas an (?:AI|artificial intelligence)(?=[,，])|AIとして[、,]",
)
_VOICES = re.compile("|".join(_VOICE), re.IGNORECASE)
_TONES = re.compile("|".join(_TONE), re.IGNORECASE)

_STRONG = (
    r"(?<![A-Za-z0-9])(?:ChatGPT|GPT[-‑ ]?[345](?:\.\d|o)?|OpenAI|DeepSeek|Anthropic|Qwen[\d.]*|ChatGLM\d*|GLM[-‑ ]?\d"
    r"|Claude[- ]?(?:[234]|Opus|Sonnet|Haiku)|Gemini[- ]?(?:\d|Pro|Ultra|Flash)|Llama[- ]?\d)(?![A-Za-z0-9])"
    r"|通义千问|文心一言|深度求索|讯飞星火|腾讯混元|智谱清言|百川智能"
)
"""Names that mean an assistant or its maker and nothing else."""
_WEAK = (
    r"(?<![A-Za-z0-9])(?:Kimi|Claude|Gemini|GLM|GPT|Grok|Copilot|Bard|Llama|Mistral|MiniMax|Google|Meta|Microsoft|xAI)"
    r"(?![A-Za-z0-9])|通义|千问|豆包|文心|星火|混元|月之暗面|智谱|百川|元宝|谷歌|阿里云|阿里巴巴|百度|字节跳动|腾讯|微软"
)
"""Names that also mean a person, a constellation, a bun or a search engine: with an AI beside them alone."""
_BESIDE = r"(?:AI|人工智能|大?(?:语言)?模型|智能助手|language model|AI assistant)"
_GAP = (
    r"(?:一[个名款位]|名为|名叫|叫做?|来自|由|基于|最新的|called|named|a|an|the|by|from|built|trained|developed"
    r"|created|made|[\s“”\"「」『』：:])*"
)
_SELF = r"(?:我(?:就|只|其实)?(?:是|叫)|我的名字(?:是|叫)|\bI(?:'m|’m| am| was)|\bmy name is|私は|わたしは|僕は)"
_MADE = rf"(?:公司|团队)?(?:独立|自主)?{_MAKING}"
_NAMED_ONLY = re.compile(rf"{_STRONG}|(?:{_WEAK})(?=[ 的]?{_BESIDE})", re.IGNORECASE)
_CLAIM_STRONG = re.compile(
    rf"{_SELF}{_GAP}(?:{_STRONG})(?!的?(?:忠实|资深)?(?:用户|粉丝)|[来去帮给替写做])|作为(?:{_STRONG})(?=[，,]|{_MADE})",
    re.IGNORECASE,
)
_CLAIM_WEAK = re.compile(
    rf"{_SELF}{_GAP}(?:{_WEAK})(?=[^。！？!?\n]{{0,40}}{_BESIDE})|我是[^。！？!?\n]{{0,20}}由(?:{_STRONG}|{_WEAK}){_MADE}",
    re.IGNORECASE,
)

_DIGITS = str.maketrans("０１２３４５６７８９＠．－", "0123456789@.-")
_PHONE = re.compile(
    r"(?<![\d.])(?:\+?86[- ]?)?1[3-9]\d(?:\d{8}|[- ]\d{4}[- ]\d{4})(?!\.?\d)(?!\s?[元円圆块岁年人个次颗亿万])"
)
_EMAIL = re.compile(r"(?<![\w.+-])[A-Za-z0-9][\w.+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}(?![\w-])", re.ASCII)
_MADE_UP = ("example.com", "example.net", "example.org", "example", "test", "invalid", "localhost")
"""Domains that belong to nobody (RFC 2606)."""
_ID_NUMBER = re.compile(r"(?<![\dA-Za-z.])[1-9]\d{16}[\dXx](?![\dA-Za-z])")
_CARD = re.compile(r"(?<![\d.])[3-6]\d{3}(?:\d{12,15}|(?:[ -]\d{4}){3}(?:[ -]\d{1,3})?)(?!\d)")

_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_UNSEEN = re.compile(
    "[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028\u2029\u2060-\u2064\ufeff\ufff9-\ufffb]"
    "|(?<![\u0600-\u0dff])[\u200c\u200d](?![\u0600-\u0dff])|[\U000e0001-\U000e007f]+"
)
"""Of the joiners those outside the scripts that are written with them; see `_keeps_together`."""


def control_tokens(text: str) -> list[str]:
    """Control sequences of the layouts that the project knows, and of others."""
    return [found.group() for found in _MARK.finditer(text)] if "<" in text or "[" in text else []


def without_tokens(text: str) -> str:
    """Without the marks, and without what they enclose: a thought or a call of a tool is not said aloud."""
    while _MARK.search(text):  # taking one out may put another together
        text = _MARKED.sub("", text)
    return text.strip()


def claims(text: str) -> list[str]:
    """Where she says that she is an assistant of somebody else's."""
    return [found.group() for found in _claims(text)]


def without_claims(text: str) -> str:
    return _without(text, _claims)


def names(text: str) -> list[str]:
    """Names of other assistants that she does not claim to be and does not deny either."""
    if _claims(text):
        return []
    return [found.group() for found in _NAMED_ONLY.finditer(text) if not _denied(text, found)]


def ai_voice(text: str) -> list[str]:
    """Phrases that only a language model says of itself. A plain "I am an AI" is none."""
    return [found.group() for found in _of(text, _VOICES)]


def without_ai_voice(text: str) -> str:
    return _without(text, lambda said: _of(said, _VOICES))


def ai_tone(text: str) -> list[str]:
    """Phrases in which an assistant refuses or takes its leave."""
    return [found.group() for found in _of(text, _TONES)]


def without_ai_tone(text: str) -> str:
    return _without(text, lambda said: _of(said, _TONES))


def phones(text: str) -> list[str]:
    """Chinese mobile numbers, each by its first three digits."""
    return [_begun(text, found) for found in _phones(text)]


def without_phones(text: str) -> str:
    return _masked(text, _phones)


def emails(text: str) -> list[str]:
    """Addresses of domains that may belong to somebody, each by its first letters."""
    return [_begun(text, found) for found in _emails(text)]


def without_emails(text: str) -> str:
    return _masked(text, _emails)


def id_numbers(text: str) -> list[str]:
    """Chinese identity numbers of 18 digits with a real date and a valid check digit (GB 11643-1999)."""
    return [_begun(text, found) for found in _id_numbers(text)]


def without_id_numbers(text: str) -> str:
    return _masked(text, _id_numbers)


def bank_cards(text: str) -> list[str]:
    """Numbers of 16 to 19 digits whose check digit is a bank card's (ISO/IEC 7812, Luhn)."""
    return [_begun(text, found) for found in _bank_cards(text)]


def without_bank_cards(text: str) -> str:
    return _masked(text, _bank_cards)


def bidi(text: str) -> list[str]:
    """Characters that turn the direction of what follows, by their code points."""
    return [f"U+{ord(found.group()):04X}" for found in _BIDI.finditer(text)]


def without_bidi(text: str) -> str:
    return _BIDI.sub("", text).strip()


def invisible(text: str) -> list[str]:
    """Other characters that nobody sees, by their code points, but for those that hold an emoji together."""
    return [f"U+{ord(found.group()[0]):04X}" for found in _UNSEEN.finditer(text) if not _keeps_together(text, found)]


def without_invisible(text: str) -> str:
    return _UNSEEN.sub(lambda found: found.group() if _keeps_together(text, found) else "", text).strip()


def _keeps_together(text: str, found: re.Match[str]) -> bool:
    """Whether it is a joiner between two emoji, or the letters behind a flag that spell its country."""
    before, after = text[max(0, found.start() - 1) : found.start()], text[found.end() : found.end() + 1]
    if found.group() == "\u200d":
        return _is_drawn(before) and _is_drawn(after)
    return found.group()[0] >= "\U000e0001" and before == "\U0001f3f4"


def _is_drawn(character: str) -> bool:
    return bool(character) and (character >= "\U0001f000" or "\u2190" <= character <= "\u2bff" or character == "\ufe0f")


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Sentences, with the space behind them."""
    for found in _SENTENCE.finditer(text):
        yield found.span()


def _without(text: str, find: Callable[[str], list[re.Match[str]]]) -> str:
    """The sentences in which nothing is found."""
    places = [found.start() for found in find(text)]
    kept = [text[start:end] for start, end in _spans(text) if not any(start <= place < end for place in places)]
    return "".join(kept).strip()


def _of(text: str, pattern: re.Pattern[str]) -> list[re.Match[str]]:
    return [found for found in pattern.finditer(text) if not _denied(text, found)]


def _claims(text: str) -> list[re.Match[str]]:
    return [*_of(text, _CLAIM_STRONG), *_of(text, _CLAIM_WEAK)]


def _denied(text: str, found: re.Match[str]) -> bool:
    """Whether it is taken back, in it or before it in its clause ("又不是……"), or the clause asks."""
    least, most = max(0, found.start() - CLAUSE), min(len(text), found.end() + CLAUSE)
    start = max(least, 1 + max(text.rfind(sign, least, found.start()) for sign in _BREAKS))
    end = min((at for sign in _BREAKS if (at := text.find(sign, found.end(), most)) >= 0), default=most)
    return bool(_DENIED.search(text, start, found.end())) or text[end : end + 1] in tuple("？?")


def _phones(text: str) -> list[re.Match[str]]:
    return list(_PHONE.finditer(text.translate(_DIGITS)))


def _emails(text: str) -> list[re.Match[str]]:
    if "@" not in text and "＠" not in text:
        return []
    found = _EMAIL.finditer(text.translate(_DIGITS))
    return [
        one
        for one in found
        if not one.group().lower().endswith(tuple(f"{sign}{end}" for sign in "@." for end in _MADE_UP))
    ]


def _id_numbers(text: str) -> list[re.Match[str]]:
    return [found for found in _ID_NUMBER.finditer(text.translate(_DIGITS)) if _is_id_number(found.group())]


def _is_id_number(number: str) -> bool:
    if not _ID_NUMBER.fullmatch(number):
        return False
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(weight * int(digit) for weight, digit in zip(weights, number, strict=False))
    try:
        born = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    return 1800 <= born.year < 2100 and "10X98765432"[total % 11] == number[-1].upper()


def _bank_cards(text: str) -> list[re.Match[str]]:
    found = _CARD.finditer(text.translate(_DIGITS))
    return [one for one in found if _is_card(re.sub("[ -]", "", one.group())) and not _is_id_number(one.group())]


def _is_card(digits: str) -> bool:
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits))]
    return len(set(digits)) > 1 and sum(number // 10 + number % 10 for number in doubled) % 10 == 0


def _begun(text: str, found: re.Match[str]) -> str:
    return f"{text[found.start() : found.start() + 3]}…"


def _masked(text: str, find: Callable[[str], list[re.Match[str]]]) -> str:
    for found in find(text):
        hidden = re.sub(r"\w", "*", found.group())
        text = text[: found.start()] + hidden + text[found.end() :]
    return text
