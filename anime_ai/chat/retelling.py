"""What a model is asked to make a few lines of a part of a conversation, and what of its answer counts as such.

Of what it writes only lines are taken that are short and in the words of what was said. Knows no model and no
database.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from anime_ai.chat.hearing import parts, single_line
from anime_ai.chat.summaries import Line, said_by
from anime_ai.chat.tree import Message

TASK = (
    "你是记录员。把下面这段聊天概括成几行，给之后接着聊的人看：发生了什么、说定了什么、心情怎样、还有什么没说完。"
    "每行一件事，不超过四十个字，用“用户”和“她”称呼两个人，按先后顺序写，不超过四行。没说过的不要写，不要评论，不要编号。"
)
EXAMPLE = (
    "用户说：今天面试没过，有点难受。\n她说：难受就先吃饭。周末陪你去海边走走？\n用户说：好，周六上午吧。下周还有一家要面。",
    "用户面试没过，有点难受\n她约用户周六上午去海边走走\n用户下周还有一家面试",
)
"""A part of a conversation and its summary: small models follow what they see."""
MOST_TOLD, LONGEST_TOLD = 16, 160
"""Messages that are told at once, and characters of one that are looked at."""
LEAST_TOLD = 6
"""Messages below which nothing is asked: their picked sentences say as much."""
MOST_LINES, SHORTEST, LONGEST = 4, 4, 60
"""Lines of an answer, and characters of a line."""
SHARED = 0.4
"""Of a line's pairs of characters and words, the share that what was said has to hold."""

_BULLET = re.compile(r"^[\s\-*•·#]*(?:\d{1,2}\s*[.、)）:：|]\s*)?")
_MARKS = " 。.；;，,“”\"'*"
_OWN_NAMES = parts("用户") | parts("她")


def question(told: Sequence[Message]) -> str:
    """What is asked behind TASK and EXAMPLE about some messages."""
    return "\n".join(said_by(one, single_line(one.content)[:LONGEST_TOLD]) for one in told)


def lines(answer: str, told: Sequence[Message]) -> list[Line]:
    """The lines of an answer that count, each with the messages that it may have come from: all that share a word with
    it, so that none outlives what is forgotten."""
    heard = {one.id: parts(one.content) for one in told}
    everything = frozenset().union(*heard.values())
    found: list[Line] = []
    for line in answer.strip().splitlines():
        bare = _BULLET.sub("", single_line(line)).strip(_MARKS)
        words = parts(bare) - _OWN_NAMES
        if not SHORTEST <= len(bare) <= LONGEST or len(words & everything) < SHARED * max(1, len(words)):
            continue
        if bare not in [one["text"] for one in found]:
            found.append({"text": bare, "ids": [id for id, said in heard.items() if words & said]})
    return found[:MOST_LINES]
