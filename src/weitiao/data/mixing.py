"""How much of each source is used: samples, and repetition by weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from weitiao.data.example import Example
from weitiao.data.splits import Keyed, seeded_order


def take_sample(rows: Sequence[Keyed], count: int, *, seed: int) -> list[Keyed]:
    """Chooses rows by their content and the seed.

    Args:
        rows: The rows of a source.
        count: How many to choose; all, when there are fewer.
        seed: The recipe's seed.

    Returns:
        The chosen rows, in their order.
    """
    return _chosen(rows, count, seed=seed, purpose="sample")


def repeat(rows: Sequence[Keyed], weight: float, *, seed: int) -> list[Example]:
    """Repeats the rows of a source.

    Args:
        rows: The rows of a source.
        weight: How often; the fraction above a whole number is a part of the rows, chosen by content and seed.
        seed: The recipe's seed.

    Returns:
        The rows once per whole weight, then the part; at least one row. From the second time on, `#2`, `#3`, ...
        follow the row id.
    """
    rounds = [list(rows)] * int(weight)
    size = round((weight - int(weight)) * len(rows))
    # A source that is in the recipe is in the training data, however small its weight.
    part = _chosen(rows, size if rounds else max(1, size), seed=seed, purpose="weight")
    repeated = []
    for turn, chosen in enumerate([*rounds, part], start=1):
        mark = f"#{turn}" if turn > 1 else ""
        repeated += [replace(row.example, row_id=row.example.row_id + mark) if mark else row.example for row in chosen]
    return repeated


def _chosen(rows: Sequence[Keyed], count: int, *, seed: int, purpose: str) -> list[Keyed]:
    order = seeded_order([row.key for row in rows], seed=seed, purpose=purpose)
    return [rows[position] for position in sorted(order[:count])]
