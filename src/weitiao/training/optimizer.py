"""The `optimizer` section of a recipe: how gradients become steps."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from weitiao.config import Config, type_of
from weitiao.errors import MissingExtraError

if TYPE_CHECKING:
    import torch
    from torch import nn


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

    def build(self, groups: list[dict[str, Any]], model: nn.Module, *, learning_rate: float) -> torch.optim.Optimizer:
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

    def build(self, groups: list[dict[str, Any]], model: nn.Module, *, learning_rate: float) -> torch.optim.Optimizer:
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

    def build(self, groups: list[dict[str, Any]], model: nn.Module, *, learning_rate: float) -> torch.optim.Optimizer:
        """The optimiser over a method's parameter groups."""
        import torch

        return torch.optim.SGD(groups, lr=learning_rate, momentum=self.momentum, weight_decay=self.weight_decay)


class LomoConfig(Config):
    """LOMO: SGD inside the backward pass, so that neither moments nor all gradients are ever kept
    (https://arxiv.org/abs/2306.09782). A step is one portion; with `train.max_grad_norm` there are two passes."""

    type: Literal["lomo"]
    """The optimiser."""

    def build(self, groups: list[dict[str, Any]], model: nn.Module, *, learning_rate: float) -> torch.optim.Optimizer:
        """The rule of a step; the engine applies it to one weight after the other (`training/lomo.py`)."""
        import torch

        return torch.optim.SGD(groups, lr=learning_rate)


class AdaLomoConfig(Config):
    """AdaLOMO: Adafactor's steps inside the backward pass (https://arxiv.org/abs/2310.10195), so that all gradients
    are never kept, and of the second moment a row and a column for every matrix. The learning rate is relative to the
    size of the weights, and each weight's step is limited by itself, which takes the place of `train.max_grad_norm`.
    A step is one portion."""

    type: Literal["adalomo"]
    """The optimiser."""

    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""

    def build(self, groups: list[dict[str, Any]], model: nn.Module, *, learning_rate: float) -> torch.optim.Optimizer:
        """The rule of a step; the engine applies it to one weight after the other (`training/lomo.py`)."""
        import torch

        return torch.optim.Adafactor(groups, lr=learning_rate, weight_decay=self.weight_decay)


InBackward = LomoConfig | AdaLomoConfig
"""Optimisers that update inside the backward pass, so that a step is one portion."""


class AdamW8BitConfig(Config):
    """AdamW whose two moments are kept in 8 bits, in blocks with a scale each (https://arxiv.org/abs/2110.02861): 2
    bytes a parameter that learns instead of 8. By bitsandbytes, extra `quant`."""

    type: Literal["adamw8bit"]
    """The optimiser."""

    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""

    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of the first and second moment."""

    epsilon: float = Field(default=1e-8, gt=0)
    """What is added to the root of the second moment."""

    def build(self, groups: list[dict[str, Any]], model: nn.Module, *, learning_rate: float) -> torch.optim.Optimizer:
        """The optimiser over a method's parameter groups.

        Raises:
            MissingExtraError: bitsandbytes is not installed.
        """
        if importlib.util.find_spec("bitsandbytes") is None:
            raise MissingExtraError("optimizer: adamw8bit", "quant")
        optim: Any = importlib.import_module("bitsandbytes.optim")
        made: torch.optim.Optimizer = optim.AdamW8bit(
            groups, lr=learning_rate, betas=self.betas, eps=self.epsilon, weight_decay=self.weight_decay
        )
        return made


class MuonConfig(Config):
    """Muon for matrices, whose steps are made orthogonal, so that one moment is kept of them; AdamW for embeddings, the
    head and vectors (https://arxiv.org/abs/2502.16982). The learning rate suits both: it is that of AdamW."""

    type: Literal["muon"]
    """The optimiser."""

    momentum: float = Field(default=0.95, ge=0, lt=1)
    """Share of the moment that stays from one step to the next."""

    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""

    def build(self, groups: list[dict[str, Any]], model: nn.Module, *, learning_rate: float) -> torch.optim.Optimizer:
        """The optimiser over a method's parameter groups."""
        from weitiao.training.muon import MuonAndAdamW

        return MuonAndAdamW(
            groups, model, learning_rate=learning_rate, momentum=self.momentum, weight_decay=self.weight_decay
        )


OptimizerConfig = Annotated[
    Annotated[AdamWConfig, Tag("adamw")]
    | Annotated[AdafactorConfig, Tag("adafactor")]
    | Annotated[SgdConfig, Tag("sgd")]
    | Annotated[LomoConfig, Tag("lomo")]
    | Annotated[AdaLomoConfig, Tag("adalomo")]
    | Annotated[AdamW8BitConfig, Tag("adamw8bit")]
    | Annotated[MuonConfig, Tag("muon")],
    Discriminator(
        type_of("adamw"),
        custom_error_type="unknown_type",
        custom_error_message="there is no such optimiser; there are adamw, adamw8bit, adafactor, muon, sgd, lomo and "
        "adalomo",
    ),
]
