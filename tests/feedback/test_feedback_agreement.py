"""Cohen's kappa against published tables and a loop that resamples items one by one."""

from __future__ import annotations

import random

import pytest

from weitiao.feedback.preference import CHOICES, agreement
from weitiao.feedback.store import Choice

Table = list[list[int]]


def from_table(table: Table) -> tuple[dict[str, Choice], dict[str, Choice]]:
    """What two judges said, from counts: rows are the first judge's choices, columns the second's."""
    pairs = [
        (CHOICES[i], CHOICES[j]) for i, row in enumerate(table) for j, count in enumerate(row) for _ in range(count)
    ]
    return {str(k): one for k, (one, _) in enumerate(pairs)}, {str(k): other for k, (_, other) in enumerate(pairs)}


def kappa(pairs: list[tuple[str, str]]) -> float:
    """The definition, counted in a loop."""
    n = len(pairs)
    observed = sum(one == other for one, other in pairs) / n
    chance = sum(
        sum(one == choice for one, _ in pairs) / n * sum(other == choice for _, other in pairs) / n
        for choice in CHOICES
    )
    return 1.0 if chance == 1 else (observed - chance) / (1 - chance)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ([[20, 5, 0], [10, 15, 0], [0, 0, 0]], 0.4),  # the usual example of two readers of 50 proposals
        ([[45, 15, 0], [25, 15, 0], [0, 0, 0]], 0.1304),  # the two tables that show kappa falling at equal agreement
        ([[25, 35, 0], [5, 35, 0], [0, 0, 0]], 0.2593),
        ([[88, 14, 18], [10, 40, 10], [2, 6, 12]], 0.492),  # unweighted, of the table in Cohen (1968), as counts of 200
    ],
)
def test_published_tables(table: Table, expected: float) -> None:
    found = agreement(("ann", "bob"), *from_table(table))
    assert found is not None
    assert found.kappa is not None
    assert found.kappa.value == pytest.approx(expected, abs=6e-4)
    assert found.n == sum(map(sum, table))
    assert found.share.value == sum(table[i][i] for i in range(3)) / found.n


def test_interval_is_that_of_resampled_items() -> None:
    first, second = from_table([[18, 4, 3], [6, 20, 2], [4, 3, 10]])
    found = agreement(("ann", "bob"), first, second)
    assert found is not None
    assert found.kappa is not None
    pairs = [(first[item], second[item]) for item in first]
    assert found.kappa.value == pytest.approx(kappa(pairs))  # type: ignore[arg-type]
    source = random.Random(0)
    resampled = sorted(kappa([source.choice(pairs) for _ in pairs]) for _ in range(4000))  # type: ignore[misc]
    assert found.kappa.low == pytest.approx(resampled[100], abs=0.02)
    assert found.kappa.high == pytest.approx(resampled[3900], abs=0.02)


def test_only_items_that_both_judged_count() -> None:
    found = agreement(("ann", "bob"), {"1": "a", "2": "b", "3": "tie"}, {"2": "b", "3": "a", "4": "b"})
    assert found is not None
    assert (found.n, found.share.value) == (2, 0.5)
    assert agreement(("ann", "bob"), {"1": "a"}, {"2": "a"}) is None


def test_kappa_is_not_defined_when_both_always_say_the_same() -> None:
    found = agreement(("ann", "bob"), {"1": "a", "2": "a"}, {"1": "a", "2": "a"})
    assert found is not None
    assert (found.kappa, found.share.value) == (None, 1.0)
