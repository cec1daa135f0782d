"""What checking a large dataset costs, and how many of its planted duplicates are found.

pytest -m benchmark -s tests/benchmarks/test_dataset_checks.py

The references of the same run: comparing every pair and MinHash in plain Python on a part of the rows, extrapolated;
and the prefix filter of `anime_ai.dataset.split`, which misses no pair, on a fifth of them.
"""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import psutil
import pytest

from anime_ai.config import DATA
from anime_ai.dataset.checks import check
from anime_ai.dataset.files import read_rows
from anime_ai.dataset.near import BANDS, DEEP, NEAR, fold, near
from anime_ai.dataset.profile import profile
from anime_ai.dataset.rows import Row
from anime_ai.dataset.split import near_duplicates

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]
ROWS, PART, PLANTED = 100_000, 2_000, 0.05


def made(count: int, seed: int = 0) -> tuple[list[Row], list[tuple[int, int]]]:
    """Rows put together from clauses of the shipped ones, a part of them copies with one to three edits: (copy, of)."""
    chance = random.Random(seed)
    shipped = read_rows(DATA / "dataset.json").rows
    clauses = [part for row in shipped for part in row.output.replace("。", "，").split("，") if part]
    letters = "".join(sorted({letter for row in shipped for letter in row.output if letter.isalpha()}))
    rows, copies = [], []
    for place in range(count):
        if place > 100 and chance.random() < PLANTED:
            of = chance.randrange(place)
            output = rows[of].output
            for _edit in range(chance.randint(1, 3)):
                cut = chance.randrange(len(output))
                output = output[:cut] + chance.choice(letters) + output[cut + chance.randint(0, 1) :]
            rows.append(Row(rows[of].input, output, rows[of].persona))
            copies.append((place, of))
        else:
            output = "，".join(chance.sample(clauses, chance.randint(2, 5))) + "。"
            rows.append(Row(chance.choice(clauses) + "？", output, chance.choice(shipped).persona))
    return rows, copies


def texts_of(rows: Sequence[Row]) -> list[str]:
    return [row.input + row.output for row in rows]


def trigrams(text: str) -> set[str]:
    padded = f"\x02{fold(text)}\x03"
    return {padded[at : at + 3] for at in range(len(padded) - 2)}


def similarity(one: str, other: str) -> float:
    a, b = trigrams(one), trigrams(other)
    return len(a & b) / len(a | b)


def brute_force(texts: Sequence[str]) -> set[tuple[int, int]]:
    sets = [trigrams(text) for text in texts]
    return {
        (one, other)
        for one, other in combinations(range(len(texts)), 2)
        if len(sets[one] & sets[other]) >= NEAR * len(sets[one] | sets[other])
    }


def plain_minhash(texts: Sequence[str]) -> set[tuple[int, int]]:
    """The same bands by the book, a loop over hash functions for every trigram."""
    chance, prime = random.Random(0), (1 << 61) - 1
    functions = [(chance.randrange(1, prime), chance.randrange(prime)) for _ in range(BANDS * DEEP)]
    sets = [trigrams(text) for text in texts]
    buckets: dict[tuple[int, ...], list[int]] = {}
    for place, grams in enumerate(sets):
        hashed = [zlib.crc32(gram.encode()) for gram in grams]
        least = [min((a * one + b) % prime for one in hashed) for a, b in functions]
        for band in range(BANDS):
            buckets.setdefault((band, *least[band * DEEP : (band + 1) * DEEP]), []).append(place)
    pairs = {pair for bucket in buckets.values() for pair in combinations(bucket, 2)}
    return {(a, b) for a, b in pairs if len(sets[a] & sets[b]) >= NEAR * len(sets[a] | sets[b])}


def timed(work: object, *given: object) -> tuple[float, object]:
    start = time.perf_counter()
    done = work(*given)  # type: ignore[operator]
    return time.perf_counter() - start, done


def test_near_duplicates_of_a_hundred_thousand_rows() -> None:
    rows, copies = made(ROWS)
    texts = texts_of(rows)
    before = psutil.Process().memory_info().rss
    took, found = timed(near, texts)
    more = (psutil.Process().memory_info().rss - before) / 2**20
    close = [(place, of) for place, of in copies if similarity(texts[place], texts[of]) >= NEAR]
    caught = sum(place in found.like for place, _ in close)  # type: ignore[attr-defined]
    wrong = sum(
        similarity(texts[place], texts[of]) < NEAR
        for place, (of, _) in found.like.items()  # type: ignore[attr-defined]
    )
    part = texts[:PART]
    brute, pairs = timed(brute_force, part)
    plain, plainly = timed(plain_minhash, part)
    mine, few = timed(near, part)
    exact, _ = timed(near_duplicates, rows[: ROWS // 5])
    fifth, _ = timed(near, texts[: ROWS // 5])
    print(f"\n{ROWS} rows, {len(close)} planted copies of similarity {NEAR} or more: {caught / len(close):.4f} found,")
    print(f"{len(found.like)} rows reported, {wrong} of them wrongly; {more:.0f} MB more")  # type: ignore[attr-defined]
    later = {other for _, other in pairs}  # type: ignore[attr-defined]
    print(f"of {len(later)} among {PART} rows by every pair: ours {len(later & set(few.like))}", end="")  # type: ignore[attr-defined]
    print(f", plain {len(later & {other for _, other in plainly})}")  # type: ignore[attr-defined]
    for name, size, seconds, power in (
        ("ours", ROWS, took, 1),
        ("ours", ROWS // 5, fifth, 1),
        ("ours", PART, mine, 1),
        ("every pair, plain Python", PART, brute, 2),
        ("MinHash, plain Python", PART, plain, 1),
        ("prefix filter at 0.6 (split)", ROWS // 5, exact, 2),
    ):
        scaled = f"{seconds * (ROWS / size) ** power:10.1f} s for {ROWS}" if size < ROWS else ""
        print(f"{name:30s} {size:7d} rows {seconds:8.2f} s {scaled}")
    assert wrong == 0
    assert caught >= 0.99 * len(close)


def test_rows_of_a_few_templates() -> None:
    """The worst case: rows that share most of their words, so that buckets are full."""
    print()
    for name, form in (
        ("alike", "第{}题怎么做呢老师？自己想一想吧你这个笨蛋，哼。"),
        ("half alike", "第{}题怎么做呢？{}。"),
    ):
        chance = random.Random(1)
        letters = [chr(place) for place in range(0x4E00, 0x4E00 + 2000)]
        texts = [form.format(number, "".join(chance.choices(letters, k=8))) for number in range(ROWS // 2)]
        took, found = timed(near, texts)
        print(f"{name:12s} {len(texts)} rows {took:6.1f} s, {len(found.like)} reported")  # type: ignore[attr-defined]


def test_all_checks_and_the_profile(tmp_path: Path) -> None:
    rows, _ = made(ROWS)
    alone, few = timed(lambda: check(rows, alike=False))
    whole, found = timed(check, rows)
    spoken, voices = timed(profile, rows)
    print(f"\n{ROWS} rows: texts {alone:.1f} s, {len(few)} findings; all {whole:.1f} s, {len(found)} findings")  # type: ignore[arg-type]
    print(f"profile of {len(voices)} personas {spoken:.1f} s")  # type: ignore[arg-type]
