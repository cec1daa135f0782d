"""The knowledge tab's handlers, called as functions on a real database, and what the chat shows of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from documents import SAID
from ui_fakes import OWNER, VISITOR, open_studio

from anime_ai.errors import KnowledgeError, PersonaError
from anime_ai.knowledge.embedding import HASHED
from anime_ai.studio import Studio
from anime_ai.ui import knowledge_tab
from anime_ai.ui.chat_tab import ChatTab
from anime_ai.ui.knowledge_tab import KnowledgeTab

EVIL = '<img src=x onerror="alert(1)"> ${alert(1)}'


@pytest.fixture(autouse=True)
def _no_toasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knowledge_tab, "note", lambda line, language: None)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with open_studio(tmp_path / "输出 folder") as found:
        yield found


@pytest.fixture
def tab(studio: Studio) -> KnowledgeTab:
    return KnowledgeTab(studio)


class Clicked:
    """What Gradio hands over when something in a list is clicked."""

    def __init__(self, **data: str) -> None:
        self._data = data


def filed(folder: Path, name: str, text: str) -> str:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return str(file)


def ids(html: str, kind: str) -> list[str]:
    return re.findall(f'data-{kind}="([^"]+)"', html)


def test_what_was_uploaded_is_gone_from_the_cache_when_it_was_read(
    tab: KnowledgeTab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Good files, bad ones and a lorebook; what does not lie in the cache stays."""
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(cache))
    base = tab.create(OWNER, "我的资料", False, "")[0]["value"]
    mine = filed(tmp_path, "留着.txt", SAID)
    *_, last = tab.upload(OWNER, [filed(cache, "雪见.txt", SAID), filed(cache, "空.txt", " "), mine], base)
    assert "空.txt：里面没有文字" in last[0]
    book = json.dumps({"entries": {"0": {"key": ["雪"], "content": "雪见爱雪。", "comment": "雪"}}}, ensure_ascii=False)
    tab.import_book(OWNER, filed(cache, "书.json", book), False, "")
    with pytest.raises(KnowledgeError):
        tab.import_book(OWNER, filed(cache, "坏.json", "{}"), False, "")
    assert list(cache.iterdir()) == []
    assert Path(mine).is_file()


def test_a_first_base_is_made_and_filled(tab: KnowledgeTab, tmp_path: Path) -> None:
    assert tab.arrive(OWNER, None)[0]["choices"] == []
    base = tab.create(OWNER, "我的资料", False, "")[0]["value"]
    files = [filed(tmp_path, "雪见.txt", SAID), filed(tmp_path, "空.txt", " "), filed(tmp_path, f"{EVIL[:9]}.md", EVIL)]
    *_, last = tab.upload(OWNER, files, base)
    progress, stop, dropped, chosen, _, _, documents = last
    assert progress.count('class="good"') == 2
    assert "空.txt：里面没有文字" in progress
    assert (stop["visible"], dropped) == (False, None)
    assert chosen["choices"] == [("我的资料 · 2", base)]
    assert len(ids(documents, "document")) == 2
    assert "<img" not in documents + progress


def test_a_document_is_opened_edited_switched_off_and_deleted(tab: KnowledgeTab, studio: Studio) -> None:
    base = studio.knowledge.library.create("我的资料")
    opened = tab.paste(OWNER, base, "", SAID + EVIL)
    document, chunks = opened[4], opened[6]
    (chunk,) = ids(chunks, "chunk")
    assert "<img" not in chunks
    *_, chosen, text, editor = tab.choose(OWNER, Clicked(chunk=chunk), base)
    assert (chosen, text, editor["visible"]) == (chunk, SAID + EVIL, True)
    assert tab.choose(VISITOR, Clicked(chunk=chunk), base)[-1]["visible"] is False
    edited = tab.edit(OWNER, document, chunk, "雪见的生日是八月八日。")
    assert "八月八日" in edited[2]
    assert "改过" in edited[2]
    off = tab.switch(OWNER, document, edited[3])
    assert 'class="chosen off edited"' in off[2]
    assert "没有找到" in tab.search(OWNER, "八月八日", base)
    closed = tab.remove(OWNER, base, document)
    assert "还没有资料" in closed[3]
    with pytest.raises(KnowledgeError):
        tab.choose(OWNER, Clicked(document=document), base)


