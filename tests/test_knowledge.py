"""Bases, documents, chunks and what is found: always what the database says, whatever died in between."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from documents import WHOLE, zipped

from anime_ai.config import DATA, Settings
from anime_ai.errors import KnowledgeError
from anime_ai.knowledge import index
from anime_ai.knowledge.chunks import Block, chunked
from anime_ai.knowledge.embedding import HASHED, Hashed
from anime_ai.knowledge.semantic import Dense
from anime_ai.knowledge.service import Knowledge
from anime_ai.knowledge.store import MOST_CHUNK
from anime_ai.storage import Database

SERIES = DATA / "knowledge" / "series"


def put(knowledge: Knowledge, base: str, name: str, text: str) -> str:
    return knowledge.library.put(base, name, text, [Block("text", text)])


def found(knowledge: Knowledge, base: str, question: str) -> list[str]:
    return [passage.text for passage in knowledge.search(question, [base])]


# Documents


def test_files_are_added_one_by_one_whatever_becomes_of_the_others(knowledge: Knowledge, tmp_path: Path) -> None:
    base = knowledge.library.create("我的")
    files = []
    for name in ("a.txt", "a.pdf", "a.docx"):
        (tmp_path / name).write_bytes(WHOLE[name])
        files.append(tmp_path / name)
    (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.4 nothing")
    (tmp_path / "many.zip").write_bytes(zipped({"x/a.md": WHOLE["a.md"], "y.exe": b"MZ"}))
    done = list(knowledge.add(base, [*files, tmp_path / "bad.pdf", tmp_path / "many.zip"]))
    told = {one.name: one.error.key if one.error else "" for one in done}
    assert told == {
        "a.txt": "",
        "a.pdf": "",
        "a.docx": "",
        "bad.pdf": "knowledge.broken",
        "many/x/a.md": "",
        "many/y.exe": "knowledge.kind",
    }
    assert [info.name for info in knowledge.library.documents(base)] == ["a.docx", "a.pdf", "a.txt", "many/x/a.md"]
    again = list(knowledge.add(base, files))
    assert all(one.unchanged for one in again)
    assert [one.document_id for one in again] == [one.document_id for one in done[:3]]


def test_adding_stops_when_it_is_told_to(knowledge: Knowledge, tmp_path: Path) -> None:
    base, stop = knowledge.library.create("我的"), threading.Event()
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(f"第{number}份。", encoding="utf-8")
    done = []
    for one in knowledge.add(base, [tmp_path / f"{number}.txt" for number in range(3)], stop=stop):
        done.append(one.name)
        stop.set()
    assert done == ["0.txt"]
    assert [info.name for info in knowledge.library.documents(base)] == ["0.txt"]


def test_a_changed_document_takes_the_place_of_the_old_one(knowledge: Knowledge) -> None:
    base = knowledge.library.create("我的")
    put(knowledge, base, "a.txt", "雪见喜欢草莓大福。")
    assert found(knowledge, base, "草莓大福") == ["雪见喜欢草莓大福。"]
    put(knowledge, base, "a.txt", "雪见喜欢柠檬挞。")
    assert found(knowledge, base, "草莓大福") == []
    assert found(knowledge, base, "柠檬挞") == ["雪见喜欢柠檬挞。"]
    knowledge.library.remove(knowledge.library.documents(base)[0].id)
    assert found(knowledge, base, "柠檬挞") == []


def test_a_chunk_can_be_edited_and_switched_off(knowledge: Knowledge) -> None:
    base = knowledge.library.create("我的")
    document = put(knowledge, base, "a.txt", "雪见喜欢草莓大福。")
    (chunk,) = knowledge.library.chunks(document)
    made = knowledge.library.edit(chunk.id, "雪见喜欢蜂蜜蛋糕。")
    assert found(knowledge, base, "草莓大福蜂蜜蛋糕") == ["雪见喜欢蜂蜜蛋糕。"]
    assert knowledge.library.text(document) == "雪见喜欢草莓大福。"
    knowledge.library.switch(made, False)
    assert found(knowledge, base, "蜂蜜蛋糕") == []
    knowledge.library.switch(made, True)
    assert found(knowledge, base, "蜂蜜蛋糕") == ["雪见喜欢蜂蜜蛋糕。"]
    for text in ("", "  ", "字" * (MOST_CHUNK + 1)):
        with pytest.raises(KnowledgeError) as refused:
            knowledge.library.edit(made, text)
        assert refused.value.key == "knowledge.chunk_length"
    with pytest.raises(KnowledgeError):
        knowledge.library.edit(chunk.id, "旧的编号")


def test_what_another_process_writes_is_found(knowledge: Knowledge, settings: Settings) -> None:
    base = knowledge.library.create("我的")
    assert found(knowledge, base, "草莓") == []
    with Database.open(settings) as other:
        Knowledge(settings, other).library.put(base, "a.txt", "1", [Block("text", "雪见喜欢草莓。")])
    assert found(knowledge, base, "草莓") == ["雪见喜欢草莓。"]


def test_what_was_found_lately_is_read_once_until_something_changes(
    knowledge: Knowledge, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    by_id = knowledge.library.by_id
    monkeypatch.setattr(knowledge.library, "by_id", lambda ids: (asked.append(len(ids)), by_id(ids))[1])
    monkeypatch.setattr(index, "KEPT", 2)
    base = knowledge.library.create("我的")
    put(knowledge, base, "a.txt", "雪见喜欢草莓大福。")
    document = put(knowledge, base, "b.txt", "雪见喜欢草莓牛奶。")
    assert sorted(found(knowledge, base, "草莓")) == sorted(found(knowledge, base, "草莓"))
    assert asked == [2]
    with Database.open(settings) as other:
        library = Knowledge(settings, other).library
        library.edit(library.chunks(document)[0].id, "雪见喜欢草莓冰沙。")
    assert sorted(found(knowledge, base, "草莓")) == ["雪见喜欢草莓冰沙。", "雪见喜欢草莓大福。"]
    assert asked == [2, 2]
    for name in "cdef":
        put(knowledge, base, f"{name}.txt", f"{name}：雪见喜欢草莓。")
        found(knowledge, base, "草莓")
        assert len(knowledge._index(base)._found) <= 5, "no more than a search wants, and what is kept"
    knowledge.library.remove(document)
    assert "雪见喜欢草莓冰沙。" not in found(knowledge, base, "草莓")


def test_bases_belong_to_their_persons(knowledge: Knowledge) -> None:
    library = knowledge.library
    mine, shared = library.create("我的", person="me"), library.create("大家的")
    document = library.put(mine, "a.txt", "1", [Block("text", "秘密。")], "me")
    assert [one.id for one in library.bases("me")] == [mine, shared]
    assert [one.id for one in library.bases("you")] == [shared]
    (chunk,) = library.chunks(document, "me")
    for call in (
        lambda: library.documents(mine, "you"),
        lambda: library.document(document, "you"),
        lambda: library.text(document, "you"),
        lambda: library.chunks(document, "you"),
        lambda: library.chunk(chunk.id, "you"),
        lambda: library.edit(chunk.id, "改了", "you"),
        lambda: library.switch(chunk.id, False, "you"),
        lambda: library.put(mine, "b.txt", "2", [Block("text", "x。")], "you"),
        lambda: library.remove(document, "you"),
        lambda: library.remove_base(mine, "you"),
        lambda: list(knowledge.add(mine, [], "you")),
    ):
        with pytest.raises(KnowledgeError):
            call()
    assert library.text(document, "me") == "秘密。"


def test_names_are_data(knowledge: Knowledge) -> None:
    library = knowledge.library
    for name in ("../../etc", "CON", "a/b", "名" * 300, "😀", "<b>x</b>"):
        assert library.base(library.create(name)).name == name
        with pytest.raises(KnowledgeError) as taken:
            library.create(f" {name} ")
        assert taken.value.key == "knowledge.base_taken"
    for name in ("", " ", "a\0b", "名" * 301, "\ud800"):
        with pytest.raises(KnowledgeError):
            library.create(name)


def test_the_index_is_a_dict_whatever_happens(settings: Settings) -> None:
    """Random adds, edits, deletes and restarts against the simplest model of what must be found."""
    chance, model = random.Random(7), {}
    with Database.open(settings) as database:
        base = Knowledge(settings, database).library.create("模型")
    for _ in range(12):
        with Database.open(settings) as database:
            knowledge = Knowledge(settings, database)
            for _ in range(12):
                name = f"{chance.randint(0, 9)}.txt"
                documents = {info.name: info.id for info in knowledge.library.documents(base)}
                step = chance.random()
                if step < 0.5:
                    model[name] = f"这是{chance.randint(0, 10**6)}号内容。"
                    put(knowledge, base, name, model[name])
                elif step < 0.7 and name in documents:
                    model[name] = f"改成了{chance.randint(0, 10**6)}。"
                    (chunk,) = knowledge.library.chunks(documents[name])
                    knowledge.library.edit(chunk.id, model[name])
                elif name in documents:
                    knowledge.library.remove(documents[name])
                    del model[name]
                assert sorted(one.text for one in knowledge.search("这是号内容改成了", [base], 50)) == sorted(
                    model.values()
                )
            knowledge.close()


def test_a_kill_in_the_middle_leaves_whole_documents(settings: Settings, tmp_path: Path) -> None:
    with Database.open(settings) as database:
        base = Knowledge(settings, database).library.create("杀")
    code = (
        "import sys\nfrom anime_ai.config import Settings\nfrom anime_ai.storage import Database\n"
        "from anime_ai.knowledge.chunks import Block\nfrom anime_ai.knowledge.service import Knowledge\n"
        "settings = Settings(output_dir=sys.argv[1])\nknowledge = Knowledge(settings, Database.open(settings))\n"
        "for number in range(10**6):\n"
        "    blocks = [Block('text', f'第{number}版。' * 400)]\n"
        "    knowledge.library.put(sys.argv[2], 'a.txt', str(number), blocks)\n"
        "    print(number, flush=True)\n"
    )
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(settings.output_dir), base], stdout=subprocess.PIPE, cwd=DATA.parent
        )
        assert child.stdout is not None
        for _ in range(4):
            child.stdout.readline()
        child.kill()
        child.wait()
        child.stdout.close()
        with Database.open(settings) as database:
            knowledge = Knowledge(settings, database)
            (info,) = knowledge.library.documents(base)
            text = knowledge.library.text(info.id)
            version = text.split("版")[0] + "版。"
            assert text == version * 400
            chunks = knowledge.library.chunks(info.id)
            assert all(text[one.start : one.end] == one.text for one in chunks)
            assert {one.chunk_id for one in knowledge.search(version, [base], 500)} == {one.id for one in chunks}


DOING = """
import json, random, sys
from anime_ai.config import Settings
from anime_ai.knowledge.chunks import Block, chunked
from anime_ai.knowledge.embedding import HASHED, Hashed
from anime_ai.knowledge.embedding import Hashed
from anime_ai.knowledge.semantic import Dense
from anime_ai.knowledge.semantic import Dense
from anime_ai.knowledge.service import Knowledge
from anime_ai.storage import Database

