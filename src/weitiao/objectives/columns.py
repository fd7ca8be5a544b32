"""Columns of items that a model computes: its log-probability of every token that is learned, for instance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from weitiao.forest.layout import Forest
from weitiao.forest.plan import pack
from weitiao.rendering.items import Item, PerToken, TokenSequence

AtTargets = list[dict[str, PerToken]]
"""For each sequence of some items, in their order, columns at those of its tokens that are learned."""


def computed_columns(
    items: Sequence[Item],
    compute: Callable[[Forest], Mapping[str, Tensor]],
    *,
    token_budget: int,
    share_prefixes: bool,
) -> AtTargets:
    """What a model computes for the targets of items, without gradient.

    Args:
        items: Of any number of sequences each.
        compute: From a forest to numbers [N] at its targets, by name.
        token_budget: Tokens computed at once.
        share_prefixes: Compute shared beginnings once; the result is the same.
    """
    numbered = [replace(item, row_id=str(index)) for index, item in enumerate(items)]
    found: dict[tuple[int, int], dict[str, PerToken]] = {}
    for forest in pack(numbered, token_budget=token_budget, share_prefixes=share_prefixes) if items else ():
        with torch.no_grad():
            values = {name: one.float().cpu().numpy() for name, one in compute(forest).items()}
        cuts = np.flatnonzero(np.diff(forest.targets.sequences)) + 1
        parts = {name: np.split(one, cuts) for name, one in values.items()}
        for index, (of_item, place) in enumerate(zip(forest.sequence_items, forest.sequence_places, strict=True)):
            key = int(forest.items[of_item].row_id), int(place)
            found[key] = {name: one[index] for name, one in parts.items()}
    return [found[index, place] for index, item in enumerate(items) for place in range(len(item.sequences))]


def with_columns(items: Sequence[Item], columns: AtTargets) -> tuple[Item, ...]:
    """The items with further columns of their sequences; tokens that are not learned have 0."""
    of_sequences = iter(columns)

    def extended(sequence: TokenSequence, further: Mapping[str, PerToken]) -> TokenSequence:
        placed = {name: np.zeros(len(sequence), np.float32) for name in further}
        for name, values in further.items():
            placed[name][np.flatnonzero(sequence.weights)] = values
        return replace(sequence, columns={**sequence.columns, **placed})

    return tuple(
        replace(item, sequences=tuple(extended(one, next(of_sequences)) for one in item.sequences)) for item in items
    )