def test_a_search_shows_what_it_found_and_why(tab: KnowledgeTab, studio: Studio) -> None:
    base = studio.knowledge.library.create("我的资料")
    tab.paste(OWNER, base, "雪见", SAID + EVIL)
    shown = tab.search(VISITOR, "雪见的生日", base)
    assert "<mark>雪见的生日</mark>" in shown
    assert "关键词第 1" in shown
    assert "<img" not in shown
    assert tab.search(VISITOR, " ", base) == ""
    assert tab.try_out(VISITOR, ["雪见的生日"], base)[0] == "雪见的生日"


def test_a_visitor_sees_no_private_base(tab: KnowledgeTab, studio: Studio) -> None:
    base = tab.create(OWNER, "秘密", True, None)[0]["value"]
    document = tab.paste(OWNER, base, "雪见", SAID)[4]
    (chunk,) = studio.knowledge.library.chunks(document, OWNER.id)
    assert tab.arrive(VISITOR, base)[0]["choices"] == []
    for call in (
        lambda: tab.search(VISITOR, "雪见", base),
        lambda: tab.choose(VISITOR, Clicked(document=document), base),
        lambda: tab.choose(VISITOR, Clicked(chunk=chunk.id), base),
    ):
        with pytest.raises(KnowledgeError):
            call()


def test_a_base_may_be_one_characters_own(tab: KnowledgeTab, studio: Studio) -> None:
    *_, whose = tab.arrive(OWNER, None)
    assert whose["choices"][0] == ("所有角色", "")
    hers = studio.personas.list()[0].name
    assert (hers, hers) in whose["choices"]
    shown = tab.create(OWNER, "世界书", False, hers)[0]
    assert shown["choices"] == [(f"世界书 · {hers} · 0", shown["value"])]
    asked = {name: studio.conversations.open(OWNER.id, name) for name in (hers, "别人")}
    assert [studio.chat.bases_of(OWNER.id, talk) for talk in asked.values()] == [[shown["value"]], []]
    with pytest.raises(PersonaError, match="没有这位"):
        tab.create(OWNER, "又一本", False, "没有这位")


def test_a_folders_files_of_one_name_are_kept_apart(tab: KnowledgeTab, studio: Studio, tmp_path: Path) -> None:
    """A browser sends a folder's files by their own names alone."""
    base = studio.knowledge.library.create("我的资料")
    folders = [tmp_path / name for name in ("一", "二")]
    for folder in folders:
        folder.mkdir()
    files = [filed(folder, "说明.txt", f"第{folder.name}份说明。") for folder in folders]
    files.append(filed(tmp_path, "说明 (2).txt", "第三份说明。"))
    for _ in range(2):  # the same again changes nothing
        list(tab.upload(OWNER, files, base))
        names = {one.name: studio.knowledge.library.text(one.id) for one in studio.knowledge.library.documents(base)}
        assert names == {
            "说明.txt": "第一份说明。",
            "说明 (2).txt": "第二份说明。",
            "说明 (2) (2).txt": "第三份说明。",
        }


