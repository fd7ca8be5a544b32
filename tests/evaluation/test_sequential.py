"""Rates that are compared at any time: false alarms, power, and bounds against their definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from weitiao.evaluation.sequential import compare_rates, log_evidence


@pytest.mark.parametrize(("rate", "share"), [(0.5, 0.5), (0.9, 0.2), (0.05, 0.5)])
def test_who_looks_after_every_judgement_is_wrong_in_at_most_one_of_twenty(rate: float, share: float) -> None:
    random = np.random.default_rng(5)
    num_runs, num_steps, alarms = 400, 600, 0
    for _ in range(num_runs):
        good_T = random.random(num_steps) < rate
        first_T = random.random(num_steps) < share
        counts = [np.cumsum(good_T & arm) for arm in (first_T, ~first_T)]
        totals = [np.cumsum(arm) for arm in (first_T, ~first_T)]
        alarms += any(
            log_evidence((int(s), int(n - s)), (int(t), int(m - t))) >= np.log(20)
            for s, n, t, m in zip(counts[0], totals[0], counts[1], totals[1], strict=True)
        )
    # If it were 5 %, more than this would be seen in one of a thousand simulations.
    assert alarms <= stats.binom.ppf(0.999, num_runs, 0.05)


def test_a_difference_is_found_and_its_bounds_hold_it() -> None:
    found = compare_rates((160, 40), (330, 270))
    assert found.better == "a"
    assert found.low < 0.25 < found.high
    assert compare_rates((330, 270), (160, 40)).better == "b"
    value, low, high = found.win_rate
    assert value == pytest.approx(0.5 + (0.8 - 0.55) / 2)
    assert 0.5 < low < value < high


def test_nothing_is_known_without_judgements() -> None:
    found = compare_rates((0, 0), (0, 0))
    assert (found.low, found.high, found.p_value, found.better) == (pytest.approx(-1), pytest.approx(1), 1.0, None)


@pytest.mark.parametrize("counts", [((7, 3), (2, 5)), ((1, 0), (0, 4)), ((12, 12), (3, 1))])
def test_bounds_and_evidence_are_those_of_the_averaged_likelihood(counts: tuple[tuple[int, int], ...]) -> None:
    a, b = counts

    def martingale(outcome: tuple[int, int], rate: float) -> float:
        successes, failures = outcome
        mean = integrate.quad(
            lambda p: p**successes * (1 - p) ** failures, 0, 1, weight="alg", wvar=(-0.5, -0.5)
        )[0] / np.pi  # fmt: skip
        return float(mean / (rate**successes * (1 - rate) ** failures))

    grid = np.linspace(1e-4, 1 - 1e-4, 2001)
    common = min(martingale(a, p) * martingale(b, p) for p in grid[::20])
    assert np.exp(log_evidence(a, b)) == pytest.approx(common, rel=2e-2)
    assert np.exp(log_evidence(a, b)) <= common * (1 + 1e-9)
    log_a, log_b = (np.log([martingale(one, p) for p in grid]) for one in (a, b))
    inside = log_a[:, None] + log_b[None, :] < np.log(20)
    differences = (grid[:, None] - grid[None, :])[inside]
    found = compare_rates(a, b)
    assert found.low == pytest.approx(differences.min(), abs=2e-3)
    assert found.high == pytest.approx(differences.max(), abs=2e-3)
