"""Frozen weights of decoder layers stay in the host's memory, or in their files, and come to the device part by part.

Before a part of a layer runs, attention for instance, its weights are copied to the device; behind it the copies go.
Autograd keeps a weight that it needs for the backward pass, so what is trained has to compute every layer again there
(`checkpoint_layers`): the parts then run once more, their weights come once more, and go with the layer.

Accelerate's hooks do not fit here: parameters are on `meta` meanwhile, where PEFT then puts its adapters too; and what
checkpointing breaks off behind the last tensor it needs stays on the device, the last matrix of every layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from weitiao.errors import ModelError
from weitiao.models.parts import layer_list

_REMEDY = "Use a device with more memory, a smaller model, or leave out parts that learn."


def keep_on_host(model: nn.Module, device: torch.device) -> None:
    """Freeze a model, and put it on a device except for the matrices of its decoder layers.

    Args:
        model: A causal language model, on the host.
        device: On which it is to run.

    Raises:
        ModelError: The device has no room for the rest and one layer.
    """
    model.requires_grad_(False)
    model.host_weights = HostWeights(model, device)  # type: ignore[assignment]
    settle(model)


def settle(model: nn.Module) -> bool:
    """Put what was added to a model, and what learns, on the device that it runs on.

    Args:
        model: Which may be part of something that learns too. Without weights on the host nothing is done.

    Returns:
        Whether weights stay on the host.

    Raises:
        ModelError: The device has no room for it, or all weights learn, so that none could stay.
    """
    if (found := _host_weights(model)) is not None:
        found.settle(model)
    return found is not None


def keeps_on_host(model: nn.Module) -> bool:
    """Whether weights come to the device only for as long as they are needed."""
    return _host_weights(model) is not None


def _host_weights(model: nn.Module) -> HostWeights | None:
    return next((cast(HostWeights, one.host_weights) for one in model.modules() if "host_weights" in vars(one)), None)


def staying(model: nn.Module) -> list[list[nn.Parameter]]:
    """Of every decoder layer, the frozen matrices inside its parts: they are what a layer weighs."""
    return [[one for part in _parts(layer) for one in part.parameters() if _stays(one)] for layer in layer_list(model)]


class HostWeights:
    """Brings the weights of each part of a layer to a device for as long as the part runs.

    Args:
        model: A causal language model.
        device: On which it runs.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._model, self._device = model, torch.empty(0, device=device).device  # with its number
        self._handles: list[RemovableHandle] = []
        self._at_home: dict[nn.Module, list[tuple[nn.Module, str, nn.Parameter]]] = {}

    def settle(self, around: nn.Module) -> None:
        """Put everything else inside `around` on the device; parts that were put around others are brought whole."""
        layers = staying(self._model)
        largest = max(sum(one.nbytes for one in layer) for layer in layers)
        if not largest:
            raise ModelError(
                "model.map_weights: every weight of the decoder layers learns, so none can stay outside of the device.",
                "Leave model.map_weights out, or choose a method that leaves weights frozen (lora).",
            )
        stay = {id(one) for layer in layers for one in layer}
        rest: dict[int, Tensor] = {id(one): one for one in around.parameters() if id(one) not in stay}
        rest |= {id(one): one for one in around.buffers()}
        self._require_room(sum(one.nbytes for one in rest.values() if one.device != self._device), largest)
        for one in rest.values():
            one.data = one.data.to(self._device)
        for handle in self._handles:
            handle.remove()
        parts = [part for layer in layer_list(self._model) for part in _parts(layer)]
        self._handles = [part.register_forward_pre_hook(self._bring) for part in parts]
        # Checkpointing ends a part by an exception, as soon as nothing further is needed.
        self._handles += [part.register_forward_hook(self._let_go, always_call=True) for part in parts]

    def _require_room(self, rest_bytes: int, layer_bytes: int) -> None:
        try:
            torch.empty(rest_bytes + layer_bytes, dtype=torch.uint8, device=self._device)
        except RuntimeError as error:  # of a GPU torch.OutOfMemoryError; the CPU's allocator has no class of its own
            raise ModelError(
                f"model.map_weights: {self._device} has no room for {layer_bytes / 2**30:.2f} GiB of a layer beside "
                f"{rest_bytes / 2**30:.2f} GiB that have to be there: embeddings, head, and what learns.",
                _REMEDY,
            ) from error

    def _bring(self, part: nn.Module, args: Any) -> None:
        held = self._at_home[part] = [
            (owner, name, one)
            for owner in part.modules()
            for name, one in owner._parameters.items()
            if one is not None and _stays(one)
        ]
        for owner, name, one in held:
            there = torch.empty_like(one, device=self._device).copy_(one, non_blocking=True)
            owner._parameters[name] = nn.Parameter(there, requires_grad=False)

    def _let_go(self, part: nn.Module, args: Any, output: Any) -> None:
        for owner, name, one in self._at_home.pop(part, ()):
            owner._parameters[name] = one


def _parts(layer: nn.Module) -> Iterator[nn.Module]:
    """The modules that a layer calls: its children; of a list, which nobody calls, those in it."""
    for child in layer.children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from _parts(child)
        else:
            yield child


def _stays(parameter: nn.Parameter) -> bool:
    """Whether it is a frozen matrix. Vectors are small: to bring them takes longer than they are worth."""
    return parameter.ndim > 1 and not parameter.requires_grad
