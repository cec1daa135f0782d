"""The picture tab and the picture in the chat, with tiny models that really look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fake_hub import fake_hub
from PIL import Image
from test_tagger import make_tagger
from test_ui_chat import PLAIN, collected
from ui_fakes import OWNER, VISITOR, FakeChat, built, open_studio

from anime_ai.errors import AnimeAIError, ModelError, VisionError
from anime_ai.studio import Studio
from anime_ai.ui import looking_models
from anime_ai.ui.attaching import Attachment
from anime_ai.ui.chat_tab import ChatTab
from anime_ai.ui.pictures_tab import CARDS, PicturesTab
from anime_ai.vision import models, service
from anime_ai.vision.observation import Known, Observation


class Clicked:
    def __init__(self, **data: str) -> None:
        self._data = data


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with open_studio(tmp_path / "studio") as found:
        yield found


@pytest.fixture
def tab(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PicturesTab:
    """The tab, where a tiny tagger looks: blue pictures are blue hair."""
    there = {"SmilingWolf/wd-vit-tagger-v3": make_tagger(tmp_path / "tagger")}
    monkeypatch.setattr(service, "folder_of", lambda model: there.get(model.id))
    studio.vision.use(list(there))
    return PicturesTab(studio)


def blue(folder: Path, name: str = "蓝.png") -> str:
    Image.new("RGB", (30, 30), (0, 0, 255)).save(folder / name)
    return str(folder / name)


def field(opened: list[Any], group: str) -> Any:
    """A group's update, in what `_opened` gives."""
    return opened[4 + CARDS.index(group)]["value"]


def test_pictures_are_looked_at_and_shown(tab: PicturesTab, tmp_path: Path) -> None:
    assert "还没有图片" in tab.arrive(OWNER)[0]
    (tmp_path / "坏.png").write_bytes(b"no")
    *_, last = tab.upload(OWNER, [blue(tmp_path), str(tmp_path / "坏.png")])
    progress, stop, files, shelf, *opened = last
    assert "看了 2 / 2 张" in progress
    assert "坏.png：这不是图片" in progress
    assert (stop["visible"], files) == (False, None)
    picture, view, sentence, *_ = opened
    assert f'data-picture="{picture}"' in shelf
    assert f"picture/{picture}.webp" in view
    assert sentence == "图里有一个女孩，看起来是hatsune miku，蓝色的头发。"
    assert field(opened, "hair_colour") == ["蓝色头发"]
    assert tab.arrive(VISITOR)[0].count("<img") == 0, "they are nobody else's"
    with pytest.raises(VisionError):
        tab.choose(VISITOR, Clicked(picture=picture))


def test_a_correction_is_kept_and_told(tab: PicturesTab, tmp_path: Path) -> None:
    *_, last = tab.upload(OWNER, [blue(tmp_path)])
    picture = last[4]
    fields: list[Any] = [field(last[4:], group) for group in CARDS]
    fields[CARDS.index("hair_colour")] = ["银色头发"]
    fields[CARDS.index("expression")] = ["微笑", "偷偷地笑"]
    shelf, _, _, *opened = tab.correct(OWNER, picture, "hatsune miku", *fields, [])
    assert field(opened, "hair_colour") == ["银色头发"]
    assert field(opened, "expression") == ["微笑", "偷偷地笑"]
    assert "银色的头发，表情是微笑" in opened[2]
    assert tab.vision.album.get(OWNER.id, picture).corrected
    again = tab.choose(OWNER, Clicked(picture=picture))
    assert again == opened
    assert "还没有图片" in tab.remove(OWNER, picture)[0]


def test_an_upload_can_be_stopped(tab: PicturesTab, tmp_path: Path) -> None:
    running = tab.upload(OWNER, [blue(tmp_path, f"{number}.png") for number in range(30)])
    next(running)
    next(running)
    tab.stop(OWNER)
    *_, last = running
    assert 0 < len(tab.vision.album.latest(OWNER.id)) < 30
    assert last[0].startswith('<ul class="progress"><li>看了 8 / 8 张')


