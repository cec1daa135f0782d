"""The models tab over a hub on loopback: what is offered, fetched, put to use, deleted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_hub import FakeHub, only_hub
from tiny_models import make_base
from ui_fakes import OWNER, STRANGER, open_studio

from anime_ai.config import STARTER_LM
from anime_ai.errors import AnimeAIError, ModelError
from anime_ai.models.bases import STARTER, find_base, on_disk
from anime_ai.models.device import Device
from anime_ai.models.downloads import Download
from anime_ai.models.engines import engine_name
from anime_ai.models.fetching import home
from anime_ai.studio import Studio
from anime_ai.ui.model_cards import progress
from anime_ai.ui.models_tab import BUSY, IDLE, ModelsTab

ID = "Qwen/Qwen2.5-0.5B-Instruct"
WEIGHTS = min(file.name for file in STARTER_LM.glob("*.safetensors"))


class Clicked:
    def __init__(self, act: Any = "", id: Any = "") -> None:
        self._data = {"act": act, "id": id}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with only_hub(monkeypatch, tmp_path / "cache") as made:
        made.models[ID] = {file.name: file.read_bytes() for file in STARTER_LM.iterdir() if file.is_file()}
        yield made


@pytest.fixture
def studio(hub: FakeHub, tmp_path: Path) -> Iterator[Studio]:
    with open_studio(tmp_path / "studio", hub_timeout=2) as found:
        yield found


@pytest.fixture
def tab(studio: Studio) -> ModelsTab:
    return ModelsTab(studio)


def card_of(html: str, id: str) -> str:
    (found,) = [part for part in html.split("<article ")[1:] if f"<b>{id}</b>" in part]
    return found.split("</article>")[0]


def fetched(tab: ModelsTab, id: str) -> None:
    tab.act(OWNER, Clicked("download", id), "")
    assert [one.state for one in tab.downloads.watch(id, 0.01)][-1] == "finished"


def test_everything_is_offered_with_its_size_licence_and_memory(tab: ModelsTab) -> None:
    source, html, room, *_, timer = tab.arrive(OWNER, "")
    assert source["value"] == "hub"
    assert [value for _, value in source["choices"]] == ["hub", "mirror", "modelscope"]
    first = card_of(html, "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B")
    assert "3.55 GB · MIT · 内存：聊天 4.2 GB" in first
    assert 'data-act="download"' in first
    assert html.index("DeepSeek-R1-Distill") < html.index("Qwen/Qwen2.5-0.5B-Instruct") < html.index("BAAI/bge-small")
    assert html.index("BAAI/bge-m3") < html.index("SmilingWolf")
    starter = card_of(html, "入门小模型（starter）")
    assert "正在使用" in starter
    assert "data-act" not in starter
    assert "GB" in room
    assert timer.value == IDLE


def test_a_click_fetches_two_pages_see_it_and_it_can_be_paused(tab: ModelsTab, hub: FakeHub, studio: Studio) -> None:
    size = len(hub.models[ID][WEIGHTS])
    hub.stalls[WEIGHTS] = size // 2
    html, _, seen, _, timer = tab.act(OWNER, Clicked("download", ID), "")
    assert timer.value == BUSY
    other = ModelsTab(studio)
    end = time.monotonic() + 20
    while tab.downloads.get(ID).done < size // 2:  # type: ignore[union-attr]
        assert time.monotonic() < end
        time.sleep(0.01)
    for page in (tab, other):
        found = card_of(page.tick(OWNER, seen, "")[0], ID)
        assert "下载中" in found
        assert 'class="bar"' in found
        assert 'data-act="stop"' in found
    html, _, seen, *_ = tab.act(OWNER, Clicked("stop", ID), "")
    assert "已暂停" in card_of(html, ID)
    assert 'data-act="download"' in card_of(html, ID)
    hub.released.set()
    fetched(tab, ID)
    assert "用它聊天和训练" in card_of(tab.tick(OWNER, seen, "")[0], ID)
    assert on_disk(ID)


def test_nothing_new_changes_nothing(tab: ModelsTab) -> None:
    seen = tab.arrive(OWNER, "")[3]
    assert all(update == {"__type__": "update"} for update in tab.tick(OWNER, seen, ""))


def test_a_base_is_put_to_use_and_a_deletion_is_asked_twice(tab: ModelsTab, studio: Studio, tmp_path: Path) -> None:
    fetched(tab, ID)
    html = tab.act(OWNER, Clicked("use", ID), "")[0]
    assert "正在使用" in card_of(html, ID)
    assert studio.settings.model_name == ID
    assert ID in studio.chat.answering().label
    with open_studio(tmp_path / "studio") as again:
        assert again.settings.model_name == ID, "after a restart too"
    with open_studio(tmp_path / "studio", model_name="starter") as named:
        assert named.settings.model_name == "starter", "what was named is never replaced"
    tab.act(OWNER, Clicked("delete", ID), "")
    assert on_disk(ID), "a single click deletes nothing"
    html, _, _, asking, _ = tab.act(OWNER, Clicked("ask", ID), "")
    assert asking == ID
    assert "确定从磁盘删除" in card_of(html, ID)
    html = tab.act(OWNER, Clicked("delete", ID), asking)[0]
    assert not home(ID).exists()
    assert 'data-act="download"' in card_of(html, ID)
    assert studio.settings.model_name == "auto"


def test_what_failed_says_why_and_what_arrived_is_discarded(tab: ModelsTab, hub: FakeHub) -> None:
    hub.lies[WEIGHTS] = hub.models[ID][WEIGHTS][:-1] + b"?"
    tab.act(OWNER, Clicked("download", ID), "")
    with pytest.raises(ModelError):
        list(tab.downloads.watch(ID, 0.01))
    html, *_ = tab.arrive(OWNER, "")[1:]
    assert "校验值不符" in card_of(html, ID)
    english = tab.arrive(STRANGER, "")[1]
    assert "its hash differs" in card_of(english, ID)
    tab.act(OWNER, Clicked("ask", ID), "")
    html = tab.act(OWNER, Clicked("delete", ID), ID)[0]
    assert "校验值" not in card_of(html, ID)
    assert not home(ID).exists()


@pytest.mark.parametrize(
    "clicked",
    [Clicked("use", ID), Clicked("use", "BAAI/bge-m3"), Clicked("download", "../x"), Clicked("delete", "no/no")],
)
def test_what_makes_no_sense_is_refused(tab: ModelsTab, clicked: Clicked) -> None:
    asking = "no/no" if clicked._data["act"] == "delete" else ""
    if asking:
        before = tab.shelf.list()
        tab.act(OWNER, clicked, asking)
        assert tab.shelf.list() == before
        return
    with pytest.raises(AnimeAIError):
        tab.act(OWNER, clicked, asking)


def test_another_model_by_its_id_and_a_persons_own(tab: ModelsTab, hub: FakeHub, tmp_path: Path) -> None:
    hub.models["some/model"] = hub.models[ID]
    html, *_, field = tab.fetch(OWNER, " some/model ", "base")
    assert field == ""
    assert [one.state for one in tab.downloads.watch("some/model", 0.01)][-1] == "finished"
    assert "本机有" in card_of(tab.arrive(OWNER, "")[1], "some/model")
    own = tmp_path / '我的"<img src=x>'
    own.mkdir()
    for name, content in hub.models[ID].items():
        (own / name).write_bytes(content)
    html, *_ = tab.add(OWNER, str(own))
    assert "<img" not in html
    assert str(own) in [one.id for one in tab.studio.bases() if one.present]
    tab.act(OWNER, Clicked("use", str(own)), "")
    assert tab.base == str(own)
    html, *_ = tab.act(OWNER, Clicked("delete", str(own)), str(own))
    assert own.is_dir()
    assert "我的" not in html
    with pytest.raises(ModelError):
        tab.add(OWNER, str(tmp_path / "nothing"))


def test_the_source_is_chosen_once(tab: ModelsTab, studio: Studio) -> None:
    tab.choose_source(OWNER, "modelscope")
    assert ModelsTab(studio).arrive(OWNER, "")[0]["value"] == "modelscope"
    with pytest.raises(ModelError):
        tab.choose_source(OWNER, "ftp")


def test_a_bar_tells_how_much_how_fast_and_how_long() -> None:
    told = progress(Download("a/b", "base", "hub", "running", 1_500_000_000, 3_000_000_000, 10_000_000.0), "zh")
    assert "width:50.0%" in told
    assert "1.5 / 3.0 GB · 10.0 MB/s" in told
    assert "2 分 30 秒" in told


def test_a_base_becomes_a_gguf_file_by_a_click_and_the_chat_takes_it(
    tab: ModelsTab, tmp_path: Path, tiny_tokenizer: Any
) -> None:
    studio, base = tab.studio, make_base(tmp_path / "tiny-qwen", tiny_tokenizer, hidden=64)
    studio.shelf.add(str(base.path))
    (id,) = [one.entry.id for one in studio.shelf.list() if one.own]
    before = tab.act(OWNER, Clicked("keep", id), "")[0]  # type: ignore[arg-type]
    assert f'data-act="convert" data-id="{id}"' in before
    tab.act(OWNER, Clicked("convert", id), "")  # type: ignore[arg-type]
    assert studio.conversions._thread is not None
    studio.conversions._thread.join()
    assert studio.conversions.now is not None
    assert studio.conversions.now.error is None
    assert 'data-act="convert"' not in tab.act(OWNER, Clicked("keep", id), "")[0]  # type: ignore[arg-type]
    processor = Device("cpu", "", 2**34, bf16=True, fp16=False)
    assert engine_name(studio.settings, base, processor) == "llamacpp"


def test_a_gguf_of_ones_own_is_put_to_use_for_chat_alone(tab: ModelsTab, tmp_path: Path) -> None:
    from anime_ai.models.gguf_files import convert

    file = convert(find_base(STARTER, tab.studio.settings), tmp_path / "my <b>.gguf", "f16").file
    html = tab.add(OWNER, f" {file} ")[0]
    assert "<b>.gguf" not in html
    assert ">用它聊天<" in html
    html = tab.act(OWNER, Clicked("use", str(file)), "")[0]
    assert tab.base == tab.studio.settings.model_name == str(file)
    assert "正在使用" in html
    assert ">用它聊天<" not in html
    assert str(file) not in [one.id for one in tab.studio.bases()]
    file.write_bytes(file.read_bytes()[:1000])
    tab.act(OWNER, Clicked("use", "starter"), "")
    with pytest.raises(ModelError) as caught:
        tab.act(OWNER, Clicked("use", str(file)), "")
    assert caught.value.key == "model.broken_file"
    assert tab.base == STARTER, "the one that was in use stays"
