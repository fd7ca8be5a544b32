"""What the backward pass needs, kept in the host's memory or on the disk until it is needed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from weitiao.errors import RecipeError

_LEAST_BYTES = 2**14
"""Smaller tensors stay where they are: together they are little, and each costs a call."""

Restore = Callable[[], Tensor]
Keep = Callable[[Tensor], Restore]


def offloading(
    where: Literal["memory", "disk"] | None, model: nn.Module, device: torch.device, directory: Path
) -> Callable[[], AbstractContextManager[Any]]:
    """What to put around every forward pass, so that its activations wait elsewhere for the backward pass.

    Args:
        where: The setting `train.offload_activations`.
        model: Its weights, which the backward pass needs too, stay where they are.
        device: On which the model is.
        directory: On the disk that they go to. Files there have no name, so none is left when the process is killed.

    Raises:
        RecipeError: They are to go to the memory of the host, which is where they are.
    """
    if where is None:
        return nullcontext
    if where == "memory" and device.type == "cpu":
        raise RecipeError(
            "train.offload_activations: on a CPU the activations are in the host's memory already.",
            "Set it to disk, or leave it out; train.checkpointing keeps fewer of them.",
        )
    return elsewhere(model, lambda: _in_memory if where == "memory" else _File(directory).keep)


def elsewhere(model: nn.Module, place: Callable[[], Keep]) -> Callable[[], AbstractContextManager[Any]]:
    """What to put around every forward pass, so that its activations are kept in some way of one's own.

    Args:
        model: Its weights stay where they are.
        place: Makes, for each forward pass, what keeps a tensor and returns how it comes back.
    """
    weights = {one.untyped_storage()._cdata for one in (*model.parameters(), *model.buffers())}

    def around() -> AbstractContextManager[Any]:
        keep = place()

        def pack(tensor: Tensor) -> Tensor | Restore:
            stays = tensor.nbytes < _LEAST_BYTES or tensor.untyped_storage()._cdata in weights
            return tensor if stays else keep(tensor)

        return saved_tensors_hooks(pack, lambda kept: kept if isinstance(kept, Tensor) else kept())

    return around


def _copy(tensor: Tensor) -> Tensor:
    """On the host, with the strides of the original where it has no gaps, so that products round alike."""
    return torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda, requires_grad=False).copy_(tensor)


def _in_memory(tensor: Tensor) -> Restore:
    return partial(_copy(tensor.detach()).to, tensor.device, non_blocking=True)


class _File:
    """The activations of one forward pass, one behind the other in a file that goes with the last of them."""

    def __init__(self, directory: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 (it lives as long as we do)
        self._end = 0

    def keep(self, tensor: Tensor) -> Restore:
        copy = _copy(tensor.detach())
        place, self._end = self._end, self._end + copy.nbytes
        rest = _bytes(copy)
        while rest:
            rest = rest[os.pwrite(self._file.fileno(), rest, self._end - len(rest)) :]
        return partial(self._read, place, copy.shape, copy.stride(), copy.dtype, tensor.device)

    def _read(
        self, place: int, shape: torch.Size, stride: tuple[int, ...], dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        tensor = torch.empty_strided(shape, stride, dtype=dtype)
        rest = _bytes(tensor)
        while rest:
            count = os.preadv(self._file.fileno(), [rest], place)
            assert count, "the file ends before the tensor does"
            rest, place = rest[count:], place + count
        return tensor.to(device)


def _bytes(dense: Tensor) -> memoryview:
    """All bytes of a tensor without gaps, in the order of the memory."""
    array: Any = dense.as_strided((dense.numel(),), (1,)).view(torch.uint8).numpy()
    return memoryview(array)
