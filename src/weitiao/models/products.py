"""Matrix products on a CPU by the library that is faster there; without gradients of their own."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from weitiao.machine.hardware import read_cpuinfo


def product(x: Tensor, weight: Tensor, *, onto: Tensor | None = None, into: Tensor | None = None) -> Tensor:
    """`x weight^T`, and `onto` added where it is there.

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
