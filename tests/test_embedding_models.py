"""Embeddings and rerankers in their published form: a real model under other names, from a hub of the test's own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fake_hub import FakeHub, only_hub
from test_embedding import believed, minilm, opened

from anime_ai.config import Settings
from anime_ai.errors import KnowledgeError, ModelError
from anime_ai.knowledge.chunks import Block
from anime_ai.knowledge.embedding import PREFIXES, Transformer, find_embedding
from anime_ai.knowledge.rerank import Reranker
from anime_ai.knowledge.service import Knowledge
from anime_ai.models.fetching import LOCK, home
from anime_ai.models.imports import one_at_a_time
from anime_ai.processes import hold


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with only_hub(monkeypatch, tmp_path / "cache") as made:
        yield made


def published(skip: str = "README.md") -> dict[str, bytes]:
    folder = Path(minilm())
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != skip]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.slow
def test_an_offered_model_is_fetched_once_and_asked_as_its_card_says(hub: FakeHub) -> None:
    name = "BAAI/bge-small-zh-v1.5"
    hub.models[name] = published()
    embedding = find_embedding(name)
    plain, told = embedding.documents(["雪见的生日", f"{PREFIXES[name]}雪见的生日"])
    assert np.allclose(embedding.question("雪见的生日"), told, atol=1e-5)
    assert not np.allclose(plain, told, atol=1e-3)
    hub.models.clear()
    assert np.allclose(find_embedding(name).question("雪见的生日"), told, atol=1e-5), "it is here by now"
    with pytest.raises(ModelError) as unknown:
        find_embedding("BAAI/bge-m3").question("x")
    assert unknown.value.key == "model.unknown"


@pytest.mark.slow
def test_bge_m3_comes_as_the_safetensors_that_are_proposed_for_it(hub: FakeHub) -> None:
    """It is published as a pickle; the Hub's own converter offers the same weights in a pull request."""
    plain = {**published("model.safetensors"), "pytorch_model.bin": b"pickle"}
    hub.models |= {"BAAI/bge-m3": plain, "BAAI/bge-m3@refs/pr/7": {**plain, **published()}, "somebody/else": plain}
    told = {"num": 7, "author": {"name": "SFconvertbot"}, "isPullRequest": True, "status": "open"}
    hub.discussions["BAAI/bge-m3"] = [told]
    found = find_embedding("BAAI/bge-m3").question("雪见")
    assert np.allclose(found, find_embedding(minilm()).question("雪见"), atol=1e-5)
    with pytest.raises(ModelError) as pickled:
        find_embedding("somebody/else").question("雪见")
    assert pickled.value.key == "model.only_pickles"


