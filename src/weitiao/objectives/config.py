"""The `objective` section of a recipe: what is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from weitiao.config import Config

if TYPE_CHECKING:
    from torch import nn

    from weitiao.objectives.sft import Sft


class SftConfig(Config):
    """Supervised fine-tuning: the next token of the answers."""

    type: Literal["sft"] = "sft"
    """The objective."""

    def build(self, model: nn.Module) -> Sft:
        """The objective around a model."""
        from weitiao.objectives.sft import Sft

        return Sft(model)
