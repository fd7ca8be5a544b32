"""Forest attention on a CPU: a few dense blocks per segment, merged by their log-sum-exp.

Each segment is seen causally by itself and fully by everything that descends from it. So the attention of a forest
is one causal block per segment and one full block per inner segment. The partial results of a query are merged by
their normalisers (as in Hydragen, https://arxiv.org/abs/2402.05099, section 3.1). In the backward pass each block is
run with the merged output and normaliser, which makes its partial gradients add up to the exact ones (FlashAttention,
https://arxiv.org/abs/2205.14135, appendix B.4: P = exp(S - L) needs nothing but the final L).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from weitiao.forest.layout import Segment
from weitiao.models.scoring import Scoring

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


# The kernel's causal backward pass skips little of what is masked: at 512 tokens, pieces of this size took 0.73 of the
# time of one block.
CAUSAL_BACKWARD_TOKENS = 192


def group_heads(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Views with the query heads grouped by the key head they share.

    Args:
        query: [H, T, D].
        key, value: [K, T, D], H a multiple of K.

    Returns:
        Three views of shape [K, H / K, T, D]; those of key and value are expanded, not copied.
    """
    num_heads, num_tokens, head_dim = query.shape
    num_key_heads = key.shape[0]
    groups = num_heads // num_key_heads
    shape = (num_key_heads, groups, num_tokens, head_dim)
    return (
        query.unflatten(0, (num_key_heads, groups)),
        key.unsqueeze(1).expand(shape),
        value.unsqueeze(1).expand(shape),
    )


def blocks_forward(
    query: Tensor, key: Tensor, value: Tensor, segments: Sequence[Segment], scale: float
) -> tuple[Tensor, Tensor]:
    """Attention of a forest.

    Args:
        query: [H, T, D].
        key, value: [K, T, D].
        segments: The forest's segments in row order.
        scale: Factor of the scores.

    Returns:
        Output [H, T, D], a view of a contiguous [T, H, D]; log-sum-exp of the scores [K, H / K, T].
    """
    q, k, v = group_heads(query, key, value)
    num_key_heads, groups, num_tokens, head_dim = q.shape
    out = query.new_empty(num_tokens, num_key_heads, groups, head_dim).permute(1, 2, 0, 3)
    lse = query.new_empty(num_key_heads, groups, num_tokens, dtype=torch.float32)
    for s in segments:
        own = slice(s.start, s.end)
        out[:, :, own], lse[:, :, own] = _flash(q[:, :, own], k[:, :, own], v[:, :, own], 0.0, True, scale=scale)
    for s in segments:
        if s.subtree_end > s.end:
            own, below = slice(s.start, s.end), slice(s.end, s.subtree_end)
            part, part_lse = _flash(q[:, :, below], k[:, :, own], v[:, :, own], 0.0, False, scale=scale)
            out[:, :, below].lerp_(part, torch.sigmoid(part_lse - lse[:, :, below]).unsqueeze(-1).to(part.dtype))
            lse[:, :, below] = torch.logaddexp(lse[:, :, below], part_lse)
    return out.flatten(0, 1), lse


def blocks_backward(
    grad_out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    segments: Sequence[Segment],
    scale: float,
    *,
    into: tuple[Tensor, Tensor, Tensor],
) -> None:
    """Gradients of `blocks_forward` with regard to query, key and value.

    Args:
        grad_out: [H, T, D].
        query, key, value, out, lse, segments, scale: As given to and returned by `blocks_forward`.
        into: Three tensors in the shapes of query, key and value, which are overwritten with the gradients.
    """
    q, k, v = group_heads(query, key, value)
    heads = (k.shape[0], q.shape[1])
    d, o = grad_out.unflatten(0, heads), out.unflatten(0, heads)
    grad_q, grad_k, grad_v = into[0].unflatten(0, heads), into[1], into[2]

    def block(queries: slice, keys: slice, causal: bool) -> tuple[Tensor, Tensor, Tensor]:
        parts = _flash_backward(
            d[:, :, queries], q[:, :, queries], k[:, :, keys], v[:, :, keys],
            o[:, :, queries], lse[:, :, queries], 0.0, causal, scale=scale,
        )  # fmt: skip
        return parts[0], parts[1].sum(1), parts[2].sum(1)

    def add_block(queries: slice, keys: slice) -> None:
        part_q, part_k, part_v = block(queries, keys, causal=False)
        grad_q[:, :, queries] += part_q
        grad_k[:, keys] += part_k
        grad_v[:, keys] += part_v

    for s in segments:
        for start in range(s.start, s.end, CAUSAL_BACKWARD_TOKENS):
            own = slice(start, min(start + CAUSAL_BACKWARD_TOKENS, s.end))
            grad_q[:, :, own], grad_k[:, own], grad_v[:, own] = block(own, own, causal=True)
            if start > s.start:
                add_block(own, slice(s.start, start))
    for s in segments:
        if s.subtree_end > s.end:
            add_block(slice(s.end, s.subtree_end), slice(s.start, s.end))


class _BlockAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        sinks: Tensor | None,
        segments: tuple[Segment, ...],
        scale: float,
    ) -> Tensor:
        out, lse = blocks_forward(query, key, value, segments, scale)
        if sinks is not None:
            scoring = Scoring(scale, sinks=sinks)
            out = scoring.beside_sinks(out.unflatten(0, lse.shape[:2]), lse).flatten(0, 1)
            lse = torch.logaddexp(lse, scoring.sinks_like(lse))  # the backward pass needs nothing but this one
        ctx.save_for_backward(query, key, value, out, lse, *(() if sinks is None else (sinks,)))
        ctx.segments, ctx.scale = segments, scale  # type: ignore[attr-defined]
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, lse, *beside = ctx.saved_tensors
        grads = (torch.empty_like(query), torch.empty_like(key), torch.empty_like(value))
        blocks_backward(grad_outputs[0], query, key, value, out, lse, ctx.segments, ctx.scale, into=grads)
        grad_sinks = None
        if ctx.needs_input_grad[3]:
            (sinks,) = beside
            # the gradient of a score is its weight times (its value - the mean value) . grad_out; a sink's value is 0
            weight_HT = (Scoring(ctx.scale, sinks=sinks).sinks_like(lse) - lse).exp().flatten(0, 1)
            grad_sinks = -(weight_HT * (grad_outputs[0] * out).sum(-1)).sum(-1).to(sinks.dtype)
        return (*grads, grad_sinks, None, None)


def block_attention(
    query: Tensor, key: Tensor, value: Tensor, segments: tuple[Segment, ...], scoring: Scoring
) -> Tensor:
    """Differentiable attention of a forest: [H, T, D] from query [H, T, D] and key, value [K, T, D]."""
    apply = cast(Any, _BlockAttention).apply
    return cast(Tensor, apply(query, key, value, scoring.sinks, segments, scoring.scale))
