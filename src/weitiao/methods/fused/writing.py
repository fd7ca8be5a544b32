"""The attention of a layer while answers are written: few tokens at once, and no gradients."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from weitiao.methods.fused.forms import Pair
from weitiao.methods.fused.parts import normed, rotate_, scale_of


def added(x_TD: Tensor, inner: Callable[[Tensor], Tensor], norms: Pair) -> Tensor:
    """`x + after(inner(before(x)))`, with the norms before and after, where there are some."""
    before, after = norms
    y_TD = inner(normed(x_TD, scale_of(x_TD, before), before))
    return x_TD + normed(y_TD, scale_of(y_TD, after), after)


def attended(
    x_TD: Tensor,
    qkv_out: tuple[nn.Module, ...],
    norms: Pair,
    rotation: tuple[Tensor, Tensor],
    attend: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Tensor:
    """What attention gives.

    Args:
        x_TD: What it reads; gradients are off.
        qkv_out: Query, key, value and output, whatever is put on them.
        norms: Of queries and keys.
        rotation: Cosine and sine [T, 1, D / 2] of heads of width D.
        attend: Attention [H, T, D] of query [H, T, D] and key, value [K, T, D], rotated.
    """
    *qkv, out = qkv_out
    query, key, value = (layer(x_TD) for layer in qkv)
    width = 2 * rotation[0].shape[2]
    turned = []
    for part, norm in zip((query, key), norms, strict=True):
        wide = part if norm is None else part.unflatten(1, (-1, len(norm.weight)))
        heads = normed(wide, scale_of(wide, norm), norm).flatten(1).unflatten(1, (-1, width))
        rotate_(heads, *rotation)
        turned.append(heads)
    seen = attend(*(one.transpose(0, 1) for one in (*turned, value.unflatten(1, (-1, width)))))
    made: Tensor = out(seen.transpose(0, 1).flatten(1))
    return made
