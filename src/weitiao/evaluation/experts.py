"""Where the tokens of held-out rows go in a mixture of experts: over all of them, and by their class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from weitiao.models.routing import evenness


@dataclass(frozen=True, slots=True)
class Spread:
    """Where tokens went.

    Attributes:
        tokens: For each layer, how many went to each expert.
        learned: The same of tokens from which one that is learned is predicted.
        evenness: For each layer, the entropy of the shares by that of an even spread; None where nothing went.
    """

    tokens: list[list[int]]
    learned: list[list[int]]
    evenness: list[float | None]

    @classmethod
    def of(cls, counts_2LE: Tensor) -> Spread:
        """From the counts of all tokens, and of those that predict."""
        tokens, learned = counts_2LE.long().tolist()
        return cls(tokens, learned, evenness(counts_2LE[0]))


@dataclass(frozen=True, slots=True)
class Usage:
    """What `weitiao moe usage` found.

    Attributes:
        layers: Names of the routers.
        rows: How many rows were routed.
        before, after: By the base model, and by the tuned one.
        by: The column that classes are of; None without classes.
        classes: Class to how many rows it has, and where the tuned model sends them.
        speciality: For each layer, how much the class of a token's row tells of its expert: their mutual information by
            the entropy of the classes, 0 to 1; None without classes.
    """

    layers: list[str]
    rows: int
    before: Spread
    after: Spread
    by: str | None
    classes: dict[str, tuple[int, Spread]]
    speciality: list[float] | None


def speciality(counts_CLE: Tensor) -> list[float]:
    """How much a row's class tells of where its tokens go: mutual information by the entropy of the classes, 0 to 1.

    Args:
        counts_CLE: For each class and layer, how many tokens went to each expert.
    """
    joint_LCE = counts_CLE.double().transpose(0, 1)
    joint_LCE = joint_LCE / joint_LCE.sum((1, 2), keepdim=True)
    classes_LC, experts_LE = joint_LCE.sum(2), joint_LCE.sum(1)
    both_L, class_L, expert_L = (torch.special.entr(p).flatten(1).sum(1) for p in (joint_LCE, classes_LC, experts_LE))
    return [round(one, 4) for one in ((class_L + expert_L - both_L) / class_L.clamp_min(1e-12)).tolist()]
