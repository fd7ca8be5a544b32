"""The network of a bottleneck adapter, and the parts of a decoder layer that it stands behind."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers.activations import ACT2FN

from weitiao.errors import ModelError


class Bottleneck(nn.Module):
    """`x + up(activation(down(x)))` for x [..., D]; at first `x`, because `up` begins at zero."""

    def __init__(self, width: int, size: int, activation: str) -> None:
        super().__init__()
        self.down = nn.Linear(width, size)
        self.up = nn.Linear(size, width)
        self.activation = ACT2FN[activation]
        self.hook: RemovableHandle | None = None  # by which it stands behind its part
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.up(self.activation(self.down(x.to(self.down.weight.dtype))))
        return x + made.to(x.dtype)


def through(adapter: Bottleneck) -> Any:
    """A hook that sends the output of a part through an adapter; of several outputs the first, the hidden states."""

    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        return (adapter(output[0]), *output[1:]) if isinstance(output, tuple) else adapter(output)

    return hook


def parts(layer: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The attention of a decoder layer, and the last of its other parts that has weights of two dimensions."""
    children = [one for one in layer.children() if any(p.dim() > 1 for p in one.parameters())]
    attention = [one for one in children if "attention" in type(one).__name__.lower()]
    others = [one for one in children if one not in attention]
    if len(attention) != 1 or not others:
        raise ModelError(
            f"{type(layer).__name__} is not one attention and one feed-forward part.", "Choose another method, lora."
        )
    return attention[0], others[-1]
