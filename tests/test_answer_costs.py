"""What an answer costs before its first word: statements, transactions and files, counted, not timed. And that what was
asked is on the disk by then."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from ui_fakes import FakeChat, open_studio

from anime_ai.chat import keeping
from anime_ai.chat.turns import How
from anime_ai.config import ROOT, Settings
from anime_ai.files import write_json
from anime_ai.models.adapters import CARD, WEIGHTS
from anime_ai.models.bases import find_base
from anime_ai.models.engine import Piece
from anime_ai.models.engines import open_engine
from anime_ai.studio import Studio
from anime_ai.ui.chat_tab import ChatTab
from anime_ai.ui.persons import Person
from anime_ai.ui.sampling_form import SamplingForm

QUESTION = "今天天气真好，出去走走吗？"
OWNER = Person("owner", "owner", "zh", "session")


class Counted:
    """What this thread asks of a database and opens of the project's files, while it is counted."""

    _hooked: list[Counted] = []

    def __init__(self, studio: Studio, *folders: Path) -> None:
        self.statements: list[str] = []
        self.commits = 0
        self.opened: list[str] = []
        self._folders, self._thread = tuple(map(str, folders)), 0
        engine = studio.database._engine
        event.listen(engine, "before_cursor_execute", self._statement)
        event.listen(engine, "commit", self._commit)
        if not self._hooked:  # an audit hook stays for good
            sys.addaudithook(lambda name, told: [one._open(name, told) for one in self._hooked] and None)
        self._hooked[:] = [self]

    def __enter__(self) -> Counted:
        self.statements, self.commits, self.opened = [], 0, []
        self._thread = threading.get_ident()
        return self

    def __exit__(self, *error: object) -> None:
        self._thread = 0

    @property
    def questions(self) -> list[str]:
        """The statements that are not about transactions."""
        return [one for one in self.statements if not one.startswith(("BEGIN", "PRAGMA"))]

    def _statement(self, *given: Any) -> None:
        if self._thread == threading.get_ident():
            self.statements.append(" ".join(given[2].split()))

    def _commit(self, *given: Any) -> None:
        self.commits += self._thread == threading.get_ident()

    def _open(self, name: str, told: tuple[Any, ...]) -> None:
        if name == "open" and self._thread == threading.get_ident() and str(told[0]).startswith(self._folders):
            self.opened.append(str(told[0]))


class Words:
    """The starter's tokenizer and layouts, and an answer of three pieces; `begun` is called when it is asked."""

    name, loaded, reading_pace, device = "words", True, None, None

    def __init__(self, engine: Any) -> None:
        self.base, self.tokenizer, self.layout = engine.base, engine.tokenizer, engine.layout
        self.begun: list[Any] = []

    def context_length(self) -> int:
        return 4096

    def close(self) -> None:
        return

    def stream(self, *given: Any) -> Generator[Piece, None, None]:
        for look in self.begun:
            look()
        for number, word in enumerate(("好", "呀", "。")):
            yield Piece(word, (5,), ended=number == 2)


@pytest.fixture(scope="module")
def words() -> Words:
    settings = Settings.load(model_name="starter", engine="transformers")
    return Words(open_engine(settings, find_base("starter")))


@pytest.fixture
def studio(tmp_path: Path, words: Words) -> Iterator[Studio]:
    words.begun = []
    settings = Settings.load(output_dir=tmp_path / "studio", model_name="starter")
    with Studio.open(settings) as opened:
        opened.chat._engine = words  # type: ignore[assignment]
        yield opened


@pytest.fixture
def counted(studio: Studio) -> Counted:
    return Counted(studio, ROOT, studio.settings.output_dir)


def asked(studio: Studio, talk: str, adapter: str) -> Any:
    return studio.chat.reply("owner", talk, QUESTION, How(adapter))


def test_before_the_first_word_little_is_asked_and_no_file_is_read(studio: Studio, counted: Counted) -> None:
    talk = studio.chat.start("owner", studio.settings.persona).id
    adapter = studio.chat.adapters(studio.settings.persona)[0].id
    assert adapter.startswith("shipped:")
    for _ in range(2):  # what is looked up once is looked up
        list(asked(studio, talk, adapter))
    costs = []
    for _ in range(3):
        with counted, closing(asked(studio, talk, adapter)) as replies:
            assert next(replies).text
            costs.append((len(counted.questions), counted.commits, counted.opened))
        list(asked(studio, talk, adapter))
    for questions, commits, opened in costs:  # however long the conversation is by then
        assert questions <= 14, "two of them twice a second at most"
        assert commits <= 2, "one that looks, one that keeps the question"
        assert opened == []


