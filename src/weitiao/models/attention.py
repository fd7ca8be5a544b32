"""Forest attention for every model that supports `transformers.AttentionInterface`.

One function is registered under `FOREST`. What it computes comes with the call: the model's forward is given
`forest=`, an object with a method `attend`, and hands it down to every layer as a keyword argument.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PretrainedConfig

from weitiao.errors import ModelError
from weitiao.forest.layout import Layout, Segment
from weitiao.forest.masks import dense_mask
from weitiao.models.attention_blocks import block_attention
from weitiao.models.head import short_format

FOREST = "weitiao_forest"
Backend = Literal["blocks", "flex", "dense"]


class Attends(Protocol):
    """What a model is given as `forest=`."""

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *, scale: float, sliding_window: int | None
    ) -> Tensor:
        """Attention output [H, T, D] of query [H, T, D] and key, value [K, T, D] in the layer of `module`."""
        ...


def forest_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    forest: Attends | None = None,
    **unsupported: Any,
) -> tuple[Tensor, None]:
    """The function that models call: query [1, H, T, D], key and value [1, K, T, D]; returns [1, T, H, D]."""
    if forest is None or attention_mask is not None:
        what = "is not handed the forest" if forest is None else "is handed a mask of the model's own"
        raise ModelError(f"{type(module).__name__} {what}.", "Choose a model of another family.")
    assert query.shape[0] == 1
    for name in ("softcap", "s_aux", "sinks"):
        if unsupported.get(name) is not None:
            raise ModelError(
                f"{type(module).__name__} asks for attention with {name}, which forest attention does not have.",
                "Choose a model without it.",
            )
    if dropout > 0:
        setting = _setting_of(module, dropout)
        raise ModelError(
            f"The model's configuration has {setting}={dropout}, which forest attention does not have.",
            f"Set {setting} to 0 in the model's config.json.",
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    out = forest.attend(module, query[0], key[0], value[0], scale=scale, sliding_window=sliding_window)
    return out.transpose(0, 1).unsqueeze(0), None


def _setting_of(module: nn.Module, dropout: float) -> str:
    """What the model's own configuration calls the dropout of its attention (`attn_pdrop` in GPT-2)."""
    config = getattr(module, "config", None)
    settings = config.to_dict() if isinstance(config, PretrainedConfig) else {}
    return next((name for name, value in settings.items() if "att" in name and value == dropout), "attention_dropout")


def _no_mask(*args: Any, **kwargs: Any) -> None:
    """The layout says what is visible: the model need not build a mask."""


AttentionInterface.register(FOREST, forest_attention)
AttentionMaskInterface.register(FOREST, _no_mask)


@dataclass(frozen=True)
class ForestAttention:
    """Attention within a layout, on the device of the model.

    Args:
        layout: The forest's layout.
        device: Where the model is.
        backend: `blocks` (CPU: dense blocks per segment), `flex` (CUDA: FlexAttention with a block mask), or `dense`
            (anywhere: a boolean mask [T, T]; the reference that the others are tested against).
    """

    layout: Layout
    device: torch.device
    backend: Backend
    _masks: dict[int | None, Any] = field(default_factory=dict, repr=False)  # by window, made once for all layers

    @property
    def segments(self) -> tuple[Segment, ...]:
        return self.layout.segments

    @cached_property
    def _longest(self) -> int:
        return int(self.layout.position_ids.max()) + 1

    def window(self, sliding_window: int | None) -> int | None:
        """The window, or None when it is longer than every sequence and so hides nothing."""
        return sliding_window if sliding_window is not None and sliding_window < self._longest else None

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *, scale: float, sliding_window: int | None
    ) -> Tensor:
        """See `Attends`."""
        window = self.window(sliding_window)
        if (short := short_format(query.device)) is not None:
            query, key, value = (one.to(short) for one in (query, key, value))
        if self.backend == "flex":
            return self._flex(query, key, value, scale, window)
        if self.backend == "dense" or window is not None or value.shape[-1] != query.shape[-1]:
            return self._dense(query, key, value, scale, window)
        return block_attention(query, key, value, self.segments, scale)

    def _dense(self, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None) -> Tensor:
        if window not in self._masks:
            self._masks[window] = dense_mask(self.layout, sliding_window=window).to(self.device)
        q, k, v = (t.unsqueeze(0) for t in (query, key, value))
        mask_TT = self._masks[window]
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask_TT, scale=scale, enable_gqa=True)[0]

    def _flex(self, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None) -> Tensor:
        from weitiao.models.attention_flex import attend, block_mask  # only where it is used: it takes a second

        if window not in self._masks:
            self._masks[window] = block_mask(self.layout, self.device, sliding_window=window)
        return attend(query, key, value, self._masks[window], scale)


def choose_backend(device: torch.device) -> Backend:
    """The fastest backend for a device."""
    return {"cpu": "blocks", "cuda": "flex"}.get(device.type, "dense")  # type: ignore[return-value]
