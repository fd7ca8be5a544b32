"""What the layers of a model ask of attention, found by running it with a function that only notes its calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from weitiao.models.head import short_format
from weitiao.models.parts import causal_model

ASKING = "weitiao_asking"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is on the mask that a model gives its layers while it is asked: its own rule of which key a query sees."""

    visible: Callable[[int, int, Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Asked:
    """A call of attention; layers that are alike make equal ones.

    Attributes:
        rule: The model's own mask; None where it hands on none.
        window: The sliding window that is handed on.
        head_dim: Size of the heads of query and key.
        value_dim: Size of the heads of value.
        dtype: In which attention is computed, autocast considered.
        capped: Whether scores are capped.
        sinks: Whether there are sinks.
    """

    rule: Rule | None
    window: int | None
    head_dim: int
    value_dim: int
    dtype: torch.dtype
    capped: bool
    sinks: bool


def asked(model: nn.Module, token_ids: Sequence[int]) -> set[Asked]:
    """The different calls of attention that a forward pass makes.

    Args:
        model: A causal language model, possibly with a PEFT adapter, in evaluation mode.
        token_ids: A few tokens.
    """
    noted: set[Asked] = set()
    causal = causal_model(model)
    with attention_function(model, ASKING), torch.no_grad():
        causal(input_ids=torch.tensor([token_ids], device=causal.device), use_cache=False, asked=noted)
    return noted


@contextmanager
def attention_function(model: nn.Module, name: str) -> Iterator[None]:
    """The model with another attention function inside the block."""
    before = causal_model(model).config._attn_implementation
    set_attention(model, name)
    try:
        yield
    finally:
        set_attention(model, before)


def set_attention(model: nn.Module, name: str) -> None:
    """Give a model another attention function; where its layers take none, its masks are still made for that one."""
    causal = causal_model(model)
    if causal._can_set_attn_implementation():
        causal.set_attn_implementation(name)
    else:
        causal.config._attn_implementation = name


def _answer(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    *,
    asked: set[Asked] | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """An attention function that notes what it is called with; every query gets the mean of all values."""
    if asked is not None:
        rule = getattr(attention_mask, "rule", None)
        dtype = short_format(query.device) or query.dtype
        sizes = query.shape[-1], value.shape[-1]
        asked.add(Asked(rule, sliding_window, *sizes, dtype, capped=softcap is not None, sinks=s_aux is not None))
    num_heads, num_tokens = query.shape[1:3]
    mean = value.mean(2, keepdim=True).repeat_interleave(num_heads // value.shape[1], 1)
    return mean.expand(-1, -1, num_tokens, -1).transpose(1, 2).contiguous(), None


def _own_rule(*args: Any, mask_function: Callable[..., Tensor], **unused: Any) -> Tensor:
    """A mask of four axes, which a text decoder inside another model takes as it is, with the rule on it."""
    mask = torch.empty(1, 1, 1, 1)
    mask.rule = Rule(mask_function)  # type: ignore[attr-defined]
    return mask


AttentionInterface.register(ASKING, _answer)
AttentionMaskInterface.register(ASKING, _own_rule)
