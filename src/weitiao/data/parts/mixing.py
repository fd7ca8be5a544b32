"""How much of each source is used: rows that are taken and repeated, shares of a whole, amounts of a mixture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from weitiao.data.parts.splits import Keyed, seeded_order
from weitiao.errors import DataError


def take(rows: Sequence[Keyed], count: int, *, seed: int, purpose: str) -> list[Keyed]:
    """Takes so many rows of a source, each as often as any other or once more.

    Args:
        rows: The rows of a source, at least one.
        count: How many to take.
        seed: The recipe's seed.
        purpose: What they are taken for.

    Returns:
        Whole rounds of the rows, then a part of them in their order, chosen by content and seed. From the second time
        on, `#2`, `#3`, ... follow the row id.
    """
    taken = take_positions([row.asked.draw for row in rows], count, seed=seed, purpose=purpose)
    return [_marked(rows[position], turn) for position, turn in taken]


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


def _marked(row: Keyed, turn: int) -> Keyed:
    example = row.example
    return row if turn == 1 else row._replace(example=replace(example, row_id=f"{example.row_id}#{turn}"))


_AMOUNT = re.compile(r"(?P<path>.+):(?P<number>\d+(?P<part>\.\d+)?)(?P<times>x?)")


@dataclass(frozen=True, slots=True)
class Ingredient:
    """A source of a mixture and how much of it is wanted.

    Attributes:
        path: A file, a directory or a hub data set.
        count: So many rows; None when it is not given.
        weight: So many times its rows, or its part of the rows that are divided by weight; None when not given.
    """

    path: str
    count: int | None = None
    weight: float | None = None


def parse_ingredient(text: str) -> Ingredient:
    """Reads `SOURCE`, `SOURCE:500` (rows), `SOURCE:0.5` or `SOURCE:2x` (times its rows).

    Raises:
        DataError: The amount is zero.
    """
    match = None if Path(text).exists() else _AMOUNT.fullmatch(text)
    if match is None:
        return Ingredient(text)
    number = float(match["number"])
    if not number:
        raise DataError(f"{text}: none of its rows are wanted.", "Leave the source out, or give another amount.")
    if match["part"] or match["times"]:
        return Ingredient(match["path"], weight=number)
    return Ingredient(match["path"], count=int(number))


def amounts(
    ingredients: Sequence[Ingredient],
    sizes: Sequence[int],
    *,
    rows: int | None = None,
    temperature: float | None = None,
) -> list[int]:
    """How many rows of each source a mixture has.

    Counts stand. Without `rows` and `temperature`, another source gives its weight times its rows, once by default.
    With `rows`, the other sources share what the counts leave of it: by weight, or by size when no weight is given.
    With a temperature T, by size^(1/T): 1 is by size, larger is more even (Arivazhagan et al., 2019,
    https://arxiv.org/abs/1907.05019, section 4).

    Args:
        ingredients: The sources.
        sizes: The number of rows of each.
        rows: The number of rows of the mixture.
        temperature: See above.

    Raises:
        DataError: The amounts contradict each other.
    """
    counts = [one.count or 0 for one in ingredients]
    free = [i for i, one in enumerate(ingredients) if one.count is None]
    weights = [ingredients[i].weight for i in free]
    if rows is None and temperature is None:
        for i, weight in zip(free, weights, strict=True):
            counts[i] = max(1, round(sizes[i] * (1.0 if weight is None else weight)))
        return counts
    if temperature is not None and any(weight is not None for weight in weights):
        raise DataError("A source has a weight, and --temperature makes the weights.", "Give one of the two.")
    if None in weights and any(weight is not None for weight in weights):
        raise DataError("Some sources have a weight and others have none.", "Give all of them one, or none.")
    left = (rows if rows is not None else sum(sizes[i] for i in free) + sum(counts)) - sum(counts)
    if left < len(free) or (left and not free):
        raise DataError(
            f"The mixture shall have {rows or 0:,} rows, and the counts of its sources make {sum(counts):,}.",
            "Change --rows, or leave out the count of a source.",
        )
    by_size = [sizes[i] ** (1 / (temperature or 1)) for i in free]
    shares = [size if weight is None else weight for size, weight in zip(by_size, weights, strict=True)]
    for i, count in zip(free, allocate(left, shares) if free else [], strict=True):
        counts[i] = count
    return counts