def test_a_lorebook_becomes_a_base(tab: KnowledgeTab, studio: Studio, tmp_path: Path) -> None:
    hers = studio.personas.list()[0].name
    entries = [{"keys": ["团子"], "content": "团子是三花猫。"}, {"keys": ["白鹭港"], "content": "那里卖贝壳风铃。"}]
    book = filed(tmp_path, "世界.json", json.dumps({"name": "世界", "entries": entries}, ensure_ascii=False))
    for number, name in enumerate(("世界", "世界 (2)"), 1):  # a second one of its name is another base
        chosen, _, _, documents, *_, dropped = tab.import_book(OWNER, book, False, hers)
        assert dropped is None
        info = studio.knowledge.library.base(chosen["value"])
        assert (info.name, info.persona, info.documents, info.chunks) == (name, hers, 1, 2)
        assert len(ids(documents, "document")) == 1
        assert len(studio.knowledge.library.bases()) == number
    assert "贝壳风铃" in studio.knowledge.search("白鹭港卖什么？", [info.id])[0].text
    for wrong in (filed(tmp_path, "表.json", '[{"a": 1}]'), filed(tmp_path, "坏.json", "{"), None):
        with pytest.raises(KnowledgeError):
            tab.import_book(OWNER, wrong, False, "")
    assert len(studio.knowledge.library.bases()) == 2


def test_another_embedding_is_tried_and_said_to_help_or_not(tab: KnowledgeTab, tmp_path: Path) -> None:
    *_, (field, progress) = tab.use(OWNER, HASHED)
    assert field["value"] == HASHED
    assert "没有帮助" in progress
    running = tab.use(OWNER, str(tmp_path / "nowhere"))
    assert "正在试用" in next(running)[1]
    assert next(running) == [tab._embedding("zh"), ""]
    with pytest.raises(KnowledgeError, match="nowhere"):
        next(running)


def test_a_long_document_is_shown_part_by_part(tab: KnowledgeTab, studio: Studio) -> None:
    base = studio.knowledge.library.create("我的资料")
    tab.paste(OWNER, base, "长", "".join(f"第{number}段。{'字' * 250}。\n\n" for number in range(450)))
    (info,) = studio.knowledge.library.documents(base)
    every = [chunk.id for chunk in studio.knowledge.library.chunks(info.id)]
    seen: list[str] = []
    shown = tab.choose(OWNER, Clicked(document=info.id), base)[6]
    while True:
        found = ids(shown, "chunk")
        seen += [id for id in found if id not in seen]
        if not re.search('data-chunk="[^"]+">往后看', shown):
            break
        shown = tab.choose(OWNER, Clicked(chunk=found[-1]), base)[6]
    assert sorted(seen) == sorted(every)
    assert "往前看" in shown


def test_an_upload_can_be_stopped(tab: KnowledgeTab, studio: Studio, tmp_path: Path) -> None:
    base = studio.knowledge.library.create("我的资料")
    running = tab.upload(OWNER, [filed(tmp_path, f"{number}.txt", SAID) for number in range(4)], base)
    next(running)
    next(running)
    tab.stop(OWNER)
    assert len(list(running)) == 1
    assert len(studio.knowledge.library.documents(base)) == 1
    tab.stop(OWNER)


# In the chat


def test_an_answer_carries_marks_and_what_was_looked_up(studio: Studio) -> None:
    base = studio.knowledge.library.create("我的资料")
    KnowledgeTab(studio).paste(OWNER, base, "雪见", SAID)
    (chunk,) = studio.knowledge.library.chunks(studio.knowledge.library.documents(base)[0].id)
    chat: Any = studio.chat
    chat.answers = ["哼，七月七日啦。自己记着！"]
    talk = studio.conversations.open(OWNER.id, "傲娇")
    last = list(chat.reply(OWNER.id, talk.id, "雪见的生日是哪天？"))[-1]
    assert [(one.start, one.end, one.passage) for one in last.cited] == [(0, 8, 1)]
    kept = studio.conversations.get(OWNER.id, talk.id)
    assert SAID in kept.messages[0].meta["brought"]
    shown = ChatTab(studio).talking.shown(OWNER, kept)
    link = f'<a class="cite" href="#chunk-{chunk.id}">①</a>'
    assert f">哼，七月七日啦。{link}自己记着！</div>" in shown
    looked_up = shown.partition('<details class="sources">')[2].partition("</details>")[0]
    assert looked_up.startswith("<summary>这次查到的资料</summary>")
    assert SAID in looked_up
    assert "查的是：雪见的生日是哪天？" in looked_up


