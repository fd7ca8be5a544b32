"""Linear layers whose weights are laid out once as the CPU's kernels read them, for models that only answer.

PyTorch's own product in float32 takes a weight as it lies. oneDNN's, on a weight that was laid out for it before, took
0.4 of the time for 1 to 256 tokens (AMD EPYC Zen 5, one core, 576 by 1536). It is the operator that `torch.compile`
puts in the place of linear layers when weights are frozen.
"""

from __future__ import annotations

import platform

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weitiao.models.asking import attention_function
from weitiao.models.host_weights import keeps_on_host
from weitiao.models.parts import causal_model, evaluating

_ROWS = 16
"""Tokens that the layout is made for. Others run as fast with it; one made for a single token takes twice the time."""


class PackedLinear(nn.Module):
    """A linear layer without gradients: [..., I] to [..., O], in float32 on a CPU. It keeps no plain weight.

    Args:
        linear: Its weight and bias are taken.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)
        self._bias = None if linear.bias is None else linear.bias.detach()

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
def pack_linears(model: nn.Module) -> int:
    """Put packed layers in the place of the linear layers of a model that will learn no more.

    Only those that are run as layers: some models read the weight of one and multiply by themselves.

    Args:
        model: A causal language model for which `can_pack` says so.

    Returns:
        How many were replaced.
    """
    called: set[nn.Module] = set()
    plain = [module for module in model.modules() if type(module) is nn.Linear]
    handles = [module.register_forward_pre_hook(lambda module, _: called.add(module)) for module in plain]
    with evaluating(model), attention_function(model, "eager"):
        model(input_ids=torch.arange(3)[None], use_cache=False)
    for handle in handles:
        handle.remove()
    made = {linear: PackedLinear(linear) for linear in plain if linear in called}
    for parent in model.modules():
        for name, child in parent.named_children():
            if child in made:
                setattr(parent, name, made[child])
    return len(made)
