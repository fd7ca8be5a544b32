"""The `optimizer` section of a recipe: how gradients become steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from weitiao.config import Config, type_of

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


class AdafactorConfig(Config):
    """Adafactor: the second moment of a matrix kept as one row and one column, so that next to nothing is kept
    (https://arxiv.org/abs/1804.04235). The learning rate is the recipe's, relative to the size of the weights."""

    type: Literal["adafactor"]
    """The optimiser."""

    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""

    def build(self, groups: list[dict[str, Any]], *, learning_rate: float) -> torch.optim.Optimizer:
        """The optimiser over a method's parameter groups."""
        import torch

        return torch.optim.Adafactor(groups, lr=learning_rate, weight_decay=self.weight_decay)


class SgdConfig(Config):
    """Stochastic gradient descent: without momentum, nothing at all is kept beside the weights."""

    type: Literal["sgd"]
    """The optimiser."""

    momentum: float = Field(default=0.0, ge=0, lt=1)
    """Share of the step before that is added to a step."""

    weight_decay: float = Field(default=0.0, ge=0)
    """What is added to the gradient, as a share of the weight."""

    def build(self, groups: list[dict[str, Any]], *, learning_rate: float) -> torch.optim.Optimizer:
        """The optimiser over a method's parameter groups."""
        import torch

        return torch.optim.SGD(groups, lr=learning_rate, momentum=self.momentum, weight_decay=self.weight_decay)


class LomoConfig(Config):
    """LOMO: SGD inside the backward pass, so that neither moments nor all gradients are ever kept
    (https://arxiv.org/abs/2306.09782). A step is one portion; with `train.max_grad_norm` there are two passes."""

    type: Literal["lomo"]
    """The optimiser."""

    def build(self, groups: list[dict[str, Any]], *, learning_rate: float) -> torch.optim.Optimizer:
        """What holds the learning rates; the engine makes the steps (`training/lomo.py`)."""
        import torch

        return torch.optim.SGD(groups, lr=learning_rate)


OptimizerConfig = Annotated[
    Annotated[AdamWConfig, Tag("adamw")]
    | Annotated[AdafactorConfig, Tag("adafactor")]
    | Annotated[SgdConfig, Tag("sgd")]
    | Annotated[LomoConfig, Tag("lomo")],
    Discriminator(
        type_of("adamw"),
        custom_error_type="unknown_type",
        custom_error_message="there is no such optimiser; there are adamw, adafactor, sgd and lomo",
    ),
]
