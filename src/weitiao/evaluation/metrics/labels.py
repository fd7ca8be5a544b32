"""Closed sets of labels: the metrics accuracy and macro-F1, and the scores of every class behind them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from weitiao.evaluation.metrics.base import Item, Metric, WholeSet, normalized
from weitiao.evaluation.statistics import Floats


class Labels(Metric):
    """What both have in common: an answer is right when it is the expected label.

    The labels are those of the settings, else those of training and test rows; expected answers are labels anyway.
    """

    type: Literal["accuracy", "macro_f1"]
    """The metric."""

    labels: tuple[str, ...] = ()
    """The closed set; the expected answers of the training and test rows when not given."""

    def grade(self, item: Item) -> float:
        return float(normalized(item.answer, self._normalize) == normalized(item.expected, self._normalize))

    def classes(self, items: Sequence[Item]) -> ClassScores:
        """Precision, recall and F1 of every label, and which are confused."""
        labels = self.labels or self._labels
        return class_scores(self._pairs(items), labels={normalized(label, self._normalize) for label in labels})

    def _pairs(self, items: Sequence[Item]) -> list[tuple[str, str]]:
        """Expected label and answer of every item."""
        how = self._normalize
        return [(normalized(item.expected, how), normalized(item.answer, how)) for item in items]


class Accuracy(Labels):
    """The share of answers that are the expected label of a closed set."""

    type: Literal["accuracy"] = "accuracy"
    """The metric."""


class MacroF1(Labels):
    """The mean of F1 over the labels of the test rows, which count alike."""

    type: Literal["macro_f1"] = "macro_f1"
    """The metric."""

    def whole_set(self, items: Sequence[Item]) -> WholeSet:
        pairs = self._pairs(items)
        places = {label: place for place, label in enumerate(sorted({expected for expected, _ in pairs}))}
        num = len(places)
        items_NK = np.zeros((len(pairs), 3 * num))  # support, times answered, times right; a block of labels each
        for place, (expected, answer) in enumerate(pairs):
            items_NK[place, places[expected]] = 1
            if answer in places:
                items_NK[place, num + places[answer]] = 1
            if answer == expected:
                items_NK[place, 2 * num + places[expected]] = 1
        return WholeSet(items_NK, macro_f1)


def macro_f1(sums_BK: Floats) -> Floats:
    """Mean of F1 over the labels that have rows.

    Args:
        sums_BK: For each label its rows, then for each label how often it was answered, then how often rightly.
    """
    support, answered, right = np.split(sums_BK, 3, axis=1)
    f1 = 2 * right / np.maximum(support + answered, 1)
    present = support > 0
    mean: Floats = (f1 * present).sum(1) / np.maximum(present.sum(1), 1)
    return mean


_LONGEST_LABEL_CHARACTERS = 60
_LONGEST_LABEL_WORDS = 8


@dataclass(frozen=True, slots=True)
class ClassScore:
    """The scores of one class.

    Attributes:
        label: The expected answer.
        support: Rows that have this label.
        predicted: Rows that were answered with it.
        correct: Rows that have it and were answered with it.
        outside: Rows that have it and were answered with no label at all.
        precision: `correct / predicted`, 0 when it was never answered.
        recall: `correct / support`.
        f1: Harmonic mean of the two: `2 correct / (support + predicted)`.
    """

    label: str
    support: int
    predicted: int
    correct: int
    outside: int
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
        macro_f1: Mean of F1 over the classes, which count alike.
        num_outside: Answers that are no label at all.
        labels: One entry per class that has rows, the most frequent first.
        confused: All confusions of two labels, the most frequent first. With `correct` and `outside` of the labels they
            are the whole confusion matrix, of which most cells are 0.
    """

    accuracy: float
    macro_f1: float
    num_outside: int
    labels: tuple[ClassScore, ...]
    confused: tuple[Confusion, ...]

    def matrix(self) -> tuple[tuple[str, ...], list[list[int]]]:
        """The confusion matrix.

        Returns:
            The labels of the columns, and a row of counts per entry of `labels`: how often it was answered with the
            label of each column, and last how often with no label. Labels that were answered but have no rows come
            after the others.
        """
        of_rows = [one.label for one in self.labels]
        columns = (*of_rows, *sorted({pair.answer for pair in self.confused}.difference(of_rows)))
        counts = {(pair.expected, pair.answer): pair.count for pair in self.confused}
        counts |= {(one.label, one.label): one.correct for one in self.labels}
        return columns, [[*(counts.get((one.label, c), 0) for c in columns), one.outside] for one in self.labels]


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


def class_scores(pairs: Sequence[tuple[str, str]], labels: Collection[str] = ()) -> ClassScores:
    """Score answers over the classes that the expected answers name.

    Args:
        pairs: Expected answer and given answer of every row, both normalised; at least one.
        labels: Further labels of the closed set, normalised: an answer that is one of them is not outside of it.
    """
    support = Counter(expected for expected, _ in pairs)
    known = {*support, *labels}
    predicted = Counter(answer for _, answer in pairs)
    correct = Counter(expected for expected, answer in pairs if expected == answer)
    outside = Counter(expected for expected, answer in pairs if answer not in known)
    confused = Counter(pair for pair in pairs if pair[0] != pair[1] and pair[1] in known)
    scores = tuple(
        ClassScore(
            label=label,
            support=count,
            predicted=predicted[label],
            correct=correct[label],
            outside=outside[label],
            precision=correct[label] / predicted[label] if predicted[label] else 0.0,
            recall=correct[label] / count,
            f1=2 * correct[label] / (count + predicted[label]),
        )
        for label, count in sorted(support.items(), key=lambda item: (-item[1], item[0]))
    )
    most_confused = sorted(confused.items(), key=lambda item: (-item[1], item[0]))
    return ClassScores(
        accuracy=correct.total() / len(pairs),
        macro_f1=sum(one.f1 for one in scores) / len(scores),
        num_outside=outside.total(),
        labels=scores,
        confused=tuple(Confusion(expected, answer, count) for (expected, answer), count in most_confused),
    )
