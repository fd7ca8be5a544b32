"""Linear layers with LoRA that read the same input, run as one matrix product with the adapters merged in.

`x W'^T` with `W' = W + s B A` (LoRA, https://arxiv.org/abs/2106.09685, eq. 3) costs one small product per step of
building W', where `x W^T + s (x A^T) B^T` touches every activation twice more. The merged matrix lives for one call.
In bfloat16 the sum would lose what is below 2^-9 of W, at the beginning all of `B A`: there adapters stay apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from peft.tuners.lora import Linear as PeftLinear
from torch import Tensor, nn

from weitiao.models.products import is_linear, product


@dataclass(frozen=True, slots=True)
class LoraLinear:
    """The tensors of one linear layer, with its adapter if it has one.

    Attributes:
        weight: [O, I], frozen.
        bias: [O], frozen, or None.
        lora_a: [r, I], or None without an adapter.
        lora_b: [O, r], or None without an adapter.
        scale: Factor of `B A`.
    """

    weight: Tensor
    bias: Tensor | None
    lora_a: Tensor | None = None
    lora_b: Tensor | None = None
    scale: float = 1.0


def read_linear(module: nn.Module) -> LoraLinear | None:
    """The tensors of a linear layer as it is now; None when it does something that this form does not express.

    Expressed are `nn.Linear`, and PEFT's LoRA around one with a single active adapter without dropout at work; and no
    hooks.
    """
    if module._forward_hooks:
        return None
    if is_linear(module):
        return _frozen(LoraLinear(module.weight, module.bias))
    if type(module) is not PeftLinear or not is_linear(module.base_layer):
        return None
    base, lora = module.base_layer, cast(Any, module)
    if module.disable_adapters or module.merged:
        return _frozen(LoraLinear(base.weight, base.bias))
    if len(lora.active_adapters) != 1:
        return None
    (name,) = lora.active_adapters
    if name not in lora.lora_A:
        return _frozen(LoraLinear(base.weight, base.bias))
    dropout = lora.lora_dropout[name]
    works = isinstance(dropout, nn.Dropout) and dropout.p > 0 and module.training
    if works or name in lora.lora_variant or lora.lora_B[name].bias is not None:
        return None
    lora_a, lora_b = lora.lora_A[name].weight, lora.lora_B[name].weight
    return _frozen(LoraLinear(base.weight, base.bias, lora_a, lora_b, float(lora.scaling[name])))


def _frozen(linear: LoraLinear) -> LoraLinear | None:
    learns = linear.weight.requires_grad or (linear.bias is not None and linear.bias.requires_grad)
    return None if learns else linear


def merged_weight(linears: Sequence[LoraLinear]) -> Tensor:
    """`W + s B A` of all linears, one below the other: [sum of O, I]."""
    if len(linears) == 1 and linears[0].lora_a is None:
        return linears[0].weight
    sizes = [linear.weight.shape[0] for linear in linears]
    merged = linears[0].weight.new_empty(sum(sizes), linears[0].weight.shape[1])
    for linear, part in zip(linears, merged.split(sizes), strict=True):
        if linear.lora_a is None or linear.lora_b is None:
            part.copy_(linear.weight)
        else:
            torch.addmm(linear.weight, linear.lora_b, linear.lora_a, alpha=linear.scale, out=part)
    return merged


@dataclass(frozen=True, slots=True)
class Joined:
    """Linear layers that read the same input x [T, I], side by side, for one call.

    Attributes:
        linears: The layers.
        weight: [sum of O, I], with the adapters merged in where they are not apart.
        thin: Adapters that are apart: A of all, one below the other [R, I], and `s B` of each in the rows of its layer
            [sum of O, R].
    """

    linears: Sequence[LoraLinear]
    weight: Tensor
    thin: tuple[Tensor, Tensor] | None

    @classmethod
    def of(cls, *linears: LoraLinear) -> Joined:
        """The layers as they are now: merged in float32, apart in shorter formats."""
        if linears[0].weight.dtype == torch.float32:
            return cls(linears, merged_weight(linears), None)
        weight = linears[0].weight if len(linears) == 1 else torch.cat([linear.weight for linear in linears])
        return cls(linears, weight, _thin(linears))

    def outputs(self, x: Tensor, *, onto: Tensor | None = None) -> Tensor:
        """What they make of x: [T, sum of O]; added to `onto`, if there is one."""
        out = product(x, self.weight, onto=onto)
        if self.thin is not None:
            a_RI, b_OR = self.thin
            out.addmm_(x @ a_RI.t(), b_OR.t())
        return _add_bias(out, self.linears)

    def input_gradient(self, grad_out: Tensor, *, into: Tensor | None = None) -> Tensor:
        """The gradient with regard to x, given that of `outputs`; `into` may be written to."""
        grad = product(grad_out, self.weight.t(), into=into)
        if self.thin is not None:
            a_RI, b_OR = self.thin
            grad.addmm_(grad_out @ b_OR, a_RI)
        return grad


def _thin(linears: Sequence[LoraLinear]) -> tuple[Tensor, Tensor] | None:
    lora_a, lora_b = [], []
    for linear in linears:
        if linear.lora_a is None or linear.lora_b is None:
            lora_b.append(linear.weight.new_empty(linear.weight.shape[0], 0))
        else:
            lora_a.append(linear.lora_a.to(linear.weight.dtype))
            lora_b.append((linear.lora_b * linear.scale).to(linear.weight.dtype))
    return (torch.cat(lora_a), torch.block_diag(*lora_b)) if lora_a else None


def _add_bias(out: Tensor, linears: Sequence[LoraLinear]) -> Tensor:
    """Add the biases of all linears to their columns of `out`, in place."""
    for linear, part in zip(linears, out.split([x.weight.shape[0] for x in linears], dim=1), strict=True):
        if linear.bias is not None:
            part.add_(linear.bias)
    return out


def adapter_gradients(grad_out: Tensor, x: Tensor, linears: Sequence[LoraLinear]) -> list[Tensor | None]:
    """Gradients of the adapters.

    Args:
        grad_out: [T, sum of O].
        x: [T, I], the common input.
        linears: As in the forward pass.

    Returns:
        dA, dB of each linear in turn, in the format of A and B; None for one without an adapter.
    """
    parts = grad_out.split([linear.weight.shape[0] for linear in linears], dim=1)
    pairs = [
        (linear.lora_a.to(x.dtype), linear.lora_b.to(x.dtype), linear.scale, part)
        for linear, part in zip(linears, parts, strict=True)
        if linear.lora_a is not None and linear.lora_b is not None
    ]
    if not pairs:
        return [None, None] * len(linears)
    # Tall and thin products: with the thin factor on the left, and for all adapters at once where they share the
    # other factor, they run several times faster on a CPU.
    ranks = [a.shape[0] for a, _, _, _ in pairs]
    xa_RT = torch.cat([a for a, _, _, _ in pairs]) @ x.t()
    gb_RT = x.new_empty(sum(ranks), x.shape[0])
    for (_, b, scale, part), rows in zip(pairs, gb_RT.split(ranks), strict=True):
        torch.mm(b.t(), part.t(), out=rows).mul_(scale)
    grad_a = (gb_RT @ x).split(ranks)
    grad_b = [(xa @ part).mul_(scale).t() for (_, _, scale, part), xa in zip(pairs, xa_RT.split(ranks), strict=True)]
    made = iter(zip(grad_a, grad_b, strict=True))
    grads: list[Tensor | None] = []
    for linear in linears:
        if linear.lora_a is None or linear.lora_b is None:
            grads += [None, None]
        else:
            of_a, of_b = next(made)
            grads += [of_a.to(linear.lora_a.dtype), of_b.to(linear.lora_b.dtype)]
    return grads


def add_gradients(total: list[Tensor | None], more: list[Tensor | None]) -> list[Tensor | None]:
    """The sums of two results of `adapter_gradients`; `total` may still be empty."""
    if not total:
        return more
    return [a if a is None or b is None else a.add_(b) for a, b in zip(total, more, strict=True)]


def slices(num_rows: int, size: int) -> list[slice]:
    """Consecutive slices of at most `size` rows."""
    return [slice(start, min(start + size, num_rows)) for start in range(0, num_rows, size)]
