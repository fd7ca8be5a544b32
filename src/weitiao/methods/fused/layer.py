"""A decoder layer that runs as two fused halves when it can, and as the original when it cannot."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from weitiao.methods.fused.blocks import AttentionHalf, AttentionSpec, MlpHalf, MlpSpec, adapters
from weitiao.methods.fused.forms import ACTIVATIONS, FORMS, Form, Pair, is_own, read_norms
from weitiao.methods.fused.linear import LoraLinear, read_linear
from weitiao.methods.fused.writing import added, attended
from weitiao.models.attention import ForestAttention
from weitiao.models.head import short_format
from weitiao.models.scoring import Scoring

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
        if self._steps_aside(x_TD, forest):
            made = None
        elif isinstance(forest, ForestAttention):
            made = self._learning(x_TD, position_embeddings, forest)
        else:
            made = self._writing(x_TD, position_embeddings, forest)
        if made is None:
            kwargs |= {"position_embeddings": position_embeddings, "forest": forest}
            made = self.original(hidden_states, **kwargs)[0]
        return made.unsqueeze(0)

    @property
    def is_gated(self) -> bool:
        """Whether it has a gated MLP, not something in its place."""
        return all(hasattr(getattr(self, self._form.mlp), name) for name in self._form.gate_up_down)

    def train(self, mode: bool = True) -> FusedLayer:
        super().train(mode)
        self.original.train(mode)
        return self

    @property
    def window(self) -> int | None:
        """Tokens that attention looks back at most; None is all."""
        return _sliding_window(getattr(self, self._form.attention))

    def _steps_aside(self, x_TD: Tensor, forest: Any) -> bool:
        """Whether the original has to run whatever norms and linear layers are."""
        attn: Any = getattr(self, self._form.attention)
        if forest is None or x_TD.dtype not in FORMATS or x_TD.device.type != "cpu" or short_format(x_TD.device):
            return True
        if self.training and attn.attention_dropout > 0:
            return True
        if isinstance(forest, ForestAttention):
            if not forest.in_blocks or forest.window(self.window) is not None:
                return True
        elif torch.is_grad_enabled():
            return True
        return not all(is_own(part, self.original) for part in self.children())

    def _writing(self, x_TD: Tensor, position_embeddings: tuple[Tensor, Tensor], forest: Any) -> Tensor | None:
        """Both halves while answers are written, or None when the original has to run."""
        form, attn, norms = self._form, cast(Any, getattr(self, self._form.attention)), self._norms(x_TD.dtype)
        if norms is None:
            return None
        around_attention, heads, around_mlp = norms
        attend = partial(forest.attend, attn, scoring=Scoring(attn.scaling, self.window))
        inner = partial(
            attended,
            qkv_out=_parts(attn, form.qkv_out),
            norms=heads,
            rotation=_rotation(position_embeddings, attn.head_dim),
            attend=attend,
        )
        return added(added(x_TD, inner, around_attention), self._mlp_as_it_is, around_mlp)

    def _learning(
        self, x_TD: Tensor, position_embeddings: tuple[Tensor, Tensor], forest: ForestAttention
    ) -> Tensor | None:
        """Both halves for autograd, or None when the original has to run; what stands for an MLP runs as it is."""
        form, attn, norms = self._form, cast(Any, getattr(self, self._form.attention)), self._norms(x_TD.dtype)
        linears = _read(_parts(attn, form.qkv_out), x_TD.dtype)
        if norms is None or linears is None:
            return None
        around_attention, heads, around_mlp = norms
        mlp = self._mlp_spec(around_mlp, x_TD.dtype)
        if mlp is None and self.is_gated:
            return None
        q, k, v, out = linears
        cos, sin = _rotation(position_embeddings, attn.head_dim)
        attention = AttentionSpec(
            before=around_attention[0],
            after=around_attention[1],
            query_key=None if heads[0] is None or heads[1] is None else (heads[0], heads[1]),
            qkv=(q, k, v),
            out=out,
            cos=cos,
            sin=sin,
            segments=forest.segments,
            num_heads=q.weight.shape[0] // attn.head_dim,
            num_key_heads=k.weight.shape[0] // attn.head_dim,
            scale=attn.scaling,
        )
        x_TD = cast(Any, AttentionHalf).apply(x_TD, attention, *adapters((*attention.qkv, attention.out)))
        if mlp is None:
            before, after = (
                nn.Identity() if name is None else getattr(self, name) for name in (form.before_mlp, form.after_mlp)
            )
            mixed: Tensor = after(self._mlp_as_it_is(before(x_TD)))
            return x_TD + mixed
        whole: Tensor = cast(Any, MlpHalf).apply(x_TD, mlp, *adapters((*mlp.gate_up, mlp.down)))
        return whole

    def _mlp_spec(self, norms: Pair, dtype: torch.dtype) -> MlpSpec | None:
        """The gated MLP as it is now; None where something else stands in its place, or it is not expressed."""
        mlp: Any = getattr(self, self._form.mlp)
        activation = ACTIVATIONS.get(type(getattr(mlp, self._form.activation, None)).__name__)
        if activation is None or not self.is_gated:
            return None
        linears = _read(_parts(mlp, self._form.gate_up_down), dtype)
        if linears is None:
            return None
        gate, up, down = linears
        return MlpSpec(*norms, gate_up=(gate, up), down=down, activation=activation)

    def _mlp_as_it_is(self, x_TD: Tensor) -> Tensor:
        made: Tensor = getattr(self, self._form.mlp)(x_TD.unsqueeze(0))[0]  # a mixture wants to see a batch
        return made

    def _norms(self, dtype: torch.dtype) -> tuple[Pair, Pair, Pair] | None:
        """Norms around attention, of heads, and around the MLP; None when the original has to run."""
        form, attn = self._form, getattr(self, self._form.attention)
        heads = form.query_key or (None, None)
        around_attention = read_norms(self.original, (form.before_attention, form.after_attention), form, dtype)
        of_heads = read_norms(attn, heads, form, dtype)
        around_mlp = read_norms(self.original, (form.before_mlp, form.after_mlp), form, dtype)
        if around_attention is None or of_heads is None or around_mlp is None:
            return None
        return around_attention, of_heads, around_mlp


def fuse_layers(model: nn.Module) -> int:
    """Put a `FusedLayer` in the place of every layer of a known form.

    Returns:
        How many layers were replaced; 0 when the model has none of that form.
    """
    layers = [
        (parent, name, child, FORMS[type(child).__name__])
        for parent in model.modules()
        if not isinstance(parent, FusedLayer)
        for name, child in parent.named_children()
        if type(child).__name__ in FORMS
    ]
    for parent, name, child, form in layers:
        parent.register_module(name, FusedLayer(child, form))
    return len(layers)


def num_fused(model: nn.Module, *, wholly: bool = False, longest: int = 0) -> int:
    """How many layers of a model run fused; `wholly`: with their MLP.

    Args:
        model: Any.
        wholly: Those that are whole alone.
        longest: Tokens of the longest sequence; a layer whose window is shorter runs as it was.
    """
    fused = [module for module in model.modules() if isinstance(module, FusedLayer)]
    return sum((one.is_gated or not wholly) and (one.window or longest) >= longest for one in fused)


def _rotation(position_embeddings: tuple[Tensor, Tensor], head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine [T, 1, D / 2]: the other half of a head has the same."""
    cos, sin = (t[0, :, : head_dim // 2].unsqueeze(1).contiguous() for t in position_embeddings)
    return cos, sin


def _parts(parent: nn.Module, names: tuple[str, ...]) -> tuple[nn.Module, ...]:
    return tuple(getattr(parent, name) for name in names)


def _read(parts: tuple[nn.Module, ...], dtype: torch.dtype) -> list[LoraLinear] | None:
    """The linear layers as they are now, or None when one of them is not expressed."""
    read = [linear for part in parts if (linear := read_linear(part)) is not None]
    return read if len(read) == len(parts) and {one.weight.dtype for one in read} == {dtype} else None


def _sliding_window(attention: Any) -> int | None:
    """The window that the layer's own attention would ask for; some families write 0 for none."""
    window: int | None = getattr(attention, "sliding_window", getattr(attention.config, "sliding_window", None))
    return window or None