def test_without_a_model_nothing_offers_to_look(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "folder_of", lambda model: None)
    assert not studio.vision.ready
    tabs = {block.id for block in built(studio).blocks.values() if isinstance(block, gr.Tab)}
    assert "pictures" not in tabs
    assert "knowledge" in tabs


def test_with_a_model_there_is_a_tab(tab: PicturesTab, studio: Studio) -> None:
    found = built(studio).blocks.values()
    assert "pictures" in {block.id for block in found if isinstance(block, gr.Tab)}
    assert "attach" in {block.elem_id for block in found}


def test_the_models_are_told_with_their_licences(tab: PicturesTab) -> None:
    told = tab.arrive(OWNER)[3]
    for model in models.KNOWN:
        assert model.id in told
        assert f"{model.licence} · {model.megabytes} MB" in told
    assert told.count("正在用") == 1


def test_what_is_not_on_the_card_can_be_corrected_too(tab: PicturesTab, tmp_path: Path) -> None:
    *_, last = tab.upload(OWNER, [blue(tmp_path)])
    fields = [field(last[4:], group) for group in CARDS]
    opened = tab.correct(OWNER, last[4], "hatsune miku", *fields, ["猫耳", "剑"])[3:]
    assert opened[4 + len(CARDS)]["value"] == ["猫耳", "剑"]
    kept = tab.vision.album.get(OWNER.id, last[4]).seen
    assert [(tag.name, tag.group) for tag in kept.outside(CARDS)] == [("cat_ears", "body"), ("sword", "object")]
    opened = tab.correct(OWNER, last[4], "hatsune miku", *fields, ["剑"])[3:]
    assert opened[4 + len(CARDS)]["value"] == ["剑"]
    assert field(opened, "hair_colour") == ["蓝色头发"]


def test_pictures_are_found_and_likened(tab: PicturesTab, tmp_path: Path) -> None:
    (tmp_path / "红.png").write_bytes(b"")
    Image.new("RGB", (30, 30), (255, 0, 0)).save(tmp_path / "红.png")
    *_, last = tab.upload(OWNER, [blue(tmp_path), blue(tmp_path, "另一张.png"), str(tmp_path / "红.png")])
    assert tab.find(OWNER, "蓝发").count("<img") == 2
    assert tab.find(OWNER, " ").count("<img") == 3
    assert tab.find(OWNER, "红.png").count("<img") == 1
    assert "没有找到" in tab.find(OWNER, "戴眼镜的兔子")
    assert tab.similar(OWNER, last[4]).count("<img") == 2
    assert tab.find(VISITOR, "蓝发").count("<img") == 0
    with pytest.raises(AnimeAIError):
        tab.find(OWNER, "长" * 500)
    with pytest.raises(VisionError):
        tab.similar(VISITOR, last[4])


def test_characters_are_enrolled_named_and_forgotten(tab: PicturesTab, tmp_path: Path) -> None:
    panel = tab.characters
    assert "图鉴还是空的" in panel.shown(OWNER)[0]
    name, files, told, whom = panel.enrol(OWNER, "雪见", [blue(tmp_path), blue(tmp_path, "b.png")])
    assert (name, files) == ("", None)
    assert told.count('<img loading="lazy" src="character/') == 2
    assert [shown for shown, _ in whom["choices"]] == ["雪见"]
    *_, last = tab.upload(OWNER, [blue(tmp_path, "c.png")])
    who = last[4:][3]
    assert who["value"] == "hatsune miku", "the tagger is sure of somebody else"
    assert who["choices"][:2] == ["雪见", "hatsune miku"], "who it may be is offered first"
    tab.correct(OWNER, last[4], "雪见", *(field(last[4:], group) for group in CARDS), [])
    assert tab.vision.album.get(OWNER.id, last[4]).seen.sentence().startswith("图里有一个女孩，看起来是雪见，")
    assert tab.vision.album.characters(OWNER.id)[0].pictures == 3
    with pytest.raises(VisionError):
        panel.enrol(OWNER, "", [blue(tmp_path)])
    with pytest.raises(VisionError):
        panel.forget(VISITOR, whom["choices"][0][1])
    assert "图鉴还是空的" in panel.forget(OWNER, whom["choices"][0][1])[0]
    assert tab.again(OWNER, last[4])[3]["value"] == "hatsune miku"


