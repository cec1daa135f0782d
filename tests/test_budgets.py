"""What is left out where a conversation or a row is longer than it may be: the oldest turns, never the question."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from anime_ai.errors import PromptError
from anime_ai.prompting import POLICIES, Dialogue, Exchange, Layout, Prompt


def test_a_history_is_cut_to_half_and_then_stands(tiny_tokenizer: Any) -> None:
    """Turns of equal length: one cut as often as half of the room fills up, not one a turn."""
    layout = Layout(tiny_tokenizer)
    head = Dialogue("卡", question="问" * 10)
    fixed = len(layout.prompt(head).ids)
    turn = len(layout.prompt(replace(head, history=(Exchange("问" * 10, "答" * 10),))).ids) - fixed
    budget, history, dropped = fixed + 10 * turn, (), []
    for _turn in range(100):
        dropped.append(layout.prompt(replace(head, history=history), budget).dropped)
        history = (*history, Exchange("问" * 10, "答" * 10))
    cuts = [turn for turn in range(1, 100) if dropped[turn] != dropped[turn - 1]]
    assert cuts[0] == 11
    assert {later - cut for cut, later in zip(cuts, cuts[1:], strict=False)} <= {5, 6}


@pytest.mark.parametrize("seed", range(12))
def test_history_cuts_of_random_conversations(tiny_tokenizer: Any, seed: int) -> None:
    layout = Layout(tiny_tokenizer, think=POLICIES[seed % 3])
    chance = random.Random(seed)
    budget = chance.randint(150, 900)

    def size(dialogue: Dialogue) -> int:
        return len(layout.prompt(dialogue).ids)

    start = Dialogue("卡" * chance.randint(0, 9), greeting=chance.choice(["", "来了？"]))
    head = size(replace(start, question="")) - size(Dialogue()) + 1
    history: list[Exchange] = []
    previous: Prompt | None = None
    for _turn in range(60):
        question = "q" * chance.randint(1, 60)
        brought = "b" * chance.choice([0, 0, 40])
        asked = replace(start, history=tuple(history), question=question, brought=brought)
        if size(replace(asked, history=())) > budget:
            with pytest.raises(PromptError) as caught:
                layout.prompt(asked, budget)
            assert caught.value.key == "prompt.too_long"
            continue
        prompt = layout.prompt(asked, budget)
        assert len(prompt.ids) <= budget
        kept = replace(asked, history=tuple(history[prompt.dropped :]))
        assert prompt.ids == layout.prompt(kept).ids, "what is kept is rendered as ever, the question included"
        before = previous.dropped if previous else 0
        assert prompt.dropped >= before
        history_room = budget - head
        if prompt.dropped == before and previous is not None and history:
            grown = layout.prompt(replace(start, history=tuple(history[before:-1]), question="", brought="")).ids
            shared = len(grown) - (size(Dialogue()) - 1)
            assert prompt.ids[:shared] == previous.ids[:shared], "nothing that was there moved"
        if prompt.dropped > before:
            uncut = replace(asked, history=tuple(history[before:]))
            assert size(uncut) > budget, "it is cut only when it must be"
            kept_length = size(replace(kept, question="", brought="")) - size(
                replace(kept, history=(), question="", brought="")
            )
            assert kept_length <= history_room // 2, "and then to half"
        history.append(Exchange(question, "a" * chance.randint(1, 80), brought))
        previous = prompt
    assert previous is not None
    assert previous.dropped > 0


def test_a_question_over_the_budget_is_refused_with_the_numbers(tiny_tokenizer: Any) -> None:
    layout = Layout(tiny_tokenizer)
    asked = Dialogue("卡", history=(Exchange("a", "b"),), question="q" * 100_000)
    with pytest.raises(PromptError) as caught:
        layout.prompt(asked, 512)
    assert caught.value.values["most"] == 512
    assert caught.value.values["tokens"] > 100_000
    assert "512" in caught.value.say("zh")
    assert "512" in caught.value.say("en")


def test_a_long_row_loses_its_oldest_turns_but_never_its_end(tiny_tokenizer: Any) -> None:
    layout = Layout(tiny_tokenizer)
    history = tuple(Exchange(f"q{turn}" * 5, f"a{turn}" * 5) for turn in range(9))
    dialogue = Dialogue("卡", history=history, question="问")
    alone = len(layout.training_row(replace(dialogue, history=()), "答").ids)
    whole_row = layout.training_row(dialogue, "答")
    for most in range(alone, len(whole_row.ids) + 1):
        row = layout.training_row(dialogue, "答", max_length=most)
        assert len(row.ids) <= most
        assert row.labels[-1] == row.ids[-1] == tiny_tokenizer.eos_token_id
        layout.check(dialogue, "答", "", row)
        fewer = replace(dialogue, history=history[row.dropped :])
        assert row.ids == layout.training_row(fewer, "答").ids
        if row.dropped:
            one_more = replace(dialogue, history=history[row.dropped - 1 :])
            assert len(layout.training_row(one_more, "答").ids) > most
    with pytest.raises(PromptError) as caught:
        layout.training_row(dialogue, "答", max_length=alone - 1)
    assert (caught.value.key, caught.value.values["tokens"]) == ("prompt.row_too_long", alone)
