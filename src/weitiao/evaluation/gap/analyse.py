"""Where a model falls short, in what way, and what would help."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from weitiao.evaluation.answers import Prediction
from weitiao.evaluation.gap.errors import FIELDS, REMEDIES, Classifier, Kind, Remedy, structured
from weitiao.evaluation.gap.groups import Group, find_groups, question
from weitiao.evaluation.metrics.base import Item
from weitiao.evaluation.metrics.labels import is_closed_label_set
from weitiao.evaluation.statistics import Estimate, mean, proportion
from weitiao.text.wording import Wording

_NUM_EXAMPLES = 3
_LONGEST_TEXT = 1_000


@dataclass(frozen=True, slots=True)
class ErrorExample:
    """A row that was answered wrongly; long texts are cut."""

    row_id: str
    question: str
    expected: str
    answer: str


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """Wrong answers of one kind.

    Attributes:
        kind: Which, see `errors.REMEDIES`.
        title: The kind in words.
        count: How many answers.
        share: Of all answers, right ones included.
        examples: The first of them, at most three.
        remedies: What addresses it, the cheapest first.
        advice: What can be said about it, in one sentence.
    """

    kind: Kind
    title: str
    count: int
    share: Estimate
    examples: tuple[ErrorExample, ...]
    remedies: tuple[Remedy, ...]
    advice: str


@dataclass(frozen=True, slots=True)
class FieldGap:
    """A field of JSON answers.

    Attributes:
        field: Its dotted name.
        right: Share of right values, among the rows that expect the field and were answered with a JSON object.
    """

    field: str
    right: Estimate


@dataclass(frozen=True, slots=True)
class Gap:
    """Where the answers of a model fall short.

    Attributes:
        model, prompt: Whose answers they are.
        metric: By which metric.
        target: What was asked for; None when nothing was.
        score: In that metric.
        shortfall: `target - score`, 0 when the score is above; None without a target.
        num_short: Rows that fall short: a grade below 1 when all grades are 0 or 1, else below the target (below the
            score without one).
        num_classes: Classes of the closed set of labels; 0 for free answers.
        groups: By class, length and column.
        errors: By kind, the most frequent first; their counts add up to `num_short`.
        fields: By field of JSON answers, the worst first.
    """

    model: str
    prompt: str
    metric: str
    target: float | None
    score: Estimate
    shortfall: float | None
    num_short: int
    num_classes: int
    groups: tuple[Group, ...]
    errors: tuple[ErrorKind, ...]
    fields: tuple[FieldGap, ...]


def analyse_gap(
    predictions: Sequence[Prediction],
    *,
    primary: str,
    score: Estimate | None = None,
    target: float | None = None,
    training_answers: Sequence[str] = (),
    model: str = "",
    prompt: str = "",
) -> Gap:
    """Find out where answers fall short, in what way, and what would help.

    Args:
        predictions: At least one, each with a grade in the primary metric.
        primary: The metric.
        score: What it gives for all of them together; the mean of the grades when not given.
        target: What was asked for.
        training_answers: Answers of the training rows: few test rows do not show that answers are labels of a set.
        model, prompt: Whose answers they are.
    """
    grades = [one.grades[primary] for one in predictions]
    score = mean(grades) if score is None else score
    expected = [one.expected for one in predictions]
    closed = is_closed_label_set([answer.strip() for answer in (*training_answers, *expected)])
    labels = {answer.strip() for answer in (*training_answers, *expected)} if closed else set()
    short = [one for one, grade in zip(predictions, grades, strict=True) if grade < _least(grades, target, score)]
    return Gap(
        model=model,
        prompt=prompt,
        metric=primary,
        target=target,
        score=score,
        shortfall=None if target is None else max(0.0, target - score.value),
        num_short=len(short),
        num_classes=len(labels),
        groups=find_groups(predictions, grades, by_class=closed),
        errors=_error_kinds(short, Classifier(expected, labels), len(predictions)),
        fields=_fields(predictions),
    )


def _least(grades: Sequence[float], target: float | None, score: Estimate) -> float:
    """The grade below which a row falls short."""
    if all(grade in (0.0, 1.0) for grade in grades):
        return 1.0
    return score.value if target is None else target


def _error_kinds(short: Sequence[Prediction], classifier: Classifier, num_rows: int) -> tuple[ErrorKind, ...]:
    kinds = [classifier.kind(one) for one in short]
    found = []
    for kind, count in sorted(Counter(kinds).items(), key=lambda item: (-item[1], list(REMEDIES).index(item[0]))):
        rows = [one for one, of in zip(short, kinds, strict=True) if of == kind][:_NUM_EXAMPLES]
        examples = tuple(
            ErrorExample(one.row_id, _cut(question(one)), _cut(one.expected), _cut(one.answer)) for one in rows
        )
        title, advice = (Wording("en")(f"error.{kind}{text}") for text in ("", ".advice"))
        share = proportion(count, num_rows)
        found.append(ErrorKind(kind, title, count, share, examples, REMEDIES[kind], advice))
    return tuple(found)


def _fields(predictions: Sequence[Prediction]) -> tuple[FieldGap, ...]:
    items = [
        Item(one.answer, one.expected)
        for one in predictions
        if isinstance(structured(one.expected), dict) and isinstance(structured(one.answer), dict)
    ]
    counts = FIELDS.details(items)["fields"]
    gaps = [FieldGap(field, proportion(found["correct"], found["n"])) for field, found in counts.items()]
    return tuple(sorted(gaps, key=lambda gap: gap.right.value))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
