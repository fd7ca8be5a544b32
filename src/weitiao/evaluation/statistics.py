"""How sure a score is, and whether a difference between two models on the same items is more than chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from weitiao.records import Number

Floats = NDArray[np.float64]
Bounds = tuple[float, float] | None

CONFIDENCE = 0.95
NUM_RESAMPLES = 5_000
BATCH = 2**18  # random numbers that are held at once
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number from n items with its 95 % confidence interval.

    Attributes:
        value: The number; a share or a mean of scores lies in 0 to 1.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: How many items.
    """

    value: Number
    low: Number
    high: Number
    n: int

    def __neg__(self) -> Estimate:
        """The number with the other sign: its lower end becomes the upper one."""
        return Estimate(-self.value, -self.high, -self.low, self.n)

    @property
    def has_interval(self) -> bool:
        """Whether the ends mean anything: one item of unbounded scores (a loss) does not tell how others spread."""
        return self.n > 1 or self.low < self.high

    def __format__(self, form: str) -> str:
        form = form or ".1%"
        return f"{self.value:{form}} (95 % interval {self.low:{form}} to {self.high:{form}}, n = {self.n:,})"

    def __str__(self) -> str:
        return format(self)


@dataclass(frozen=True, slots=True)
class SignTest:
    """Preferences between A and B; ties do not count.

    Attributes:
        win_rate: Share of B among the judgements that are no tie.
        wins, losses, ties: Judgements for B, for A, for neither.
        p_value: Two-sided, of the exact binomial test against one half.
    """

    win_rate: Estimate
    wins: int
    losses: int
    ties: int
    p_value: float


