"""Scores per class on predictions made by hand."""

from __future__ import annotations

import pytest

from weitiao.evaluation.metrics.labels import Confusion, class_scores, is_closed_label_set

PAIRS = [
    *[("card_arrival", "card_arrival")] * 3,
    ("card_arrival", "card_lost"),
    ("card_lost", "card_lost"),
    *[("card_lost", "card_arrival")] * 2,
    ("top_up", "I do not know"),
    ("top_up", "top_up"),
    ("退款", "退款"),
]


def test_table_has_the_values_counted_by_hand() -> None:
    scores = class_scores(PAIRS)
    table = {one.label: one for one in scores.labels}
    arrival = table["card_arrival"]
    assert (arrival.support, arrival.predicted, arrival.correct) == (4, 5, 3)
    assert (arrival.precision, arrival.recall, arrival.f1) == pytest.approx((3 / 5, 3 / 4, 2 / 3))
    lost = table["card_lost"]
    assert (lost.precision, lost.recall, lost.f1) == pytest.approx((1 / 2, 1 / 3, 2 / 5))
    assert (table["top_up"].precision, table["top_up"].recall) == (1.0, 0.5)
    assert table["退款"].f1 == 1.0
    assert scores.accuracy == 6 / 10
    assert scores.macro_f1 == pytest.approx((2 / 3 + 2 / 5 + 2 / 3 + 1) / 4)
    assert scores.num_outside == 1


def test_classes_come_in_order_of_their_rows() -> None:
    assert [one.label for one in class_scores(PAIRS).labels] == ["card_arrival", "card_lost", "top_up", "退款"]


def test_confusions_are_of_two_labels_and_the_most_frequent_comes_first() -> None:
    assert class_scores(PAIRS).confused == (
        Confusion("card_lost", "card_arrival", 2),
        Confusion("card_arrival", "card_lost", 1),
    )


def test_the_matrix_is_whole() -> None:
    scores = class_scores(PAIRS)
    assert scores.matrix() == (
        ("card_arrival", "card_lost", "top_up", "退款"),
        [[3, 1, 0, 0, 0], [2, 1, 0, 0, 0], [0, 0, 1, 0, 1], [0, 0, 0, 1, 0]],
    )
    assert sum(map(sum, scores.matrix()[1])) == len(PAIRS)


def test_labels_without_rows_are_not_outside() -> None:
    scores = class_scores([("a", "c"), ("a", "a"), ("b", "d")], labels={"c"})
    assert scores.num_outside == 1
    assert scores.confused == (Confusion("a", "c", 1),)
    assert [one.outside for one in scores.labels] == [0, 1]


def test_a_class_that_is_never_answered_scores_zero() -> None:
    (label,) = class_scores([("yes", "no"), ("yes", "")]).labels
    assert (label.precision, label.recall, label.f1) == (0.0, 0.0, 0.0)


def test_repeated_short_answers_are_a_closed_set() -> None:
    assert is_closed_label_set(["yes", "no"] * 3)
    assert is_closed_label_set(["balance_not_updated_after_cheque_or_cash_deposit", "b", "c"] * 3)


def test_answers_that_hardly_repeat_are_free_text() -> None:
    assert not is_closed_label_set(["Paris", "Rome", "Oslo", "Paris", "Rome", "Oslo"])


def test_long_answers_are_free_text_even_when_they_repeat() -> None:
    assert not is_closed_label_set(["one two three four five six seven eight nine"] * 9)
    assert not is_closed_label_set(["x" * 61] * 9)


def test_no_answer_or_a_single_one_is_no_set_of_labels() -> None:
    assert not is_closed_label_set([])
    assert not is_closed_label_set(["card_arrival"] * 40)
