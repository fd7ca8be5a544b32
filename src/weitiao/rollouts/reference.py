"""The model that a training began with: its weights, put in for a moment in the place of those that have learned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from weitiao.files import in_one_step
from weitiao.training.engine import learned_parameters, weights_of


class Reference:
    """What a model was before its first step.

    Args:
        model: With what learns, before the first step or later.
        path: Where the weights that learn are kept as they were: a run that goes on has others.
        first: Whether this is before the first step; on the process that writes.
    """

    def __init__(self, model: nn.Module, path: Path, *, first: bool) -> None:
        self._model = model
        if first:
            path.parent.mkdir(parents=True, exist_ok=True)
            with in_one_step(path) as beside:
                save_file(weights_of(model), beside)
        self._weights: dict[str, Tensor] = load_file(path)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the block the model is what it was; afterwards it is what it has become, bit for bit."""
        now = {name: parameter.detach().clone() for name, parameter in learned_parameters(self._model).items()}
        self._put(self._weights)
        try:
            yield
        finally:
            self._put(now)

    @torch.no_grad()
    def _put(self, weights: dict[str, Tensor]) -> None:
        for name, parameter in learned_parameters(self._model).items():
            parameter.copy_(weights[name])
