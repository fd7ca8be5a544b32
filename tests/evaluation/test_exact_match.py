"""Exact match and its interval."""

from __future__ import annotations

import math
import unicodedata

import pytest

from weitiao.evaluation.metrics import normalized, proportion


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
def test_interval_has_the_published_ends(successes: int, n: int, low: float, high: float) -> None:
    found = proportion(successes, n)
    assert found.value == successes / n
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@pytest.mark.parametrize(("successes", "n"), [(1, 1), (3, 7), (50, 100), (499, 500), (0, 3), (12, 12)])
def test_interval_ends_where_the_score_test_rejects(successes: int, n: int) -> None:
    """The interval holds the p for which `|share - p| <= z sqrt(p (1 - p) / n)`: its ends are found by bisection."""
    share = successes / n

    def rejected(p: float) -> bool:
        return abs(share - p) > 1.959963984540054 * math.sqrt(p * (1 - p) / n)

    def edge(inside: float, outside: float) -> float:
        for _ in range(200):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if rejected(middle) else (middle, outside)
        return inside

    found = proportion(successes, n)
    assert found.low == pytest.approx(0.0 if successes == 0 else edge(share, 0.0), abs=1e-12)
    assert found.high == pytest.approx(1.0 if successes == n else edge(share, 1.0), abs=1e-12)


def test_none_compares_every_character() -> None:
    assert normalized(" Yes\n", "none") == " Yes\n"


def test_whitespace_strips_both_ends_only() -> None:
    assert normalized("\u3000 a  b\n", "whitespace") == "a  b"
    assert normalized("A", "whitespace") != normalized("a", "whitespace")


def test_an_accent_may_be_encoded_in_two_ways() -> None:
    composed, decomposed = "caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")
    assert composed != decomposed
    assert normalized(composed, "whitespace") == normalized(decomposed, "whitespace")
    assert normalized(composed, "none") != normalized(decomposed, "none")


@pytest.mark.parametrize(("one", "other"), [("STRASSE", "straße"), ("Σίσυφος", "ΣΊΣΥΦΟΣ"), ("É", "e\u0301")])
def test_casefold_ignores_case_in_any_script(one: str, other: str) -> None:
    assert normalized(one, "casefold") == normalized(other, "casefold")


def test_full_width_characters_stay_different() -> None:
    assert normalized("１２", "casefold") != normalized("12", "casefold")
