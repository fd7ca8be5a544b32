"""A comparison of two rates that may be looked at whenever one likes, and ended by what it says.

For a rate p, the likelihood of s successes and f failures averaged over p ~ Beta(1/2, 1/2), divided by that at p, is a
martingale that begins at 1 (Robbins, 1970, https://doi.org/10.1214/aoms/1177696786). So is the product for two rates,
in whatever order their outcomes come. By Ville's inequality it ever exceeds 1/alpha with probability alpha at most:
the pairs of rates where it has not are a confidence sequence (Howard et al., 2021, https://arxiv.org/abs/1810.08240).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import betaln, xlogy

_EDGE = 1e-12


@dataclass(frozen=True, slots=True)
class RateComparison:
    """Two rates of success, and their difference.

    Attributes:
        num_a, num_b: Outcomes.
        rate_a, rate_b: Shares of successes; None without an outcome.
        low, high: Bounds of A's rate less B's, which hold at all times together with probability `confidence`.
        p_value: For equal rates, valid at any time.
        confidence: Of the bounds.
    """

    num_a: int
    num_b: int
    rate_a: float | None
    rate_b: float | None
    low: float
    high: float
    p_value: float
    confidence: float

    @property
    def win_rate(self) -> tuple[float | None, float, float]:
        """How often a draw from A is better than one from B, ties half, and its bounds."""
        known = self.rate_a is not None and self.rate_b is not None
        value = 0.5 + (self.rate_a - self.rate_b) / 2 if known else None  # type: ignore[operator]
        return value, 0.5 + self.low / 2, 0.5 + self.high / 2

    @property
    def better(self) -> str | None:
        """`a` or `b` as soon as it is certain; None until then."""
        return "a" if self.low > 0 else "b" if self.high < 0 else None


def compare_rates(a: tuple[int, int], b: tuple[int, int], *, alpha: float = 0.05) -> RateComparison:
    """Compare two rates at any time.

    Args:
        a, b: Successes and failures so far.
        alpha: How likely the bounds may be wrong at any time.
    """
    from scipy.optimize import brentq

    limit = math.log(1 / alpha)
    (s, f), (t, g) = a, b
    rate_a, rate_b = (x / (x + y) if x + y else None for x, y in (a, b))
    center = (s / (s + f) if s + f else 0.5) - (t / (t + g) if t + g else 0.5)

    def excess(difference: float) -> float:
        return _least_evidence(a, b, difference) - limit

    def bound(end: float) -> float:
        return float(brentq(excess, center, end, xtol=1e-6)) if excess(end) > 0 else end

    return RateComparison(
        num_a=s + f, num_b=t + g, rate_a=rate_a, rate_b=rate_b,
        low=bound(-1 + _EDGE), high=bound(1 - _EDGE),
        p_value=min(1.0, math.exp(-log_evidence(a, b))), confidence=1 - alpha,
    )  # fmt: skip


def log_evidence(a: tuple[int, int], b: tuple[int, int]) -> float:
    """The logarithm of the evidence against equal rates: the product at the common rate that speaks least for it."""
    (s, f), (t, g) = a, b
    total = s + t + f + g
    common = (s + t) / total if total else 0.5
    return float(_log_mixture(s, f) + _log_mixture(t, g) - xlogy(s + t, common) - xlogy(f + g, 1 - common))


def _log_mixture(successes: int, failures: int) -> float:
    return float(betaln(successes + 0.5, failures + 0.5) - betaln(0.5, 0.5))


def _least_evidence(a: tuple[int, int], b: tuple[int, int], difference: float) -> float:
    """The logarithm of the product at those rates of this difference that speak least against it."""
    from scipy.optimize import minimize_scalar

    (s, f), (t, g) = a, b

    def cost(rate: float) -> float:
        other = rate + difference
        return float(-xlogy(s, other) - xlogy(f, 1 - other) - xlogy(t, rate) - xlogy(g, 1 - rate))

    low, high = max(0.0, -difference), min(1.0, 1 - difference)
    found = minimize_scalar(cost, bounds=(low, high), method="bounded", options={"xatol": 1e-9})
    return _log_mixture(s, f) + _log_mixture(t, g) + min(float(found.fun), cost(low), cost(high))
