"""What of a conversation has left the prompt, in a few lines: sentences as they were said, or told anew by a model.

Sentences are picked the moment something leaves. Where the model can, it tells them in words of its own in the next
pause (`anime_ai.chat.listening`); what it told, and what the person wrote in its place, stays as it is. A line names
the messages that it came from, and goes when one of them does. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import dropwhile
from typing import Any

from anime_ai.chat.conversations import Conversation, Conversations
from anime_ai.chat.digest import digest
from anime_ai.chat.tree import Message, storable
from anime_ai.errors import AnimeAIError

ROOM, SMALL_ROOM = 800, 100
"""Characters of the picked sentences; a small model loses itself in more than a few."""
LONGEST = 4000
SUMMARY, STRUCK = "summary", "struck"
"""Among a conversation's settings: a summary, and ids of messages of which none may tell, now or later."""

Line = dict[str, Any]
"""`text`, and `ids` of the messages that it came from; none where a person wrote it."""


class Summaries:
    """What changes one names the person; another's conversation raises AccessError as one that is not there.

    What is kept of one: `upto`, the last message that has left; `fixed`, lines that stay as they are, and `told`, the
    last message that they tell of; `lines`, the sentences picked out of what left since.
    """

    def __init__(self, conversations: Conversations, forgotten: Callable[[list[str]], None]) -> None:
        self._conversations, self._forgotten = conversations, forgotten

    @staticmethod
    def text(there: Conversation, persona: str = "") -> str | None:
        """All lines; in a conversation of several, those in the prompt of `persona`. None where nothing has left it."""
        slot = _slot(there, persona)
        lines = [str(line["text"]) for line in _all(_read(there.settings, slot))]
        return "\n".join(lines) if slot in there.settings else None

    def write(self, person: str, conversation_id: str, written: str, persona: str = "") -> None:
        """Put other words in the place of all lines. Raises AnimeAIError where they are too long."""
        if len(written) > LONGEST:
            raise AnimeAIError("ui.too_long", length=len(written), most=LONGEST)
        said = [line.strip() for line in storable(written).splitlines() if line.strip()]

        slot = _slot(self._conversations.get(person, conversation_id), persona)

        def change(settings: Mapping[str, Any]) -> dict[str, Any]:
            kept = _read(settings, slot)
            sources = {str(line["text"]): line["ids"] for line in _all(kept)}
            fixed = [{"text": line, "ids": sources.get(line, [])} for line in said]
            return {**kept, "fixed": fixed, "told": kept["upto"], "lines": []}

        self._conversations.resettle(person, conversation_id, slot, change)
        self._forgotten([conversation_id])

    def in_prompt(self, person: str, conversation: Conversation, before: Sequence[Message], small: bool) -> list[str]:
        """The lines behind an answer's `before`, with sentences picked anew where more has left than they tell of."""
        gone = _gone(before)
        if not gone or not conversation.id:
            return []
        slot = _slot(conversation)
        kept = _read(conversation.settings, slot)
        if kept["upto"] != gone[-1].id:
            picked = partial(_picked, slot=slot, gone=gone, small=small)
            kept = self._conversations.resettle(person, conversation.id, slot, picked)
        there = {one.id for one in (*gone, *_spoken(gone))}
        return [str(line["text"]) for line in _all(kept) if there.issuperset(line["ids"])]

    @staticmethod
    def untold(there: Conversation) -> list[Message]:
        """What has left the prompt since the fixed lines were written, oldest first. In a conversation of several,
        where each has a prompt of her own, nothing: there the picked sentences stay."""
        kept = _read(there.settings, SUMMARY)
        ids = [one.id for one in there.messages]
        if there.members or kept["upto"] not in ids:
            return []
        since = ids.index(kept["told"]) + 1 if kept["told"] in ids else 0
        left = there.messages[since : ids.index(kept["upto"]) + 1]
        return [
            one for one in (left if since else _behind_greeting(left)) if one.content and one.id not in kept["struck"]
        ]

    def tell(self, person: str, conversation_id: str, told: Sequence[Message], lines: Sequence[Line]) -> bool:
        """Fix lines in the place of the sentences picked out of `told`, messages of `untold` from the first one on, or
        those sentences where there are no lines. False where that is not any more what there is to tell."""
        there = self._conversations.get(person, conversation_id)
        if [one.id for one in self.untold(there)][: len(told)] != [one.id for one in told]:
            return False
        done = {one.id for one in told}

        def change(settings: Mapping[str, Any]) -> dict[str, Any]:
            kept = _read(settings, SUMMARY)
            if not done.isdisjoint(kept["struck"]):  # forgotten meanwhile
                return kept
            picked = [line for line in kept["lines"] if done.issuperset(line["ids"])]
            left = [line for line in kept["lines"] if line not in picked]
            fixed = _within([*kept["fixed"], *(lines or picked)], ROOM)
            return {**kept, "fixed": fixed, "told": told[-1].id, "lines": left}

        self._conversations.resettle(person, conversation_id, SUMMARY, change)
        return True


