"""Which engine a launch gets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from accelerate import Accelerator

from weitiao.errors import RecipeError
from weitiao.objectives.objective import Objective
from weitiao.rendering.items import Item
from weitiao.training.config import TrainConfig
from weitiao.training.engine import Engine
from weitiao.training.lomo import Lomo
from weitiao.training.optimizer import InBackward, LomoConfig, OptimizerConfig
from weitiao.training.precision import Precision


def make_engine(
    config: TrainConfig,
    settings: OptimizerConfig,
    accelerator: Accelerator,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
) -> Engine:
    """The engine of this launch: one that updates in the backward pass for the optimisers that do, else the plain one.

    Args:
        config: The `train` section.
        settings: The `optimizer` section.
        accelerator, objective, optimizer: As for `Engine`.

    Raises:
        RecipeError: Several processes are to update in the backward pass.
    """
    precision = Precision(config.precision, accelerator.device)
    if isinstance(settings, InBackward):
        max_norm = config.max_grad_norm if isinstance(settings, LomoConfig) else None
        return Lomo(accelerator, objective, optimizer, precision, max_norm=max_norm)
    return Engine(accelerator, objective, optimizer, precision)


def least_budget(optimizer: OptimizerConfig, items: Sequence[Item], batch_size: int) -> int:
    """Tokens that have to be computed at once: of the longest item, or of the longest step where it is one portion.

    Args:
        optimizer: The `optimizer` section.
        items: Of the training.
        batch_size: Items in a step.
    """
    lengths = sorted((item.num_tokens for item in items), reverse=True)
    return sum(lengths[: batch_size if isinstance(optimizer, InBackward) else 1])


def require_whole_steps(optimizer: OptimizerConfig, items: Sequence[Item], batch_size: int, budget: int) -> None:
    """Refuse a budget in which a step of LOMO or AdaLOMO might not be one portion: they cannot add gradients up.

    Raises:
        RecipeError: It is too small.
    """
    least = least_budget(optimizer, items, batch_size)
    if isinstance(optimizer, InBackward) and budget < least:
        raise RecipeError(
            f"train.token_budget: with {optimizer.type} a step is computed at once, and the longest {batch_size} rows "
            f"have {least:,} tokens, not {budget:,}.",
            f"Leave train.token_budget open, set it to {least}, or lower train.batch_size or rendering.max_length.",
        )
