"""After a training: did everything move that was to learn?"""

from __future__ import annotations

import re
from collections import defaultdict

import torch
from torch import Tensor, nn

from weitiao.errors import TrainingError
from weitiao.training.engine import learned_parameters

NUMBER = re.compile(r"\d+")


def require_moved(model: nn.Module, optimizer: torch.optim.Optimizer, *, steps: int) -> list[str]:
    """Refuse weights of which a part had no gradient in any step: the loss does not depend on it.

    What the optimiser keeps of a tensor tells: it is zero, or not there, where every gradient was zero. Plain SGD keeps
    nothing, and so cannot be asked. A single step teaches one
    factor of a product only, when the other begins at zero as in LoRA; so a gradient of zeros counts from two steps on.

    Tensors whose names differ in their numbers alone are of one kind. Where some of a kind moved, the others may stand
    still with good reason (an expert that no token chose, a layer that a model leaves out).

    Args:
        model: With the parameters that learned.
        optimizer: Over them, after its last step.
        steps: Optimiser steps of the whole run.

    Returns:
        Names of tensors that did not move although others of their kind did.

    Raises:
        TrainingError: Nothing of a kind moved.
    """
    if isinstance(optimizer, torch.optim.SGD) and not optimizer.defaults["momentum"]:
        return []
    kinds: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for name, parameter in learned_parameters(model).items():
        moments = [one for key, one in optimizer.state[parameter].items() if _is_moment(key, one)]
        moved = bool(moments) and (steps < 2 or any(bool(one.any()) for one in moments))
        kinds[NUMBER.sub("*", name)].append((name, moved))
    if still := [tensors for tensors in kinds.values() if not any(moved for _, moved in tensors)]:
        number = sum(map(len, still))
        raise TrainingError(
            f"{number} of {sum(map(len, kinds.values()))} learned tensors did not move in {steps} steps, because the "
            f"loss does not depend on them: {', '.join(tensors[0][0] for tensors in still[:3])}"
            f"{', ...' if len(still) > 3 else ''}.",
            "Leave their layers out of method.target_modules (or biases out, by method.bias: none).",
        )
    return [name for tensors in kinds.values() for name, moved in tensors if not moved]


def _is_moment(key: str, value: object) -> bool:
    """Whether this is zero where every gradient was: of moments in 8 bits the scales are, not the codes."""
    return isinstance(value, Tensor) and value.is_floating_point() and key != "step" and not key.startswith("qmap")
