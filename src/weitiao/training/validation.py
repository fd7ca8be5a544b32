"""The loss on held-out data, the same number however it is batched; and the scores of answers to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from weitiao.forest.plan import pack
from weitiao.models.parts import evaluating
from weitiao.objectives.objective import Losses, Objective
from weitiao.rendering.items import Item
from weitiao.training.item_losses import ItemLoss, item_losses


@dataclass(frozen=True, slots=True)
class ValidationLosses:
    """What an objective says of held-out items.

    Attributes:
        items: The loss of each.
        sums: Its further metrics by name, added up over the items.
    """

    items: list[ItemLoss] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)


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
) -> ValidationLosses:
    """The loss of each item, and the sums of further metrics, without gradient and dropout.

    Args:
        objective: Around a causal language model with forest attention.
        items: At least one.
        token_budget: Tokens computed at once.
        share_prefixes: Compute shared beginnings once; the result is the same.
    """
    found = ValidationLosses()
    with evaluating(objective), torch.no_grad():
        for forest in pack(items, token_budget=token_budget, share_prefixes=share_prefixes):
            losses: Losses = objective(forest)
            found.items.extend(item_losses(forest, losses.per_item, objective.weights(forest)))
            for name, value in losses.metrics.items():
                found.sums[name] = found.sums.get(name, 0.0) + float(value)
    return found
