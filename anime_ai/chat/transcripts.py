"""Conversations as files, out and in: this project's JSON with the whole tree, SillyTavern's chats, Markdown.

SillyTavern's `.jsonl` (https://docs.sillytavern.app): a line about the chat, then a message a line; `swipes` are the
alternatives of an answer and `swipe_id` the one that is shown. It holds one line of the tree. Markdown is for reading
and is not read back. Knows no page.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from anime_ai.chat.cast import ORDERS
from anime_ai.chat.conversations import LONGEST_TITLE, TITLE, Conversation, Conversations
from anime_ai.chat.members import LEAST, MOST, Member
from anime_ai.chat.samplings import KNOBS
from anime_ai.chat.tree import Message
from anime_ai.errors import ChatFileError

FORM = "anime-ai-conversation"
FORMATS = {"json": ".json", "sillytavern": ".jsonl", "markdown": ".md"}
"""By their names, the endings of their files; text keys under "transcript."."""
LONGEST_NAME = 300
MOST_MESSAGES = 20_000
MOST_CHARACTERS = 200_000
"""Of one message."""
KEPT: dict[str, tuple[type, ...]] = {
    "thought_s": (int, float),
    "cut": (bool,),
    "adapter": (str,),
    "adapter_sha256": (str,),
    "base": (str,),
    "sampling": (dict,),
    "tokens": (int,),
    "done": (bool,),
    "edited": (str,),
    "greeting": (bool,),
}
"""What of a message's meta goes into a file, and what it has to be to come out of one; what a turn brought along is
other people's documents."""
LARGEST = 2**53
"""Of a number in it: beyond that not every reader of JSON agrees."""


@dataclass(frozen=True)
class Transcript:
    """A conversation out of a file, parents before children; their ids count among themselves. `members`: personas, of
    a conversation of several, which speak in the `order` of `anime_ai.chat.cast`."""

    persona: str
    title: str
    messages: tuple[Message, ...]
    leaf: str
    members: tuple[str, ...] = ()
    order: str = ""


def export(
    conversations: Conversations,
    person: str,
    conversation_id: str,
    form: str,
    name: str = "",
    called: Callable[[str], str] = str,
) -> bytes:
    """A person's conversation in one of FORMATS; `name` is how she is called in it, and `called` says it of several.
    Raises AccessError."""
    found = conversations.get(person, conversation_id)
    name = name or found.persona
    names = {one.speaker: called(one.speaker) for one in found.messages if one.speaker} | {"": name}
    if form == "markdown":
        return _markdown(found, names).encode()
    whole = conversations.branches.whole(person, conversation_id)
    if form == "sillytavern":
        return _sillytavern(found, whole, names).encode()
    leaf = found.messages[-1].id if found.messages else ""
    value = {
        "form": FORM,
        "version": 1,
        "persona": found.persona,
        "title": found.title,
        "leaf": leaf,
        "messages": [_as_json(one) for one in whole],
    }
    if found.members:
        value |= {"members": [one.persona for one in found.members], "order": found.settings.get("order", "")}
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "replace")


