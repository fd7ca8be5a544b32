"""A model that computes in float32 for a while, whatever the format of its weights: to tell a mistake from rounding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from weitiao.models.host_weights import keeps_on_host
from weitiao.models.parts import causal_model, layer_list


@contextmanager
def in_float32(model: nn.Module) -> Iterator[bool]:
    """Inside the block, forward passes without a gradient compute in float32; what is quantised stays so.

    Weights outside the decoder layers are there in both formats meanwhile, those of a layer while it runs.

    Args:
        model: A causal language model, possibly with a PEFT adapter.

    Yields:
        Whether it does so: not where the weights are in float32 anyway, or stay outside of the device.
    """
    if causal_model(model).dtype == torch.float32 or keeps_on_host(model):
        yield False
        return
    layers = list(layer_list(model))
    inside = {id(tensor) for layer in layers for tensor in _tensors(layer)}
    with ExitStack() as stack:
        outside = _cast(one for one in _tensors(model) if id(one) not in inside)
        stack.callback(_put_back, outside)
        for module in model.modules():
            if _is_short(dtype := getattr(module, "compute_dtype", None)):  # layers whose weights are quantised
                stack.callback(setattr, module, "compute_dtype", dtype)
                module.compute_dtype = torch.float32  # type: ignore[assignment]
        for layer in layers:
            _cast_while_running(layer, stack)
        yield True


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
