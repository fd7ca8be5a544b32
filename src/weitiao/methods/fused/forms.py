"""The forms of decoder layers that are known, by the name of the layer's class: a family joins with one entry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Form:
    """Where a layer has its parts: attention with RoPE over whole heads, then a gated MLP, each added to its input.

    Any other module may stand in the place of the MLP, a mixture of experts for instance. It then runs as it is, and
    attention alone is fused. All norms are RMSNorms.

    Attributes:
        before_attention, after_attention: Norms of what attention reads and of what it gives, if there are any.
        before_mlp, after_mlp: The same of the MLP.
        query_key: Norms of queries and keys before they are rotated: over each head or over all, as wide as they are.
        offset: What the norms add to their weights.
    """

    before_attention: str | None = "input_layernorm"
    after_attention: str | None = None
    attention: str = "self_attn"
    qkv_out: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    query_key: tuple[str, str] | None = None
    before_mlp: str | None = "post_attention_layernorm"
    after_mlp: str | None = None
    mlp: str = "mlp"
    gate_up_down: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj")
    activation: str = "act_fn"
    offset: float = 0.0


_HEADS = ("q_norm", "k_norm")
_AFTER = Form(
    before_attention=None,
    after_attention="post_attention_layernorm",
    query_key=_HEADS,
    before_mlp=None,
    after_mlp="post_feedforward_layernorm",
)
_AROUND = Form(
    after_attention="post_attention_layernorm",
    query_key=_HEADS,
    before_mlp="pre_feedforward_layernorm",
    after_mlp="post_feedforward_layernorm",
    offset=1.0,
)

FORMS = {
    "GemmaDecoderLayer": Form(offset=1.0),
    "Gemma3DecoderLayer": _AROUND,
    "LlamaDecoderLayer": Form(),
    "MistralDecoderLayer": Form(),
    "MixtralDecoderLayer": Form(),
    "Olmo2DecoderLayer": _AFTER,
    "Olmo3DecoderLayer": _AFTER,
    "Qwen2DecoderLayer": Form(),
    "Qwen2MoeDecoderLayer": Form(),
    "Qwen3DecoderLayer": Form(query_key=_HEADS),
    "Qwen3MoeDecoderLayer": Form(query_key=_HEADS),
}


@dataclass(frozen=True, slots=True)
class Norm:
    """An RMSNorm: its frozen gain [D] and epsilon."""

    weight: Tensor
    eps: float


Pair = tuple[Norm | None, Norm | None]
"""Two norms, either of which may be missing."""


def read_norms(parent: nn.Module, names: tuple[str | None, str | None], form: Form, dtype: torch.dtype) -> Pair | None:
    """The norms of these names as they are now.

    None when one learns, is of another format, or has something put around it.
    """
    found: list[Norm | None] = []
    for name in names:
        norm: Any = None if name is None else getattr(parent, name)
        if norm is None:
            found.append(None)
        elif norm.weight.requires_grad or norm.weight.dtype != dtype or not is_own(norm, parent):
            return None
        else:
            gain = norm.weight.float() + form.offset if form.offset else norm.weight
            found.append(Norm(gain, norm.eps if hasattr(norm, "eps") else norm.variance_epsilon))
    return found[0], found[1]


def is_own(part: nn.Module, of: nn.Module) -> bool:
    """Whether a part is of the file that made the other, not something that was put around it, and has no hooks."""
    return type(part).__module__ == type(of).__module__ and not part._forward_hooks and not part._forward_pre_hooks


@dataclass(frozen=True, slots=True)
class Activation:
    """An elementwise function as PyTorch's operators: `function.default`, `function.out`, `gradient.grad_input`."""

    function: Any
    gradient: Any
    settings: dict[str, str] = field(default_factory=dict)

    def of(self, x: Tensor, *, out: Tensor | None = None) -> Tensor:
        """Its values at x, written to `out` if there is one."""
        made: Tensor
        if out is None:
            made = self.function.default(x, **self.settings)
        else:
            made = self.function.out(x, **self.settings, out=out)
        return made

    def backward(self, grad: Tensor, x: Tensor, *, into: Tensor) -> None:
        """The gradient with regard to x, written to `into`."""
        self.gradient.grad_input(grad, x, **self.settings, grad_input=into)


_ATEN = torch.ops.aten
_SILU = Activation(_ATEN.silu, _ATEN.silu_backward)
ACTIVATIONS = {
    "SiLU": _SILU,
    "SiLUActivation": _SILU,
    "GELUTanh": Activation(_ATEN.gelu, _ATEN.gelu_backward, {"approximate": "tanh"}),
}
"""By the name of the module's class."""
