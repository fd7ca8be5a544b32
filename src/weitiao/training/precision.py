"""In which number format a training computes, where that is not the format of the weights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from weitiao.errors import RecipeError
from weitiao.machine.products import product_speeds
from weitiao.training.config import PrecisionName
from weitiao.training.optimizer import InBackward, OptimizerConfig


class Precision:
    """Automatic mixed precision: float32 weights, products in a shorter format (https://arxiv.org/abs/1710.03740).

    In float16, gradients below 6e-8 would be zero, so the loss is multiplied by a power of two that is halved whenever
    a gradient overflows (that step is not made) and doubled after 2,000 steps without.

    Args:
        name: The setting `train.precision`; `auto` is `weights`, until a recipe says for which method and device.
        device: Of the model.
    """

    def __init__(self, name: PrecisionName, device: torch.device) -> None:
        self._device = device.type
        self._dtype: torch.dtype | None = None if name in ("auto", "weights") else getattr(torch, name)
        self._scaler = torch.amp.GradScaler(device.type) if name == "float16" else None

    def computing(self) -> AbstractContextManager[Any]:
        """Around a forward pass."""
        return nullcontext() if self._dtype is None else torch.autocast(self._device, self._dtype)

    def scaled(self, loss: Tensor) -> Tensor:
        """The loss whose gradients are in the range of the format."""
        return loss if self._scaler is None else self._scaler.scale(loss)

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Bring the gradients back to those of the loss, once a step."""
        if self._scaler is not None:
            self._scaler.unscale_(optimizer)

    @property
    def may_overflow(self) -> bool:
        """Whether a gradient that is not finite may be due to the scale, so that the next one is smaller."""
        return self._scaler is not None and self._scaler.get_scale() > 1

    def step(self, optimizer: torch.optim.Optimizer, plain: Callable[[], None]) -> None:
        """Step the optimiser, unless a gradient overflowed.

        Args:
            optimizer: That of `unscale`.
            plain: Steps it where no loss is scaled.
        """
        if self._scaler is None:
            plain()
        else:
            self._scaler.step(optimizer)
            self._scaler.update()

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint has to hold."""
        values = {} if self._scaler is None else self._scaler.state_dict()
        return {name: torch.tensor(value) for name, value in values.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on where `state` was."""
        if self._scaler is not None and state:
            self._scaler.load_state_dict({name: value.item() for name, value in state.items()})


def require_precision(name: PrecisionName, dtype: str, device: str, optimizer: OptimizerConfig) -> None:
    """Refuse a format in which products are slower here than in float32, and float16 where it cannot be learned in.

    Args:
        name: The setting `train.precision`.
        dtype: The setting `model.dtype`.
        device: `cpu` or `cuda`.
        optimizer: The section.

    Raises:
        RecipeError: As said, or the weights are to be in a short format themselves.
    """
    if name in ("auto", "weights"):
        return
    if dtype not in ("auto", "float32"):
        raise RecipeError(
            f"train.precision: {name} computes beside weights in float32, and model.dtype is {dtype}.",
            "Leave one of the two out.",
        )
    if name == "float16" and (device == "cpu" or isinstance(optimizer, InBackward)):
        why = "on a CPU" if device == "cpu" else f"with {optimizer.type}"
        raise RecipeError(
            f"train.precision: float16 cannot be used {why}: the loss has to be scaled.",
            "Set train.precision to bfloat16, which needs no scale, or leave it out.",
        )
    if line := slower(name, device):
        raise RecipeError(
            f"train.precision: {line}.",
            "Leave it out. Memory is saved by train.checkpointing, train.offload_activations or a lower token_budget.",
        )


def slower(name: str, device: str) -> str | None:
    """That a format is slower here than float32, with both figures; None where it is not."""
    speeds = product_speeds(device)
    if speeds[name] >= speeds["float32"]:
        return None
    return (
        f"products in {name} run at {speeds[name]:,.1f} GFLOP/s on this {device.upper()}, in float32 at "
        f"{speeds['float32']:,.1f} (measured once; `weitiao doctor` shows it)"
    )
