"""Near-duplicates by MinHash, against comparing every pair."""

from __future__ import annotations

import random

import numpy as np
import pytest

from anime_ai.dataset import near as module
from anime_ai.dataset.near import NEAR, fold, jaccard, near, trigram_sets

LETTERS = "春夏秋冬花鸟风月山川草木日光星辰东西南北你我他她的了呢吧啊哼才不是喜欢今天明早晚安"


def some_texts(count: int, chance: random.Random, least: int = 8, most: int = 40) -> list[str]:
    return ["".join(chance.choices(LETTERS, k=chance.randint(least, most))) for _ in range(count)]


def edited(text: str, chance: random.Random, edits: int = 1) -> str:
    for _edit in range(edits):
        cut = chance.randint(0, len(text))
        text = text[:cut] + chance.choice(LETTERS) + text[cut + chance.randint(0, 1) :]
    return text


def trigrams(text: str) -> set[str]:
    padded = f"\x02{fold(text)}\x03"
    return {padded[at : at + 3] for at in range(len(padded) - 2)}


def similarity(one: str, other: str) -> float:
    a, b = trigrams(one), trigrams(other)
    return len(a & b) / len(a | b) if a | b else 0.0


def every_pair(texts: list[str], threshold: float) -> set[tuple[int, int]]:
    sets, folded = [trigrams(text) for text in texts], [fold(text) for text in texts]
    return {
        (one, other)
        for other in range(len(texts))
        for one in range(other)
        if folded[one] == folded[other]
        or (sets[one] & sets[other] and len(sets[one] & sets[other]) / len(sets[one] | sets[other]) >= threshold)
    }


def components(count: int, pairs: set[tuple[int, int]]) -> list[tuple[int, ...]]:
    label = list(range(count))
    for one, other in sorted(pairs):
        label = [label[one] if at == label[other] else at for at in label]
    groups: dict[int, list[int]] = {}
    for place, at in enumerate(label):
        groups.setdefault(at, []).append(place)
    return sorted(tuple(group) for group in groups.values() if len(group) > 1)


@pytest.mark.parametrize("seed", range(4))
def test_groups_are_those_of_comparing_every_pair(seed: int) -> None:
    chance = random.Random(seed)
    texts = some_texts(150, chance)
    texts += [edited(chance.choice(texts[:150]), chance, chance.randint(1, 4)) for _ in range(100)]
    chance.shuffle(texts)
    pairs = every_pair(texts, NEAR)
    found = near(texts, seed=seed)
    assert list(found.groups) == components(len(texts), pairs)
    assert found.groups
    later = {other for _, other in pairs}
    assert set(found.like) == later, "every text with an earlier one that it resembles, and no other"
    for other, (one, how) in found.like.items():
        assert (one, other) in pairs
        assert how == pytest.approx(
            1.0 if fold(texts[one]) == fold(texts[other]) else similarity(texts[one], texts[other])
        )


def test_planted_duplicates_among_many_are_found_and_nothing_else() -> None:
    chance = random.Random(7)
    texts = some_texts(3000, chance, least=25)
    origin = list(range(3000))
    for _copy in range(300):
        place = chance.randrange(3000)
        texts.append(edited(texts[place], chance))
        origin.append(place)
    found = near(texts)
    planted = [place for place in range(3000, 3300) if similarity(texts[place], texts[origin[place]]) >= NEAR]
    assert len(planted) > 290
    assert sum(place in found.like for place in planted) >= 0.995 * len(planted)
    assert all(similarity(texts[one], texts[other]) >= NEAR for other, (one, _) in found.like.items())


def test_the_same_seed_gives_the_same_and_the_order_does_not_count() -> None:
    chance = random.Random(3)
    texts = some_texts(200, chance)
    texts += [edited(text, chance) for text in texts[:50]]
    assert near(texts, seed=5) == near(list(texts), seed=5)
    turned = near(texts[::-1], seed=9)
    assert {frozenset(len(texts) - 1 - place for place in group) for group in turned.groups} == {
        frozenset(group) for group in near(texts).groups
    }


def test_a_chain_is_one_group_but_its_second_end_is_like_no_earlier_one() -> None:
    one, two = "春天到了花都开了", "花都开了鸟也来了呢"
    both = one + two.removeprefix("花都开了")
    pairs = [similarity(one, both), similarity(two, both), similarity(one, two)]
    threshold = min(pairs[:2])
    assert pairs[2] < threshold
    found = near([one, two, both], threshold)
    assert found.groups == ((0, 1, 2),)
    assert set(found.like) == {2}


@pytest.mark.parametrize(
    ("texts", "groups"),
    [
        ([], ()),
        (["哼"], ()),
        (["哼", "哼！", "ＡＢ c", "abC。"], ((0, 1), (2, 3))),
        (["", "", "a"], ((0, 1),)),
        (["…", "？", "😀", "😭"], ()),
        (["晚安", "早安"], ()),
        (["\ud800春夏秋冬", "\ud800春夏秋冬！"], ((0, 1),)),
    ],
)
def test_small_and_odd_texts(texts: list[str], groups: tuple[tuple[int, ...], ...]) -> None:
    assert near(texts).groups == groups


def test_sets_of_trigrams_are_those_of_the_text() -> None:
    texts = ["", "a", "哈哈哈哈", "\U0001f600春\U0010ffff"]
    sets = trigram_sets(texts)
    assert np.diff(sets.indptr).tolist() == [0, 1, 3, 3]
    assert set(sets.data.tolist()) == {1}
    assert jaccard(sets, np.array([0, 2]), np.array([0, 2])).tolist() == [0.0, 1.0]
    assert trigram_sets([]).shape == (0, 0)


@pytest.mark.timeout(60)
def test_rows_of_one_template_do_not_take_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket that holds everything is compared with its first and its neighbours, not every text with every other."""
    compared = 0
    verify = module.jaccard

    def counted(sets: object, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        nonlocal compared
        compared += len(one)
        return verify(sets, one, other)

    monkeypatch.setattr(module, "jaccard", counted)
    texts = [f"第{number}题怎么做呢老师你自己想一想吧你这个笨蛋哼我才不会告诉你答案呢" for number in range(5000)]
    found = near(texts)
    assert found.groups == (tuple(range(5000)),)
    assert set(found.like) == set(range(1, 5000))
    assert compared < 5000 * module.CLOSE * 2
