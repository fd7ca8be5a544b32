"""The loss on held-out data, the same number however it is batched; and the scores of answers to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from weitiao.forest.plan import pack
from weitiao.models.parts import evaluating
from weitiao.objectives.objective import Objective
from weitiao.rendering.items import Item
from weitiao.training.item_losses import ItemLoss, item_losses


@dataclass(frozen=True, slots=True)
class AnswerValidation:
    """Lets the model answer held-out rows.

    Attributes:
        primary: The metric that `train.best_by: metric` goes by.
        scores: From a model with forest attention to the value of every metric by its name.
    """

    primary: str
    scores: Callable[[nn.Module], dict[str, float]]


def validation_losses(
    objective: Objective, items: Sequence[Item], *, token_budget: int, share_prefixes: bool
) -> list[ItemLoss]:
    """The loss of each item, without gradient and dropout.

    Args:
        objective: Around a causal language model with forest attention.
        items: At least one.
        token_budget: Tokens computed at once.
        share_prefixes: Compute shared beginnings once; the result is the same.
    """
    losses: list[ItemLoss] = []
    with evaluating(objective), torch.no_grad():
        for forest in pack(items, token_budget=token_budget, share_prefixes=share_prefixes):
            losses += item_losses(forest, objective(forest).per_item, objective.weights(forest))
    return losses
