"""Forest attention for every model that supports `transformers.AttentionInterface`.

One function is registered under `FOREST`. What it computes comes with the call: the model's forward is given
`forest=`, an object with a method `attend`, and hands it down to every layer as a keyword argument.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PretrainedConfig

from weitiao.errors import ModelError
from weitiao.forest.layout import Layout, Segment
from weitiao.forest.masks import dense_mask
from weitiao.models.asking import set_attention
from weitiao.models.attention_blocks import block_attention
from weitiao.models.attention_choice import Backend, Call, candidates, choose
from weitiao.models.config import AttentionName
from weitiao.models.head import short_format
from weitiao.models.parts import causal_model, decoder
from weitiao.models.scoring import Scoring, weighed

FOREST = "weitiao_forest"


class Attends(Protocol):
    """What a model is given as `forest=`."""

    def attend(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
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
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    forest: Attends | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """The function that models call: query [1, H, T, D], key and value [1, K, T, D]; returns [1, T, H, D]."""
    if forest is None or attention_mask is not None:
        what = "is not handed the forest" if forest is None else "is handed a mask of the model's own"
        raise ModelError(f"{type(module).__name__} {what}.", "Choose a model of another family.")
    assert query.shape[0] == 1
    if dropout > 0:
        setting = _setting_of(module, dropout)
        raise ModelError(
            f"The model's configuration has {setting}={dropout}, which forest attention does not have.",
            f"Set {setting} to 0 in the model's config.json.",
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scoring = Scoring(scale, sliding_window, softcap, s_aux)
    out = forest.attend(module, query[0], key[0], value[0], scoring)
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
        backend: `blocks` (CPU: dense blocks per segment), `flex` (CUDA: FlexAttention with a block mask), `flash`
            (CUDA: FlashAttention, where nothing is shared), `dense` (anywhere: a boolean mask [T, T]; the reference
            that the others are tested against), or `auto`: for each call the fastest that can compute it.
    """

    layout: Layout
    device: torch.device
    backend: AttentionName = "auto"
    # made once for all layers: by call what computes it, and what a backend needs of the layout, by window for masks
    _chosen: dict[Call, Backend] = field(default_factory=dict, repr=False)
    _made: dict[tuple[Backend, int | None], Any] = field(default_factory=dict, repr=False)

    @property
    def segments(self) -> tuple[Segment, ...]:
        return self.layout.segments

    @property
    def in_blocks(self) -> bool:
        """Whether `blocks` is the first choice."""
        return candidates(self.backend, self.device)[0] == "blocks"

    @cached_property
    def _longest(self) -> int:
        return int(self.layout.position_ids.max()) + 1

    @cached_property
    def _shared(self) -> bool:
        return any(segment.subtree_end > segment.end for segment in self.segments)

    def window(self, sliding_window: int | None) -> int | None:
        """The window, or None when it is longer than every sequence and so hides nothing."""
        return sliding_window if sliding_window is not None and sliding_window < self._longest else None

    def attend(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        """See `Attends`."""
        scoring = replace(scoring, window=self.window(scoring.window))
        if (short := short_format(query.device)) is not None:
            query, key, value = (one.to(short) for one in (query, key, value))
        learns = torch.is_grad_enabled() and any(one.requires_grad for one in (query, key, value))
        call = Call(
            query.device,
            query.dtype,
            query.shape[-1],
            value.shape[-1],
            scoring.window,
            shared=self._shared,
            learns=learns,
            capped=scoring.softcap is not None,
            sinks=scoring.sinks is not None,
        )
        if (backend := self._chosen.get(call)) is None:
            backend = self._chosen[call] = choose(self.backend, call)[0]
        if backend == "flash":
            return self._flash(query, key, value, scoring)
        if backend == "flex":
            return self._flex(query, key, value, scoring)
        if backend == "dense":
            return self._dense(query, key, value, scoring)
        return block_attention(query, key, value, self.segments, scoring)

    def _dense(self, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        window = scoring.window
        if ("dense", window) not in self._made:
            self._made["dense", window] = dense_mask(self.layout, sliding_window=window).to(self.device)
        mask_TT = self._made["dense", window]
        if scoring.softcap is not None or scoring.sinks is not None:
            return weighed(query, key, value, mask_TT, scoring)
        q, k, v = (t.unsqueeze(0) for t in (query, key, value))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask_TT, scale=scoring.scale, enable_gqa=True)[0]

    def _flex(self, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        from weitiao.models.attention_flex import attend, block_mask  # only where it is used: it takes a second

        window = scoring.window
        if ("flex", window) not in self._made:
            self._made["flex", window] = block_mask(self.layout, self.device, sliding_window=window)
        return attend(query, key, value, self._made["flex", window], scoring)

    def _flash(self, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        from weitiao.models.attention_flash import attend, ends_of  # as above

        if ("flash", None) not in self._made:
            self._made["flash", None] = ends_of(self.layout, self.device)
        return attend(query, key, value, self._made["flash", None], scoring.scale, scoring.window)


def backend_of(network: nn.Module) -> AttentionName:
    """By what the losses of a decoder are computed; see `set_backend`."""
    return cast(AttentionName, getattr(network, "forest_backend", "auto"))


def set_backend(model: nn.Module, backend: AttentionName) -> None:
    """Have the losses of a causal language model computed by a backend from now on; answers choose by themselves.

    Args:
        model: A causal language model, possibly with a PEFT adapter.
        backend: With `alone`, answers too are computed row by row, and there is no way back: the model's layers
            attend as `transformers` has it.
    """
    decoder(model).forest_backend = backend
    if backend == "alone":
        set_attention(model, "sdpa" if causal_model(model)._supports_sdpa else "eager")


def runs_alone(model: nn.Module) -> bool:
    """Whether each row of a causal language model is run alone."""
    return backend_of(decoder(model)) == "alone"


@contextmanager
def computing_by(model: nn.Module, backend: AttentionName) -> Iterator[None]:
    """Inside the block, losses are computed by a backend, each row alone if that is so already."""
    before = backend_of(decoder(model))
    if before != "alone":
        decoder(model).forest_backend = backend
    try:
        yield
    finally:
        decoder(model).forest_backend = before
