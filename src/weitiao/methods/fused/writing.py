"""A Llama-style layer while answers are written: few tokens at once, and no gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from weitiao.methods.fused.blocks import Norm
from weitiao.methods.fused.parts import rms_forward, rms_scale, rotate_

Layers = tuple[nn.Module, ...]
"""Linear layers, whatever is put on them."""


def written(
    x_TD: Tensor,
    norms: tuple[Norm, Norm],
    qkv_out: Layers,
    gate_up_down: Layers,
    rotation: tuple[Tensor, Tensor],
    attend: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Tensor:
    """Both halves of a layer.

    Args:
        x_TD: Its input; gradients are off.
        norms: Before attention and before the MLP.
        qkv_out: Query, key, value and output.
        gate_up_down: Of the MLP.
        rotation: Cosine and sine [T, 1, D / 2] of heads of width D.
        attend: Attention [H, T, D] of query [H, T, D] and key, value [K, T, D], rotated.
    """
    *qkv, out = qkv_out
    gate, up, down = gate_up_down
    normed = _normed(x_TD, norms[0])
    query, key, value = (layer(normed).unflatten(1, (-1, 2 * rotation[0].shape[2])) for layer in qkv)
    for turned in (query, key):
        rotate_(turned, *rotation)
    attended = attend(*(one.transpose(0, 1) for one in (query, key, value)))
    x_TD = x_TD + out(attended.transpose(0, 1).flatten(1))
    normed = _normed(x_TD, norms[1])
    made: Tensor = x_TD + down(F.silu(gate(normed)).mul_(up(normed)))
    return made


def _normed(x_TD: Tensor, norm: Norm) -> Tensor:
    return rms_forward(x_TD, rms_scale(x_TD, norm.eps), norm.weight)
