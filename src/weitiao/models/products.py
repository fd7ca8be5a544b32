"""Matrix products on a CPU by the library that is faster there, and linear layers that are computed by them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, TypeGuard, cast

import torch
from torch import Tensor, nn

from weitiao.machine.hardware import read_cpuinfo


def product(x: Tensor, weight: Tensor, *, onto: Tensor | None = None, into: Tensor | None = None) -> Tensor:
    """`x weight^T`, and `onto` added where it is there. It has no gradient.

    Args:
        x: [T, I].
        weight: [O, I], laid out in any way.
        onto: [T, O].
        into: [T, O] that may be written to, and then is the result.
    """
    if by_onednn(x, weight):
        # the operators that `torch.compile` puts in the place of linear layers
        if onto is None:
            out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
        else:
            out = torch.ops.mkldnn._linear_pointwise.binary(x, onto, weight, None, "add")
        return out
    return torch.mm(x, weight.t(), out=into) if onto is None else torch.addmm(onto, x, weight.t())


LEAST_PRODUCTS = 2**24
"""Multiplications from which another library is worth it."""


def by_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether a product is oneDNN's, which does not write `into`: a large one in float32, on AMD with AVX-512.

    PyTorch's own are MKL's, which do not use these units there: 105 GFLOP/s on a core of a Zen 5 where oneDNN reaches
    235. Known by the processor and not measured, so that a run that goes on computes the same bits.
    """
    is_large = x.shape[0] * weight.numel() >= LEAST_PRODUCTS
    return is_large and x.dtype == torch.float32 and x.device.type == "cpu" and _is_faster()


@cache
def _is_faster() -> bool:
    name, flags = read_cpuinfo(Path("/proc/cpuinfo"))
    return (name or "").startswith("AMD") and "avx512f" in flags and torch.backends.mkldnn.is_available()


class _Linear(torch.autograd.Function):
    """`x W^T + b` of x [T, I], with the gradients of all three."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        of_x, of_weight, _ = ctx.needs_input_grad  # of a frozen layer its input need not be kept
        ctx.save_for_backward(x if of_weight else None, weight if of_x else None)
        out = product(x, weight)
        return out if bias is None else out.add_(bias)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grad_outputs
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            product(grad, weight.t()) if of_x else None,
            product(grad.t(), x.t()) if of_weight else None,
            grad.sum(0) if of_bias else None,
        )


class FastLinear(nn.Linear):
    """A linear layer with its products, also those of the gradients, by the library that is faster.

    Args:
        layer: Whose parameters it has.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.training = layer.training

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, self.in_features)
        if torch.is_autocast_enabled(x.device.type) or not by_onednn(rows, self.weight):
            return super().forward(x)
        out = cast(Tensor, cast(Any, _Linear).apply(rows, self.weight, self.bias))
        return out.view(*x.shape[:-1], self.out_features)


def put_fast_linears(model: nn.Module) -> None:
    """Put `FastLinear` in the place of the linear layers of a model on a CPU, where that is worth it.

    Its parameters, their names, and up to rounding what it computes stay as they are.
    """
    for parent in list(model.modules()) if _is_faster() else ():
        for name, layer in parent.named_children():
            if type(layer) is nn.Linear and is_linear(layer) and layer.weight.dtype == torch.float32:
                setattr(parent, name, FastLinear(layer))


def is_linear(layer: object) -> TypeGuard[nn.Linear]:
    """Whether this is a linear layer and nothing more: no other subclass, no wrapper, no hook."""
    is_plain = type(layer) in (nn.Linear, FastLinear)
    return is_plain and not layer._forward_hooks and not layer._forward_pre_hooks  # type: ignore[attr-defined]
