"""What every method is: which parameters learn, and what is written of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


class Method(ABC):
    """Decides which parameters of a model learn.

    A new method is one file with a subclass of this, of `PeftMethod` or of `Selected`, and one line in the union of
    `methods/config.py`; training, checkpoints, evaluation and `open_model` do not know which one it is.

    Args:
        config: Its settings; those of the nested class `Config` where it has one.
    """

    def __init__(self, config: Any = None) -> None:
        self.config = config

    def load_options(self) -> dict[str, Any]:
        """Keyword arguments with which `from_pretrained` loads the base model, such as how it is quantised."""
        return {}

    @abstractmethod
    def apply(self, model: PreTrainedModel, *, seed: int) -> nn.Module:
        """Make the model learn what the method says, and freeze everything else.

        Args:
            model: The base model; its modules may be replaced in place.
            seed: Decides first values.

        Returns:
            The model to be trained.
        """

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """The parameter groups of the optimiser, as `torch.optim` takes them; `lr_factor` scales the learning rate."""
        return [{"params": [parameter for parameter in model.parameters() if parameter.requires_grad]}]

    @abstractmethod
    def save(self, directory: Path, model: nn.Module, *, base: str, revision: str | None) -> None:
        """Write the weights so that plain `transformers` or `peft` loads them.

        Args:
            directory: Is there.
            model: As `apply` returned it, after the training.
            base: Name of the base model as the recipe has it.
            revision: Of a base model from the hub.
        """


class Selected(Method):
    """A method that trains some of the model's own parameters: the result is a whole model."""

    @abstractmethod
    def learns(self, name: str, module: nn.Module) -> bool:
        """Whether the parameters that a module itself holds learn.

        Args:
            name: Of the module, as `named_modules` has it.
            module: The module.
        """

    def apply(self, model: PreTrainedModel, *, seed: int) -> nn.Module:
        module: nn.Module = model
        module.requires_grad_(False)
        for name, part in module.named_modules():
            if self.learns(name, part):
                for parameter in part.parameters(recurse=False):
                    parameter.requires_grad_(True)
        return module

    def save(self, directory: Path, model: nn.Module, *, base: str, revision: str | None) -> None:
        model.save_pretrained(str(directory))  # type: ignore[operator]
