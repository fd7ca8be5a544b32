"""A model that computes in float32 for a while, whatever the format of its weights: to tell a mistake from rounding."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weitiao.models.host_weights import keeps_on_host
from weitiao.models.parts import causal_model, layer_list


@contextmanager
def in_float32(model: nn.Module) -> Iterator[bool]:
    """Inside the block, forward passes without a gradient compute in float32; weights that are rounded stay so, and
    inputs that would be (LLM.int8()) do not.

    Weights outside the decoder layers are there in both formats meanwhile, those of a layer while it runs.

    Args:
        model: A causal language model, possibly with a PEFT adapter.

    Yields:
        Whether it does so: not where it does anyway, or weights stay outside of the device.
    """
    rounding = input_rounding(model)
    if (causal_model(model).dtype == torch.float32 and not rounding) or keeps_on_host(model):
        yield False
        return
    layers = list(layer_list(model))
    inside = {id(tensor) for layer in layers for tensor in _tensors(layer)}
    with ExitStack() as stack:
        for linear in rounding:
            stack.callback(linear.register_forward_hook(_without_rounding).remove)
        outside = _cast(one for one in _tensors(model) if id(one) not in inside)
        stack.callback(_put_back, outside)
        for module in model.modules():
            if _is_short(dtype := getattr(module, "compute_dtype", None)):  # layers whose weights are quantised
                stack.callback(setattr, module, "compute_dtype", dtype)
                module.compute_dtype = torch.float32  # type: ignore[assignment]
        for layer in layers:
            _cast_while_running(layer, stack)
        yield True


def input_rounding(model: nn.Module) -> list[nn.Module]:
    """The linear layers of a model in eight bits that round their inputs, each token for itself.

    What is rounded is no longer near because it was: two ways of computing the same may end as far apart as the rounded
    model is from the exact one. Layers with a threshold for outliers are not among them: there tokens that are computed
    together change each other, which a comparison has to show.
    """
    return [one for one in _in_eight_bits(model) if not one.state.threshold]


def has_outliers(model: nn.Module) -> bool:
    """Whether columns of some layers in eight bits are exact or not, depending on all tokens of a call."""
    return any(one.state.threshold for one in _in_eight_bits(model))


def _in_eight_bits(model: nn.Module) -> list[Any]:
    imported = sys.modules.get("bitsandbytes.nn")  # whoever has such a layer has imported it
    return [] if imported is None else [one for one in model.modules() if isinstance(one, imported.Linear8bitLt)]


def _without_rounding(layer: Any, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
    """What such a layer gives for its inputs as they are: its weight is known once it has been called."""
    (x,) = given
    weight = layer.state.CB.to(x.dtype) * (layer.state.SCB.to(x.dtype) / 127).unsqueeze(1)
    return F.linear(x, weight, layer.bias)


def _cast_while_running(layer: nn.Module, stack: ExitStack) -> None:
    kept: list[tuple[Tensor, Tensor]] = []

    def begin(module: nn.Module, given: Any) -> None:
        kept.extend(_cast(_tensors(module)))

    def end(module: nn.Module, given: Any, out: Any) -> None:
        _put_back(kept)
        kept.clear()

    stack.callback(_put_back, kept)  # when the call broke off
    stack.callback(layer.register_forward_hook(end, always_call=True).remove)
    stack.callback(layer.register_forward_pre_hook(begin).remove)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers in a short format, each once."""
    for tensor in (*module.parameters(), *module.buffers()):
        if _is_short(tensor.dtype):
            yield tensor


def _is_short(dtype: Any) -> bool:
    return dtype in (torch.bfloat16, torch.float16)


def _cast(tensors: Iterator[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Put float32 into tensors; each with what was in it."""
    found = [(tensor, tensor.data) for tensor in tensors]
    for tensor, data in found:
        tensor.data = data.float()
    return found


def _put_back(found: list[tuple[Tensor, Tensor]]) -> None:
    for tensor, data in found:
        tensor.data = data
