"""How well rewards of two answers tell the better one: accuracy, calibration, and what length has to do with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weitiao.evaluation.statistics import Estimate, proportion, statistic_of_sums
from weitiao.records import Number

Bools = NDArray[np.bool_]

_EDGES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True, slots=True)
class Reliability:
    """Pairs about which a model is about as sure: how sure, and how often it is right (DeGroot and Fienberg, 1983)."""

    confidence: Number
    accuracy: Estimate


@dataclass(frozen=True, slots=True)
class Comparisons:
    """What rewards of better and worse answers come to.

    Attributes:
        accuracy: The share of pairs in which the better answer has the higher reward.
        margin: The mean distance between the two.
        longer: The same share for a rule that takes the longer answer.
        length_correlation: Pearson's correlation of reward and tokens over all answers; None where one does not vary.
        length_agreement: The share of pairs in which the rewards prefer the longer answer.
        reliability: Of pairs by how sure the model is, 1 / (1 + exp(-|margin|)); groups without a pair are left out.
        calibration_error: How far sureness and accuracy are apart on average over the pairs.
    """

    accuracy: Estimate
    margin: Number
    longer: Estimate
    length_correlation: float | None
    length_agreement: Estimate
    reliability: tuple[Reliability, ...]
    calibration_error: Number


@dataclass(frozen=True, slots=True)
class Steps:
    """What scores of the steps of answers come to; rows count as wholes in the intervals.

    Attributes:
        accuracy: The share of all steps that are judged rightly.
        right: The share of them that are right, which is the accuracy of a rule that says so of all.
        first_wrong: The share of rows of which the first wrong step is found, or in which none is, and none is found.
    """

    accuracy: Estimate
    right: Estimate
    first_wrong: Estimate


@dataclass(frozen=True, slots=True)
class Spread:
    """Scores in short."""

    n: int
    mean: Number
    std: Number
    low: Number
    high: Number


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """What a reward model gave rows.

    Attributes:
        model: By what it was opened.
        rows: Rows that have scores.
        left_out: Rows that have none, because they are too long or cannot be rendered.
        scores: Of all answers, or of all steps.
        comparisons: Where rows have a better and a worse answer.
        steps: Where rows have answers in steps with labels.
    """

    model: str
    rows: int
    left_out: int
    scores: Spread
    comparisons: Comparisons | None = None
    steps: Steps | None = None


def compare_rewards(rewards: Sequence[tuple[float, float]], lengths: Sequence[tuple[int, int]]) -> Comparisons:
    """Hold rewards against which answer is the better one.

    Args:
        rewards: Of the better and the worse answer of each pair; at least one.
        lengths: Tokens of the two.
    """
    rewards_N2, lengths_N2 = np.asarray(rewards, np.float64), np.asarray(lengths, np.float64)
    margins_N, longer_N = rewards_N2[:, 0] - rewards_N2[:, 1], lengths_N2[:, 0] - lengths_N2[:, 1]
    right_N, sure_N = margins_N > 0, 1 / (1 + np.exp(-np.abs(margins_N)))
    groups = [(sure_N >= low) & (sure_N < high) for low, high in zip(_EDGES[:-1], (*_EDGES[1:-1], 2.0), strict=True)]
    reliability = tuple(Reliability(float(sure_N[one].mean()), _share(right_N[one])) for one in groups if one.any())
    varies = rewards_N2.std() > 0 and lengths_N2.std() > 0
    apart = sum(one.accuracy.n * abs(one.accuracy.value - one.confidence) for one in reliability)
    return Comparisons(
        accuracy=_share(right_N),
        margin=float(margins_N.mean()),
        longer=_share(longer_N > 0),
        length_correlation=float(np.corrcoef(rewards_N2.ravel(), lengths_N2.ravel())[0, 1]) if varies else None,
        length_agreement=_share(margins_N * longer_N > 0),
        reliability=reliability,
        calibration_error=apart / len(right_N),
    )


def judge_steps(rows_N: NDArray[np.int64], agree_N: Bools, right_N: Bools, missed_N: Bools) -> Steps:
    """Hold scores of N steps against their labels.

    Args:
        rows_N: Which row each is of, from 0.
        agree_N, right_N: Whether score and label agree, and whether the label says that it is right.
        missed_N: Whether it is where the first wrong step of its row is missed.
    """
    sizes_R = np.bincount(rows_N)
    sums = (np.stack([np.bincount(rows_N, one), sizes_R], axis=1, dtype=np.float64) for one in (agree_N, right_N))
    accuracy, right = (statistic_of_sums(one, lambda sums_B2: sums_B2[:, 0] / sums_B2[:, 1]) for one in sums)
    return Steps(accuracy, right, _share(np.bincount(rows_N, missed_N) == 0))


def _share(is_so: Bools) -> Estimate:
    return proportion(int(is_so.sum()), len(is_so))
