"""Methods of PEFT: adapters inside the layers of a frozen model."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.methods.method import Method

if TYPE_CHECKING:
    import peft
    from torch import nn
    from transformers import PreTrainedModel


class PeftMethod(Method):
    """A method that is a configuration of PEFT."""

    fused = False
    """Whether layers of a known form run as fused ones: the same function, on a CPU in float32."""

    @abstractmethod
    def peft_config(self, model: PreTrainedModel) -> peft.PeftConfig:
        """PEFT's configuration for this model.

        Raises:
            ModelError: The model has not what the method adapts.
        """

    def apply(self, model: PreTrainedModel, *, seed: int) -> nn.Module:
        import peft
        import torch

        from weitiao.methods.fused.layer import fuse_layers
        from weitiao.models.quiet import quiet_transformers

        torch.manual_seed(seed)
        with quiet_transformers():
            adapted: nn.Module = peft.get_peft_model(model, self.peft_config(model))
        if self.fused and model.device.type == "cpu" and model.dtype == torch.float32:
            fuse_layers(adapted)
        return adapted

    def save(self, directory: Path, model: nn.Module, *, base: str, revision: str | None) -> None:
        from peft import PeftModel

        assert isinstance(model, PeftModel)
        for config in model.peft_config.values():  # PEFT writes down where the model was loaded from, a cache perhaps
            config.base_model_name_or_path, config.revision = base, revision
        model.save_pretrained(str(directory), save_embedding_layers=False)
