"""Conversations: whose they are, what survives, and what order the messages stand in."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anime_ai.chat.conversations import TITLE, Conversations
from anime_ai.errors import AccessError
from anime_ai.storage import ConversationRecord, Database, MessageRecord, new_id


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "studio.db") as opened:
        yield opened


@pytest.fixture
def conversations(database: Database) -> Conversations:
    return Conversations(database)


def test_messages_come_back_in_order_in_the_same_conversation(conversations: Conversations, tmp_path: Path) -> None:
    opened = conversations.open("小明", "傲娇")
    assert opened.messages == ()
    said = conversations.append("小明", opened.id, "user", "你叫什么名字？")
    answer = conversations.append("小明", opened.id, "assistant", "纪棠。", thinking="又问", meta={"秒": 1.5})
    again = conversations.open("小明", "傲娇")
    assert again.id == opened.id
    assert again.messages == (said, answer)
    assert again.messages[1].meta == {"秒": 1.5}
    with Database.open(tmp_path / "studio.db") as later:
        assert Conversations(later).get("小明", opened.id) == again


def test_persons_and_personas_have_conversations_of_their_own(conversations: Conversations) -> None:
    ids = {conversations.open(person, persona).id for person in ("a", "b") for persona in ("傲娇", "温柔")}
    assert len(ids) == 4
    assert len(conversations.list("a")) == 2
    assert conversations.list("nobody") == []


def test_close_starts_afresh_and_keeps_everything(conversations: Conversations) -> None:
    first = conversations.open("a", "傲娇")
    conversations.append("a", first.id, "user", "早")
    conversations.close("a", first.id)
    second = conversations.open("a", "傲娇")
    assert second.id != first.id
    assert second.messages == ()
    assert [message.content for message in conversations.get("a", first.id).messages] == ["早"]
    assert {one.id: one.closed for one in conversations.list("a")} == {first.id: True, second.id: False}


def test_newest_open_conversation_is_opened(conversations: Conversations, database: Database) -> None:
    with database.session() as session:
        session.add(ConversationRecord(id="old", person="a", persona="傲娇", updated=1.0))
        session.add(ConversationRecord(id="new", person="a", persona="傲娇", updated=2.0))
    assert conversations.open("a", "傲娇").id == "new"
    conversations.append("a", "old", "user", "回来了")
    assert conversations.open("a", "傲娇").id == "old"


def test_partial_answers_grow(conversations: Conversations) -> None:
    opened = conversations.open("a", "傲娇")
    message = conversations.append("a", opened.id, "assistant", "", meta={"state": "running"})
    for text in ("哼", "哼，才", "哼，才不是"):
        conversations.update("a", message.id, text, thinking="嗯")
    stored = conversations.get("a", opened.id).messages[0]
    assert (stored.content, stored.thinking, stored.meta) == ("哼，才不是", "嗯", {"state": "running"})
    conversations.update("a", message.id, "哼，才不是呢", meta={})
    assert conversations.get("a", opened.id).messages[0].meta == {}


CALLS: list[Callable[[Conversations, str, str], object]] = [
    lambda own, conversation, message: own.get("mallory", conversation),
    lambda own, conversation, message: own.append("mallory", conversation, "user", "x"),
    lambda own, conversation, message: own.update("mallory", message, "x"),
    lambda own, conversation, message: own.close("mallory", conversation),
]


@pytest.mark.parametrize("call", CALLS)
def test_anothers_conversation_looks_like_none(
    call: Callable[[Conversations, str, str], object], conversations: Conversations
) -> None:
    opened = conversations.open("alice", "傲娇")
    message = conversations.append("alice", opened.id, "user", "秘密")
    before = conversations.get("alice", opened.id)
    with pytest.raises(AccessError) as foreign:
        call(conversations, opened.id, message.id)
    with pytest.raises(AccessError) as missing:
        call(conversations, new_id(), new_id())
    assert foreign.value.key == missing.value.key == "chat.not_yours"
    assert foreign.value.values == missing.value.values == {}
    assert conversations.get("alice", opened.id) == before


def test_title_is_the_first_line_of_the_person(conversations: Conversations) -> None:
    opened = conversations.open("a", "傲娇")
    assert opened.title == ""
    conversations.append("a", opened.id, "assistant", "欢迎")
    conversations.append("a", opened.id, "user", "  <b>很长</b>\n" + "的" * 200)
    conversations.append("a", opened.id, "user", "第二句")
    title = conversations.get("a", opened.id).title
    assert title == ("<b>很长</b> " + "的" * 200)[:TITLE]


def test_appends_from_two_tabs_make_one_line(conversations: Conversations) -> None:
    opened = conversations.open("a", "傲娇")
    failed: list[BaseException] = []

    def talk(name: str) -> None:
        try:
            for number in range(10):
                conversations.append("a", opened.id, "user", f"{name}{number}")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=talk, args=(name,)) for name in "甲乙丙"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    said = [message.content for message in conversations.get("a", opened.id).messages]
    assert sorted(said) == sorted(f"{name}{number}" for name in "甲乙丙" for number in range(10))
    for name in "甲乙丙":
        assert [one for one in said if one.startswith(name)] == [f"{name}{number}" for number in range(10)]


def test_order_survives_a_clock_that_runs_backwards(
    conversations: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = conversations.open("a", "傲娇")
    clock = itertools.count(2_000_000_000.0, -1.0)
    monkeypatch.setattr("anime_ai.chat.conversations.time.time", lambda: next(clock))
    for number in range(6):
        conversations.append("a", opened.id, "user", str(number))
    assert [message.content for message in conversations.get("a", opened.id).messages] == list("012345")


def test_a_branch_is_read_along_its_parents(conversations: Conversations, database: Database) -> None:
    opened = conversations.open("a", "傲娇")
    question = conversations.append("a", opened.id, "user", "问")
    first = conversations.append("a", opened.id, "assistant", "旧答案")
    with database.session() as session:
        old = session.get_one(MessageRecord, first.id)
        session.add(
            MessageRecord(
                conversation_id=opened.id,
                parent_id=question.id,
                role="assistant",
                content="新答案",
                created=old.created + 1,
            )
        )
    assert [message.content for message in conversations.get("a", opened.id).messages] == ["问", "新答案"]


def test_text_that_no_database_takes_is_stored_safely(conversations: Conversations) -> None:
    opened = conversations.open("a", "傲娇")
    conversations.append("a", opened.id, "user", "a\ud800b\0c😀", thinking="\udfff", meta={"x": "\ud800"})
    stored = conversations.get("a", opened.id).messages[0]
    assert stored.content == "a\ufffdb\ufffdc😀"
    assert stored.thinking == "\ufffd"
    assert stored.meta == {"x": "\ud800"}
