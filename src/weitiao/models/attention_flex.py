"""Forest attention on CUDA: FlexAttention over the blocks of the mask in which something is visible.

The kernel is compiled once per number format and shape of heads, for rows of any length
(https://docs.pytorch.org/docs/stable/nn.attention.flex_attention.html).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, FlexKernelOptions, flex_attention

from weitiao.forest.layout import Layout
from weitiao.forest.masks import mask_function, visible_blocks
from weitiao.models.scoring import Scoring

_BLOCK_SIZE = 128
_OPTIONS = FlexKernelOptions(BACKEND="TRITON")
"""One kernel for rows of any length: by itself PyTorch takes another for short ones, which small heads do not have."""


def block_mask(layout: Layout, device: torch.device, *, sliding_window: int | None = None) -> BlockMask:
    """The mask of a layout as FlexAttention takes it.

    `create_block_mask` makes the same from all T x T entries, which takes 0.9 GB and 4 ms for 8,192 tokens on an H100.
    """
    some, every = visible_blocks(layout, _BLOCK_SIZE, sliding_window=sliding_window)
    end_T, position_T = (torch.from_numpy(a).to(device) for a in (layout.subtree_end, layout.position_ids))
    mask: BlockMask = BlockMask.from_kv_blocks(
        *_listed(some & ~every, device),
        *_listed(every, device),
        BLOCK_SIZE=_BLOCK_SIZE,
        mask_mod=mask_function(end_T, position_T, sliding_window=sliding_window),
        seq_lengths=(len(layout), len(layout)),
    )
    return mask


def attend(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask, scoring: Scoring) -> Tensor:
    """Attention output [H, T, D] of query [H, T, D] and key, value [K, T, D]."""
    q, k, v = (t.unsqueeze(0) for t in (query, key, value))
    capped = None if scoring.softcap is None else _capped(scoring.softcap)
    run = partial(
        _kernel(query.device.type), q, k, v, capped, mask, scoring.scale, enable_gqa=True, kernel_options=_OPTIONS
    )
    if scoring.sinks is None:
        return cast(Tensor, run())[0]
    out, beside = run(return_aux=AuxRequest(lse=True))
    return scoring.beside_sinks(out[0], beside.lse[0])


@cache
def _capped(softcap: float) -> Callable[..., Tensor]:
    """One function for each cap, so that it is compiled once."""
    return lambda score, *place: softcap * torch.tanh(score / softcap)


@cache
def _kernel(device: str) -> Callable[..., Any]:
    """Compiled where there is a kernel to compile; elsewhere the plain function, which computes every entry."""
    plain: Callable[..., Any] = flex_attention
    return torch.compile(plain) if device == "cuda" else plain


def _listed(blocks: NDArray[np.bool_], device: torch.device) -> tuple[Tensor, Tensor]:
    """For each row of [B, B] the number of blocks and their indices, those first: [1, 1, B] and [1, 1, B, B]."""
    order = np.argsort(~blocks, axis=1, kind="stable").astype(np.int32)
    numbers = blocks.sum(axis=1, dtype=np.int32)
    return torch.from_numpy(numbers).to(device)[None, None], torch.from_numpy(order).to(device)[None, None]
