"""Signs that a model has found out how to please its reward rather than how to answer well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from weitiao.evaluation.metrics.style import words_of
from weitiao.rollouts.config import RewardConfig

LENGTH_FACTOR = 1.5
"""Answers that are so many times as long as at the beginning, or as short, are told; so many times as long as they are
meant to be, too."""

MORE_REPEATED = 0.15
"""By how much the share of repeated runs of words may rise."""

MOST_KL = 0.5
"""Nats of a token: a model that is farther from where it began writes other text altogether."""

RUN_AWAY_KL = 2.0
"""Nats of a token: more is told whatever the reward does."""


def signs(first: Mapping[str, float], now: Mapping[str, float], *, length_is_meant: bool) -> dict[str, str]:
    """What has run away, by a name, in words: while the reward rose, or the KL as such.

    Args:
        first: The first rollout in numbers, see `describe`.
        now: A later one.
        length_is_meant: Whether the later answers are as long as they are meant to be, see below.

    Returns:
        Nothing but a run-away KL where the reward has not risen by half of the spread within groups that it had first.
    """
    found: dict[str, str] = {}
    if now["reward"] - first["reward"] <= 0.5 * first.get("reward_std", 0.0):
        if now.get("kl", 0.0) > RUN_AWAY_KL:
            found["run away"] = (
                f"The model has run away from where it began: the KL is {now['kl']:.2f} nats a token, and the reward "
                "has not risen. Lower train.learning_rate, or raise objective.kl"
            )
        return found
    length = now["answer_tokens"] / first["answer_tokens"]
    if not (length_is_meant or 1 / LENGTH_FACTOR < length < LENGTH_FACTOR):
        long = f"{length:.1f} times as long" if length > 1 else f"{1 / length:.1f} times as short"
        found["length"] = f"answers have become {long}"
    if now["repeated"] - first["repeated"] > MORE_REPEATED:
        found["repetition"] = f"{now['repeated']:.0%} of what they say is repeated, {first['repeated']:.0%} at first"
    if now.get("kl", 0.0) > MOST_KL:
        found["kl"] = f"the KL to the beginning is {now['kl']:.2f} nats a token"
    hacked = f"The reward may be hacked: it rose from {first['reward']:.3g} to {now['reward']:.3g}, and "
    return {name: hacked + sign for name, sign in found.items()}


def length_is_meant(rewards: Sequence[RewardConfig], answers: Sequence[tuple[str, str]]) -> bool:
    """Whether somebody said which length is right, and answers do not lie far from it.

    Args:
        rewards: The parts of the reward; where one grades the length, it is as the reward asks.
        answers: Those of the model, each with the expected one, empty where there is none.
    """
    if any(one.by.type == "length" for one in rewards):
        return True
    there = [(len(words_of(answer)), len(words_of(expected))) for answer, expected in answers if expected]
    written, expected = (sum(one[place] for one in there) for place in (0, 1))
    return 1 / LENGTH_FACTOR < written / max(expected, 1) < LENGTH_FACTOR
