"""BitFit: nothing but the biases learns (https://arxiv.org/abs/2106.10199)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, ClassVar, Literal

from weitiao.errors import ModelError
from weitiao.methods.method import MethodSettings, Selected

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


class BitFitConfig(MethodSettings):
    """The biases learn. A model without any gets zero ones where its architecture can have them."""

    usual_learning_rate: ClassVar[float] = 1e-3

    type: Literal["bitfit"]
    """The method."""

    def build(self) -> BitFit:
        """The method with these settings."""
        return BitFit(self)


class BitFit(Selected):
    """The method `bitfit`; what is saved is a whole model, whose configuration says which biases it has."""

    def apply(self, model: PreTrainedModel, *, seed: int) -> nn.Module:
        """See `Method.apply`.

        Raises:
            ModelError: The model has no bias, and its architecture has no place for one.
        """
        if not any(self.learns(name) for name, _ in model.named_parameters()) and not add_biases(model):
            raise ModelError(
                f"{type(model).__name__} has no biases, and its configuration has no switch for them.",
                "Choose another method, lora for instance; bitfit suits GPT-NeoX, OPT, Qwen2, Llama and others.",
            )
        return super().apply(model, seed=seed)

    def learns(self, name: str) -> bool:
        return name.rsplit(".", 1)[-1] == "bias"


def add_biases(model: PreTrainedModel) -> int:
    """Give linear layers a bias of zero where the model's own configuration has a switch that is off.

    A switch is used if a model that is built with it has further biases of linear layers, and nothing else besides; so
    the result is saved as the same class, and loaded by plain transformers.

    Returns:
        How many were added.
    """
    import torch
    from torch import nn

    switches = [key for key, value in model.config.to_dict().items() if "bias" in key and value is False]
    here, added = set(model.state_dict()), 0
    for switch in switches:
        config = copy.deepcopy(model.config)
        setattr(config, switch, True)
        with torch.device("meta"):
            wider = type(model)(config)
        new = sorted(set(wider.state_dict()) - here)
        linears = [model.get_submodule(name.rpartition(".")[0]) for name in new if name.endswith(".bias")]
        if not new or len(linears) < len(new) or not all(type(one) is nn.Linear for one in linears):
            continue
        for linear in linears:
            assert isinstance(linear, nn.Linear)
            linear.bias = nn.Parameter(linear.weight.new_zeros(linear.out_features))
        setattr(model.config, switch, True)
        here.update(new)
        added += len(new)
    return added
