"""How many rows of each source a mixture has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weitiao.data.parts.mixing import allocate
from weitiao.errors import DataError

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
