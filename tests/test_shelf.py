"""What is on the disk and what can be had: the shelf, a person's own models, the catalogue's figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_hub import FakeHub, only_hub
from tiny_models import change_json, make_base

from anime_ai.config import Settings
from anime_ai.errors import AnimeAIError, ModelError
from anime_ai.models.catalogue import BASE_FILES, CATALOGUE, KINDS, SENTENCE_FILES, Entry, entry
from anime_ai.models.downloads import Downloads
from anime_ai.models.fetching import Fetch, Order, home
from anime_ai.models.shelf import Shelf
from anime_ai.models.sources import Hub

ID = "someone/tiny"
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Any) -> dict[str, bytes]:
    """A real model, file by file."""
    base = make_base(tmp_path_factory.mktemp("remote") / "tiny", tiny_tokenizer, hidden=128)
    return {file.name: file.read_bytes() for file in base.path.iterdir()}


@pytest.fixture
def hub(files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with only_hub(monkeypatch, tmp_path / "缓存 cache") as made:
        made.models[ID] = dict(files)
        yield made


@pytest.fixture
def settings(hub: FakeHub, tmp_path: Path) -> Settings:
    return Settings(output_dir=tmp_path / "out", hub_timeout=2, hub_mirror=hub.endpoint, modelscope=hub.endpoint)


def ordered(hub: FakeHub, **more: Any) -> Fetch:
    return Fetch(Order(ID, BASE_FILES), Hub(hub.endpoint), **{"timeout": 2.0, **more})


def test_what_is_here_is_marked_and_can_be_deleted(hub: FakeHub, settings: Settings) -> None:
    shelf = Shelf(settings)
    assert [one.entry.id for one in shelf.list()] == ["starter", *(one.id for one in CATALOGUE)]
    assert [one.present for one in shelf.list()] == [True] + [False] * len(CATALOGUE)
    downloads = Downloads(settings, finished=shelf.remember)
    downloads.start(ID)
    list(downloads.watch(ID, 0.01))
    held = Shelf(settings).find(ID)
    assert held.present
    assert held.bytes > 2**19
    assert shelf.choose_base(ID) == Shelf(settings).base == ID
    shelf.take_away(ID)
    assert not home(ID).exists()
    assert Shelf(settings).base == ""
    with pytest.raises(ModelError):
        shelf.find(ID)
    with pytest.raises(ModelError) as caught:
        shelf.take_away("starter")
    assert caught.value.key == "model.ships"
    downloads.close()


def test_an_embedding_and_a_gguf_are_found(hub: FakeHub, settings: Settings, files: dict[str, bytes]) -> None:
    hub.models["BAAI/bge-small-zh-v1.5"] = {**files, "modules.json": b"[]", "1_Pooling/config.json": b"{}"}
    hub.models["some/GGUF"] = {"a.Q4_0.gguf": gguf("qwen2"), "a.F16.gguf": b"other", "README.md": b"# A"}
    shelf = Shelf(settings)
    downloads = Downloads(settings, finished=shelf.remember)
    for id in ("BAAI/bge-small-zh-v1.5", "some/GGUF/a.Q4_0.gguf"):
        downloads.start(id)
        list(downloads.watch(id, 0.01))
    embedding = shelf.find("BAAI/bge-small-zh-v1.5")
    assert embedding.path is not None
    assert (embedding.path / "1_Pooling" / "config.json").is_file()
    assert embedding.entry.files == SENTENCE_FILES
    alone = shelf.find("some/GGUF/a.Q4_0.gguf")
    assert alone.path is not None
    assert alone.path.read_bytes() == gguf("qwen2")
    assert [path for path, _ in hub.asked].count("a.F16.gguf") == 0
    shelf.take_away("some/GGUF/a.Q4_0.gguf")
    assert not alone.path.exists()
    downloads.close()


def gguf(architecture: str) -> bytes:
    """A GGUF file of one number."""
    key = b"general.architecture"
    head = b"GGUF" + (3).to_bytes(4, "little") + (1).to_bytes(8, "little") + (1).to_bytes(8, "little")
    said = len(key).to_bytes(8, "little") + key + (8).to_bytes(4, "little")
    told = head + said + len(architecture).to_bytes(8, "little") + architecture.encode()
    tensor = (1).to_bytes(8, "little") + b"a" + (1).to_bytes(4, "little") + (1).to_bytes(8, "little") + bytes(12)
    return told + tensor + bytes(-len(told + tensor) % 32) + bytes(4)


def test_a_persons_own_folder_or_file_is_listed_and_left_alone(
    hub: FakeHub, settings: Settings, tmp_path: Path, files: dict[str, bytes]
) -> None:
    folder, file = tmp_path / "我的 模型", tmp_path / "a.gguf"
    folder.mkdir()
    for name in ("config.json", WEIGHTS, "tokenizer.json"):
        (folder / name).write_bytes(files[name])
    file.write_bytes(gguf("qwen3"))
    shelf = Shelf(settings)
    shelf.add(f" {folder} ")
    shelf.add(str(file))
    assert [one.entry.kind for one in Shelf(settings).list() if one.own] == ["base", "gguf"]
    assert shelf.choose_base(str(folder)) == str(folder)
    with pytest.raises(ModelError) as caught:
        shelf.choose_base(str(file))
    assert caught.value.key == "model.gguf_tokenizer"
    shelf.take_away(str(folder))
    assert folder.is_dir()
    assert [one.entry.id for one in shelf.list() if one.own] == [str(file)]
    change_json(folder / "config.json", auto_map={"AutoModel": "evil.Model"})
    (tmp_path / "no.gguf").write_bytes(b"GGUF or not")
    for path, key in (
        (str(folder), "model.remote_code"),
        (str(tmp_path / "no.gguf"), "model.broken_file"),
        (str(tmp_path), "model.no_config"),
        ("", "model.not_a_model"),
        ("a\0b", "model.not_a_model"),
        (str(tmp_path / "nothing"), "model.not_a_model"),
    ):
        with pytest.raises(AnimeAIError) as told:
            shelf.add(path)
        assert told.value.key == key


def test_the_shelf_bears_a_broken_file(settings: Settings) -> None:
    settings.studio_dir.mkdir(parents=True)
    (settings.studio_dir / "models.json").write_text(json.dumps({"own": [1, {"path": 2}], "more": "x"}), "utf-8")
    assert len(Shelf(settings).list()) == 1 + len(CATALOGUE)
    (settings.studio_dir / "downloads.json").write_text(json.dumps({"active": [1, {"id": "../x"}]}), "utf-8")
    made = Downloads(settings)
    made.begin()
    assert made.list() == []
    made.close()


# The table


def test_sizes_follow_from_the_published_architectures() -> None:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

    bases = [one for one in CATALOGUE if one.kind == "base"]
    assert len(bases) == 5
    for one in bases:
        made = one.architecture
        assert made is not None
        named: dict[str, Any] = {
            "num_hidden_layers": made.layers,
            "hidden_size": made.hidden,
            "intermediate_size": made.inner,
            "num_attention_heads": made.heads,
            "num_key_value_heads": made.kv_heads,
            "vocab_size": made.vocabulary,
            "tie_word_embeddings": made.tied,
        }
        with torch.device("meta"):
            model = (
                Qwen3ForCausalLM(Qwen3Config(**named, head_dim=made.head))
                if made.qwen3
                else Qwen2ForCausalLM(Qwen2Config(**named))
            )
        assert made.parameters == model.num_parameters()
        linear = {name.split(".")[-2] for name, weight in model.named_parameters() if weight.ndim == 2}
        assert {name for name, _, _ in made.matrices} <= linear
    assert bases[0].size == 2 * 1_777_088_000


def test_sizes_of_embeddings_follow_from_theirs() -> None:
    import torch
    from transformers import BertConfig, BertModel, XLMRobertaConfig, XLMRobertaModel

    shapes = {
        "BAAI/bge-small-zh-v1.5": (512, 4, 8),
        "BAAI/bge-base-zh-v1.5": (768, 12, 12),
        "BAAI/bge-large-zh-v1.5": (1024, 24, 16),
    }
    for id, (hidden, layers, heads) in shapes.items():
        named = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads}
        with torch.device("meta"):
            model = BertModel(BertConfig(vocab_size=21128, intermediate_size=4 * hidden, **named))
        assert entry(id).size == 4 * model.num_parameters()
    large = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    with torch.device("meta"):
        model = XLMRobertaModel(
            XLMRobertaConfig(vocab_size=250002, max_position_embeddings=8194, type_vocab_size=1, **large)
        )
    assert entry("BAAI/bge-m3").size == 4 * model.num_parameters()


def test_every_entry_is_told_in_every_language() -> None:
    from anime_ai.texts import catalogue

    assert len({one.id for one in CATALOGUE}) == len(CATALOGUE)
    for one in CATALOGUE:
        assert one.kind in KINDS
        assert one.licence
        assert one.size > 0
        assert all(one.good in catalogue(language) for language in ("zh", "en", "ja"))


def test_an_id_that_is_none_is_refused_and_a_gguf_is_told_by_its_file() -> None:
    assert entry("some/model") == Entry("some/model", "base")
    found = entry("some/repo/a.gguf")
    assert (found.kind, found.repository, found.files) == ("gguf", "some/repo", ("a.gguf",))
    for id in ("", "x", "a/b/c", "a/b/c/d.gguf", "../b", "a/../b.gguf"):
        with pytest.raises(ModelError):
            entry(id)
