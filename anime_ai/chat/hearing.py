"""What a model is asked about what a person has said of themselves, and what of its answer counts as a fact.

Of what it writes only that is taken which is short, about the user, told with the number of a message, and in the
words of that message. Knows no model and no database.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from anime_ai.chat.noticing import unsure

TASK = (
    "你是记录员。读一个人在聊天里说过的话，记下他明确说到的、关于他自己的、以后还用得上的事：名字、年龄、住处、工作、家人和宠物、"
    "喜欢和讨厌的、身体状况、打算和约定。每件事一行，写成“编号|用户……”，编号是那句话的编号，每行不超过三十个字。"
    "没说过的不要猜；他问的、假设的、开玩笑的、说别人的，都不记；已经记下的不再写。什么都没有，就只写“无”。"
)
EXAMPLE = (
    "1. 我叫阿远，在南京上大学。\n2. 你喜欢猫吗？\n3. （被问：“那你养什么？”）两只仓鼠\n4. 今天好累。",
    "1|用户叫阿远\n1|用户在南京上大学\n3|用户养了两只仓鼠",
)
"""A question and its answer: small models follow what they see."""
LISTENING = "listening"
"""What an engine keeps of such a prompt stands under this key, which no conversation has."""
LONGEST = 40
"""Characters of a fact; longer is a story."""
MOST, MOST_EACH = 8, 3
"""Facts of an answer, and of one message."""
MOST_HEARD = 12
"""Messages that are looked through at once."""
LONGEST_HEARD = 300
"""Characters of a message that are looked at."""
TERSE = 12
"""Characters of a message up to which it may answer a question of hers, without which it says nothing."""
SHARED = 0.3
"""Of a fact's pairs of characters and words, the share that its message has to hold."""
LIKE = 0.6
"""Likeness (Jaccard) of two facts from which they say the same."""

_LINE = re.compile(r"^[\s\-*•·(（]*(\d{1,2})\s*[)）]?\s*[|｜:：.、]\s*(?:用户|他|她|[Tt]he user)(?:的名字)?\s*(.+)$")
_NOTHING = re.compile(r"^\W*(?:无|没有|none|nothing)\W*$", re.IGNORECASE)
_UNTOLD = re.compile(r"(?:没有?|未|不)(?:明确)?(?:提|说|透露|告诉|知|清楚|详)|未知|某|……|…")
_WORD = re.compile(r"[a-z]{2,}|\d+")


@dataclass(frozen=True)
class Told:
    """Something that a person said; `before`: what was said to them just then."""

    id: str
    text: str
    before: str = ""


def question(told: Sequence[Told], known: Sequence[str]) -> str:
    """What is asked behind TASK and EXAMPLE about some messages; `known`: facts that are there already."""
    lines = [f"{number}. {_asked(one)}{single_line(one.text)[:LONGEST_HEARD]}" for number, one in enumerate(told, 1)]
    head = ["已经记下的：", *known, "", "他说的话："] if known else []
    return "\n".join([*head, *lines])


def facts(answer: str, told: Sequence[Told], known: Sequence[str]) -> list[tuple[str, str]] | None:
    """(fact, id of its message) for what counts of an answer; None where nothing in it is an answer to the question."""
    found: list[tuple[str, str]] = []
    sense = False
    for line in answer.strip().splitlines():
        match = _LINE.match(line)
        sense = sense or match is not None or bool(_NOTHING.match(line))
        if match is None or not 1 <= int(match[1]) <= len(told):
            continue
        source = told[int(match[1]) - 1]
        fact = "用户" + single_line(match[2]).strip("。.！!；;，, 」”\"'")
        said = [one for one, _ in found]
        often = sum(id == source.id for _, id in found) >= MOST_EACH
        if not often and _counts(fact, source) and not any(_alike(fact, one) for one in (*known, *said)):
            found.append((fact, source.id))
    return found[:MOST] if sense else None


def _counts(fact: str, source: Told) -> bool:
    if not 3 < len(fact) <= LONGEST or unsure(fact) or _UNTOLD.search(fact):
        return False
    told = parts(fact.removeprefix("用户"))
    heard = parts(source.text)
    # What it comes to, a name or a thing, stands at its end: that must not be made up.
    if not told & heard or _folded(fact[-1]) not in _folded(source.text):
        return False
    return len(told & (heard | parts(_asked(source)))) >= SHARED * len(told)


def _asked(one: Told) -> str:
    """The question that a terse message answers."""
    if len(one.text) > TERSE or not re.search("[?？]", one.before):
        return ""
    last = re.findall(r"[^。！!？?\n]*[?？]", one.before)[-1]
    return f"（被问：“{single_line(last)[-40:]}”）"


def _alike(one: str, other: str) -> bool:
    mine, theirs = parts(one.removeprefix("用户")), parts(other.removeprefix("用户"))
    return one == other or len(mine & theirs) >= LIKE * max(1, len(mine | theirs)) or (bool(mine) and mine <= theirs)


def parts(text: str) -> set[str]:
    """Pairs of neighbouring characters of Chinese and Japanese, and words of letters and digits."""
    folded = _folded(text)
    runs = re.findall(r"[\u3040-\u30ff\u3400-\u9fff々]+", folded)
    pairs = {run[place : place + 2] for run in runs for place in range(max(1, len(run) - 1))}
    return pairs | set(_WORD.findall(folded))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower()


def single_line(text: str) -> str:
    return " ".join(text.split())
