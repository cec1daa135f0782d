"""A persona in one file: out of one studio, into another; and every file that is none of ours."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from anime_ai.chat.service import SHIPPED
from anime_ai.config import OWNER, Settings
from anime_ai.errors import AnimeAIError, PublishError, StorageError
from anime_ai.files import read_json
from anime_ai.models.adapters import read_card
from anime_ai.models.bases import STARTER, find_base
from anime_ai.persona.files import read
from anime_ai.publishing.bundles import is_bundle
from anime_ai.publishing.incoming import checked_scores, known_base
from anime_ai.publishing.trained import Trained
from anime_ai.studio import Studio
from anime_ai.training.evaluating import read_evaluation

SAID = "# 海棠\n\n海棠的姐姐住在镇上，开一家花店，店名叫“半朵”。\n"


def open_studio(folder: Path) -> Studio:
    return Studio.open(Settings.load(output_dir=folder / "输出 folder", model_name="starter"))


def picture(colour: str) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (80, 80), colour).save(made, "PNG")
    return made.getvalue()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole one: an edited copy of a shipped persona with adapter, documents and gallery."""
    folder = tmp_path_factory.mktemp("bundle")
    with open_studio(folder) as studio:
        persona = studio.personas.copy(studio.personas.find("三无").id)
        base_id = studio.knowledge.library.create("花店", persona=persona.name, about="姐姐的店")
        studio.knowledge.paste(base_id, "海棠", SAID)
        studio.vision.enrol(OWNER, persona.character, [picture("#d6457a"), picture("#5b5bd6")])
        studio.vision.enrol(OWNER, "别人", [picture("#00aa00")])
        trained = Trained(SHIPPED / "kuudere", find_base(STARTER, studio.settings), read_card(SHIPPED / "kuudere"))
        return studio.bundles.pack(persona, folder / "她.persona.zip", trained, *studio.bundles.of_persona(persona))


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Studio]:
    """Another machine's studio."""
    with open_studio(tmp_path) as studio:
        yield studio


def state_of(studio: Studio) -> list[Any]:
    library = studio.knowledge.library
    return [
        [one.name for one in studio.personas.list()],
        [one.name for one in studio.personas.removed()],
        sorted(path.name for path in (studio.settings.studio_dir / "personas").rglob("*")),
        [(one.name, one.documents) for one in library.bases()],
        [(one.name, one.pictures) for one in studio.vision.album.characters(OWNER)],
        [run.id for run in studio.runs.list()],
        sorted(path.name for path in studio.settings.runs_dir.glob("*")),
    ]


def test_a_bundle_holds_what_it_should_and_its_card_is_a_card(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as zipped:
        names = set(zipped.namelist())
        card = read(zipped.read("card.png")).card
        weights = zipped.read("adapter/adapter_model.safetensors")
    assert names == {
        *("bundle.json", "card.png", "adapter/adapter_model.safetensors", "adapter/adapter_config.json"),
        *("adapter/anime_ai.json", "knowledge/0-0.md", "gallery/0-0.webp", "gallery/0-1.webp"),
    }
    assert card is not None
    assert card.own["adapter"]["sha256"] == hashlib.sha256(weights).hexdigest()
    assert card.own["adapter"]["base"] == "starter"
    assert is_bundle(bundle)


def test_one_drop_brings_everything_and_she_answers_with_her_adapter(bundle: Path, other: Studio) -> None:
    taken = other.bundles.take(bundle)
    assert (taken.documents, taken.characters, taken.left_out) == (1, 1, "")
    choice = other.chat.adapters(taken.persona.name)[0]
    assert choice.id == taken.adapter
    assert choice.persona == taken.persona.name
    (base,) = [one for one in other.knowledge.library.bases() if one.name == "花店"]
    assert base.persona == taken.persona.name
    found = other.knowledge.search("姐姐的花店叫什么？", [base.id])
    assert "半朵" in found[0].text
    assert [(one.name, one.pictures) for one in other.vision.album.characters(OWNER)] == [(taken.persona.character, 2)]
    card = read_card(other.runs.get(choice.id.removeprefix("run:")).folder / "final_model")
    assert card["persona"] == taken.persona.name
    answer = "".join(reply.text for reply in list(other.chat.ask("你好", taken.persona.name, taken.adapter))[-1:])
    shipped = "".join(reply.text for reply in list(other.chat.ask("你好", "三无", "shipped:kuudere"))[-1:])
    assert answer
    assert shipped


def test_again_it_brings_nothing_new(bundle: Path, other: Studio) -> None:
    first = other.bundles.take(bundle)
    before = state_of(other)
    again = other.bundles.take(bundle)
    assert again.again
    assert again.persona.id == first.persona.id
    assert state_of(other) == before


def changed(bundle: Path, target: Path, change: Callable[[dict[str, bytes]], None], rehash: bool = True) -> Path:
    """The bundle with other files in it, its listing made true again."""
    with zipfile.ZipFile(bundle) as zipped:
        files = {name: zipped.read(name) for name in zipped.namelist()}
    change(files)
    if rehash:
        told = json.loads(files["bundle.json"])
        listed = {name: content for name, content in files.items() if name != "bundle.json"}
        told["files"] = {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in listed.items()
        }
        files["bundle.json"] = json.dumps(told).encode()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)
    return target


