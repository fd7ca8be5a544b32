"""What judgements add up to, against scipy and against counting by hand."""

from __future__ import annotations

import pytest
from scipy import stats

from weitiao.evaluation.answers import Prediction
from weitiao.evaluation.statistics import judgements_needed, proportion
from weitiao.feedback.items import PreferenceItem, first_shown, pair_answers, shuffled_items
from weitiao.feedback.preference import summarise
from weitiao.feedback.store import Choice, Judgement, Order

TIME = "2026-01-01T00:00:00.000+00:00"


def items(num: int, *, same: int = 0) -> list[PreferenceItem]:
    return [
        PreferenceItem(f"i{k}", f"row:{k}", ({"role": "user", "content": "?"},), "x", " x" if k < same else "y")
        for k in range(num)
    ]


def said(*choices: Choice, order: Order = "ab", start: int = 0) -> list[Judgement]:
    return [Judgement(f"i{k}", "ann", order, choice, TIME) for k, choice in enumerate(choices, start=start)]


@pytest.mark.parametrize(("wins", "losses", "ties"), [(9, 1, 0), (14, 6, 5), (3, 3, 1), (30, 12, 8), (1, 0, 0)])
def test_win_rate_and_p_value_are_those_of_the_sign_test(wins: int, losses: int, ties: int) -> None:
    found = summarise("ann", items(60), said(*["b"] * wins, *["a"] * losses, *["tie"] * ties))
    assert found.test is not None
    assert (found.test.wins, found.test.losses, found.test.ties, found.num_ties) == (wins, losses, ties, ties)
    assert found.test.p_value == pytest.approx(stats.binomtest(wins, wins + losses).pvalue)
    assert found.test.win_rate == proportion(wins, wins + losses)
    assert found.is_decided == (found.test.p_value <= 0.05)
    assert found.num_judged == wins + losses + ties


def test_more_judgements_are_called_for_until_it_is_decided() -> None:
    found = summarise("ann", items(60), said(*["b"] * 12, *["a"] * 6, *["tie"] * 9))
    needed = judgements_needed(12 / 18)
    assert needed is not None
    assert found.more_needed == -(-(needed - 18) * 27 // 18)  # as many ties among them as before
    assert summarise("ann", items(60), said(*["b"] * 20)).more_needed == 0
    assert summarise("ann", items(60), said("a", "b")).more_needed is None


def test_ties_alone_are_no_test() -> None:
    found = summarise("ann", items(3), said("tie", "tie"))
    assert (found.test, found.first_share, found.more_needed, found.num_ties) == (None, None, None, 2)


def test_items_with_the_same_answer_are_not_judged() -> None:
    found = summarise("ann", items(10, same=4), said("a", "b", start=4))
    assert (found.num_items, found.num_same, found.num_judged) == (6, 4, 2)


def test_judgements_of_other_answers_do_not_count() -> None:
    assert summarise("ann", items(2), said("a", "a", "a", "a")).num_judged == 2


def test_both_orders_have_to_agree() -> None:
    forward, backward = said("a", "b", "a", "tie", "b"), said("a", "b", "b", "a", "tie", order="ba")
    found = summarise("ann", items(5), forward + backward)
    assert found.test is not None
    assert (found.test.losses, found.test.wins, found.test.ties) == (1, 1, 3)
    assert found.num_disagreements == 3


def test_position_bias_counts_an_item_once() -> None:
    """i0, i1: the better answer in both orders, so one half each; i2: first place twice; i3: second place twice; i4: a
    tie in one order, first place in the other; i5: ties only, left out."""
    forward = said("a", "b", "a", "b", "tie", "tie")
    backward = said("a", "b", "b", "a", "b", "tie", order="ba")
    found = summarise("ann", items(6), forward + backward)
    assert found.first_share is not None
    assert found.first_share.n == 5
    assert found.first_share.value == pytest.approx((0.5 + 0.5 + 1 + 0 + 1) / 5)


def test_an_item_is_named_after_its_content() -> None:
    def prediction(row: int, answer: str, question: str = "?") -> Prediction:
        return Prediction(f"row:{row}", ({"role": "user", "content": question},), "e", answer, 1, True, False)

    (one,) = pair_answers([prediction(1, "x")], [prediction(1, "y")])
    assert one.item_id.startswith("row:1#")
    for before, after in (
        (prediction(1, "z"), prediction(1, "y")),
        (prediction(1, "x"), prediction(1, "z")),
        (prediction(1, "y"), prediction(1, "x")),
        (prediction(1, "x", "!"), prediction(1, "y", "!")),
    ):
        (other,) = pair_answers([before], [after])
        assert other.item_id != one.item_id


def test_order_of_items_and_answers_depends_on_the_seed_alone_and_is_fair() -> None:
    many = items(2000)
    assert shuffled_items(many, seed=1) == shuffled_items(many[::-1], seed=1) != shuffled_items(many, seed=2)
    orders = [first_shown(item.item_id, seed=1) for item in many]
    assert orders == [first_shown(item.item_id, seed=1) for item in many]
    assert abs(orders.count("ab") - 1000) < 4 * 22.4  # four standard deviations of a fair coin
    other = [first_shown(item.item_id, seed=2) for item in many]
    assert abs(sum(a == b for a, b in zip(orders, other, strict=True)) - 1000) < 4 * 22.4
