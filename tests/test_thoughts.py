"""Thought and speech of a streamed answer, told apart."""

from __future__ import annotations

import random

import pytest

from anime_ai.chat.thoughts import ThoughtSplitter


def told_apart(text: str, inside: bool) -> tuple[str, str, bool]:
    """Thought, speech, and whether the thought was cut, of a whole text."""
    if not inside:
        if not text.lstrip().startswith("<think>"):
            return "", text.lstrip(), False
        text = text.lstrip()[len("<think>") :]
    thought, closed, speech = text.partition("</think>")
    return thought.strip(), speech.lstrip(), not closed


THOUGHTS = [
    ("哼，才不", False),
    ("\n 哼 \n", False),
    ("<think>\n嗯\n\n</think>\n\n哼\n", False),
    (" \n<think>想</think>说", False),
    ("<think>", False),
    ("<think>\n", False),
    ("<think>没完", False),
    ("<thi", False),
    ("<3 <think>x", False),
    ("", False),
    ("  ", False),
    ("a</think>b", False),
    ("想\n\n</think>\n\n说", True),
    ("想 < /</thi</think>说</think>再", True),
    ("想</thin", True),
    ("想 \n", True),
    ("</think>说", True),
    ("\n</think>\n", True),
    ("想<think>想</think><think>说", True),
    ("", True),
]


@pytest.mark.parametrize(("text", "inside"), THOUGHTS)
def test_thought_and_speech_however_the_stream_is_cut(text: str, inside: bool) -> None:
    chance = random.Random(text)
    length = len(text)
    cuts = [(), *((place,) for place in range(length + 1)), tuple(range(length + 1))]
    cuts += [(one, two) for one in range(length + 1) for two in range(one, length + 1)]
    cuts += [tuple(sorted(chance.choices(range(length + 1), k=5))) for _ in range(50)]
    for cut in cuts:
        splitter = ThoughtSplitter(inside)
        bounds = [0, *cut, length]
        told = [splitter.feed(text[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]
        told.append(splitter.close())
        thought, speech = ("".join(side) for side in zip(*told, strict=True))
        assert (thought, speech, splitter.inside) == told_apart(text, inside), cut


def test_a_stream_is_not_held_back_longer_than_it_must_be() -> None:
    splitter = ThoughtSplitter(True)
    assert [splitter.feed(piece) for piece in ("嗯", "嗯 ", "好</", "b", "</think>\n", "\n", "哼", "！")] == [
        ("嗯", ""),
        ("嗯", ""),
        (" 好", ""),
        ("</b", ""),
        ("", ""),
        ("", ""),
        ("", "哼"),
        ("", "！"),
    ]
