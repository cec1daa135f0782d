"""Conversations: whose they are, what survives, and what order the messages stand in."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from anime_ai.chat.branches import Branches
from anime_ai.chat.conversations import TITLE, Conversation, Conversations
from anime_ai.chat.members import Member
from anime_ai.chat.tree import Message
from anime_ai.config import OWNER
from anime_ai.errors import AccessError, AnimeAIError
from anime_ai.storage import ConversationRecord, Database, new_id


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "studio.db") as opened:
        yield opened


@pytest.fixture
def conversations(database: Database) -> Conversations:
    return Conversations(database)


@pytest.fixture
def branches(database: Database) -> Branches:
    return Branches(database)


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


def test_a_visitor_keeps_so_many_conversations_and_loses_none_that_they_spoke_in(database: Database) -> None:
    few = Conversations(database, most=3)
    ways: list[Callable[[str], str]] = [
        lambda person: few.start(person, "傲娇").id,
        lambda person: few.open(person, f"别人{new_id()}").id,
        lambda person: few.start_group(person, [Member("傲娇"), Member("活泼")], []).id,
        lambda person: few.branches.branch(person, few.get(person, few.list(person)[-1].id).messages[0].id),
    ]
    spoken = few.start("v", "傲娇", ["早。"]).id
    few.append("v", spoken, "user", "早")
    few.rename("v", spoken, "")
    empty = few.start_group("v", [Member("傲娇"), Member("活泼")], [("傲娇", "早。")]).id
    for begin in ways[:3] * 2:
        latest = begin("v")
        there = [one.id for one in few.list("v")]
        assert {spoken, latest} <= set(there), "an unused one gives way"
        assert len(there) <= 3
    assert empty not in there
    for id in there:
        few.append("v", id, "user", "早")
    for begin in ways:
        with pytest.raises(AnimeAIError) as refused:
            begin("v")
        assert refused.value.key == "chat.many_talks"
    assert sorted(one.id for one in few.list("v")) == sorted(there)
    few.remove("v", spoken)
    assert few.start("v", "傲娇")
    for _ in range(5):
        few.append(OWNER, few.start(OWNER, "傲娇").id, "user", "早")
    assert len(few.list(OWNER)) == 5


def test_a_new_conversation_leaves_the_old_one_whole(conversations: Conversations) -> None:
    first = conversations.open("a", "傲娇")
    conversations.append("a", first.id, "user", "早")
    second = conversations.start("a", "傲娇")
    assert second.id != first.id
    assert conversations.open("a", "傲娇").id == second.id
    assert second.messages == ()
    assert [message.content for message in conversations.get("a", first.id).messages] == ["早"]
    assert {one.id for one in conversations.list("a")} == {first.id, second.id}


def test_what_was_open_last_is_opened(conversations: Conversations, database: Database) -> None:
    with database.session() as session:
        session.add(ConversationRecord(id="old", person="a", persona="傲娇", opened=1.0))
        session.add(ConversationRecord(id="new", person="a", persona="傲娇", opened=2.0))
    assert conversations.open("a", "傲娇").id == "new"
    conversations.append("a", "old", "user", "回来了")
    assert conversations.open("a", "傲娇").id == "old"
    conversations.get("a", "new", opened=True)
    assert conversations.open("a", "傲娇").id == "new"
    last = conversations.last("a")
    assert last is not None
    assert last.id == "new"
    assert conversations.last("b") is None


def test_partial_answers_grow(conversations: Conversations) -> None:
    opened = conversations.open("a", "傲娇")
    message = conversations.append("a", opened.id, "assistant", "", meta={"state": "running"})
    for text in ("哼", "哼，才", "哼，才不是"):
        conversations.update("a", message.id, text, thinking="嗯")
    stored = conversations.get("a", opened.id).messages[0]
    assert (stored.content, stored.thinking, stored.meta) == ("哼，才不是", "嗯", {"state": "running"})
    conversations.update("a", message.id, "哼，才不是呢", meta={})
    assert conversations.get("a", opened.id).messages[0].meta == {}


CALLS: list[Callable[[Conversations, Branches, str, str], object]] = [
    lambda own, branches, conversation, message: own.get("mallory", conversation),
    lambda own, branches, conversation, message: own.get("mallory", conversation, opened=True),
    lambda own, branches, conversation, message: own.append("mallory", conversation, "user", "x"),
    lambda own, branches, conversation, message: own.greet("mallory", conversation, ["x"]),
    lambda own, branches, conversation, message: own.update("mallory", message, "x"),
    lambda own, branches, conversation, message: own.rename("mallory", conversation, "x"),
    lambda own, branches, conversation, message: own.pin("mallory", conversation, True),
    lambda own, branches, conversation, message: own.settle("mallory", conversation, think="open"),
    lambda own, branches, conversation, message: own.ask_of("mallory", conversation, []),
    lambda own, branches, conversation, message: own.remove("mallory", conversation),
    lambda own, branches, conversation, message: branches.message("mallory", message),
    lambda own, branches, conversation, message: branches.conversation_of("mallory", message),
    lambda own, branches, conversation, message: branches.whole("mallory", conversation),
    lambda own, branches, conversation, message: branches.edit("mallory", message, "x"),
    lambda own, branches, conversation, message: branches.switch("mallory", message),
    lambda own, branches, conversation, message: branches.rewind("mallory", conversation, message),
    lambda own, branches, conversation, message: branches.forward("mallory", conversation),
    lambda own, branches, conversation, message: branches.delete("mallory", message),
    lambda own, branches, conversation, message: branches.branch("mallory", message),
]


@pytest.mark.parametrize("call", CALLS)
def test_anothers_conversation_looks_like_none(
    call: Callable[[Conversations, Branches, str, str], object], conversations: Conversations, branches: Branches
) -> None:
    opened = conversations.open("alice", "傲娇")
    message = conversations.append("alice", opened.id, "user", "秘密")
    before = conversations.get("alice", opened.id)
    with pytest.raises(AccessError) as foreign:
        call(conversations, branches, opened.id, message.id)
    with pytest.raises(AccessError) as missing:
        call(conversations, branches, new_id(), new_id())
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
    monkeypatch.setattr("anime_ai.chat.tree.time.time", lambda: next(clock))
    for number in range(6):
        conversations.append("a", opened.id, "user", str(number))
    assert [message.content for message in conversations.get("a", opened.id).messages] == list("012345")


def test_text_that_no_database_takes_is_stored_safely(conversations: Conversations) -> None:
    opened = conversations.open("a", "傲娇")
    conversations.append("a", opened.id, "user", "a\ud800b\0c😀", thinking="\udfff", meta={"x": "\ud800"})
    stored = conversations.get("a", opened.id).messages[0]
    assert stored.content == "a\ufffdb\ufffdc😀"
    assert stored.thinking == "\ufffd"
    assert stored.meta == {"x": "\ud800"}


def test_greetings_are_the_first_alternatives(conversations: Conversations, branches: Branches) -> None:
    opened = conversations.start("a", "傲娇", ["来了？", "又是你。", "哼。"])
    (greeting,) = opened.messages
    assert (greeting.role, greeting.content, len(greeting.siblings)) == ("assistant", "来了？", 3)
    branches.switch("a", greeting.siblings[1])
    conversations.append("a", opened.id, "user", "早")
    assert [one.content for one in conversations.get("a", opened.id).messages] == ["又是你。", "早"]
    branches.switch("a", greeting.id)
    branches.switch("a", greeting.siblings[1])
    assert [one.content for one in conversations.get("a", opened.id).messages] == ["又是你。", "早"]
    empty = conversations.open("b", "傲娇")
    assert conversations.greet("b", empty.id, ["来了？"]).messages[0].content == "来了？"
    assert len(conversations.greet("b", empty.id, ["又一次"]).messages) == 1
    branches.delete("b", conversations.get("b", empty.id).messages[0].id)
    assert conversations.greet("b", empty.id, ["又一次"]).messages == ()


def test_an_edit_stands_beside_what_was_said(conversations: Conversations, branches: Branches) -> None:
    opened = conversations.open("a", "傲娇")
    for role, said in (("user", "问"), ("assistant", "答"), ("user", "再问"), ("assistant", "再答")):
        conversations.append("a", opened.id, role, said)
    asked = conversations.get("a", opened.id).messages[2]
    edited = branches.edit("a", asked.id, "换个问法")
    line = conversations.get("a", opened.id).messages
    assert [one.content for one in line] == ["问", "答", "换个问法"]
    assert edited.siblings == line[2].siblings == (asked.id, edited.id)
    branches.switch("a", asked.id)
    assert [one.content for one in conversations.get("a", opened.id).messages] == ["问", "答", "再问", "再答"]


def test_undo_shows_less_and_loses_nothing(conversations: Conversations, branches: Branches) -> None:
    opened = conversations.open("a", "傲娇")
    said = [conversations.append("a", opened.id, "user", str(number)) for number in range(4)]
    branches.rewind("a", opened.id, said[1].id)
    shorter = conversations.get("a", opened.id)
    assert [one.content for one in shorter.messages] == ["0", "1"]
    assert shorter.ahead
    branches.rewind("a", opened.id, "")
    assert conversations.get("a", opened.id).messages == ()
    branches.forward("a", opened.id)
    whole = conversations.get("a", opened.id)
    assert [one.content for one in whole.messages] == list("0123")
    assert not whole.ahead


def test_a_branch_is_a_conversation_of_its_own(conversations: Conversations, branches: Branches) -> None:
    opened = conversations.open("a", "傲娇")
    said = [conversations.append("a", opened.id, "user", str(number)) for number in range(4)]
    other = branches.branch("a", said[2].id)
    conversations.append("a", other, "user", "别处")
    assert [one.content for one in conversations.get("a", other).messages] == ["0", "1", "2", "别处"]
    assert [one.content for one in conversations.get("a", opened.id).messages] == list("0123")
    conversations.remove("a", opened.id)
    assert [one.id for one in conversations.list("a")] == [other]


def test_a_long_line_is_deleted_from_its_beginning(conversations: Conversations, branches: Branches) -> None:
    """Deleted along its references, it would be deeper than SQLite follows."""
    told, parent = [], ""
    for number in range(1200):
        told.append(Message(str(number), "user", "长", parent=parent))
        parent = str(number)
    for way in ("delete", "remove"):
        made = branches.restore("a", "傲娇", "长", told, parent)
        line = conversations.get("a", made).messages
        assert len(line) == 1200
        if way == "delete":
            branches.delete("a", line[0].id)
            assert conversations.get("a", made).messages == ()
        else:
            conversations.remove("a", made)
            assert made not in [one.id for one in conversations.list("a")]


class Model:
    """The tree as plain dicts: what the database has to agree with after every step."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}
        self.words: dict[str, str] = {}
        self.shown: dict[str, int] = {}
        self.leaf, self.clock = "", 0

    def line(self, leaf: str) -> list[str]:
        return [] if not leaf else [*self.line(self.parent[leaf]), leaf]

    def siblings(self, id: str) -> list[str]:
        return [one for one in self.parent if self.parent[one] == self.parent[id]]

    def turn(self, leaf: str) -> None:
        self.clock += 1
        for id in self.line(leaf):
            if id not in self.line(self.leaf):
                self.shown[id] = self.clock
        self.leaf = leaf

    def end(self, id: str) -> str:
        children = [one for one in self.parent if self.parent[one] == id]
        return self.end(max(children, key=self.shown.__getitem__)) if children else id

    def add(self, id: str, parent: str, words: str) -> None:
        self.parent[id], self.words[id] = parent, words
        self.clock += 1
        self.shown[id], self.leaf = self.clock, id

    def delete(self, id: str) -> None:
        on_line, parent = id in self.line(self.leaf), self.parent[id]
        gone = {id}
        while more := {one for one in self.parent if self.parent[one] in gone} - gone:
            gone |= more
        for one in gone:
            del self.parent[one], self.words[one], self.shown[one]
        if on_line:
            self.leaf = "" if parent not in self.parent else parent
            self.turn(self.end(parent if parent in self.parent else ""))


