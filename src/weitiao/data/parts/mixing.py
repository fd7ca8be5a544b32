"""How much of each source is used: samples, repetition by weight, shares of a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from weitiao.data.example import Example
from weitiao.data.parts.splits import Keyed, seeded_order


def take_sample(rows: Sequence[Keyed], count: int, *, seed: int) -> list[Keyed]:
    """Chooses rows by their content and the seed.

    Args:
        rows: The rows of a source.
        count: How many to choose; all, when there are fewer.
        seed: The recipe's seed.

    Returns:
        The chosen rows, in their order.
    """
    order = seeded_order([row.asked.draw for row in rows], seed=seed, purpose="sample")
    return [rows[position] for position in sorted(order[:count])]


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
    # A source that is in the recipe is in the training data, however small its weight.
    count = max(1, int(weight) * len(rows) + round((weight - int(weight)) * len(rows)))
    return take_examples(rows, count, seed=seed, purpose="weight") if rows else []


def take_examples(rows: Sequence[Keyed], count: int, *, seed: int, purpose: str) -> list[Example]:
    """Takes so many rows of a source, each as often as any other or once more.

    Args:
        rows: The rows of a source, at least one.
        count: How many to take.
        seed: The recipe's seed.
        purpose: What they are taken for.

    Returns:
        Whole rounds of the rows, then a part of them, chosen by content and seed. From the second time on, `#2`,
        `#3`, ... follow the row id.
    """
    taken = take_positions([row.asked.draw for row in rows], count, seed=seed, purpose=purpose)
    return [_marked(rows[position].example, turn) for position, turn in taken]


def take_positions(keys: Sequence[bytes], count: int, *, seed: int, purpose: str) -> list[tuple[int, int]]:
    """Chooses positions among keys, each as often as any other or once more.

    Args:
        keys: One per row, at least one.
        count: How many to choose.
        seed: The seed.
        purpose: What they are chosen for.

    Returns:
        Pairs of a position and of how often it has come by then (from 1): whole rounds, then a part that is chosen by
        the keys and the seed.
    """
    rounds, rest = divmod(count, len(keys))
    part = sorted(seeded_order(keys, seed=seed, purpose=purpose)[:rest]) if rest else []
    whole = [(position, turn) for turn in range(1, rounds + 1) for position in range(len(keys))]
    return whole + [(position, rounds + 1) for position in part]


def how_often(count: int, num_rows: int) -> str:
    """Says how often each of some rows comes when so many are taken by `take_positions`: `2 to 3 times`."""
    rounds, rest = divmod(count, num_rows)
    if not rounds:
        return "at most once"
    times = f"{rounds:,} to {rounds + 1:,}" if rest else f"{rounds:,}"
    return "once" if times == "1" else f"{times} times"


def allocate(total: int, shares: Sequence[float]) -> list[int]:
    """Divides a number among shares, by the method of the largest remainder.

    Args:
        total: What is divided.
        shares: Parts of any scale, none negative; their sum is positive.

    Returns:
        Whole numbers that sum to `total`; each is its exact part rounded up or down. The first of equal remainders
        is rounded up first.
    """
    whole = sum(shares)
    exact = [total * share / whole for share in shares]
    counts = [int(part) for part in exact]
    by_remainder = sorted(range(len(shares)), key=lambda i: counts[i] - exact[i])
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts


def _marked(example: Example, turn: int) -> Example:
    return replace(example, row_id=f"{example.row_id}#{turn}") if turn > 1 else example