def test_the_page_adds_two_questions_to_that(studio: Studio, counted: Counted) -> None:
    talk = studio.chat.start("owner", studio.settings.persona).id
    adapter = studio.chat.adapters(studio.settings.persona)[0].id
    page = ChatTab(studio)
    how = [adapter, False, *SamplingForm._set(How().sampling)[1:]]
    for _ in range(2):
        list(page.talking.send(OWNER, QUESTION, talk, *how, "", [], ""))
    with counted, closing(page.talking.send(OWNER, QUESTION, talk, *how, "", [], "")) as steps:
        waiting = next(steps)[1]
        assert next(step[1] for step in steps if isinstance(step[1], str) and step[1] not in ("", waiting))
        assert len(counted.questions) <= 16
        assert counted.commits <= 5
        assert counted.opened == []


def test_what_was_asked_is_on_the_disk_before_the_engine_begins(studio: Studio, counted: Counted, words: Words) -> None:
    talk = studio.chat.start("owner", studio.settings.persona).id
    seen = []

    def look() -> None:
        with closing(sqlite3.connect(studio.settings.studio_dir / "studio.db")) as raw:
            wanted = "SELECT content FROM messages WHERE conversation_id = ? AND role = 'user'"
            seen.append([content for (content,) in raw.execute(wanted, (talk,))])

    words.begun = [look]
    with counted, closing(asked(studio, talk, "")) as replies:
        next(replies)
        kept = [one.split(" (")[0] for one in counted.statements if one.startswith(("PRAGMA", "INSERT"))]
    assert seen == [[QUESTION]]
    assert kept == ["PRAGMA synchronous = FULL", "INSERT INTO messages"], "the disk has it, whatever happens next"


def test_of_an_answer_whose_reader_goes_at_the_first_word_that_word_is_kept(studio: Studio) -> None:
    talk = studio.chat.start("owner", studio.settings.persona).id
    with closing(asked(studio, talk, "")) as replies:
        first = next(replies)
    kept = studio.conversations.get("owner", talk).messages[-1]
    assert (kept.id, kept.role, kept.content, kept.meta["done"]) == (first.message_id, "assistant", "好", False)


def test_while_she_goes_on_what_she_said_is_there_for_everybody(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "SAVE_EVERY", 0.0)
    talk = studio.chat.start("owner", studio.settings.persona).id
    with closing(asked(studio, talk, "")) as replies:
        next(replies), next(replies)
        with closing(sqlite3.connect(studio.settings.studio_dir / "studio.db")) as raw:
            told = raw.execute("SELECT role, content FROM messages WHERE conversation_id = ?", (talk,)).fetchall()
        assert told[-1] == ("assistant", "好")


def test_a_conversation_that_is_removed_in_the_middle_ends_the_answer(studio: Studio) -> None:
    from anime_ai.errors import AccessError

    talk = studio.chat.start("owner", studio.settings.persona).id
    replies = asked(studio, talk, "")
    assert next(replies).text == "好"
    studio.conversations.remove("owner", talk)
    with pytest.raises(AccessError):
        list(replies)
    with pytest.raises(AccessError):
        studio.conversations.get("owner", talk)


def test_an_adapter_that_is_added_or_changed_is_seen_at_the_next_answer(tmp_path: Path) -> None:
    studio = open_studio(tmp_path, model_name="starter")
    chat = studio.chat
    assert isinstance(chat, FakeChat)
    folder = tmp_path / "final_model"
    assert "final" not in [one.id for one in chat.adapters()]
    write_json(folder / "adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": "starter"})
    (folder / WEIGHTS).write_bytes(b"")
    for think in ("inner", "open", "silent"):
        card = {"base": "starter", "persona": "傲娇", "think": think}
        write_json(folder / CARD, card)
        for _ in range(2):
            assert chat.choice("final").card == card
            os.utime(folder / CARD, (1e9, 1e9))  # as if it lay there for long, and all states at the same time
    (folder / "adapter_config.json").unlink()
    assert "final" not in [one.id for one in chat.adapters()]
    studio.close()