settings, base, chance = Settings(output_dir=sys.argv[1]), sys.argv[2], random.Random(int(sys.argv[3]))
knowledge = Knowledge(settings, Database.open(settings))
knowledge.semantic.dense = Dense(Hashed(), 1.0)
library = knowledge.library

def tell(*what):
    print(json.dumps(what), flush=True)

while True:
    name, step, number = f"{chance.randrange(8)}.txt", chance.random(), chance.randrange(10**6)
    there = {info.name: info.id for info in library.documents(base)}
    if step < 0.5 or name not in there:
        text = f"内容是{number}号，写在这里。" * chance.randint(1, 80)
        tell("put", name, text)
        library.put(base, name, text, [Block("text", text)])
    elif step < 0.65:
        tell("remove", name)
        library.remove(there[name])
    else:
        chunk = chance.choice(library.chunks(there[name]))
        if step < 0.85:
            tell("edit", name, chunk.position, f"内容改成{number}号。")
            library.edit(chunk.id, f"内容改成{number}号。")
        else:
            tell("switch", name, chunk.position)
            library.switch(chunk.id, chunk.off)
    tell("done")
    knowledge.search("内容", [base])  # the vectors are filled behind it
"""
Held = dict[str, list[tuple[str, bool]]]
"""The simplest model of a base: every document's chunks in order, and whether each can be found."""