def cross_encoder(folder: Path) -> Path:
    """One of random weights: what is tested is that its scores decide."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"雪见喜欢草莓柠檬。港口停着马车"]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    # Drawn wide and from one seed: by the usual small weights the scores lie closer together than rounding does.
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(words), num_labels=1, initializer_range=1.0, **shape)
    BertForSequenceClassification(config).save_pretrained(folder / "model")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "model")
    return folder / "model"


def told_of(knowledge: Knowledge) -> tuple[str, list[str]]:
    """A base, and what stands in it."""
    base = knowledge.library.create("我的")
    said = [f"雪见喜欢{end}。" for end in ("草莓", "柠檬", "马车", "港口")]
    for number, text in enumerate(said):
        knowledge.library.put(base, f"{number}.txt", str(number), [Block("text", text)])
    return base, said


class Loads:
    """What stands for a model of sentence-transformers: keeps whether others could load meanwhile, then fails."""

    def __init__(self) -> None:
        self.free: list[bool] = []
        self.asked = 0

    def __call__(self, *args: object, **more: object) -> Loads:
        def another() -> None:
            self.free.append(one_at_a_time.acquire(blocking=False))
            if self.free[-1]:
                one_at_a_time.release()

        other = threading.Thread(target=another)
        other.start()
        other.join()
        return self

    def predict(self, asked: object) -> list[float]:
        self.asked += 1
        raise IndexError("index out of range in self")

    encode = predict


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    made = Loads()
    there = SimpleNamespace(CrossEncoder=made, SentenceTransformer=lambda *args, **more: made())
    monkeypatch.setitem(sys.modules, "sentence_transformers", there)
    return made


@pytest.mark.parametrize("here", [True, False])
def test_a_reranker_that_cannot_be_used_stops_no_answer(loads: Loads, tmp_path: Path, here: bool) -> None:
    settings = Settings(output_dir=tmp_path / "out")
    folder = tmp_path / "model"
    if here:
        folder.mkdir()
    plain, knowledge = opened(settings), opened(settings.model_copy(update={"reranker": str(folder)}))
    base, _ = told_of(plain)
    with pytest.raises(KnowledgeError) as told:
        knowledge.search("雪见喜欢草莓吗？", [base])
    assert told.value.key == "knowledge.reranker", "who searches by hand is told"
    for _ in range(2):
        assert knowledge.retrieve("雪见喜欢草莓吗？", [base]) == plain.retrieve("雪见喜欢草莓吗？", [base])
    assert loads.asked == (2 if here else 0), "it rests after it failed"
    for one in (plain, knowledge):
        one.close()


def test_one_model_is_loaded_at_a_time_and_once(loads: Loads, tmp_path: Path) -> None:
    embedding, reranker = Transformer(str(tmp_path)), Reranker(str(tmp_path))
    calls = [partial(embedding.documents, ["雪见"]), partial(reranker.scores, "雪见", ["雪见"])] * 2
    with ThreadPoolExecutor(4) as pool:
        errors = [one.exception() for one in [pool.submit(call) for call in calls]]
    assert all(isinstance(one, KnowledgeError) for one in errors)
    assert loads.free == [False, False]


@pytest.mark.slow
def test_a_cross_encoder_ranks_again(tmp_path: Path) -> None:
    from sentence_transformers import CrossEncoder

    model = cross_encoder(tmp_path)
    knowledge = opened(Settings(output_dir=tmp_path / "out", reranker=str(model)))
    base, said = told_of(knowledge)
    scores = CrossEncoder(str(model)).predict([("雪见喜欢什么", text) for text in said])
    found = [one.text for one in knowledge.search("雪见喜欢什么", [base])]
    assert found == [said[place] for place in np.argsort(-scores)]
    knowledge.close()


@pytest.mark.slow
def test_a_cross_encoder_comes_as_all_models_do(hub: FakeHub, tmp_path: Path) -> None:
    """Resumed where it broke off, checked by its hash, and searched without while it is on its way."""
    model, name = cross_encoder(tmp_path), "someone/reranker"
    files = {file.name: file.read_bytes() for file in model.iterdir()}
    hub.models[name] = {**files, "pytorch_model.bin": b"pickle"}
    hub.dies["model.safetensors"] = [2000]
    settings = Settings(output_dir=tmp_path / "out", reranker=name)
    knowledge = opened(settings)
    base, said = told_of(knowledge)
    plain = opened(settings.model_copy(update={"reranker": str(model)}))
    with hold(home(name) / LOCK):  # as somebody who fetches it has it
        assert sorted(one.text for one in knowledge.search("雪见喜欢什么", [base])) == sorted(said)
        assert hub.sent == 0
    expected = [one.text for one in plain.search("雪见喜欢什么", [base])]
    assert [one.text for one in knowledge.search("雪见喜欢什么", [base])] == expected
    assert ("model.safetensors", "bytes=2000-") in hub.asked
    assert "pytorch_model.bin" not in [path for path, _ in hub.asked]
    hub.models.clear()
    again = opened(settings)
    assert [one.text for one in again.search("雪见喜欢什么", [base])] == expected, "it is here by now"
    for one in (knowledge, plain, again):
        one.close()
    lost = opened(settings.model_copy(update={"reranker": "someone/other"}))
    with pytest.raises(ModelError) as unknown:
        lost.search("雪见喜欢什么", [base])
    assert unknown.value.key == "model.unknown"
    lost.close()


@pytest.mark.slow
def test_a_real_model_is_tried_filled_and_remembered(tmp_path: Path) -> None:
    settings, name = Settings(output_dir=tmp_path), minilm()
    one = opened(settings)
    base = one.library.create("mine")
    one.library.put(base, "a.txt", "1", [Block("text", "The cat sleeps on the warm stove.")])
    one.library.put(base, "b.txt", "2", [Block("text", "Trains leave the harbour at noon.")])
    found = find_embedding(name)
    near, far, asked = (
        *found.documents(["The cat sleeps on the warm stove.", "Trains leave at noon."]),
        found.question("kitten"),
    )
    assert near @ asked > far @ asked
    dense = one.semantic.use(name)
    assert dense.embedding.name == name
    believed(one, dense.embedding)
    assert one.search("kitten napping", [base])[0].text == "The cat sleeps on the warm stove."
    one.close()
    again = opened(settings)
    assert again.semantic.dense.embedding.name == name
    assert again.semantic.dense.trust == dense.trust
    again.close()
