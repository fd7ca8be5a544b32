"""Linear layers whose weights are laid out once as the CPU's kernels read them, for models that only answer.

PyTorch's own product in float32 takes a weight as it lies. oneDNN's, on a weight that was laid out for it before, took
0.4 of the time for 1 to 256 tokens (AMD EPYC Zen 5, one core, 576 by 1536), and 0.65 to 0.85 for 16 and more where
both had AVX2 alone. It is the operator that `torch.compile` puts in the place of linear layers when weights are frozen.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weitiao.models.asking import attention_function
from weitiao.models.host_weights import keeps_on_host
from weitiao.models.parts import causal_model, evaluating, is_of_peft
from weitiao.models.products import is_linear

_WRAPPERS = (("peft.tuners.tuners_utils", "BaseTunerLayer"), ("peft.utils.other", "AuxiliaryTrainingWrapper"))
_ROWS = 16
"""Tokens that the layout is made for. Others run as fast with it; one made for a single token takes twice the time."""


class PackedLinear(nn.Module):
    """A linear layer without gradients: [..., I] to [..., O], in float32 on a CPU. It keeps no plain weight.

    Args:
        weight: [O, I].
        bias: [O], or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self._weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _ROWS)
        self._bias = None if bias is None else bias.detach()

    @property
    def weight(self) -> Tensor:
        """The plain weight, made anew: some models ask for its format before they call the layer."""
        return self._weight.to_dense()

    def forward(self, x: Tensor) -> Tensor:
        rows = x.numel() // self.in_features
        if rows <= _ROWS or not rows % _ROWS:
            return self._product(x)
        # oneDNN keeps a kernel for every number of rows: 1,400 requests of all lengths took 600 MiB of them
        filled = F.pad(x.reshape(rows, -1), (0, 0, 0, -rows % _ROWS))
        return self._product(filled)[:rows].view(*x.shape[:-1], -1)

    def _product(self, x: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return out


Place = tuple[nn.Module, str, nn.Module]
"""A module, the name of a part of it, and that part."""


def plain_linear(layer: nn.Module) -> tuple[Tensor, Tensor | None] | None:
    """The weight and the bias of a linear layer that is nothing more; None of any other."""
    return (layer.weight, layer.bias) if is_linear(layer) else None


def can_pack(model: nn.Module) -> bool:
    """Whether there is such a layout here: on an x86 CPU, for float32 that lies in memory."""
    causal = causal_model(model)
    return (
        torch.backends.mkldnn.is_available()
        and platform.machine() in ("x86_64", "AMD64")
        and causal.device.type == "cpu"
        and causal.dtype == torch.float32
        and not keeps_on_host(model)
    )


@torch.no_grad()
def packed_linears(
    model: nn.Module, read: Callable[[nn.Module], tuple[Tensor, Tensor | None] | None] = plain_linear
) -> list[tuple[Place, PackedLinear]]:
    """Packed layers for the linear layers of a model, and where they may stand while it learns nothing.

    Only for those that are run as layers: some models read the weight of one and multiply by themselves.

    Args:
        model: A causal language model for which `can_pack` says so, possibly with an adapter of PEFT.
        read: The weight and the bias of a layer, where it is linear. Other layers of PEFT are left as they are, with
            all that is in them.
    """
    called: set[nn.Module] = set()
    places = list(_places(model))
    handles = [layer.register_forward_pre_hook(lambda module, _: called.add(module)) for _, _, layer in places]
    try:
        with evaluating(model), attention_function(model, "eager"):
            model(input_ids=torch.arange(3)[None], use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    made: dict[nn.Module, PackedLinear] = {}
    for _, _, layer in places:
        if layer in called and layer not in made and (found := read(layer)) is not None:
            made[layer] = PackedLinear(*found)
    return [(place, made[place[2]]) for place in places if place[2] in made]


def _places(parent: nn.Module) -> Iterator[Place]:
    """All parts of a module, but for the insides of PEFT's."""
    for name, child in parent.named_children():
        yield parent, name, child
        if not any(is_of_peft(child, *kind) for kind in _WRAPPERS):
            yield from _places(child)
