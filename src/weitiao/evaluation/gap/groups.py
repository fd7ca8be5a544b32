"""In which groups of rows a model is worse than in the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from weitiao.evaluation.answers import Prediction
from weitiao.evaluation.statistics import Estimate, mean

LEAST_ROWS = 5
SIGNIFICANCE = 0.05
_NUM_RESAMPLES = 9_999
_MOST_VALUES = 20

Dimension = Literal["class", "length", "column"]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that have something in common, against all other rows.

    Attributes:
        dimension: What they have in common: the expected label, the length of the question, or the value of a column.
        name: `class`, `length`, or the column.
        value: The label, the span of lengths in characters, or the column's value.
        score: Their mean grade.
        rest: Mean grade of all other rows.
        difference: `score - rest`.
        p_value: Probability of a difference this far below zero, or further, if the group were like the rest
            (one-sided); None for groups that are too small to be tested.
        p_adjusted: The same after Holm's correction for all groups that were tested.
        weak: Whether `p_adjusted` is below 5 %.
    """

    dimension: Dimension
    name: str
    value: str
    score: Estimate
    rest: float
    difference: float
    p_value: float | None
    p_adjusted: float | None = None
    weak: bool = False


def find_groups(predictions: Sequence[Prediction], grades: Sequence[float], *, by_class: bool) -> tuple[Group, ...]:
    """Score rows by class, by length of the question, and by the columns of the data.

    Groups of at least five rows, with as many beside them, are tested against the rest: Fisher's exact test when all
    grades are 0 or 1, else a permutation test of the difference of means, both one-sided. Many groups are tested at
    once, so the p-values are corrected (S. Holm, "A simple sequentially rejective multiple test procedure",
    Scandinavian Journal of Statistics 6 (1979)): if no group differs from the rest, the probability that any is called
    weak is at most 5 %.

    Args:
        predictions: The answers.
        grades: One per answer, 0 to 1.
        by_class: Whether the expected answers are labels.

    Returns:
        The groups of each dimension, the worst first. A column counts when it has 2 to 20 different values and five
        rows for each on average, and does not merely repeat the labels.
    """
    values = np.asarray(grades, dtype=np.float64)
    found: list[Group] = []
    for dimension, name, members in _partitions(predictions, by_class=by_class):
        groups = []
        for value, rows in members.items():
            inside = np.zeros(len(values), dtype=bool)
            inside[rows] = True
            if not inside.all():
                groups.append(_group(dimension, name, value, values[inside], values[~inside]))
        found += sorted(groups, key=lambda group: group.score.value)
    adjusted = iter(holm([group.p_value for group in found if group.p_value is not None]))
    return tuple(
        group if group.p_value is None else replace(group, p_adjusted=(p := next(adjusted)), weak=p < SIGNIFICANCE)
        for group in found
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number: each times how many are not smaller, and never below a smaller one's."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = largest
    return adjusted


def question(prediction: Prediction) -> str:
    """What was asked: the last user turn of the prompt."""
    turns = (str(turn["content"] or "") for turn in reversed(prediction.messages) if turn["role"] == "user")
    return next(turns, "")


def _group(dimension: Dimension, name: str, value: str, inside: Values, outside: Values) -> Group:
    score, rest = mean(inside), float(outside.mean())
    return Group(dimension, name, value, score, rest, score.value - rest, _p_value(inside, outside))


def _p_value(inside: Values, outside: Values) -> float | None:
    from scipy import stats

    if min(len(inside), len(outside)) < LEAST_ROWS:
        return None
    everything = np.concatenate([inside, outside])
    if np.ptp(everything) == 0:
        return 1.0
    if np.isin(everything, (0.0, 1.0)).all():
        table = [[int(part.sum()), len(part) - int(part.sum())] for part in (inside, outside)]
        return float(stats.fisher_exact(table, alternative="less").pvalue)
    tested = stats.permutation_test(
        (inside, outside), lambda x, y, axis: np.mean(x, axis=axis) - np.mean(y, axis=axis), vectorized=True,
        n_resamples=_NUM_RESAMPLES, batch=500, alternative="less", rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(tested.pvalue)


def _partitions(
    predictions: Sequence[Prediction], *, by_class: bool
) -> Iterator[tuple[Dimension, str, Mapping[str, list[int]]]]:
    labels = [one.expected.strip() for one in predictions]
    if by_class:
        yield "class", "class", _collect(labels)
    yield "length", "length", _collect(_quartiles([len(question(one)) for one in predictions]))
    for name in dict.fromkeys(name for one in predictions for name in one.columns):
        values = [one.columns.get(name) for one in predictions]
        if _is_slice(values) and not (by_class and _same_partition(values, labels)):
            yield "column", name, _collect([_shown(value) for value in values])


def _collect(values: Sequence[str]) -> dict[str, list[int]]:
    members: dict[str, list[int]] = {}
    for place, value in enumerate(values):
        members.setdefault(value, []).append(place)
    return members


def _quartiles(lengths: Sequence[int]) -> list[str]:
    """For each row the span of lengths that it is in; rows of the same length are in the same one."""
    edges = np.unique(np.quantile(lengths, [0.25, 0.5, 0.75], method="lower"))
    places = np.searchsorted(edges, lengths, side="left")
    spans = {}
    for place in np.unique(places):
        inside = [length for length, at in zip(lengths, places, strict=True) if at == place]
        low, high = min(inside), max(inside)
        spans[place] = f"{low:,} to {high:,} characters" if low < high else f"{low:,} characters"
    return [spans[place] for place in places]


def _is_slice(values: Sequence[Any]) -> bool:
    if not all(value is None or isinstance(value, str | int | float | bool) for value in values):
        return False
    number = len({_shown(value) for value in values})
    return 2 <= number <= _MOST_VALUES and len(values) >= LEAST_ROWS * number


def _same_partition(values: Sequence[Any], labels: Sequence[str]) -> bool:
    shown = [_shown(value) for value in values]
    return len(set(zip(shown, labels, strict=True))) == len(set(shown)) == len(set(labels))


def _shown(value: Any) -> str:
    return "(none)" if value is None or value == "" else str(value)
