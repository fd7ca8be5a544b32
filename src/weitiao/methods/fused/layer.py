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
from weitiao.methods.fused.writing import written
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
        x_TD: Tensor = hidden_states[0]
        norms = self._norms(x_TD, forest)
        if norms is not None and not isinstance(forest, ForestAttention):
            return self._written(x_TD, norms, position_embeddings, forest).unsqueeze(0)
        specs = None if norms is None else self._specs(x_TD, norms, position_embeddings, forest)
        if specs is None:
            kwargs |= {"position_embeddings": position_embeddings, "forest": forest}
            unfused: Tensor = self.original(hidden_states, **kwargs)
            return unfused
        attention, mlp = specs
        x_TD = cast(Any, AttentionHalf).apply(x_TD, attention, *adapters((*attention.qkv, attention.out)))
        x_TD = cast(Any, MlpHalf).apply(x_TD, mlp, *adapters((*mlp.gate_up, mlp.down)))
        return x_TD.unsqueeze(0)

    def train(self, mode: bool = True) -> FusedLayer:
        super().train(mode)
        self.original.train(mode)
        return self

    def _norms(self, x_TD: Tensor, forest: Any) -> tuple[Norm, Norm] | None:
        """Both norms, or None when the original has to run whatever its linear layers are."""
        form = self._form
        attn: Any = getattr(self, form.attention)
        if forest is None or x_TD.dtype not in FORMATS or x_TD.device.type != "cpu" or short_format(x_TD.device):
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
        first, second = (_read_norm(getattr(self, name)) for name in (form.attention_norm, form.mlp_norm))
        if first is None or second is None or {first.weight.dtype, second.weight.dtype} != {x_TD.dtype}:
            return None
        return first, second

    def _layers(self) -> tuple[tuple[nn.Module, ...], tuple[nn.Module, ...]]:
        """The linear layers of attention and of the MLP."""
        form = self._form
        attn, mlp = getattr(self, form.attention), getattr(self, form.mlp)
        return tuple(getattr(attn, name) for name in form.qkv_out), tuple(
            getattr(mlp, name) for name in form.gate_up_down
        )

    def _written(
        self, x_TD: Tensor, norms: tuple[Norm, Norm], position_embeddings: tuple[Tensor, Tensor], forest: Any
    ) -> Tensor:
        attn: Any = getattr(self, self._form.attention)
        attend = partial(forest.attend, attn, scoring=Scoring(attn.scaling, _sliding_window(attn)))
        return written(x_TD, norms, *self._layers(), _rotation(position_embeddings, attn.head_dim), attend)

    def _specs(
        self,
        x_TD: Tensor,
        norms: tuple[Norm, Norm],
        position_embeddings: tuple[Tensor, Tensor],
        forest: ForestAttention,
    ) -> tuple[AttentionSpec, MlpSpec] | None:
        """The two halves as they are now, or None when the original has to run."""
        attn: Any = getattr(self, self._form.attention)
        qkv_out, gate_up_down = self._layers()
        linears = [linear for part in (*qkv_out, *gate_up_down) if (linear := read_linear(part)) is not None]
        if len(linears) < len(qkv_out + gate_up_down) or {one.weight.dtype for one in linears} != {x_TD.dtype}:
            return None
        q, k, v, out, gate, up, down = linears
        cos, sin = _rotation(position_embeddings, attn.head_dim)
        attention = AttentionSpec(
            norm=norms[0],
            qkv=(q, k, v),
            out=out,
            cos=cos,
            sin=sin,
            segments=forest.segments,
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


def _rotation(position_embeddings: tuple[Tensor, Tensor], head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine [T, 1, D / 2]: the other half of a head has the same."""
    cos, sin = (t[0, :, : head_dim // 2].unsqueeze(1).contiguous() for t in position_embeddings)
    return cos, sin


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
