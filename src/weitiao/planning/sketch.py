"""A model without weights, with what a method puts into it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from weitiao.methods.config import MethodConfig
from weitiao.methods.method import Method, PeftMethod
from weitiao.models.alone import keeps_state, let_branch
from weitiao.models.attention import FOREST, runs_alone, set_backend
from weitiao.models.boundary import quiet_transformers
from weitiao.models.config import AttentionName
from weitiao.models.host_weights import staying
from weitiao.models.load import causal_class
from weitiao.models.parts import checkpoint_layers, decoder, layer_list
from weitiao.models.products import put_fast_linears
from weitiao.models.quantization import Quantization
from weitiao.objectives.config import ObjectiveConfig
from weitiao.objectives.objective import Objective
from weitiao.planning.exchange import sent_bytes
from weitiao.planning.rounded import Rounded
from weitiao.training.config import TrainConfig
from weitiao.training.optimizer import OptimizerConfig


@dataclass(frozen=True, slots=True)
class Way:
    """How a model is tuned: all that decides memory and time beside the data.

    Attributes:
        method, objective, optimizer, train: Sections of a recipe.
        dtype: Number format of the weights.
        quantization: To what frozen linear layers are rounded.
        device: `cpu` or `cuda`.
        map_weights: Whether frozen matrices of the layers stay in their files until a layer runs.
        attention: The setting `model.attention`; what it means on a CPU, where the sketch is run.
        teacher: Parameters, and bytes, of a model that is in memory beside it.
    """

    method: MethodConfig
    objective: ObjectiveConfig
    optimizer: OptimizerConfig
    train: TrainConfig
    dtype: str
    quantization: Quantization | None = None
    device: str = "cpu"
    map_weights: bool = False
    attention: AttentionName = "auto"
    teacher: tuple[int, float] = (0, 0.0)


class Sketch:
    """A model and what it learns, every parameter of it a shape.

    Args:
        architecture: The model's configuration.
        way: How it is tuned.

    Raises:
        ModelError: The method does not fit the model.
    """

    def __init__(self, architecture: PreTrainedConfig, way: Way) -> None:
        self.way = way
        self.method: Method = way.method.build()
        self._hidden_size: int = architecture.get_text_config().hidden_size
        with torch.device("meta"), quiet_transformers():
            model = _without_weights(architecture, way.dtype)
            self.adapted = self.method.apply(model, seed=way.train.seed)
        if way.device == "cpu" and way.quantization is None and isinstance(self.method, PeftMethod):
            self.method.fuse(self.adapted)
        self._quantized = _round_layers(self.adapted) if way.quantization else []
        if way.device == "cpu":
            put_fast_linears(self.adapted)
        if keeps_state(model):
            set_backend(self.adapted, "alone")
            let_branch(decoder(model), copies_state=way.train.share_prefixes)
        elif way.device == "cpu":
            set_backend(self.adapted, way.attention)
        checkpoint_layers(model, int(way.train.checkpointing))
        self.objective: Objective = way.objective.build(self.adapted)
        self._parameters = list(self.objective.parameters())

    @property
    def runs_alone(self) -> bool:
        """Whether each row is a call of the model's own forward."""
        return runs_alone(self.adapted)

    @property
    def num_parameters(self) -> int:
        """Of the model with what the method added."""
        return sum(one.numel() for one in self._parameters)

    @property
    def num_learned(self) -> int:
        """Parameters that learn."""
        return sum(one.numel() for one in self._parameters if one.requires_grad)

    @property
    def learns_matrices(self) -> bool:
        """Whether more than vectors learns: factors of matrices, for instance."""
        return any(one.requires_grad and sum(size > 1 for size in one.shape) > 1 for one in self._parameters)

    @property
    def state_bytes(self) -> int:
        """Bytes of what a decoder layer gives for a token."""
        dtype: torch.dtype = getattr(torch, self.way.dtype)
        return self._hidden_size * dtype.itemsize

    @property
    def weight_bytes(self) -> float:
        """Bytes of all parameters, of rounded ones with their scales; of mapped ones those of the largest layer."""
        each = 0.0 if self.way.quantization is None else ROUNDED_BYTES[self.way.quantization]
        whole = float(sum(one.nbytes for one in self._parameters))
        if self.way.map_weights:
            layers = [sum(one.nbytes for one in layer) for layer in staying(self.adapted)]
            whole -= sum(layers) - max(layers)
        return whole + sum(one.numel() * each - one.nbytes for one in self._quantized)

    @property
    def sent_bytes(self) -> int:
        """The most bytes of copies while the first of several processes sends the weights to the others."""
        return sent_bytes((*self._parameters, *self.objective.buffers()))

    @property
    def num_quantized(self) -> int:
        """Parameters that are quantised."""
        return sum(one.numel() for one in self._quantized)

    def kinds(self) -> list[list[int]]:
        """The decoder layers that are alike, by their numbers, in the order of the first of each kind."""
        layers = [(index, _kind(layer)) for index, layer in enumerate(layer_list(self.adapted))]
        found: dict[Any, list[int]] = {}
        for kind, alike in groupby(layers, key=lambda one: one[1]):
            found.setdefault(kind, []).extend(index for index, _ in alike)
        return list(found.values())

    def learning_layers(self) -> list[int]:
        """The numbers of the decoder layers in which something learns."""
        layers = enumerate(layer_list(self.adapted))
        return [index for index, layer in layers if any(one.requires_grad for one in layer.parameters())]

    @contextmanager
    def shortened(self, kept: list[int]) -> Iterator[None]:
        """Inside the block the model has only these of its decoder layers."""
        layers, network = layer_list(self.adapted), decoder(self.adapted)
        parent, name = next(
            (module, name) for module in network.modules() for name, child in module.named_children() if child is layers
        )
        parent.register_module(name, nn.ModuleList(layers[index] for index in kept))
        try:
            yield
        finally:
            parent.register_module(name, layers)

    def without_data(self) -> None:
        """Make every parameter and buffer on the meta device one of the CPU that has no data.

        To be called inside a `FakeTensorMode`, always the same one.
        """
        made: dict[int, Tensor] = {}
        for module in self.objective.modules():
            held: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
            for tensors in held:
                for name, tensor in tensors.items():
                    if tensor is not None and tensor.is_meta:
                        tensors[name] = made.setdefault(id(tensor), _empty(tensor))


