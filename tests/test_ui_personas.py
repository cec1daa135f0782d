"""The persona tab's handlers, called as functions, its routes over HTTP, and the page with Gradio's own protocol."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from card_makers import encoded, png, text, v3
from PIL import Image
from ui_fakes import OWNER, VISITOR, Api, FakeChat, built, open_studio, served

from anime_ai.config import DATA
from anime_ai.errors import PersonaError
from anime_ai.persona.files import read
from anime_ai.studio import Studio
from anime_ai.ui.book_editor import FIELDS as ENTRY_FIELDS
from anime_ai.ui.card_editor import FIELDS, changed, told
from anime_ai.ui.persona_tab import PersonaTab

MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture
def tab(studio: Studio) -> PersonaTab:
    return PersonaTab(studio)


def put(folder: Path, name: str, content: bytes) -> str:
    path = folder / name
    path.write_bytes(content)
    return str(path)


def imported(tab: PersonaTab, folder: Path, **changed: Any) -> Any:
    path = put(folder, "小花.png", png([text("ccv3", encoded(v3(**changed)))]))
    tab.import_files(OWNER, [path], {})
    return tab.library.list()[4]


def state(persona: Any) -> dict[str, Any]:
    return {"id": persona.id, "version": persona.version}


def event(**data: str) -> Any:
    return SimpleNamespace(_data=data)


def test_several_files_at_once_each_by_itself(tab: PersonaTab, studio: Studio, tmp_path: Path) -> None:
    silly = json.dumps({"entries": {"0": {"key": ["猫"], "content": "喵"}}}).encode()
    mended = json.dumps({"name": "乙", "description": 5, "first_mes": ""}).encode()
    paths = [
        put(tmp_path, "甲.png", png([text("ccv3", encoded(v3()))])),
        put(tmp_path, f"坏{len(MARKUP)}<b>.json", b"{"),
        put(tmp_path, "世界.json", silly),
        put(tmp_path, "乙.json", mended),
    ]
    _, said, shown, *_ = tab.import_files(OWNER, paths, {})
    assert [one.name for one in studio.personas.list()][4:] == ["乙", "小花"]
    assert [one.name for one in studio.worlds.list()] == ["世界"]
    assert said.count('class="good"') == 3
    assert said.count('class="bad"') == 1
    assert "description" in said
    assert "<b>" not in said
    assert shown["id"] == studio.personas.find("乙").id


def test_what_is_shown_of_a_persona(tab: PersonaTab, tmp_path: Path) -> None:
    made = imported(tab, tmp_path, name=MARKUP, description=MARKUP, creator_notes=MARKUP)
    shown = tab.choose_card(OWNER, event(persona=made.id))
    assert len(shown) == len(tab_outputs(tab))
    page = json.dumps([one for one in shown if isinstance(one, str)])
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page
    assert "<img src=x" not in tab.preview_prompt(OWNER, state(made), MARKUP)


def tab_outputs(tab: PersonaTab) -> list[Any]:
    """What the page hands over to: known once it is built."""
    import asyncio

    import gradio as gr

    from anime_ai.ui.page import Page

    async def make() -> list[Any]:
        with gr.Blocks(analytics_enabled=False) as demo, gr.Tabs(), gr.Tab("x") as inside:
            tab.build(Page(), inside, demo)
        return tab.opened

    return asyncio.run(make())


def test_the_editor_changes_what_was_changed_and_nothing_else(tab: PersonaTab, tmp_path: Path) -> None:
    own = v3(extensions={"x": 1, "anime_ai": {"y": 2}}, unknown=[3], alternate_greetings=["早。", "=====\n晚。"])
    made = imported(tab, tmp_path, **own["data"])
    card = made.card
    assert changed(card, told(card)) is card
    fields = {**told(card), "description": "新的", "tags": "猫，狗、鸟", "system_line": "你是小花。", "nickname": ""}
    fields["group_only_greetings"] = "一\n=====\n二\n二"
    tab.save_card(OWNER, state(made), "小花 二号", *(fields[name] for name in FIELDS))
    saved = tab.library.find("小花 二号")
    assert saved.card is not None
    expected = {
        **card.data,
        "description": "新的",
        "tags": ["猫", "狗", "鸟"],
        "group_only_greetings": ["一", "二\n二"],
    }
    expected["extensions"] = {"x": 1, "anime_ai": {"y": 2, "system_line": "你是小花。"}}
    del expected["nickname"]
    assert saved.card.data == expected
    assert saved.system_line == "你是小花。"
    with pytest.raises(PersonaError) as caught:
        tab.save_card(OWNER, state(made), "", *({**fields, "description": "又变"}[name] for name in FIELDS))
    assert caught.value.key == "persona.conflict"


def test_one_that_ships_is_copied_first(tab: PersonaTab, studio: Studio) -> None:
    shipped = studio.personas.list()[0]
    fields = [told(shipped.card)[name] for name in FIELDS]  # type: ignore[arg-type]
    for refused in (
        lambda: tab.save_card(OWNER, state(shipped), "x", *fields),
        lambda: tab.remove_persona(OWNER, state(shipped)),
        lambda: tab.publish_card(OWNER, state(shipped), False),
        lambda: tab.add_entry(OWNER, state(shipped)),
    ):
        with pytest.raises(PersonaError) as caught:
            refused()
        assert caught.value.key == "persona.shipped"
    copy = tab.copy_persona(OWNER, state(shipped))[0]
    tab.save_card(OWNER, copy, "", *(["阿棠", *fields[1:]]))
    assert studio.personas.get(copy["id"]).character == "阿棠"


def test_deleting_can_be_undone(tab: PersonaTab, studio: Studio, tmp_path: Path) -> None:
    made = imported(tab, tmp_path)
    removed, undo, *_ = tab.remove_persona(OWNER, state(made))
    assert "小花" in undo["value"]
    assert undo["visible"]
    assert len(studio.personas.list()) == 4
    tab.bring_back(OWNER, removed)
    assert studio.personas.get(made.id).name == "小花"


def test_the_cards_lorebook_is_edited(tab: PersonaTab, tmp_path: Path) -> None:
    made = imported(tab, tmp_path)
    now, *_ = tab.add_entry(OWNER, state(made))
    entry = {"name": "鱼", "keys": "鱼\n/鲨.?/i\n", "secondary_keys": "", "content": "她爱吃鱼。", "enabled": True}
    entry |= {"insertion_order": 7, "priority": None, "position": "after_char", "constant": False}
    now, *_ = tab.save_entry(OWNER, now, 0, *(entry.get(name) for name in ENTRY_FIELDS))
    now, *_ = tab.save_book(OWNER, now, 0, 6, 200, True)
    book = tab.library.get(made.id).card.book  # type: ignore[union-attr]
    assert book is not None
    assert (book["scan_depth"], book["token_budget"], book["recursive_scanning"]) == (6, 200, True)
    (kept,) = book["entries"]
    assert (kept["keys"], kept["content"], kept["insertion_order"]) == (["鱼", "/鲨.?/i"], "她爱吃鱼。", 7)
    assert kept["position"] == "after_char"
    shown = tab.choose_entry(OWNER, event(entry="0"), now)
    assert shown[1] == 0
    now, *_ = tab.remove_entry(OWNER, now, 0)
    assert tab.library.get(made.id).card.book["entries"] == []  # type: ignore[union-attr,index]
    with pytest.raises(PersonaError):
        tab.remove_entry(OWNER, now, 5)


def test_the_preview_is_the_prompt_that_the_chat_sends(tab: PersonaTab, studio: Studio) -> None:
    shipped = studio.personas.list()[0]
    page = tab.preview_prompt(OWNER, state(shipped), "团子是谁？")
    assert shipped.system_line in page
    assert "左耳缺一个小口" in page
    assert "团子 — 关键词" in page
    assert "团子是谁？&lt;｜Assistant｜&gt;" in page or "团子是谁？<｜Assistant｜" in page


def test_dialogues_and_greetings_become_rows(tab: PersonaTab, studio: Studio, tmp_path: Path) -> None:
    made = imported(tab, tmp_path)
    dataset = studio.datasets.list()[0]
    tab.add_rows(OWNER, state(made), dataset.id)
    added = [row for row in studio.datasets.rows(dataset.id) if row.persona == "小花"]
    assert [(row.input, row.output) for row in added] == [("早", "喵。"), ("你好。", "喵？"), ("你好。", "早。")]
    studio.datasets.undo(dataset.id)
    assert studio.datasets.find(dataset.id).rows == dataset.rows
    empty = tab.create_persona(OWNER)[0]
    tab.save_card(OWNER, empty, "", *("她" if name in ("name", "description") else "" for name in FIELDS))
    with pytest.raises(PersonaError) as caught:
        tab.add_rows(OWNER, empty, dataset.id)
    assert caught.value.key == "persona.no_rows"


def test_world_books_are_bound_switched_and_edited(tab: PersonaTab, studio: Studio) -> None:
    panel = tab.worlds
    world = panel.create_world(OWNER)[0]
    world, id = panel.add_world_entry(OWNER, world)[0], world["id"]
    entry = {"keys": "海", "content": "临潮市靠海。", "enabled": True, "insertion_order": 3, "position": "before_char"}
    world = panel.save_world_entry(OWNER, world, 0, *(entry.get(name) for name in ENTRY_FIELDS))[0]
    panel.bind_world(OWNER, world, "三无", True)
    assert [one.id for one in studio.worlds.of("三无")] == [id]
    assert studio.worlds.of("傲娇") == []
    panel.bind_world(OWNER, world, "没有这个人", False)
    assert (studio.worlds.get(id).persona, studio.worlds.get(id).enabled) == ("三无", False)
    removed, undo, *_ = panel.remove_world(OWNER, world)
    assert undo["visible"]
    panel.undo_world(OWNER, removed)
    assert studio.worlds.get(id).book["entries"][0]["content"] == "临潮市靠海。"


def test_a_world_book_that_was_changed_in_another_window_is_not_overwritten(tab: PersonaTab, studio: Studio) -> None:
    panel = tab.worlds
    named = [{"keys": [name], "content": name} for name in ("山", "海", "城")]
    id = studio.worlds.add({"entries": named}, "世界").id
    here = panel.shown(OWNER, id, 1)[0]
    there = panel.remove_world_entry(OWNER, here, 0)[0]
    river = {"keys": "河", "content": "河"}
    for late in (
        lambda: panel.save_world_entry(OWNER, here, 1, *(river.get(name) for name in ENTRY_FIELDS)),
        lambda: panel.remove_world_entry(OWNER, here, 1),
        lambda: panel.add_world_entry(OWNER, here),
        lambda: panel.save_world(OWNER, here, 5, 100, False),
    ):
        with pytest.raises(PersonaError) as refused:
            late()
        assert refused.value.key == "persona.conflict"
    assert [one["content"] for one in studio.worlds.get(id).book["entries"]] == ["海", "城"]
    panel.remove_world_entry(OWNER, there, 0)
    assert [one["content"] for one in studio.worlds.get(id).book["entries"]] == ["城"]


def test_a_visitor_is_offered_what_is_published(tab: PersonaTab, studio: Studio, tmp_path: Path) -> None:
    from anime_ai.ui.chat_tab import ChatTab

    made = imported(tab, tmp_path)
    chat = ChatTab(studio)

    def offered(person: Any) -> list[str]:
        shown = [one for one in chat.arrive(person) if isinstance(one, dict) and "choices" in one]
        return [name for one in shown for _, name in one["choices"]]

    assert made.name in offered(OWNER)
    assert made.name not in offered(VISITOR)
    with pytest.raises(PersonaError):
        chat.choose_persona(VISITOR, made.name)
    tab.publish_card(OWNER, state(made), True)
    assert made.name in offered(VISITOR)


def test_what_a_book_says_comes_with_the_question_and_is_shown(studio: Studio) -> None:
    assert isinstance(studio.chat, FakeChat)
    talk = studio.conversations.open("owner", "傲娇")
    studio.chat.answers = ["一只猫。", "坡道下面。"]
    list(studio.chat.reply("owner", talk.id, "团子是谁？"))
    asked = next(one for one in studio.conversations.get("owner", talk.id).messages if one.role == "user")
    assert "左耳缺一个小口" in asked.meta["brought"]
    (hit,) = asked.meta["lore"]["hits"]
    assert (hit["name"], hit["why"], hit["by"], hit["left_out"]) == ("团子", "key", "团子", "")
    assert hit["tokens"] > 10
    list(studio.chat.reply("owner", talk.id, "团子在哪里？"))
    again = [one for one in studio.conversations.get("owner", talk.id).messages if one.role == "user"][-1]
    assert [one["left_out"] for one in again.meta["lore"]["hits"]] == ["told"]
    assert "左耳" not in again.meta.get("brought", "")


def test_a_removed_persona_is_said(studio: Studio, tab: PersonaTab, tmp_path: Path) -> None:
    made = imported(tab, tmp_path)
    talk = studio.conversations.open("owner", made.name)
    tab.remove_persona(OWNER, state(made))
    with pytest.raises(PersonaError) as caught:
        list(studio.chat.reply("owner", talk.id, "在吗"))
    assert caught.value.key == "persona.removed"


def test_the_same_card_is_not_imported_twice_and_the_bin_gives_back(tab: PersonaTab, tmp_path: Path) -> None:
    made = imported(tab, tmp_path)
    _, said, shown, *_ = tab.import_files(OWNER, [str(tmp_path / "小花.png")], {})
    assert "一模一样" in said
    assert shown["id"] == made.id
    assert len(tab.library.list()) == 5
    *_, bin, binned = tab.remove_persona(OWNER, state(made))
    assert bin["visible"]
    assert binned["choices"] == [("小花", made.id)]
    *_, bin, binned = tab.bring_back(OWNER, made.id)
    assert not bin["visible"]


def test_the_page_has_the_tab(studio: Studio) -> None:
    names = [block.fn.__name__ for block in built(studio).fns.values()]
    for name in ("import_files", "save_card", "save_entry", "preview_prompt", "add_rows", "talk_to", "offer_personas"):
        assert name in names


@pytest.mark.slow
def test_pictures_and_cards_are_handed_to_whom_they_belong(tmp_path: Path) -> None:
    with served(tmp_path, OWNER_PASSWORD="开门") as address, open_studio(tmp_path) as studio:
        made = studio.personas.add(read(png([text("ccv3", encoded(v3(name=f"小花{MARKUP}")))])))
        world = studio.worlds.add({"entries": []}, "世界")
        picture = f"/persona/{made.id}.webp"
        closed = (f"/card/{made.id}?as=png", f"/card/{made.id}?as=json", f"/world/{world.id}.json", "/card/tsundere")
        with Api(address) as visitor:
            assert visitor.http.get(picture).status_code == 404
            assert [visitor.http.get(path).status_code for path in closed] == [403] * 4
            assert visitor.http.get("/persona/tsundere.webp").status_code == 200
        with Api(address) as owner:
            owner.http.post("/login", data={"password": "开门"})
            with Image.open(io.BytesIO(owner.http.get(picture).content)) as shown:
                assert shown.format == "WEBP"
            for form in ("png", "json", "charx"):
                answer = owner.http.get(f"/card/{made.id}?as={form}")
                assert "attachment" in answer.headers["content-disposition"]
                assert "no-store" in answer.headers["cache-control"]
                assert read(answer.content).card.name == made.character  # type: ignore[union-attr]
            assert read(owner.http.get(closed[2]).content).world is not None
            for missing in (f"/card/{made.id}?as=exe", "/card/nothing", "/persona/nothing.webp", "/world/nothing.json"):
                assert owner.http.get(missing).status_code == 404, missing
        studio.personas.publish(made.id, True)
        import time

        time.sleep(0.6)  # until the served app looks again
        with Api(address) as visitor:
            assert visitor.http.get(picture).status_code == 200
            assert visitor.http.get(f"/card/{made.id}").status_code == 403


def test_the_shipped_cards_are_cards() -> None:
    for path in sorted((DATA / "personas").glob("*.json")):
        found = read(path.read_bytes())
        assert found.card is not None
        assert found.mends == ()
        assert found.card.value == json.loads(path.read_text(encoding="utf-8"))


def test_other_words_call_up_anew_what_the_old_ones_did(studio: Studio) -> None:
    assert isinstance(studio.chat, FakeChat)
    talk = studio.conversations.open("owner", "傲娇")
    studio.chat.answers = ["一只猫。", "一只猫。"]
    list(studio.chat.reply("owner", talk.id, "团子是谁？"))
    asked = next(one for one in studio.conversations.get("owner", talk.id).messages if one.role == "user")
    list(studio.chat.reword("owner", asked.id, "团子是什么？"))
    again = next(one for one in studio.conversations.get("owner", talk.id).messages if one.role == "user")
    assert again.content == "团子是什么？"
    assert [one["left_out"] for one in again.meta["lore"]["hits"]] == [""]


def test_no_tab_tells_a_visitor_who_is_not_published(studio: Studio, tab: PersonaTab, tmp_path: Path) -> None:
    from anime_ai.ui.knowledge_tab import KnowledgeTab

    imported(tab, tmp_path, name="秘密角色")
    knowledge = KnowledgeTab(studio)
    assert "秘密角色" in json.dumps(knowledge.arrive(OWNER, ""), ensure_ascii=False)
    assert "秘密角色" not in json.dumps(knowledge.arrive(VISITOR, ""), ensure_ascii=False)
