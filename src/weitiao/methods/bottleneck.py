"""Bottleneck adapters: small networks behind the parts of every decoder layer.

Behind attention and feed-forward (https://arxiv.org/abs/1902.00751, figure 2), or behind the feed-forward part alone
(https://arxiv.org/abs/2005.00247). They are not linear, so they cannot be merged into the weights.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from weitiao.errors import ModelError
from weitiao.methods.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from weitiao.methods.method import Method, MethodSettings
from weitiao.models.directory import read_json_object

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

KIND = "weitiao-bottleneck"
_REMEDY = "Check that it is complete, and name the base model that it was trained on, with --base-model."


class AdapterConfig(MethodSettings):
    """Bottleneck adapters behind the parts of every decoder layer learn."""

    usual_learning_rate: ClassVar[float] = 1e-3

    type: Literal["adapter"]
    """The method."""

    size: int = Field(default=64, ge=1)
    """Width of the bottleneck."""

    places: Literal["both", "feed_forward"] = "both"
    """Behind attention and feed-forward, or behind feed-forward alone."""

    activation: Literal["relu", "gelu", "silu"] = "gelu"
    """What stands between the two projections."""

    def build(self) -> BottleneckAdapter:
        """The method with these settings."""
        return BottleneckAdapter(self)


class BottleneckAdapter(Method):
    """The method `adapter`."""

    config: AdapterConfig

    def apply(self, model: PreTrainedModel, *, seed: int) -> nn.Module:
        """See `Method.apply`.

        Raises:
            ModelError: A layer has no part that is known for attention, or none beside it.
        """
        import torch

        from weitiao.methods.bottleneck_parts import Bottleneck, parts, through
        from weitiao.models.parts import layer_list

        config, width = self.config, model.config.get_text_config().hidden_size
        torch.manual_seed(seed)
        module: nn.Module = model
        module.requires_grad_(False)
        for layer in layer_list(model):
            attention, feed_forward = parts(layer)
            placed = {"feed_forward": feed_forward}
            if config.places == "both":
                placed = {"attention": attention, **placed}
            for name, part in placed.items():
                adapter = Bottleneck(width, config.size, config.activation).to(model.device)
                layer.add_module(f"{name}_adapter", adapter)
                adapter.hook = part.register_forward_hook(through(adapter))
        return module

    def differs_from(self, adapter: Path, model: PreTrainedModel) -> str | None:
        if not is_bottleneck(adapter):
            return super().differs_from(adapter, model)
        there = read_json_object(adapter / ADAPTER_CONFIG)
        for name, value in self.config.model_dump(exclude={"start"}).items():
            if there.get(name) != value:
                return f"its {name} is {there.get(name)}, not {value}"
        return None

    def take(self, model: nn.Module, adapter: Path) -> None:
        _take(model, adapter)

    def save(self, directory: Path, model: nn.Module, *, base: str, revision: str | None) -> None:
        from safetensors.torch import save_file

        weights = {name: parameter.detach().contiguous().cpu() for name, parameter in _own(model).items()}
        save_file(weights, directory / ADAPTER_WEIGHTS)
        settings = self.config.model_dump(exclude={"start"})
        note = {"adapter_type": KIND, **settings, "base_model_name_or_path": base, "revision": revision}
        (directory / ADAPTER_CONFIG).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")


def is_bottleneck(directory: Path) -> bool:
    """Whether an adapter directory holds adapters of this kind."""
    path = directory / ADAPTER_CONFIG
    return path.is_file() and read_json_object(path).get("adapter_type") == KIND


def load_bottleneck(model: PreTrainedModel, directory: Path) -> PreTrainedModel:
    """Put the adapters of a directory into their base model, in the place of those that are in it.

    So several can take turns on one base model, which is loaded once.

    Raises:
        ModelError: They are damaged, or made for another model.
    """
    values = read_json_object(directory / ADAPTER_CONFIG)
    settings = {key: value for key, value in values.items() if key in AdapterConfig.model_fields}
    remove_bottleneck(model)
    with _fitting(model, directory):
        AdapterConfig.model_validate(settings).build().apply(model, seed=0)
    _take(model, directory)
    module: nn.Module = model
    module.requires_grad_(False)
    return model


def remove_bottleneck(model: nn.Module) -> None:
    """Take bottleneck adapters out of a model again, if there are any: what is left is the base model."""
    from weitiao.methods.bottleneck_parts import Bottleneck

    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Bottleneck) and child.hook is not None:
                child.hook.remove()
                delattr(module, name)


def _fitting(model: nn.Module, directory: Path) -> AbstractContextManager[None]:
    from weitiao.models.boundary import loading

    what = f"The adapter in {directory} does not fit {type(model).__name__}"
    return loading(what, directory, packages=("safetensors",), remedy=_REMEDY)


def _take(model: nn.Module, directory: Path) -> None:
    """Load the weights of a directory into adapters that are in a model.

    Raises:
        ModelError: They are damaged, or made for another model.
    """
    from safetensors.torch import load_file

    with _fitting(model, directory):
        weights = load_file(directory / ADAPTER_WEIGHTS)
    wanted = {name: parameter.shape for name, parameter in _own(model).items()}
    if wanted != {name: tensor.shape for name, tensor in weights.items()}:
        raise ModelError(
            f"The adapter in {directory} does not fit {type(model).__name__}: its tensors are not those that the model "
            "has places for.",
            _REMEDY,
        )
    model.load_state_dict(weights, strict=False)


def _own(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of the adapters, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if "_adapter." in name}
