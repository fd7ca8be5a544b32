"""Intervals and tests, against scipy, statsmodels, published values, and brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels
from statsmodels.stats.proportion import proportion_confint

from weitiao.evaluation.paired import paired_difference
from weitiao.evaluation.statistics import (
    Estimate,
    judgements_needed,
    mcnemar,
    mean,
    proportion,
    sign_test,
    statistic_of_sums,
)

Z = 1.959963984540054


def covers(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


# -- shares -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe, "Two-sided confidence intervals for the single proportion", Stat. Med. 17 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_interval_of_a_share_has_the_published_ends(successes: int, n: int, low: float, high: float) -> None:
    found = proportion(successes, n)
    assert (found.value, found.n) == (successes / n, n)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@pytest.mark.parametrize("n", [1, 3, 50, 999])
def test_interval_of_a_share_is_that_of_statsmodels(n: int) -> None:
    for successes in sorted({0, 1, n // 3, n}):
        found = proportion(successes, n)
        expected = proportion_confint(successes, n, method="wilson")
        assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [20, 50, 200, 1000])
def test_interval_of_a_share_covers_the_truth_in_95_of_100_cases(n: int) -> None:
    """Exact coverage, averaged over shares from 0.5 % to 99.5 %: for a single share it jumps, as counts do."""
    shares = np.arange(0.005, 1, 0.005)
    intervals = [proportion(k, n) for k in range(n + 1)]
    inside = np.array([[covers(one, p) for one in intervals] for p in shares])
    coverage = (stats.binom.pmf(np.arange(n + 1), n, shares[:, None]) * inside).sum(1)
    assert 0.94 < coverage.mean() < 0.96


# -- means ------------------------------------------------------------------------------------------------------------


def test_scores_of_0_and_1_get_the_interval_of_a_share() -> None:
    assert mean([1, 0, 1.0, 1]) == proportion(3, 4)


def test_interval_of_a_mean_is_that_of_scipy_but_for_the_quantile_of_t() -> None:
    """scipy's BCa interval at the level whose normal quantile is ours: sqrt(n / (n - 1)) t(n - 1)."""
    values = np.random.default_rng(1).beta(0.5, 2, 60)
    reach = math.sqrt(60 / 59) * stats.t.ppf(0.975, 59)
    expected = stats.bootstrap(
        (values,), np.mean, confidence_level=2 * stats.norm.cdf(reach) - 1, n_resamples=200_000, batch=2_000,
        rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    found = mean(values)
    assert found.value == pytest.approx(values.mean(), abs=1e-12)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.004)


@pytest.mark.parametrize(("n", "least"), [(30, 0.92), (100, 0.935)])
def test_interval_of_a_mean_covers_the_truth(n: int, least: float) -> None:
    """A fixed sample of the simulation of `python -m benchmarks.coverage`: scores as ROUGE has them, skewed."""
    random = np.random.default_rng(n)
    hits = [covers(mean(random.beta(0.8, 2.4, n), seed=k), 0.25) for k in range(700)]
    assert least < np.mean(hits) < 0.975


def test_scores_that_do_not_vary_leave_room_for_others() -> None:
    found = mean([0.5] * 20)
    unseen = 1 - proportion(20, 20).low
    assert (found.low, found.high) == pytest.approx((0.5 - unseen / 2, 0.5 + unseen / 2))
    assert mean([0.5]).low < 0.2
    assert mean([7.0] * 3, bounds=None) == Estimate(7.0, 7.0, 7.0, 3)
    assert mean([2.3]) == Estimate(2.3, 2.3, 2.3, 1)  # no share: the ends are not those of one
    assert [one.has_interval for one in (mean([2.3]), mean([0.5]), mean([1.0]), mean([2.3, 2.4]))] == [
        False, True, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize("values", [[0.0, 0.5], [0.0] * 50 + [0.5], [1.0] * 9 + [0.9], [0.2, 0.2, 0.3]])
def test_few_or_nearly_equal_scores_have_a_finite_interval_around_them(values: list[float]) -> None:
    found = mean(values)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(3).random(40)
    assert mean(values) == mean(values)
    assert mean(values) != mean(values, seed=1)


# -- statistics of sums -----------------------------------------------------------------------------------------------


def ratio(sums: np.ndarray) -> np.ndarray:
    return sums[:, 0] / sums[:, 1]


def test_interval_of_a_ratio_of_sums_is_the_bootstrap_written_out() -> None:
    """Every step in plain loops: resampling, bias from their median, acceleration from leaving items out."""
    items = np.random.default_rng(4).gamma(2.0, 1.0, (25, 2))
    found = statistic_of_sums(items, ratio, bounds=None)
    value = items[:, 0].sum() / items[:, 1].sum()
    random = np.random.default_rng(5)
    resamples = [items[random.integers(25, size=25)].sum(0) for _ in range(20_000)]
    scores = np.array([top / bottom for top, bottom in resamples])
    bias = stats.norm.ppf((scores < value).mean())
    left_out = [np.delete(items, k, axis=0).sum(0) for k in range(25)]
    jackknife = np.array([top / bottom for top, bottom in left_out])
    gap = jackknife.mean() - jackknife
    acceleration = (gap**3).sum() / (6 * (gap**2).sum() ** 1.5)
    reach = math.sqrt(25 / 24) * stats.t.ppf(0.975, 24)
    ends = [bias + (bias + z) / (1 - acceleration * (bias + z)) for z in (-reach, reach)]
    low, high = np.quantile(scores, stats.norm.cdf(ends))
    assert found.value == pytest.approx(value)
    assert (found.low, found.high) == pytest.approx((low, high), rel=0.02)


def test_sums_are_the_same_whatever_the_number_of_items_held_at_once() -> None:
    """More items than are resampled in one go: the interval of a mean of many is that of the normal approximation."""
    values = np.random.default_rng(6).random(3_000)
    found = mean(values)
    half = Z * values.std(ddof=1) / math.sqrt(3_000)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.001)


