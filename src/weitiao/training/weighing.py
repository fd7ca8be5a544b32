"""What one unit of the loss is: a learned token, or a row; and how much of the loss each source has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Rows
from dataclasses import replace
from typing import Literal

from weitiao.rendering.sequence import Sequence

Unit = Literal["tokens", "rows"]

LENGTH_FACTOR = 2.0
"""Up to this factor between the sources' mean lengths of what is learned of a row, `auto` counts tokens: no source has
then more than twice, or less than half, the share of the loss that it has of the rows."""


def choose_unit(sequences: Iterable[Sequence], sources: Mapping[str, str]) -> Unit:
    """What `train.weigh: auto` means for a data set.

    Args:
        sequences: Of the training rows, every weight being 1 or 0.
        sources: Row id to source.
    """
    lengths = list(mean_weights(sequences, sources).values())
    return "rows" if lengths and max(lengths) > LENGTH_FACTOR * min(lengths) else "tokens"


def mean_weights(sequences: Iterable[Sequence], sources: Mapping[str, str]) -> dict[str, float]:
    """The mean weight of a source's rows; of sequences that are not yet weighed, the mean number of learned tokens."""
    sums: defaultdict[str, float] = defaultdict(float)
    rows: defaultdict[str, set[str]] = defaultdict(set)
    for sequence in sequences:
        source = sources[sequence.row_id]
        sums[source] += sequence.weight
        rows[source].add(sequence.row_id)
    return {source: sums[source] / len(rows[source]) for source in sums}


def shares(sequences: Iterable[Sequence], sources: Mapping[str, str]) -> dict[str, float]:
    """The share of the loss that each source has."""
    sums: defaultdict[str, float] = defaultdict(float)
    for sequence in sequences:
        sums[sources[sequence.row_id]] += sequence.weight
    whole = sum(sums.values())
    return {source: weight / whole for source, weight in sums.items()}


def weigh_rows(sequences: Rows[Sequence]) -> tuple[Sequence, ...]:
    """Give every row the weight 1, over all its sequences; within a row, tokens keep their proportion."""
    sums: defaultdict[str, float] = defaultdict(float)
    for sequence in sequences:
        sums[sequence.row_id] += sequence.weight
    return tuple(_scaled(sequence, 1 / sums[sequence.row_id]) for sequence in sequences)


def weigh_source(
    sequences: Rows[Sequence], sources: Mapping[str, str], source: str, share: float
) -> tuple[Sequence, ...]:
    """Give one source a share of the whole weight; the other sources keep theirs among each other.

    Args:
        sequences: Of the training rows.
        sources: Row id to source.
        source: Which; when all rows are of it, or none, nothing is changed.
        share: Between 0 and 1.
    """
    own = shares(sequences, sources).get(source, 0.0)
    if own in (0.0, 1.0):
        return tuple(sequences)
    factor = share / (1 - share) * (1 - own) / own
    return tuple(_scaled(one, factor) if sources[one.row_id] == source else one for one in sequences)


def _scaled(sequence: Sequence, factor: float) -> Sequence:
    return replace(sequence, weights=tuple(weight * factor for weight in sequence.weights))
