"""LoRA through PEFT: adapters on the linear layers of a frozen model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import peft
import torch
from torch import nn

from weitiao.errors import ModelError
from weitiao.methods.fused.layer import fuse_layers
from weitiao.models.quiet import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from weitiao.methods.config import LoraConfig

ROUTER_NAMES = ("gate", "router")  # linear layers of these exact names choose experts: they are no projections


class Lora:
    """The method `lora`.

    Args:
        config: Its settings.
    """

    def __init__(self, config: LoraConfig) -> None:
        self.config = config

    def apply(self, model: PreTrainedModel, *, seed: int) -> peft.PeftModel:
        """Put adapters into the model and freeze everything else.

        Args:
            model: The base model; its linear layers are replaced in place.
            seed: Decides the adapters' first values.

        Returns:
            The model around which PEFT has put its own.

        Raises:
            ModelError: No layer of the model has one of the target names.
        """
        config = self.config
        torch.manual_seed(seed)
        lora = peft.LoraConfig(
            task_type="CAUSAL_LM",
            r=config.r,
            lora_alpha=2 * config.r if config.alpha is None else config.alpha,
            lora_dropout=config.dropout,
            target_modules=self._targets(model),
            bias=config.bias,
            use_rslora=config.rslora,
            use_dora=config.dora,
        )
        with quiet_transformers():
            return peft.get_peft_model(model, lora)

    def fuse(self, model: nn.Module) -> int:
        """Replace layers of a known form by faster ones of the same function; returns how many."""
        return fuse_layers(model)

    def _targets(self, model: PreTrainedModel) -> list[str]:
        linear = linear_layer_names(model)
        if self.config.target_modules == "all-linear":
            return linear
        wanted = self.config.target_modules
        names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
        missing = [w for w in wanted if not any(name == w or name.endswith(f".{w}") for name in names)]
        if missing:
            known = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in names}))
            raise ModelError(
                f"method.target_modules: {type(model).__name__} has no linear layer named {', '.join(missing)}.",
                f"Choose from: {known}; or all-linear.",
            )
        return wanted


def linear_layer_names(model: PreTrainedModel) -> list[str]:
    """The last parts of the names of all linear layers, without output embedding and routers, sorted."""
    head = model.get_output_embeddings()
    names = {
        name.rsplit(".", 1)[-1]
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head
    }
    return sorted(names.difference(ROUTER_NAMES))
