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


@dataclass(frozen=True, slots=True)
class ValidationLoss:
    """Mean loss per unit of weight.

    Attributes:
        loss: Weighted mean over all targets, in nats.
        num_targets: Targets it was taken over.
        num_sequences: Sequences they belong to.
    """

    loss: float
    num_targets: int
    num_sequences: int


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
) -> ValidationLoss:
    """Loss of a model on sequences, without gradient and dropout.

    Args:
        model: A causal language model with forest attention.
        sequences: At least one.
        token_budget: Tokens computed at once.
        share_prefixes: Compute shared beginnings once; the result is the same.
    """
    learning = model.training
    model.eval()
    total, weight, num_targets = 0.0, 0.0, 0
    with torch.no_grad():
        for forest in pack(sequences, token_budget=token_budget, share_prefixes=share_prefixes):
            losses_N, weights_N = token_losses(model, forest)
            total += float((losses_N.double() * weights_N.double()).sum())
            weight += float(weights_N.double().sum())
            num_targets += len(weights_N)
    model.train(learning)
    return ValidationLoss(total / weight, num_targets, len(sequences))
