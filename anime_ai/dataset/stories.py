"""A story's quotes and who says them, told by the words beside each. Knows nothing of files and of rows.

Chinese writes no spaces between words, so a name is first looked for where nothing but the word for "says" follows it
(小明说), or where it stands alone before a colon (小明：); the names found there are then found among other words too
(小明红着脸，小声说). Where no name is near, or only a pronoun, the speaker is unknown: better that than a wrong one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from anime_ai.dataset.speakers import UNKNOWN, Line, Script

BESIDE = 120
"""Characters before and behind a quote in which its speaker is looked for."""
NARRATED = 8
"""Paragraphs without a quote after which another scene begins."""
_QUOTE = re.compile(r"“([^“”]+)(?:”|$)|「([^「」]+)(?:」|$)|『([^『』]+)』|(?<![A-Za-z0-9])\"([^\"\n]+)\"")
"""A quote, which a paragraph may leave open: the next one then goes on with it."""
MOST_PARAGRAPHS = 5
"""Paragraphs that one quote may go through."""
MOST_NAMES = 500
_BREAK = re.compile(
    r"\s*(?:([-=*#~_·—…◇◆※])(?:\s*\1){2,}|[*※◇◆]|(?:第[\d〇零一二三四五六七八九十百千]+[章节回幕話话卷]|Chapter\s+\w+).{0,30})\s*$"
)
_HAN = r"[\u4e00-\u9fff]"
_LATIN = r"[A-Z][A-Za-z'\-]*"
_NAME = rf"[\u4e00-\u9fff々〆ァ-ヴー]{{1,5}}?|{_LATIN}(?:·?(?:{_HAN}|[A-Z])[A-Za-z'\-]*)?|{_HAN}{{1,6}}·{_HAN}{{1,6}}"
_SAYS = (
    "说道|说着|说|问道|追问|反问|询问|问|答道|回答道|回答|答|回道|回应道|回应|应道|应了一声|喊道|喊|叫道|大叫|叫|嚷道|嚷|吼道|吼"
    "|笑道|笑着说|笑说|道|嘟囔道|嘟囔|嘀咕道|嘀咕|喃喃道|喃喃|低语|自语|自言自语|叹道|叹气|开口|插嘴|补充道|补充|解释道|解释"
    "|吩咐道|吩咐|命令道|命令|催促道|催促|提醒道|提醒|抱怨道|抱怨|哼道|怒道|骂道|骂|劝道|哭道|惊呼|呼道|念道|接话|宣布|说了一句"
    "|說道|說著|說|問道|問|笑著說|笑說|回應|應道|嘆道|開口|補充|解釋"
)
_MANNER = (
    "微笑着?|笑着|笑|大笑着?|苦笑着?|冷笑着?|轻笑着?|低声|小声|轻声|大声|高声|柔声|沉声|厉声|颤声|连忙|急忙|赶紧|立刻|马上|突然|忽然"
    "|又|也|便|就|却|才|还|再|先|继续|接着|淡淡地?|冷冷地?|轻轻地?|缓缓地?|慢慢地?|悄悄地?|默默地?|红着脸|皱着眉|低着头|摇着?头|点着?头"
    "|微笑著|笑著|低聲|小聲|輕聲|大聲"
)
_TITLED = re.compile(
    rf"{_HAN}{{1,2}}(?:老师|老師|先生|小姐|同学|同學|医生|醫生|护士|校长|队长|会长|部长|店长|大人|阿姨|叔叔|大叔|爷爷|奶奶|师父|师兄|师姐"
    r"|前辈|學姐|学姐|学长|博士|教授|妈妈|爸爸|姐姐|哥哥|公主|殿下)"
)
"""Somebody with a title is one even where nothing else names them."""
_BEFORE = re.compile(
    rf"(?P<name>{_NAME})??(?:{_MANNER})*(?:对[^，。]{{1,6}}?|向[^，。]{{1,6}}?)?(?:{_MANNER})*(?:{_SAYS})(?:了|着|过)?"
)
_LISTENS = re.compile("听|聽|闻|聞|愣|怔|看见|看着|望")
_SPEAKS = re.compile(rf"(?:{_SAYS})(?:了|着|过)?$")
_JAPANESE = re.compile(
    rf"と?、?\s*(?P<name>{_NAME}|[ぁ-ん]{{2,6}})[はがも].{{0,12}}(?:言|話|答|聞|尋|訊|笑|呟|つぶや|叫|囁|返|問)"
)
_ENGLISH = re.compile(
    r"(?:(?:said|asked|replied|answered|whispered|shouted|cried|muttered|added)\s+(?P<after>[A-Z][A-Za-z'\-]*)"
    r"|(?P<name>[A-Z][A-Za-z'\-]*)(?:\s+\w+ly)?\s+(?:said|asked|replied|answered|whispered|shouted|cried|muttered|added))"
)
_NOBODY = frozenset(
    (
        "他 她 它 我 你 您 谁 咱 俺 他们 她们 我们 你们 咱们 大家 众人 有人 对方 两人 二人 自己 这人 那人 一人 什么"
        " 这么 那么 怎么 终于 最后 随后 这才 忍不住 不禁 不由 不由得 只好 只得 反而 一边 故意 認真 认真 一起 同时"
        " 只是 于是 然后 接着 突然 忽然 心想 心里 有些 没有 不过 可是 但是 如果 不 只 都 听 再 還 誰 們"
        " 他們 她們 我們 彼 彼女 私 僕"
        " He She It They We You I The And But Then What Who"
    ).split()
)
"""Words that stand where a name may, and name nobody."""
_OPEN = {"“": "”", "「": "」"}
_PRONOUNS = tuple("他她我你您它牠这那谁誰")


@dataclass(frozen=True)
class _Quote:
    """A quote, and the words of its paragraph from the quote before it and up to the one after it."""

    number: int
    scene: int
    text: str
    before: str
    after: str
    first: bool
    goes_on: bool
    """The quote before it was left open."""


def has_quotes(text: str) -> bool:
    """Whether somebody speaks in a text, in quotation marks."""
    return _QUOTE.search(text) is not None


def story(text: str) -> Script:
    """The quotes of a story in order, with their speakers. A quote that is no speech (a title, a word) stays out where
    it is short, ends no sentence and stands in the middle of one."""
    quotes = [quote for quote in _quotes(text) if not _is_word(quote)]
    found = Counter(name for quote in quotes for name in _plain_names(quote))
    # 雪见忙 beside 雪见, which is met more often: a name with another word behind it
    most = dict(found.most_common(MOST_NAMES))
    names = {one for one in most if not any(one.startswith(other) and most[other] > most[one] for other in most)}
    lines: list[Line] = []
    for quote in quotes:
        speaker = _speaker(quote, names)
        same = lines and lines[-1].number == quote.number and not quote.first
        if speaker == UNKNOWN and lines and ((same and not _ends_sentence(quote.before)) or quote.goes_on):
            speaker = lines[-1].speaker  # “…，”她顿了顿，“…。”
        lines.append(Line(quote.number, speaker, quote.text, quote.scene))
    named = Counter(line.speaker for line in lines if line.speaker)
    return Script("story", tuple(lines), guessed=True, her=named.most_common(1)[0][0] if named else UNKNOWN)


def _quotes(text: str) -> Iterator[_Quote]:
    scene = silent = 0
    is_open = False
    for number, paragraph in _paragraphs(text):
        found = list(_QUOTE.finditer(paragraph))
        if not found:
            silent += 1
            if _BREAK.match(paragraph) or silent == NARRATED:
                scene += 1
            continue
        silent = 0
        ends = [0, *(one.end() for one in found)]
        starts = [*(one.start() for one in found), len(paragraph)]
        for place, one in enumerate(found):
            said = next(part for part in one.groups() if part).strip()
            if said:
                before, after = paragraph[ends[place] : starts[place]], paragraph[ends[place + 1] : starts[place + 1]]
                before, after = before.strip()[-BESIDE:], after.strip()[:BESIDE]
                yield _Quote(number, scene, said, before, after, place == 0, place == 0 and is_open and not before)
                is_open = one.group()[0] in _OPEN and one.group()[-1] != _OPEN[one.group()[0]]


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers; those through which one quote goes are one."""
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        paragraph, taken = lines[number].strip(), 1
        for opening, closing in _OPEN.items():
            if paragraph.rfind(opening) > paragraph.rfind(closing):
                for more in range(1, MOST_PARAGRAPHS):
                    after = lines[number + more] if number + more < len(lines) else opening
                    if opening in after.split(closing)[0]:
                        break  # closed without its mark, or opened again
                    if closing in after:
                        paragraph, taken = "\n".join([paragraph, *lines[number + 1 : number + more + 1]]), more + 1
                        break
        if paragraph:
            yield number + 1, paragraph
        number += taken


