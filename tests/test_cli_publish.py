"""`publish` on the command line, against a hub on loopback: what it sends, what it prints, and how it fails."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_cli import Call, call, refused
from writable_hub import TOKEN, WritableHub, writable_hub

from anime_ai.chat.service import SHIPPED

__all__ = ["call"]
pytestmark = [pytest.mark.slow]
ROWS = [{"input": f"第{number}个问题？", "output": f"哼，{number}。", "persona": "三无"} for number in range(12)]


@pytest.fixture
def hub() -> Iterator[WritableHub]:
    with writable_hub() as found:
        yield found


@pytest.fixture
def at_hub(hub: WritableHub, tmp_path: Path) -> dict[str, str]:
    """The variables of somebody who has logged in at that hub."""
    return {
        **{"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "HF_HUB_CACHE": str(tmp_path / "cache")},
        **{"ANIME_AI_MODEL_NAME": "starter", "ANIME_AI_OUTPUT_DIR": "out dir"},
    }


@pytest.fixture
def rows(tmp_path: Path) -> str:
    (tmp_path / "我的对话.json").write_text(json.dumps(ROWS, ensure_ascii=False), encoding="utf-8")
    return "我的对话.json"


def value(done: Any) -> Any:
    """What a call with --json has printed, which is one value and nothing else."""
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_dataset_is_made_on_this_machine_and_sent(
    call: Call, hub: WritableHub, at_hub: dict[str, str], rows: str, tmp_path: Path
) -> None:
    alone = call("publish", "hub", "--kind", "dataset", "--dataset", rows, "--out", "她的 话", **at_hub)
    assert alone.returncode == 0, alone.stderr
    assert "她的 话" in alone.stdout
    assert (tmp_path / "她的 话" / "README.md").is_file()
    assert hub.asked == [], "nothing is sent where no repository is named"
    told = value(call("publish", "hub", "--kind", "dataset", "--dataset", rows, "--repo", "rows", "--json", **at_hub))
    repo = hub.repo("dataset", "haitang/rows")
    assert repo.private
    assert told["sent"]["repository"] == "haitang/rows"
    assert told["sent"]["files"] == len(repo.files)
    assert (told["kind"], told["parity"]) == ("dataset", None)
    assert any("第7个问题？".encode() in content for content in repo.files.values())
    assert str(tmp_path).encode() not in b"".join(repo.files.values())


def test_an_adapter_is_proved_before_all_can_see_it(
    call: Call, hub: WritableHub, at_hub: dict[str, str], tmp_path: Path
) -> None:
    hers = ("--adapter", SHIPPED / "kuudere")
    done = call("publish", "hub", *hers, "--repo", "haitang/rin", "--public", **at_hub)
    assert done.returncode == 0, done.stderr
    repo = hub.repo("model", "haitang/rin")
    assert not repo.private
    assert "adapter_model.safetensors" in repo.files
    assert f"{hub.endpoint}/haitang/rin" in done.stdout
    assert TOKEN not in done.stdout + done.stderr
    assert str(tmp_path).encode() not in b"".join(repo.files.values())


def test_a_bundle_is_packed_and_taken_elsewhere(call: Call, at_hub: dict[str, str], tmp_path: Path) -> None:
    packed = call(
        *("publish", "bundle", "--persona", "三无", "--adapter", SHIPPED / "kuudere", "--out", "她.persona.zip"),
        **at_hub,
    )
    assert packed.returncode == 0, packed.stderr
    assert "她.persona.zip" in packed.stdout
    there = {**at_hub, "ANIME_AI_OUTPUT_DIR": "elsewhere"}
    taken = value(call("publish", "bundle", "--take", "她.persona.zip", "--json", **there))
    assert taken["name"].startswith("闻夕"), "beside the one who is there already"
    assert not taken["again"]
    assert taken["adapter"]
    again = value(call("publish", "bundle", "--take", "她.persona.zip", "--json", **there))
    assert again["again"]
    assert again["persona"] == taken["persona"]


def test_a_space_of_hers_is_made_and_sent(call: Call, hub: WritableHub, at_hub: dict[str, str]) -> None:
    told = value(call("publish", "space", "--adapter", SHIPPED / "kuudere", "--repo", "rin-talks", "--json", **at_hub))
    repo = hub.repo("space", "haitang/rin-talks")
    assert (repo.sdk, repo.private) == ("gradio", True)
    assert {"app.py", "README.md", "requirements.txt", "persona.zip"} <= {*repo.files}
    assert told["sent"]["files"] == len(repo.files)


def test_the_studio_is_saved_and_comes_back(call: Call, at_hub: dict[str, str], tmp_path: Path) -> None:
    card = {"spec": "chara_card_v2", "spec_version": "2.0", "data": {"name": "小花", "description": "一只猫。"}}
    (tmp_path / "小花.json").write_text(json.dumps(card, ensure_ascii=False), encoding="utf-8")
    assert call("persona", "import", "小花.json", **at_hub).returncode == 0
    saved = value(call("publish", "save", "全部.zip", "--json", **at_hub))
    assert saved["bytes"] == (tmp_path / "全部.zip").stat().st_size
    done = call("publish", "restore", "全部.zip", "--output-dir", "新 folder", **at_hub)
    assert done.returncode == 0, done.stderr
    assert "小花" in call("persona", "show", "--output-dir", "新 folder", **at_hub).stdout
    refused(call("publish", "restore", "全部.zip", "--output-dir", "新 folder", "--json", **at_hub), "新 folder")
    with zipfile.ZipFile(tmp_path / "坏.zip", "w") as other:
        other.writestr("../../etc/passwd", "x")
    refused(call("publish", "restore", "坏.zip", "--output-dir", "third", "--json", **at_hub))
    assert not (tmp_path / "third").exists() or not any((tmp_path / "third").rglob("*.sqlite*"))


def test_what_cannot_be_published_is_one_line(
    call: Call, hub: WritableHub, at_hub: dict[str, str], rows: str, tmp_path: Path
) -> None:
    dataset = ("publish", "hub", "--kind", "dataset", "--dataset", rows, "--json")
    refused(call("publish", "hub", "--kind", "exe", **at_hub), "exe", "gguf")
    refused(call("publish", "hub", "--adapter", "gone", **at_hub), "gone")
    refused(call("publish", "bundle", "--take", "gone.zip", **at_hub), "gone.zip")
    refused(call(*dataset, "--repo", "rows", **{**at_hub, "HF_TOKEN": "", "HF_TOKEN_PATH": "none"}), "HF_TOKEN")
    line = refused(call(*dataset, "--repo", "rows", **{**at_hub, "HF_TOKEN": "hf_another"}))
    assert "hf_another" not in line
    refused(call(*dataset, "--repo", "rows", **{**at_hub, "HF_ENDPOINT": "http://127.0.0.1:9"}))
    assert hub.repos["dataset"] == {}
