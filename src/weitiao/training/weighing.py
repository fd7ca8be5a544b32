"""What one unit of the loss is: a learned token, or a row; and how much of the loss each source has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from weitiao.rendering.items import Item

Unit = Literal["tokens", "rows"]

LENGTH_FACTOR = 2.0
"""Up to this factor between the sources' mean lengths of what is learned of a row, `auto` counts tokens: no source has
then more than twice, or less than half, the share of the loss that it has of the rows."""


def choose_unit(items: Iterable[Item], sources: Mapping[str, str]) -> Unit:
    """What `train.weigh: auto` means for a data set.

    Args:
        items: Of the training rows, every weight being 1 or 0.
        sources: Row id to source.
    """
    lengths = list(mean_weights(items, sources).values())
    return "rows" if lengths and max(lengths) > LENGTH_FACTOR * min(lengths) else "tokens"


def mean_weights(items: Iterable[Item], sources: Mapping[str, str]) -> dict[str, float]:
    """The mean weight of a source's rows; of items that are not yet weighed, the mean number of learned tokens."""
    sums: defaultdict[str, float] = defaultdict(float)
    rows: defaultdict[str, set[str]] = defaultdict(set)
    for item in items:
        source = sources[item.row_id]
        sums[source] += item.target_weight
        rows[source].add(item.row_id)
    return {source: sums[source] / len(rows[source]) for source in sums}


def shares(items: Iterable[Item], sources: Mapping[str, str]) -> dict[str, float]:
    """The share of the loss that each source has."""
    sums: defaultdict[str, float] = defaultdict(float)
    for item in items:
        sums[sources[item.row_id]] += item.target_weight
    whole = sum(sums.values())
    return {source: weight / whole for source, weight in sums.items()}


def weigh_rows(items: Sequence[Item]) -> tuple[Item, ...]:
    """Give every row the weight 1, over all its items; within a row, tokens keep their proportion."""
    sums: defaultdict[str, float] = defaultdict(float)
    for item in items:
        sums[item.row_id] += item.target_weight
    return tuple(_scaled(item, 1 / sums[item.row_id]) for item in items)


def weigh_source(items: Sequence[Item], sources: Mapping[str, str], source: str, share: float) -> tuple[Item, ...]:
    """Give one source a share of the whole weight; the other sources keep theirs among each other.

    Args:
        items: Of the training rows.
        sources: Row id to source.
        source: Which; when all rows are of it, or none, nothing is changed.
        share: Between 0 and 1.
    """
    own = shares(items, sources).get(source, 0.0)
    if own in (0.0, 1.0):
        return tuple(items)
    factor = share / (1 - share) * (1 - own) / own
    return tuple(_scaled(one, factor) if sources[one.row_id] == source else one for one in items)


def _scaled(item: Item, factor: float) -> Item:
    return replace(item, weight=item.weight * factor)
