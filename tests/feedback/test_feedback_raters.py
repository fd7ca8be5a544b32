"""Agreement of several judges, against the definitions."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from weitiao.feedback.items import Choice
from weitiao.feedback.preference import CHOICES
from weitiao.feedback.raters import agreement_of_all


def drawn(num_pairs: int, missing: float) -> dict[str, dict[str, Choice]]:
    draws = np.random.default_rng(0)
    truth = draws.integers(0, len(CHOICES), num_pairs)
    found: dict[str, dict[str, Choice]] = {}
    for judge in ("ann", "bob", "cao"):
        said = np.where(draws.random(num_pairs) < 0.6, truth, draws.integers(0, len(CHOICES), num_pairs))
        found[judge] = {f"p{n}": CHOICES[said[n]] for n in range(num_pairs) if draws.random() >= missing}
    return found


def krippendorff(winners: dict[str, dict[str, Choice]]) -> float:
    """Alpha = 1 - D_o / D_e over all pairable values (K. Krippendorff, Content Analysis, chapter 11)."""
    units = [
        [found[pair] for found in winners.values() if pair in found]
        for pair in {p for f in winners.values() for p in f}
    ]
    units = [unit for unit in units if len(unit) > 1]
    values = [value for unit in units for value in unit]
    observed = sum(sum(a != b for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in units) / len(values)
    expected = sum(a != b for a, b in permutations(values, 2)) / (len(values) * (len(values) - 1))
    return 1 - observed / expected


def fleiss(winners: dict[str, dict[str, Choice]]) -> float:
    """J. L. Fleiss, "Measuring nominal scale agreement among many raters" (1971)."""
    pairs = sorted(set.intersection(*(set(found) for found in winners.values())))
    counts = np.array([[sum(f[pair] == c for f in winners.values()) for c in CHOICES] for pair in pairs], float)
    judges = len(winners)
    each = ((counts**2).sum(1) - judges) / (judges * (judges - 1))
    chance = ((counts.sum(0) / counts.sum()) ** 2).sum()
    return float((each.mean() - chance) / (1 - chance))


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_alpha_and_kappa_are_those_of_their_papers(missing: float) -> None:
    winners = drawn(60, missing)
    found = agreement_of_all(winners)
    assert found is not None
    assert found.num_judges == 3
    assert found.alpha == pytest.approx(krippendorff(winners))
    assert found.fleiss == pytest.approx(fleiss(winners))
    for pair, chosen in found.disputed.items():
        assert len({winners[judge][pair] for judge in chosen}) > 1


def test_without_a_common_pair_or_a_difference_there_is_nothing_to_say() -> None:
    assert agreement_of_all({"ann": {"x": "a"}, "bob": {"y": "a"}}) is None
    same = agreement_of_all({"ann": {"x": "a", "y": "a"}, "bob": {"x": "a"}})
    assert same is not None
    assert (same.alpha, same.fleiss, same.disputed, same.num_pairs) == (None, None, {}, 1)