def proportion(num_successes: int, n: int, *, confidence: float = CONFIDENCE) -> Estimate:
    """The share `num_successes / n` with its Wilson score interval.

    Unlike the interval of the normal approximation it holds for small n and for shares at 0 and 1, which scores
    before and after tuning often are. Source: E. B. Wilson, "Probable inference, the law of succession, and
    statistical inference", JASA 22 (1927): the p for which `|share - p| <= z sqrt(p (1 - p) / n)`.

    Args:
        num_successes: How many of the n.
        n: At least 1.
        confidence: Of the interval.
    """
    assert 0 <= num_successes <= n > 0
    z = normal_quantile(confidence)
    share, z2 = num_successes / n, z**2
    center = (share + z2 / (2 * n)) / (1 + z2 / n)
    half_width = z * math.sqrt(share * (1 - share) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    # At the ends the formula gives 0 and 1 only up to rounding.
    low = 0.0 if num_successes == 0 else center - half_width
    high = 1.0 if num_successes == n else center + half_width
    return Estimate(share, low, high, n)


def mean(
    values: Sequence[float] | Floats, *, bounds: Bounds = (0.0, 1.0), seed: int = 0, confidence: float = CONFIDENCE
) -> Estimate:
    """The mean of scores of items with its interval.

    Scores that are all 0 or 1 get the Wilson interval, others the bootstrap interval of `statistic_of_sums`.

    Args:
        values: One score per item, at least one.
        bounds: The range of the scores, for scores that do not vary; None when they have none, as losses. Scores that
            lie outside have none either.
        seed: Of the resamples.
        confidence: Of the interval.
    """
    array = np.asarray(values, dtype=np.float64)
    assert array.size > 0
    if bounds is not None and not bounds[0] <= array.min() <= array.max() <= bounds[1]:
        bounds = None
    if bounds is not None and is_binary(array):
        return proportion(int(array.sum()), array.size, confidence=confidence)
    items_NK = np.stack([array, np.ones_like(array)], axis=1)
    return statistic_of_sums(items_NK, _ratio, bounds=bounds, seed=seed, confidence=confidence)


def statistic_of_sums(
    items_NK: Floats,
    statistic: Callable[[Floats], Floats],
    *,
    bounds: Bounds = (0.0, 1.0),
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """A score of a whole set (a mean, macro-F1, BLEU ...) with its bootstrap interval.

    The interval is the bias-corrected and accelerated one (B. Efron, "Better bootstrap confidence intervals", JASA 82
    (1987), eq. 2.3 and 6.6), with the quantile of Student's t in place of the normal one, which widens it for few items
    as T. Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69 (2015), section 4.2,
    does for percentiles. Items that all contribute the same say nothing about their spread: then the interval holds
    whatever the score could be if the share of other items were as large as the Wilson interval of "none in n" allows;
    scores without bounds have no interval then, and both ends are the value.

    Args:
        items_NK: What each item contributes to the K sums that the score is made from, at least one item.
        statistic: The score [B] of sums [B, K]; sums are of n items, or of all items but one.
        bounds: The range of the score, for items that do not vary; None when it has none.
        seed: Of the resamples.
        confidence: Of the interval.
    """
    n = len(items_NK)
    assert n > 0
    totals_K = items_NK.sum(0)
    value = float(statistic(totals_K[None])[0])
    if n > 1:
        resampled_B, left_out_N = _resampled(items_NK, statistic, seed), statistic(totals_K - items_NK)
        if np.ptp(resampled_B) > _slack(value) and np.ptp(left_out_N) > 0:
            return Estimate(value, *_accelerated_interval(value, resampled_B, left_out_N, confidence), n)
    if bounds is None:
        return Estimate(value, value, value, n)
    known = proportion(n, n, confidence=confidence).low
    low, high = (known * value + (1 - known) * bound for bound in bounds)
    return Estimate(value, low, high, n)


def simultaneous(num: int) -> float:
    """The confidence of each of `num` intervals that hold all together with 95 % (Bonferroni), however they depend.

    The best of several prompts is chosen on the rows that it is scored on: its own 95 % interval lies too high, the
    simultaneous one does not.
    """
    return 1 - (1 - CONFIDENCE) / num


@cache
def normal_quantile(confidence: float) -> float:
    """How many standard errors an interval of this confidence reaches to either side."""
    from scipy import stats

    return float(stats.norm.ppf(0.5 + confidence / 2))


def is_binary(values: Floats) -> bool:
    """Whether all values are 0 or 1."""
    return bool(np.isin(values, (0.0, 1.0)).all())


def mcnemar(num_better: int, num_worse: int) -> float:
    """Two-sided p-value of McNemar's exact test: is either direction of change more frequent than the other?"""
    from scipy import stats

    discordant = num_better + num_worse
    return float(stats.binomtest(num_better, discordant).pvalue) if discordant else 1.0


def sign_test(wins: int, losses: int, ties: int) -> SignTest:
    """Preferences for B (wins) and A (losses) with the exact sign test; at least one judgement that is no tie."""
    return SignTest(proportion(wins, wins + losses), wins, losses, ties, mcnemar(wins, losses))


def judgements_needed(win_rate: float, *, power: float = 0.8) -> int | None:
    """How many judgements (ties left out) a sign test needs to find a preference of this strength.

    Args:
        win_rate: The true share of B.
        power: Probability of finding it.

    Returns:
        The least number that has this power, and from which on every larger number has it too (the power of an exact
        test falls a little wherever one more win is asked for); None when there is no preference.
    """
    from scipy import stats

    edge = abs(win_rate - 0.5)
    if edge < 1e-3:
        return None
    spread = math.sqrt(0.25 - edge**2)
    usual = (
        (normal_quantile(CONFIDENCE) * 0.5 + float(stats.norm.ppf(power)) * spread) / edge
    ) ** 2  # by the normal approximation
    n = np.arange(1, math.ceil(1.2 * usual) + 50)
    fewest_wins = stats.binom.isf((1 - CONFIDENCE) / 2, n, 0.5) + 1  # that have p below 5 %
    too_few = stats.binom.sf(fewest_wins - 1, n, 0.5 + edge) < power
    return int(n[too_few][-1]) + 1


def _resampled(items_NK: Floats, statistic: Callable[[Floats], Floats], seed: int) -> Floats:
    """The score [B] of samples drawn with replacement."""
    random, n = np.random.default_rng(seed), len(items_NK)
    scores = []
    for start in range(0, NUM_RESAMPLES, size := max(1, BATCH // n)):
        num = min(size, NUM_RESAMPLES - start)
        picks_BN = random.integers(n, size=(num, n)) + n * np.arange(num)[:, None]
        counts_BN = np.bincount(picks_BN.ravel(), minlength=num * n).reshape(num, n)
        scores.append(statistic(counts_BN.astype(np.float64) @ items_NK))
    return np.concatenate(scores)


def _ratio(sums_BK: Floats) -> Floats:
    return sums_BK[:, 0] / sums_BK[:, 1]


def _accelerated_interval(
    value: float, resampled_B: Floats, left_out_N: Floats, confidence: float
) -> tuple[float, float]:
    """The ends of the bootstrap interval, from the score without each item (the jackknife)."""
    from scipy import stats

    n = len(left_out_N)
    # A score equal to that of the sample counts half to either side; at least half a resample lies on each.
    slack = _slack(value)
    below = float((resampled_B < value - slack).mean() + (resampled_B <= value + slack).mean()) / 2
    edge = 0.5 / len(resampled_B)
    bias = float(stats.norm.ppf(min(max(below, edge), 1 - edge)))
    deviations_N = left_out_N.mean() - left_out_N
    acceleration = float((deviations_N**3).sum() / (6 * (deviations_N**2).sum() ** 1.5))
    reach = math.sqrt(n / (n - 1)) * float(stats.t.ppf(0.5 + confidence / 2, n - 1))
    ends = []
    for side in (-reach, reach):
        shifted = bias + side
        # For few and very skewed items the acceleration runs over its pole: then the end is the outermost resample.
        slope = 1 - acceleration * shifted
        place = bias + shifted / slope if slope > 0 else math.copysign(math.inf, side)
        ends.append(float(np.quantile(resampled_B, stats.norm.cdf(place))))
    return ends[0], ends[1]


def _slack(value: float) -> float:
    """What two ways to compute a number may differ by."""
    return ROUNDING * max(1.0, abs(value))
