"""Whether a difference between two models on the same items is more than chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from weitiao.evaluation.statistics import (
    BATCH,
    CONFIDENCE,
    NUM_RESAMPLES,
    ROUNDING,
    Estimate,
    Floats,
    is_binary,
    mcnemar,
    normal_quantile,
    statistic_of_sums,
)


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """What changed from A to B on the same items.

    Attributes:
        difference: Mean of `B - A` over the items, or that of the scores of the whole set, with its interval.
        before, after: The means of A and B, or their scores.
        p_value: Two-sided probability of a difference at least this large if A and B were equally good.
        test: Which test the p-value is of.
        num_better, num_worse: Items on which B is above, below A.
    """

    difference: Estimate
    before: float
    after: float
    p_value: float
    test: Literal["McNemar's exact test", "paired permutation test"]
    num_better: int
    num_worse: int


def paired_difference(
    before: Sequence[float] | Floats, after: Sequence[float] | Floats, *, seed: int = 0, bounded: bool = True
) -> PairedDifference:
    """Compare two models on the same items.

    Right-or-wrong scores get McNemar's exact test (Q. McNemar, Psychometrika 12 (1947)) and Tango's score interval
    (T. Tango, Statistics in Medicine 17 (1998)). Others get a permutation test, which swaps A and B within items, and
    the bootstrap interval of `statistic_of_sums` for the mean difference.

    Args:
        before: Scores of A, one per item; at least one.
        after: Scores of B for the same items in the same order.
        seed: Of the resamples.
        bounded: Whether scores that lie in 0 to 1 can lie nowhere else; losses can.
    """
    a, b = (np.asarray(values, dtype=np.float64) for values in (before, after))
    assert a.shape == b.shape and a.size > 0
    better, worse = int((b > a).sum()), int((b < a).sum())
    means = float(a.mean()), float(b.mean())
    if bounded and is_binary(a) and is_binary(b):
        low, high = _tango_interval(better, worse, a.size)
        difference = Estimate((better - worse) / a.size, low, high, a.size)
        return PairedDifference(difference, *means, mcnemar(better, worse), "McNemar's exact test", better, worse)
    within = bounded and all(values.min() >= 0 and values.max() <= 1 for values in (a, b))
    bounds = (-1.0, 1.0) if within else None
    items_NK = np.stack([b - a, np.ones_like(a)], axis=1)
    difference = statistic_of_sums(items_NK, lambda sums_BK: sums_BK[:, 0] / sums_BK[:, 1], bounds=bounds, seed=seed)
    changed = (b - a)[b != a]
    least = abs(changed.sum()) - ROUNDING * np.abs(changed).sum()
    p_value = _permutation_p_value(lambda swapped_BN: (1 - 2 * swapped_BN) @ changed, len(changed), least, seed)
    return PairedDifference(difference, *means, p_value, "paired permutation test", better, worse)


def paired_difference_of_sums(
    before_NK: Floats,
    after_NK: Floats,
    statistic: Callable[[Floats], Floats],
    *,
    grades: tuple[Sequence[float], Sequence[float]],
    seed: int = 0,
) -> PairedDifference:
    """Compare two models on the same items by a score of the whole set (macro-F1, BLEU ...), which lies in 0 to 1.

    The interval is that of `statistic_of_sums` for the difference of the two scores on the same resampled items; the
    permutation test swaps A and B within items.

    Args:
        before_NK: What each item contributes to the sums of A.
        after_NK: The same for B, for the same items in the same order.
        statistic: The score [B] of sums [B, K].
        grades: Grades of the items, A and B: which of them are better and worse.
        seed: Of the resamples.
    """
    num, totals_K = before_NK.shape[1], (before_NK.sum(0), after_NK.sum(0))
    moved_NK = (after_NK - before_NK)[(after_NK != before_NK).any(1)]

    def gain(sums_BK: Floats) -> Floats:
        return statistic(sums_BK[:, num:]) - statistic(sums_BK[:, :num])

    def gain_when_swapped(swapped_BN: Floats) -> Floats:
        moved_BK = swapped_BN @ moved_NK
        return gain(np.hstack([totals_K[0] + moved_BK, totals_K[1] - moved_BK]))

    difference = statistic_of_sums(np.hstack([before_NK, after_NK]), gain, bounds=(-1.0, 1.0), seed=seed)
    scores = [float(statistic(sums_K[None])[0]) for sums_K in totals_K]
    p_value = _permutation_p_value(gain_when_swapped, len(moved_NK), abs(difference.value) - ROUNDING, seed)
    a, b = (np.asarray(values) for values in grades)
    better, worse = int((b > a).sum()), int((b < a).sum())
    return PairedDifference(difference, scores[0], scores[1], p_value, "paired permutation test", better, worse)


def _tango_interval(num_better: int, num_worse: int, n: int) -> tuple[float, float]:
    """All differences d that Tango's score test, eq. 6 and 9 of the paper, does not reject."""
    from scipy import optimize

    z = normal_quantile(CONFIDENCE)

    def excess(d: float) -> float:
        # The maximum likelihood estimate of the probability of a change for the worse, given the difference d.
        a, b, c = 2 * n, -num_better - num_worse + (2 * n - num_better + num_worse) * d, -num_worse * d * (1 - d)
        worse = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        variance = n * (2 * worse + d * (1 - d))
        distance = num_better - num_worse - n * d
        if distance == 0:
            return 0.0
        return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)

    value, edge = (num_better - num_worse) / n, 1 - 1e-12
    low = -1.0 if excess(-edge) < z else optimize.brentq(lambda d: excess(d) - z, -edge, value)
    high = 1.0 if excess(edge) > -z else optimize.brentq(lambda d: excess(d) + z, value, edge)
    return float(low), float(high)


def _permutation_p_value(gain: Callable[[Floats], Floats], n: int, least: float, seed: int) -> float:
    """Two-sided p-value of a difference when A and B might as well be swapped within each item; exact for few items.

    Args:
        gain: The difference [B] with items swapped or not (1 or 0) [B, n].
        n: Items that differ.
        least: What the absolute difference has to reach, a little below that of the sample.
        seed: Of the swaps.
    """
    if 2**n <= 2 * NUM_RESAMPLES:
        swapped = ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64)
        return float((np.abs(gain(swapped)) >= least).mean())
    random, num, extreme = np.random.default_rng(seed), 2 * NUM_RESAMPLES - 1, 1  # 1: the sample itself
    for start in range(0, num, size := max(1, BATCH // n)):
        swapped = random.integers(2, size=(min(size, num - start), n)).astype(np.float64)
        extreme += int((np.abs(gain(swapped)) >= least).sum())
    return extreme / (num + 1)