def test_what_was_looked_up_says_the_cut_and_why_the_rest_stayed_outside(studio: Studio) -> None:
    base = studio.knowledge.library.create("我的资料")
    tab = KnowledgeTab(studio)
    for name, said in (("雪见", SAID), ("白鹭", "白鹭的生日会在港口。"), ("青石", "青石书院的院长是沈知秋。")):
        tab.paste(OWNER, base, name, said)
    talk = studio.conversations.open(OWNER.id, "傲娇")

    def looked_up(question: str) -> str:
        list(studio.chat.reply(OWNER.id, talk.id, question))
        shown = ChatTab(studio).talking.shown(OWNER, studio.conversations.get(OWNER.id, talk.id))
        last = shown.rpartition("<article")[2]  # her answer, and what was looked up for it
        return unescape(last.partition("</summary><div>")[2].partition("</div></details>")[0])

    told = looked_up("雪见的生日是哪天？")
    first, cut, used, text, *left = told.split("\n")
    assert first == "查的是：雪见的生日是哪天？"
    assert re.fullmatch(r"取舍线：得分要到 \d+\.\d（第一名的 60%）", cut)
    assert re.fullmatch(r"① 雪见（关键词第 1，向量第 —，得分 \d+\.\d，覆盖 \d+%）", used)
    assert text == SAID
    assert any(line.startswith("· 白鹭（关键词第 2") and "没有用上" in line for line in left)
    talked = looked_up("你好呀，今天好累")
    assert talked.count("没有用上：") == 1
    assert looked_up("🙂🙂") == "查的是：🙂🙂\n没有用上：没有找到相关的资料"
    studio.conversations.ask_of(OWNER.id, talk.id, [])
    assert looked_up("雪见的生日是哪天？") == "", "nobody looked"


def test_what_is_deleted_in_use_is_said(studio: Studio) -> None:
    """Between the question and the answer, and under a mark of an old answer."""
    base = studio.knowledge.library.create("我的资料")
    tab = KnowledgeTab(studio)
    document = tab.paste(OWNER, base, "雪见", SAID)[4]
    (chunk,) = studio.knowledge.library.chunks(document)
    talk = studio.conversations.open(OWNER.id, "傲娇")
    running = studio.chat.reply(OWNER.id, talk.id, "雪见的生日是哪天？")
    next(running)
    studio.knowledge.library.remove(document)
    assert studio.knowledge.search("雪见的生日", [base]) == []
    *_, last = running
    assert SAID in last.text
    assert last.done
    with pytest.raises(KnowledgeError) as gone:
        tab.choose(OWNER, Clicked(chunk=chunk.id), base)
    assert gone.value.key == "knowledge.no_chunk"
    studio.knowledge.remove_base(base)
    assert SAID not in list(studio.chat.reply(OWNER.id, talk.id, "雪见的生日是哪天？"))[-1].text


def test_small_talk_looks_nothing_up(studio: Studio) -> None:
    base = studio.knowledge.library.create("我的资料")
    KnowledgeTab(studio).paste(OWNER, base, "雪见", SAID)
    talk = studio.conversations.open(OWNER.id, "傲娇")
    list(studio.chat.reply(OWNER.id, talk.id, "你好呀"))
    kept = studio.conversations.get(OWNER.id, talk.id)
    assert kept.messages[0].meta.get("brought", "") == ""


def test_a_conversation_chooses_what_it_asks(studio: Studio) -> None:
    library = studio.knowledge.library
    one, other, hers = library.create("一"), library.create("二"), library.create("她的", persona="活泼")
    talk = studio.conversations.open(OWNER.id, "傲娇")
    assert studio.chat.bases_of(OWNER.id, talk) == [one, other]
    studio.conversations.ask_of(OWNER.id, talk.id, [other, hers, "gone"])
    assert studio.chat.bases_of(OWNER.id, studio.conversations.get(OWNER.id, talk.id)) == [other]
    ChatTab(studio).choose_knowledge(OWNER, talk.id, [])
    assert studio.chat.bases_of(OWNER.id, studio.conversations.get(OWNER.id, talk.id)) == []