def edit(name: str, **values: Any) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        told = {**json.loads(files[name]), **values}
        files[name] = json.dumps(told).encode()

    return change


def put(name: str, content: bytes) -> Callable[[dict[str, bytes]], None]:
    return lambda files: files.__setitem__(name, content)


CONFIG = "adapter/adapter_config.json"
BAD: dict[str, Callable[[dict[str, bytes]], None]] = {
    "pickle": put("adapter/adapter_model.bin", b"\x80\x04."),
    "gguf": put("adapter/model.gguf", b"GGUF"),
    "saved state": put("states/talk.bin", b"state"),
    "chroma": put("vectors/chroma.sqlite3", b"SQLite format 3\0"),
    "leads out": put("../../etc/cron.d/x", b"x"),
    "absolute": put("/etc/passwd", b"x"),
    "backslash": put("knowledge\\..\\x.md", b"x"),
    "code": put("adapter/modeling.py", b"import os"),
    "not listed knowledge": put("knowledge/0-9.md", b"x"),
    "bomb": put("knowledge/0-0.md", b"0" * (7 * 2**20)),
    "too long a text": put("knowledge/0-0.md", bytes(range(256)) * (9 * 2**12)),
    "no utf-8": put("knowledge/0-0.md", b"\xff\xfe\xfa"),
    "no picture": put("gallery/0-0.webp", b"<svg onload=alert(1)>"),
    "no card": put("card.png", picture("#ffffff")),
    "weights cut": put("adapter/adapter_model.safetensors", b"\x10\0\0\0\0\0\0\0{}"),
    "weights are a pickle": put("adapter/adapter_model.safetensors", b"\x80\x04\x95" + b"\0" * 64),
    "config names code": edit(CONFIG, auto_mapping={"base_model_class": "x", "parent_library": "os"}),
    "config is no lora": edit(CONFIG, peft_type="IA3"),
    "config is a pattern": edit(CONFIG, target_modules="(a+)+$"),
    "config layers": edit(CONFIG, layers_to_transform=["(a+)+$"]),
    "config ranks": edit(CONFIG, r=10**9),
    "config patterns": edit(CONFIG, rank_pattern={"(a+)+$": 3}),
    "notes are senseless": edit("adapter/anime_ai.json", think="loud"),
    "notes of another format": edit("adapter/anime_ai.json", prompt_format="x"),
    "another base's weights": edit("adapter/anime_ai.json", base_fingerprint="0" * 16),
    "another kind": edit("bundle.json", kind="virus"),
    "newer": edit("bundle.json", version=2),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_none_of_ours_is_refused_whole(bundle: Path, other: Studio, tmp_path: Path, name: str) -> None:
    before = state_of(other)
    with pytest.raises(AnimeAIError) as refused:
        other.bundles.take(changed(bundle, tmp_path / "bad.zip", BAD[name]))
    assert "{" not in refused.value.say("zh")
    assert state_of(other) == before


def test_a_changed_file_a_link_a_double_and_a_cut_file_are_refused(bundle: Path, other: Studio, tmp_path: Path) -> None:
    before = state_of(other)
    files = [changed(bundle, tmp_path / "1.zip", put("knowledge/0-0.md", b"other"), rehash=False)]
    linked = changed(bundle, tmp_path / "2.zip", lambda files: None)
    with zipfile.ZipFile(linked, "a") as zipped:
        entry = zipfile.ZipInfo("knowledge/0-1.md")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(entry, "/etc/passwd")
    doubled = changed(bundle, tmp_path / "3.zip", lambda files: None)
    with zipfile.ZipFile(doubled, "a") as zipped, pytest.warns(UserWarning, match="Duplicate"):
        zipped.writestr("card.png", b"other")
    cut = tmp_path / "4.zip"
    cut.write_bytes(bundle.read_bytes()[:-400])
    for file in [*files, linked, doubled, cut]:
        with pytest.raises(PublishError):
            other.bundles.take(file)
    assert state_of(other) == before
    assert not is_bundle(cut)


def test_an_adapter_for_an_unknown_base_stays_outside_and_nothing_is_fetched(
    bundle: Path, other: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*args: Any, **more: Any) -> Any:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.getaddrinfo", no_network)
    folder = tmp_path / "base"
    shutil.copytree(find_base(STARTER, Settings()).path, folder)
    for base in ("somebody/unknown-base", str(folder), "../base"):
        file = changed(bundle, tmp_path / "unknown.zip", edit("adapter/anime_ai.json", base=base))
        taken = other.bundles.take(file)
        assert (taken.adapter, taken.left_out, taken.base) == ("", "publishing.unknown_base", base)
        assert taken.documents == 1
    assert other.runs.list() == []
    assert known_base("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"), "the catalogue's are taken before they are here"


def test_documents_come_as_their_owner_corrected_them(other: Studio, tmp_path: Path) -> None:
    library, persona = other.knowledge.library, other.personas.copy(other.personas.find("三无").id)
    base_id = library.create("花店", persona=persona.name)
    document = other.knowledge.paste(
        base_id, "店", "# 花店\n\n店名叫“半朵”。\n\n## 电话\n\n13800000000\n\n## 开门\n\n九点。\n"
    )
    secret = other.knowledge.paste(base_id, "密", "全是秘密。")
    _, phone, hours = library.chunks(document)
    library.switch(phone.id, False)
    library.edit(hours.id, "十点。")
    library.switch(library.chunks(secret)[0].id, False)
    file = other.bundles.pack(persona, tmp_path / "her.persona.zip", None, [base_id])
    with zipfile.ZipFile(file) as zipped:
        everything = b"".join(zipped.read(name) for name in zipped.namelist() if name.startswith("knowledge/"))
    assert everything.decode() == "# 花店\n\n店名叫“半朵”。\n\n## 开门\n\n十点。"
    other.bundles.take(file)
    (taken,) = [one for one in library.bases() if one.name == "花店 (2)"]
    (there,) = library.documents(taken.id)
    assert [(one.heading, one.text) for one in library.chunks(there.id)] == [
        ("花店", "店名叫“半朵”。"),
        ("花店 › 开门", "十点。"),
    ]


def test_an_adapter_is_taken_once_its_base_is_known(
    bundle: Path, other: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = changed(bundle, tmp_path / "later.zip", edit("adapter/anime_ai.json", base="somebody/later-base"))
    first, second = other.bundles.take(file), other.bundles.take(file)
    assert (second.again, second.adapter, second.left_out) == (True, "", "publishing.unknown_base")
    monkeypatch.setattr("anime_ai.publishing.bundles.known_base", lambda name: True)
    rest = state_of(other)[:-2]
    third = other.bundles.take(file)
    (run,) = other.runs.list()
    assert (third.again, third.adapter, third.left_out) == (True, f"run:{run.id}", "")
    assert third.persona.id == first.persona.id
    assert other.bundles.take(file).adapter == "", "it is here now"
    assert len(other.runs.list()) == 1
    assert state_of(other)[:-2] == rest, "nothing else comes twice"


def test_the_configuration_is_written_anew_and_scores_are_figures(bundle: Path, other: Studio, tmp_path: Path) -> None:
    scores = {"style": {"base": 0.1, "adapter": 0.9, "low": 0.8, "high": 0.95}, "<b>": {}, "drift": {"base": "NaN"}}
    file = changed(bundle, tmp_path / "scores.zip", edit("bundle.json", scores=scores))
    run = other.runs.get(other.bundles.take(file).adapter.removeprefix("run:"))
    assert read_evaluation(run.folder).figures == {"style": scores["style"]}
    config = read_json(run.folder / "final_model" / "adapter_config.json")
    assert set(config) <= {
        *("peft_type", "task_type", "base_model_name_or_path", "inference_mode", "r", "lora_alpha", "lora_dropout"),
        *("target_modules", "bias", "use_rslora", "use_dora", "trainable_token_indices"),
        "layers_to_transform",
    }
    assert config["layers_to_transform"] == [0, 1, 2, 3], "the shipped adapters have only these"
    assert checked_scores({"style": {"base": float("inf"), "adapter": 1, "low": 0, "high": 1}}) == {}


def test_what_fails_late_is_undone(bundle: Path, other: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state_of(other)

    def full(*args: Any, **more: Any) -> Any:
        raise StorageError("storage.write", path="/", why="No space left on device")

    for owner, verb in ((other.vision.album, "enrol"), (other.personas.faces, "put")):
        with monkeypatch.context() as patched:
            patched.setattr(owner, verb, full)
            with pytest.raises(StorageError):
                other.bundles.take_once(bundle)
        assert state_of(other) == before, verb
    assert other.bundles.take_once(bundle) is not None, "it is no persona that somebody removed"
