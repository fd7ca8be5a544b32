"""RMSNorm and rotary positions, forward and backward, as plain functions without autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from weitiao.methods.fused.forms import Norm


def scale_of(x: Tensor, norm: Norm | None) -> Tensor | None:
    """`rms_scale` of x [..., D]; None without a norm."""
    return None if norm is None else rms_scale(x, norm.eps)


def normed(x: Tensor, scale: Tensor | None, norm: Norm | None) -> Tensor:
    """Normalised x [..., D], given `scale_of(x, norm)`; x itself without a norm."""
    return x if norm is None or scale is None else rms_forward(x, scale, norm.weight)


def normed_backward(grad: Tensor, x: Tensor, scale: Tensor | None, norm: Norm | None) -> Tensor:
    """Gradient with regard to x in float32 of `normed`, where `grad` is used up; `grad` itself without a norm."""
    return grad if norm is None or scale is None else rms_backward(grad, x, scale, norm.weight)


def rms_scale(x: Tensor, eps: float) -> Tensor:
    """`1 / rms(x)` per token: [..., 1] in float32 of x [..., D] (RMSNorm, https://arxiv.org/abs/1910.07467, eq. 4)."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()


def rms_forward(x: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    """Normalised x [T, D], given `rms_scale(x)` [T, 1] and the gain [D]."""
    return (x * scale).mul_(weight).to(x.dtype)


def rms_backward(grad: Tensor, x: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    """Gradient with regard to x in float32; `grad` [T, D] is used up, and in float32 becomes the result."""
    grad = grad.to(scale.dtype).mul_(weight)
    xs = x * scale
    mean = torch.linalg.vecdot(grad, xs).unsqueeze_(-1).div_(x.shape[-1])
    return grad.addcmul_(xs, mean, value=-1).mul_(scale)


def rotate_(x: Tensor, cos: Tensor, sin: Tensor, *, backward: bool = False) -> None:
    """Rotate heads in place (RoPE, https://arxiv.org/abs/2104.09864, eq. 34, halves instead of pairs).

    Args:
        x: [T, heads, D].
        cos, sin: [T, 1, D / 2].
        backward: Apply the transposed rotation, which is the gradient of the forward one.
    """
    first, second = x.chunk(2, dim=-1)
    sign = -1 if backward else 1
    old = first.clone()
    first.mul_(cos).addcmul_(second, sin, value=-sign)
    second.mul_(cos).addcmul_(old, sin, value=sign)