def after(model: Held, step: list[Any]) -> Held:
    """The model when a step of `DOING` is done."""
    what, name, *more = step
    model = {one: list(chunks) for one, chunks in model.items()}
    if what == "put":
        (text,) = more
        model[name] = [(text[one.start : one.end], True) for one in chunked([Block("text", text)])]
    elif what == "remove":
        del model[name]
    else:
        place, *text = more
        said, on = model[name][place]
        model[name][place] = (text[0], on) if text else (said, not on)
    return model


@pytest.mark.slow
def test_whatever_is_killed_in_the_middle_all_that_was_done_is_there_and_nothing_else(settings: Settings) -> None:
    """Random adds, edits, switches and deletes in a process that is killed at a random moment, again and again: what
    opens afterwards is the model, with or without the step that was begun, by words and by vectors."""
    chance, steps = random.Random(11), 0
    model: Held = {}
    with Database.open(settings) as database:
        base = Knowledge(settings, database).library.create("杀")
    for round in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", DOING, str(settings.output_dir), base, str(round)],
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            cwd=DATA.parent,
        )
        assert child.stdout is not None
        told = [child.stdout.readline() for _ in range(chance.randint(1, 60))]
        time.sleep(chance.random() / 30)
        child.kill()
        told += child.stdout.read().splitlines(keepends=True)
        child.wait()
        child.stdout.close()
        done = [json.loads(line) for line in told if line.endswith("\n")]
        begun = done.pop() if done[-1] != ["done"] else None
        for step in (one for one in done if one != ["done"]):
            model, steps = after(model, step), steps + 1
        with Database.open(settings) as database:
            knowledge = Knowledge(settings, database)
            library = knowledge.library
            stored = {
                info.name: [(one.text, not one.off) for one in library.chunks(info.id)]
                for info in library.documents(base)
            }
            assert stored in [model, after(model, begun) if begun else model]
            model = stored
            alive = sorted(text for chunks in stored.values() for text, on in chunks if on)
            assert sorted(one.text for one in knowledge.search("内容", [base], 10_000)) == alive
            knowledge.semantic._fill(base, Dense(Hashed(), 1.0))
            held = knowledge.semantic.vectors.held(base, HASHED)
            assert sorted(one.text for one in library.by_id(list(held)).values()) == alive
            assert len(held) == len(alive)
            knowledge.close()
    assert steps > 50


