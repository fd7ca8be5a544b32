"""Cross-entropy over a large vocabulary at the target positions only, in chunks that never hold all logits."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHUNK_LOGITS = 2**24
"""Logits held at once: 64 MiB in float32, enough rows for an efficient matrix product at any vocabulary."""


class _CrossEntropy(torch.autograd.Function):
    """Per-target losses.

    The gradient of row n with regard to its own hidden state is linear in the incoming gradient of loss n. So it is
    computed for 1 while the logits are there, and scaled in the backward pass. Only a head that learns itself needs
    the logits a second time.
    """

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, labels_N: Tensor) -> Tensor:
        num_targets = hidden_ND.shape[0]
        losses_N = hidden_ND.new_empty(num_targets, dtype=torch.float32)
        unit_grad_ND = torch.empty_like(hidden_ND) if ctx.needs_input_grad[0] else None
        for rows in _chunks(num_targets, weight_VD.shape[0]):
            labels = labels_N[rows].unsqueeze(1)
            probabilities = _softmax_(F.linear(hidden_ND[rows], weight_VD, bias_V), labels, losses_N[rows])
            if unit_grad_ND is not None:
                probabilities.scatter_add_(1, labels, probabilities.new_full(labels.shape, -1))
                torch.mm(probabilities, weight_VD, out=unit_grad_ND[rows])
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
            for rows in _chunks(hidden_ND.shape[0], weight_VD.shape[0]):
                labels = labels_N[rows].unsqueeze(1)
                errors = _softmax_(F.linear(hidden_ND[rows], weight_VD, bias_V), labels, None)
                errors.scatter_add_(1, labels, errors.new_full(labels.shape, -1)).mul_(grad_N1[rows])
                if grad_weight is not None:
                    grad_weight.addmm_(errors.t(), hidden_ND[rows])
                if grad_bias is not None:
                    grad_bias += errors.sum(0)
        return grad_hidden, grad_weight, grad_bias, None


def _chunks(num_targets: int, vocabulary: int) -> list[slice]:
    size = max(1, CHUNK_LOGITS // vocabulary)
    return [slice(start, min(start + size, num_targets)) for start in range(0, num_targets, size)]


def _softmax_(logits: Tensor, labels: Tensor, losses: Tensor | None) -> Tensor:
    """Probabilities in the place of the logits; the losses `-log p[label]` are written to `losses`."""
    top = logits.amax(1, keepdim=True)
    chosen = logits.gather(1, labels)
    total = logits.sub_(top).exp_().sum(1, keepdim=True, dtype=torch.float32)
    if losses is not None:
        losses.copy_((total.log() + (top - chosen)).squeeze(1))
    return logits.div_(total.to(logits.dtype))


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
