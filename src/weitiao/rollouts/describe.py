"""A rollout in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from statistics import fmean, stdev

import torch

from weitiao.evaluation.metrics.base import Item as Answered
from weitiao.evaluation.metrics.style import Repetition
from weitiao.objectives.policy import divergence
from weitiao.rollouts.samples import Rollout, Sample

REFERENCE = "reference_logprob"
"""The column with the log-probabilities of the model that the training began with."""

_DISTINCT = Repetition(type="repetition")


def describe(rollout: Rollout, number: int) -> dict[str, float]:
    """A rollout in numbers, by name: see docs/alignment.md."""
    used = rollout.used
    return {
        "rollout": number + 1,
        **(_rewards(used) if used[0].rewards else {}),
        "answer_tokens": fmean(len(one.token_ids) for one in used),
        "cut_off": fmean(not one.stopped for one in used),
        "repeated": 1 - fmean(_DISTINCT.grade(Answered(one.answer, "")) for one in used),
        "dropped": len(rollout.samples) - len(used),
        **({"kl_coefficient": rollout.kl, "kl": mean_kl(rollout)} if REFERENCE in used[0].columns else {}),
    }


def _rewards(used: Sequence[Sample]) -> dict[str, float]:
    groups = [[one.reward or 0.0 for one in group] for _, group in groupby(used, key=lambda one: one.group)]
    spreads = [stdev(group) for group in groups if len(group) > 1]
    return {
        "reward": fmean(one.reward or 0.0 for one in used),
        **{f"reward/{name}": fmean(one.rewards[name] for one in used) for name in used[0].rewards},
        **({"reward_std": fmean(spreads), "no_signal": fmean(one == 0 for one in spreads)} if spreads else {}),
    }


def mean_kl(rollout: Rollout) -> float:
    """The KL of a token to the model that the training began with, a mean over those of a rollout."""
    name = "old_logprob" if "old_logprob" in rollout.used[0].columns else "sampled_logprob"
    own, reference = (
        torch.tensor([x for one in rollout.used for x in one.columns[column]]).double() for column in (name, REFERENCE)
    )
    return float(divergence(own, reference, "k3").mean())
