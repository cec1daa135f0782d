"""Conversations as files: the whole tree there and back, SillyTavern's chats, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from anime_ai.chat.conversations import Conversations
from anime_ai.chat.transcripts import FORM, MOST_CHARACTERS, export, read, take
from anime_ai.errors import AccessError, ChatFileError
from anime_ai.storage import Database

NASTY = '<img src=x onerror=a()> {{char}} "引号" \\n\n第二行\u2028😀'


THOUGHT = {"reasoning": "hm"}
OWN = b'{"form": "anime-ai-conversation", "messages": [{"id": "1", "parent": "%s", "role": "%s", "content": ""}]}'


@pytest.fixture
def conversations(tmp_path: Path) -> Iterator[Conversations]:
    with Database.open(tmp_path / "studio.db") as database:
        yield Conversations(database)


def talk(conversations: Conversations) -> str:
    """A tree with a greeting of two, a question asked in two ways, and two answers to the second."""
    opened = conversations.start("me", "傲娇", ["来了？", "又是你。"])
    first = conversations.append("me", opened.id, "user", "早")
    conversations.append("me", opened.id, "assistant", NASTY, "想一想", {"tokens": 3, "brought": "别人的资料"})
    asked = conversations.branches.edit("me", first.id, "早上好")
    for said in ("早什么早。", "嗯，早。"):
        conversations.append("me", opened.id, "assistant", said, behind=asked.id)
    return opened.id


def shape(conversations: Conversations, id: str) -> list[tuple[str, str, str, int]]:
    whole = conversations.branches.whole("me", id)
    places = {one.id: place for place, one in enumerate(whole)} | {"": -1}
    return [(one.role, one.content, one.thinking, places[one.parent]) for one in whole]


def test_the_whole_tree_comes_back_out_of_our_own_form(conversations: Conversations) -> None:
    id = talk(conversations)
    content = export(conversations, "me", id, "json")
    assert "别人的资料".encode() not in content
    back = take(conversations, "me", content, "温柔")
    assert shape(conversations, back) == shape(conversations, id)
    one, other = conversations.get("me", id), conversations.get("me", back)
    assert [said.content for said in one.messages] == [said.content for said in other.messages]
    assert (other.persona, other.title) == ("傲娇", one.title)
    assert other.messages[0].meta == {"greeting": True}, "it answers nothing"
    assert export(conversations, "me", back, "sillytavern") != b""
    with pytest.raises(AccessError):
        export(conversations, "you", id, "json")


def test_a_chat_goes_to_sillytavern_and_comes_back_with_its_swipes(conversations: Conversations) -> None:
    id = talk(conversations)
    content = export(conversations, "me", id, "sillytavern", "纪棠")
    head, *lines = [json.loads(line) for line in content.decode().splitlines()]
    assert head["character_name"] == "纪棠"
    assert [(one["is_user"], one["mes"]) for one in lines] == [(False, "来了？"), (True, "早上好"), (False, "嗯，早。")]
    assert (lines[0]["swipes"], lines[0]["swipe_id"]) == (["来了？", "又是你。"], 0)
    assert (lines[2]["swipes"], lines[2]["swipe_id"]) == (["早什么早。", "嗯，早。"], 1)
    back = conversations.get("me", take(conversations, "me", content, "温柔"))
    assert (back.persona, back.title) == ("温柔", "早上好")
    assert [one.content for one in back.messages] == ["来了？", "早上好", "嗯，早。"]
    assert [len(one.siblings) for one in back.messages] == [2, 1, 2]


@pytest.mark.parametrize("form", ["json", "sillytavern"])
def test_any_character_of_a_line_comes_back(conversations: Conversations, form: str) -> None:
    """Python ends a line at more of them than JSON Lines does."""
    opened = conversations.open("me", "傲娇")
    said = "".join(map(chr, [*range(1, 0x20), 0x85, 0x2028, 0x2029])).strip() + "。"
    conversations.append("me", opened.id, "user", said)
    content = export(conversations, "me", opened.id, form)
    assert [one.content for one in read(content, "傲娇").messages] == [said]
    windows = content.replace(b"\n", b"\r\n")
    assert [one.content for one in read(windows, "傲娇").messages] == [said]


def test_of_what_a_file_says_about_an_answer_only_what_can_be_shown_is_taken() -> None:
    good = {"tokens": 3, "sampling": {"seed": 7, "top_p": 0.5}, "done": True, "thought_s": 1.5, "base": "starter"}
    bad = {
        "tokens": "x",
        "sampling": "x",
        "done": 1,
        "thought_s": float("inf"),
        "base": [],
        "edited": "1",
        "brought": "",
    }
    answers = [good, bad, {"tokens": True, "sampling": {"seed": 10**400, "x": 1}, "feeling": {}}]
    told = [
        {"id": str(number), "parent": "", "role": "assistant", "content": "嗯", "meta": meta}
        for number, meta in enumerate(answers)
    ]
    found = read(json.dumps({"form": FORM, "messages": told}).encode(), "傲娇")
    assert [one.meta for one in found.messages] == [good, {}, {"sampling": {}}]


def test_a_chat_as_sillytavern_writes_it() -> None:
    lines = [
        {"user_name": "User", "character_name": "Seraphina", "create_date": "2024-5-1 @10h 00m 00s 000ms"},
        {"name": "Seraphina", "is_user": False, "mes": "*She smiles.*", "swipes": ["a", "b"], "swipe_id": 1},
        {"name": "System", "is_user": False, "is_system": True, "mes": "hidden"},
        {"name": "User", "is_user": True, "mes": "Hello", "extra": None},
        {
            "name": "Seraphina",
            "is_user": False,
            "mes": "Hi",
            "swipe_id": 9,
            "swipes": [1],
            "extra": {"reasoning": "hm"},
        },
    ]
    found = read("\n".join(map(json.dumps, lines)).encode(), "她")
    assert [(one.role, one.content) for one in found.messages] == [
        ("assistant", "a"),
        ("assistant", "b"),
        ("assistant", "*She smiles.*"),
        ("user", "Hello"),
        ("assistant", "Hi"),
    ]
    assert found.messages[-1].thinking == "hm"
    assert found.messages[3].parent == found.messages[2].id, "what was edited is the one that is shown"
    assert found.title == "Hello"


def test_markdown_is_for_reading(conversations: Conversations) -> None:
    id = talk(conversations)
    first = conversations.get("me", id).messages[1]
    conversations.branches.switch("me", first.siblings[0])
    text = export(conversations, "me", id, "markdown", "纪棠").decode()
    assert text.startswith("# 早\n")
    assert "**纪棠**\n\n来了？" in text
    assert "> 想一想\n\n<img" in text


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (b"\xff\xfe{}", "chat_file.not_utf8"),
        (b"", "chat_file.no_messages"),
        (b"{}", "chat_file.no_messages"),
        (b"[1, 2]", "chat_file.bad_line"),
        (b'{"user_name": "x"}\n{"mes": "a"}\nnonsense', "chat_file.bad_line"),
        (b'{"mes": 5}', "chat_file.bad_message"),
        (b"[" * 100_000, "chat_file.bad_line"),
        (b'{"form": "anime-ai-conversation"}', "chat_file.no_messages"),
        (OWN % (b"2", b"user"), "chat_file.bad_message"),
        (OWN % (b"", b"god"), "chat_file.bad_message"),
        (OWN.replace(b'"%s"', b"[]", 1) % b"user", "chat_file.bad_message"),
        (json.dumps({"mes": "长" * (MOST_CHARACTERS + 1)}).encode(), "chat_file.too_long"),
        (b'{"mes": "a"}\n' * 20_001, "chat_file.too_many"),
    ],
)
def test_what_is_no_chat_is_refused_whole(conversations: Conversations, content: bytes, key: str) -> None:
    with pytest.raises(ChatFileError) as caught:
        take(conversations, "me", content, "傲娇")
    assert caught.value.key == key
    assert conversations.list("me") == []
