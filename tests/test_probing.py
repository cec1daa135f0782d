"""How much may be asked along a training: a share of its time, and at least one question."""

from __future__ import annotations

import pytest

from anime_ai.training.probing import LONGEST, SHARE, SHORTEST, Allowance, affordable


@pytest.mark.parametrize("training", [1.0, 30.0, 600.0, 50_000.0])
@pytest.mark.parametrize("a_token", [0.001, 0.02, 0.5])
@pytest.mark.parametrize("checkpoints", [1, 6, 40])
def test_probes_keep_their_share_of_the_time_but_for_one(training: float, a_token: float, checkpoints: int) -> None:
    spent = 0.0
    for left in range(checkpoints, 0, -1):
        allowed = affordable(training, spent, left, a_token, 12)
        assert 1 <= allowed.questions <= 12
        assert SHORTEST <= allowed.tokens <= LONGEST
        if allowed.questions > 1:
            assert allowed.tokens == LONGEST
        spent += allowed.questions * allowed.tokens * a_token
    least = checkpoints * SHORTEST * a_token
    assert spent <= max(SHARE * training, least) * 1.001


def test_a_long_training_asks_everything_and_a_first_time_one() -> None:
    assert affordable(1e6, 0, 6, 0.02, 12) == Allowance(12, LONGEST)
    assert affordable(1e6, 0, 6, 0.0, 12) == Allowance(1, LONGEST)
    assert affordable(10.0, 100.0, 6, 0.02, 12) == Allowance(1, SHORTEST)