# -- paired differences -----------------------------------------------------------------------------------------------


def test_p_value_of_mcnemar_is_that_of_scipy_and_statsmodels() -> None:
    for better, worse in ((0, 0), (1, 0), (5, 0), (0, 6), (7, 3), (16, 6), (120, 100)):
        expected = mcnemar_of_statsmodels([[10, better], [worse, 20]], exact=True).pvalue if better + worse else 1.0
        assert mcnemar(better, worse) == pytest.approx(expected, rel=1e-9)
        if better + worse:
            assert mcnemar(better, worse) == stats.binomtest(worse, better + worse).pvalue


def binary(both: int, only_after: int, only_before: int, neither: int) -> tuple[list[int], list[int]]:
    """Scores before and after with these counts."""
    before = [1] * both + [0] * only_after + [1] * only_before + [0] * neither
    after = [1] * both + [1] * only_after + [0] * only_before + [0] * neither
    return before, after


def test_interval_of_a_paired_difference_of_shares_has_the_published_ends() -> None:
    """R package contingencytables, Tango_asymptotic_score_CI_paired_2x2, data of Cavo et al. (2012)."""
    found = paired_difference(*binary(59, 6, 16, 80))
    assert found.test == "McNemar's exact test"
    assert (found.num_better, found.num_worse, found.p_value) == (6, 16, pytest.approx(0.052479, abs=1e-6))
    ends = (found.difference.value, found.difference.low, found.difference.high)
    assert ends == pytest.approx((-0.0621, -0.1240, -0.0054), abs=5e-5)


def score_statistic(d: float, better: int, worse: int, n: int) -> float:
    """Tango's statistic with the likelihood maximised numerically over the probability of a change for the worse."""

    def minus_log_likelihood(q: float) -> float:
        probabilities = (q + d, q, 1 - 2 * q - d)
        counts = (better, worse, n - better - worse)
        return -sum(k * math.log(max(p, 1e-300)) for k, p in zip(counts, probabilities, strict=True) if k)

    low, high = max(0.0, -d), (1 - d) / 2
    q = optimize.minimize_scalar(minus_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-13}).x
    q = min((low, q, high), key=minus_log_likelihood)
    variance = 2 * q + d * (1 - d)
    return math.inf if variance <= 0 else abs(better - worse - n * d) / math.sqrt(n * variance)


@pytest.mark.parametrize(
    ("better", "worse", "n"), [(7, 1, 21), (0, 0, 30), (4, 0, 12), (0, 9, 9), (10, 10, 40), (1, 0, 1)]
)
def test_interval_of_a_paired_difference_ends_where_the_score_test_rejects(better: int, worse: int, n: int) -> None:
    difference = paired_difference(*binary(0, better, worse, n - better - worse)).difference
    for end, outward in ((difference.low, -1), (difference.high, 1)):
        if abs(end) < 1:
            assert score_statistic(end - outward * 1e-4, better, worse, n) < Z + 1e-6
            assert score_statistic(end + outward * 1e-4, better, worse, n) > Z - 1e-6


