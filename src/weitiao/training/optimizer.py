"""The `optimizer` section of a recipe: how gradients become steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from weitiao.config import Config

if TYPE_CHECKING:
    import torch


class AdamWConfig(Config):
    """AdamW: a step for every parameter by its gradient's first two moments, and decoupled weight decay
    (https://arxiv.org/abs/1711.05101)."""

    type: Literal["adamw"] = "adamw"
    """The optimiser."""

    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""

    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of the first and second moment."""

    epsilon: float = Field(default=1e-8, gt=0)
    """What is added to the root of the second moment."""

    def build(self, groups: list[dict[str, Any]], *, learning_rate: float) -> torch.optim.Optimizer:
        """The optimiser over a method's parameter groups."""
        import torch

        return torch.optim.AdamW(
            groups, lr=learning_rate, betas=self.betas, eps=self.epsilon, weight_decay=self.weight_decay, fused=True
        )
