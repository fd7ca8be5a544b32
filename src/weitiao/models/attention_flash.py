"""Forest attention on CUDA where nothing is shared: FlashAttention over sequences of different lengths in one row.

A forest whose trees have no branches is an ordinary row of packed sequences, and
`torch.nn.attention.varlen` (https://arxiv.org/abs/2307.08691) computes nothing but their own causal triangles.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.backends.cuda import SDPAParams, can_use_flash_attention
from torch.nn.attention.varlen import varlen_attn

from weitiao.forest.layout import Layout


@dataclass(frozen=True, slots=True)
class Ends:
    """Where the sequences of a row lie.

    Attributes:
        cumulative: Before the first sequence and after each: int32 [S + 1], on the device of the model.
        longest: Tokens of the longest.
    """

    cumulative: Tensor
    longest: int


def ends_of(layout: Layout, device: torch.device) -> Ends:
    """The sequences of a layout in which nothing is shared: each of its segments is one."""
    starts = [segment.start for segment in layout.segments]
    longest = max(segment.end - segment.start for segment in layout.segments)
    return Ends(torch.tensor([*starts, len(layout)], dtype=torch.int32, device=device), longest)


def attend(query: Tensor, key: Tensor, value: Tensor, ends: Ends, scale: float, window: int | None) -> Tensor:
    """Attention output [H, T, D] of query [H, T, D] and key, value [K, T, D].

    Args:
        query, key, value: Of the row.
        ends: Of its sequences.
        scale: Factor of the scores.
        window: A query sees so many tokens, itself included; all before it where it is None.
    """
    out = varlen_attn(
        query.transpose(0, 1),
        key.transpose(0, 1),
        value.transpose(0, 1),
        ends.cumulative,
        ends.cumulative,
        ends.longest,
        ends.longest,
        scale=scale,
        window_size=(-1 if window is None else window - 1, 0),  # so many tokens before a query, and none after
        enable_gqa=True,
    )
    assert isinstance(out, Tensor)
    if out.grad_fn is not None:
        _repeat(out.grad_fn)
    return out.transpose(0, 1)


def hindrance(device: torch.device, dtype: torch.dtype, head_dim: int, value_dim: int) -> str | None:
    """Why PyTorch's FlashAttention cannot compute heads of these sizes in this number format; None where it can."""
    if head_dim % 8 == 0:  # others would have to be padded
        query, value = (
            torch.empty(1, 1, 1, size, dtype=dtype, device=device, requires_grad=True) for size in (head_dim, value_dim)
        )
        if can_use_flash_attention(SDPAParams(query, query, value, None, 0.0, True, False)):
            return None
    sizes = f"{head_dim}" if head_dim == value_dim else f"{head_dim} and {value_dim}"
    return f"PyTorch's kernel does not take {str(dtype).removeprefix('torch.')} with heads of {sizes} on {device.type}"


def _repeat(node: torch.autograd.graph.Node) -> None:
    """Let a backward pass give the same bits each time: the kernel adds up as blocks end unless it is told not to."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    node.register_prehook(lambda grads: torch.use_deterministic_algorithms(True))
    node.register_hook(lambda *grads: torch.use_deterministic_algorithms(before, warn_only=warn_only))
