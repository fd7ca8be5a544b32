"""Cross-entropy over a large vocabulary at the target positions only, in chunks that never hold all logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from weitiao.models.products import by_onednn, is_linear, product

CHUNK_LOGITS = 2**24
"""Logits held at once: 64 MiB in float32, enough rows for an efficient matrix product at any vocabulary."""


class _CrossEntropy(torch.autograd.Function):
    """Per-target losses behind a linear layer.

    The gradient of row n with regard to its own hidden state, `(p - onehot) W`, is linear in the incoming gradient of
    loss n. So it is computed for 1 while the probabilities are there, and scaled in the backward pass. Only a head
    that learns itself needs the probabilities a second time.
    """

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, labels_N: Tensor) -> Tensor:
        losses_N = hidden_ND.new_empty(hidden_ND.shape[0], dtype=torch.float32)
        unit_grad_ND = torch.empty_like(hidden_ND) if ctx.needs_input_grad[0] else None
        for rows, errors in _errors(hidden_ND, weight_VD, bias_V, labels_N, losses_N):
            if unit_grad_ND is not None:
                unit_grad_ND[rows] = product(errors.to(weight_VD.dtype), weight_VD.t())
        ctx.save_for_backward(hidden_ND, weight_VD, bias_V, labels_N, unit_grad_ND, losses_N)
        return losses_N

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden_ND, weight_VD, bias_V, labels_N, unit_grad_ND, losses_N = ctx.saved_tensors
        grad_N1 = grad_outputs[0].unsqueeze(1)
        grad_hidden = None if unit_grad_ND is None else unit_grad_ND * grad_N1.to(unit_grad_ND.dtype)
        grad_weight = torch.zeros_like(weight_VD) if ctx.needs_input_grad[1] else None
        grad_bias = torch.zeros_like(bias_V) if ctx.needs_input_grad[2] else None
        if grad_weight is not None or grad_bias is not None:
            for rows, errors in _errors(hidden_ND, weight_VD, bias_V, labels_N, torch.empty_like(losses_N)):
                errors.mul_(grad_N1[rows])
                if grad_weight is not None:
                    grad_weight.addmm_(errors.to(weight_VD.dtype).t(), hidden_ND[rows])
                if grad_bias is not None:
                    grad_bias += errors.sum(0)
        return grad_hidden, grad_weight, grad_bias, None


def _errors(
    hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, labels_N: Tensor, losses_N: Tensor
) -> Iterator[tuple[slice, Tensor]]:
    """Chunk by chunk, `p - onehot(label)` in float32 [n, V], in one buffer that is used again, where products take one.

    In a shorter type, a probability near one would leave nothing of `p[label] - 1`: the gradient of what is nearly
    learned. The losses `-log p[label]` are written to `losses_N` on the way. They are taken from the logits, so that a
    probability that is zero in float32 still has a finite loss.
    """
    num_targets, vocabulary = len(labels_N), weight_VD.shape[0]
    size = max(1, min(CHUNK_LOGITS // vocabulary, num_targets))
    buffer = None if by_onednn(hidden_ND[:size], weight_VD) else hidden_ND.new_empty(size, vocabulary)
    wide = None if hidden_ND.dtype == torch.float32 else hidden_ND.new_empty(size, vocabulary, dtype=torch.float32)
    for start in range(0, num_targets, size):
        rows = slice(start, min(start + size, num_targets))
        made = slice(0, rows.stop - start)
        logits = product(hidden_ND[rows], weight_VD, into=None if buffer is None else buffer[made])
        if bias_V is not None:
            logits += bias_V
        if wide is not None:
            logits = wide[made].copy_(logits)
        labels = labels_N[rows].unsqueeze(1)
        top = logits.amax(1, keepdim=True)
        chosen = logits.gather(1, labels)
        errors = torch.softmax(logits, 1, out=logits)
        log_total = errors.amax(1, keepdim=True).log_().neg_()  # p[top] = exp(0) / total
        losses = log_total.add_(top.sub_(chosen))
        losses_N[rows] = losses.squeeze(1)
        yield rows, errors.scatter_(1, labels, torch.expm1(-losses))


def cross_entropy(hidden_ND: Tensor, head: Callable[[Tensor], Tensor], labels_N: Tensor) -> Tensor:
    """Loss of every target.

    Args:
        hidden_ND: Final hidden states at the N target positions.
        head: Hidden states [n, D] to logits [n, V]. A linear layer, and nothing but one, is run in the fewest passes;
            whatever else it is (a layer with an adapter, a cap on the logits) is called as it is, chunk by chunk, and
            once more in the backward pass.
        labels_N: Token ids to be predicted.

    Returns:
        float32 [N], differentiable in the hidden states and in what learns in the head.
    """
    if is_linear(head):
        given: list[Tensor | None] = [hidden_ND, head.weight, head.bias]
        if (short := short_format(hidden_ND.device)) is not None:
            given = [None if one is None else one.to(short) for one in given]
        return cast(Tensor, cast(Any, _CrossEntropy).apply(*given, labels_N))

    def losses(states: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(head(states).float(), labels, reduction="none")

    return in_chunks(losses, head, hidden_ND, labels_N)


def entropies(hidden_ND: Tensor, head: Callable[[Tensor], Tensor]) -> Tensor:
    """The entropy [N] of every prediction in nats, with gradient; the head is called as for `cross_entropy`."""

    def found(states: Tensor) -> Tensor:
        logprobs = head(states).float().log_softmax(1)
        return -(logprobs.exp() * logprobs).sum(1)

    return in_chunks(found, head, hidden_ND)


class _WithGradient(torch.autograd.Function):
    """A function of rows behind a head that does not learn, with its gradient at once.

    No row has to do with another, so the gradient is linear in the incoming one of each, as in `_CrossEntropy`.
    """

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Tensor], rows: Tensor, *others: Tensor) -> Tensor:
        with torch.enable_grad(), saved_tensors_hooks(lambda one: one, lambda one: one):  # they are used in a moment
            given = rows.detach().requires_grad_()
            values = function(given, *others)
            ctx.save_for_backward(*torch.autograd.grad(values[:, 0].sum(), given))
        return values.detach()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (unit_grad_ND,) = ctx.saved_tensors
        grad = unit_grad_ND * grad_outputs[0][:, :1].to(unit_grad_ND.dtype)
        return (None, grad, *[None] * (len(ctx.needs_input_grad) - 2))


def in_chunks(
    function: Callable[..., Tensor],
    head: Callable[[Tensor], Tensor],
    hidden_ND: Tensor,
    *others: Tensor,
    parts: int = 1,
    one_learned: bool = False,
) -> Tensor:
    """A function of rows, for few enough rows at once, and once more in the backward pass.

    Args:
        function: Of states [n, D] and rows of `others`, which calls the head.
        head: Says how many logits there are.
        hidden_ND: States.
        others: Further tensors of N rows, without gradient.
        parts: Into so many times as many parts as the logits alone would need, where more than these is held.
        one_learned: The function gives [n, C], of which the first column alone has a gradient. It is then computed
            once, where the head does not learn.
    """
    first = head(hidden_ND[:1].detach())
    size = max(1, CHUNK_LOGITS // (first.shape[-1] * parts))
    once = one_learned and hidden_ND.requires_grad and not first.requires_grad
    rows = zip(*(one.split(size) for one in (hidden_ND, *others)), strict=True)
    if once and torch.is_grad_enabled():
        return torch.cat([cast(Tensor, cast(Any, _WithGradient).apply(function, *some)) for some in rows])
    return torch.cat([cast(Tensor, checkpoint(function, *some, use_reentrant=False)) for some in rows])


def short_format(device: torch.device) -> torch.dtype | None:
    """The number format of products under autocast, for what PyTorch does not cast by itself; None without it."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
