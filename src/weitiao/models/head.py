"""Cross-entropy over a large vocabulary at the target positions only, in chunks that never hold all logits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

CHUNK_LOGITS = 2**24
"""Logits held at once: 64 MiB in float32, enough rows for an efficient matrix product at any vocabulary."""


class _CrossEntropy(torch.autograd.Function):
    """Per-target losses.

    The gradient of row n with regard to its own hidden state, `p W - W[label]`, is linear in the incoming gradient of
    loss n. So it is computed for 1 while the probabilities are there, and scaled in the backward pass. Only a head
    that learns itself needs the probabilities a second time.
    """

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, labels_N: Tensor) -> Tensor:
        losses_N = hidden_ND.new_empty(hidden_ND.shape[0], dtype=torch.float32)
        unit_grad_ND = weight_VD.index_select(0, labels_N).neg_() if ctx.needs_input_grad[0] else None
        for rows, probabilities in _probabilities(hidden_ND, weight_VD, bias_V, labels_N, losses_N):
            if unit_grad_ND is not None:
                unit_grad_ND[rows].addmm_(probabilities, weight_VD)
        ctx.save_for_backward(hidden_ND, weight_VD, bias_V, labels_N, unit_grad_ND)
        return losses_N

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden_ND, weight_VD, bias_V, labels_N, unit_grad_ND = ctx.saved_tensors
        grad_N1 = grad_outputs[0].unsqueeze(1).to(hidden_ND.dtype)
        grad_hidden = None if unit_grad_ND is None else unit_grad_ND * grad_N1
        grad_weight = torch.zeros_like(weight_VD) if ctx.needs_input_grad[1] else None
        grad_bias = torch.zeros_like(bias_V) if ctx.needs_input_grad[2] else None
        if grad_weight is not None or grad_bias is not None:
            for rows, errors in _probabilities(hidden_ND, weight_VD, bias_V, labels_N, None):
                labels = labels_N[rows].unsqueeze(1)
                errors.scatter_add_(1, labels, errors.new_full(labels.shape, -1)).mul_(grad_N1[rows])
                if grad_weight is not None:
                    grad_weight.addmm_(errors.t(), hidden_ND[rows])
                if grad_bias is not None:
                    grad_bias += errors.sum(0)
        return grad_hidden, grad_weight, grad_bias, None


def _probabilities(
    hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, labels_N: Tensor, losses_N: Tensor | None
) -> Iterator[tuple[slice, Tensor]]:
    """Chunk by chunk, the probabilities [n, V], in one buffer that is used again.

    The losses `-log p[label]` are written to `losses_N` on the way. They are taken from the logits, so that a
    probability that is zero in float32 still has a finite loss.
    """
    num_targets, vocabulary = len(labels_N), weight_VD.shape[0]
    size = max(1, min(CHUNK_LOGITS // vocabulary, num_targets))
    buffer = hidden_ND.new_empty(size, vocabulary)
    for start in range(0, num_targets, size):
        rows = slice(start, min(start + size, num_targets))
        logits = torch.mm(hidden_ND[rows], weight_VD.t(), out=buffer[: rows.stop - start])
        if bias_V is not None:
            logits += bias_V
        if losses_N is not None:
            top, place = logits.max(1, keepdim=True)
            chosen = logits.gather(1, labels_N[rows].unsqueeze(1))
        probabilities = torch.softmax(logits, 1, out=logits)
        if losses_N is not None:
            log_total = probabilities.gather(1, place).float().log().neg_()  # p[top] = exp(0) / total
            losses_N[rows] = (log_total + (top - chosen)).squeeze(1)
        yield rows, probabilities


def cross_entropy(hidden_ND: Tensor, head: nn.Module, labels_N: Tensor) -> Tensor:
    """Loss of every target.

    Args:
        hidden_ND: Final hidden states at the N target positions.
        head: The output embedding, a linear layer.
        labels_N: Token ids to be predicted.

    Returns:
        float32 [N], differentiable in the hidden states and in the output embedding.
    """
    bias = getattr(head, "bias", None)
    return cast(Tensor, cast(Any, _CrossEntropy).apply(hidden_ND, head.weight, bias, labels_N))
