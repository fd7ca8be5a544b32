"""Scores per class, for test sets whose answers are labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_LONGEST_LABEL_CHARACTERS = 60
_LONGEST_LABEL_WORDS = 8
_NUM_CONFUSED = 10


@dataclass(frozen=True, slots=True)
class ClassScore:
    """The scores of one class.

    Attributes:
        label: The expected answer.
        support: Rows that have this label.
        predicted: Rows that were answered with it.
        correct: Rows that have it and were answered with it.
        precision: `correct / predicted`, 0 when it was never answered.
        recall: `correct / support`.
        f1: Harmonic mean of the two: `2 correct / (support + predicted)`.
    """

    label: str
    support: int
    predicted: int
    correct: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often rows of one class were answered with the label of another."""

    expected: str
    answer: str
    count: int


@dataclass(frozen=True, slots=True)
class ClassScores:
    """The scores over a closed set of labels.

    Attributes:
        accuracy: Share of rows that were answered with their label.
        macro_f1: Mean of F1 over the classes, each of equal weight.
        num_outside: Answers that are no label at all.
        labels: One entry per class, the most frequent first.
        confused: The most frequent confusions of two labels, at most ten.
    """

    accuracy: float
    macro_f1: float
    num_outside: int
    labels: tuple[ClassScore, ...]
    confused: tuple[Confusion, ...]


def is_closed_label_set(expected: Iterable[str]) -> bool:
    """Whether expected answers are labels of a closed set, and not free text.

    They are when all are short (at most 8 words and 60 characters), and there are at least two different ones but at
    most a third as many as rows (two are always few enough).

    Args:
        expected: The expected answer of every test row, normalised.
    """
    answers = list(expected)
    short = all(
        len(answer) <= _LONGEST_LABEL_CHARACTERS and len(answer.split()) <= _LONGEST_LABEL_WORDS for answer in answers
    )
    return short and 2 <= len(set(answers)) <= max(2, len(answers) // 3)


def class_scores(pairs: Sequence[tuple[str, str]]) -> ClassScores:
    """Score answers over the classes that the expected answers name.

    Args:
        pairs: Expected answer and given answer of every row, both normalised; at least one.
    """
    support = Counter(expected for expected, _ in pairs)
    predicted = Counter(answer for _, answer in pairs)
    correct = Counter(expected for expected, answer in pairs if expected == answer)
    confused = Counter(pair for pair in pairs if pair[0] != pair[1] and pair[1] in support)
    labels = tuple(
        ClassScore(
            label=label,
            support=count,
            predicted=predicted[label],
            correct=correct[label],
            precision=correct[label] / predicted[label] if predicted[label] else 0.0,
            recall=correct[label] / count,
            f1=2 * correct[label] / (count + predicted[label]),
        )
        for label, count in sorted(support.items(), key=lambda item: (-item[1], item[0]))
    )
    most_confused = sorted(confused.items(), key=lambda item: (-item[1], item[0]))[:_NUM_CONFUSED]
    return ClassScores(
        accuracy=correct.total() / len(pairs),
        macro_f1=sum(label.f1 for label in labels) / len(labels),
        num_outside=sum(answer not in support for _, answer in pairs),
        labels=labels,
        confused=tuple(Confusion(expected, answer, count) for (expected, answer), count in most_confused),
    )
