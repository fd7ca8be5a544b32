"""The loss on held-out data, the same number however it is batched; and the scores of answers to it."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Rows
from dataclasses import dataclass

import torch
from torch import nn

from weitiao.forest.plan import pack
from weitiao.models.losses import token_losses
from weitiao.rendering.sequence import Sequence
from weitiao.training.sequence_losses import MeanLoss, SequenceLoss, mean_loss, sequence_losses


@dataclass(frozen=True, slots=True)
class AnswerValidation:
    """Lets the model answer held-out rows.

    Attributes:
        primary: The metric that `train.best_by: metric` goes by.
        scores: From a model with forest attention to the value of every metric by its name.
    """

    primary: str
    scores: Callable[[nn.Module], dict[str, float]]


def validation_loss(
    model: nn.Module, sequences: Rows[Sequence], *, token_budget: int, share_prefixes: bool
) -> MeanLoss:
    """The mean of `validation_losses` per unit of weight."""
    return mean_loss(validation_losses(model, sequences, token_budget=token_budget, share_prefixes=share_prefixes))


def validation_losses(
    model: nn.Module, sequences: Rows[Sequence], *, token_budget: int, share_prefixes: bool
) -> list[SequenceLoss]:
    """Loss of a model on each of some sequences, without gradient and dropout.

    Args:
        model: A causal language model with forest attention.
        sequences: At least one.
        token_budget: Tokens computed at once.
        share_prefixes: Compute shared beginnings once; the result is the same.
    """
    learning = model.training
    model.eval()
    losses: list[SequenceLoss] = []
    try:
        with torch.no_grad():
            for forest in pack(sequences, token_budget=token_budget, share_prefixes=share_prefixes):
                losses_N, weights_N = token_losses(model, forest)
                sequences_N = torch.from_numpy(forest.targets.sequences).to(losses_N.device)
                sums_S = losses_N.new_zeros(len(forest.row_ids), dtype=torch.float64)
                sums_S.index_add_(0, sequences_N, losses_N.double() * weights_N.double())
                losses += sequence_losses(forest, sums_S)
    finally:
        model.train(learning)
    return losses
