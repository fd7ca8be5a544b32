"""Supervised fine-tuning: cross-entropy of the tokens that carry a loss weight."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from weitiao.forest.layout import Forest
from weitiao.models.losses import token_losses


class LossSum(NamedTuple):
    """What a forest contributes to the loss of an optimiser step.

    Attributes:
        total: Sum of weight times loss over all targets, a scalar with gradient. The loop divides it by the weight of
            the whole step, so that how a step is cut into forests does not change it.
        per_sequence: The same sum for each sequence of the forest, without gradient.
    """

    total: Tensor
    per_sequence: Tensor


class Sft(nn.Module):
    """The objective `sft`; a module, so that Accelerate wraps model and loss together.

    Args:
        model: A causal language model with forest attention, possibly inside PEFT's.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, forest: Forest) -> LossSum:
        """The weighted loss sum of a forest."""
        losses_N, weights_N = token_losses(self.model, forest)
        weighted_N = losses_N * weights_N
        sequences_N = torch.from_numpy(forest.targets.sequences).to(losses_N.device)
        per_sequence = losses_N.new_zeros(len(forest.row_ids)).index_add_(0, sequences_N, weighted_N.detach())
        return LossSum(weighted_N.sum(), per_sequence)