def test_an_empty_base_beside_takes_nothing_away(series: tuple[Knowledge, str]) -> None:
    knowledge, base = series
    empty = knowledge.library.create("空的")
    retrieval = knowledge.retrieve("乔絮的生日是哪天？", [base, empty, base], small=True)
    assert len(retrieval.used) == 1
    assert knowledge.cite("4月7日。", retrieval, [base, empty])
    knowledge.remove_base(empty)


def test_pasted_texts_do_not_replace_each_other(knowledge: Knowledge) -> None:
    base = knowledge.library.create("我的")
    knowledge.paste(base, "3.5版说明", "一。")
    knowledge.paste(base, "3.5版说明", "二。")
    assert [info.title for info in knowledge.library.documents(base)] == ["3.5版说明", "3.5版说明 (2)"]


# The base that ships


def test_the_shipped_base_is_there_once(series: tuple[Knowledge, str]) -> None:
    knowledge, base = series
    info = knowledge.library.base(base)
    assert info.documents >= 40
    assert len(info.questions) == 6
    assert knowledge.import_shipped(SERIES) is None
    for question in info.questions:
        assert knowledge.retrieve(question, [base]).used, question


def test_an_import_that_was_cut_is_finished_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with Database.open(settings) as database:
        knowledge = Knowledge(settings, database)
        with monkeypatch.context() as patch:
            puts = iter(range(5))
            whole = knowledge.library.put

            def put(*given: object) -> str:
                if next(puts, None) is None:
                    raise KeyboardInterrupt
                return whole(*given)  # type: ignore[arg-type]

            patch.setattr(knowledge.library, "put", put)
            with pytest.raises(KeyboardInterrupt):
                knowledge.import_shipped(SERIES)
        (cut,) = knowledge.library.bases()
        assert cut.documents == 5
        assert knowledge.import_shipped(SERIES) == cut.id
        assert knowledge.library.base(cut.id).documents >= 40
        knowledge.library.remove_base(cut.id)
        assert knowledge.import_shipped(SERIES) is None
        assert knowledge.library.bases() == []
