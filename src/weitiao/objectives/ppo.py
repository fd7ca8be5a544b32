"""Proximal policy optimisation with a value head on the model's own final states."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from weitiao.forest.layout import Forest
from weitiao.models.parts import causal_model
from weitiao.objectives.policy import Policy, PolicySettings


class ValueSettings(PolicySettings, Protocol):
    """What the loss depends on; the settings of `PpoConfig`."""

    value_weight: float
    value_clip: float | None


def value_loss(values_N: Tensor, old_N: Tensor, returns_N: Tensor, clip: float | None) -> Tensor:
    """Half of the squared error of values; clipped, the larger of those with and without the clip.

    The clip (https://arxiv.org/abs/2403.17031, detail 20; https://arxiv.org/abs/2005.12729 found no gain by it) holds a
    value near to what it was when the answer was written.
    """
    errors_N = (values_N - returns_N).square()
    if clip is not None:
        kept_N = old_N + (values_N - old_N).clamp(-clip, clip)
        errors_N = torch.maximum(errors_N, (kept_N - returns_N).square())
    return errors_N / 2


class Ppo(Policy):
    """The objective `ppo`: the policy loss of https://arxiv.org/abs/1707.06347, and values that learn beside it.

    The value before a token is a linear function of the state that predicts it, so policy and values share all layers;
    it begins as zero. Further columns: `old_value`, `return`.
    """

    settings: ValueSettings

    def __init__(self, model: nn.Module, settings: ValueSettings) -> None:
        super().__init__(model, settings)
        self.value_head = nn.Linear(causal_model(model).get_output_embeddings().weight.shape[1], 1)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)

    def measured(self, forest: Forest, hidden_ND: Tensor) -> dict[str, Tensor]:
        return super().measured(forest, hidden_ND) | {"value": self._values(hidden_ND)}

    def losses(self, forest: Forest, hidden_ND: Tensor, logprobs_N: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        losses_N, numbers = super().losses(forest, hidden_ND, logprobs_N)
        columns, values_N = self.columns(forest), self._values(hidden_ND)
        errors_N = value_loss(values_N, columns["old_value"], columns["return"], self.settings.value_clip)
        numbers |= {"value": values_N, "return": columns["return"], "value_loss": errors_N}
        return losses_N + self.settings.value_weight * errors_N, numbers

    def _values(self, hidden_ND: Tensor) -> Tensor:
        values_N: Tensor = self.value_head(hidden_ND.float()).squeeze(1)
        return values_N
