"""LoRA through PEFT: adapters on the linear layers of a frozen model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import peft
from torch import nn
from transformers.pytorch_utils import Conv1D

from weitiao.errors import ModelError
from weitiao.methods.peft_method import PeftMethod

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from weitiao.methods.config import LoraConfig

LINEAR = (nn.Linear, Conv1D)  # GPT-2 has its linear layers transposed
ROUTER_NAMES = ("gate", "router")  # linear layers of these exact names choose experts: they are no projections


class Lora(PeftMethod):
    """The method `lora`."""

    config: LoraConfig

    def __init__(self, config: LoraConfig) -> None:
        super().__init__(config)
        self.fused = config.fused

    def peft_config(self, model: PreTrainedModel) -> peft.LoraConfig:
        """PEFT's configuration for this model.

        Raises:
            ModelError: No layer of the model has one of the target names.
        """
        config = self.config
        return peft.LoraConfig(
            task_type="CAUSAL_LM",
            r=config.r,
            lora_alpha=2 * config.r if config.alpha is None else config.alpha,
            lora_dropout=config.dropout,
            target_modules=self._targets(model),
            bias=config.bias,
            use_rslora=config.rslora,
            use_dora=config.dora,
        )

    def _targets(self, model: PreTrainedModel) -> list[str] | str:
        """What PEFT is to look for: names, or a pattern where names alone would find layers that read no text."""
        wanted = linear_layer_names(model) if self.config.target_modules == "all-linear" else self.config.target_modules
        named = {name: module for name, module in model.named_modules() if isinstance(module, LINEAR)}
        head, text = model.get_output_embeddings(), set(model.get_decoder().modules())
        readers = {name for name, module in named.items() if module in text or module is head}
        missing = [w for w in wanted if not any(_matches(name, w) for name in readers)]
        if missing or not wanted:
            known = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in readers}))
            raise ModelError(
                f"method.target_modules: {type(model).__name__} has no linear layer for text named "
                f"{', '.join(missing) or 'anything'}.",
                f"Choose from: {known}; or all-linear." if known else "Choose a model of another family.",
            )
        found = {name for name in named if any(_matches(name, w) for w in wanted)}
        if found <= readers:
            return wanted
        return "|".join(re.escape(name) for name in sorted(found & readers))


def linear_layer_names(model: PreTrainedModel) -> list[str]:
    """The last parts of the names of all linear layers of the decoder of text, without routers, sorted."""
    head = model.get_output_embeddings()
    names = {
        name.rsplit(".", 1)[-1]
        for name, module in model.get_decoder().named_modules()
        if isinstance(module, LINEAR) and module is not head
    }
    return sorted(names.difference(ROUTER_NAMES))


def _matches(name: str, wanted: str) -> bool:
    """Whether PEFT takes a module of this name for one that is wanted."""
    return name == wanted or name.endswith(f".{wanted}")