def _ends_sentence(words: str) -> bool:
    return words.rstrip()[-1:] in tuple("。！？!?.…")


def _is_word(quote: _Quote) -> bool:
    """Such as 那本“红楼梦”很旧."""
    if quote.text[-1] in "。！？!?.…，,～~—、" or len(quote.text) > 8 or not quote.before or not quote.after:
        return False
    led = quote.before[-1] in "：:，,。！？" or _SPEAKS.search(quote.before)
    return not led and quote.after[0] not in "，,。"


def _clauses(words: str) -> list[str]:
    return [part.strip() for part in re.split(r"[，,、；;：:。！？!?…—\s]+", words) if part.strip()]


def _led(quote: _Quote) -> str:
    """The sentence that leads to the quote, "" where the words before it end one without a colon."""
    words = quote.before
    if not words or _ends_sentence(words):
        return ""
    return re.split(r"[。！？!?…]", words)[-1].strip()


def _told_after(quote: _Quote) -> str:
    """The first sentence behind the quote, "" where it is of the next one: 他说：“…” 小明问：“…”."""
    sentences = re.split(r"(?<=[。！？!?…])", quote.after)
    if len(sentences) == 1 and quote.after[-1:] in (":", "：") and _ends_sentence(quote.text) and quote.before:
        return ""
    return sentences[0]


