"""The plan: a pure function, every row once per epoch, within the budget."""

from __future__ import annotations

import random

import pytest

from weitiao.errors import DataError
from weitiao.forest.plan import Plan, pack
from weitiao.rendering.items import Item, TokenSequence, as_items
from weitiao.seeding import shuffled


def rows(num: int, seed: int = 0) -> tuple[Item, ...]:
    rng = random.Random(seed)
    stems = [[rng.randint(0, 9) for _ in range(20)] for _ in range(3)]
    made = []
    for i in range(num):
        ids = rng.choice(stems) + [rng.randint(0, 9) for _ in range(rng.randint(1, 30))]
        made.append(TokenSequence.of(f"row{i}", tuple(ids), (0.0,) + (1.0,) * (len(ids) - 1)))
    return as_items(made)


@pytest.mark.parametrize("share", [True, False])
def test_every_row_comes_once_per_epoch_and_no_forest_exceeds_the_budget(share: bool) -> None:
    data = rows(53)
    plan = Plan(data, batch_size=8, token_budget=100, share_prefixes=share, seed=1)
    assert plan.steps_per_epoch == 7
    for epoch in range(3):
        steps = [plan.step(index) for index in range(epoch * 7, epoch * 7 + 7)]
        seen = [row_id for step in steps for forest in step.forests for row_id in forest.row_ids]
        assert sorted(seen) == sorted(s.row_id for s in data)
        assert all(len(forest.layout) <= 100 for step in steps for forest in step.forests)
        assert [sum(len(f.row_ids) for f in step.forests) for step in steps] == [8] * 6 + [5]


def test_a_step_depends_on_its_number_alone() -> None:
    plan = Plan(rows(30), batch_size=4, token_budget=100, share_prefixes=True, seed=1)
    again = Plan(rows(30), batch_size=4, token_budget=100, share_prefixes=True, seed=1)
    for index in range(5):
        again.step(index)
    assert plan.step(11).forests[0].row_ids == again.step(11).forests[0].row_ids


def test_fixed_batches_come_again_in_another_order() -> None:
    free, fixed = (Plan(rows(53), 8, 100, share_prefixes=True, seed=1, fixed_batches=fixed) for fixed in (False, True))

    def epoch(plan: Plan, number: int) -> list[tuple[tuple[str, ...], ...]]:
        steps = range(number * 7, number * 7 + 7)
        return [tuple(forest.row_ids for forest in plan.step(index).forests) for index in steps]

    assert epoch(fixed, 0) == epoch(free, 0)
    for number in (1, 2):
        assert sorted(epoch(fixed, number)) == sorted(epoch(fixed, 0)) != sorted(epoch(free, number))
    assert epoch(fixed, 0) != epoch(fixed, 1) != epoch(fixed, 2)


def test_batches_do_not_depend_on_budget_or_sharing() -> None:
    def batch(budget: int, share: bool) -> set[str]:
        step = Plan(rows(30), batch_size=6, token_budget=budget, share_prefixes=share, seed=1).step(2)
        return {row_id for forest in step.forests for row_id in forest.row_ids}

    assert batch(50, False) == batch(1000, True) == batch(60, True)


def test_the_order_is_the_same_for_ever() -> None:
    assert shuffled(10, seed=0, epoch=0) == [7, 0, 9, 1, 5, 3, 4, 8, 2, 6]
    assert shuffled(10, seed=0, epoch=1) != shuffled(10, seed=0, epoch=0) != shuffled(10, seed=1, epoch=0)


def test_forests_of_a_step_are_few_and_about_equally_large() -> None:
    data = rows(40)
    forests = pack(data, token_budget=400, share_prefixes=False)
    sizes = [len(f.layout) for f in forests]
    assert len(sizes) == -(-sum(len(item.sequences[0].inputs) for item in data) // 400)
    assert max(sizes) - min(sizes) <= 2 * max(item.num_tokens for item in data)


def test_a_row_longer_than_the_budget_is_named() -> None:
    with pytest.raises(DataError, match=r"row\d+ has \d+ tokens, more than train.token_budget=10"):
        pack(rows(3), token_budget=10, share_prefixes=True)
