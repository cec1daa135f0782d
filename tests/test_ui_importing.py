"""The import on the dataset tab: files and pasted talk are looked at, asked about, and made into rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dataset_page import EVIL, told, view
from ui_fakes import OWNER

from anime_ai.dataset.rows import Row
from anime_ai.errors import DatasetError
from anime_ai.studio import Studio
from anime_ai.ui import importing
from anime_ai.ui.dataset_tab import DatasetTab
from anime_ai.ui.importing import FIELDS


@pytest.fixture(autouse=True)
def _no_toasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "note", lambda line, language: None)


@pytest.fixture
def tab(studio: Studio) -> DatasetTab:
    return DatasetTab(studio)


def uploaded(folder: Path, content: Any, name: str = "我的 对话.json") -> str:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode())
    return str(file)


NO_COLUMNS = [None] * len(FIELDS)


def asked(**told: Any) -> list[Any]:
    """What the page sends of the choices."""
    return [
        told.get("encoding"),
        told.get("kind"),
        told.get("her"),
        told.get("each", False),
        told.get("persona", "傲娇"),
        *NO_COLUMNS,
    ]


def test_a_file_is_looked_at_imported_and_known_again(tab: DatasetTab, studio: Studio, tmp_path: Path) -> None:
    rows = [{"input": f"问{n}", "output": f"答{n}{EVIL}"} for n in range(3)]
    pending, box, asking, *_, name, _ = tab.importing.upload(OWNER, uploaded(tmp_path, rows))
    assert "3 条" in box
    assert "<img" not in box
    assert asking["visible"]
    assert name == "我的 对话"
    assert len(studio.datasets.list()) == 1, "nothing is imported before"
    answer = told(tab.importing.make(OWNER, pending, name, False, *asked()), "pending", "box")
    info = studio.datasets.find("我的 对话")
    assert (info.rows, info.personas) == (3, ("傲娇",))
    assert answer["dataset"]["value"] == info.id
    assert studio.datasets.choices(info.id).sources == ("我的 对话.json",)
    pending, *_ = tab.importing.upload(OWNER, uploaded(tmp_path, rows))
    again = told(tab.importing.make(OWNER, pending, name, False, *asked()), "pending", "box")
    assert "之前导入过" in again["box"]
    assert len(studio.datasets.list()) == 2
    assert list(tab.importing.uploads.iterdir()) == []
    assert not (tmp_path / "我的 对话.json").exists(), "nothing stays in the shared cache"


def test_rows_are_put_behind_those_of_the_open_dataset(tab: DatasetTab, studio: Studio, tmp_path: Path) -> None:
    small = studio.datasets.create("三行", [Row(f"问{n}", f"答{n}", "傲娇") for n in range(3)])
    pending, *_ = tab.importing.upload(OWNER, uploaded(tmp_path, b"input,output\n\xe9\x97\xae,a\n", "a.csv"))
    tab.importing.append(OWNER, pending, small, False, *asked(persona="温柔"))
    assert studio.datasets.rows(small)[-1] == Row("问", "a", "温柔")
    tab.editing.undo(OWNER, *view(small))
    assert len(studio.datasets.rows(small)) == 3


def test_a_pasted_chat_becomes_rows_of_the_chosen_speaker(tab: DatasetTab, studio: Studio) -> None:
    said = "小明：今天好热。\n雪见：哼，热就去吃冰。\n小明：你请客吗？\n雪见：想得美。"
    pending, box, _, _, _, her, *_, name, _ = tab.importing.paste(OWNER, said)
    assert "对话记录" in box
    assert {value for _, value in her["choices"]} == {"小明", "雪见"}
    pending, box, *_ = tab.importing.look_again(OWNER, pending, *asked(her="雪见", each=True, persona="傲娇"))
    assert "想得美" in box
    tab.importing.make(OWNER, pending, name, False, *asked(her="雪见", each=True, persona="傲娇"))
    rows = studio.datasets.rows(studio.datasets.find(name).id)
    assert [(row.input, row.output) for row in rows] == [
        ("今天好热。", "哼，热就去吃冰。"),
        ("你请客吗？", "想得美。"),
    ]
    with pytest.raises(DatasetError):
        tab.importing.paste(OWNER, " ")


def test_columns_are_mapped_by_hand(tab: DatasetTab, studio: Studio, tmp_path: Path) -> None:
    content = "甲,乙\n早,哼\n".encode()
    pending, box, *_ = tab.importing.upload(OWNER, uploaded(tmp_path, content, "表.csv"))
    assert "还没有指定" in box
    columns = [{"input": "甲", "output": "乙"}.get(name) for name in FIELDS]
    given = [*asked()[:5], *columns]
    assert "哼" in tab.importing.look_again(OWNER, pending, *given)[1]
    tab.importing.make(OWNER, pending, "表", False, *given)
    assert studio.datasets.rows(studio.datasets.find("表").id) == [Row("早", "哼", "傲娇")]


@pytest.mark.parametrize(
    ("content", "line"),
    [(b'[{"input": "a", "output": ', "第 1 行"), (b"[]", "没有"), (b"", "没有"), (b"\x80\x04K\x01.", "pickle")],
)
def test_a_file_that_cannot_be_read_is_said_and_leaves_nothing(
    tab: DatasetTab, studio: Studio, tmp_path: Path, content: bytes, line: str
) -> None:
    box = tab.importing.upload(OWNER, uploaded(tmp_path, content, "<b>坏.json"))[1]
    assert line in box
    assert "&lt;b&gt;坏.json" in box, "the file is named as its owner named it"
    assert str(tmp_path) not in box
    assert len(studio.datasets.list()) == 1
    assert list(tab.importing.uploads.iterdir()) == []


def test_bad_rows_are_named_and_the_good_ones_wait_for_a_word(tab: DatasetTab, studio: Studio, tmp_path: Path) -> None:
    rows = [{"input": "问", "output": "答"}, {"input": "没有答案"}, {"input": "", "output": EVIL}]
    pending, *_ = tab.importing.upload(OWNER, uploaded(tmp_path, rows))
    answer = tab.importing.make(OWNER, pending, "三", False, *asked())
    box, _, good_only, _ = answer[-4:]
    assert "第 2 行" in box
    assert "第 3 行" in box
    assert good_only["visible"]
    assert len(studio.datasets.list()) == 1, "nothing is imported before"
    done = tab.importing.make(OWNER, pending, "三", True, *asked())
    assert studio.datasets.find("三").rows == 1
    # The word holds for this file alone: hidden and ticked, it would leave rows of the next one out unasked.
    next_file = [tab.importing.upload(OWNER, uploaded(tmp_path, one)) for one in (rows, b"[]")]
    other_way = tab.importing.look_again(OWNER, next_file[0][0], *asked())
    tickings = [
        done[-2],
        *(one[-3] for one in (*next_file, other_way)),
        tab.importing.forget(OWNER, next_file[0][0])[-1],
    ]
    assert [(one["value"], one["visible"]) for one in tickings] == [(False, False)] * 5
    assert list(tab.importing.uploads.iterdir()) == []


def test_a_pending_file_is_found_by_our_id_only(tab: DatasetTab, tmp_path: Path) -> None:
    uploaded(tmp_path, [{"input": "a", "output": "b"}], "secret.json")
    for id in ("../../secret.json", "../secret.json", "", "x" * 32, "a" * 31 + "/"):
        with pytest.raises(DatasetError):
            tab.importing.make(OWNER, {"id": id}, "", False, *asked())
    assert tab.importing.forget(OWNER, {"id": "../secret.json"})[0] == {}
    assert (tmp_path / "secret.json").exists()


def test_a_path_outside_the_cache_is_no_upload(
    tab: DatasetTab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    file = uploaded(tmp_path, [{"input": "a", "output": "b"}])
    with pytest.raises(DatasetError) as caught:
        tab.importing.upload(OWNER, file)
    assert caught.value.key == "ui.upload_lost"
    assert Path(file).exists()
