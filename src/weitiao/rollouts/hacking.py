"""Signs that a model has found out how to please its reward rather than how to answer well."""

from __future__ import annotations

from collections.abc import Mapping

LENGTH_FACTOR = 1.5
"""Answers that are so many times as long as at the beginning, or as short, are told."""

MORE_REPEATED = 0.15
"""By how much the share of repeated runs of words may rise."""

MOST_KL = 0.5
"""Nats of a token: a model that is farther from where it began writes other text altogether."""


def signs(first: Mapping[str, float], now: Mapping[str, float]) -> dict[str, str]:
    """What has run away while the reward rose, by a name, in words.

    Args:
        first: The first rollout in numbers, see `describe`.
        now: A later one.

    Returns:
        Nothing where the reward has not risen by half of the spread within groups that it had at first.
    """
    if now["reward"] - first["reward"] <= 0.5 * first.get("reward_std", 0.0):
        return {}
    found = {}
    length = now["answer_tokens"] / first["answer_tokens"]
    if not 1 / LENGTH_FACTOR < length < LENGTH_FACTOR:
        long = f"{length:.1f} times as long" if length > 1 else f"{1 / length:.1f} times as short"
        found["length"] = f"answers have become {long}"
    if now["repeated"] - first["repeated"] > MORE_REPEATED:
        found["repetition"] = f"{now['repeated']:.0%} of what they say is repeated, {first['repeated']:.0%} at first"
    if now.get("kl", 0.0) > MOST_KL:
        found["kl"] = f"the KL to the beginning is {now['kl']:.2f} nats a token"
    return found
