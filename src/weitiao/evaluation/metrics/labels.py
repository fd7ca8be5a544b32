"""Metrics for closed sets of labels: accuracy and macro-F1, with the confusions behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from weitiao.evaluation.classes import ClassScores, class_scores
from weitiao.evaluation.metrics.base import Item, Metric, WholeSet
from weitiao.evaluation.metrics.normalize import normalized
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