def read(content: bytes, persona: str, known: Callable[[str], str] = str) -> Transcript:
    """What a file holds, told apart by what is in it. `persona`: whose it is where the file does not say. `known`: the
    persona of a name, where several speak.

    Raises ChatFileError that names the line or the message that cannot be used; nothing of such a file is taken.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ChatFileError("chat_file.not_utf8", byte=error.start) from error
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        whole = None
    if isinstance(whole, dict) and whole.get("form") == FORM:
        return _own(whole, persona)
    return _of_sillytavern(text, persona, known)


def _as_json(one: Message) -> dict[str, Any]:
    value: dict[str, Any] = {"id": one.id, "parent": one.parent, "role": one.role, "content": one.content}
    if one.thinking:
        value["thinking"] = one.thinking
    if one.speaker:
        value["speaker"] = one.speaker
    meta = {name: one.meta[name] for name in KEPT if name in one.meta}
    return {**value, "created": one.created, **({"meta": meta} if meta else {})}


def _own(whole: dict[str, Any], persona: str) -> Transcript:
    told = whole.get("messages")
    if not isinstance(told, list):
        raise ChatFileError("chat_file.no_messages")
    _refuse_many(len(told))
    found: list[Message] = []
    seen = {""}
    for number, one in enumerate(told, 1):
        one = one if isinstance(one, dict) else {}
        id, parent, role = (one.get(name) for name in ("id", "parent", "role"))
        if not isinstance(id, str) or not isinstance(parent, str) or role not in ("user", "assistant"):
            raise ChatFileError("chat_file.bad_message", number=number)
        if id in seen or parent not in seen:
            raise ChatFileError("chat_file.bad_message", number=number)
        seen.add(id)
        words = (_words(one.get("content"), number), _words(one.get("thinking", ""), number))
        speaker = _part(one, "speaker", str)[:LONGEST_NAME] if role == "assistant" else ""
        meta = _kept(_part(one, "meta", dict))
        found.append(Message(id, role, *words, meta=meta, parent=parent, speaker=speaker))
    leaf = whole.get("leaf")
    named = whole.get("persona")
    title = whole.get("title")
    told_members = [one[:LONGEST_NAME] for one in _part(whole, "members", list) if isinstance(one, str) and one.strip()]
    members = _several(told_members)
    return Transcript(
        named if isinstance(named, str) and named.strip() else persona,
        title[:LONGEST_TITLE] if isinstance(title, str) else "",
        tuple(found if members else (replace(one, speaker="") for one in found)),
        leaf if isinstance(leaf, str) and leaf in seen else (found[-1].id if found else ""),
        members,
        _part(whole, "order", str) if members else "",
    )


def _kept(meta: dict[str, Any]) -> dict[str, Any]:
    """What of a file's meta a message takes: anything else the page could not show. An edit is of a message that has
    another id here."""
    kept = {name: one for name, one in meta.items() if type(one) in KEPT.get(name, ()) and _usable(one)}
    kept.pop("edited", None)
    if "sampling" in kept:
        kept["sampling"] = {name: one for name, one in kept["sampling"].items() if name in KNOBS and _usable(one)}
    return kept


def _usable(value: Any) -> bool:
    return not isinstance(value, (int, float)) or -LARGEST < value < LARGEST


def _several(personas: Iterable[str]) -> tuple[str, ...]:
    """The members of a conversation out of those who speak in it; nobody where one is alone."""
    found = tuple(dict.fromkeys(personas))[:MOST]
    return found if len(found) >= LEAST else ()


def _sillytavern(found: Conversation, whole: Sequence[Message], names: Mapping[str, str]) -> str:
    by_id = {one.id: one for one in whole}
    made = found.messages[0].created if found.messages else time.time()
    lines: list[dict[str, Any]] = [
        {"user_name": "You", "character_name": names[""], "create_date": _date(made), "chat_metadata": {}}
    ]
    for one in found.messages:
        user = one.role == "user"
        line: dict[str, Any] = {
            "name": "You" if user else names[one.speaker],
            "is_user": user,
            "is_system": False,
            "send_date": _date(one.created),
            "mes": one.content,
            "extra": {"reasoning": one.thinking} if one.thinking else {},
        }
        if not user:
            own = [by_id[id] for id in one.siblings]  # where somebody else spoke instead, that was no answer of hers
            own = [other for other in own if (other.role, other.speaker) == (one.role, one.speaker)]
            line |= {"swipe_id": [other.id for other in own].index(one.id)}
            line["swipes"] = [other.content for other in own]
        lines.append(line)
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _of_sillytavern(text: str, persona: str, known: Callable[[str], str]) -> Transcript:
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    _refuse_many(len(lines))
    found: list[Message] = []
    title, parent = "", ""
    for number, line in lines:
        try:
            told = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ChatFileError("chat_file.bad_line", line=number) from error
        if not isinstance(told, dict) or ("mes" not in told and "chat_metadata" not in told and number > 1):
            raise ChatFileError("chat_file.bad_line", line=number)
        if "mes" not in told or told.get("is_system") is True:
            continue
        role = "user" if told.get("is_user") is True else "assistant"
        words = _words(told["mes"], number)
        swipes = _part(told, "swipes", list) if role == "assistant" else []
        shown = told.get("swipe_id")
        thinking = _words(_part(told, "extra", dict).get("reasoning") or "", number)
        others = [_words(one, number) for one in swipes if isinstance(one, str)]
        place = shown if isinstance(shown, int) and 0 <= shown < len(others) else None
        if place is None or others[place] != words:  # what was edited stands in `mes` alone
            place, others = len(others), [*others, words]
        name = _part(told, "name", str).strip()[:LONGEST_NAME]
        speaker = known(name) if role == "assistant" and name else ""
        for at, one in enumerate(others):
            id = f"{number}.{at}"
            found.append(Message(id, role, one, thinking if at == place else "", parent=parent, speaker=speaker))
        parent = f"{number}.{place}"
        title = title or (" ".join(words.split())[:TITLE] if role == "user" else "")
    if not found:
        raise ChatFileError("chat_file.no_messages")
    _refuse_many(len(found))
    members = _several(one.speaker for one in found if one.speaker)
    if not members:  # a chat with one character goes to whom one talks with, whatever she was called
        return Transcript(persona, title, tuple(replace(one, speaker="") for one in found), parent)
    return Transcript(members[0], title, tuple(found), parent, members)


def _markdown(found: Conversation, names: Mapping[str, str]) -> str:
    parts = [f"# {found.title or names['']}\n"]
    for one in found.messages:
        who = "我" if one.role == "user" else names[one.speaker]
        quoted = "".join(f"> {line}\n" for line in one.thinking.strip().splitlines())
        parts.append(f"**{who}**\n\n{quoted + chr(10) if quoted else ''}{one.content}\n")
    return "\n".join(parts)


def _part(told: dict[str, Any], name: str, kind: type) -> Any:
    """A part of what a file says, an empty one where it is missing or of another kind."""
    value = told.get(name)
    return value if isinstance(value, kind) else kind()


def _words(value: Any, number: int) -> str:
    if not isinstance(value, str):
        raise ChatFileError("chat_file.bad_message", number=number)
    if len(value) > MOST_CHARACTERS:
        raise ChatFileError("chat_file.too_long", number=number, length=len(value), most=MOST_CHARACTERS)
    return value


def _refuse_many(count: int) -> None:
    if count > MOST_MESSAGES:
        raise ChatFileError("chat_file.too_many", count=count, most=MOST_MESSAGES)


def _date(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + "Z"


def take(
    conversations: Conversations, person: str, content: bytes, persona: str, known: Callable[[str], str] = str
) -> str:
    """Put a file's conversation among the person's, and return its id. Raises ChatFileError."""
    found = read(content, persona, known)
    members = [Member(one) for one in found.members]
    id = conversations.branches.restore(person, found.persona, found.title, found.messages, found.leaf, members)
    if found.order in ORDERS:
        conversations.settle(person, id, order=found.order)
    return id
