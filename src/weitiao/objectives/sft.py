"""Supervised fine-tuning: cross-entropy of the tokens that carry a loss weight."""

from __future__ import annotations

from weitiao.forest.layout import Forest
from weitiao.models.losses import token_losses
from weitiao.objectives.objective import Losses, Objective, sum_per_item


class Sft(Objective):
    """The objective `sft`."""

    def forward(self, forest: Forest) -> Losses:
        losses_N, weights_N = token_losses(self.model, forest, self.kept)
        per_item = sum_per_item(losses_N.double() * weights_N.double(), forest)
        return Losses((losses_N * weights_N).sum(), per_item)