def size_of(architecture: PreTrainedConfig, dtype: str, quantization: Quantization | None) -> tuple[int, float]:
    """Parameters of a model that only runs, and their bytes."""
    with torch.device("meta"), quiet_transformers():
        model = _without_weights(architecture, dtype).requires_grad_(False)
    rounded = _linear_in_layers(model) if quantization else []
    each = 0.0 if quantization is None else ROUNDED_BYTES[quantization]
    whole = float(sum(one.nbytes for one in model.parameters()))
    return model.num_parameters(), whole + sum(one.numel() * each - one.nbytes for one in rounded)


def _without_weights(architecture: PreTrainedConfig, dtype: str) -> PreTrainedModel:
    model: PreTrainedModel = causal_class(architecture).from_config(
        copy.deepcopy(architecture), attn_implementation=FOREST, dtype=getattr(torch, dtype)
    )
    return model


_FOUR_BITS = 0.5 + 1 / 64 + 4 / (64 * 256)
ROUNDED_BYTES: dict[Quantization, float] = {"nf4": _FOUR_BITS, "fp4": _FOUR_BITS, "int8": 1.0}
"""Of a rounded parameter. In four bits, blocks of 64 have a scale of one byte, and 256 scales one of four."""


def _round_layers(model: nn.Module) -> list[Tensor]:
    """Compute the frozen linear layers inside the decoder layers as rounded ones; gives their weights as they were."""
    weights = _linear_in_layers(model)
    for parent in [one for layer in layer_list(model) for one in layer.modules()]:
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear) and not child.weight.requires_grad:
                setattr(parent, name, Rounded(child))
    return weights


def _linear_in_layers(model: nn.Module) -> list[Tensor]:
    """The frozen weights of the linear layers inside the decoder layers."""
    linears = [one for layer in layer_list(model) for one in layer.modules() if isinstance(one, nn.Linear)]
    return [one.weight for one in linears if not one.weight.requires_grad]


def _empty(tensor: Tensor) -> Tensor:
    empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
    return nn.Parameter(empty, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def _kind(layer: nn.Module) -> Any:
    """Equal for layers that cost the same."""
    parts = tuple((name, type(part)) for name, part in layer.named_modules())
    tensors = tuple((name, one.shape, one.dtype, one.requires_grad) for name, one in layer.named_parameters())
    settings = getattr(layer, "gradient_checkpointing", False), getattr(layer, "attention_type", None)
    return parts, tensors, settings
