"""Which changes of a model's answers are told while its reward rises."""

from __future__ import annotations

import pytest

from weitiao.rollouts.config import RewardConfig
from weitiao.rollouts.hacking import length_is_meant, signs

FIRST = {"reward": 0.1, "reward_std": 0.2, "answer_tokens": 20.0, "repeated": 0.05, "kl": 0.0}


@pytest.mark.parametrize(
    ("changed", "meant", "told"),
    [
        ({}, False, set()),
        ({"answer_tokens": 31.0}, False, {"length"}),
        ({"answer_tokens": 13.0}, False, {"length"}),
        ({"answer_tokens": 31.0, "repeated": 0.5, "kl": 0.6}, True, {"repetition", "kl"}),
        ({"answer_tokens": 31.0, "repeated": 0.5, "kl": 2.5, "reward": 0.15}, False, {"run away"}),
        ({"answer_tokens": 31.0, "repeated": 0.5, "kl": 1.5, "reward": 0.15}, False, set()),
    ],
)
def test_what_runs_away_is_told(changed: dict[str, float], meant: bool, told: set[str]) -> None:
    assert signs(FIRST, {**FIRST, "reward": 0.9, **changed}, length_is_meant=meant).keys() == told


@pytest.mark.parametrize(
    ("rewards", "answers", "meant"),
    [
        (["number"], [("so it is five", "")], False),  # nobody said how long answers should be
        (["number", {"type": "length", "least": 9}], [("so it is five", "")], True),
        (["number"], [("so it is five", "then it is five"), ("no idea", "")], True),
        (["number"], [("so it is five", "five"), ("no idea", "")], False),
        (["number"], [("five", "so it is five"), ("五", "是五个")], False),
    ],
)
def test_a_length_is_right_where_it_is_rewarded_or_that_of_the_rows(
    rewards: list[object], answers: list[tuple[str, str]], meant: bool
) -> None:
    assert length_is_meant([RewardConfig.model_validate(one) for one in rewards], answers) is meant
