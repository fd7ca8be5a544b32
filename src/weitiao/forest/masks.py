"""The attention mask of a layout, for backends that want it whole or as a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from weitiao.forest.layout import Layout

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
