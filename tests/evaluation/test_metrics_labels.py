"""Accuracy and macro-F1 over closed sets of labels."""

from __future__ import annotations

import numpy as np
import pytest

from weitiao.evaluation.metrics.base import Item
from weitiao.evaluation.metrics.labels import Accuracy, Labels, MacroF1, class_scores, macro_f1
from weitiao.evaluation.statistics import proportion

LABELS = ["arrival", "lost", "refund", "退款"]


def answers(num: int, seed: int) -> list[Item]:
    """Rows of which some are confused and some are answered with no label."""
    draw = np.random.default_rng(seed)
    items = []
    for _ in range(num):
        expected = LABELS[draw.choice(4, p=(0.5, 0.3, 0.15, 0.05))]
        other = LABELS[draw.integers(4)] if draw.random() < 0.7 else "I do not know"
        items.append(Item(expected if draw.random() < 0.7 else other, expected))
    return items


def test_macro_f1_is_the_mean_over_the_labels() -> None:
    items = answers(60, 1)
    metric = MacroF1().build()
    found = metric.estimate(items, metric.grade_all(items))
    assert found.value == pytest.approx(class_scores([(one.expected, one.answer) for one in items]).macro_f1)
    assert found.n == 60
    assert found.low < found.value < found.high


def test_interval_of_macro_f1_is_that_of_resampled_rows() -> None:
    """The resampled rows are scored one set after the other by counting, and the middle 95 % taken."""
    items = answers(200, 2)
    found = MacroF1().build().estimate(items, [])
    draw = np.random.default_rng(3)
    scores = []
    for _ in range(1_000):
        chosen = [items[k] for k in draw.integers(200, size=200)]
        scores.append(class_scores([(one.expected, one.answer) for one in chosen]).macro_f1)
    low, high = np.quantile(scores, (0.025, 0.975))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)


def test_labels_that_a_resample_misses_do_not_count_in_it() -> None:
    # support of two labels, times answered, times right: the second label has no rows, and was answered once
    assert macro_f1(np.array([[2.0, 0.0, 1.0, 1.0, 1.0, 0.0]])) == pytest.approx(2 / 3)
    assert macro_f1(np.zeros((1, 6))) == 0


def test_accuracy_is_a_share_and_compares_as_the_recipe_says() -> None:
    items = [Item(" Lost ", "lost"), Item("arrival", "lost"), Item("退款", "退款")]
    metric = Accuracy().build(normalize="casefold")
    grades = metric.grade_all(items)
    assert grades == [1, 0, 1]
    assert metric.estimate(items, grades) == proportion(2, 3)


def test_an_answer_is_outside_when_it_is_no_label_of_the_whole_set() -> None:
    items = [Item("refund", "lost"), Item("lost", "lost"), Item("nonsense", "lost")]
    for metric in (Accuracy().build(labels=LABELS), MacroF1(labels=tuple(LABELS)).build()):
        assert isinstance(metric, Labels)
        classes = metric.classes(items)
        assert classes.num_outside == 1
        assert classes.matrix() == (("lost", "refund"), [[1, 1, 1]])
    unknown = Accuracy().build()
    assert isinstance(unknown, Labels)
    assert unknown.classes(items).num_outside == 2
