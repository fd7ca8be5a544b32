"""Adapters on the experts of a mixture as thin products beside the frozen weights: `x W^T + s (x A^T) B^T` per expert.

PEFT adds `s B A` to the whole stack of matrices in every call, keeps the sum for the backward pass, and gets the
gradients of A and B out of one of the size of the stack.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS, grouped_mm_experts_forward

from weitiao.models.head import short_format

_NAME = "weitiao_adapters"


def use_thin_products(model: PreTrainedModel) -> None:
    """Have a model's experts compute their adapters so, wherever they have exactly one each; others run as before.

    Args:
        model: With PEFT's adapters on stacks of matrices.
    """
    model.set_experts_implementation(_NAME)


def _forward(experts: Any, x_TD: Tensor, chosen_TK: Tensor, weights_TK: Tensor) -> Tensor:
    """What `grouped_mm_experts_forward` of transformers computes, by the same attributes of the experts."""
    up = _Product.of(experts, "gate_up_proj" if experts.has_gate else "up_proj")
    down = _Product.of(experts, "down_proj")
    if up is None or down is None or short_format(x_TD.device) is not None:
        plain: Tensor = grouped_mm_experts_forward(experts, x_TD, chosen_TK, weights_TK)
        return plain
    order = chosen_TK.flatten().argsort(stable=True)
    sizes = chosen_TK.flatten().bincount(minlength=experts.num_experts).tolist()
    parts = []
    for number, x_ND in enumerate(x_TD[order // chosen_TK.shape[1]].split(sizes)):
        if len(x_ND):
            inner = up(x_ND, number)
            parts.append(down(experts._apply_gate(inner) if experts.has_gate else experts.act_fn(inner), number))
    out = torch.cat(parts)
    if experts.has_post_expert_norm:
        out = experts.post_expert_norm(out)
    out = out * weights_TK.flatten()[order, None]
    return out[order.argsort()].view(*chosen_TK.shape, -1).sum(1).to(x_TD.dtype)


class _Product:
    """A stack of frozen matrices with one adapter, or without one.

    Args:
        weight: [E, out, in], or [E, in, out] if `transposed`.
        bias: [E, out], if there is one.
        factors: What PEFT adds to the weight: two matrices for each of its, and their scale.
        transposed: How matrices lie.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, factors: Any, *, transposed: bool) -> None:
        self._weight, self._bias = (weight.mT if transposed else weight), bias
        self._factors = None
        if factors is not None:
            lhs, rhs = (factors.rhs.mT, factors.lhs.mT) if transposed else (factors.lhs, factors.rhs)
            self._factors = lhs, rhs, factors.scaling

    @classmethod
    def of(cls, experts: Any, name: str) -> _Product | None:
        """The stack of a name; None where it learns itself, or has more put on it than one adapter."""
        lists = getattr(experts, "parametrizations", {})
        if name in lists:
            if len(lists[name]) != 1 or not hasattr(lists[name][0], "lhs"):
                return None
            weight, factors = lists[name].original, lists[name][0]
        else:
            weight, factors = getattr(experts, name), None
        bias = getattr(experts, f"{name}_bias") if experts.has_bias else None
        return None if weight.requires_grad else cls(weight, bias, factors, transposed=experts.is_transposed)

    def __call__(self, x_ND: Tensor, number: int) -> Tensor:
        bias = None if self._bias is None else self._bias[number]
        out = F.linear(x_ND, self._weight[number], bias)
        if self._factors is None:
            return out
        lhs, rhs, scale = self._factors
        return torch.addmm(out, x_ND @ rhs[number].T, lhs[number].T, alpha=scale)


ALL_EXPERTS_FUNCTIONS.register(_NAME, _forward)