def _plain_names(quote: _Quote) -> Iterator[str]:
    """Names that stand beside the quote with nothing between them and the word for "says"."""
    led, after = _led(quote), _told_after(quote)
    script = quote.first and led and not after  # 雪见「…」
    alone = led[:-1].strip() if led[-1:] in ("：", ":") else led if script else ""
    if alone and re.fullmatch(_NAME, alone) and not _SPEAKS.search(alone) and alone not in _NOBODY:
        yield alone
        return
    for words, clauses in ((led, _clauses(led)[-1:]), (after, _clauses(after)[:1])):
        if name := _foreign_name(words) or (_name_in(clauses[0]) if clauses else ""):
            yield name


def _foreign_name(words: str) -> str:
    """The name where the words say in Japanese or English who speaks."""
    for pattern in (_JAPANESE, _ENGLISH):
        if found := pattern.search(words):
            name = found["name"] or found.groupdict().get("after") or ""
            return "" if name in _NOBODY else name
    return ""


def _name_in(clause: str) -> str:
    """The name of a clause that says who speaks, "" where there is none or only a pronoun."""
    found = _BEFORE.fullmatch(clause)
    name = (found["name"] or "") if found else ""
    # 小明开心地说: how it is said is no part of a name
    wrong = name in _NOBODY or name[:1] in _PRONOUNS or name[-1:] in tuple("地着著得的了过")
    return "" if wrong else name


def _speaker(quote: _Quote, names: Collection[str]) -> str:
    """Whom the words before the quote name, else those behind it."""
    for name in _plain_names(quote):
        return _longest(name, names) or name
    led, after = _clauses(_led(quote)), _clauses(_told_after(quote))
    # 小明挠了挠头，“…”: who does something beside a quote speaks it, unless what is done is to listen
    tells = bool(after) and (any(_SPEAKS.search(clause) for clause in after) or not _LISTENS.search(after[0]))
    return _known(list(reversed(led)), names) or (_known(after, names) if tells else UNKNOWN)


def _known(clauses: Sequence[str], names: Collection[str]) -> str:
    """The known name with which the nearest clause begins; a pronoun nearer than any name means nobody."""
    for clause in clauses:
        titled = _TITLED.match(clause)
        if found := _longest(clause, names) or (titled.group() if titled else ""):
            return found
        if clause[0] in _PRONOUNS:
            return UNKNOWN
    return UNKNOWN


def _longest(words: str, names: Collection[str]) -> str:
    return max((name for name in names if words.startswith(name)), key=len, default="")
