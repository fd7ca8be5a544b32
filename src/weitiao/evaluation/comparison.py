"""What changed from A to B on the same test rows, with its statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from weitiao.data.example import conversation_text
from weitiao.errors import DataError
from weitiao.evaluation.answers import Prediction
from weitiao.evaluation.config import OF_WHOLE_SETS
from weitiao.evaluation.metrics.base import Metric
from weitiao.evaluation.metrics.labels import is_closed_label_set
from weitiao.evaluation.paired import PairedDifference, paired_difference
from weitiao.evaluation.pairing import pair_predictions
from weitiao.evaluation.statistics import Estimate, mean

COMPARISON_FILE = "comparison.json"


@dataclass(frozen=True, slots=True)
class MetricChange:
    """One metric for A and B.

    Attributes:
        before: Score of A.
        after: Score of B.
        paired: The difference of the two on the same rows.
    """

    before: Estimate
    after: Estimate
    paired: PairedDifference


@dataclass(frozen=True, slots=True)
class ItemChange:
    """A row on which the grade changed.

    Attributes:
        row_id: The row.
        prompt: What was asked, as text.
        expected: The answer that the row has.
        before: Answer of A.
        after: Answer of B.
        grade_before, grade_after: Of the primary metric, 0 to 1.
    """

    row_id: str
    prompt: str
    expected: str
    before: str
    after: str
    grade_before: float
    grade_after: float


@dataclass(frozen=True, slots=True)
class ClassChange:
    """A label of a closed set.

    Attributes:
        label: The expected answer.
        support: Rows that have it.
        before, after: Of these, how many A and B have right.
        fixed: Wrong with A and right with B.
        broken: Right with A and wrong with B.
    """

    label: str
    support: int
    before: int
    after: int
    fixed: int
    broken: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same test rows.

    Attributes:
        a, b: Names of the two.
        n: Rows.
        primary: The metric that rows are called right and wrong by.
        metrics: By name, the primary one first.
        both_right, only_a, only_b, both_wrong: Rows by who has them right (grade 1).
        num_same_answers: Rows with the very same answer.
        better, worse: Rows on which B has a higher, a lower grade than A; the largest changes first.
        classes: Labels of a closed set whose rows changed, the largest changes first; empty for free text.
    """

    a: str
    b: str
    n: int
    primary: str
    metrics: dict[str, MetricChange]
    both_right: int
    only_a: int
    only_b: int
    both_wrong: int
    num_same_answers: int
    better: tuple[ItemChange, ...]
    worse: tuple[ItemChange, ...]
    classes: tuple[ClassChange, ...]

    @property
    def gain(self) -> PairedDifference:
        """The difference in the primary metric: what a verdict is decided by."""
        return self.metrics[self.primary].paired


def compare_predictions(
    before: Sequence[Prediction],
    after: Sequence[Prediction],
    *,
    names: tuple[str, str],
    metrics: Sequence[Metric] = (),
) -> Comparison:
    """Compare the answers of two models to the same test rows.

    Args:
        before: Answers of A, graded.
        after: Answers of B, graded.
        names: Names of A and B.
        metrics: What graded them. For others the score is the mean of the grades; macro-F1, BLEU and chrF, which are
            no such mean, are then left out.

    Raises:
        DataError: The rows differ, or no metric was computed for both.
    """
    pairs = pair_predictions(before, after, names=names)
    known = {metric.title: metric for metric in metrics}
    names_of_both = [name for name in after[0].grades if name in before[0].grades]
    changes = {
        name: _change(name, known.get(name), pairs)
        for name in names_of_both
        if name in known or name not in OF_WHOLE_SETS
    }
    if not changes:
        raise DataError(
            f"No metric was computed for both {names[0]} ({_listed(before[0].grades)}) and {names[1]} "
            f"({_listed(after[0].grades)}).",
            "Name the metrics with --recipe RECIPE: the answers are then graded again.",
        )
    primary = next(iter(changes))
    right = [(one.grades[primary] == 1, other.grades[primary] == 1) for one, other in pairs]
    rows = sorted(
        (_item(one, other, primary) for one, other in pairs if one.grades[primary] != other.grades[primary]),
        key=lambda row: -abs(row.grade_after - row.grade_before),
    )
    return Comparison(
        a=names[0],
        b=names[1],
        n=len(pairs),
        primary=primary,
        metrics=changes,
        both_right=right.count((True, True)),
        only_a=right.count((True, False)),
        only_b=right.count((False, True)),
        both_wrong=right.count((False, False)),
        num_same_answers=sum(one.answer == other.answer for one, other in pairs),
        better=tuple(row for row in rows if row.grade_after > row.grade_before),
        worse=tuple(row for row in rows if row.grade_after < row.grade_before),
        classes=_classes(pairs, right),
    )


def write_comparison(directory: Path, comparison: Comparison, **more: Any) -> Path:
    """Write `comparison.json` in one step; returns its path. `more` are further keys."""
    from weitiao.files import write_json

    path = directory / COMPARISON_FILE
    write_json(path, {**asdict(comparison), **more})
    return path


def _change(name: str, metric: Metric | None, pairs: Sequence[tuple[Prediction, Prediction]]) -> MetricChange:
    before, after = zip(*pairs, strict=True)
    grades = [one.grades[name] for one in before], [other.grades[name] for other in after]
    if metric is None:
        return MetricChange(mean(grades[0]), mean(grades[1]), paired_difference(*grades))
    items = [one.item for one in before], [other.item for other in after]
    scores = [metric.estimate(answers, of_rows) for answers, of_rows in zip(items, grades, strict=True)]
    return MetricChange(scores[0], scores[1], metric.difference(items, grades))


def _item(one: Prediction, other: Prediction, metric: str) -> ItemChange:
    return ItemChange(
        row_id=one.row_id,
        prompt=conversation_text(min(one.messages, other.messages, key=len)),
        expected=one.expected,
        before=one.answer,
        after=other.answer,
        grade_before=one.grades[metric],
        grade_after=other.grades[metric],
    )


def _classes(
    pairs: Sequence[tuple[Prediction, Prediction]], right: Sequence[tuple[bool, bool]]
) -> tuple[ClassChange, ...]:
    labels = [one.expected.strip() for one, _ in pairs]
    if not is_closed_label_set(labels):
        return ()
    rows: dict[str, list[tuple[bool, bool]]] = {}
    for label, outcome in zip(labels, right, strict=True):
        rows.setdefault(label, []).append(outcome)
    classes = [
        ClassChange(
            label=label,
            support=len(found),
            before=sum(one for one, _ in found),
            after=sum(other for _, other in found),
            fixed=found.count((False, True)),
            broken=found.count((True, False)),
        )
        for label, found in rows.items()
        if any(one != other for one, other in found)
    ]
    return tuple(sorted(classes, key=lambda one: (-abs(one.after - one.before), -one.fixed - one.broken, one.label)))


def _listed(grades: Mapping[str, float]) -> str:
    return ", ".join(grades) or "none"