@pytest.mark.parametrize("seed", range(8))
def test_any_walk_through_a_tree_agrees_with_the_model(
    seed: int, conversations: Conversations, branches: Branches
) -> None:
    random, model = Random(seed), Model()
    opened = conversations.start("a", "傲娇", ["一", "二"])
    first = conversations.get("a", opened.id).messages[0]
    for id, words in zip(first.siblings, "一二", strict=True):
        model.add(id, "", words)
    model.turn(first.id)
    model.shown[first.id] = model.clock = model.clock + 1
    others: list[tuple[str, list[str]]] = []
    for step in range(70):
        line = model.line(model.leaf)
        there = random.choice([*model.parent]) if model.parent else ""
        way = random.choice(["append", "append", "append", "answer", "edit", "switch", "rewind", "forward", "delete"])
        if way == "append" or not there:
            role = random.choice(["user", "assistant"])
            model.add(conversations.append("a", opened.id, role, str(step)).id, model.leaf, str(step))
        elif way == "answer" and line:  # another answer beside the last one
            parent = model.parent[line[-1]]
            new = conversations.append("a", opened.id, "assistant", str(step), behind=parent)
            model.add(new.id, parent, str(step))
        elif way == "edit":
            model.add(branches.edit("a", there, str(step)).id, model.parent[there], str(step))
        elif way == "switch":
            branches.switch("a", there)
            model.turn(model.end(there))
        elif way == "rewind":
            branches.rewind("a", opened.id, there)
            model.turn(there)
        elif way == "forward":
            branches.forward("a", opened.id)
            model.turn(model.end(model.leaf))
        elif way == "delete" and random.random() < 0.5:
            branches.delete("a", there)
            model.delete(there)
        if there in model.parent and random.random() < 0.1:
            others.append((branches.branch("a", there), [model.words[id] for id in model.line(there)]))
        agree(model, conversations.get("a", opened.id), branches.whole("a", opened.id))
    for other, words in others:
        assert [one.content for one in conversations.get("a", other).messages] == words


def agree(model: Model, found: Conversation, whole: list[Message]) -> None:
    assert [one.id for one in found.messages] == model.line(model.leaf)
    assert [one.content for one in found.messages] == [model.words[id] for id in model.line(model.leaf)]
    assert [list(one.siblings) for one in found.messages] == [model.siblings(id) for id in model.line(model.leaf)]
    assert found.ahead == (model.leaf in model.parent.values())
    assert {one.id: (one.parent, one.content) for one in whole} == {
        id: (model.parent[id], model.words[id]) for id in model.parent
    }
    places = {one.id: place for place, one in enumerate(whole)}
    assert all(places[one.parent] < places[one.id] for one in whole if one.parent)
