"""A Llama-style decoder layer that runs as two fused halves when it can, and as the original when it cannot."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from weitiao.methods.fused.blocks import AttentionHalf, AttentionSpec, MlpHalf, MlpSpec, Norm, adapters
from weitiao.methods.fused.linear import read_linear
from weitiao.methods.fused.writing import is_frozen, written
from weitiao.models.attention import ForestAttention
from weitiao.models.head import short_format
from weitiao.models.scoring import Scoring


@dataclass(frozen=True, slots=True)
class Form:
    """Where a layer has its parts. It is pre-norm, has RoPE over whole heads and a SiLU-gated MLP, and nothing else."""

    attention_norm: str = "input_layernorm"
    attention: str = "self_attn"
    qkv_out: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    mlp_norm: str = "post_attention_layernorm"
    mlp: str = "mlp"
    gate_up_down: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj")
    activation: str = "act_fn"


FORMS = {"LlamaDecoderLayer": Form(), "MistralDecoderLayer": Form(), "Qwen2DecoderLayer": Form()}
"""By the name of the layer's class: another family whose layers compute just this joins with one entry."""


FORMATS = (torch.float32, torch.bfloat16)
"""Of hidden states and weights together; adapters stay in their own."""


class FusedLayer(GradientCheckpointingLayer):
    """Stands in for a decoder layer, with the same children under the same names.

    Gradient checkpointing is that of the layer it stands in for, whether it was switched on before or is later.

    Args:
        layer: The layer of the model; its parameters are shared, state-dict keys stay as they were.
        form: Where it has its parts.
    """

    original: Any

    def __init__(self, layer: Any, form: Form) -> None:
        super().__init__()
        for name, child in layer.named_children():
            self.add_module(name, child)
        object.__setattr__(self, "original", layer)  # not registered: its children are ours already
        self.training, self._form = layer.training, form
        if getattr(layer, "gradient_checkpointing", False):
            self.gradient_checkpointing = True
            self._gradient_checkpointing_func = layer._gradient_checkpointing_func
            layer.gradient_checkpointing = False  # else it is done twice where the original runs

    def forward(
        self, hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor], forest: Any = None, **kwargs: Any
    ) -> Tensor:
        specs = self._specs(hidden_states, position_embeddings, forest)
        x_TD: Tensor = hidden_states[0]
        if specs is None or not (isinstance(forest, ForestAttention) or is_frozen(specs)):
            kwargs |= {"position_embeddings": position_embeddings, "forest": forest}
            unfused: Tensor = self.original(hidden_states, **kwargs)
            return unfused
        attention, mlp = specs
        if not isinstance(forest, ForestAttention):
            module: Any = getattr(self, self._form.attention)
            scoring = Scoring(attention.scale, _sliding_window(module))
            return written(x_TD, attention, mlp, partial(forest.attend, module, scoring=scoring)).unsqueeze(0)
        x_TD = cast(Any, AttentionHalf).apply(x_TD, attention, *adapters((*attention.qkv, attention.out)))
        x_TD = cast(Any, MlpHalf).apply(x_TD, mlp, *adapters((*mlp.gate_up, mlp.down)))
        return x_TD.unsqueeze(0)

    def train(self, mode: bool = True) -> FusedLayer:
        super().train(mode)
        self.original.train(mode)
        return self

    def _specs(
        self, x: Tensor, position_embeddings: tuple[Tensor, Tensor], forest: Any
    ) -> tuple[AttentionSpec, MlpSpec] | None:
        """The two halves as they are now, or None when the original has to run."""
        form = self._form
        attn: Any = getattr(self, form.attention)
        mlp = getattr(self, form.mlp)
        if forest is None or x.dtype not in FORMATS or x.device.type != "cpu" or short_format(x.device) is not None:
            return None
        if self.training and attn.attention_dropout > 0:
            return None
        if isinstance(forest, ForestAttention):
            if not forest.in_blocks or forest.window(_sliding_window(attn)) is not None:
                return None
        elif torch.is_grad_enabled():
            return None
        if not all(_own(part, self.original) for part in self.children()):
            return None
        parts = [*(getattr(attn, name) for name in form.qkv_out), *(getattr(mlp, name) for name in form.gate_up_down)]
        linears = [linear for part in parts if (linear := read_linear(part)) is not None]
        norms = [one for name in (form.attention_norm, form.mlp_norm) if (one := _read_norm(getattr(self, name)))]
        if len(linears) < len(parts) or len(norms) < 2:
            return None
        if {one.weight.dtype for one in linears} | {one.weight.dtype for one in norms} != {x.dtype}:
            return None
        q, k, v, out, gate, up, down = linears
        cos, sin = (t[0, :, : attn.head_dim // 2].unsqueeze(1).contiguous() for t in position_embeddings)
        attention = AttentionSpec(
            norm=norms[0],
            qkv=(q, k, v),
            out=out,
            cos=cos,
            sin=sin,
            segments=forest.segments if isinstance(forest, ForestAttention) else (),
            num_heads=q.weight.shape[0] // attn.head_dim,
            num_key_heads=k.weight.shape[0] // attn.head_dim,
            scale=attn.scaling,
        )
        return attention, MlpSpec(norms[1], (gate, up), down)


def fuse_layers(model: nn.Module) -> int:
    """Put a `FusedLayer` in the place of every layer of a known form.

    Returns:
        How many layers were replaced; 0 when the model has none of that form.
    """
    layers = [
        (parent, name, child, form)
        for parent in model.modules()
        if not isinstance(parent, FusedLayer)
        for name, child in parent.named_children()
        if (form := FORMS.get(type(child).__name__)) and _is_plain(getattr(getattr(child, form.mlp), form.activation))
    ]
    for parent, name, child, form in layers:
        parent.register_module(name, FusedLayer(child, form))
    return len(layers)


def num_fused(model: nn.Module) -> int:
    """How many layers of a model run fused."""
    return sum(isinstance(module, FusedLayer) for module in model.modules())


def _own(part: nn.Module, layer: nn.Module) -> bool:
    """Whether a part is of the file that made the layer, not something that was put around it, and has no hooks."""
    return type(part).__module__ == type(layer).__module__ and not part._forward_hooks and not part._forward_pre_hooks


def _is_plain(activation: Any) -> bool:
    return isinstance(activation, nn.SiLU | type(None)) or type(activation).__name__ == "SiLUActivation"


def _sliding_window(attention: Any) -> int | None:
    """The window that the layer's own attention would ask for."""
    window: int | None = getattr(attention, "sliding_window", getattr(attention.config, "sliding_window", None))
    return window


def _read_norm(norm: Any) -> Norm | None:
    return None if norm.weight.requires_grad else Norm(norm.weight, norm.variance_epsilon)
