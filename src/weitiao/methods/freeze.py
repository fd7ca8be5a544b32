"""Partial tuning: some layers learn, the rest is frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from weitiao.errors import ModelError
from weitiao.methods.method import MethodSettings, Selected
from weitiao.methods.named import find_named

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


class FreezeConfig(MethodSettings):
    """Some decoder layers learn, and parts that are named; what is saved is a whole model."""

    usual_learning_rate: ClassVar[float] = 5e-5

    type: Literal["freeze"]
    """The method."""

    layers: int = 2
    """Decoder layers that learn: the last so many; the first so many when negative; 0 is none."""

    modules: list[str] = Field(default_factory=list)
    """Further parts that learn, by the ends of their names: `norm`, `mlp`, `layers.3.self_attn`."""

    embeddings: bool = False
    """Whether the embeddings of tokens learn. Where the head is tied to them, it learns with them."""

    head: bool = False
    """Whether the head learns. Where it is tied to the embeddings, they learn with it."""

    keep_states: float = Field(default=4, ge=0)
    """GiB on the disk of the run directory for what the layers below all that learns make of each batch, which later
    epochs then need not compute; gone when the run ends. 0 keeps nothing; the weights are the same, bit for bit."""

    def build(self) -> Freeze:
        """The method with these settings."""
        return Freeze(self)


class Freeze(Selected):
    """The method `freeze`."""

    config: FreezeConfig

    def __init__(self, config: FreezeConfig) -> None:
        super().__init__(config)
        self.keep_states = config.keep_states

    def apply(self, model: PreTrainedModel, *, seed: int) -> nn.Module:
        """See `Method.apply`.

        Raises:
            ModelError: There are not so many layers, no part of that name, or nothing learns.
        """
        self._learned = tuple(f"{name}." for name in self._parts(model))
        if not self._learned:
            raise ModelError(
                "method: with layers=0 and nothing else named, no parameter learns.",
                "Set method.layers, method.modules, method.embeddings or method.head.",
            )
        return super().apply(model, seed=seed)

    def learns(self, name: str) -> bool:
        return name.startswith(self._learned)

    def _parts(self, model: PreTrainedModel) -> list[str]:
        """The names of all modules that learn with everything inside them."""
        from weitiao.models.parts import layer_list

        config = self.config
        names = {id(module): name for name, module in model.named_modules()}
        layers = layer_list(model)
        if abs(config.layers) > len(layers):
            raise ModelError(
                f"method.layers: {type(model).__name__} has {len(layers)} decoder layers, not {abs(config.layers)}.",
                f"Choose at most {len(layers)}.",
            )
        chosen = layers[-config.layers :] if config.layers > 0 else layers[: -config.layers]
        parts: list[nn.Module] = list(chosen) if config.layers else []
        parts += [model.get_input_embeddings()] if config.embeddings else []
        parts += [model.get_output_embeddings()] if config.head else []
        of = f"{type(model).__name__} has no part"
        named = find_named(names.values(), config.modules, setting="method.modules", of=of)
        return [names[id(part)] for part in parts] + named