def test_somebody_unknown_is_said_to_be_unknown(tab: PicturesTab, tmp_path: Path) -> None:
    her = Known("1", "雪见", 0.7, False)
    who = tab.characters.who(OWNER, Observation())
    assert who["info"].startswith("写下名字"), "nobody is known yet"
    tab.characters.enrol(OWNER, "雪见", [blue(tmp_path)])
    assert "图鉴里没有她" in tab.characters.who(OWNER, Observation())["info"]
    unsure = tab.characters.who(OWNER, Observation(characters=(her,)))
    assert (unsure["value"], unsure["choices"]) == (None, ["雪见"])
    assert "有点像雪见" in unsure["info"]
    assert tab.characters.who(OWNER, Observation(characters=(replace(her, sure=True),)))["value"] == "雪见"


def test_tags_can_be_copied_as_trainers_read_them(tab: PicturesTab, tmp_path: Path) -> None:
    *_, last = tab.upload(OWNER, [blue(tmp_path)])
    assert last[-1] == "1girl, blue hair"


def test_an_uploaded_file_is_gone_when_it_was_read(
    tab: PicturesTab, studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tells where it was taken. What lies outside of Gradio's folder is somebody's own."""
    cache, own = tmp_path / "cache", blue(tmp_path)
    cache.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(cache))
    (cache / "坏.png").write_bytes(b"no")
    list(tab.upload(OWNER, [blue(cache), str(cache / "坏.png"), own]))
    Attachment(studio).attach(OWNER, blue(cache))
    with pytest.raises(VisionError):
        tab.characters.enrol(OWNER, "", [blue(cache)])
    assert [file.name for file in cache.iterdir()] == ["蓝.png"], "a name is still to be written"
    tab.characters.enrol(OWNER, "雪见", [str(cache / "蓝.png")])
    assert list(cache.iterdir()) == []
    assert Path(own).is_file()


def test_a_click_fetches_a_model_and_lets_it_look(
    tab: PicturesTab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    wanted = "laion/mscoco_finetuned_CoCa-ViT-B-32-laion2B-s13B-b90k"
    weights = bytes(300_000)
    monkeypatch.setattr(looking_models, "POLL_S", 0.01)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    here = service.folder_of
    monkeypatch.setattr(service, "folder_of", lambda model: here(model) or models.folder_of(model))
    with fake_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        hub.models[wanted] = {"open_clip_config.json": b"{}", "open_clip_model.safetensors": weights}
        hub.models[wanted]["tokenizer.json"] = b"{}"
        hub.stalls["open_clip_model.safetensors"] = 150_000
        steps = tab.models.use(OWNER, [wanted])
        assert any(f"正在下载 {wanted}……5" in step[0] for step in islice(steps, 200)), "half of it is here"
        hub.released.set()
        *_, last = steps
        assert last[1]["value"] == [wanted]
        assert tab.vision.chosen() == [wanted]
        with pytest.raises(ModelError):
            list(tab.models.use(OWNER, ["timm/ViT-B-32-SigLIP2-256"]))
    assert tab.vision.chosen() == [wanted], "what looked before looks still"


# In the chat


def test_a_picture_that_was_shown_goes_into_the_chat(tab: PicturesTab, studio: Studio, tmp_path: Path) -> None:
    *_, last = tab.upload(OWNER, [blue(tmp_path)])
    picture, card, view, words, who = Attachment(studio).put_on(OWNER, last[4])
    assert (picture, card["visible"]) == (last[4], True)
    assert f"thumb/{picture}.webp" in view
    assert "蓝色头发" in words["value"]
    assert who["value"] == "hatsune miku"
    with pytest.raises(VisionError):
        Attachment(studio).put_on(VISITOR, last[4])


def test_who_is_named_on_the_card_is_what_she_is_told(tab: PicturesTab, studio: Studio, tmp_path: Path) -> None:
    talk = ChatTab(studio)
    conversation = str(talk.arrive(OWNER)[3])
    picture, _, _, words, _ = Attachment(studio).attach(OWNER, blue(tmp_path))
    list(talk.talking.send(OWNER, "她是谁？", conversation, "", *PLAIN, picture, words["value"], "雪见"))
    kept = studio.conversations.get(OWNER.id, conversation).messages
    assert "看起来是雪见" in kept[1].meta["brought"]
    assert [one.name for one in studio.vision.album.characters(OWNER.id)] == ["雪见"]


def test_a_picture_goes_with_a_message_as_it_was_corrected(tab: PicturesTab, studio: Studio, tmp_path: Path) -> None:
    chat = studio.chat
    assert isinstance(chat, FakeChat)
    talk = ChatTab(studio)
    conversation = str(talk.arrive(OWNER)[3])
    picture, card, _, words, who = Attachment(studio).attach(OWNER, blue(tmp_path))
    assert card["visible"]
    assert words["value"] == ["蓝色头发", "一个女孩"]
    told = ["一个女孩", "银色头发", "偷偷地笑"]
    steps = list(talk.talking.send(OWNER, "", conversation, "", *PLAIN, picture, told, "hatsune miku"))
    assert steps[0][5] == "", "the card is empty again"
    assert steps[0][6]["visible"] is False
    kept = studio.conversations.get(OWNER.id, conversation).messages
    brought = kept[1].meta["brought"]
    assert "银色的头发" in brought
    assert "蓝色的头发" not in brought
    assert "偷偷地笑" in brought
    assert kept[2].content.endswith(brought.partition("】")[2])
    shown = talk.talking.shown(OWNER, studio.conversations.get(OWNER.id, conversation))
    assert f'<img class="shown" src="picture/{picture}.webp"' in shown
    assert studio.vision.album.get(OWNER.id, picture).corrected


def test_a_picture_comes_back_where_she_could_not_answer(tab: PicturesTab, studio: Studio, tmp_path: Path) -> None:
    assert isinstance(studio.chat, FakeChat)
    studio.chat.answers = [RuntimeError("broken")]
    talk = ChatTab(studio)
    picture = Attachment(studio).attach(OWNER, blue(tmp_path))[0]
    steps: list[Any] = []
    asked = talk.talking.send(OWNER, "看", str(talk.arrive(OWNER)[3]), "", *PLAIN, picture, None)
    with pytest.raises(RuntimeError):
        collected(asked, steps)
    assert (steps[0][5], steps[-1][5]) == ("", picture)
    assert steps[-1][6]["visible"]


def test_anothers_picture_goes_nowhere(tab: PicturesTab, studio: Studio, tmp_path: Path) -> None:
    picture = Attachment(studio).attach(OWNER, blue(tmp_path))[0]
    talk = ChatTab(studio)
    conversation = str(talk.arrive(VISITOR)[3])
    with pytest.raises(VisionError):
        list(talk.talking.send(VISITOR, "看", conversation, "", *PLAIN, picture, []))
    assert len(studio.conversations.get(VISITOR.id, conversation).messages) == 1, "her greeting"


def test_a_card_that_is_left_is_empty(tab: PicturesTab, studio: Studio) -> None:
    assert Attachment(studio).detach(OWNER)[0] == ""
    assert Attachment(studio).attach(OWNER, None)[0] == ""
