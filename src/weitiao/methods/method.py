"""What every method is: which parameters learn, and what is written of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weitiao.config import Config

if TYPE_CHECKING:
    import peft
    from torch import nn
    from transformers import PreTrainedModel

    from weitiao.forest.layout import Forest
    from weitiao.models.config import ModelConfig


class MethodSettings(Config):
    """What the settings of every method have in common."""

    start: str | None = None
    """A run or an adapter to go on from. An adapter of the same form learns on; any other is merged into the base model
    first, and what this method trains stands on the result."""


class Method(ABC):
    """Decides which parameters of a model learn.

    A new method is one file with a subclass of this, of `PeftMethod` or of `Selected`, and one line in the union of
    `methods/config.py`; training, checkpoints, evaluation and `open_model` do not know which one it is.

    Args:
        config: Its settings; those of the nested class `Config` where it has one.
    """

    needs_float32 = False
    """Whether the model is loaded in float32 where the recipe leaves the format open: in a shorter one, updates that
    are small beside the weight they belong to are rounded away."""

    keep_states: float | None = None
    """GiB of hidden states that may be kept of the layers below all that learns. For them to be found again, every
    epoch then has the batches of the first; None draws new batches for every epoch."""

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

    def initialize(self, model: nn.Module, *, base: ModelConfig, forests: Callable[[], Sequence[Forest]]) -> None:
        """Set first values that more than the model decides. Not called for a run that goes on from a checkpoint.

        Args:
            model: As `apply` returned it; its parameters are changed in place.
            base: Where the weights of the base model lie.
            forests: The data of the first steps.
        """
        return

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """The parameter groups of the optimiser, as `torch.optim` takes them; `lr_factor` scales the learning rate."""
        return [{"params": [parameter for parameter in model.parameters() if parameter.requires_grad]}]

    def after_step(self, model: nn.Module) -> None:
        """Put right what a step of the optimiser should not have moved. Not called for LOMO and AdaLOMO."""
        return

    def differs_from(self, adapter: Path, model: PreTrainedModel) -> str | None:
        """In what an adapter is of another form than what this method trains; None when its weights can learn on.

        Args:
            adapter: Its directory.
            model: The base model.
        """
        return "it is of another kind than what is trained"

    def take(self, model: nn.Module, adapter: Path) -> None:
        """Give a model, as `apply` returned it, the weights of an adapter that does not differ.

        Raises:
            ModelError: They do not fit.
        """
        raise NotImplementedError

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

    needs_float32 = True

    @abstractmethod
    def learns(self, name: str) -> bool:
        """Whether a parameter learns.

        Args:
            name: As `named_parameters` has it. One that is used in two places has two names, and learns if either does.
        """

    def apply(self, model: PreTrainedModel, *, seed: int) -> nn.Module:
        module: nn.Module = model
        module.requires_grad_(False)
        for name, parameter in module.named_parameters(remove_duplicate=False):
            if self.learns(name):
                parameter.requires_grad_(True)
        return module

    def save(self, directory: Path, model: nn.Module, *, base: str, revision: str | None) -> None:
        from weitiao.models.boundary import quiet_transformers

        with quiet_transformers():
            model.save_pretrained(str(directory))  # type: ignore[operator]


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

        from weitiao.methods.named import find_named
        from weitiao.models.boundary import loading

        config = self.peft_config(model)
        whole = getattr(config, "modules_to_save", None) or []
        names, of = (name for name, _ in model.named_modules()), f"{type(model).__name__} has no part"
        find_named(names, whole, setting="method.modules_to_save", of=of)  # PEFT passes over what is not there
        torch.manual_seed(seed)
        what = f"PEFT cannot put {config.peft_type.value.lower()} into {type(model).__name__}"
        remedy = "Name layers that are there with method.target_modules, or choose another method."
        directory = Path(model.name_or_path) if model.name_or_path else None
        with loading(what, directory, packages=("peft",), remedy=remedy):
            adapted: nn.Module = peft.get_peft_model(model, config)
        if model.device.type == "cpu":
            self.fuse(adapted)
        return adapted

    def fuse(self, adapted: nn.Module) -> None:
        """Put fused layers where there are some for this form of layer, on a CPU."""
        from weitiao.methods.fused.layer import FORMATS, fuse_layers

        if self.fused and next(adapted.parameters()).dtype in FORMATS:
            fuse_layers(adapted)

    def differs_from(self, adapter: Path, model: PreTrainedModel) -> str | None:
        from weitiao.methods.adapter import differing_settings

        return differing_settings(adapter, self.peft_config(model))

    def take(self, model: nn.Module, adapter: Path) -> None:
        from weitiao.methods.adapter import take_weights

        take_weights(model, adapter)

    def save(self, directory: Path, model: nn.Module, *, base: str, revision: str | None) -> None:
        from peft import PeftModel

        assert isinstance(model, PeftModel)
        for config in model.peft_config.values():  # PEFT writes down where the model was loaded from, a cache perhaps
            config.base_model_name_or_path, config.revision = base, revision
        self.write(directory, model, save_embedding_layers=False)

    def write(self, directory: Path, model: peft.PeftModel, **options: Any) -> None:
        """Write the adapter with PEFT's own function and these options of it."""
        model.save_pretrained(str(directory), **options)
