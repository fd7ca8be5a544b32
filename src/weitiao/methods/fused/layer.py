"""A Llama-style decoder layer that runs as two fused halves when it can, and as the original when it cannot."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from weitiao.methods.fused.blocks import AttentionHalf, AttentionSpec, MlpHalf, MlpSpec, Norm, adapters
from weitiao.methods.fused.linear import read_linear
from weitiao.models.attention import ForestAttention

# Layers of exactly this form: pre-norm, RoPE over whole heads, SiLU-gated MLP, nothing else.
FUSABLE_LAYERS = ("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer")


class FusedLayer(GradientCheckpointingLayer):
    """Stands in for a decoder layer, with the same children under the same names.

    Gradient checkpointing is that of the layer it stands in for, whether it was switched on before or is later.

    Args:
        layer: The layer of the model; its parameters are shared, state-dict keys stay as they were.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        for name, child in layer.named_children():
            self.add_module(name, child)
        object.__setattr__(self, "original", layer)  # not registered: its children are ours already
        self.training = layer.training
        if getattr(layer, "gradient_checkpointing", False):
            self.gradient_checkpointing = True
            self._gradient_checkpointing_func = cast(Any, layer)._gradient_checkpointing_func
            cast(Any, layer).gradient_checkpointing = False  # else it is done twice where the original runs

    def forward(
        self, hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor], forest: Any = None, **kwargs: Any
    ) -> Tensor:
        specs = self._specs(hidden_states, position_embeddings, forest)
        if specs is None:
            return cast(
                Tensor,
                cast(nn.Module, self.original)(
                    hidden_states, position_embeddings=position_embeddings, forest=forest, **kwargs
                ),
            )
        attention, mlp = specs
        x_TD: Tensor = hidden_states[0]
        x_TD = cast(Any, AttentionHalf).apply(x_TD, attention, *adapters((*attention.qkv, attention.out)))
        x_TD = cast(Any, MlpHalf).apply(x_TD, mlp, *adapters((*mlp.gate_up, mlp.down)))
        return x_TD.unsqueeze(0)

    def train(self, mode: bool = True) -> FusedLayer:
        super().train(mode)
        cast(nn.Module, self.original).train(mode)
        return self

    def _specs(
        self, x: Tensor, position_embeddings: tuple[Tensor, Tensor], forest: Any
    ) -> tuple[AttentionSpec, MlpSpec] | None:
        """The two halves as they are now, or None when the original has to run."""
        attn, mlp = cast(Any, self.self_attn), cast(Any, self.mlp)
        if not isinstance(forest, ForestAttention) or forest.backend != "blocks" or x.dtype != torch.float32:
            return None
        if forest.window(_sliding_window(attn)) is not None or (self.training and attn.attention_dropout > 0):
            return None
        if not all(_own(part, cast(nn.Module, self.original)) for part in self.children()):
            return None
        qkv_out = [read_linear(m) for m in (attn.q_proj, attn.k_proj, attn.v_proj, attn.o_proj)]
        gate_up_down = [read_linear(m) for m in (mlp.gate_proj, mlp.up_proj, mlp.down_proj)]
        norms = [_read_norm(cast(Any, n)) for n in (self.input_layernorm, self.post_attention_layernorm)]
        if None in qkv_out or None in gate_up_down or None in norms:
            return None
        q, k, v, out = cast(Any, qkv_out)
        gate, up, down = cast(Any, gate_up_down)
        cos, sin = (t[0, :, : attn.head_dim // 2].unsqueeze(1).contiguous() for t in position_embeddings)
        attention = AttentionSpec(
            norm=cast(Norm, norms[0]),
            qkv=(q, k, v),
            out=out,
            cos=cos,
            sin=sin,
            segments=forest.segments,
            num_heads=q.weight.shape[0] // attn.head_dim,
            num_key_heads=k.weight.shape[0] // attn.head_dim,
            scale=attn.scaling,
        )
        return attention, MlpSpec(cast(Norm, norms[1]), (gate, up), down)


def fuse_layers(model: nn.Module) -> int:
    """Put a `FusedLayer` in the place of every layer of a known form.

    Returns:
        How many layers were replaced; 0 when the model has none of that form.
    """
    layers = [
        (parent, name, child)
        for parent in model.modules()
        if not isinstance(parent, FusedLayer)
        for name, child in parent.named_children()
        if type(child).__name__ in FUSABLE_LAYERS and _is_plain(cast(Any, child))
    ]
    for parent, name, child in layers:
        parent.register_module(name, FusedLayer(child))
    return len(layers)


def num_fused(model: nn.Module) -> int:
    """How many layers of a model run fused."""
    return sum(isinstance(module, FusedLayer) for module in model.modules())


def _own(part: nn.Module, layer: nn.Module) -> bool:
    """Whether a part is of the file that made the layer, not something that was put around it, and has no hooks."""
    return type(part).__module__ == type(layer).__module__ and not part._forward_hooks and not part._forward_pre_hooks


def _is_plain(layer: Any) -> bool:
    return isinstance(layer.mlp.act_fn, nn.SiLU | type(None)) or type(layer.mlp.act_fn).__name__ == "SiLUActivation"


def _sliding_window(attention: Any) -> int | None:
    """The window that the layer's own attention would ask for."""
    if hasattr(attention, "sliding_window"):
        return cast("int | None", attention.sliding_window)
    return cast("int | None", getattr(attention.config, "sliding_window", None))


def _read_norm(norm: Any) -> Norm | None:
    return None if norm.weight.requires_grad else Norm(norm.weight, norm.variance_epsilon)
