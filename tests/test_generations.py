"""What a page is told of an answer, and how often."""

from __future__ import annotations

import time
from collections.abc import Iterator

from anime_ai.ui import generations
from anime_ai.ui.generations import paced


def test_a_page_sees_the_first_and_the_last_of_a_fast_answer_and_little_between() -> None:
    shown = list(paced(iter(range(10_000))))
    assert (shown[0], shown[-1]) == (0, 9_999)
    assert len(shown) < 100
    assert shown == sorted(set(shown))


def test_a_slow_answer_is_seen_whole() -> None:
    def slow() -> Iterator[int]:
        for number in range(3):
            time.sleep(generations.EVERY * 1.5)
            yield number

    assert list(paced(slow())) == [0, 1, 2]
    assert list(paced(iter(()))) == []
