"""The attention mask of a layout, for backends that want it whole or as a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from weitiao.forest.layout import Ints, Layout

if TYPE_CHECKING:
    from torch import Tensor

MaskFunction = Callable[["Tensor", "Tensor", "Tensor", "Tensor"], "Tensor"]


def dense_mask(layout: Layout, *, sliding_window: int | None = None) -> Tensor:
    """The whole mask, the reference for every other backend.

    Returns:
        Boolean [T, T]: entry (i, j) says whether query i sees key j.
    """
    import torch

    index_T = torch.arange(len(layout))
    end_T = torch.from_numpy(layout.subtree_end)
    mask_TT = (index_T[None, :] <= index_T[:, None]) & (index_T[:, None] < end_T[None, :])
    if sliding_window is not None:
        position_T = torch.from_numpy(layout.position_ids)
        mask_TT &= position_T[:, None] - position_T[None, :] < sliding_window
    return mask_TT


def mask_function(subtree_end_T: Tensor, position_T: Tensor, *, sliding_window: int | None = None) -> MaskFunction:
    """The mask as a function of (batch, head, query, key), as `flex_attention.create_block_mask` takes it."""

    def visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        seen = (key <= query) & (query < subtree_end_T[key])
        if sliding_window is not None:
            seen = seen & (position_T[query] - position_T[key] < sliding_window)
        return seen

    return visible


def visible_blocks(
    layout: Layout, size: int, *, sliding_window: int | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The mask in blocks of `size` queries by `size` keys, without looking at its T x T entries.

    Returns:
        Boolean [B, B] with B = ceil(T / size), query blocks by key blocks: where something may be visible (with a
        window some of these are hidden whole), and where all of a whole block is.
    """
    starts = np.arange(0, len(layout), size)
    query, key = starts[:, None], starts[None, :]
    earliest_end, latest_end = _bounds(layout.subtree_end, starts)
    some = (key < query) & (latest_end[None, :] > query)
    every = (key < query) & (earliest_end[None, :] >= query + size)
    if sliding_window is not None:
        lowest, highest = _bounds(layout.position_ids, starts)
        some &= lowest[:, None] - highest[None, :] < sliding_window
        every &= highest[:, None] - lowest[None, :] < sliding_window
    return some | (key == query), every


def _bounds(values_T: Ints, starts: Ints) -> tuple[Ints, Ints]:
    """The smallest and the largest value of each block."""
    return np.minimum.reduceat(values_T, starts), np.maximum.reduceat(values_T, starts)