def strike(settings: Mapping[str, Any], told: Collection[str], fact: str) -> dict[str, Any]:
    """Those of a conversation's settings that change where a fact is forgotten: no summary tells what came from one of
    the messages that `told` it, nor what says the same, now or later."""
    changed: dict[str, Any] = {}
    for slot in [name for name in settings if name.partition(" ")[0] == SUMMARY]:
        kept = _read(settings, slot)
        left = {
            name: [line for line in kept[name] if not set(told) & set(line["ids"]) and fact not in line["text"]]
            for name in ("fixed", "lines")
        }
        if left != {name: kept[name] for name in left}:
            changed[slot] = {**kept, **left}
    # Kept also where there is no summary yet: the message may leave the prompt later.
    struck = list(settings.get(STRUCK, ()))
    if fresh := [id for id in told if id not in struck]:
        changed[STRUCK] = [*struck, *fresh]
    return changed


def _picked(settings: Mapping[str, Any], slot: str, gone: list[Message], small: bool) -> dict[str, Any]:
    """A summary with sentences picked out of what has left since its fixed lines were written."""
    kept = _read(settings, slot)
    since = next((place for place, one in enumerate(gone) if one.id == kept["told"]), -1) + 1
    # What was told in another branch goes, unless a person wrote it.
    fixed = [line for line in kept["fixed"] if since or not line["ids"]]
    spoken = [one for one in _spoken(gone[since:]) if one.id not in kept["struck"]]
    chosen = digest([one.content for one in spoken], SMALL_ROOM if small else ROOM)
    lines = [{"text": said_by(spoken[place], said), "ids": [spoken[place].id]} for place, said in chosen]
    return {**kept, "upto": gone[-1].id, "fixed": fixed, "told": kept["told"] if since else "", "lines": lines}


def said_by(message: Message, said: str) -> str:
    """A sentence with who said it."""
    who = "用户" if message.role == "user" else message.meta.get("called") or "她"
    return f"{who}说：{said}"


def _gone(before: Sequence[Message]) -> list[Message]:
    """What had left the prompt of the last answer: exchanges, as the greeting never leaves it."""
    dropped = next((int(one.meta.get("dropped", 0)) for one in before[::-1] if one.role == "assistant"), 0)
    answered = [place for place, one in enumerate(before) if place and one.role == "assistant"]
    answered = [place for place in answered if before[place - 1].role == "user" and before[place].content]
    if not dropped or not answered:
        return []
    return _behind_greeting(before[: answered[min(dropped, len(answered)) - 1] + 1])


def _behind_greeting(messages: Sequence[Message]) -> list[Message]:
    return list(dropwhile(lambda one: one.role == "assistant", messages))


def _slot(conversation: Conversation, persona: str = "") -> str:
    """Where a conversation's settings have its summary: each of several personas has one of her own."""
    return f"{SUMMARY} {persona or conversation.persona}" if conversation.members else SUMMARY


def _read(settings: Mapping[str, Any], slot: str) -> dict[str, Any]:
    """A summary as it was kept, in the form of today, with the ids of all that was `struck`. Lines had one message
    each, and were all `edited` or none; what was struck stood in each summary."""
    kept = settings.get(slot) or {}
    upto, struck = str(kept.get("upto", "")), [*settings.get(STRUCK, ()), *kept.get("struck", ())]
    lines = [
        {"text": str(line["text"]), "ids": list(line["ids"] if "ids" in line else [line["id"]] if line["id"] else [])}
        for line in kept.get("lines", ())
    ]
    read = {"upto": upto, "struck": list(dict.fromkeys(struck))}
    if kept.get("edited"):
        return {**read, "fixed": lines, "told": upto, "lines": []}
    return {**read, "fixed": list(kept.get("fixed", ())), "told": str(kept.get("told", "")), "lines": lines}


def _within(fixed: list[Line], room: int) -> list[Line]:
    """Lines that may stand for all of them where those that no person wrote are longer than the room."""
    made = [place for place, line in enumerate(fixed) if line["ids"]]
    if sum(len(fixed[place]["text"]) for place in made) <= room:
        return fixed
    chosen = {made[place] for place, _ in digest([fixed[place]["text"] for place in made], room, longest=room)}
    return [line for place, line in enumerate(fixed) if place in chosen or not line["ids"]]


def _all(kept: Mapping[str, Any]) -> list[Line]:
    return [*kept["fixed"], *kept["lines"]]


def _spoken(messages: Sequence[Message]) -> list[Message]:
    """Messages one by one, also those that `anime_ai.chat.cast` joins to one question."""
    return [part for one in messages for part in one.meta.get("parts") or (one,)]