@pytest.mark.parametrize("n", [30, 60])
def test_interval_of_a_paired_difference_of_shares_covers_the_truth_in_95_of_100_cases(n: int) -> None:
    """Exact coverage, averaged over probabilities of a change for the better and for the worse."""
    cells = [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]
    found = [paired_difference(*binary(0, b, c, n - b - c)).difference for b, c in cells]
    low, high = np.array([one.low for one in found]), np.array([one.high for one in found])
    counts = np.array([(b, c, n - b - c) for b, c in cells])
    coverages = []
    for p, q in itertools.product((0.03, 0.07, 0.12, 0.2, 0.3), repeat=2):
        weights = stats.multinomial.pmf(counts, n, (p, q, 1 - p - q))
        coverages.append(weights[(low <= p - q) & (p - q <= high)].sum())
    assert 0.94 < np.mean(coverages) < 0.96


def test_p_value_of_the_permutation_test_is_exact_for_few_items() -> None:
    random = np.random.default_rng(7)
    before, after = random.random(9), random.random(9) + 0.2
    difference = after - before
    signs = np.array(list(itertools.product((-1, 1), repeat=9)))
    expected = (np.abs(signs @ difference) >= abs(difference.sum()) - 1e-12).mean()
    found = paired_difference(before, after)
    assert found.test == "paired permutation test"
    assert found.p_value == pytest.approx(expected, abs=1e-12)


def test_p_value_of_the_permutation_test_is_that_of_scipy_for_many_items() -> None:
    random = np.random.default_rng(8)
    before = random.random(80)
    after = np.clip(before + random.normal(0.03, 0.12, 80), 0, 1)
    expected = stats.permutation_test(
        (after, before), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", vectorized=True,
        n_resamples=20_000, batch=1_000, rng=np.random.default_rng(9),
    ).pvalue  # fmt: skip
    found = paired_difference(before, after)
    assert 0.005 < expected < 0.5
    assert found.p_value == pytest.approx(expected, abs=0.012)
    assert found.difference.value == pytest.approx(found.after - found.before)


def test_p_value_of_the_permutation_test_is_uniform_when_nothing_differs() -> None:
    random = np.random.default_rng(10)
    pairs = (random.beta(2, 1, (2, 24)) for _ in range(400))
    p_values = [paired_difference(before, after, seed=k).p_value for k, (before, after) in enumerate(pairs)]
    assert stats.kstest(p_values, "uniform").pvalue > 0.05
    assert 0.03 < np.mean(np.array(p_values) <= 0.05) < 0.075


def test_the_same_answers_differ_by_nothing() -> None:
    scores = [0.1, 0.7, 0.35, 1.0]
    found = paired_difference(scores, scores)
    assert (found.difference.value, found.p_value, found.num_better, found.num_worse) == (0, 1, 0, 0)
    assert found.difference.low < 0 < found.difference.high  # four items cannot show that nothing differs
    losses = [2.5, 3.5]  # without bounds nothing can be said
    assert paired_difference(losses, losses).difference == Estimate(0, 0, 0, 2)


# -- preferences ------------------------------------------------------------------------------------------------------


def test_ties_do_not_count_in_a_sign_test() -> None:
    found = sign_test(wins=12, losses=4, ties=30)
    assert found.win_rate == proportion(12, 16)
    assert found.p_value == stats.binomtest(12, 16).pvalue
    assert (found.wins, found.losses, found.ties) == (12, 4, 30)


def test_judgements_needed_have_the_power_and_fewer_have_not() -> None:
    random = np.random.default_rng(11)
    for win_rate in (0.6, 0.35, 0.8):
        needed = judgements_needed(win_rate)
        assert needed is not None
        wins = random.binomial(needed, win_rate, 4_000)
        p_value = {int(k): stats.binomtest(int(k), needed).pvalue for k in np.unique(wins)}
        power = np.mean([p_value[int(k)] < 0.05 for k in wins])
        assert power == pytest.approx(0.8, abs=0.05)
        assert power > 0.78


def test_from_the_judgements_needed_on_the_power_is_never_less() -> None:
    def power(n: int, win_rate: float) -> float:
        significant = [k for k in range(n // 2, n + 1) if stats.binomtest(k, n).pvalue < 0.05]
        return float(stats.binom.pmf(significant, n, win_rate).sum())

    for win_rate in (0.7, 0.9, 1.0):
        needed = judgements_needed(win_rate)
        assert needed is not None
        assert power(needed - 1, win_rate) < 0.8
        assert min(power(n, win_rate) for n in range(needed, needed + 25)) >= 0.8


def test_without_a_preference_no_number_of_judgements_is_enough() -> None:
    assert judgements_needed(0.5) is None
    assert judgements_needed(1.0) == 6
